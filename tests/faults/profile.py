"""Wrong expectations: nothing is wrong with the guest, but the test is told something else."""

from dataclasses import replace

from harness.cell import Cell
from harness.fault import Fault, changed_profile
from harness.nic import InterruptMode


def polled(cell: Cell) -> Cell:
    return replace(cell, mode=InterruptMode.POLLED)


FAULTS = (
    Fault(
        "the driver of another NIC is expected",
        cell="e1000e/msix",
        tests=("test_enumeration.py::test_expected_driver_is_bound",),
        expected=lambda cell: changed_profile(cell, drivers=("e1000",)),
    ),
    Fault(
        "a driver that polls is expected where one uses interrupts",
        cell="e1000/intx",
        tests=(
            "test_interrupts.py::test_polled_driver_enables_no_interrupt_cause",
            "test_interrupts.py::test_polled_driver_gets_not_one_interrupt",
        ),
        expected=polled,
    ),
)
