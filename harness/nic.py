"""The NIC models that QEMU emulates, and the interrupt modes that a NIC can be used in.

Facts of the hardware as QEMU presents it: nothing here depends on a guest. A new model is one entry in `CATALOGUE`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from packaging.version import Version


class InterruptMode(StrEnum):
    """How a NIC's interrupts reach the processor."""

    POLLED = "polled"
    """The driver asks for none (firmware drivers)."""
    INTX_PIC = "intx-pic"
    """A wired line through the 8259 pair."""
    INTX = "intx"
    """A wired line through the IO-APIC."""
    MSI = "msi"
    """One message (PCI 3.0, 6.8.1)."""
    MSIX = "msix"
    """A message per cause (PCI 3.0, 6.8.2)."""
    MSIX_SHARED = "msix-shared"
    """MSI-X with fewer vectors than queues: all queues share one."""
    MSIX_REMAPPED = "msix-remapped"
    """MSI-X through VT-d interrupt remapping."""

    @property
    def is_line(self) -> bool:
        """Whether the mode uses the INTx line."""
        return self in (InterruptMode.INTX_PIC, InterruptMode.INTX)

    @property
    def is_msix(self) -> bool:
        """Whether the mode uses the MSI-X capability."""
        return self in (InterruptMode.MSIX, InterruptMode.MSIX_SHARED, InterruptMode.MSIX_REMAPPED)

    @property
    def has_vector_per_queue(self) -> bool:
        """Whether each queue has a message vector of its own."""
        return self in (InterruptMode.MSIX, InterruptMode.MSIX_REMAPPED)


def vectors_needed(mode: InterruptMode, rx_queues: int, tx_queues: int) -> int:
    """Return the number of message vectors a driver needs for its queues in `mode` (0 for a line).

    MSI-X: one for each receive queue, one for each transmit queue, one for everything else (link, mailbox, config).
    """
    match mode:
        case InterruptMode.MSI:
            return 1
        case InterruptMode.MSIX_SHARED:
            return 2
        case InterruptMode.MSIX | InterruptMode.MSIX_REMAPPED:
            return rx_queues + tx_queues + 1
        case _:
            return 0


@dataclass(frozen=True)
class InterruptMask:
    """Where an Intel gigabit NIC keeps the mask of causes that may interrupt: 32 bits that read without effect."""

    bar: int
    offset: int


@dataclass(frozen=True)
class NicModel:
    """One NIC as QEMU presents it on the PCI bus."""

    name: str
    description: str
    family: Literal["e1000", "e1000e", "igb", "virtio"]
    """Models that share QEMU code and trace events: the control NIC is never of the DUT's family."""
    device: str
    """QEMU's -device name; for a virtual function, its physical function's."""
    bus: Literal["pci", "pcie"]
    vendor_id: int
    device_id: int
    subsystem_vendor_id: int
    subsystem_id: int
    has_msi: bool
    msix_vectors: int
    """Size of the MSI-X table; 0 without the capability."""
    has_intx: bool = True
    speed_mbps: int | None = 1000
    """Link speed that the model reports at full duplex; None where it reports none."""
    virtual_function: bool = False
    """Made by the physical function's driver in the guest: QEMU has no -device for it."""
    virtual_functions: int = 0
    """How many a driver may make of it (SR-IOV)."""
    longest_mtu: int = 65535
    """What its maker says it can carry; without such a word, the longest IPv4 packet there is (RFC 791, 3.1)."""
    interrupt_masks: tuple[InterruptMask, ...] = ()
    since: Version | None = None
    """The first QEMU that has it, where one that nicproof can use has it not."""
    properties: Mapping[str, str | int] = field(default_factory=lambda: MappingProxyType({}))
    """QEMU device properties that make the model what it is."""

    @property
    def windows_id(self) -> str:
        """The PCI id as Windows' registry and INF files spell it, such as "VEN_8086&DEV_100E"."""
        return windows_id(self.vendor_id, self.device_id)

    @property
    def windows_subsystem(self) -> str:
        """The subsystem's, such as "SUBSYS_11001AF4"."""
        return f"SUBSYS_{self.subsystem_id:04X}{self.subsystem_vendor_id:04X}"

    def cannot(self, mode: InterruptMode) -> str | None:
        """Return why the hardware cannot work in `mode`, or None if it can."""
        if mode is InterruptMode.MSI and not self.has_msi:
            return f"{self.name} has no MSI capability"
        if mode.is_msix and not self.msix_vectors:
            return f"{self.name} has no MSI-X capability"
        if mode.is_line and not self.has_intx:
            return f"{self.name} is a virtual function: it has no interrupt pin (SR-IOV 1.1, 3.4.1.18)"
        return None


