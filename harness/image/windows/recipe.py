"""How each Windows is installed: on which machine, in which phases, and how long each may take."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.image.windows.medium import Family
from harness.qemu.machine import InstallMachine


@dataclass(frozen=True)
class Phase:
    """One part of an installation."""

    name: str
    """What the guest says on its first serial port when it begins: "nicproof: phase NAME"."""
    what: str
    deadline_s: float
    """Generous: under emulation an installation takes ten times as long as under KVM."""
    after_restart: bool = False
    """It begins with the first restart in the phase before: no script can run there yet."""


@dataclass(frozen=True)
class Recipe:
    """All that differs between families of Windows but for what is on the media."""

    machine: InstallMachine
    install: tuple[Phase, ...]
    """From the medium to the first logon, which ends with "nicproof: installed" and switching off."""
    hardware: Phase
    """A boot with every NIC, which ends with "nicproof: done" and switching off."""
    disk_gib: int
    """What the guest sees."""
    needs_gib: int
    """Free disk that the build needs: the image twice for a while."""
    needs_key: bool
    """Whether Setup takes no medium without a product key."""


_HOUR = 3600.0
_HARDWARE = Phase("hardware", "Windows finds every NIC", 2 * _HOUR)
RESTARTS = 4
"""In one phase; Setup restarts once or twice in some, and more means that it goes round in circles."""

RECIPES: Mapping[Family, Recipe] = {
    "winxp": Recipe(
        # ACPI and one processor: what Setup finds decides the HAL, and the machine of the tests must fit to it. IDE
        # needs no driver of the user's.
        machine=InstallMachine(
            machine="pc", cpu="pentium3", cpus=1, memory_mib=512, display="cirrus-vga", network="rtl8139"
        ),
        install=(
            Phase("text", "Setup in text mode: the disk, the files", 3 * _HOUR),
            Phase("graphical", "Setup in graphical mode: devices, network", 4 * _HOUR, after_restart=True),
            Phase("finish", "the end of Setup", 1 * _HOUR),
            Phase("logon", "the first logon: settings", 1 * _HOUR),
            Phase("ssh", "the SSH server", 1 * _HOUR),
        ),
        hardware=_HARDWARE,
        disk_gib=10,
        needs_gib=8,
        needs_key=True,
    ),
    "win10": Recipe(
        # Windows 10 and 11 want what Nehalem has: CMPXCHG16B, PREFETCHW, POPCNT, SSE4.2. qemu64 lacks some.
        machine=InstallMachine(machine="q35", cpu="Nehalem", cpus=2, memory_mib=4096, display="VGA", network="rtl8139"),
        install=(
            Phase("copy", "Setup: the disk, the image", 6 * _HOUR),
            Phase("specialize", "devices and settings", 6 * _HOUR),
            Phase("logon", "the first logon: settings, drivers", 3 * _HOUR),
            Phase("ssh", "the SSH server", 1 * _HOUR),
        ),
        hardware=_HARDWARE,
        disk_gib=40,
        needs_gib=45,
        needs_key=False,
    ),
}
