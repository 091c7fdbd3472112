"""A plain `cmd.exe` on a guest's serial port, for a Windows guest without an SSH server.

Such a shell has no console: it reads lines, writes octets, and that is all. What is a connection's own work elsewhere
is done here by what is typed:

- Each command runs in a `cmd.exe` of its own, as over SSH, and all that means something to a shell is escaped for the
  one that reads the line. So quotes, `%`, `^` and `&` reach the command's own shell as they were given.
- A marker of random digits stands before the output, another with the exit code after it. In the line itself a `^`
  stands inside each, which the shell takes away: a line that comes back as an echo is never taken for a marker.
- Standard input is empty, or a file, never the line: a program that asks for input finds its end, and cannot eat what
  is typed next.
- Standard error goes to a file, which is typed out after the output: so the two stay apart, but not their order. Each
  command has a file of its own, because what one has left running may keep it open.

That `cmd.exe` takes its input from a serial port in this way is not verified on a guest yet (docs/windows-control.md).
"""

import re
import secrets
import select
import socket
import time
import zlib
from collections.abc import Iterable

from harness.errors import Unsupported
from harness.guest.transport import Completed, TransportError, stdout_of, text_of

LONGEST_LINE = 8191
"""What cmd.exe reads of one line (Microsoft, "Command prompt line string limitation"; Windows XP and newer)."""
NOT_FOUND = 9009
"""cmd.exe's code for a command that is not there (winerror.h's MSG_DIR_BAD_COMMAND_OR_FILE, 0x2331)."""
INTERRUPTED_WITHIN_S = 5.0
_OCTETS_A_LINE = 900
"""Of a file; as digits they stay below the 4096 octets that Windows' serial driver keeps for a slow reader."""
_LONGEST_MARKER = 64
_SPECIAL = re.compile(r'[\^"&|<>()%]')
_FROM_HEX = r"""
Set files = CreateObject("Scripting.FileSystemObject")
Set digits = files.OpenTextFile(WScript.Arguments(0))
Set made = files.CreateTextFile(WScript.Arguments(1), True)
Do Until digits.AtEndOfStream
line = digits.ReadLine
For n = 1 To Len(line) - 1 Step 2
made.Write Chr(CLng("&H" + Mid(line, n, 2)))
Next
Loop
made.Close
a = 1
b = 0
If files.GetFile(WScript.Arguments(1)).Size > 0 Then
text = files.OpenTextFile(WScript.Arguments(1)).ReadAll
For n = 1 To Len(text)
a = (a + Asc(Mid(text, n, 1))) Mod 65521
b = (b + a) Mod 65521
Next
End If
WScript.Echo files.GetFile(WScript.Arguments(1)).Size, b, a
"""
"""VBScript: writes a file from digits, reads it again, and says its size and the halves of its Adler-32 (RFC 1950).

Windows XP and 10 both have the script host, the language and this library; certutil that decodes and PowerShell are not
on XP, debug is not on 64 bits. `Chr` and `Asc` are exact where a character is an octet; on a system with double-byte
characters the checksum tells.
"""
_SCRIPT = r"%TEMP%\nicproof.vbs"


class SerialError(TransportError):
    """The shell on the serial port does not answer, or did not do what it was told."""


class _Late(Exception):
    """What was waited for did not come in time."""


def _temporary(kind: str) -> str:
    """Return a file's name that nothing else has: what a command has left running may still hold the last one's."""
    return rf"%TEMP%\nicproof-{secrets.token_hex(4)}.{kind}"


def escaped(text: str) -> str:
    """Return text as it must stand in a line for cmd.exe to hand it on as it is.

    A `%` too: the line `^%OS^%` names no variable, as none is called `OS^`, so it stays until the `^` are taken away.
    """
    return _SPECIAL.sub(lambda found: f"^{found[0]}", text)


