"""A driver package of the user's own: whether a Windows can be expected to take it, before anything boots."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from harness.errors import InputError
from harness.image.windows.inf import Inf, Windows, processor
from harness.nic import NicModel


@dataclass(frozen=True)
class OwnPackage:
    """An INF and the files that it names, as they were when they were read."""

    inf: str
    """The INF's name."""
    files: Mapping[str, bytes]
    """Their content by their path in the package, the INF's among them."""

    @property
    def key(self) -> str:
        """A hash of all that it is."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
        return digest.hexdigest()


def read_inf(file: Path, windows: Windows, who: str) -> Inf:
    """Read an INF.

    Args:
        file: which.
        windows: the guest's.
        who: begins the message if something is wrong: the option or field, with its value.

    Raises:
        InputError: it is not there, is no INF or not one of a network driver, or has nothing for this Windows.
    """
    if file.suffix.lower() != ".inf":
        raise InputError(f"{who}: is no driver of a Windows; give the INF file of its package (.inf)")
    try:
        inf = Inf(file)
    except OSError as error:
        raise InputError(f"{who}: {error.strerror or error}; give the INF file of a driver package") from None
    if not inf.is_windows:
        raise InputError(f'{who}: is no INF: its [Version] has no Signature = "$Windows NT$"')
    if inf.device_class.lower() != "net":
        seen = inf.device_class or "none"
        raise InputError(f"{who}: is no network driver's: its class is {seen}; allowed: Net")
    if not inf.ids(windows):
        raise InputError(f"{who}: has no PCI device for {windows}; see its [Manufacturer] section")
    return inf


def matching(inf: Inf, windows: Windows, nic: NicModel) -> frozenset[str]:
    """Return the ids in an INF by which this Windows takes it for a NIC model, as it is listed."""
    return frozenset(
        one
        for one in inf.hardware_ids(windows)
        if one.startswith(nic.windows_id) and ("SUBSYS_" not in one or nic.windows_subsystem in one.split("&"))
    )


def read_package(file: Path, windows: Windows, who: str) -> OwnPackage:
    """Read an INF with the files that it names.

    Raises:
        InputError: as `read_inf` and `with_files`.
    """
    return with_files(read_inf(file, windows, who), windows, who)


def with_files(inf: Inf, windows: Windows, who: str) -> OwnPackage:
    """Read the files that an INF names.

    Args:
        inf: the INF.
        windows: the guest's.
        who: begins the message if something is wrong.

    Raises:
        InputError: a file is not there, is another processor's, or none is a driver.
    """
    named = {name: "its CatalogFile" for name in [inf.catalog(windows)] if name}
    named |= {name: "copied by it" for name in inf.files(windows)}
    found: dict[str, bytes] = {}
    for name, role in {inf.path.name: "the INF", **named}.items():
        place = _find(inf.path.parent, name)
        if place is None:
            cure = "make it with inf2cat" if role == "its CatalogFile" else "put it there"
            raise InputError(f"{who}: {name}, {role}, is not beside it; {cure}, or take it out of the INF")
        if name.lower().endswith(".sys") and (seen := processor(place)) != windows.arch:
            what = f"a driver for {seen}" if seen else "no driver"
            raise InputError(f"{who}: {name} is {what}, the guest's processor is {windows.arch}; build it for that one")
        found[name] = place.read_bytes()
    if not any(name.lower().endswith(".sys") for name in found):
        raise InputError(f"{who}: copies no driver (.sys) for {windows}; see its CopyFiles and [SourceDisksFiles]")
    return OwnPackage(inf.path.name, found)


def _find(folder: Path, name: str) -> Path | None:
    """Return a file by its path in a package, in which small letters and capitals are the same."""
    place = folder
    for part in PureWindowsPath(name).parts:
        here = (one for one in sorted(place.iterdir()) if one.name.lower() == part.lower()) if place.is_dir() else ()
        if (found := next(iter(here), None)) is None:
            return None
        place = found
    return place if place.is_file() else None
