"""The checksums in a frame, computed again: what a NIC with checksum offload must have put there."""

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet

_FIELDS: dict[type[Packet], str] = {
    IP: "chksum",
    ICMP: "chksum",
    UDP: "chksum",
    TCP: "chksum",
    ICMPv6EchoRequest: "cksum",
    ICMPv6EchoReply: "cksum",
    ICMPv6DestUnreach: "cksum",
    ICMPv6ND_NS: "cksum",
    ICMPv6ND_NA: "cksum",
}


def wrong_checksums(frame: bytes) -> list[str]:
    """Return what is wrong, such as "UDP: 1234 instead of 5678"; empty for a sound frame, or one without checksums.

    A UDP checksum of zero means none over IPv4 (RFC 768) and is wrong over IPv6 (RFC 8200, 8.1). In any other checksum
    0000 and ffff are the same number, ones' complement having two zeros (RFC 1071, 2): who verifies it takes both.
    """
    packet, blank = Ether(frame), Ether(frame)
    own = [layer for layer in _FIELDS if layer in packet]
    for layer in own:
        delattr(blank[layer], _FIELDS[layer])
    right = Ether(bytes(blank))
    wrong = []
    for layer in own:
        seen, expected = getattr(packet[layer], _FIELDS[layer]), getattr(right[layer], _FIELDS[layer])
        none = layer is UDP and seen == 0 and IP in packet
        same = seen == expected or (layer is not UDP and {seen, expected} == {0, 0xFFFF})
        if not (none or same):
            wrong.append(f"{layer.__name__}: {seen:04x} instead of {expected:04x}")
    return wrong
