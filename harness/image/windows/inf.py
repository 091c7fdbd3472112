"""What a driver package says of itself in its INF file: for which device on which Windows, and its version."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Arch = Literal["x86", "amd64"]

_MACHINES: Mapping[int, Arch] = {0x014C: "x86", 0x8664: "amd64"}
"""IMAGE_FILE_HEADER.Machine (Microsoft, "PE Format")."""


@dataclass(frozen=True)
class Windows:
    """The Windows that a driver is for."""

    version: tuple[int, int]
    """5.1 is XP, 10.0 is 10, 11 and the servers since 2016."""
    arch: Arch


# From Intel's e1000325.inf, and from virtio-win's netkvm.inf of the w10 folder:
#   [Version]                                  [Version]
#   Signature   = "$Chicago$"                  Signature = "$Windows NT$"
#   Class       = Net                          Class = Net
#   DriverVer   = 06/21/2006,8.10.3.0          DriverVer=08/27/2025,100.103.104.28500
#   [Manufacturer]                             [Manufacturer]
#   %INTEL%     = Intel, NTx86.5.1             %VENDOR% = NetKVM, NTamd64.10.0...16299
#   [Intel.NTx86.5.1]                          [NetKVM.NTamd64.10.0...16299]
#   %E100E.DeviceDesc% = E100E, PCI\VEN_8086&DEV_100E   %kvmnet6.DeviceDesc% = kvmnet6, PCI\VEN_1AF4&DEV_1000&SUBSYS_...
class Inf:
    """One INF file."""

    def __init__(self, path: Path) -> None:
        """Read it: UTF-16 with a byte order mark, or an old code page."""
        self.path = path
        data = path.read_bytes()
        text = data.decode("utf-16") if data[:2] in (b"\xff\xfe", b"\xfe\xff") else data.decode("utf-8-sig", "replace")
        self._sections: dict[str, list[str]] = {}
        section: list[str] = []
        for line in text.splitlines():
            line = line.partition(";")[0].strip()
            if named := re.fullmatch(r"\[(.+)\]", line):
                section = self._sections.setdefault(named[1].strip().lower(), [])
            elif line:
                section.append(line)

    def _values(self, section: str) -> list[tuple[str, str]]:
        pairs = (line.partition("=") for line in self._sections.get(section.lower(), ()))
        return [(name.strip().lower(), value.strip()) for name, _, value in pairs]

    @property
    def device_class(self) -> str:
        """The setup class: "Net", "SCSIAdapter"."""
        return dict(self._values("Version")).get("class", "").strip('"')

    @property
    def version(self) -> str:
        """The driver's version, without its date."""
        return dict(self._values("Version")).get("driverver", "").rpartition(",")[2].strip()

    def ids(self, windows: Windows) -> frozenset[str]:
        """Return the PCI ids for which this Windows takes the package, as "VEN_8086&DEV_100E".

        Of several sections with models, Windows reads the one that is nearest to itself (windows-driver-docs,
        install/inf-manufacturer-section.md).
        """
        found: set[str] = set()
        for _, value in self._values("Manufacturer"):
            name, *decorations = [part.strip() for part in value.split(",")]
            fits = [(rank, name + "." + one) for one in decorations if (rank := _rank(one, windows)) is not None]
            section = max(fits)[1] if fits else name
            for _, models in self._values(section):
                found |= set(re.findall(r"VEN_[0-9A-F]{4}&DEV_[0-9A-F]{4}", models.upper()))
        return frozenset(found)

    def runs_on(self, arch: Arch) -> bool:
        """Tell whether a driver of this processor's lies beside the INF: packages for others have the same names."""
        return any(_machine(file) == arch for file in self.path.parent.iterdir() if file.suffix.lower() == ".sys")


def _rank(decoration: str, windows: Windows) -> tuple[int, int, int] | None:
    """Return how near a decoration is to a Windows, or None if it is for another."""
    parts = re.fullmatch(r"nt(x86|amd64|ia64|arm64)?(?:\.(\d*)(?:\.(\d*)(?:\..*)?)?)?", decoration.lower())
    if parts is None or parts[1] not in (None, windows.arch):
        return None
    version = int(parts[2] or 0), int(parts[3] or 0)
    return (*version, parts[1] is not None) if version <= windows.version else None


def _machine(program: Path) -> Arch | None:
    with program.open("rb") as file:
        head = file.read(4096)
    if head[:2] != b"MZ" or len(head) < 64:
        return None
    at = int.from_bytes(head[60:64], "little")
    return _MACHINES.get(int.from_bytes(head[at + 4 : at + 6], "little")) if head[at : at + 4] == b"PE\0\0" else None
