r"""cmd.exe behind Cygwin's SSH server, whose users' shell is bash: a command runs as over any other way into a Windows.

bash would take the backslashes and quotes of a line for its own, and Cygwin quotes what it hands to Windows' programs.
So a line crosses as the content of a batch file, in which a cmd.exe of its own is given it; the file goes with the
command. Cygwin's processes end with 8 bits, Windows' with 32: the exit code is printed at the end of the output.

Not verified on a guest yet.
"""

import re

from harness.guest.ssh import Ssh
from harness.guest.transport import Completed, TransportError, stdout_of

_SPECIAL = re.compile(r'[\^"&|<>()]')
_STATUS = re.compile(r"nicproof-status (-?\d+)\s*\Z")


def is_cygwin(server: str) -> bool:
    """Return whether an SSH server on a Windows is Cygwin's, by what it calls itself.

    Of Cygwin and of Microsoft's OpenSSH:
        SSH-2.0-OpenSSH_7.3
        SSH-2.0-OpenSSH_for_Windows_8.1
    """
    return "OpenSSH" in server and "Windows" not in server


def batch_of(command: str) -> str:
    """Return the batch file that gives a line to a cmd.exe of its own, where it means what it means at a prompt."""
    line = _SPECIAL.sub(lambda found: f"^{found[0]}", command).replace("%", "%%")
    return f'@cmd /s /c ^"{line}^"\r\n@echo nicproof-status %errorlevel%\r\n'


class CygwinShell:
    """A transport for commands of cmd.exe over a connection whose shell is bash."""

    def __init__(self, ssh: Ssh) -> None:
        self._ssh = ssh

    def run(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> Completed:
        """Run a command line in a cmd.exe of its own and wait for its end."""
        batch = batch_of(command).encode(self._ssh.encoding)
        # bash reads the file off the beginning of the input; what follows is the command's.
        line = (
            f'f=$(mktemp --suffix=.bat) && head -c {len(batch)} >"$f" && cmd.exe /d /c "$(cygpath -w "$f")"; '
            's=$?; rm -f "$f"; exit $s'
        )
        done = self._ssh.run(line, deadline_s=deadline_s, stdin=batch + stdin)
        found = _STATUS.search(done.stdout)
        if found is None:
            words = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
            raise TransportError(f"Cygwin's bash did not run {command!r} to its end: {words[-1]}")
        return Completed(command, int(found[1]), done.stdout[: found.start()], done.stderr)

    def check(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> str:
        """Run a command that must end with status 0 and return what it printed."""
        return stdout_of(self.run(command, deadline_s=deadline_s, stdin=stdin))

    def upload(self, content: bytes, path: str) -> None:
        r"""Write a file by SFTP, at the path that Cygwin has for it."""
        # C:\nicproof\devcon.exe -> /cygdrive/c/nicproof/devcon.exe
        there = re.sub(r"^([A-Za-z]):", lambda found: f"/cygdrive/{found[1].lower()}", path.replace("\\", "/"))
        self._ssh.upload(content, path, place=there)

    def close(self) -> None:
        """End the connection."""
        self._ssh.close()
