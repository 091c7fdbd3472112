"""What a driver has programmed into a PCI function, read from QEMU without the guest's help.

Sources: PCI Local Bus 3.0 (6.1 header, 6.7 capability list, 6.8 MSI and MSI-X), PCI Express (7.2.2 ECAM), SR-IOV 1.1.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from harness.errors import NicproofError
from harness.qemu.monitor import Monitor

COMMAND_IO = 1 << 0
COMMAND_MEMORY = 1 << 1
COMMAND_BUS_MASTER = 1 << 2
COMMAND_INTX_DISABLE = 1 << 10
CAPABILITY_MSI = 0x05
CAPABILITY_MSIX = 0x11
EXTENDED_SRIOV = 0x0010
MOST_CAPABILITIES = 48
"""There is room for in the 192 octets behind the header."""
ETHERNET_CLASS = 0x0200
"""Base class and subclass (PCI 3.0, appendix D)."""

VF_BAR_BYTES = 16 * 1024
"""Size of each memory BAR of an 82576 VF (82576 datasheet 9.7.1.13; hw/net/igbvf.c)."""


@dataclass(frozen=True, order=True)
class Bdf:
    """Where a function sits: bus, device, function."""

    bus: int
    device: int
    function: int

    def __str__(self) -> str:
        return f"{self.bus:02x}:{self.device:02x}.{self.function:x}"


@dataclass(frozen=True)
class Message:
    """One message that a function may send: where it is written and what (PCI 3.0 6.8.2.9)."""

    address: int
    data: int
    masked: bool

    @property
    def remappable(self) -> bool:
        """Whether the address is in VT-d's remappable format (VT-d 5.1.2.2: bit 4)."""
        return bool(self.address & 0x10)

    @property
    def granted(self) -> bool:
        """Whether the driver has given this vector somewhere to go and opened it."""
        return not self.masked and self.address != 0


@dataclass(frozen=True)
class PciFunction:
    """The configuration of one function at one moment."""

    bdf: Bdf
    vendor_id: int
    device_id: int
    subsystem_vendor_id: int
    subsystem_id: int
    class_code: int
    """Base class, subclass and programming interface: 24 bits, 0x020000 for Ethernet."""
    command: int
    pin: int
    """1 to 4 for INTA# to INTD#, 0 for none."""
    msi_enabled: bool
    msi: Message | None
    msix_enabled: bool
    msix: tuple[Message, ...]

    @property
    def memory_decoding(self) -> bool:
        """Whether the function answers memory cycles."""
        return bool(self.command & COMMAND_MEMORY)

    @property
    def bus_mastering(self) -> bool:
        """Whether the function may read and write memory by itself."""
        return bool(self.command & COMMAND_BUS_MASTER)

    @property
    def intx_enabled(self) -> bool:
        """Whether the function may raise its line."""
        return self.pin != 0 and not self.command & COMMAND_INTX_DISABLE

    @property
    def vectors_granted(self) -> int:
        """How many messages the driver has opened: MSI-X entries, or 1 for MSI, or 0."""
        if self.msix_enabled:
            return sum(message.granted for message in self.msix)
        return int(self.msi_enabled)


@dataclass(frozen=True)
class Sriov:
    """What a physical function's SR-IOV capability says at one moment (SR-IOV 1.1, 3.3)."""

    total: int
    """TotalVFs: how many virtual functions the device could have."""
    count: int
    """NumVFs: how many the system wants."""
    enabled: bool
    """VF Enable: whether they are there."""
    first: int
    """First VF Offset, from the physical function's routing id."""
    stride: int
    """VF Stride, from one to the next."""

    def place(self, physical: Bdf, index: int) -> Bdf:
        """Return where VF number `index` sits, whether it is there or not (SR-IOV 1.1, 2.1.2)."""
        route = (physical.bus << 8 | physical.device << 3 | physical.function) + self.first + index * self.stride
        return Bdf(route >> 8, route >> 3 & 0x1F, route & 7)


class ConfigSpace(Protocol):
    """Reads 32-bit words of the configuration space."""

    def read(self, bdf: Bdf, offset: int) -> int:
        """Return the little-endian word at `offset`, a multiple of 4."""
        ...

    def undisturbed(self) -> AbstractContextManager[None]:
        """A block in which several words may be read while the guest cannot interfere."""
        ...


class Ecam:
    """Configuration space as memory, on machines with PCI Express."""

    def __init__(self, monitor: Monitor, base: int) -> None:
        self._monitor = monitor
        self.base = base

    def read(self, bdf: Bdf, offset: int) -> int:
        """Return the word at `offset`, 0 to 4092."""
        place = bdf.bus << 20 | bdf.device << 15 | bdf.function << 12 | offset
        return read_memory(self._monitor, self.base + place, 1)[0]

    def undisturbed(self) -> AbstractContextManager[None]:
        """Nothing to do: each read is whole in itself."""
        return nullcontext()


