"""UDP and TCP of the station at the far end of the cable: it asks and answers over IPv4 and IPv6 as any host does."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from harness.endpoint.base import padded
from harness.endpoint.cable import Record
from harness.endpoint.checksum import wrong_checksums
from harness.endpoint.headers import IPV4_TYPE, IPV6_TYPE, transport_of, unpadded
from harness.endpoint.tcp import TcpConnection
from harness.endpoint.wire import Wire
from harness.station import DUT, WIRE, Station

_LAYERS: dict[str, type[Packet]] = {"udp": UDP, "tcp": TCP}
_PROTOCOLS = {"udp": 17, "tcp": 6}
_ports = itertools.count(49152)
"""Dynamic ports (RFC 6335, 6): each is used once."""


class Stack:
    """The wire's own stack, with the addresses of one station; its port 49152 and upwards."""

    def __init__(self, wire: Wire, own: Station = WIRE) -> None:
        self._wire = wire
        self._own = own

    @contextmanager
    def serve(self, transport: str, address: str, *, mss: int | None = None, echo: bool = True) -> Iterator[int]:
        """Take what the DUT sends to a "udp" or "tcp" port of ours on `address`, in a `with` block; gives the port.

        Args:
            transport: "udp" or "tcp".
            address: one of our own.
            mss: the longest TCP segment to ask for and to send; as long as a frame holds if None.
            echo: send back what comes.
        """
        port = next(_ports)
        connections: dict[int, TcpConnection] = {}

        def hear(packet: Packet) -> None:
            peer = packet[_LAYERS[transport]].sport
            if transport == "udp":
                if echo:
                    self._send(address, _sender(packet), UDP(sport=port, dport=peer) / bytes(packet[UDP].payload))
                return
            if peer not in connections:
                send = partial(self._send, address, _sender(packet))
                connections[peer] = TcpConnection((port, peer), mss or _mss(address), send, echo=echo)
            connections[peer].hear(packet[TCP])

        with self._listening(transport, address, port, hear):
            yield port

    def exchange(self, transport: str, address: str, port: int, payload: bytes, deadline_s: float = 10.0) -> bytes:
        """Send `payload` to a port of the DUT and return what came back by the deadline, at most as many octets.

        Over TCP the connection is then closed from both ends, unless the DUT does not play its part.
        """
        if transport == "udp":
            own_address, own = self._address_like(address), next(_ports)
            is_answer = partial(_is_for, transport, own_address, own)
            request = framed(own_address, address, UDP(sport=own, dport=port) / payload, own=self._own)
            with self._wire.capture(is_answer) as answers:
                self._wire.send(request)
                found = answers.wait(1, deadline_s)
            return bytes(Ether(unpadded(found[0]))[UDP].payload) if found and not wrong_checksums(found[0]) else b""
        with self.connect(address, port, deadline_s) as connection:
            connection.write(payload)
            connection.wait(lambda: len(connection.received) >= len(payload), deadline_s)
        return bytes(connection.received)

    @contextmanager
    def connect(self, address: str, port: int, deadline_s: float = 10.0) -> Iterator[TcpConnection]:
        """Connect to a TCP port of the DUT for a `with` block, and close the connection from both ends behind it."""
        own_address, own = self._address_like(address), next(_ports)
        connection = TcpConnection((own, port), _mss(address), partial(self._send, own_address, address))
        with self._listening("tcp", own_address, own, lambda packet: connection.hear(packet[TCP])):
            connection.open()
            connection.wait(lambda: connection.established, deadline_s)
            yield connection
            connection.close()
            connection.wait(lambda: connection.closed, deadline_s)

    @contextmanager
    def _listening(self, transport: str, address: str, port: int, hear: Callable[[Packet], None]) -> Iterator[None]:
        def listen(record: Record) -> None:
            # A damaged segment is no segment: what waits for it says that it did not come.
            if _is_for(transport, address, port, record.frame) and not wrong_checksums(record.frame):
                hear(Ether(unpadded(record.frame)))

        self._wire.cable.watch(listen)
        try:
            yield
        finally:
            self._wire.cable.unwatch(listen)

    def _send(self, source: str, target: str, segment: Packet) -> None:
        self._wire.send(framed(source, target, segment, own=self._own))

    def _address_like(self, other: str) -> str:
        """Return our own address of the family of another."""
        return self._own.ip6 if ":" in other else self._own.ip


def framed(
    source: str, target: str, segment: Packet, *, tos: int = 0, identification: int = 1, own: Station = WIRE
) -> bytes:
    """Return a frame to the DUT that carries a datagram or a segment.

    Args:
        source: our address.
        target: the DUT's, of the same family.
        segment: what is carried.
        tos: type of service (IPv6: traffic class).
        identification: of an IPv4 packet.
        own: who sends it.
    """
    network = IPv6(tc=tos) if ":" in target else IP(tos=tos, id=identification)
    network.src, network.dst = source, target
    return padded(Ether(src=own.mac, dst=DUT.mac) / network / segment)


def _mss(address: str) -> int:
    """The longest segment that fits into a frame without options (RFC 9293, 3.7.1)."""
    return 1440 if ":" in address else 1460


def _sender(packet: Packet) -> str:
    return str(packet[IPv6 if IPv6 in packet else IP].src)


def _is_for(transport: str, address: str, port: int, frame: bytes) -> bool:
    """Whether a frame is for a port of ours, judged by a few octets: a flood must not wait for scapy."""
    if frame[12:14] != (IPV6_TYPE if ":" in address else IPV4_TYPE):
        return False
    protocol, at = transport_of(frame)
    return protocol == _PROTOCOLS[transport] and frame[at + 2 : at + 4] == port.to_bytes(2, "big")
