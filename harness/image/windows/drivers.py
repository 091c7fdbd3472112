"""Which driver packages go into an image, from the media that the user has, and what each NIC model is driven by."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.image.windows.compact_disc import DriverDisc
from harness.image.windows.inf import WINDOWS, Inf
from harness.image.windows.medium import Family
from harness.nic import CATALOGUE, NicModel

_VIRTIO_FOLDER: Mapping[Family, str] = {"winxp": "xp/x86", "win10": "w10/amd64"}
"""virtio-win.iso's; w10 is built for every Windows since 10. Newer discs may lack xp."""
DISK = "virtio-disk"
_DISK_ID = "VEN_1AF4&DEV_1001"
_INBOX: Mapping[Family, frozenset[str]] = {
    "winxp": frozenset(),
    # 82540EM: nete1g3e.inf, 82574L: net1ic64.inf, both seen in Windows; 82576: as AutoHCK uses it. What binds is not
    # verified on a guest yet: the last boot of the build finds it out, and the image's card says it.
    "win10": frozenset({"e1000", "e1000e", "igb"}),
}
"""Models for which this Windows brings a driver. XP: two test projects say none, osinfo-db says e1000: it is given."""
NO_VIRTUAL_FUNCTION = "no Windows drives a virtual function outside of Hyper-V"


@dataclass(frozen=True)
class Package:
    """A driver package for one device."""

    device: str
    """A NIC model's name, or `DISK`."""
    id: str
    inf: Path
    version: str
    source: str
    """As the user gave it."""


@dataclass(frozen=True)
class Drivers:
    """What will be driven, and by what."""

    packages: tuple[Package, ...]
    inbox: tuple[str, ...]
    """NIC models that Windows has a driver for, and for which none is given."""
    missing: Mapping[str, str]
    """NIC models that nothing drives, each with what would help."""

    @property
    def expected(self) -> Mapping[str, str]:
        """PCI ids by name of all devices that must end with a driver, because a package was given for them."""
        return {package.device: package.id for package in self.packages}

    @property
    def nics(self) -> tuple[NicModel, ...]:
        """The NIC models to boot with, so that Windows installs their drivers."""
        return tuple(CATALOGUE[name] for name in CATALOGUE if name in self.expected or name in self.inbox)

    @property
    def has_disk(self) -> bool:
        """Whether a virtio disk can be driven."""
        return DISK in self.expected

    def files(self) -> dict[str, Path]:
        """Return the packages' files by their path on the CD."""
        return {
            f"nicproof/drivers/{package.device}/{file.name}": file
            for package in self.packages
            for file in sorted(package.inf.parent.iterdir())
            if file.is_file()
        }


def collect(family: Family, virtio_win: Path | None, intel: Path | None, work: Path) -> Drivers:
    """Find the packages on the user's media.

    Args:
        family: whose drivers.
        virtio_win: virtio-win's ISO.
        intel: a folder with Intel's drivers, unpacked, in whatever folders.
        work: an existing folder for what is taken out of the ISO.

    Raises:
        InputError: a medium cannot be read, or has nothing for this Windows.
    """
    packages: list[Package] = []
    if virtio_win:
        disc = DriverDisc(virtio_win, "--virtio-win")
        try:
            for part in ("NetKVM", "viostor"):
                disc.copy_folder(f"{part}/{_VIRTIO_FOLDER[family]}", work / part)
                found = list(_packages(family, work / part, str(virtio_win)))
                if not found:
                    raise InputError(
                        f"--virtio-win {virtio_win}: {part}/{_VIRTIO_FOLDER[family]} has no driver for {family}"
                    )
                packages += found
        finally:
            disc.close()
    if intel:
        if not intel.is_dir():
            raise InputError(f"--intel-drivers {intel}: no such folder; give one with Intel's INF files in it")
        found = [package for package in _packages(family, intel, str(intel)) if package.device != DISK]
        if not found:
            raise InputError(
                f"--intel-drivers {intel}: no INF file in it is for {family} and a NIC model of nicproof's"
            )
        packages += found
    best: dict[str, Package] = {}
    for package in packages:
        if package.device not in best or _numbers(package.version) > _numbers(best[package.device].version):
            best[package.device] = package
    real = {name: nic for name, nic in CATALOGUE.items() if not nic.virtual_function}
    inbox = tuple(name for name in real if name in _INBOX[family] and name not in best)
    cure = {name: "--virtio-win" if nic.family == "virtio" else "--intel-drivers" for name, nic in real.items()}
    missing = {
        name: f"none was found; {cure[name]} can give one" for name in real if name not in best and name not in inbox
    }
    missing |= {name: NO_VIRTUAL_FUNCTION for name, nic in CATALOGUE.items() if nic.virtual_function}
    return Drivers(tuple(best[name] for name in sorted(best)), inbox, missing)


def _packages(family: Family, folder: Path, source: str) -> Iterator[Package]:
    devices = {name: nic.windows_id for name, nic in CATALOGUE.items() if not nic.virtual_function} | {DISK: _DISK_ID}
    windows = WINDOWS[family]
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() == ".inf" and file.is_file():
            inf = Inf(file)
            if inf.device_class.lower() in ("net", "scsiadapter") and inf.runs_on(windows.arch):
                ids = inf.ids(windows)
                for name, wanted in devices.items():
                    if wanted in ids:
                        yield Package(name, wanted, file, inf.version, source)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