class PortPair:
    """Configuration space through the ports 0xcf8 and 0xcfc, which the guest uses as well."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._alone = False

    def read(self, bdf: Bdf, offset: int) -> int:
        """Return the word at `offset`; what lies beyond 252 is out of reach and reads as all ones."""
        if offset > 0xFC:
            return 0xFFFF_FFFF
        with nullcontext() if self._alone else self.undisturbed():
            place = 1 << 31 | bdf.bus << 16 | bdf.device << 11 | bdf.function << 8 | offset
            self._monitor.human(f"o /w 0xcf8 {place:#x}")
            # portw[0x0cfc] = 0x100e8086
            return int(self._monitor.human("i /w 0xcfc").split("=")[1], 16)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Stop the guest's processors, and leave the address port as it was."""
        running = self._monitor.execute("query-status")["running"]
        if running:
            self._monitor.execute("stop")
        address = self._monitor.human("i /w 0xcf8").split("=")[1].strip()
        self._alone = True
        try:
            yield
        finally:
            self._alone = False
            self._monitor.human(f"o /w 0xcf8 {address}")
            if running:
                self._monitor.execute("cont")


def read_memory(monitor: Monitor, address: int, words: int) -> list[int]:
    """Read 32-bit words of guest-physical memory or device registers.

    Raises:
        NicproofError: nothing answers at that address.
    """
    # 00000000febd8000: 0xfee01004 0x00000000 0x00000025 0x00000000
    answer = monitor.human(f"xp /{words}wx {address:#x}")
    found = [int(word, 16) for line in answer.splitlines() for word in re.findall(r"0x[0-9a-f]{8}\b", line)]
    if len(found) != words:
        raise NicproofError(f"QEMU cannot read {words} words at {address:#x}: {answer.strip()}")
    return found


def config_space(monitor: Monitor) -> ConfigSpace:
    """Return the way to this machine's configuration space; firmware decides where ECAM lies, so it is looked up."""
    #     00000000b0000000-00000000bfffffff (prio 0, i/o): pcie-mmcfg-mmio
    window = re.search(r"([0-9a-f]{16})-[0-9a-f]{16} \([^)]*\): pcie-mmcfg-mmio\b", monitor.human("info mtree"))
    return Ecam(monitor, int(window.group(1), 16)) if window else PortPair(monitor)