_IMS = InterruptMask(bar=0, offset=0x00D0)  # 82540EM 13.4.20, 82574L 10.2.4.5, 82576 8.8.10
_EIMS = InterruptMask(bar=0, offset=0x1524)  # 82576 8.8.3

CATALOGUE: Mapping[str, NicModel] = MappingProxyType(
    {
        model.name: model
        for model in (
            NicModel(
                name="e1000",
                description="Intel 82540EM, parallel PCI",
                family="e1000",
                device="e1000",
                bus="pci",
                vendor_id=0x8086,
                device_id=0x100E,
                subsystem_vendor_id=0x1AF4,
                subsystem_id=0x1100,
                has_msi=False,
                msix_vectors=0,
                longest_mtu=16110,  # a frame of 16128 octets with FCS
                interrupt_masks=(_IMS,),
            ),
            NicModel(
                name="e1000e",
                description="Intel 82574L, PCI Express",
                family="e1000e",
                device="e1000e",
                bus="pcie",
                vendor_id=0x8086,
                device_id=0x10D3,
                subsystem_vendor_id=0x8086,
                subsystem_id=0x0000,
                has_msi=True,
                msix_vectors=5,
                longest_mtu=8996,  # a frame of 9018 octets with VLAN tag and FCS
                interrupt_masks=(_IMS,),
            ),
            NicModel(
                name="igb",
                description="Intel 82576, PCI Express with SR-IOV",
                family="igb",
                device="igb",
                bus="pcie",
                vendor_id=0x8086,
                device_id=0x10C9,
                subsystem_vendor_id=0x1AF4,
                subsystem_id=0x1100,
                has_msi=True,
                msix_vectors=10,
                since=Version("8.0"),
                virtual_functions=7,  # of eight pools of queues, one is the physical function's own
                longest_mtu=9216,  # a frame of 9234 octets with FCS
                interrupt_masks=(_IMS, _EIMS),
            ),
            NicModel(
                name="igbvf",
                description="Intel 82576 virtual function",
                family="igb",
                device="igb",
                bus="pcie",
                vendor_id=0x8086,
                device_id=0x10CA,
                subsystem_vendor_id=0x1AF4,
                subsystem_id=0x1100,
                has_msi=False,
                msix_vectors=3,
                has_intx=False,
                since=Version("8.0"),
                virtual_function=True,
                longest_mtu=9216,  # as the physical function's
                interrupt_masks=(_EIMS,),
            ),
            NicModel(
                name="virtio-net",
                description="virtio network device, transitional",
                family="virtio",
                device="virtio-net-pci",
                bus="pci",
                vendor_id=0x1AF4,
                device_id=0x1000,
                subsystem_vendor_id=0x1AF4,
                subsystem_id=0x0001,
                has_msi=False,
                msix_vectors=4,
                speed_mbps=None,
                properties=MappingProxyType({"disable-legacy": "off", "disable-modern": "off"}),
            ),
            NicModel(
                name="virtio-net-modern",
                description="virtio network device, 1.x only",
                family="virtio",
                device="virtio-net-pci",
                bus="pcie",
                vendor_id=0x1AF4,
                device_id=0x1041,
                subsystem_vendor_id=0x1AF4,
                subsystem_id=0x1100,
                has_msi=False,
                msix_vectors=4,
                speed_mbps=None,
                properties=MappingProxyType({"disable-legacy": "on", "disable-modern": "off"}),
            ),
        )
    }
)


def windows_id(vendor_id: int, device_id: int) -> str:
    """Return a PCI id as Windows' registry and INF files spell it, such as "VEN_8086&DEV_100E"."""
    return f"VEN_{vendor_id:04X}&DEV_{device_id:04X}"
