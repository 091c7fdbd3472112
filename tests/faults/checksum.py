"""Checksums that are wrong, or made right where they should have stayed wrong, and errors that are not counted."""

from collections.abc import Iterable

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest
from scapy.layers.l2 import Ether

from harness.endpoint.headers import transport_of
from harness.fault import Fault
from harness.traffic.damage import damaged, flipped
from tests.faults.cable import FROM, IPV4, IPV6, TO, changes, datagram, typed, zero_checksum
from tests.faults.ethtool import edited
from tests.faults.guest import in_guest


def repair(frame: bytes) -> Iterable[bytes]:
    """Compute every checksum anew, as a NIC would that does it unasked."""
    packet = Ether(frame)
    for layer, field in (
        (IP, "chksum"),
        (ICMP, "chksum"),
        (TCP, "chksum"),
        (UDP, "chksum"),
        (ICMPv6EchoRequest, "cksum"),
    ):
        if layer in packet:
            delattr(packet[layer], field)
    return (bytes(packet),)


def spoil(frame: bytes) -> Iterable[bytes]:
    return (damaged(frame)[0],)


def long_packet(frame: bytes) -> bool:
    return frame[12:14] in (IPV4, IPV6) and transport_of(frame)[0] in (6, 17, 58) and len(frame) > 1000


def without_checksum(frame: bytes) -> bool:
    protocol, at = transport_of(frame)
    return protocol == 17 and frame[at + 6 : at + 8] == b"\0\0"


def give_one(frame: bytes) -> Iterable[bytes]:
    return (flipped(frame, transport_of(frame)[1] + 6),)


CHECKSUMS_NOT_LEFT = "ethtool -K $nic tx off\n" + edited("-k", "/tx-checksumming/s/: off/: on/")
CHECKSUMS_LEFT = edited("-k", "/tx-checksumming/s/: on/: off/")
UNCHECKED = "ethtool -K $nic rx off\n" + edited("-k", "/rx-checksumming/s/: off/: on/")
CHECKED = edited("-k", "/rx-checksumming/s/: on/: off/")


def checksum(*names: str) -> tuple[str, ...]:
    return tuple(f"test_checksum.py::test_{name}" for name in names)


FAULTS = (
    Fault(
        "every third long packet leaves with a wrong checksum",
        cell="igb/msix",
        tests=checksum(
            "packet_leaves_with_right_checksums[IPv4-udp-on]",
            "packet_leaves_with_right_checksums[IPv6-tcp-off]",
            "packet_leaves_with_right_checksums[icmpv6-on]",
            "packet_with_more_headers_leaves_with_right_checksums[hop-by-hop-off]",
        ),
        cable=changes(long_packet, spoil, FROM, every=3),
    ),
    Fault(
        "checksums are not left to the NIC though the guest says so",
        cell="e1000/intx",
        tests=checksum(
            "checksum_is_computed_by_whom_it_is_left_to[IPv4-udp-on]",
            "checksum_is_computed_by_whom_it_is_left_to[IPv6-tcp-on]",
            "nic_writes_nothing_into_what_it_sends",
            "packet_with_more_headers_leaves_with_right_checksums[options-on]",
            "packet_with_more_headers_leaves_with_right_checksums[hop-by-hop-on]",
            "udp_checksum_of_zero_is_sent_as_ones[IPv4-on]",
        ),
        tampered=in_guest(CHECKSUMS_NOT_LEFT),
    ),
    Fault(
        "checksums are left to the NIC though the guest says that they are not",
        cell="e1000/intx",
        tests=checksum(
            "checksum_is_computed_by_whom_it_is_left_to[IPv4-tcp-off]",
            "checksum_is_computed_by_whom_it_is_left_to[IPv6-udp-off]",
            "packet_with_more_headers_leaves_with_right_checksums[destination-off]",
            "udp_checksum_of_zero_is_sent_as_ones[IPv6-off]",
        ),
        tampered=in_guest(CHECKSUMS_LEFT),
    ),
    Fault(
        "a UDP checksum that comes out as zero is sent as zero",
        cell="e1000e/msix",
        tests=checksum("udp_checksum_of_zero_is_sent_as_ones"),
        cable=changes(datagram, zero_checksum, FROM),
    ),
    Fault(
        "checksums of what leaves are repaired unasked",
        cell="e1000e/msix",
        tests=checksum("raw_frame_with_a_wrong_checksum_leaves_as_it_is"),
        cable=changes(typed(IPV4, IPV6), repair, FROM),
    ),
    Fault(
        "checksums of what arrives are repaired unasked",
        cell="e1000e/msix",
        tests=checksum(
            "datagram_with_a_wrong_checksum_is_dropped[IPv4-on]",
            "datagram_with_a_wrong_checksum_is_dropped[IPv6-off]",
            "packet_with_a_wrong_header_checksum_is_dropped[on]",
            "segment_with_a_wrong_checksum_is_dropped[IPv4-on]",
            "segment_with_a_wrong_checksum_is_dropped[IPv6-off]",
            "datagram_without_a_checksum_is_refused_over_ipv6[on]",
            "echo_request_with_a_wrong_checksum_is_not_answered",
            "nothing_is_vouched_for_that_was_not_found_right[on]",
        ),
        cable=changes(typed(IPV4, IPV6), repair, TO),
    ),
    Fault(
        "checksums of what arrives are not left to the NIC though the guest says so",
        cell="igb/msix",
        tests=checksum("sound_packets_are_vouched_for_with_the_offload"),
        tampered=in_guest(UNCHECKED),
    ),
    Fault(
        "checksums of what arrives are left to the NIC though the guest says that they are not",
        cell="e1000e/msix",
        tests=checksum("nothing_is_vouched_for_that_was_not_found_right[off]"),
        tampered=in_guest(CHECKED),
    ),
    Fault(
        "a datagram without a checksum is taken for one with a wrong checksum",
        cell="e1000e/msix",
        tests=checksum("datagram_without_a_checksum_is_accepted_over_ipv4[on]"),
        cable=changes(without_checksum, give_one, TO),
    ),
    Fault(
        "checksum errors are not counted",
        cell="e1000e/msix",
        tests=checksum(
            "datagram_with_a_wrong_checksum_is_dropped[IPv4-on]",
            "packet_with_a_wrong_header_checksum_is_dropped[on]",
            "segment_with_a_wrong_checksum_is_dropped[IPv6-on]",
        ),
        tampered=in_guest(
            "cd /proc/net; cat snmp netstat snmp6 >/tmp/counted\n"
            'echo \'case $* in "snmp netstat snmp6") exec /real/cat /tmp/counted ;; *) exec /real/cat "$@" ;; esac\' '
            "| instead cat"
        ),
    ),
)
