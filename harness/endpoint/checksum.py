"""The checksums in a frame, computed again: what a NIC with checksum offload must have put there, and what it finds."""

from collections.abc import Iterable

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

from harness.endpoint.headers import ETHERNET_HEADER, IPV6_TYPE, transport_of, unpadded

OPEN, RIGHT = "left open", "right"
_TCP = 6
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


def with_one_zero(frame: bytes) -> bytes:
    """Return a TCP segment whose checksum, if it is zero, is written 0000 and not ffff; other frames as they are."""
    place = _checksum_of(frame)
    is_other_zero = transport_of(frame)[0] == _TCP and frame[place] == b"\xff\xff"
    return frame[: place.start] + b"\0\0" + frame[place.stop :] if is_other_zero else frame


def open_checksum(frame: bytes) -> bytes:
    """Return what stands for the checksum of a TCP segment or UDP datagram that somebody else is to compute.

    It is the sum of the pseudo header, which who computes the rest need not know (virtio 1.2, 5.1.6.2).
    """
    protocol, at = transport_of(frame)
    addresses = frame[ETHERNET_HEADER + 8 :][:32] if frame[12:14] == IPV6_TYPE else frame[ETHERNET_HEADER + 12 :][:8]
    total = (protocol or 0) + len(unpadded(frame)) - at
    total += sum(int.from_bytes(addresses[word : word + 2], "big") for word in range(0, len(addresses), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total.to_bytes(2, "big")


def with_open_checksum(frame: bytes) -> bytes:
    """Return a TCP segment or UDP datagram whose checksum somebody else is to compute."""
    place = _checksum_of(frame)
    return frame[: place.start] + open_checksum(frame) + frame[place.stop :]


def is_open(frame: bytes) -> bool:
    """Whether the checksum of a TCP segment or UDP datagram is still to be computed."""
    return frame[_checksum_of(frame)] == open_checksum(frame)


def checksum_states(frames: Iterable[bytes]) -> set[str]:
    """Return what the finished checksums of TCP segments or UDP datagrams are: `RIGHT`, `OPEN`, or what is wrong.

    One in 65,535 right checksums is the number that an open one would be: it is right.
    """
    return {_state(frame) for frame in frames}


def _state(frame: bytes) -> str:
    wrong = wrong_checksums(frame)
    return OPEN if wrong and is_open(frame) else ", ".join(wrong) or RIGHT


def _checksum_of(frame: bytes) -> slice:
    protocol, at = transport_of(frame)
    place = at + (16 if protocol == _TCP else 6)
    return slice(place, place + 2)
