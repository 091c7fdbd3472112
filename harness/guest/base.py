"""The operations that a test may ask of any guest, whatever its operating system: those that several suites need.

What one topic needs stands in a module of its own, beside this one, and becomes part of `Guest` here.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from harness.endpoint.far import FarStation
from harness.endpoint.remote import RemoteEndpoint
from harness.guest.addresses import AddressOperations
from harness.guest.checksums import ChecksumOperations
from harness.guest.configuration import Configuration, told
from harness.guest.filters import FilterOperations
from harness.guest.generator import GeneratorOperations
from harness.guest.lifecycle import LifecycleOperations
from harness.guest.links import LinkOperations
from harness.guest.memory import MemoryOperations
from harness.guest.mtu import MtuOperations
from harness.guest.offloads import OffloadOperations
from harness.guest.packages import PackageOperations
from harness.guest.queues import QueueOperations
from harness.guest.selftest import SelfTestOperations
from harness.guest.settings import SettingOperations
from harness.guest.sriov import SriovOperations
from harness.guest.state import StateOperations
from harness.guest.statistics import StatisticsOperations
from harness.guest.transport import Completed
from harness.guest.vlans import VlanOperations
from harness.nic import InterruptMode


@dataclass(frozen=True)
class Driver:
    """The driver that the guest says it has bound."""

    name: str
    version: str


@dataclass(frozen=True)
class Identity:
    """What the guest's PCI enumeration found at the DUT's place."""

    vendor_id: int
    device_id: int
    subsystem_vendor_id: int
    subsystem_id: int
    class_code: int
    interfaces: tuple[str, ...]
    """Network interfaces that belong to the function."""


@dataclass(frozen=True)
class Access:
    """What the guest reads in the function's command register."""

    memory_decoding: bool
    bus_mastering: bool


@dataclass(frozen=True)
class Link:
    """What the guest says of the link."""

    up: bool
    speed_mbps: int | None


@dataclass(frozen=True)
class Vector:
    """One interrupt that the guest has given to the DUT."""

    irq: int
    index: int
    """MSI-X table entry; 0 for MSI and for a line."""
    name: str
    counts: tuple[int, ...]
    """Handled so far, by processor; empty where the guest does not count."""


@dataclass(frozen=True)
class InterruptClaim:
    """What the guest says about the DUT's interrupts."""

    way: InterruptMode
    """MSIX also where vectors are shared: how many are granted is in `vectors`."""
    vectors: tuple[Vector, ...]
    alike: frozenset[InterruptMode] = frozenset()
    """All modes of which the guest says the same as of `way`, which is then only one of them."""

    def __str__(self) -> str:
        """Return such as "msix", or "one of msi, msix" where the guest does not tell them apart."""
        return f"one of {', '.join(sorted(self.alike))}" if self.alike else str(self.way)


