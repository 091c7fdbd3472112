"""Large sends: what a guest's stack hands to its driver, what came of it on the cable, and what must have."""

from collections.abc import Sequence

from scapy.fields import FlagValue
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from harness.endpoint.checksum import with_one_zero, with_open_checksum
from harness.endpoint.headers import transport_of
from harness.endpoint.stack import Stack
from harness.guest.offloads import Offload
from harness.station import DUT, WIRE
from harness.traffic.frames import HEADER, IPV4, Family, difference
from harness.traffic.handing import Path, Sent, watched
from harness.traffic.transmission import DISCARD, Carrier, data_of

END_FLAGS = 0x09
"""FIN and PSH: what a TCP says of the end of the data, so that no segment before the last can have them."""
CWR = 0x80
"""What a TCP says once, when it has reduced its window: only the first segment can have it (RFC 3168, 6.1.2)."""
_END = 16
"""Octets by which the last of some datagrams is told."""
_PORT = 40005
_TCP_HEADER = 20


def offload_of(family: Family) -> Offload:
    """Return the offload that has the NIC cut TCP's large sends."""
    return Offload.TCP_SEGMENTATION if family is IPV4 else Offload.TCP6_SEGMENTATION


def longest_segment(family: Family, mtu: int) -> int:
    """Return how much data fits into a packet as long as an MTU, without options (RFC 9293, 3.7.1)."""
    return mtu - (family.headers - HEADER) - _TCP_HEADER


def send_stream(path: Path, family: Family, payload: bytes, mss: int) -> Sent:
    """Have the guest send a stream to a service at the far end that takes no longer segments than `mss`."""
    address = path.address(family)
    with (
        Stack(path.far, path.station).serve("tcp", address, mss=mss, echo=False) as port,
        watched(path, family, Carrier(family, "tcp").carries(port)) as watch,
    ):
        path.stack.transmit("tcp", address, port, [payload])
        return watch.sent(lambda frames: _octets_of(frames) == len(payload))


def send_datagrams(path: Path, family: Family, payload: bytes, segment: int) -> Sent:
    """Have the guest send a payload in datagrams of `segment` octets, which its stack or its NIC makes of it."""
    with watched(path, family, Carrier(family, "udp").carries(DISCARD)) as watch:
        path.stack.transmit("udp", path.address(family), DISCARD, [payload], segment=segment)
        return watch.sent(lambda frames: data_of(frames[-1]).endswith(payload[-_END:]))


def send_at_once(
    path: Path, family: Family, payload: bytes, segment: int, flags: str, *, with_cwr: bool = False
) -> Sent:
    """Have the guest hand over one TCP packet to be cut into segments, with flags that no stack gives it at will.

    Args:
        path: outside of VLANs.
        family: of the packet.
        payload: all data.
        segment: octets of data in a segment.
        flags: of the packet, such as "FPA".
        with_cwr: tell the guest's stack that CWR is among them: then it cuts the packet itself, unless the driver has
            said that its NIC minds the flag.
    """
    header = TCP(sport=_PORT, dport=DISCARD, seq=1, ack=1, flags=flags)
    packet = Ether(src=DUT.mac, dst=WIRE.mac) / family.layer(src=family.dut, dst=family.wire) / header / payload
    with watched(path, family, Carrier(family, "tcp").carries(DISCARD)) as watch:
        path.driver.send_large(with_open_checksum(bytes(packet)), segment, with_cwr=with_cwr)
        return watch.sent(lambda frames: _octets_of(frames) == len(payload))


def _octets_of(frames: Sequence[bytes]) -> int:
    """Return how long a stream is from the beginning of its first segment to the end of its last."""
    first, last = frames[0], frames[-1]
    return (sequence_of(last) + len(data_of(last)) - sequence_of(first)) % (1 << 32)


def cut(handed: bytes, octets: int) -> list[bytes]:
    """Return the frames that a large send must leave as: none with more data than `octets`, each header its own.

    IPv4 identifications and sequence numbers count on from those of the large send; what a TCP says of the end of the
    data, it says in the last segment alone, and what it says once, of its window, in the first.
    """
    data, whole = data_of(handed), Ether(handed)
    starts = range(0, len(data), octets) or range(1)
    return [_part(whole, number, data[at : at + octets], at, at == starts[-1]) for number, at in enumerate(starts)]


def parts_of(sent: Sent, octets: int) -> list[bytes]:
    """Return the frames that all that was handed over must leave as."""
    return [part for handed in sent.handed for part in cut(handed, octets)]


def wrongly_cut(sent: Sent, octets: int) -> str:
    """Say how the frames on the cable differ from those that what was handed over must leave as; empty if they do not.

    Either zero of a TCP checksum is the same.
    """
    return difference([*map(with_one_zero, parts_of(sent, octets))], [*map(with_one_zero, sent.seen)])


def _part(whole: Packet, number: int, data: bytes, at: int, last: bool) -> bytes:
    part = whole.copy()
    if IP in part:
        part[IP].id = (part[IP].id + number) % 65536
        del part[IP].len, part[IP].chksum
    else:
        del part[IPv6].plen
    segment = part[TCP if TCP in part else UDP]
    del segment.chksum
    if TCP in part:
        segment.seq = (segment.seq + at) % (1 << 32)
        flags = int(segment.flags)
        segment.flags = flags & ~(CWR if number else 0) & ~(0 if last else END_FLAGS)
    else:
        del segment.len
    segment.remove_payload()
    return bytes(part / data if data else part)


def flags_of(frame: bytes) -> int:
    """Return a TCP segment's flags."""
    return frame[transport_of(frame)[1] + 13]


def end_flags(frame: bytes) -> str:
    """Return which of PSH and FIN a TCP segment has, such as "FP"."""
    return str(FlagValue(flags_of(frame) & END_FLAGS, "FSRPAUEC"))


def without_end_flags(frame: bytes) -> bytes:
    """Return a TCP segment without PSH and FIN, and without its checksum, which covers them."""
    at = transport_of(frame)[1]
    flags = bytes([frame[at + 13] & ~END_FLAGS])
    return frame[: at + 13] + flags + frame[at + 14 : at + 16] + b"\0\0" + frame[at + 18 :]


def reassembled(frames: Sequence[bytes]) -> bytes:
    """Return the octets that TCP segments carry up to the first gap; what comes again changes nothing."""
    stream, first = bytearray(), None
    for frame in frames:
        sequence, data = sequence_of(frame), data_of(frame)
        first = sequence if first is None else first
        at = (sequence - first) % (1 << 32)
        if at <= len(stream):
            stream += data[len(stream) - at :]
    return bytes(stream)


def sequence_of(frame: bytes) -> int:
    """Return a TCP segment's sequence number."""
    at = transport_of(frame)[1]
    return int.from_bytes(frame[at + 4 : at + 8], "big")
