"""A file that is replaced, never written in place: who reads it finds what it was or what it is, whole."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from harness.errors import NicproofError


class WholeFile:
    """One file, which one process owns."""

    def __init__(self, path: Path, what: str) -> None:
        """Remove what runs that were killed in the middle of a write left beside it; `what` is its name in an error."""
        self._path = path
        self._what = what
        self._partial = _partial(path, os.getpid())
        for orphan in path.parent.glob(_partial(path, "*").name):
            pid = orphan.suffixes[-2].removeprefix(".")
            if pid.isdecimal() and not Path("/proc", pid).exists():
                orphan.unlink(missing_ok=True)

    def write(self, parts: Iterable[bytes]) -> None:
        """Replace its content.

        Raises:
            NicproofError: it cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._partial.open("wb") as file:
                file.writelines(parts)
            self._partial.replace(self._path)
        except BaseException as error:  # also Ctrl-C: leave no half file beside the whole one
            with suppress(OSError):
                self._partial.unlink()
            if isinstance(error, OSError):
                raise NicproofError(f"{self._path}: cannot write {self._what}: {error.strerror}") from error
            raise


def _partial(path: Path, pid: int | str) -> Path:
    return path.with_name(f".{path.name}.{pid}.tmp")
