"""The three witnesses of an interrupt mode: what the guest claims, what the device has programmed, what was delivered.

An interrupt mode is believed only when they agree. The device and the wire need nothing from the guest.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.cell import Cell
from harness.errors import NicproofError
from harness.guest.base import InterruptClaim
from harness.nic import InterruptMode, vectors_needed
from harness.qemu.interrupts import Delivery
from harness.qemu.line import LineState
from harness.qemu.machine import DUT_DEVICE_ID
from harness.qemu.pci import PciFunction, read_memory
from harness.testbed import Testbed

HANDLING_S = 1.0
"""Longer than a guest under emulation, which may spend half its time so, handles interrupts in one go."""
VRING_AVAIL_F_NO_INTERRUPT = 1
"""virtio 1.2, 2.7.6: the driver does not want to be told of used buffers."""


@dataclass(frozen=True)
class DeviceWitness:
    """What the driver has programmed into the device and the interrupt controllers."""

    function: PciFunction
    line: LineState | None
    causes_enabled: bool
    """Whether the NIC's own registers let any cause interrupt."""
    mode: InterruptMode


@dataclass(frozen=True)
class WireWitness:
    """What was delivered while frames flowed."""

    delivery: Delivery
    mode: InterruptMode | None
    """None: interrupts came on several ways at once."""


@dataclass(frozen=True)
class Witnesses:
    """All three, of one moment; `claim` and `claimed` are None for a guest that cannot be asked.

    A claim that leaves several modes open counts as the device's word if that is one of them: it agrees, and says no
    more.
    """

    claim: InterruptClaim | None
    claimed: InterruptMode | None
    device: DeviceWitness
    wire: WireWitness

    def modes(self) -> dict[str, InterruptMode | None]:
        """Return each witness's word on the mode; a guest that cannot be asked is absent."""
        said = {"device": self.device.mode, "wire": self.wire.mode}
        return said if self.claim is None else {"claim": self.claimed, **said}

    def said(self) -> dict[str, str]:
        """Return each witness's own words: such as "one of msi, msix" of a claim that leaves it open."""
        words = {who: str(mode or "several") for who, mode in self.modes().items()}
        return words if self.claim is None or not self.claim.alike else {**words, "claim": str(self.claim)}

    def __str__(self) -> str:
        """Return such as "claim: msix, device: msix, wire: none"."""
        return ", ".join(f"{who}: {words}" for who, words in self.said().items())


def ask_witnesses(testbed: Testbed, traffic: Callable[[], object]) -> Witnesses:
    """Return what all three say about a running cell; `traffic` makes frames flow through the DUT both ways.

    The claim is read only where the guest can be asked; the other two need no access to it.
    """
    with testbed.deliveries() as observed:
        traffic()
    device = device_witness(testbed)
    wire = wire_witness(testbed.cell, observed.delivery)
    claim = testbed.guest.interrupts() if testbed.guest.claims else None
    claimed = None if claim is None else claimed_mode(claim, device.mode, testbed.cell)
    return Witnesses(claim, claimed, device, wire)


def claimed_mode(claim: InterruptClaim, device: InterruptMode, cell: Cell) -> InterruptMode:
    """Return the mode that a claim stands for beside the device's word."""
    return device if device in claim.alike else _shared(claim.way, len(claim.vectors), cell)


def device_witness(testbed: Testbed) -> DeviceWitness:
    """Read the device's word: capability by capability, as the PCI specification ranks them.

    MSI-X if it is enabled and a vector is open (PCI 3.0 6.8.2.3), else MSI if enabled (6.8.1.3), else the line if the
    function may raise it (6.2.2), the NIC lets a cause interrupt, and a controller listens. Else nothing: polled.
    While an interrupt is handled, driver and system keep the NIC and the controller closed: a way that is closed is
    looked at again, and polled is only who has every way closed for `HANDLING_S`.
    """
    deadline = time.monotonic() + HANDLING_S
    while (now := _device_now(testbed)).mode is InterruptMode.POLLED and time.monotonic() < deadline:
        testbed.vm.console.wait_for_more(0.02)
    return now


def _device_now(testbed: Testbed) -> DeviceWitness:
    function, line = testbed.function(), testbed.line()
    causes = _causes_enabled(testbed)
    mode = InterruptMode.POLLED
    if function.msix_enabled and function.vectors_granted:
        remapped = any(message.granted and message.remappable for message in function.msix)
        way = InterruptMode.MSIX_REMAPPED if remapped else InterruptMode.MSIX
        mode = _shared(way, function.vectors_granted, testbed.cell)
    elif function.msi_enabled:
        mode = InterruptMode.MSI
    elif function.intx_enabled and causes and line is not None and line.ioapic_open:
        mode = InterruptMode.INTX
    elif function.intx_enabled and causes and line is not None and line.pic_open:
        mode = InterruptMode.INTX_PIC
    return DeviceWitness(function, line, causes, mode)


def wire_witness(cell: Cell, delivery: Delivery) -> WireWitness:
    """Read the mode from what was delivered; shared vectors are told apart by how many there are, so by the device."""
    ways = delivery.ways
    if len(ways) > 1:
        return WireWitness(delivery, None)
    mode = next(iter(ways), InterruptMode.POLLED)
    if mode is InterruptMode.MSIX and cell.mode is InterruptMode.MSIX_SHARED and len(delivery.messages) == 1:
        mode = InterruptMode.MSIX_SHARED  # frames went both ways, and one vector served both
    return WireWitness(delivery, mode)


def _shared(way: InterruptMode, vectors: int, cell: Cell) -> InterruptMode:
    """Tell MSI-X with a vector for each queue from MSI-X with fewer, where it is known how many queues there are."""
    queues = cell.queues
    if queues is not None and way is InterruptMode.MSIX and vectors < vectors_needed(way, queues.rx, queues.tx):
        return InterruptMode.MSIX_SHARED
    return way


def _causes_enabled(testbed: Testbed) -> bool:
    """Whether the NIC's own mask lets any cause interrupt: Intel's mask registers, virtio's used-buffer flags."""
    monitor, nic = testbed.vm.monitor, testbed.cell.nic
    if nic.family != "virtio":
        masks = (read_memory(monitor, testbed.bar(mask.bar) + mask.offset, 1)[0] for mask in nic.interrupt_masks)
        return any(masks)
    queues = 0
    path = f"/machine/peripheral/{DUT_DEVICE_ID}/virtio-backend"
    for queue in (0, 1):  # receiveq1, transmitq1 (virtio 1.2, 5.1.2)
        try:
            state = monitor.execute("x-query-virtio-queue-status", path=path, queue=queue)
        except NicproofError:
            continue  # not set up by the driver yet
        if state["vring-avail"]:
            queues += not read_memory(monitor, state["vring-avail"], 1)[0] & VRING_AVAIL_F_NO_INTERRUPT
    return queues > 0
