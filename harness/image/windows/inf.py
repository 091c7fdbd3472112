"""What a driver package says of itself in its INF file: for which device on which Windows, and its version."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Arch = Literal["x86", "amd64"]

_MACHINES: Mapping[int, Arch] = {0x014C: "x86", 0x8664: "amd64"}
"""IMAGE_FILE_HEADER.Machine (Microsoft, "PE Format")."""


_FUNCTION_DRIVER = 2
"""Flag of AddService: SPSVCINST_ASSOCSERVICE (Microsoft, "INF AddService Directive")."""


@dataclass(frozen=True)
class Windows:
    """The Windows that a driver is for."""

    version: tuple[int, int]
    """5.1 is XP, 10.0 is 10, 11 and the servers since 2016."""
    arch: Arch

    def __str__(self) -> str:
        """Return such as "Windows 10.0 on amd64"."""
        return f"Windows {self.version[0]}.{self.version[1]} on {self.arch}"


WINDOWS: Mapping[str, Windows] = {
    "winxp": Windows((5, 1), "x86"),
    "win10": Windows((10, 0), "amd64"),
}
"""By the name that profiles have for its generation."""


# From Intel's e1000325.inf, and from virtio-win's netkvm.inf of the w10 folder:
#   [Version]                                  [Version]
#   Signature   = "$Chicago$"                  Signature = "$Windows NT$"
#   Class       = Net                          Class = Net
#   DriverVer   = 06/21/2006,8.10.3.0          DriverVer=08/27/2025,100.103.104.28500
#   [Manufacturer]                             [Manufacturer]
#   %INTEL%     = Intel, NTx86.5.1             %VENDOR% = NetKVM, NTamd64.10.0...16299
#   [Intel.NTx86.5.1]                          [NetKVM.NTamd64.10.0...16299]
#   %E100E.DeviceDesc% = E100E, PCI\VEN_8086&DEV_100E   %kvmnet6.DeviceDesc% = kvmnet6, PCI\VEN_1AF4&DEV_1000&SUBSYS_...
# What is copied and started, from virtio-win's netkvm.inf (NetKVM/netkvm.inx):
#   [version]                                  [kvmnet6.CopyFiles]
#   CatalogFile = netkvm.cat                   netkvm.sys,,,2
#   [kvmnet6.ndi]                              [SourceDisksNames]
#   CopyFiles       = kvmnet6.CopyFiles        1 = %DiskId1%,,,""
#   [kvmnet6.ndi.Services]                     [SourceDisksFiles]
#   AddService      = netkvm, 2, kvmnet6.Service, kvmnet6.EventLog   netkvm.sys  = 1,,
class Inf:
    """One INF file."""

    def __init__(self, path: Path) -> None:
        """Read it: UTF-16 with a byte order mark, or an old code page."""
        self.path = path
        data = path.read_bytes()
        text = (
            data.decode("utf-16", "replace")
            if data[:2] in (b"\xff\xfe", b"\xfe\xff")
            else data.decode("utf-8-sig", "replace")
        )
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

    @property
    def is_windows(self) -> bool:
        """Whether it says that it is an INF, and one for a Windows (Microsoft, "INF Version Section")."""
        signature = dict(self._values("Version")).get("signature", "").strip('"').lower()
        return signature in ("$windows nt$", "$chicago$")

    def ids(self, windows: Windows) -> frozenset[str]:
        """Return the PCI ids for which this Windows takes the package, as "VEN_8086&DEV_100E"."""
        return frozenset("&".join(one.split("&")[:2]) for _, listed in self._models(windows) for one in listed)

    def hardware_ids(self, windows: Windows) -> frozenset[str]:
        """Return the same as they are listed, some with a subsystem: "VEN_8086&DEV_100E&SUBSYS_001E8086"."""
        return frozenset(one for _, listed in self._models(windows) for one in listed)

    def _models(self, windows: Windows) -> list[tuple[str, list[str]]]:
        """Return the section that installs each model, and the model's PCI ids.

        Of several sections with models, Windows reads the one that is nearest to itself (windows-driver-docs,
        install/inf-manufacturer-section.md).
        """
        found: list[tuple[str, list[str]]] = []
        for _, value in self._values("Manufacturer"):
            name, *decorations = [part.strip() for part in value.split(",")]
            fits = [(rank, name + "." + one) for one in decorations if (rank := _rank(one, windows)) is not None]
            section = max(fits)[1] if fits else name
            for _, models in self._values(section):
                install, _, listed = models.partition(",")
                found.append(
                    (install.strip(), re.findall(r"VEN_[0-9A-F]{4}&DEV_[0-9A-F]{4}[&_0-9A-Z]*", listed.upper()))
                )
        return found

    def services(self, windows: Windows, ids: Collection[str]) -> tuple[str, ...]:
        """Return the services that drive devices with one of these ids, as listed, on this Windows.

        Of several sections, Windows reads the nearest one here too (Microsoft, "INF DDInstall.Services Section").
        """
        found: dict[str, None] = {}
        for install, listed in self._models(windows):
            if set(ids) & set(listed):
                for name, value in self._values(self._nearest(install, "services", windows)):
                    service, flags = (*_split(value), "", "")[:2]
                    if name == "addservice" and service and int(flags or "0", 0) & _FUNCTION_DRIVER:
                        found[self._filled(service)] = None
        return tuple(found)

    def _nearest(self, install: str, suffix: str, windows: Windows) -> str:
        fits = []
        for section in self._sections:
            if section.startswith(f"{install.lower()}.") and section.endswith(f".{suffix}"):
                decoration = section[len(install) + 1 : -len(suffix) - 1]
                if (rank := _rank(decoration, windows)) is not None:
                    fits.append((rank, section))
        return max(fits)[1] if fits else f"{install}.{suffix}"

    def _filled(self, text: str) -> str:
        """Put in what [Strings] has for %name%."""
        strings = {name: value.strip('"') for name, value in self._values("Strings")}
        return re.sub(r"%([^%]+)%", lambda found: strings.get(found[1].lower(), found[0]), text)

    def catalog(self, windows: Windows) -> str | None:
        """Return the name of the catalog that signs the package on this Windows, if it has one."""
        values = dict(self._values("Version"))
        named = (values.get(f"catalogfile{one}") for one in (f".nt{windows.arch}", ".nt", ""))
        return next((self._filled(name.strip('"')) for name in named if name), None)

    def files(self, windows: Windows) -> tuple[str, ...]:
        r"""Return what this Windows copies from beside the INF: `e1q.sys`, or `x86\e1q.sys`; not the catalog.

        A file is part of a package if it is listed as a source and some section copies it (Microsoft, "INF
        SourceDisksFiles Section"); what is copied and not listed comes from Windows itself.
        """
        disks, sources = (
            dict(self._values(name)) | dict(self._values(f"{name}.{windows.arch}"))
            for name in ("SourceDisksNames", "SourceDisksFiles")
        )
        found = set()
        for name in self._copied(windows) & sources.keys():
            disk, folder = (*_split(sources[name]), "")[:2]
            place = (*_split(disks.get(disk, "")), "", "", "", "")[3]
            parts = [part for path in (place, folder) for part in path.split("\\") if part not in ("", ".")]
            found.add("\\".join([*parts, name]))
        return tuple(sorted(found))

    def _copied(self, windows: Windows) -> set[str]:
        """Return the names, in lower case, of all sources that sections copy which are not another processor's."""
        copied: set[str] = set()
        for section in self._sections:
            other = re.search(r"\.nt(x86|amd64|ia64|arm64|arm)\b", section)
            if other and other[1] != windows.arch:
                continue
            for directive in (value for name, value in self._values(section) if name == "copyfiles"):
                for one in _split(directive):
                    lines = [one[1:]] if one.startswith("@") else self._sections.get(one.lower(), [])
                    fields = [(*_split(line), "")[:2] for line in lines]
                    copied |= {(source or destination).lower() for destination, source in fields}
        return copied

    def runs_on(self, arch: Arch) -> bool:
        """Tell whether a driver of this processor's lies beside the INF: packages for others have the same names."""
        return any(processor(file) == arch for file in self.path.parent.iterdir() if file.suffix.lower() == ".sys")


def _split(value: str) -> list[str]:
    return [part.strip().strip('"') for part in value.split(",")]


def _rank(decoration: str, windows: Windows) -> tuple[int, int, int] | None:
    """Return how near a decoration is to a Windows, or None if it is for another."""
    parts = re.fullmatch(r"nt(x86|amd64|ia64|arm64)?(?:\.(\d*)(?:\.(\d*)(?:\..*)?)?)?", decoration.lower())
    if parts is None or parts[1] not in (None, windows.arch):
        return None
    version = int(parts[2] or 0), int(parts[3] or 0)
    return (*version, parts[1] is not None) if version <= windows.version else None


def processor(program: Path) -> Arch | None:
    """Return which processor a program or driver is for; None for what is none, or for another one."""
    with program.open("rb") as file:
        head = file.read(4096)
    if head[:2] != b"MZ" or len(head) < 64:
        return None
    at = int.from_bytes(head[60:64], "little")
    return _MACHINES.get(int.from_bytes(head[at + 4 : at + 6], "little")) if head[at : at + 4] == b"PE\0\0" else None
