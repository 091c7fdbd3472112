"""The station at the far end of the cable: what any host would answer, so that a guest finds a network to speak with.

Answers DHCP, ARP, IPv6 neighbour solicitation and echo requests with scapy's AnsweringMachines.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from scapy.ansmachine import AnsweringMachine
from scapy.layers.dhcp import DHCP, DHCP_am
from scapy.layers.inet import IP, UDP, ICMPEcho_am
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP_am, Ether
from scapy.packet import Packet

from harness.endpoint.cable import Record
from harness.endpoint.wire import Wire
from harness.station import DUT, NETWORK, WIRE, Station

LEASE_S = 86400
"""A day: no guest renews its lease in the middle of a test."""


class NeighbourAdvertiser(AnsweringMachine[Packet]):
    """Answers neighbour solicitations for one address (RFC 4861, 7.2.4)."""

    function_name = "ndpd"

    def parse_options(self, address: str = WIRE.ip6, mac: str = WIRE.mac) -> None:
        """Take the address to answer for and the MAC address to give."""
        self.address = address
        self.hardware = mac

    def is_request(self, req: Packet) -> bool:
        """Whether the packet asks for our address, and not to detect a duplicate."""
        return ICMPv6ND_NS in req and req[ICMPv6ND_NS].tgt == self.address and req[IPv6].src != "::"

    def make_reply(self, req: Packet) -> Packet:
        """Advertise our MAC address to the asker."""
        return (
            Ether(src=self.hardware, dst=req[Ether].src)
            / IPv6(src=self.address, dst=req[IPv6].src, hlim=255)
            / ICMPv6ND_NA(tgt=self.address, R=0, S=1, O=1)
            / ICMPv6NDOptDstLLAddr(lladdr=self.hardware)
        )


class Echo6(AnsweringMachine[Packet]):
    """Answers ICMPv6 echo requests to one address (RFC 4443, 4.2)."""

    function_name = "icmp6echod"

    def parse_options(self, address: str = WIRE.ip6, mac: str = WIRE.mac) -> None:
        """Take the address to answer for and the MAC address to answer from."""
        self.address = address
        self.hardware = mac

    def is_request(self, req: Packet) -> bool:
        """Whether the packet is an echo request to our address."""
        return ICMPv6EchoRequest in req and req[IPv6].dst == self.address

    def make_reply(self, req: Packet) -> Packet:
        """Send the request's data back."""
        echo = req[ICMPv6EchoRequest]
        return (
            Ether(src=self.hardware, dst=req[Ether].src)
            / IPv6(src=self.address, dst=req[IPv6].src)
            / ICMPv6EchoReply(id=echo.id, seq=echo.seq, data=echo.data)
        )


class LeaseServer(DHCP_am):
    """scapy's DHCP server, on a cable: its replies carry our own addresses, and the first request is an event."""

    def __init__(self, asked: threading.Event, **options: object) -> None:
        """Serve with scapy's options; `asked` is set by the first request."""
        super().__init__(**options)
        self.optam1["asked"] = asked

    def is_request(self, req: Packet) -> bool:
        """Whether the packet is from a client."""
        is_ours = DHCP in req and bool(super().is_request(req))  # type: ignore[no-untyped-call]
        if is_ours:
            self.asked.set()
        return is_ours

    def make_reply(self, req: Packet) -> Packet:
        """Offer or confirm the lease, from our own MAC and IP address."""
        reply: Packet = super().make_reply(req)  # type: ignore[no-untyped-call]
        reply[Ether].src, reply[IP].src = WIRE.mac, WIRE.ip
        reply[UDP].chksum = None
        return reply


class Neighbour:
    """Attends a wire for as long as it is open, with the addresses of one station.

    Attributes:
        dhcp_asked: set once the guest has sent its first DHCP request.
    """

    def __init__(self, wire: Wire, own: Station = WIRE) -> None:
        self._wire = wire
        self._turn = threading.Lock()
        self._silent = False
        self._own_ip = ip_address(own.ip).packed
        self.dhcp_asked = threading.Event()
        lease = {"pool": DUT.ip, "network": NETWORK, "gw": WIRE.ip, "lease_time": LEASE_S, "renewal_time": LEASE_S // 2}
        leases = LeaseServer(self.dhcp_asked, verbose=False, **lease)
        echo: AnsweringMachine[Packet] = ICMPEcho_am(verbose=False)
        self._machines: dict[bytes, tuple[AnsweringMachine[Packet], ...]] = {
            b"\x08\x06": (ARP_am(IP_addr=own.ip, ARP_addr=own.mac, verbose=False, iface=wire.interface),),
            b"\x08\x00": (leases, echo),
            b"\x86\xdd": tuple(
                one(address=own.ip6, mac=own.mac, verbose=False) for one in (NeighbourAdvertiser, Echo6)
            ),
        }
        for machines in self._machines.values():
            for machine in machines:
                machine.optsend = machine.defoptsend
        wire.cable.watch(self._hear)

    def _hear(self, record: Record) -> None:
        # Only what one of the machines could answer is dissected: a flood must not wait for scapy.
        frame = record.frame
        machines = self._machines.get(frame[12:14])
        if machines is None or not _may_be_request(frame, self._own_ip):
            return
        packet = Ether(frame)
        with self._turn:
            for machine in machines if not self._silent else ():
                machine.reply(packet, send_function=self._send)

    def _send(self, reply: Packet) -> None:
        self._wire.cable.send(bytes(reply).ljust(60, b"\x00"))

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Leave unanswered what is asked while a block runs: any host asks again."""
        with self._turn:
            self._silent = True
        try:
            yield
        finally:
            self._silent = False

    def close(self) -> None:
        """Fall silent."""
        self._wire.cable.unwatch(self._hear)


def _may_be_request(frame: bytes, own_ip: bytes) -> bool:
    """Whether a frame is ARP, DHCP, or an echo request or neighbour solicitation to us, judged by a few octets."""
    if frame[12:14] == b"\x08\x06":
        return True
    if frame[12:14] == b"\x08\x00":
        to_server = frame[23:24] == b"\x11" and frame[36:38] == b"\x00\x43"
        return to_server or (frame[23:24] == b"\x01" and frame[30:34] == own_ip and frame[34:35] == b"\x08")
    return frame[20:21] == b"\x3a" and frame[54:55] in (b"\x80", b"\x87")
