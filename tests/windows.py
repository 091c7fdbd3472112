"""An SSH server as Windows has it, with Wine's real cmd.exe behind it."""

import re
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from tests.wine import Prefix

_META = re.compile(r'[\^"&|<>()]')


class _Files(paramiko.SFTPServerInterface):
    """SFTP as Win32-OpenSSH has it, where C:/name is a file of drive C:, and as Cygwin has it: /cygdrive/c/name."""

    def __init__(self, server: "_Session", *_: object) -> None:
        self._drive = server.wine.drive

    def canonicalize(self, path: str) -> str:
        return path

    def _real(self, path: str) -> Path:
        drive = next(name for name in ("C:/", "/cygdrive/c/") if path.startswith(name))
        return self._drive / path.removeprefix(drive)

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle | int:
        handle = paramiko.SFTPHandle(flags)
        try:
            handle.writefile = self._real(path).open("wb")  # type: ignore[attr-defined]
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        return handle

    def stat(self, path: str) -> paramiko.SFTPAttributes | int:
        return paramiko.SFTPAttributes.from_stat(self._real(path).stat())


@dataclass
class _Session(paramiko.ServerInterface):
    """One connection: each command in a cmd.exe of its own, as Win32-OpenSSH starts it."""

    wine: Prefix
    key: paramiko.PKey
    bash: bool

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return AUTH_SUCCESSFUL if key == self.key else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._execute, args=(channel, command.decode()), daemon=True).start()
        return True

    def _start(self, command: str) -> "subprocess.Popen[bytes]":
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        if self.bash:
            return self.wine.bash(command, **streams)
        # Wine quotes what it makes a command line of; in a batch file it stands as it is, but for the percent signs.
        with tempfile.NamedTemporaryFile(dir=self.wine.drive, suffix=".bat", delete=False) as file:
            line = _META.sub(lambda found: f"^{found[0]}", command).replace("%", "%%")
            file.write(f'@cmd /s /c ^"{line}^"\r\n@exit %errorlevel%\r\n'.encode("cp437"))
        return self.wine.cmd("/c", f"C:\\{Path(file.name).name}", **streams)

    def _execute(self, channel: paramiko.Channel, command: str) -> None:
        process = self._start(command)
        assert process.stdin
        assert process.stdout
        assert process.stderr

        def feed() -> None:
            assert process.stdin
            with suppress(OSError), process.stdin:
                while data := channel.recv(65536):
                    process.stdin.write(data)

        def pass_on_errors() -> None:
            assert process.stderr
            with suppress(OSError):  # the client has left
                while data := process.stderr.read1(65536):  # type: ignore[attr-defined]
                    channel.sendall_stderr(data)

        threads = [threading.Thread(target=one, daemon=True) for one in (feed, pass_on_errors)]
        for thread in threads:
            thread.start()
        with suppress(OSError):
            while data := process.stdout.read1(65536):  # type: ignore[attr-defined]
                channel.sendall(data)
            threads[1].join(60)
            channel.send_exit_status(process.wait(60))
            channel.close()


@dataclass
class Server:
    """An SSH server on loopback; what it knows can be narrowed down to what an old one knows."""

    wine: Prefix | None
    user_key: paramiko.PKey
    host_key: paramiko.PKey
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Attributes of paramiko's SecurityOptions."""
    sftp: bool = True
    bash: bool = False
    """Whether it is Cygwin's, whose users' shell is bash."""
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def start(self) -> "Server":
        """Serve from now on."""
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self.listener.getsockname()
        return host, port

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            if self.bash:
                transport.local_version = "SSH-2.0-OpenSSH_7.3"
            transport.add_server_key(self.host_key)
            for name, algorithms in self.only.items():
                setattr(transport.get_security_options(), name, algorithms)
            if self.sftp:
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files)
            try:
                session = _Session(self.wine or Prefix(Path()), self.user_key, self.bash)
                transport.start_server(event=threading.Event(), server=session)
            except (paramiko.SSHException, EOFError, OSError):
                continue

    def close(self) -> None:
        """Serve no more."""
        self.listener.close()
