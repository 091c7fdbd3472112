"""PowerShell through a line of cmd.exe: scripts that no quoting can change, answers as JSON, errors as one line."""

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from typing import Any

from harness.errors import NicproofError
from harness.guest.transport import CommandFailed, Completed, Transport

LONGEST_LINE = 8191
"""Characters of a cmd.exe command line (Microsoft, "Command prompt line string limitation")."""

DEADLINE_S = 180.0
"""For a script: PowerShell and its modules are read anew for each, which under emulation takes its time."""

_PROGRAM = "powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass"
_PREFIX = "$ProgressPreference='SilentlyContinue';$ErrorActionPreference='Stop';"
_SUFFIX = ";exit $LASTEXITCODE"
"""Under -EncodedCommand the status is that of the last native program; $null, if there was none, is 0."""
_FOLDER = r"C:\Windows\Temp"


def quoted(text: str) -> str:
    """Return text as PowerShell's literal string, in which an apostrophe is written twice."""
    return "'" + text.replace("'", "''") + "'"


def encoded(script: str) -> str:
    """Return the command line that runs a script, whatever characters it holds."""
    return f"{_PROGRAM} -EncodedCommand {base64.b64encode((_PREFIX + script + _SUFFIX).encode('utf-16-le')).decode()}"


def without_clixml(text: str) -> str:
    r"""Return what a person would read in PowerShell's standard error; progress records are nothing to read.

    Real output, PowerShell 5.1 on a Spanish Windows, shortened ("Preparing modules for first use", from a public
    write-up of commands that were run through SQL Server's xp_cmdshell):
        #< CLIXML <Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj S="progress"
        RefId="0"><TN RefId="0"><T>System.Management.Automation.PSCustomObject</T>...</Obj></Objs>

    An error is in elements of its own, with line ends as _x000D__x000A_:
        <S S="Error">Get-Item : Cannot find path 'C:\no'_x000D__x000A_</S>
    """
    if not text.lstrip("\ufeff\r\n ").startswith("#< CLIXML"):
        return text
    plain = "".join(re.findall(r'<S S="Error">(.*?)</S>', text, re.DOTALL))
    characters = re.sub(r"_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), plain)
    return html.unescape(characters).replace("\r\n", "\n")


def one_line(error: str) -> str:
    r"""Return the sentence of an error, which PowerShell wraps at the console's width and follows with its place.

    From Microsoft's about_Error_Action and Try/Catch pages, PowerShell 5.1 (not recorded):
        Get-Item : Cannot find path 'C:\no' because it does not exist.
        At line:1 char:1
        + Get-Item C:\no
            + CategoryInfo          : ObjectNotFound: (C:\no:String) [Get-Item], ItemNotFoundException
    Where it was is not translated: it begins with "+" on the third line, so the two lines from there up are left out.
    """
    lines = [line.strip() for line in error.splitlines()]
    place = next((number for number, line in enumerate(lines) if line.startswith("+ ")), None)
    sentence = lines if place is None else lines[: max(1, place - 1)]
    return " ".join(" ".join(sentence).split())


class PowerShell:
    """PowerShell in a guest."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def run(self, script: str, *, deadline_s: float = DEADLINE_S) -> Completed:
        """Run a script to its end; what it printed has line feeds alone, what it complained of is plain text."""
        command = encoded(script)
        if len(command) > LONGEST_LINE:
            command = self._uploaded(script)
        done = self._transport.run(command, deadline_s=deadline_s)
        stdout = done.stdout.replace("\r\n", "\n").lstrip("\ufeff")
        return replace(done, command=script, stdout=stdout, stderr=one_line(without_clixml(done.stderr)))

    def check(self, script: str, *, deadline_s: float = DEADLINE_S) -> str:
        """Run a script that must end well and return what it printed.

        Raises:
            CommandFailed: it did not.
        """
        done = self.run(script, deadline_s=deadline_s)
        if done.status:
            raise CommandFailed(done)
        return done.stdout

    def ask(self, pipeline: str, *, depth: int = 3, deadline_s: float = DEADLINE_S) -> list[dict[str, Any]]:
        """Return the objects that a pipeline gives: always a list, also of one or of none.

        Raises:
            CommandFailed: the pipeline failed.
            NicproofError: what came is no JSON.
        """
        # Windows PowerShell 5.1 gives one object for a list of one, so the list is made here; and it has no -AsArray.
        # What is not ASCII is escaped, so that no code page can change it on its way.
        made = f"[string](ConvertTo-Json -InputObject @({pipeline}) -Depth {depth} -Compress)"
        escape = r"{param($m) '\u{0:x4}' -f [int][char]$m.Value}"
        said = self.check(rf"[regex]::Replace({made},'[^\x00-\x7f]',{escape})", deadline_s=deadline_s)
        try:
            found = json.loads(said) if said.strip() else []
        except ValueError:
            raise NicproofError(f"PowerShell gave no JSON for {pipeline!r}: {said.strip()[:80]!r}") from None
        if isinstance(found, dict):  # {"value":[...],"Count":1}: 5.1 does this where something has touched the list
            found = found["value"] if found.keys() == {"value", "Count"} else [found]
        return [dict(one) for one in found]

    def _uploaded(self, script: str) -> str:
        # A byte order mark tells Windows PowerShell 5.1 that the file is UTF-8, not the system's code page.
        lines = (_PREFIX, "Remove-Item -LiteralPath $PSCommandPath", script, _SUFFIX.lstrip(";"), "")
        content = ("\ufeff" + "\r\n".join(lines)).encode()
        path = rf"{_FOLDER}\nicproof-{hashlib.sha256(content).hexdigest()[:16]}.ps1"
        self._transport.upload(content, path)
        return f'{_PROGRAM} -File "{path}"'
