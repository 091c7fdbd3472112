"""The media that answer Setup: a CD for every Windows, and a floppy disk for XP."""

import secrets
import string
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from harness.errors import InputError
from harness.image.windows.autounattend import autounattend
from harness.image.windows.compact_disc import write_cd
from harness.image.windows.drivers import Drivers
from harness.image.windows.floppy import write_floppy
from harness.image.windows.medium import Family, Medium
from harness.image.windows.winnt_sif import LOGON_COMMAND, SETUP_COMMAND, winnt_sif

_SCRIPTS: Mapping[Family, str] = {"winxp": "xp", "win10": "w10"}
_COMMON = ("facts.cmd", "hardware.cmd", "logon.cmd", "setup.cmd")
_LONGEST_NAME = 64
"""Joliet's, in characters (Joliet Specification, 1995)."""


@dataclass(frozen=True)
class Media:
    """The images that are written for one installation."""

    cd: Path
    floppy: Path | None


def new_password() -> str:
    """Return a password that every Windows takes: letters of both kinds, digits, nothing that a file would quote."""
    pool = string.ascii_letters + string.digits
    return "Np1" + "".join(secrets.choice(pool) for _ in range(13))


def write_media(
    into: Path,
    family: Family,
    medium: Medium,
    drivers: Drivers,
    *,
    authorized_key: str,
    product_key: str | None,
    password: str,
    ssh: Path | None,
    devcon: Path | None = None,
) -> Media:
    """Write the media for Setup into an existing folder, which nobody else should be able to read.

    Args:
        into: where.
        family: which answers.
        medium: the user's.
        drivers: what goes along.
        authorized_key: who may log in by SSH, as a line of authorized_keys.
        product_key: the user's, if one is given.
        password: the administrator's.
        ssh: the SSH server to install: a ZIP archive, for Windows 10 also a .msi or .cab file.
        devcon: devcon.exe, for Windows XP.

    Raises:
        InputError: the archive cannot be used.
    """
    files: dict[str, Path | bytes] = {f"nicproof/{name}": _script(name) for name in _COMMON}
    for script in resources.files(__package__).joinpath("scripts", _SCRIPTS[family]).iterdir():
        files[f"nicproof/{script.name}"] = _script(f"{_SCRIPTS[family]}/{script.name}")
    wanted = sorted({*drivers.expected.values(), *(nic.windows_id for nic in drivers.nics)})
    files["nicproof/wanted.txt"] = _text("\n".join(wanted) + "\n")
    files["nicproof/authorized_keys"] = f"{authorized_key}\n".encode()
    files |= drivers.files()
    if ssh:
        files |= _ssh_files(family, ssh)
    if devcon:
        files["nicproof/devcon.exe"] = _program(family, devcon)
    if family == "win10":
        files["autounattend.xml"] = autounattend(medium, product_key, password)
    for name in files:
        if len(long := max(name.split("/"), key=len)) > _LONGEST_NAME:
            raise InputError(f"{long}: a name on a CD has {_LONGEST_NAME} characters at most; rename it")
    write_cd(into / "answers.iso", files)
    floppy = None
    if family == "winxp":
        floppy = into / "answers.img"
        assert product_key is not None  # Setup takes none without, which was said before
        on_floppy = {"WINNT.SIF": winnt_sif(product_key, password)}
        for command, script_name in ((SETUP_COMMAND, "floppy_setup.cmd"), (LOGON_COMMAND, "floppy_logon.cmd")):
            on_floppy[command.rpartition("\\")[2]] = _script(script_name)
        write_floppy(floppy, on_floppy)
    return Media(into / "answers.iso", floppy)


def _text(text: str) -> bytes:
    """Return a text with the line ends of DOS."""
    return "\r\n".join(text.split("\n")).encode("ascii")


def _script(name: str) -> bytes:
    source = resources.files(__package__).joinpath("scripts", name).read_text()
    # Cygwin's bash is the one reader that would stumble.
    return source.encode() if name.endswith(".sh") else _text(source)


def _program(family: Family, devcon: Path) -> Path:
    if family != "winxp":
        raise InputError(f"--devcon {devcon}: is for winxp; {family} has PowerShell")
    try:
        with devcon.open("rb") as file:
            is_program = file.read(2) == b"MZ"
    except OSError as error:
        raise InputError(f"--devcon {devcon}: {error.strerror}; give devcon.exe for 32 bits") from None
    if not is_program:
        raise InputError(f"--devcon {devcon}: is no program of Windows; give devcon.exe for 32 bits")
    return devcon


def _ssh_files(family: Family, ssh: Path) -> dict[str, Path | bytes]:
    if not ssh.is_file():
        raise InputError(f"--ssh {ssh}: no such file")
    if ssh.suffix.lower() in (".msi", ".cab") and family == "win10":
        return {f"nicproof/ssh/server{ssh.suffix.lower()}": ssh}
    try:
        with zipfile.ZipFile(ssh) as archive:
            members = {member.filename: archive.read(member) for member in archive.infolist() if not member.is_dir()}
    except (zipfile.BadZipFile, OSError):
        allowed = "a ZIP archive" + (", a .msi or a .cab file" if family == "win10" else "")
        raise InputError(f"--ssh {ssh}: cannot be read; allowed: {allowed}") from None
    names = [name.lower() for name in members]
    if family == "win10":
        good, needs = any(name.endswith("install-sshd.ps1") for name in names), "install-sshd.ps1 (Win32-OpenSSH)"
    else:
        good = "install.cmd" in names or any(name.startswith("setup-x86") and name.endswith(".exe") for name in names)
        needs = "install.cmd, or Cygwin's setup-x86*.exe with its packages, at the top"
    if not good:
        raise InputError(f"--ssh {ssh}: the archive has no {needs}")
    return {f"nicproof/ssh/{name}": content for name, content in members.items()}
