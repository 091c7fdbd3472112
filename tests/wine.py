"""Windows' own programs without a Windows: Wine's cmd.exe and what comes with it.

Wine's programs are another implementation than Microsoft's. What they do differently is no proof of anything; what is
relied on here, they do as documented.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from tempfile import TemporaryFile

from harness.guest.transport import Completed, stdout_of

_PLACES = [Path(place) for place in ("/usr/lib/wine/wine64", "/usr/bin/wine64", "/usr/bin/wine")]
PROGRAM = next((program for program in _PLACES if program.exists()), None)
"""Wine itself, without the wrapper that asks for a 32-bit one."""
WHY_NOT = "no wine on this host: apt-get install -y --no-install-recommends wine"
_SERVE_DEADLINE_S = 240


@dataclass(frozen=True)
class Prefix:
    """A folder that is a Windows of Wine's: 700 MB."""

    folder: Path

    @property
    def drive(self) -> Path:
        """Where C: lies."""
        return self.folder / "drive_c"

    @property
    def _environment(self) -> dict[str, str]:
        quiet = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe=", "DISPLAY": ""}
        return {**os.environ, **quiet, "WINEPREFIX": str(self.folder), "WINEARCH": "win64"}

    def cmd(self, *arguments: str, **streams: object) -> "subprocess.Popen[bytes]":
        """Start a cmd.exe; its directory is C:'s root."""
        command = [str(PROGRAM), "cmd.exe", *arguments]
        return subprocess.Popen(command, cwd=self.drive, env=self._environment, **streams)  # type: ignore[call-overload,no-any-return]

    def bash(self, command: str, **streams: object) -> "subprocess.Popen[bytes]":
        """Start a bash that has Windows' cmd.exe as Cygwin's has it, with its temporary files on drive C."""
        programs = self.folder / "cygwin"
        if not programs.exists():
            programs.mkdir()
            for name, line in (("cmd.exe", f'exec {PROGRAM} cmd.exe "$@"'), ("cygpath", r"printf 'C:\\%s\n' ${2##*/}")):
                (programs / name).write_text(f"#!/bin/bash\n{line}\n")
                (programs / name).chmod(0o755)
        places = {"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(self.drive)}
        environment = {**self._environment, **places}
        return subprocess.Popen(["bash", "-c", command], cwd=self.drive, env=environment, **streams)  # type: ignore[call-overload,no-any-return]

    def run(self, *words: str, deadline_s: float, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        """Run a program to its end; into files, for services that it starts would keep pipes open."""
        command = [str(PROGRAM), *words]
        with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            done = subprocess.run(
                command, env=self._environment, stdin=given, stdout=out, stderr=err, timeout=deadline_s, check=False
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())

    @contextmanager
    def shell(self) -> Iterator[socket.socket]:
        """Start a cmd.exe whose input and output are a socket, as a guest's serial port is; return the other end."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = self.cmd(stdin=theirs, stdout=theirs, stderr=theirs)
        with ours:
            try:
                yield ours
            finally:
                process.kill()
                process.wait(30)

    @contextmanager
    def logged_in(self) -> Iterator[None]:
        """Keep a program running: after the last one Wine ends its services, and the next one waits for them."""
        shell = self.cmd(stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL)
        try:
            yield
        finally:
            shell.kill()
            shell.communicate()

    def await_end(self) -> None:
        """Wait until all that runs in it has ended by itself."""
        self._serve("-w")

    def end(self) -> None:
        """End all that runs in it; the registry is then written."""
        self._serve("-k")
        self._serve("-w")

    def _serve(self, option: str) -> None:
        assert PROGRAM
        servers = (PROGRAM.parent / name for name in ("wineserver64", "wineserver"))
        server = next(file for file in servers if file.exists())
        subprocess.run([server, option], env=self._environment, check=False, timeout=_SERVE_DEADLINE_S)


@contextmanager
def windows(folder: Path) -> Iterator[Prefix]:
    """Make a Windows in a new folder, and remove it with all that runs in it."""
    made = Prefix(folder)
    folder.mkdir()
    try:
        made.run("wineboot", "-i", deadline_s=300)
        made.await_end()  # what made it ends its services, also under those that come next
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


class Wine:
    """A transport whose far end is Wine's cmd.exe."""

    def __init__(self, prefix: Prefix) -> None:
        self._prefix = prefix
        self.drive = prefix.drive
        self.commands: list[str] = []

    def run(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> Completed:
        """Run a line of cmd.exe: from a batch file, so that no quoting but cmd's own is at work."""
        self.commands.append(command)
        lines = ("@echo off", command.replace("%", "%%"), "exit %ERRORLEVEL%", "")
        (self.drive / "line.bat").write_bytes("\r\n".join(lines).encode())
        done = self._prefix.run("cmd", "/c", r"C:\line.bat", deadline_s=deadline_s, stdin=stdin)
        texts = (done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        return Completed(command, done.returncode, *texts)

    def check(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> str:
        """Run a line that must end with status 0."""
        return stdout_of(self.run(command, deadline_s=deadline_s, stdin=stdin))

    def upload(self, content: bytes, path: str) -> None:
        """Write a file on drive C, in whose folders' names small letters and capitals are the same."""
        *folders, name = path.split("\\")[1:]
        place = self.drive
        for folder in folders:
            place = next(one for one in place.iterdir() if one.name.lower() == folder.lower())
        (place / name).write_bytes(content)

    def close(self) -> None:
        """Leave the Windows to its owner."""
