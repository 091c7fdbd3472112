"""What a guest of any operating system is reached by: command lines that end, and files that arrive."""

from typing import Protocol

from harness.guest.ssh import Completed


class Transport(Protocol):
    """A way into a guest: SSH, or a shell on a serial line."""

    def run(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> Completed:
        """Run a command line of the guest's shell and wait for its end."""

    def check(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> str:
        """Run a command that must end with status 0 and return what it printed.

        Raises:
            CommandFailed: it ended with another status.
        """

    def upload(self, content: bytes, path: str) -> None:
        """Write a file in the guest."""

    def close(self) -> None:
        """Let go of the guest."""
