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
    def serve(self, transport: str, address: str) -> Iterator[int]:
        """Echo what the DUT sends to a "udp" or "tcp" port of ours on `address`, in a `with` block; gives the port."""
        port = next(_ports)
        connections: dict[int, TcpConnection] = {}

        def hear(packet: Packet) -> None:
            peer = packet[_LAYERS[transport]].sport
            if transport == "udp":
                self._send(address, _sender(packet), UDP(sport=port, dport=peer) / bytes(packet[UDP].payload))
                return
            if peer not in connections:
                send = partial(self._send, address, _sender(packet))
                connections[peer] = TcpConnection((port, peer), _mss(address), send, echo=True)
            connections[peer].hear(packet[TCP])

        with self._listening(transport, address, port, hear):
            yield port

    def exchange(self, transport: str, address: str, port: int, payload: bytes, deadline_s: float = 10.0) -> bytes:
        """Send `payload` to a port of the DUT and return what came back by the deadline, at most as many octets.

        Over TCP the connection is then closed from both ends, unless the DUT does not play its part.
        """
        own_address = self._own.ip6 if ":" in address else self._own.ip
        own = next(_ports)
        send = partial(self._send, own_address, address)
        if transport == "udp":
            is_answer = partial(_is_for, transport, own_address, own)
            request = self._framed(own_address, address, UDP(sport=own, dport=port) / payload)
            with self._wire.capture(is_answer) as answers:
                self._wire.send(request)
                found = answers.wait(1, deadline_s)
            return bytes(Ether(_unpadded(found[0]))[UDP].payload) if found and not wrong_checksums(found[0]) else b""
        connection = TcpConnection((own, port), _mss(address), send)
        with self._listening(transport, own_address, own, lambda packet: connection.hear(packet[TCP])):
            connection.open()
            connection.write(payload)
            connection.wait(lambda: len(connection.received) >= len(payload), deadline_s)
            connection.close()
            connection.wait(lambda: connection.closed, deadline_s)
        return bytes(connection.received)

    @contextmanager
    def _listening(self, transport: str, address: str, port: int, hear: Callable[[Packet], None]) -> Iterator[None]:
        def listen(record: Record) -> None:
            # A damaged segment is no segment: what waits for it says that it did not come.
            if _is_for(transport, address, port, record.frame) and not wrong_checksums(record.frame):
                hear(Ether(_unpadded(record.frame)))

        self._wire.cable.watch(listen)
        try:
            yield
        finally:
            self._wire.cable.unwatch(listen)

    def _send(self, source: str, target: str, segment: Packet) -> None:
        self._wire.send(self._framed(source, target, segment))

    def _framed(self, source: str, target: str, segment: Packet) -> bytes:
        network = IPv6 if ":" in target else IP
        return padded(Ether(src=self._own.mac, dst=DUT.mac) / network(src=source, dst=target) / segment)


def _mss(address: str) -> int:
    """The longest segment that fits into a frame without options (RFC 9293, 3.7.1)."""
    return 1440 if ":" in address else 1460


def _sender(packet: Packet) -> str:
    return str(packet[IPv6 if IPv6 in packet else IP].src)


def _unpadded(frame: bytes) -> bytes:
    """Return a frame without what follows its IP packet."""
    if frame[12:14] == b"\x86\xdd":
        return frame[: 54 + int.from_bytes(frame[18:20], "big")]
    return frame[: 14 + int.from_bytes(frame[16:18], "big")]


def _is_for(transport: str, address: str, port: int, frame: bytes) -> bool:
    """Whether a frame is for a port of ours, judged by a few octets: a flood must not wait for scapy."""
    kind, protocol, at = (b"\x86\xdd", 20, 54) if ":" in address else (b"\x08\x00", 23, 34)
    return (
        frame[12:14] == kind
        and frame[protocol : protocol + 1] == bytes([_PROTOCOLS[transport]])
        and frame[at + 2 : at + 4] == port.to_bytes(2, "big")
    )
