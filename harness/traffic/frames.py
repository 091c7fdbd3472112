"""The frames that the traffic tests send, what must become of them, and how to say what became of them instead."""

import random
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import checksum

from harness.endpoint.base import SHORTEST_FRAME, padded
from harness.endpoint.cable import Direction
from harness.profile import Answer
from harness.station import DUT, WIRE, Station

HEADER = 14
"""Octets of an Ethernet header."""
LONGEST_FRAME = 1514
"""Octets without FCS (IEEE 802.3-2022, 4A.4.2: maxBasicFrameSize is 1518 with it)."""
LENGTHS = range(SHORTEST_FRAME, LONGEST_FRAME + 1)
LOCAL_EXPERIMENT = 0x88B5
"""IEEE 802-2014, 9.2.3: an EtherType for experiments, which no guest's stack answers."""
BACKGROUND = 0x88B6
"""The other one: for frames whose number nobody knows, so that none of them is taken for one that is counted."""
SEED = 20270531
"""Of all random payloads."""
_ECHO_ID = 0x4E50


@dataclass(frozen=True)
class Family:
    """IPv4 or IPv6, as the two stations speak it."""

    name: str
    layer: type[Packet]
    wire: str
    dut: str
    headers: int
    """Octets of the Ethernet and the IP header."""
    echo: Answer
    """What a guest must answer for a ping."""
    request: int
    """ICMP type of an echo request."""
    reply: int

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    def to_dut(self) -> Packet:
        """Return the headers of a packet to the DUT."""
        return Ether(src=WIRE.mac, dst=DUT.mac) / self.layer(src=self.wire, dst=self.dut)

    def echo_octets(self, frame: int) -> int:
        """Return how much data makes an echo request `frame` octets long."""
        return frame - self.headers - 8

    def is_icmp(self, kind: int) -> Callable[[bytes], bool]:
        """Return what tells whether a frame is an ICMP message of this type, of this family."""
        ether_type, protocol, code = (b"\x08\x00", 23, 1) if self.layer is IP else (b"\x86\xdd", 20, 58)
        return lambda seen: seen[12:14] == ether_type and (seen[protocol], seen[self.headers]) == (code, kind)

    def is_echo(self, kind: int) -> Callable[[bytes], bool]:
        """Return what tells whether a frame is an echo of this type, of this family, with the identifier of ours.

        A guest may still be answering what others have asked, such as random frames on another of its queues.
        """
        is_icmp, at, identifier = self.is_icmp(kind), self.headers + 4, _ECHO_ID.to_bytes(2, "big")
        return lambda seen: is_icmp(seen) and seen[at : at + 2] == identifier


IPV4 = Family("IPv4", IP, WIRE.ip, DUT.ip, HEADER + 20, "icmp-echo", request=8, reply=0)
IPV6 = Family("IPv6", IPv6, WIRE.ip6, DUT.ip6, HEADER + 40, "icmpv6", request=128, reply=129)


def random_payloads(lengths: Iterable[int]) -> tuple[bytes, ...]:
    """Return a payload of each length, the same ones in every run."""
    source = random.Random(SEED)
    return tuple(source.randbytes(length) for length in lengths)


def frame(direction: Direction, type_or_length: int, payload: bytes) -> bytes:
    """Return a frame from one station to the other, exactly as given: not padded."""
    target, source = (DUT, WIRE) if direction is Direction.TO_DUT else (WIRE, DUT)
    return mac_octets(target.mac) + mac_octets(source.mac) + type_or_length.to_bytes(2, "big") + payload


