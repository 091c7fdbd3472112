"""Windows' own programs without a Windows: Wine's cmd.exe behind a socket, and behind an SSH server.

Wine's `cmd.exe` is another implementation than Microsoft's. What it does differently is no proof of anything; what the
transports rely on, it does as documented.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

WINE = shutil.which("wine")
_META = re.compile(r'[\^"&|<>()]')
WHY_NOT = "no wine on this host: apt-get install -y --no-install-recommends wine"


@dataclass(frozen=True)
class Wine:
    """A Windows of Wine's: its drive C: and whom to start in it."""

    prefix: Path

    @property
    def drive(self) -> Path:
        """Where C: lies."""
        return self.prefix / "drive_c"

    def environment(self) -> dict[str, str]:
        """Return the environment of its programs."""
        quiet = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe=", "DISPLAY": ""}
        return {**os.environ, **quiet, "WINEPREFIX": str(self.prefix)}

    def start(self, *arguments: str, **streams: object) -> "subprocess.Popen[bytes]":
        """Start a cmd.exe; its directory is C:'s root."""
        assert WINE
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [WINE, "cmd.exe", *arguments], cwd=self.drive, env=self.environment(), **streams
        )

    @contextmanager
    def shell(self) -> Iterator[socket.socket]:
        """Start a cmd.exe whose input and output are a socket, as a guest's serial port is; return the other end."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = self.start(stdin=theirs, stdout=theirs, stderr=theirs)
        with ours:
            try:
                yield ours
            finally:
                process.kill()
                process.wait(30)


@contextmanager
def windows() -> Iterator[Wine]:
    """Make a Windows, and remove it with all that runs in it: it takes 700 MB."""
    with tempfile.TemporaryDirectory(prefix="nicproof-wine-", ignore_cleanup_errors=True) as prefix:
        wine = Wine(Path(prefix))
        wine.drive.mkdir()
        made = wine.start(
            "/c", "exit 0", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert made.wait(300) == 0
        try:
            yield wine
        finally:
            for how in ("-k", "-w"):
                server = shutil.which("wineserver") or "/usr/lib/wine/wineserver64"
                subprocess.run([server, how], env=wine.environment(), timeout=60, check=False, capture_output=True)


class _Files(paramiko.SFTPServerInterface):
    """SFTP as Win32-OpenSSH has it: C:/name is a file of drive C:."""

    def __init__(self, server: "_Session", *_: object) -> None:
        self._drive = server.wine.drive

    def canonicalize(self, path: str) -> str:
        return path

    def _real(self, path: str) -> Path:
        assert path.startswith("C:/"), path
        return self._drive / path[3:]

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

    wine: Wine
    key: paramiko.PKey

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return AUTH_SUCCESSFUL if key == self.key else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._execute, args=(channel, command.decode()), daemon=True).start()
        return True

    def _execute(self, channel: paramiko.Channel, command: str) -> None:
        # Wine quotes what it makes a command line of; in a batch file it stands as it is, but for the percent signs.
        with tempfile.NamedTemporaryFile(dir=self.wine.drive, suffix=".bat", delete=False) as file:
            line = _META.sub(lambda found: f"^{found[0]}", command).replace("%", "%%")
            file.write(f'@cmd /s /c ^"{line}^"\r\n@exit %errorlevel%\r\n'.encode("cp437"))
        pipe = subprocess.PIPE
        process = self.wine.start("/c", f"C:\\{Path(file.name).name}", stdin=pipe, stdout=pipe, stderr=pipe)
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

    wine: Wine | None
    user_key: paramiko.PKey
    host_key: paramiko.PKey
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Attributes of paramiko's SecurityOptions."""
    sftp: bool = True
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
            transport.add_server_key(self.host_key)
            for name, algorithms in self.only.items():
                setattr(transport.get_security_options(), name, algorithms)
            if self.sftp:
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files)
            try:
                session = _Session(self.wine or Wine(Path()), self.user_key)
                transport.start_server(event=threading.Event(), server=session)
            except (paramiko.SSHException, EOFError, OSError):
                continue

    def close(self) -> None:
        """Serve no more."""
        self.listener.close()
