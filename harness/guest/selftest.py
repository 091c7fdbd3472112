"""What a driver shows of its NIC: self test, EEPROM, registers, light, wake-up events, and who it is."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum

from harness.guest.operations import Operations


class SelfTestPart(StrEnum):
    """What a driver may test."""

    REGISTERS = "registers"
    EEPROM = "EEPROM"
    INTERRUPTS = "interrupts"
    LOOPBACK = "loopback"
    LINK = "link"


@dataclass(frozen=True)
class SelfTest:
    """What became of a self test."""

    passed: bool
    results: Mapping[str, int]
    """Part -> 0, or the driver's code for what failed. What the harness has no name for has the driver's own."""


@dataclass(frozen=True)
class Eeprom:
    """The first 16-bit words of an EEPROM, as Intel's gigabit NICs have them (82540EM 5.6, 82574L 6.1, 82576 6.2)."""

    words: tuple[int, ...]

    @property
    def mac(self) -> bytes:
        """The station's address, in words 00h to 02h, the low octet of each first."""
        return b"".join(word.to_bytes(2, "little") for word in self.words[:3])

    @property
    def image_version(self) -> str:
        """The version in word 05h: a decimal digit, and two hexadecimal ones."""
        return f"{self.words[5] >> 12}.{self.words[5] >> 4 & 0xFF:x}"

    @property
    def sum(self) -> int:
        """The sum of words 00h to 3Fh, of which the last is the checksum, in 16 bits."""
        return sum(self.words[:0x40]) & 0xFFFF


class WakeEvent(StrEnum):
    """What may wake a sleeping system."""

    LINK_CHANGE = "link change"
    UNICAST = "unicast"
    MULTICAST = "multicast"
    BROADCAST = "broadcast"
    ARP = "ARP"
    MAGIC_PACKET = "magic packet"


@dataclass(frozen=True)
class WakeEvents:
    """What may wake the system by this NIC."""

    offered: frozenset[WakeEvent]
    on: frozenset[WakeEvent]


class Ability(StrEnum):
    """What a driver may say that it can do."""

    STATISTICS = "statistics"
    """Of its own, beside the system's."""
    SELF_TEST = "self test"
    EEPROM = "EEPROM"
    REGISTER_DUMP = "register dump"
    PRIVATE_FLAGS = "private flags"


@dataclass(frozen=True)
class DriverInformation:
    """What a driver says of itself."""

    name: str
    bus_address: str
    """Bus, device and function, such as "01:00.0"."""
    firmware: str
    """Empty where it tells none."""
    abilities: frozenset[Ability]


class SelfTestOperations(Operations):
    """What a guest's driver may be asked to show of the DUT."""

    def self_test(self, *, offline: bool) -> SelfTest:
        """Have the driver test its NIC, while it works or `offline`; returns when the link is up."""
        self._unsupported("the driver's self test")

    def eeprom(self) -> Eeprom:
        """Return the EEPROM's words up to and with the checksum."""
        self._unsupported("the EEPROM's content")

    def register_dump(self) -> Mapping[str, int]:
        """Return the registers that the driver dumps, by the datasheet's names."""
        self._unsupported("the driver's register dump")

    def identify(self, seconds: int) -> str:
        """Have the NIC's light blink; return why the driver refused, or "" when it is over."""
        self._unsupported("the NIC's light")

    def light_blinking(self) -> AbstractContextManager[None]:
        """Have the NIC's light blink until the context ends, and the driver has given the light back."""
        self._unsupported("the NIC's light")

    def wake_events(self) -> WakeEvents:
        """Return what may wake the system, and what is to."""
        self._unsupported("wake-up events")

    def set_wake_events(self, events: Collection[WakeEvent]) -> str:
        """Have these events alone wake the system; return why the driver refused, or ""."""
        self._unsupported("wake-up events")

    def driver_information(self) -> DriverInformation:
        """Return what the driver says of itself."""
        self._unsupported("the driver's information")
