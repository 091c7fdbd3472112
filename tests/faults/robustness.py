"""NICs that are not what they were, guests in which something stays behind, and storms that are none."""

from harness.fault import Fault
from tests.faults.cable import EXPERIMENT, FROM, TO, changes, garble, is_of_a_flood, lose, typed
from tests.faults.guest import in_guest
from tests.faults.link import LATE_WARNING
from tests.faults.statistics import in_netlink


def is_random(frame: bytes) -> bool:
    """Whether one of the strangers sent it who send all random frames."""
    return frame[6:10] == b"\x52\x54\x02\0"


def robustness(*names: str) -> tuple[str, ...]:
    return tuple(f"test_robustness.py::test_{name}" for name in names)


FAULTS = (
    Fault(
        "a bit flips in every raw frame, whatever came before",
        cell="e1000e/msix",
        tests=robustness(
            "random_frames_do_no_harm",
            "header_longer_than_its_packet_does_no_harm",
            "random_frames_leave_nothing_behind",
            "scarce_memory_does_no_harm",
            "failing_requests_for_memory_do_no_harm",
            "interrupt_storm_does_no_harm",
            "link_storm_does_no_harm",
        ),
        cable=changes(typed(EXPERIMENT), garble(-1), FROM, TO),
    ),
    Fault(
        "the kernel warns of the NIC after much or bad has come",
        cell="igb/msix",
        tests=robustness(
            "random_frames_do_no_harm[udp]",
            "header_longer_than_its_packet_does_no_harm[tcp]",
            "random_frames_leave_nothing_behind",
            "scarce_memory_does_no_harm",
            "interrupt_storm_does_no_harm",
            "link_storm_does_no_harm",
            "link_storm_is_counted_sensibly",
        ),
        tampered=in_guest(LATE_WARNING),
    ),
    Fault(
        "the kernel holds more memory each time that it is asked",
        cell="igb/msix",
        tests=robustness(
            "random_frames_do_no_harm[udp]",
            "header_longer_than_its_packet_does_no_harm[tcp]",
            "random_frames_leave_nothing_behind",
            "flood_does_no_harm[tiny]",
            "scarce_memory_does_no_harm",
            "failing_requests_for_memory_do_no_harm",
            "interrupt_storm_does_no_harm",
            "link_storm_does_no_harm",
            "link_storm_is_counted_sensibly",
        ),
        tampered=in_guest(
            """echo '/real/cat "$@"; case $* in */meminfo) echo >>/tmp/asked\n"""
            """echo "MemTotal: $(wc -c </tmp/asked)2000 kB" ;; esac' | instead cat"""
        ),
    ),
    Fault(
        "no frame is counted, neither received nor sent",
        cell="igb/msix",
        tests=robustness("flood_does_no_harm", "flood_both_ways_does_no_harm"),
        tampered=in_guest(in_netlink('s/"packets":[0-9]*/"packets":0/g')),
    ),
    Fault(
        "every request for memory is granted",
        cell="igb/msix",
        tests=robustness("failing_requests_for_memory_do_no_harm"),
        tampered=in_guest("echo 'echo granted' | instead python3"),
    ),
    Fault(
        "requests for memory are said to fail, and none does",
        cell="igb/msix",
        tests=robustness("failing_requests_for_memory_do_no_harm"),
        tampered=in_guest("echo 'echo refused' | instead python3"),
    ),
    Fault(
        "random frames are lost on their way",
        cell="igb/msix",
        tests=robustness("random_frames_do_no_harm", "random_frames_leave_nothing_behind"),
        cable=changes(is_random, lose, TO),
    ),
    Fault(
        "requests from the wire's own address never come",
        cell="igb/msix",
        tests=robustness("link_storm_does_no_harm", "link_storm_is_counted_sensibly"),
        cable=changes(is_of_a_flood, lose, TO),
    ),
    Fault(
        "no interrupt of the storm is counted",
        cell="e1000e/msix",
        tests=robustness("interrupt_storm_does_no_harm"),
        tampered=in_guest("pretend /proc/interrupts </proc/interrupts"),
    ),
    Fault(
        "ten interrupts of the storm are counted for each",
        cell="e1000e/msix",
        tests=robustness("interrupt_storm_does_no_harm"),
        tampered=in_guest(
            """echo 'case $* in /proc/interrupts) """
            """exec sed "s/ *PCI-MSI/0 &/; s/  *[0-9]* *PCI-MSI/0&/" $1 ;; *) exec /real/cat "$@" ;; """
            "esac' | instead cat"
        ),
    ),
    Fault(
        "no change of the link is counted in the storm",
        cell="igb/msix",
        tests=robustness("link_storm_is_counted_sensibly"),
        tampered=in_guest("at=/sys/class/net/$nic/carrier_changes; cat $at | pretend $at"),
    ),
)