def difference(expected: Sequence[bytes], seen: Sequence[bytes]) -> str:
    """Say where the frames seen first differ from those expected; empty if they do not."""
    if list(expected) == list(seen):
        return ""
    pairs = enumerate(zip(expected, seen, strict=False))
    place = next((n for n, pair in pairs if pair[0] != pair[1]), min(len(expected), len(seen)))
    wanted, came = expected[place : place + 1], seen[place : place + 1]
    if not came:
        what = f"number {place} ({len(wanted[0])} octets) and what follows it did not come"
    elif not wanted:
        what = f"one too many came: {came[0][:40].hex()}..."
    elif came[0] in expected:
        what = f"in place of number {place} ({len(wanted[0])} octets) came number {list(expected).index(came[0])}"
    else:
        octets = zip(wanted[0], came[0], strict=False)
        octet = next((n for n, pair in enumerate(octets) if pair[0] != pair[1]), min(len(wanted[0]), len(came[0])))
        right, wrong = (whole[octet : octet + 8].hex() or "nothing" for whole in (wanted[0], came[0]))
        sizes = f"{len(came[0])} octets for {len(wanted[0])}"
        what = f"number {place} ({sizes}) differs from octet {octet} on: {wrong} instead of {right}"
    counts = f"expected {len(expected)} frames, octet for octet and in order, seen {len(seen)}"
    return f"{counts}: {what} (random payloads: seed {SEED})"


def summing_to_zero(packet: Packet) -> Packet:
    """Return a UDP packet with two octets of data that make its checksum zero, the same in the other direction."""
    blank = type(packet)(bytes(packet / b"\0\0"))
    return packet / int(blank[UDP].chksum).to_bytes(2, "big")


def with_fcs(octets: bytes) -> bytes:
    """Return a frame with its FCS behind it (IEEE 802.3-2022, 3.2.9)."""
    return octets + zlib.crc32(octets).to_bytes(4, "little")


def mac_octets(mac: str) -> bytes:
    """Return the six octets of a MAC address."""
    return bytes.fromhex(mac.replace(":", ""))


def mac_text(octets: bytes) -> str:
    """Return a MAC address as text, in lower case with colons."""
    return octets.hex(":")


def echoes(family: Family, kind: int, source: Station, target: Station, data: Iterable[bytes]) -> list[bytes]:
    """Return an ICMP echo of type `kind` with each of `data`, numbered from 0."""
    return [echo_frame(family, kind, source, target, number, octets) for number, octets in enumerate(data)]


def echo_frame(family: Family, kind: int, source: Station, target: Station, number: int, data: bytes) -> bytes:
    """Return an ICMP echo (RFC 792; RFC 4443, 4), by hand: scapy needs longer for thousands than the cable."""
    addresses = b"".join(ip_address(one.ip if family is IPV4 else one.ip6).packed for one in (source, target))
    length = 8 + len(data)
    pseudo = b"" if family is IPV4 else addresses + struct.pack("!II", length, 58)
    message = struct.pack("!BBHHH", kind, 0, 0, _ECHO_ID, number) + data
    message = message[:2] + checksum(pseudo + message).to_bytes(2, "big") + message[4:]
    if family is IPV4:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, number, 0, 64, 1, 0) + addresses
        header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    else:
        header = struct.pack("!IHBB", 6 << 28, length, 58, 64) + addresses
    kind_of_frame = b"\x08\x00" if family is IPV4 else b"\x86\xdd"
    return mac_octets(target.mac) + mac_octets(source.mac) + kind_of_frame + header + message


def arp_frame(operation: int, sender: str, sender_ip: str, to: str, target: str, target_ip: str) -> bytes:
    """Return an ARP frame (RFC 826), padded."""
    addresses = mac_octets(sender) + ip_address(sender_ip).packed + mac_octets(target) + ip_address(target_ip).packed
    header = struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, operation)
    return padded(mac_octets(to) + mac_octets(sender) + header + addresses)


def blanked(frame: bytes) -> bytes:
    """Return a frame without what its sender may choose; one with a wrong IPv4 header checksum stays as it is."""
    if frame[12:15] == b"\x08\x00\x45" and checksum(frame[14:34]) == 0:
        return frame[:15] + b"\0" + frame[16:18] + bytes(5) + frame[23:24] + b"\0\0" + frame[26:]
    if frame[12:14] == b"\x86\xdd" and frame[14] >> 4 == 6:
        return frame[:14] + b"\x60\0\0\0" + frame[18:21] + b"\0" + frame[22:]
    return frame