class SerialShell:
    """The shell on a connected socket that is the far end of the guest's serial port; the socket stays its owner's."""

    def __init__(self, port: socket.socket, *, encoding: str = "cp437", deadline_s: float = 60.0) -> None:
        """Find the shell, and switch its echo off.

        Args:
            port: the other end of the guest's port.
            encoding: the guest's OEM code page, in which its programs print: cp437, cp850 in Western Europe...
            deadline_s: for the first answer.

        Raises:
            SerialError: no shell answers.
        """
        self._port, self._encoding = port, encoding
        self._heard = bytearray()
        self._unfinished: str | None = None
        self._has_script = False
        if not self._finds_shell(deadline_s):
            raise SerialError(
                f"no cmd.exe answers on the guest's serial port within {deadline_s:g} s: "
                "start one on COM2 (docs/windows-control.md)"
            )

    def _finds_shell(self, deadline_s: float) -> bool:
        """Return whether the shell answers: whatever it still had to say before is forgotten."""
        end, patience_s = time.monotonic() + deadline_s, 1.0
        while (left := end - time.monotonic()) > 0:
            marker = secrets.token_hex(8)
            # One line, as all that is typed: a shell that reads by the block keeps what follows its first line end.
            self._type(f"@echo off& echo {marker[:8]}^{marker[8:]}")
            try:
                self._wait(re.compile(marker.encode()), min(patience_s, left))
            except _Late:
                # It has not been started yet, or what was typed before it was is lost.
                patience_s = min(2 * patience_s, 10.0)
                continue
            self._unfinished = None
            return True
        return False

    def _type(self, line: str) -> None:
        try:
            self._port.settimeout(60.0)
            self._port.sendall(f"{line}\r\n".encode(self._encoding))
        except UnicodeEncodeError as error:
            raise SerialError(f"{line[error.start]!r} is not in the guest's code page, {self._encoding}") from None
        except OSError as error:
            raise SerialError(f"the guest's serial port takes nothing: {error}") from None

    def _wait(self, wanted: re.Pattern[bytes], deadline_s: float) -> tuple[bytes, bytes]:
        """Wait until what was heard holds `wanted`, no longer than a marker; return what stood before it, and it."""
        end, start = time.monotonic() + deadline_s, 0
        while not (found := wanted.search(self._heard, start)):
            start = max(0, len(self._heard) - _LONGEST_MARKER)
            if not select.select([self._port], [], [], max(0.0, end - time.monotonic()))[0]:
                raise _Late
            try:
                came = self._port.recv(1 << 16)
            except OSError as error:
                raise SerialError(f"the guest's serial port broke: {error}") from None
            if not came:
                raise SerialError("the guest's serial port closed")
            self._heard += came
        said = bytes(self._heard[: found.start()]), found[0]
        del self._heard[: found.end()]
        return said

    def run(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> Completed:
        """Run a command line in a cmd.exe of its own and wait for its end.

        A command that takes too long gets a Ctrl-C. A shell on a bare port has no console for which that is more than
        an octet, so it may go on; the shell is then lost until the command ends, and the next one waits for that.

        Raises:
            SerialError: the shell is lost or closed, the line is too long, or the command did not end in time.
            Unsupported: the guest has no such command.
        """
        if self._unfinished is not None and not self._finds_shell(deadline_s):
            raise SerialError(f"the shell on the serial port is lost: {self._unfinished!r} has not ended in the guest")
        errors, source, used = _temporary("err"), "nul", ""
        if stdin:
            given = _temporary("in")
            self.upload(stdin, given)
            source = used = f'"{given}"'
        marker = secrets.token_hex(8)
        line = (
            # The redirections stand before the command: a space behind it would be a part of it.
            f'echo {marker}^B& cmd <{source} 2>"{errors}" /s /c ^"{escaped(command)}^"'
            f'& call echo {marker}E^%errorlevel^%E& type "{errors}"& del "{errors}" {used} 2>nul& echo {marker}^Z'
        )
        if len(line) > LONGEST_LINE or "\n" in line:
            raise SerialError(
                f"cmd.exe takes one line of at most {LONGEST_LINE} characters, this command makes {len(line)}: "
                f"upload a script and run that: {command[:60]!r}"
            )
        self._type(line)
        end, name = time.monotonic() + deadline_s, marker.encode()
        try:
            self._wait(re.compile(name + rb"B\r*\n"), deadline_s)
            stdout, status = self._wait(re.compile(name + rb"E-?\d+E\r*\n"), end - time.monotonic())
            stderr, _ = self._wait(re.compile(name + rb"Z\r*\n"), end - time.monotonic())
        except _Late:
            raise self._interrupt(command, deadline_s, name) from None
        code = int(status.decode().split("E")[1])
        done = Completed(command, code, text_of(stdout, self._encoding), text_of(stderr, self._encoding))
        if done.status == NOT_FOUND:
            raise Unsupported(f"the guest lacks a tool: {done.stderr.strip() or command}")
        return done

    def _interrupt(self, command: str, deadline_s: float, marker: bytes) -> SerialError:
        """Try to end a command, and say what became of it; the next one looks for the shell first in any case."""
        self._unfinished = command
        late = f"in the guest, {command!r} did not end within {deadline_s:g} s"
        try:
            self._port.sendall(b"\x03")
            self._wait(re.compile(marker + b"Z"), INTERRUPTED_WITHIN_S)
        except (_Late, OSError):
            return SerialError(f"{late} and goes on: until it ends, the shell on the serial port is lost")
        return SerialError(f"{late}; it got a Ctrl-C and has ended since")

    def check(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> str:
        """Run a command that must end with status 0 and return what it printed.

        Raises:
            CommandFailed: it ended with another status.
        """
        return stdout_of(self.run(command, deadline_s=deadline_s, stdin=stdin))

    def upload(self, content: bytes, path: str) -> None:
        """Write a file from hexadecimal digits that are typed line by line; size and checksum must be right.

        About three octets cross the line for each of the file's.

        Raises:
            SerialError: the file is not there as a whole afterwards.
        """
        if not self._has_script:
            self._write(_SCRIPT, _FROM_HEX.strip().splitlines())
            self._has_script = True
        digits, typed = content.hex(), _temporary("hex")
        step = 2 * _OCTETS_A_LINE
        self._write(typed, [digits[at : at + step] for at in range(0, len(digits), step)] or ["-"])
        # 102400 40213 1187
        patience_s = 60.0 + len(content) / 5000  # the script host is slow, and slower under emulation
        done = self.run(f'cscript //nologo "{_SCRIPT}" "{typed}" "{path}"& del "{typed}"', deadline_s=patience_s)
        checksum = zlib.adler32(content)
        if done.stdout.split() != [str(part) for part in (len(content), checksum >> 16, checksum & 0xFFFF)]:
            said = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()
            raise SerialError(f"cannot upload {path} into the guest ({len(content)} octets): {said[-1]}")

    def _write(self, file: str, lines: Iterable[str]) -> None:
        """Write a text file of the guest, a line at a time: each is awaited, so that no buffer runs over."""
        marker, how = secrets.token_hex(8), ">"
        for number, line in enumerate(lines):
            self._type(f'{how}"{file}" echo {escaped(line)}& echo {marker}^N{number}')
            how = ">>"
            try:
                self._wait(re.compile(f"{marker}N{number}\r*\n".encode()), 60.0)
            except _Late:
                self._unfinished = f"echo to {file}"
                raise SerialError(f"the shell on the serial port did not write a line of {file} within 60 s") from None

    def close(self) -> None:
        """Do nothing: the port is its owner's."""