class Guest(
    AddressOperations,
    ChecksumOperations,
    FilterOperations,
    GeneratorOperations,
    LifecycleOperations,
    LinkOperations,
    MemoryOperations,
    MtuOperations,
    OffloadOperations,
    PackageOperations,
    QueueOperations,
    SelfTestOperations,
    SettingOperations,
    SriovOperations,
    StateOperations,
    StatisticsOperations,
    VlanOperations,
):
    """A guest that nobody can log in to: every operation is lacking."""

    @property
    def claims(self) -> bool:
        """Whether the guest can be asked: whether there is a claim beside the device's and the wire's witness."""
        return False

    def command(self, line: str, *, deadline_s: float = 60.0) -> Completed:
        """Run a command line of the guest's own shell: for records of what a guest is, not for tests."""
        self._unsupported("command lines")

    def release(self) -> str:
        """Return the kernel's or the system's release."""
        self._unsupported("the kernel's release")

    def driver(self) -> Driver:
        """Return the driver bound to the DUT; one without a name if none is."""
        self._unsupported("the bound driver")

    def identity(self) -> Identity:
        """Return what enumeration found."""
        self._unsupported("the enumerated identity")

    def access(self) -> Access:
        """Return what the function's driver has switched on, as the guest reads it back."""
        self._unsupported("the function's command register")

    def link(self) -> Link:
        """Return the link's state and speed."""
        self._unsupported("the link's state")

    def full_duplex(self) -> bool | None:
        """Return the link's duplex; None if the driver does not know it."""
        self._unsupported("the link's duplex")

    def interrupts(self) -> InterruptClaim:
        """Return the DUT's interrupts."""
        self._unsupported("the interrupt claim")

    def handled(self) -> Mapping[int, int]:
        """Return vector's index -> interrupts that the guest has handled so far."""
        self._unsupported("how often an interrupt was handled")

    def warnings(self, drivers: Collection[str]) -> list[str]:
        """Return the lines of the system's log at warning level or worse that name the DUT or one of `drivers`."""
        self._unsupported("the kernel log")

    def log(self) -> str:
        """Return the system's log."""
        self._unsupported("the kernel log")

    def queue_vectors(self, direction: Literal["rx", "tx"]) -> dict[int, int]:
        """Return queue -> vector of the queues that have one to themselves or in a pair."""
        self._unsupported("vectors by queue")

    def frames_by_receive_queue(self) -> dict[int, int]:
        """Return queue -> frames received on it so far."""
        self._unsupported("counters by queue")

    def configuration(self) -> Configuration:
        """Return what the DUT is set to: part for part, unless a guest tells it at once."""
        return Configuration(
            mtu=told(self.mtu),
            mac=told(self.mac),
            link=told(self.link_settings),
            rings=told(self.rings),
            settings=told(self.all_settings) or {},
        )

    def set_up(self, up: bool) -> None:
        """Take the DUT's interface down or up; returns when the link is so."""
        self._unsupported("interface down and up")

    def bounce(self, rounds: int) -> None:
        """Take the DUT's interface down and up `rounds` times in quick succession; returns when the link is up."""
        self._unsupported("interface down and up")

    def reset_nic(self) -> None:
        """Have the driver reset the DUT and set it up again; returns when the link is up."""
        self._unsupported("a reset of the NIC by its driver")

    def set_affinity(self, vector: Vector, cpu: int) -> None:
        """Have a vector handled by processor `cpu` only."""
        self._unsupported("interrupt affinity")

    def set_throttle(self, interval_us: int) -> None:
        """Have the DUT leave at least about `interval_us` microseconds between receive interrupts; 0 for no limit."""
        self._unsupported("interrupt throttling")

    def counters(self) -> Mapping[str, int]:
        """Return the DUT's statistics by name."""
        self._unsupported("interface counters")

    def steer_transmission(self) -> None:
        """Have each processor send on the transmit queue of its own number."""
        self._unsupported("transmit queue selection")

    def endpoint(self) -> RemoteEndpoint:
        """Return the endpoint on the DUT itself."""
        self._unsupported("raw frames from the guest")

    def forget_addresses(self) -> None:
        """Have the guest's stack speak no more IPv4 on the DUT."""
        self._unsupported("changing addresses")

    def stand_at_cable(self) -> FarStation:
        """Make the DUT's interface the far end of another DUT's cable."""
        self._unsupported("raw frames from the guest")

    def ping(self, address: str, octets: int) -> bool:
        """Send one echo request with `octets` of data; return whether the answer came."""
        self._unsupported("ping from the guest")

    def start_companion(self) -> None:
        """Have a driver take the device that shares the DUT's INTx line; until then it is silent."""
        self._unsupported("another device on the DUT's line")

    def use_companion(self) -> None:
        """Have the device that shares the DUT's INTx line raise interrupts, and get its work done."""
        self._unsupported("another device on the DUT's line")

    def close(self) -> None:
        """Let go of the guest."""
