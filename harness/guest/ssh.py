"""One SSH connection to a guest: pinned host key, public key only, many commands and channels over it."""

import logging
import socket
from dataclasses import dataclass
from pathlib import Path

import paramiko

from harness.errors import NicproofError, Unsupported

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # its errors become ours, each with a line of its own

NOT_FOUND = 127
"""A shell's exit status for a command that is not there (POSIX.1-2024, Shell Command Language, 2.8.2)."""


class SshError(NicproofError):
    """The connection could not be made, or broke."""


@dataclass(frozen=True)
class Completed:
    """What a command left behind."""

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


class Ssh:
    """A connection. Its key exchange is the cheapest that both sides have: under emulation that is most of the wait."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        user: str,
        key: Path,
        host_key: str | None,
        deadline_s: float = 20.0,
    ) -> None:
        """Connect and log in.

        Args:
            address: host and TCP port.
            user: whom to log in as.
            key: private key file.
            host_key: the only host key to accept ("ssh-ed25519 AAAA..."); None accepts any, for a guest that only
                loopback reaches and whose key nobody has recorded.
            deadline_s: for each step.

        Raises:
            SshError: refused, silent, a wrong host key, or the key is not accepted.
        """
        where = f"{user}@{address[0]} port {address[1]}"
        try:
            connection = socket.create_connection(address, deadline_s)
        except OSError as error:
            raise SshError(f"cannot reach SSH at {where}: {error.strerror or error}") from None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._deadline_s = deadline_s
        try:
            self._transport = paramiko.Transport(connection)
        except (paramiko.SSHException, EOFError, OSError) as error:
            connection.close()
            raise SshError(f"no SSH server answers at {where}: {error}") from None
        try:
            self._login(where, user, key, host_key)
        except BaseException:
            self.close()
            raise

    def _login(self, where: str, user: str, key: Path, host_key: str | None) -> None:
        options = self._transport.get_security_options()
        options.kex = tuple(sorted(options.kex, key=lambda name: not name.startswith("curve25519")))
        options.ciphers = tuple(sorted(options.ciphers, key=lambda name: name != "aes128-ctr"))
        try:
            self._transport.start_client(timeout=self._deadline_s)
            offered = self._transport.get_remote_server_key()
            if host_key is not None and host_key.split()[:2] != [offered.get_name(), offered.get_base64()]:
                raise SshError(f"{where} showed another host key ({offered.get_name()}) than the image's own")
            self._transport.auth_publickey(user, paramiko.PKey.from_path(key))
        except paramiko.AuthenticationException as error:
            raise SshError(
                f"{where} refused the key {key} ({error}): put its public half into the guest's authorized_keys"
            ) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise SshError(f"SSH to {where} failed: {error or type(error).__name__}") from None

    def run(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> Completed:
        """Run a command line of the guest's shell and wait for its end.

        Raises:
            SshError: the connection broke, or the command did not end in time.
            Unsupported: the guest has no such command.
        """
        try:
            channel = self._transport.open_session(timeout=self._deadline_s)
            channel.settimeout(deadline_s)
            channel.exec_command(command)
            if stdin:
                channel.sendall(stdin)
            channel.shutdown_write()
            out = channel.makefile("rb").read()
            err = channel.makefile_stderr("rb").read()
            status = channel.recv_exit_status()
            channel.close()
        except TimeoutError:
            raise SshError(f"in the guest, {command!r} did not end within {deadline_s:g} s") from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise SshError(f"SSH broke during {command!r}: {error or type(error).__name__}") from None
        completed = Completed(command, status, out.decode(errors="replace"), err.decode(errors="replace"))
        if status == NOT_FOUND:
            # sh: 1: ethtool: not found
            raise Unsupported(f"the guest lacks a tool: {completed.stderr.strip() or command}")
        return completed

    def check(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> str:
        """Run a command that must end with status 0 and return what it printed.

        Raises:
            CommandFailed: it ended with another status.
        """
        completed = self.run(command, deadline_s=deadline_s, stdin=stdin)
        if completed.status:
            raise CommandFailed(completed)
        return completed.stdout

    def connect_to(self, address: str, port: int) -> paramiko.Channel:
        """Open a TCP connection from the guest to `address`.

        Raises:
            SshError: nobody listens there.
        """
        try:
            return self._transport.open_channel(
                "direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=self._deadline_s
            )
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise SshError(f"the guest does not let us reach its {address} port {port}: {error}") from None

    def start(self, command: str) -> paramiko.Channel:
        """Start a command whose standard input and output are the returned channel.

        Raises:
            SshError: the connection broke.
        """
        try:
            channel = self._transport.open_session(timeout=self._deadline_s)
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise SshError(f"SSH broke before {command!r}: {error or type(error).__name__}") from None
        return channel

    def shell(self, terminal: tuple[str, int, int] | None) -> paramiko.Channel:
        """Start the user's shell, with a terminal (kind, columns, lines) or without one."""
        channel = self._transport.open_session(timeout=self._deadline_s)
        if terminal:
            channel.get_pty(*terminal)
        channel.set_combine_stderr(True)
        channel.invoke_shell()
        return channel

    def close(self) -> None:
        """End the connection."""
        self._transport.close()
