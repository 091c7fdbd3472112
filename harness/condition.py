"""What a NIC is to be again after whatever was done to it: its vectors, in guest and device, and its configuration."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from harness.errors import Unsupported
from harness.guest.base import Guest
from harness.guest.offloads import Offload
from harness.guest.queues import Rings
from harness.guest.settings import MESSAGES, RECEIVE_INTERVAL, SettingKind
from harness.testbed import Testbed
from harness.witness import device_witness

_MTU = 2000
_RINGS = Rings(128, 128)
_SETTINGS: Mapping[SettingKind, Mapping[str, int]] = {
    SettingKind.COALESCING: {RECEIVE_INTERVAL: 100},
    SettingKind.MESSAGE_LEVEL: {MESSAGES: 0x2041},
    SettingKind.FEATURES: {Offload.VLAN_STRIPPING: 0, Offload.TCP6_SEGMENTATION: 0},
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
    return Condition(vectors, guest.configuration().by_name())


def held_kib(guest: Guest, most: int | None = None) -> int:
    """Return the memory that the DUT's kernel holds (see `LifecycleOperations`), or 0 where nobody can tell."""
    with suppress(Unsupported):
        return guest.kernel_memory_kib(most)
    return 0


def configure_unusually(guest: Guest, *, rings: bool = True) -> str:
    """Give the DUT another configuration than any driver starts with: MTU, rings, and settings that its driver offers.

    Args:
        guest: where.
        rings: change them too; one driver loses their length where it keeps all else.

    Returns:
        What is wrong with what it is set to afterwards, of what was taken; empty if nothing is.
    """
    taken = dict[str, object]()
    with guest.change_at_once():
        for name, (value, change) in _changes(guest, rings).items():
            with suppress(Unsupported):
                if change() in (True, ""):
                    taken[name] = value
    told = guest.configuration().by_name()
    wrong = [f"{name} {told[name]} for {value}" for name, value in taken.items() if not _is_so(value, told.get(name))]
    if guest.claims and not taken:
        return "expected another configuration to be taken, seen nothing changed"
    return f"expected the configuration to be what was taken, seen {'; '.join(wrong)}" if wrong else ""


def _changes(guest: Guest, rings: bool) -> Mapping[str, tuple[object, Callable[[], bool | str]]]:
    """Return what each part of the configuration is to be, by its name there, and what makes it so."""
    others: dict[str, tuple[object, Callable[[], bool | str]]] = {}
    if rings:
        others["rings"] = (_RINGS, lambda: guest.set_rings(rx=_RINGS.rx, tx=_RINGS.tx))
    return {
        "MTU": (_MTU, lambda: guest.set_mtu(_MTU)),
        **others,
        **{str(kind): (values, partial(guest.change_settings, kind, values)) for kind, values in _SETTINGS.items()},
    }


def _is_so(wanted: object, told: object) -> bool:
    """Whether what was told is as wanted; of settings, as far as they are told of."""
    if isinstance(wanted, Mapping) and isinstance(told, Mapping):
        return all(told.get(name, value) == value for name, value in wanted.items())
    return told in (None, wanted)
