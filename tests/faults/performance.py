"""Cables on which there is nothing to measure, and interrupts that nobody sees."""

from harness.fault import Fault
from tests.faults.cable import ARP, EXPERIMENT, FROM, TO, changes, datagram, echo_request, lose, typed


def performance(*names: str) -> tuple[str, ...]:
    return tuple(f"test_performance.py::test_{name}" for name in names)


def is_measured(frame: bytes) -> bool:
    return frame[12:14] == EXPERIMENT or datagram(frame)


FAULTS = (
    Fault(
        "one frame of 1000 is lost in both directions",
        cell="igb/msix",
        tests=performance("every_frame_offered_is_counted", "frames_interrupt_while_they_cross"),
        cable=changes(is_measured, lose, FROM, TO, every=1000),
    ),
    Fault(
        "nothing is known of any address",
        cell="igb/msix",
        tests=performance("every_arp_request_is_answered"),
        cable=changes(typed(ARP), lose, FROM),
    ),
    Fault(
        "no echo request arrives",
        cell="igb/msix",
        tests=performance("every_echo_request_is_answered"),
        cable=changes(echo_request, lose, TO),
    ),
)
