"""Which Windows an ISO holds, by the volume id that its maker gave it."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pycdlib.headervd import VOLUME_DESCRIPTOR_TYPE_PRIMARY, PrimaryOrSupplementaryVD
from pycdlib.pycdlibexception import PyCdlibException

from harness.errors import InputError

_SECTOR = 2048
_DESCRIPTOR = 16
"""The primary volume descriptor's sector (ECMA-119, 8.4), also where a UDF file system is on the same disc."""

Family = Literal["winxp", "win10"]


@dataclass(frozen=True)
class _Kind:
    volume_id: str
    """A regular expression."""
    title: str
    family: Family | None
    """Whose answers it takes; None: it is known, and cannot be used."""
    server: bool = False


# osinfo-db 20221130, data/os/microsoft.com: win-xp, win-10, win-11, win-2k16, win-2k19 and win-2k22. FREE is an
# evaluation, FREV a volume licence. 10 and 11 have the same ids, and so have the servers; 2025's is not verified.
_XP_32 = (
    "(WX[PH](FPP|CCP|OEM)|WXPE?VL|WXPVOL|XRM[PH](FPP|CCP|OEM|VOL)|[XVM]RMSD2|X1A[PH](FPP|CCP|OEM)|X1APVOL|"
    "VRM[PH](FPP|CCP|OEM|VOL)|VX2[PH](FPP|CCP|OEM)|VX2P(RMFPP|VOL)|GRTMUPD|GRTM[PH](FPP|OEM)|GRTMPRMFPP|GRTMHK?N?FPP|"
    "GRTMHKFPP|GRTMHRMFPP|GRTMP(K|KN|RM)?VOL|MX2PFPP)_"
)
_CLIENT = "(J_)?(C?CCOMA|CCSN?A|CEDN?A|CEN?N?A|CES(E|N|NN)?)"
_KINDS = (
    _Kind(_XP_32, "Windows XP, 32 bits", "winxp"),
    _Kind("(ARMPX(FPP|CCP|OEM|VOL)|AX2PX?C?FPP)_", "Windows XP, 64 bits", None),
    _Kind(f"{_CLIENT}_X64FRE[EV]?_", "Windows 10 or 11, 64 bits", "win10"),
    _Kind(f"{_CLIENT}_X86FRE[EV]?_", "Windows 10, 32 bits", None),
    _Kind("(J_)?(SSS|SESS)_X64FRE[EV]?_", "Windows Server 2016, 2019, 2022 or 2025", "win10", server=True),
)
_WANTED: dict[Family, str] = {
    "winxp": "Windows XP, 32 bits (such as GRTMPVOL_EN)",
    "win10": "Windows 10, 11 or Server, 64 bits (such as CCCOMA_X64FRE_EN-US_DV9)",
}


@dataclass(frozen=True)
class Medium:
    """An installation medium that can be used."""

    path: Path
    volume_id: str
    title: str
    server: bool
    language: str
    """As "en-US"; the medium has no other. Windows XP's volume id does not tell it, nor is it asked for there."""

    @property
    def needs_no_key(self) -> bool:
        """Whether Setup takes it without a product key: evaluations, volume licences and servers."""
        return self.server or re.search(r"_X64FRE[EV]_", self.volume_id) is not None

    def sha256(self) -> str:
        """Return the hash of the whole file: it takes a while."""
        with self.path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()


def volume_id(path: Path) -> str:
    """Return the volume id of an ISO, also of one whose files are in a UDF file system beside an empty ISO 9660 one.

    Only the descriptor is read: Microsoft's UDF is not always to a library's liking.

    Raises:
        InputError: there is no such file, or it is no ISO.
    """
    try:
        with path.open("rb") as content:
            content.seek(_DESCRIPTOR * _SECTOR)
            sector = content.read(_SECTOR)
    except OSError as error:
        raise InputError(f"--iso {path}: {error.strerror}") from None
    descriptor = PrimaryOrSupplementaryVD(VOLUME_DESCRIPTOR_TYPE_PRIMARY)
    try:
        descriptor.parse(sector.ljust(_SECTOR, b"\0"), _DESCRIPTOR)
    except PyCdlibException:
        raise InputError(f"--iso {path}: is no ISO image (no volume descriptor in sector {_DESCRIPTOR})") from None
    return bytes(descriptor.volume_identifier).decode("ascii", "replace").rstrip(" \0")


def identify(path: Path, family: Family) -> Medium:
    """Return the medium if it is one of the family.

    Raises:
        InputError: it is not; names what was found.
    """
    found = volume_id(path)
    kind = next((kind for kind in _KINDS if re.match(kind.volume_id, found)), None)
    what = f"is {kind.title}" if kind else "is no medium that is known here"
    if kind is None or kind.family is None or kind.family != family:
        wanted = f"{family} is built from {_WANTED[family]}"
        raise InputError(f"--iso {path}: the volume id is {found!r}, which {what}; {wanted}")
    language = re.search(r"_X64FRE[EV]?_([A-Z]{2,3}(?:-[A-Z]{4})?-[A-Z]{2})(?:_|$)", found)
    return Medium(path, found, kind.title, kind.server, _tag(language[1]) if language else "en-US")


def _tag(name: str) -> str:
    """Return a language as Setup spells it.

    >>> _tag("SR-LATN-RS")
    'sr-Latn-RS'
    """
    first, *middle, last = name.split("-")
    return "-".join([first.lower(), *(part.title() for part in middle), last.upper()])
