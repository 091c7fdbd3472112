"""MTUs that are not what was set, and cables on which long packets do not stay as they are."""

from collections.abc import Iterable

from harness.fault import Fault, changed_nic
from harness.traffic.frames import LONGEST_FRAME
from tests.faults.cable import EXPERIMENT, FROM, IPV4, IPV6, TO, changes, cut_last, garble, longer_than, lose, typed
from tests.faults.guest import in_guest

ABOVE_ALL = 16380


def shorten(frame: bytes) -> Iterable[bytes]:
    return (frame[:9014],)


def numbered_later(frame: bytes) -> bool:
    return frame[12:14] == EXPERIMENT and 10 < int.from_bytes(frame[14:18], "big") < 1 << 16


def mtu(*names: str) -> tuple[str, ...]:
    return tuple(f"test_mtu.py::test_{name}" for name in names)


def instead_of_setting(pattern: str, what: str) -> str:
    """Return a script after which `ip` does something else for what matches a pattern of the shell."""
    return f"""echo 'case $* in {pattern}) {what} ;; *) exec /real/ip "$@" ;; esac' | instead ip"""


FAULTS = (
    Fault(
        "a bit flips in every frame of the tests",
        cell="igb/msix",
        tests=mtu(
            "packet_as_long_as_the_mtu_crosses",
            "frames_over_several_buffers_cross",
            "frame_longer_than_the_mtu_comes_whole_or_not_at_all",
            "mtu_changes_under_traffic",
            "mtu_survives",
        ),
        cable=changes(typed(EXPERIMENT), garble(-1), FROM, TO),
    ),
    Fault(
        "a bit flips in every IP packet from the DUT",
        cell="igb/msix",
        tests=mtu("longer_packet_is_sent_in_fragments"),
        cable=changes(typed(IPV4, IPV6), garble(-1), FROM),
    ),
    Fault(
        "the longest frames are cut short on their way",
        cell="igb/msix",
        tests=mtu("no_frame_is_longer_than_16384_octets"),
        cable=changes(longer_than(ABOVE_ALL), shorten, TO),
    ),
    Fault(
        "the longest frames that are taken come with an octet less",
        cell="igb/msix",
        tests=mtu("longest_frame_is_the_registers"),
        cable=changes(longer_than(LONGEST_FRAME), cut_last, TO),
    ),
    Fault(
        "numbered frames from the DUT are lost but for the first",
        cell="igb/msix",
        tests=mtu("mtu_changes_under_traffic"),
        cable=changes(numbered_later, lose, FROM),
    ),
    Fault(
        "the interface has ten octets more than it was told",
        cell="igb/msix",
        tests=mtu(
            "frame_longer_than_the_mtu_is_not_sent",
            "segments_are_as_long_as_the_mtu[576]",
            "longer_packet_is_sent_in_fragments[IPv4-68]",
            "interface_with_an_mtu_below_1280_has_no_ipv6",
            "mtu_survives",
        ),
        tampered=in_guest(instead_of_setting('*" mtu "*', "exec /real/ip link set $3 mtu $(($5 + 10))")),
    ),
    Fault(
        "the MTU stays as it is, whatever is set",
        cell="igb/msix",
        tests=mtu("mtu_out_of_range_is_refused", "interface_with_an_mtu_below_68_has_no_ipv4"),
        tampered=in_guest(instead_of_setting('*" mtu "*', "")),
    ),
    Fault(
        "an interface that had jumbo frames keeps them",
        cell="e1000e/msix",
        tests=mtu("long_frames_are_dropped_again_with_a_standard_mtu"),
        tampered=in_guest(instead_of_setting('*" mtu 1500"', "")),
    ),
    Fault(
        "longer packets are expected than the maker promises",
        cell="igb/msix",
        tests=mtu("driver_offers_the_longest_mtu_of_the_model"),
        expected=lambda cell: changed_nic(cell, longest_mtu=16110),
    ),
)
