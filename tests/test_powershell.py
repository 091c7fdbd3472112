"""PowerShell's command lines, answers and errors. No PowerShell runs here."""

import base64

import pytest

from harness.errors import NicproofError
from harness.guest.powershell import LONGEST_LINE, PowerShell, encoded, one_line, quoted, without_clixml
from harness.guest.transport import CommandFailed, Completed

# PowerShell 5.1 on a Spanish Windows, through SQL Server's xp_cmdshell: a public write-up, shortened to one record.
PROGRESS = (
    '#< CLIXML <Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj S="progress" '
    'RefId="0"><TN RefId="0"><T>System.Management.Automation.PSCustomObject</T><T>System.Object</T></TN><MS><I64 '
    'N="SourceId">1</I64><PR N="Record"><AV>Preparando módulos para el primer uso.</AV><AI>0</AI><Nil /><PI>-1</PI>'
    "<PC>-1</PC><T>Completed</T><SR>-1</SR><SD> </SD></PR></MS></Obj></Objs>"
)


class Guest:
    """A guest that answers all lines alike: for what is made of the answer."""

    def __init__(self, stdout: str = "", stderr: str = "", status: int = 0) -> None:
        self.answer = Completed("", status, stdout, stderr)
        self.commands: list[str] = []
        self.files: dict[str, bytes] = {}

    def run(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> Completed:
        self.commands.append(command)
        return self.answer

    def check(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> str:
        return self.run(command).stdout

    def upload(self, content: bytes, path: str) -> None:
        self.files[path] = content

    def close(self) -> None:
        pass


def test_a_script_reaches_powershell_whatever_it_holds() -> None:
    script = "Write-Output \"%PATH% ^ & | 'ä'\""
    program, _, text = encoded(script).rpartition(" ")
    assert script in base64.b64decode(text).decode("utf-16-le")
    assert program.endswith("-EncodedCommand")
    assert not set('"%^&|<>') & set(encoded(script)), "a character that cmd.exe changes is in the line"


def test_a_script_that_is_too_long_for_a_line_is_uploaded() -> None:
    guest = Guest()
    PowerShell(guest).run("#" + "ä" * LONGEST_LINE)
    ((path, content),) = guest.files.items()
    assert guest.commands == [f'powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "{path}"']
    assert content.startswith(b"\xef\xbb\xbf"), "without the mark, 5.1 reads the file in the system's code page"
    assert b"Remove-Item -LiteralPath $PSCommandPath" in content, "the file would be left over"


def test_a_script_that_just_fits_is_not() -> None:
    guest = Guest()
    PowerShell(guest).run("#" * 2000)
    assert not guest.files
    assert len(guest.commands[0]) <= LONGEST_LINE


@pytest.mark.parametrize(
    ("said", "objects"),
    [
        ("[]", []),
        ("", []),
        ('[{"Name":"Ethernet"}]\r\n', [{"Name": "Ethernet"}]),
        ('\ufeff[{"Name":"LAN-Verbindung"},{"Name":"b"}]', [{"Name": "LAN-Verbindung"}, {"Name": "b"}]),
        ('{"Name":"Ethernet"}', [{"Name": "Ethernet"}]),
        ('{"value":[{"Name":"Ethernet"}],"Count":1}', [{"Name": "Ethernet"}]),
    ],
)
def test_objects_are_a_list_however_many_there_are(said: str, objects: list[dict[str, str]]) -> None:
    assert PowerShell(Guest(said)).ask("Get-NetAdapter") == objects


def test_what_is_no_json_is_named() -> None:
    with pytest.raises(NicproofError, match="no JSON for 'Get-NetAdapter': 'Get-NetAdapter : not'"):
        PowerShell(Guest("Get-NetAdapter : not")).ask("Get-NetAdapter")


def test_progress_is_nothing_to_read() -> None:
    assert without_clixml(PROGRESS) == ""
    assert without_clixml("Access is denied.") == "Access is denied."


def test_an_error_is_the_sentence_alone() -> None:
    # From the documentation, PowerShell 5.1, in the form that its progress above has.
    error = (
        '#< CLIXML\r\n<Objs Version="1.1.0.1"><S S="Error">Get-Item : Cannot find path \'C:\\no\' because it does '
        'not _x000D__x000A_</S><S S="Error">exist &amp; never did._x000D__x000A_</S><S S="Error">At line:1 char:1'
        '_x000D__x000A_</S><S S="Error">+ Get-Item C:\\no_x000D__x000A_</S><S S="Error">    + CategoryInfo : '
        "ObjectNotFound_x000D__x000A_</S></Objs>"
    )
    with pytest.raises(CommandFailed) as caught:
        PowerShell(Guest(stderr=error, status=1)).check("Get-Item C:\\no")
    assert str(caught.value).endswith(
        "ended with status 1: Get-Item : Cannot find path 'C:\\no' because it does not exist & never did."
    )


def test_an_error_without_a_place_is_kept() -> None:
    assert one_line("Zugriff\n verweigert") == "Zugriff verweigert"


def test_text_is_quoted_for_powershell() -> None:
    assert quoted("Bob's $NIC") == "'Bob''s $NIC'"
