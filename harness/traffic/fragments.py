"""Echoes in packets that are longer than an MTU: cut into fragments, and put together from those of the other side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether

from harness.endpoint.base import padded
from harness.endpoint.wire import Wire
from harness.station import DUT, WIRE
from harness.traffic.exchange import DEADLINE_S
from harness.traffic.frames import HEADER, IPV4, Family, echo_frame

_NUMBER = 1
_IDENTIFICATION = 0x4E50
_FRAGMENT_HEADER = 8
_ICMPV6 = 58


@dataclass(frozen=True)
class LongReply:
    """What came for an echo request that was cut into fragments."""

    expected: bytes
    """The ICMP message that is due."""
    message: bytes
    """The one that the fragments make; empty if some are missing."""
    frames: tuple[bytes, ...]
    """The fragments, as frames."""


def exchange_long_echo(wire: Wire, family: Family, data: bytes, mtu: int) -> LongReply:
    """Ask the DUT for an echo of data longer than `mtu`, in fragments no longer than that, and collect its reply."""
    request = echo_frame(family, family.request, WIRE, DUT, _NUMBER, data)[family.headers :]
    with wire.capture(lambda seen: _is_fragment(family, seen)) as seen:
        wire.send(*fragments(family, request, mtu))
        frames = seen.wait(1, DEADLINE_S)
        while not (message := _whole(family, frames)):
            before, frames = frames, seen.wait(len(frames) + 1, DEADLINE_S)
            if frames == before:
                break
    due = echo_frame(family, family.reply, DUT, WIRE, _NUMBER, data)[family.headers :]
    return LongReply(due, message, tuple(frames))


def fragments(family: Family, message: bytes, mtu: int) -> Iterable[bytes]:
    """Return the frames to the DUT that carry an ICMP message in packets no longer than `mtu`."""
    own = family.headers - HEADER + (0 if family is IPV4 else _FRAGMENT_HEADER)
    room = (mtu - own) // 8 * 8  # RFC 791, 3.2 and RFC 8200, 4.5: all but the last have a multiple of 8 octets
    ethernet = Ether(src=WIRE.mac, dst=DUT.mac)
    for at in range(0, len(message), room):
        part, more = message[at : at + room], at + room < len(message)
        if family is IPV4:
            header = IP(src=WIRE.ip, dst=DUT.ip, proto=1, id=_IDENTIFICATION, flags=int(more), frag=at // 8)
            yield padded(ethernet / header / part)
        else:
            extension = IPv6ExtHdrFragment(nh=_ICMPV6, id=_IDENTIFICATION, m=int(more), offset=at // 8)
            yield padded(ethernet / IPv6(src=WIRE.ip6, dst=DUT.ip6, nh=44) / extension / part)


def _is_fragment(family: Family, frame: bytes) -> bool:
    if family is IPV4:
        return frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[20:22] not in (b"\0\0", b"\x40\0")
    return frame[12:14] == b"\x86\xdd" and frame[20] == 44


def _whole(family: Family, frames: Sequence[bytes]) -> bytes:
    """Return what the fragments make, or nothing as long as some are missing."""
    whole = b""
    for at, more, part in sorted(_read(family, frame) for frame in frames):
        if at != len(whole):
            break
        whole += part
        if not more:
            return whole
    return b""


def _read(family: Family, frame: bytes) -> tuple[int, bool, bytes]:
    """Return a fragment's place in octets, whether more follow, and its octets."""
    if family is IPV4:
        field = int.from_bytes(frame[20:22], "big")
        return (field & 0x1FFF) * 8, bool(field & 0x2000), frame[34 : HEADER + int.from_bytes(frame[16:18], "big")]
    field = int.from_bytes(frame[56:58], "big")
    return field & 0xFFF8, bool(field & 1), frame[62 : 54 + int.from_bytes(frame[18:20], "big")]
