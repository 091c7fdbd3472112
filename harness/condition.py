"""What a NIC is to be again after whatever was done to it: its vectors, in guest and device, and its configuration."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from harness.errors import Unsupported
from harness.guest.base import Guest
from harness.guest.settings import MESSAGES, RECEIVE_INTERVAL, SettingKind
from harness.testbed import Testbed
from harness.witness import device_witness

_MTU = 2000
_SETTINGS: Mapping[SettingKind, Mapping[str, int]] = {
    SettingKind.COALESCING: {RECEIVE_INTERVAL: 100},
    SettingKind.MESSAGE_LEVEL: {MESSAGES: 0x2041},
}


@dataclass(frozen=True)
class Condition:
    """The DUT at one moment, as far as anybody can see.

    Attributes:
        vectors: how many are open in the device, its mode, and which ones have a handler in the guest, by index.
        configuration: MTU, MAC address, link, rings and settings, by name: those that the guest tells.
    """

    vectors: tuple[int, str, tuple[int, ...]]
    configuration: Mapping[str, object]

    def changes(self, after: "Condition") -> str:
        """Say what is another than it was; empty if nothing is."""
        before, now = ({"vectors (open, mode, handled)": one.vectors, **one.configuration} for one in (self, after))
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        return "; ".join(f"expected {name} {before.get(name)} as before, seen {now.get(name)}" for name in names)


def condition(bed: Testbed) -> Condition:
    """Return the DUT's present condition."""
    guest = bed.guest
    claimed = tuple(vector.index for vector in guest.interrupts().vectors) if guest.claims else ()
    device = device_witness(bed)
    vectors = (device.function.vectors_granted, str(device.mode), claimed)
    return Condition(vectors, _configuration(guest))


def _configuration(guest: Guest) -> Mapping[str, object]:
    questions: Mapping[str, Callable[[], object]] = {
        "MTU": guest.mtu,
        "MAC address": guest.mac,
        "link": guest.link_settings,
        "rings": guest.rings,
    }
    told: dict[str, object] = {}
    for name, ask in questions.items():
        with suppress(Unsupported):
            told[name] = ask()
    with suppress(Unsupported):
        told |= {str(kind): values for kind, values in guest.all_settings().items()}
    return told


def configure_unusually(guest: Guest) -> None:
    """Give the DUT another configuration than it starts with: its MTU, and settings that its driver offers."""
    with suppress(Unsupported):
        guest.set_mtu(_MTU)
    for kind, values in _SETTINGS.items():
        with suppress(Unsupported):
            guest.change_settings(kind, values)
