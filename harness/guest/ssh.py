"""One SSH connection to a guest: pinned host key, public key only, many commands and channels over it."""

import io
import logging
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import paramiko

from harness.errors import InputError, Unsupported
from harness.guest.ssh_offer import KINDS, nothing_in_common, read_offer
from harness.guest.standing_shell import StandingShell
from harness.guest.transport import Completed, TransportError, stdout_of, text_of
from harness.yaml_source import nearest

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # its errors become ours, each with a line of its own

NOT_FOUND = 127
"""A shell's exit status for a command that is not there (POSIX.1-2024, Shell Command Language, 2.8.2)."""


class SshError(TransportError):
    """The connection could not be made, or broke."""


class Ssh:
    """A connection. Its key exchange is the cheapest that both sides have: under emulation that is most of the wait.

    Attributes:
        encoding: what the guest's programs print in.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        user: str,
        key: Path,
        host_key: str | None,
        disabled_algorithms: Mapping[str, Sequence[str]] | None = None,
        encoding: str = "utf-8",
        posix: bool = False,
        deadline_s: float = 20.0,
    ) -> None:
        """Connect and log in.

        Args:
            address: host and TCP port.
            user: whom to log in as.
            key: private key file.
            host_key: the only host key to accept ("ssh-ed25519 AAAA..."); None accepts any, for a guest that only
                loopback reaches and whose key nobody has recorded.
            disabled_algorithms: what is not to be used, by paramiko's names for the kinds.
            encoding: what the guest's programs print in.
            posix: its commands are for a POSIX shell; one serves them all.
            deadline_s: for each step.

        Raises:
            SshError: refused, silent, a wrong host key, no algorithm in common, or the key is not accepted.
            InputError: an algorithm to be disabled is none.
        """
        disabled = {kind: list(names) for kind, names in (disabled_algorithms or {}).items()}
        where = f"{user}@{address[0]} port {address[1]}"
        try:
            connection = socket.create_connection(address, deadline_s)
        except OSError as error:
            raise SshError(f"cannot reach SSH at {where}: {error.strerror or error}") from None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._address, self._deadline_s, self.encoding = address, deadline_s, encoding
        self._shell = StandingShell(lambda: self.start("exec sh")) if posix else None
        try:
            self._transport = paramiko.Transport(connection, disabled_algorithms=disabled)
        except (paramiko.SSHException, EOFError, OSError) as error:
            connection.close()
            raise SshError(f"no SSH server answers at {where}: {error}") from None
        try:
            self._login(where, user, key, host_key, disabled)
        except BaseException:
            self.close()
            raise

    def _login(
        self, where: str, user: str, key: Path, host_key: str | None, disabled: Mapping[str, Sequence[str]]
    ) -> None:
        options = self._transport.get_security_options()
        known = dict(zip(KINDS, (options.kex, options.key_types, options.ciphers, options.digests), strict=True))
        by_kind = dict(zip(KINDS, (disabled.get(name, ()) for name in ("kex", "keys", "ciphers", "macs")), strict=True))
        for kind, names in (*by_kind.items(), ("host key", disabled.get("pubkeys", ()))):
            for name in names:
                if name not in known[kind]:
                    raise InputError(f"ssh.disabled_algorithms: {name}: no such {kind}; {nearest(name, known[kind])}")
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
        except paramiko.ssh_exception.IncompatiblePeer as error:
            raise SshError(f"SSH to {where} failed: {self._why_incompatible(known, by_kind) or error}") from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise SshError(f"SSH to {where} failed: {error or type(error).__name__}") from None

    @property
    def server(self) -> str:
        """What the server calls itself."""
        return str(self._transport.remote_version)

    def _why_incompatible(
        self, known: Mapping[str, Sequence[str]], disabled: Mapping[str, Sequence[str]]
    ) -> str | None:
        try:
            offer = read_offer(self._address, self._deadline_s)
        except (OSError, ValueError):
            return None
        return nothing_in_common(offer, known, disabled, f"paramiko {paramiko.__version__}")

    def run(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> Completed:
        """Run a command line of the guest's shell and wait for its end.

        Raises:
            SshError: the connection broke, or the command did not end in time.
            Unsupported: the guest has no such command.
        """
        try:
            ended = self._shell.run(command, deadline_s) if self._shell and not stdin else None
            out, err, status = ended or self._run_alone(command, deadline_s, stdin)
        except TimeoutError:
            raise SshError(f"in the guest, {command!r} did not end within {deadline_s:g} s") from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise SshError(f"SSH broke during {command!r}: {error or type(error).__name__}") from None
        completed = Completed(command, status, text_of(out, self.encoding), text_of(err, self.encoding))
        if status == NOT_FOUND:
            # sh: 1: ethtool: not found
            raise Unsupported(f"the guest lacks a tool: {completed.stderr.strip() or command}")
        return completed

    def _run_alone(self, command: str, deadline_s: float, stdin: bytes) -> tuple[bytes, bytes, int]:
        """Run a command in a shell of its own; return what it printed on both outputs, and its exit status."""
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
        return out, err, status

    def check(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> str:
        """Run a command that must end with status 0 and return what it printed.

        Raises:
            CommandFailed: it ended with another status.
        """
        return stdout_of(self.run(command, deadline_s=deadline_s, stdin=stdin))

    def upload(self, content: bytes, path: str, *, place: str | None = None) -> None:
        """Write a file by SFTP, which also compares its size; a drive's path is written as SFTP servers take it.

        Args:
            content: of the file.
            path: as the guest has it.
            place: the path as the server has it, where that is another.

        Raises:
            SshError: the file could not be written as a whole.
            Unsupported: the server has no SFTP.
        """
        # C:\nicproof\devcon.exe -> C:/nicproof/devcon.exe
        there = place or (path.replace("\\", "/") if re.match(r"[A-Za-z]:", path) else path)
        try:
            sftp = self._transport.open_sftp_client()
        except (paramiko.SSHException, EOFError) as error:
            raise Unsupported(f"upload of a file: the guest's SSH server has no SFTP ({error})") from None
        try:
            if sftp is None:
                raise SshError(f"SSH broke before the upload of {path}")
            sftp.putfo(io.BytesIO(content), there, len(content))
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise SshError(f"cannot upload {path} into the guest: {error or type(error).__name__}") from None
        finally:
            if sftp is not None:
                sftp.close()

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
