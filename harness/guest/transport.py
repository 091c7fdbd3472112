"""What every control channel into a guest offers, whatever carries it: SSH, or a shell on a serial port."""

import re
from dataclasses import dataclass
from typing import Protocol

from harness.errors import NicproofError


class TransportError(NicproofError):
    """The channel could not be made, broke, or a command did not end in time."""


@dataclass(frozen=True)
class Completed:
    """What a command left behind; each line ends with a line feed, whatever the system ends its lines with."""

    command: str
    status: int
    stdout: str
    stderr: str


class CommandFailed(NicproofError):
    """A command in the guest did not end with status 0."""

    def __init__(self, completed: Completed) -> None:
        self.completed = completed
        words = (completed.stderr.strip() or completed.stdout.strip() or "no output").splitlines()
        super().__init__(f"in the guest, {completed.command!r} ended with status {completed.status}: {words[-1]}")


class Transport(Protocol):
    """A channel over which commands run in a guest, one after the other, each in a shell of its own."""

    def run(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> Completed:
        """Run a command line of the guest's shell and wait for its end; without `stdin` its input is empty.

        Raises:
            TransportError: the channel broke, or the command did not end in time.
            Unsupported: the guest has no such command.
        """
        ...

    def check(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> str:
        """Run a command that must end with status 0 and return what it printed.

        Raises:
            CommandFailed: it ended with another status.
        """
        ...

    def upload(self, content: bytes, path: str) -> None:
        """Write a file in the guest, whose folder is there, at an absolute path; one that is there is replaced.

        Raises:
            TransportError: the file is not there as a whole afterwards.
            Unsupported: the guest has no way to take files.
        """
        ...

    def close(self) -> None:
        """Let go of the channel."""
        ...


def text_of(data: bytes, encoding: str) -> str:
    """Return what a program printed; `wmic` on Windows XP ends its lines with two carriage returns."""
    return re.sub(r"\r+\n", "\n", data.decode(encoding, "replace"))


def stdout_of(completed: Completed) -> str:
    """Return what a command printed that must have ended with status 0.

    Raises:
        CommandFailed: it ended with another status.
    """
    if completed.status:
        raise CommandFailed(completed)
    return completed.stdout
