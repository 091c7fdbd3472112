"""Flows through the DUT: their frames, and the receive queue to which receive-side scaling sends them."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from harness.endpoint.base import padded
from harness.station import DUT, WIRE
from harness.traffic.frames import SEED
from harness.traffic.toeplitz import toeplitz

FLOW_MARKER = b"one of many flows"


class HashField(StrEnum):
    """A field of a packet that may go into its hash."""

    SOURCE_ADDRESS = "source address"
    TARGET_ADDRESS = "target address"
    SOURCE_PORT = "source port"
    TARGET_PORT = "target port"


ADDRESSES = frozenset({HashField.SOURCE_ADDRESS, HashField.TARGET_ADDRESS})
ADDRESSES_AND_PORTS = frozenset(HashField)


class Transport(StrEnum):
    """What an IP packet carries."""

    TCP = "TCP"
    UDP = "UDP"
    ESP = "ESP"
    """Has no ports: plain IP for a NIC."""


@dataclass(frozen=True)
class FlowKind:
    """Flows of one transport over one version of IP."""

    version: int
    transport: Transport

    def __str__(self) -> str:
        """Return a name such as "TCP-over-IPv4"."""
        return f"{self.transport}-over-IPv{self.version}"


@dataclass(frozen=True)
class Flow:
    """One flow: addresses and ports; those of ESP are never sent."""

    kind: FlowKind
    source: str
    target: str
    ports: tuple[int, int]

    def frame(self) -> bytes:
        """Return a frame of the flow, to the DUT's MAC address."""
        source, target = self.ports
        payload: Packet = Raw(FLOW_MARKER)
        if self.kind.transport is Transport.TCP:
            payload = TCP(sport=source, dport=target) / payload
        elif self.kind.transport is Transport.UDP:
            payload = UDP(sport=source, dport=target) / payload
        return self._framed(payload)

    def fragment(self) -> bytes:
        """Return a frame with the first fragment of a longer IPv4 packet of the flow."""
        whole = Ether(self.frame())
        whole[IP].flags, whole[IP].chksum = "MF", None
        return padded(bytes(whole))

    def _framed(self, payload: Packet) -> bytes:
        number = {Transport.TCP: 6, Transport.UDP: 17, Transport.ESP: 50}[self.kind.transport]
        if self.kind.version == 4:
            network: Packet = IP(src=self.source, dst=self.target, proto=number)
        else:
            network = IPv6(src=self.source, dst=self.target, nh=number)
        return padded(Ether(src=WIRE.mac, dst=DUT.mac) / network / payload)

    def queue(self, key: bytes, table: Sequence[int], fields: Collection[HashField]) -> int:
        """Return the receive queue of the flow: the low bits of its hash pick it from the indirection table.

        Args:
            key: for the Toeplitz hash.
            table: of queues; its length is a power of two.
            fields: of a packet, which are hashed in the order of `HashField`.
        """
        octets = {
            HashField.SOURCE_ADDRESS: ip_address(self.source).packed,
            HashField.TARGET_ADDRESS: ip_address(self.target).packed,
            HashField.SOURCE_PORT: self.ports[0].to_bytes(2, "big"),
            HashField.TARGET_PORT: self.ports[1].to_bytes(2, "big"),
        }
        hashed = toeplitz(key, b"".join(octets[field] for field in HashField if field in fields))
        return table[hashed & (len(table) - 1)]


def random_flows(kind: FlowKind, count: int) -> list[Flow]:
    """Return flows from and to addresses that are nobody's (RFC 5737, RFC 3849), so that no stack answers them."""
    source = random.Random(SEED)
    networks = ("198.51.100.", "203.0.113.") if kind.version == 4 else ("2001:db8:1::", "2001:db8:2::")

    def address(network: str) -> str:
        host = source.randrange(1, 255)
        return f"{network}{host}" if kind.version == 4 else f"{network}{host:x}:{source.randrange(1, 65536):x}"

    def one() -> Flow:
        ports = source.randrange(1024, 65536), source.randrange(1024, 65536)
        return Flow(kind, address(networks[0]), address(networks[1]), ports)

    return [one() for _ in range(count)]
