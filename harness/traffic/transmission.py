"""What the guest's own stack sends to the wire, with a checksum in every packet, and what came of it on the cable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.endpoint.headers import IPV4_TYPE, IPV6_TYPE, transport_of, unpadded
from harness.endpoint.remote import ExtraHeader
from harness.endpoint.stack import Stack
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.traffic.exchange import DEADLINE_S
from harness.traffic.frames import IPV4, IPV6, Family

_PROTOCOLS = {"icmpv6": 58, "tcp": 6, "udp": 17}
DISCARD = 9
"""The UDP port of a service that answers nothing (RFC 863)."""
_UDP_OR_ECHO_HEADER = 8


@dataclass(frozen=True)
class Carrier:
    """A protocol with a checksum, over one of the IP versions."""

    family: Family
    transport: Literal["icmpv6", "tcp", "udp"]

    def __str__(self) -> str:
        """Return such as "IPv4-udp"; an ICMPv6 needs no IP version."""
        return self.transport if self.transport == "icmpv6" else f"{self.family}-{self.transport}"

    def carries(self, port: int) -> Callable[[bytes], bool]:
        """Return what tells whether a frame has this protocol, for a port of the wire's or as an echo request."""
        kind = IPV4_TYPE if self.family is IPV4 else IPV6_TYPE
        echo = self.transport == "icmpv6"

        def is_it(frame: bytes) -> bool:
            if frame[12:14] != kind:
                return False
            protocol, at = transport_of(frame)
            to_port = frame[at] == IPV6.request if echo else frame[at + 2 : at + 4] == port.to_bytes(2, "big")
            return protocol == _PROTOCOLS[self.transport] and to_port

        return is_it


CARRIERS = (
    Carrier(IPV4, "udp"),
    Carrier(IPV4, "tcp"),
    Carrier(IPV6, "udp"),
    Carrier(IPV6, "tcp"),
    Carrier(IPV6, "icmpv6"),
)
UDP_AND_TCP = CARRIERS[:4]
"""Those whose checksum a stack may leave to the NIC; it computes ICMPv6's itself in any case (see `is_left`)."""
EXTRA_HEADERS = (
    ExtraHeader("options", bytes.fromhex("94040000") + b"\x01" * 36),  # router alert (RFC 2113), no operation
    ExtraHeader("hop-by-hop", bytes.fromhex("0000 0104 00000000")),  # of one option, PadN
    ExtraHeader("destination", bytes.fromhex("0002 0104 00000000" + 2 * "0106 000000000000")),
)
"""As long as IPv4's options may be; as short as an extension header may be; and a longer one."""


def data_of(frame: bytes) -> bytes:
    """Return what a UDP datagram, a TCP segment or an ICMP echo carries."""
    protocol, at = transport_of(frame)
    header = 4 * (frame[at + 12] >> 4) if protocol == _PROTOCOLS["tcp"] else _UDP_OR_ECHO_HEADER
    return unpadded(frame)[at + header :]


def payloads_of(frames: Sequence[bytes]) -> list[bytes]:
    """Return what the frames carry, what came again left out: a TCP may send twice what was acknowledged late."""
    return [data for data in dict.fromkeys(map(data_of, frames)) if data]


def extra_octets(frame: bytes, family: Family) -> int:
    """Return how many octets of options or extension headers an IP packet has."""
    return transport_of(frame)[1] - family.headers


def is_left(carrier: Carrier, header: ExtraHeader | None = None) -> bool:
    """Whether a stack leaves the checksum to a NIC with the offload, where `header` stands before what is carried.

    Linux computes that of a datagram behind IPv6's extension headers itself (__ip6_append_data in
    net/ipv6/ip6_output.c), and that of every echo request.
    """
    return carrier in UDP_AND_TCP and (header is None or carrier != Carrier(IPV6, "udp"))


def transmitted(guest: Guest, wire: Wire, carrier: Carrier, payloads: Sequence[bytes]) -> list[bytes]:
    """Have the guest send each payload in a packet of its own (TCP: over a connection of its own).

    Return the frames that came, those of TCP without data among them.
    """
    if carrier.transport != "tcp":
        with wire.capture(carrier.carries(DISCARD)) as seen:
            guest.endpoint().transmit(carrier.transport, carrier.family.wire, DISCARD, payloads)
            return seen.wait(len(payloads), DEADLINE_S)
    with (
        Stack(wire).serve("tcp", carrier.family.wire, echo=False) as port,
        wire.capture(carrier.carries(port)) as seen,
    ):
        for payload in payloads:
            guest.endpoint().transmit("tcp", carrier.family.wire, port, [payload])
        return seen.wait(1, DEADLINE_S)
