"""Segments that are not what the large send was made of, large sends where none may be, and mergers of what differs."""

from collections.abc import Iterable

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from harness.endpoint.cable import Direction, Impairment
from harness.endpoint.headers import transport_of
from harness.fault import Fault
from harness.traffic.segmentation import flags_of, sequence_of
from harness.traffic.transmission import data_of
from tests.faults.cable import FROM, TO, Change, changes, exchange_words
from tests.faults.checksum import repair
from tests.faults.ethtool import edited
from tests.faults.guest import in_guest

SEGMENT = 500
"""As in the suite."""
FIRST = 1001
"""Sequence number of the first octet that the wire sends."""
SYN = 0x02


def with_data(frame: bytes) -> bool:
    return transport_of(frame)[0] in (6, 17) and len(frame) > 200 and bool(data_of(frame))


def stream(frame: bytes) -> bool:
    return transport_of(frame)[0] == 6 and bool(data_of(frame))


def announcement(frame: bytes) -> bool:
    return transport_of(frame)[0] == 6 and bool(flags_of(frame) & SYN)


def age(frame: bytes) -> Iterable[bytes]:
    packet = Ether(frame)
    if IP in packet:
        packet[IP].ttl -= 1
    else:
        packet[IPv6].hlim -= 1
    return repair(bytes(packet))


def flagged(flag: str) -> Change:
    """Set a flag of a segment."""

    def change(frame: bytes) -> Iterable[bytes]:
        packet = Ether(frame)
        packet[TCP].flags |= flag
        return repair(bytes(packet))

    return change


def announce_less(frame: bytes) -> Iterable[bytes]:
    packet = Ether(frame)
    packet[TCP].options = [("MSS", 1000)]
    return repair(bytes(packet))


def mergers() -> Impairment:
    """Join every fourth segment to the DUT with the one that follows it."""
    held: list[bytes] = []

    def impair(way: Direction, frame: bytes) -> Iterable[bytes]:
        if way is not TO or not stream(frame):
            return (frame,)
        if held:
            merged, more = Ether(held.pop()), data_of(frame)
            merged[TCP].payload.load += more
            if IP in merged:
                merged[IP].len += len(more)
            else:
                merged[IPv6].plen += len(more)
            return repair(bytes(merged))
        number = (sequence_of(frame) - FIRST) // SEGMENT
        if number % 4 == 3 and number < 39:
            held.append(frame)
            return ()
        return (frame,)

    return impair


SEGMENTATION_NOT_LEFT = "ethtool -K $nic tso off\n" + edited("-k", "/segmentation/s/: off/: on/")
SEGMENTATION_LEFT = edited("-k", "/segmentation/s/: on/: off/")


def segmentation(*names: str) -> tuple[str, ...]:
    return tuple(f"test_segmentation.py::test_{name}" for name in names)


FAULTS = (
    Fault(
        "words of what the guest sends change places",
        cell="e1000e/msix",
        tests=(
            *segmentation(
                "stream_leaves_in_segments_of_the_announced_length[1000-IPv4]",
                "stream_leaves_in_segments_of_the_announced_length[full-IPv6]",
                "stream_leaves_in_segments_of_the_announced_length[jumbo-IPv6]",
                "udp_payload_leaves_in_datagrams_of_the_length_asked_for[IPv4-off]",
            ),
            "test_mtu.py::test_segments_are_as_long_as_the_mtu[9000]",
        ),
        cable=changes(with_data, exchange_words, FROM),
    ),
    Fault(
        "a router is on the way, which counts the time to live down",
        cell="e1000e/msix",
        tests=segmentation("large_send_leaves_as_the_segments_that_it_is_made_of"),
        cable=changes(stream, age, FROM),
    ),
    Fault(
        "every segment of a large send says that it is the last",
        cell="e1000/intx",
        tests=segmentation("end_of_a_large_send_is_said_in_its_last_segment_alone[IPv4]"),
        cable=changes(stream, flagged("P"), FROM),
    ),
    Fault(
        "every segment of a large send says that no more will come",
        cell="e1000/intx",
        tests=segmentation("end_of_a_large_send_is_said_in_its_last_segment_alone[IPv4]"),
        cable=changes(stream, flagged("F"), FROM),
    ),
    Fault(
        "every segment of a large send says that the window was reduced",
        cell="igb/msix",
        tests=segmentation(
            "reduced_window_is_said_in_the_first_segment_of_a_large_send_alone",
            "controller_leaves_cwr_to_the_first_segment_unasked",
        ),
        cable=changes(stream, flagged("C"), FROM),
    ),
    Fault(
        "segmentation is not left to the NIC though the guest says so",
        cell="e1000e/msix",
        tests=segmentation(
            "large_send_leaves_as_the_segments_that_it_is_made_of",
            "stream_leaves_in_segments_of_the_announced_length[full-IPv4]",
            "stream_leaves_in_segments_of_the_announced_length[jumbo-IPv4]",
        ),
        tampered=in_guest(SEGMENTATION_NOT_LEFT),
    ),
    Fault(
        "the wire is heard to take shorter segments than it does",
        cell="e1000e/msix",
        tests=(
            *segmentation("stream_leaves_in_segments_of_the_announced_length[jumbo-IPv4]"),
            "test_mtu.py::test_segments_are_as_long_as_the_mtu[9000]",
        ),
        cable=changes(announcement, announce_less, TO),
    ),
    Fault(
        "segmentation is left to the NIC though the guest says that it is not",
        cell="e1000e/msix",
        tests=segmentation("without_the_offload_no_large_send_is_handed_over"),
        tampered=in_guest(SEGMENTATION_LEFT),
    ),
    Fault(
        "words of what the wire sends change places",
        cell="e1000e/msix",
        tests=segmentation("stream_is_received_whole[out-of-order-on]", "connections_are_not_mixed"),
        cable=changes(with_data, exchange_words, TO),
    ),
    Fault(
        "segments to the guest are merged whatever they say",
        cell="e1000e/msix",
        tests=segmentation(
            "without_aggregation_segments_are_delivered_as_they_came",
            "segments_that_say_different_things_are_not_merged",
        ),
        cable=mergers,
    ),
    Fault(
        "nothing is merged though the guest says so",
        cell="igb/msix",
        tests=segmentation("segments_that_come_at_once_are_merged"),
        tampered=in_guest("ethtool -K $nic gro off\n" + edited("-k", "/generic-receive/s/: off/: on/")),
    ),
    Fault(
        "damaged segments are repaired",
        cell="e1000e/msix",
        tests=segmentation("damaged_segment_is_not_merged"),
        cable=changes(with_data, repair, TO),
    ),
)
