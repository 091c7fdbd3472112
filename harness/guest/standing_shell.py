"""A POSIX shell that stays for one command line after the other: to start one for each costs as much as most commands.

Each command has a subshell of it, so that nothing which one does to its shell is there for the next.
"""

import secrets
import threading
from collections.abc import Callable

import paramiko


class StandingShell:
    """A shell over SSH, started when it is first needed and again when it has ended."""

    def __init__(self, start: Callable[[], paramiko.Channel]) -> None:
        """Take what starts an `sh` that reads its commands from the channel."""
        self._start = start
        self._channel: paramiko.Channel | None = None
        self._mark = secrets.token_hex(16).encode()
        self._in_use = threading.Lock()

    def run(self, command: str, deadline_s: float) -> tuple[bytes, bytes, int] | None:
        """Run a command with nothing on its standard input.

        Args:
            command: for a POSIX shell.
            deadline_s: how long it may be silent.

        Returns:
            What it printed on standard output and on standard error, and its exit status. Where it ended the shell, as
            a syntax error does, those of the shell. None: it was not run, since the shell runs one of another thread.

        Raises:
            TimeoutError: it did not end in time.
            OSError, EOFError, paramiko.SSHException: the connection broke.
        """
        if not self._in_use.acquire(blocking=False):
            return None
        try:
            return self._carry_out(command, deadline_s)
        finally:
            self._in_use.release()

    def _carry_out(self, command: str, deadline_s: float) -> tuple[bytes, bytes, int]:
        channel = self._channel = self._channel or self._start()
        channel.settimeout(deadline_s)
        mark = self._mark.decode()
        try:
            channel.sendall(f"(\n{command}\n) </dev/null; printf '{mark}%d\\n' $?; printf '{mark}\\n' >&2\n".encode())
            out, ended = self._until_mark(channel.recv)
            err, _ = self._until_mark(channel.recv_stderr)
        except BaseException:
            self._drop(channel)
            raise
        if ended is None:
            status = channel.recv_exit_status()  # it may come behind the outputs' end; a closed channel hears none
            self._drop(channel)
            return out, err, status
        return out, err, int(ended)

    def _until_mark(self, receive: Callable[[int], bytes]) -> tuple[bytes, bytes | None]:
        """Return what came before the mark, and what the mark's line says; None if the shell has ended instead."""
        said = bytearray()
        while not said.endswith(b"\n") or self._mark not in said:
            if not (more := receive(1 << 16)):
                return bytes(said), None
            said += more
        before, _, line = said.partition(self._mark)
        return bytes(before), bytes(line)

    def _drop(self, channel: paramiko.Channel) -> None:
        self._channel = None
        channel.close()
