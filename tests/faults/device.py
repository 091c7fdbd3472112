"""Other hardware than the cell says: another device, other properties of it, another way to use its interrupts."""

from collections.abc import Callable
from dataclasses import replace

from harness.cell import Cell
from harness.fault import Fault, changed_nic, changed_start
from harness.nic import InterruptMode
from harness.qemu.machine import DUT_DEVICE_ID, DUT_SLOT
from harness.testbed import Testbed

UNPLUG_DEADLINE_S = 30.0


def in_mode(mode: InterruptMode) -> Callable[[Cell], Cell]:
    return lambda cell: replace(cell, mode=mode)


def half_duplex(cell: Cell) -> Cell:
    return changed_start(cell, device={"speed": 2500, "duplex": "half"})


def full_speed(cell: Cell) -> Cell:
    return changed_nic(cell, speed_mbps=1000)


def replaced_by_entropy_source(bed: Testbed) -> None:
    monitor = bed.vm.monitor
    monitor.forget_events()
    monitor.execute("device_del", id=DUT_DEVICE_ID)
    monitor.wait_event(
        "the guest to let go of its NIC",
        lambda event: event["event"] == "DEVICE_DELETED" and event["data"].get("device") == DUT_DEVICE_ID,
        UNPLUG_DEADLINE_S,
    )
    monitor.execute("device_add", driver="virtio-rng-pci", id=DUT_DEVICE_ID, bus="pci.0", addr=hex(DUT_SLOT))


FAULTS = (
    Fault(
        "an 82544GC in the place of the 82540EM",
        cell="e1000/intx",
        tests=("test_enumeration.py::test_vendor_and_device_id_are_the_models",),
        booted=lambda cell: changed_nic(cell, device="e1000-82544gc"),
    ),
    Fault(
        "a board of another vendor",
        cell="e1000e/msix",
        tests=("test_enumeration.py::test_subsystem_ids_are_the_models",),
        booted=lambda cell: changed_start(cell, device={"subsys_ven": 0x1AF4}),
    ),
    Fault(
        "an entropy source is plugged in the NIC's place",
        cell="e1000/intx",
        tests=("test_enumeration.py::test_class_is_ethernet_controller",),
        tampered=replaced_by_entropy_source,
    ),
    Fault(
        "a link at 2500 Mb/s, half duplex",
        cell="virtio-net/msix",
        tests=("test_enumeration.py::test_speed_is_the_models", "test_enumeration.py::test_duplex_is_full"),
        booted=half_duplex,
        expected=full_speed,
    ),
    Fault(
        "the driver uses the line instead of MSI-X",
        cell="e1000e/msix",
        tests=(
            "test_interrupts.py::test_mode_is_the_cells_by_all_witnesses",
            "test_interrupts.py::test_message_mode_never_raises_the_line",
        ),
        booted=in_mode(InterruptMode.INTX),
    ),
    Fault(
        "the driver uses MSI-X instead of the line",
        cell="e1000e/intx",
        tests=("test_interrupts.py::test_line_mode_leaves_messages_off",),
        booted=in_mode(InterruptMode.MSIX),
    ),
    Fault(
        "the device has two vectors for three",
        cell="virtio-net/msix",
        tests=("test_interrupts.py::test_vectors_granted_are_what_the_queues_need",),
        booted=in_mode(InterruptMode.MSIX_SHARED),
    ),
)
