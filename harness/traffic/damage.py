"""Packets with a wrong checksum: one bit differs, as on a cable or in a memory that makes mistakes."""

from collections.abc import Callable

from harness.endpoint.headers import ETHERNET_HEADER, IPV4_TYPE, transport_of, unpadded

_CHECKSUM_AT = {1: 2, 6: 16, 17: 6, 58: 2}
"""By protocol: ICMP, TCP, UDP, ICMPv6."""


def flipped(frame: bytes, octet: int) -> bytes:
    """Return a frame with one bit of one octet the other way."""
    return frame[:octet] + bytes([frame[octet] ^ 0x10]) + frame[octet + 1 :]


def damaged(frame: bytes) -> list[bytes]:
    """Return a packet with one bit wrong in the checksum of what IP carries, and with one wrong in its last octet."""
    protocol, at = transport_of(frame)
    assert protocol is not None
    return [flipped(frame, at + _CHECKSUM_AT[protocol]), flipped(frame, len(unpadded(frame)) - 1)]


def damaged_header(frame: bytes) -> list[bytes]:
    """Return an IPv4 packet with one bit wrong in its header's checksum, and with one wrong in its identification."""
    return [flipped(frame, ETHERNET_HEADER + 10), flipped(frame, ETHERNET_HEADER + 4)]


def damaged_anywhere(frame: bytes) -> list[bytes]:
    """Return an IP packet damaged in each of these ways: over IPv4 in its header, too."""
    return [*damaged(frame), *(damaged_header(frame) if frame[12:14] == IPV4_TYPE else ())]


def from_port(port: int) -> Callable[[bytes], bool]:
    """Return what tells whether a frame is a datagram or a segment from a port."""

    def is_it(frame: bytes) -> bool:
        protocol, at = transport_of(frame)
        return protocol in (6, 17) and frame[at : at + 2] == port.to_bytes(2, "big")

    return is_it