def _devices(buses: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for bus in buses:
        for device in bus.get("devices", ()):  # none behind a bridge that is not configured
            yield device
            if "pci_bridge" in device:
                yield from _devices([device["pci_bridge"]])


def capabilities_of(space: ConfigSpace, bdf: Bdf) -> dict[int, int]:
    """Return capability id -> offset (PCI 3.0 6.7).

    Raises:
        NicproofError: no function answers there: all reads as ones, as behind a bridge that is just being set up.
    """
    found: dict[int, int] = {}
    command_and_status = space.read(bdf, 0x04)
    if command_and_status == 0xFFFF_FFFF:
        raise NicproofError(f"no PCI function answers at {bdf}")
    if not command_and_status >> 16 & 0x10:
        return found
    offset = space.read(bdf, 0x34) & 0xFC
    for _ in range(MOST_CAPABILITIES):  # a list that leads back into itself ends, too
        if not offset:
            break
        word = space.read(bdf, offset)
        found.setdefault(word & 0xFF, offset)
        offset = word >> 8 & 0xFC
    return found


def _extended_capability(space: ConfigSpace, bdf: Bdf, wanted: int) -> int | None:
    offset, seen = 0x100, 0
    while offset and seen < MOST_CAPABILITIES and (word := space.read(bdf, offset)) != 0xFFFF_FFFF:
        seen += 1
        if word & 0xFFFF == wanted:
            return offset
        offset = word >> 20 & 0xFFC
    return None


class PciView:
    """The functions of one running machine."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self.space = config_space(monitor)

    def find(self, device: str) -> Bdf:
        """Return where the QEMU device with the id `device` sits now.

        Raises:
            NicproofError: it is not on any bus (unplugged, or its bridge is not configured yet).
        """
        for found in _devices(self._monitor.execute("query-pci")):
            if found["qdev_id"] == device and found["function"] == 0:
                return Bdf(found["bus"], found["slot"], found["function"])
        raise NicproofError(f"QEMU has no PCI device {device!r} on a configured bus")

    def sriov(self, physical: Bdf) -> Sriov:
        """Read the SR-IOV capability of `physical`.

        Raises:
            NicproofError: the function has none.
        """
        at = _extended_capability(self.space, physical, EXTENDED_SRIOV)
        if at is None:
            raise NicproofError(f"{physical} has no SR-IOV capability")
        place = self.space.read(physical, at + 0x14)
        return Sriov(
            total=self.space.read(physical, at + 0x0C) >> 16,
            count=self.space.read(physical, at + 0x10) & 0xFFFF,
            enabled=bool(self.space.read(physical, at + 0x08) & 1),
            first=place & 0xFFFF,
            stride=place >> 16,
        )

    def virtual_functions_present(self, physical: Bdf) -> tuple[int, ...]:
        """Return the numbers of the virtual functions of `physical` that show an Ethernet controller's class."""
        capability = self.sriov(physical)
        places = ((index, capability.place(physical, index)) for index in range(capability.total))
        return tuple(index for index, place in places if self.space.read(place, 0x08) >> 16 == ETHERNET_CLASS)

    def virtual_function(self, physical: Bdf, index: int = 0) -> Bdf:
        """Return where VF number `index` of `physical` sits.

        Raises:
            NicproofError: the function has no such VF, or VFs are off.
        """
        capability = self.sriov(physical)
        if not capability.enabled or index >= capability.count:
            count = capability.count if capability.enabled else 0
            raise NicproofError(f"{physical} has {count} virtual functions, not {index + 1}")
        return capability.place(physical, index)

    def bar(self, bdf: Bdf, number: int, *, of_vf: tuple[Bdf, int] | None = None) -> int:
        """Return the memory address in BAR `number`; for VF `index` of a physical function `of_vf` is (pf, index)."""
        if of_vf is not None:
            physical, index = of_vf
            at = _extended_capability(self.space, physical, EXTENDED_SRIOV)
            assert at is not None, "a virtual function's physical function has the SR-IOV capability"
            return self._address(physical, at + 0x24 + 4 * number) + index * VF_BAR_BYTES
        return self._address(bdf, 0x10 + 4 * number)

    def _address(self, bdf: Bdf, register: int) -> int:
        low = self.space.read(bdf, register)
        high = self.space.read(bdf, register + 4) if low & 0x6 == 0x4 else 0
        return high << 32 | low & 0xFFFFFFF0

    def function(self, bdf: Bdf, *, of_vf: tuple[Bdf, int] | None = None) -> PciFunction:
        """Read the function at `bdf`; `of_vf` = (physical function, index) if it is a virtual one.

        A VF's own vendor and device id read as 0xffff; the ids come from its physical function (SR-IOV 1.1 3.4.1.1).
        """
        with self.space.undisturbed():
            return self._function(bdf, of_vf)

    def _function(self, bdf: Bdf, of_vf: tuple[Bdf, int] | None) -> PciFunction:
        space = self.space
        ids, subsystem = space.read(bdf, 0x00), space.read(bdf, 0x2C)
        if of_vf is not None:
            at = _extended_capability(space, of_vf[0], EXTENDED_SRIOV)
            assert at is not None, "a virtual function's physical function has the SR-IOV capability"
            ids = space.read(of_vf[0], 0x00) & 0xFFFF | space.read(of_vf[0], at + 0x18) & 0xFFFF0000
        capabilities = capabilities_of(space, bdf)
        msi, msi_enabled = None, False
        if (at_msi := capabilities.get(CAPABILITY_MSI)) is not None:
            msi_enabled, msi = self._msi(bdf, at_msi)
        msix: tuple[Message, ...] = ()
        msix_enabled = False
        if (at_msix := capabilities.get(CAPABILITY_MSIX)) is not None:
            msix_enabled, msix = self._msix(bdf, at_msix, of_vf)
        return PciFunction(
            bdf=bdf,
            vendor_id=ids & 0xFFFF,
            device_id=ids >> 16,
            subsystem_vendor_id=subsystem & 0xFFFF,
            subsystem_id=subsystem >> 16,
            class_code=space.read(bdf, 0x08) >> 8,
            command=space.read(bdf, 0x04) & 0xFFFF,
            pin=space.read(bdf, 0x3C) >> 8 & 0xFF,
            msi_enabled=msi_enabled,
            msi=msi,
            msix_enabled=msix_enabled,
            msix=msix,
        )

    def _msi(self, bdf: Bdf, at: int) -> tuple[bool, Message]:
        """Read the MSI capability (PCI 3.0 6.8.1)."""
        control = self.space.read(bdf, at) >> 16
        wide, maskable = bool(control & 0x80), bool(control & 0x100)
        address = self.space.read(bdf, at + 4)
        if wide:
            address |= self.space.read(bdf, at + 8) << 32
        data = self.space.read(bdf, at + (12 if wide else 8)) & 0xFFFF
        masked = maskable and bool(self.space.read(bdf, at + (16 if wide else 12)) & 1)
        return bool(control & 1), Message(address, data, masked)

    def _msix(self, bdf: Bdf, at: int, of_vf: tuple[Bdf, int] | None) -> tuple[bool, tuple[Message, ...]]:
        """Read the MSI-X capability and its table (PCI 3.0 6.8.2); an enabled but masked function delivers nothing."""
        control = self.space.read(bdf, at) >> 16
        entries = (control & 0x7FF) + 1
        where = self.space.read(bdf, at + 4)
        enabled = bool(control & 0x8000) and not control & 0x4000
        command = self.space.read(of_vf[0] if of_vf else bdf, 0x04)
        if not command & COMMAND_MEMORY:
            return enabled, ()
        table = self.bar(bdf, where & 7, of_vf=of_vf) + (where & ~7)
        words = read_memory(self._monitor, table, 4 * entries)
        rows = (words[i : i + 4] for i in range(0, len(words), 4))
        return enabled, tuple(Message(low | high << 32, data, bool(mask & 1)) for low, high, data, mask in rows)
