"""Packets with a wrong checksum: one bit differs, as on a cable or in a memory that makes mistakes.

To see what becomes of them they are sent to a service in the guest that sends back what it gets, each with a sound one
behind it that has other data.
"""

from collections.abc import Callable, Sequence

from scapy.layers.inet import UDP

from harness.endpoint.headers import ETHERNET_HEADER, IPV4_TYPE, transport_of, unpadded
from harness.endpoint.stack import Stack, framed
from harness.traffic.exchange import DEADLINE_S
from harness.traffic.frames import Family, random_payloads
from harness.traffic.handing import Path
from harness.traffic.transmission import data_of

SOUND, SPOILT = random_payloads([100] * 6)[::2], random_payloads([100] * 6)[1::2]
"""Data for sound packets and for damaged ones."""
SOURCE_PORT = 40004
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


def datagrams(
    path: Path, family: Family, port: int, payloads: Sequence[bytes], chksum: int | None = None
) -> list[bytes]:
    """Return datagrams from the far end of a path to a port of the DUT; with this checksum if one is given."""
    source, target = path.address(family), path.dut_address(family)
    header = UDP(sport=SOURCE_PORT, dport=port, chksum=chksum)
    return [framed(source, target, header / payload, own=path.station) for payload in payloads]


def answered(path: Path, port: int, sound: Sequence[bytes], bad: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Send datagrams to a port of the DUT, each sound one behind its bad ones; return the data of the answers."""
    with path.far.capture(from_port(port)) as answers:
        path.far.send(*_by_turns(sound, bad))
        return [data_of(answer) for answer in answers.wait(len(sound), DEADLINE_S)]


def stream_answered(path: Path, family: Family, port: int, damage: Callable[[bytes], list[bytes]]) -> bytes:
    """Send `SOUND` in segments to a port of the DUT, each behind one of `SPOILT`, damaged; return what is answered."""
    source, target = path.address(family), path.dut_address(family)
    with Stack(path.far, path.station).connect(target, port) as connection:
        sound, spoilt = (
            [
                framed(source, target, connection.segment(number * len(data), data), own=path.station)
                for number, data in enumerate(payloads)
            ]
            for payloads in (SOUND, SPOILT)
        )
        path.far.send(*_by_turns(sound, [*map(damage, spoilt)]))
        connection.wait(lambda: len(connection.received) >= sum(map(len, SOUND)), DEADLINE_S)
    return bytes(connection.received)


def _by_turns(sound: Sequence[bytes], bad: Sequence[Sequence[bytes]]) -> list[bytes]:
    return [frame for good, wrong in zip(sound, bad, strict=True) for frame in (*wrong, good)]
