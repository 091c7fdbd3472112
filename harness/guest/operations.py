"""What all operations on a guest have in common.

A guest overrides what it can do. What it leaves alone raises `Unsupported`, which is a skip with its reason: so a test
asks for operations, never for an operating system.
"""

from typing import NoReturn

from harness.errors import Unsupported


class Operations:
    """Operations on a guest, each of which may be lacking."""

    lacks = "nobody can log in to this guest (profile: control: none)"
    """Why an operation is lacking."""

    def _unsupported(self, operation: str) -> NoReturn:
        raise Unsupported(f"{operation}: {self.lacks}")
