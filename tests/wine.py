"""Wine's own cmd.exe as a transport: real programs of another system's making, with Windows' command lines."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE
from tempfile import TemporaryFile

from harness.guest.transport import CommandFailed, Completed

PROGRAMS = [Path(place) for place in ("/usr/lib/wine/wine64", "/usr/bin/wine64", "/usr/bin/wine")]


def find_wine() -> Path | None:
    """Return Wine's program, without the wrapper that asks for a 32-bit one."""
    return next((program for program in PROGRAMS if program.exists()), None)


class Wine:
    """A prefix of Wine's."""

    def __init__(self, program: Path, prefix: Path) -> None:
        self.drive = prefix / "drive_c"
        self._program = program
        self._environment = {**os.environ, "WINEPREFIX": str(prefix), "WINEDEBUG": "-all", "WINEARCH": "win64"}
        self._environment.pop("DISPLAY", None)
        self.commands: list[str] = []

    def start(self, *words: str, deadline_s: float, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a Windows program to its end; into files, for services that it starts would keep pipes open."""
        command = [str(self._program), *words]
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
    def logged_in(self) -> Iterator[None]:
        """Keep a program running: after the last one Wine ends its services, and the next one waits for them."""
        shell = subprocess.Popen(
            [self._program, "cmd"], env=self._environment, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL
        )
        try:
            yield
        finally:
            shell.kill()
            shell.communicate()

    def serve(self, option: str) -> None:
        """Have the prefix's server end everything (-k), or wait until it has ended by itself (-w)."""
        names = (self._program.parent / name for name in ("wineserver64", "wineserver"))
        server = next(file for file in names if file.exists())
        subprocess.run([server, option], env=self._environment, check=False, timeout=120)

    def run(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> Completed:
        """Run a line of cmd.exe: from a batch file, so that no quoting but cmd's own is at work."""
        self.commands.append(command)
        lines = ("@echo off", command.replace("%", "%%"), "exit %ERRORLEVEL%", "")
        (self.drive / "line.bat").write_bytes("\r\n".join(lines).encode())
        done = self.start("cmd", "/c", r"C:\line.bat", deadline_s=deadline_s, stdin=stdin)
        texts = (done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        return Completed(command, done.returncode, *texts)

    def check(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> str:
        """Run a line that must end with status 0."""
        done = self.run(command, deadline_s=deadline_s, stdin=stdin)
        if done.status:
            raise CommandFailed(done)
        return done.stdout

    def upload(self, content: bytes, path: str) -> None:
        """Write a file on drive C."""
        file = self.drive / path.partition("\\")[2].replace("\\", "/")
        file.write_bytes(content)

    def close(self) -> None:
        """Leave the prefix to its owner."""


@contextmanager
def wine_prefix(program: Path, prefix: Path) -> Iterator[Wine]:
    """Make a prefix, and end whatever runs in it afterwards."""
    wine = Wine(program, prefix)
    prefix.mkdir()
    try:
        wine.start("wineboot", "-i", deadline_s=300)
        wine.serve("-w")  # what made the prefix ends its services, also under those that come next
        with wine.logged_in():
            yield wine
    finally:
        wine.serve("-k")
        shutil.rmtree(prefix, ignore_errors=True)
