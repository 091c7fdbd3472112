"""What the guest's own stack sends to the wire, with a checksum in every packet, and what came of it on the cable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.endpoint.headers import IPV4_TYPE, IPV6_TYPE, transport_of, unpadded
from harness.endpoint.remote import ExtraHeader
from harness.endpoint.stack import Stack
from harness.endpoint.wire import Wire
from harness.exchange import DEADLINE_S
from harness.frames import IPV4, IPV6, Family
from harness.guest.base import Guest

_PROTOCOLS = {"icmpv6": 58, "tcp": 6, "udp": 17}
DISCARD = 9
"""The UDP port of a service that answers nothing (RFC 863)."""
_ECHO_HEADER = 8
_UDP_HEADER = 8


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


CARRIERS = tuple(
    Carrier(family, transport)
    for family, transports in ((IPV4, ("udp", "tcp")), (IPV6, ("udp", "tcp", "icmpv6")))
    for transport in transports  # type: Literal["icmpv6", "tcp", "udp"]
)


def data_of(frame: bytes) -> bytes:
    """Return what a UDP datagram, a TCP segment or an echo request carries."""
    protocol, at = transport_of(frame)
    header = 4 * (frame[at + 12] >> 4) if protocol == _PROTOCOLS["tcp"] else _UDP_HEADER
    return unpadded(frame)[at + header :]


def transmitted(
    guest: Guest, wire: Wire, carrier: Carrier, payloads: Sequence[bytes], header: ExtraHeader | None = None
) -> list[bytes]:
    """Have the guest send each payload in a packet of its own (TCP: over a connection of its own).

    Return the frames that came, those of TCP without data among them.
    """
    if carrier.transport != "tcp":
        with wire.capture(carrier.carries(DISCARD)) as seen:
            guest.endpoint().transmit(carrier.transport, carrier.family.wire, DISCARD, payloads, header=header)
            return seen.wait(len(payloads), DEADLINE_S)
    with (
        Stack(wire).serve("tcp", carrier.family.wire, echo=False) as port,
        wire.capture(carrier.carries(port)) as seen,
    ):
        for payload in payloads:
            guest.endpoint().transmit("tcp", carrier.family.wire, port, [payload], header=header)
        return seen.wait(1, DEADLINE_S)
