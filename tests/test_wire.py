"""The wire as scapy sees it, and the neighbour that lives on it: what a DUT's own stack needs to find."""

import socket
from collections.abc import Iterator

import pytest
from scapy.config import conf
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet
from scapy.sendrecv import sendp, sniff, srp1

from harness.endpoint.cable import Cable
from harness.endpoint.neighbour import Neighbour
from harness.endpoint.wire import Wire
from harness.station import DUT, STRANGER_MAC, WIRE


@pytest.fixture
def ends() -> Iterator[tuple[Wire, Wire]]:
    sockets = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    cables = [Cable(end) for end in sockets]
    yield Wire(cables[0]), Wire(cables[1])
    for cable, end in zip(cables, sockets, strict=True):
        cable.close()
        end.close()


@pytest.fixture
def wire(ends: tuple[Wire, Wire]) -> Wire:
    """The harness's end."""
    return ends[0]


@pytest.fixture
def dut(ends: tuple[Wire, Wire]) -> Wire:
    """The other end: here the test is the DUT."""
    return ends[1]


@pytest.fixture
def neighbour(wire: Wire) -> Iterator[Neighbour]:
    neighbour = Neighbour(wire)
    yield neighbour
    neighbour.close()


def test_scapys_send_and_sniff_work_on_the_wire(wire: Wire, dut: Wire) -> None:
    frames = [b"x" * 60, b"y" * 60]
    found = sniff(iface=wire.interface, count=2, timeout=20, started_callback=lambda: dut.send(*frames))
    assert [bytes(packet) for packet in found] == frames
    with dut.capture(b"to the DUT") as seen:
        sendp(Ether(dst=DUT.mac, src=WIRE.mac, type=0x88B5) / b"to the DUT", iface=wire.interface, verbose=False)
        assert len(seen.wait(1)) == 1


def test_scapys_srp1_gets_its_answer_over_the_wire(wire: Wire, dut: Wire) -> None:
    other = Neighbour(dut)
    request = Ether(src=STRANGER_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=STRANGER_MAC, psrc="192.0.2.9", pdst=WIRE.ip)
    answer = srp1(request, iface=wire.interface, timeout=20, verbose=False)
    other.close()
    assert answer is not None
    assert answer[ARP].hwsrc == WIRE.mac


def test_a_capture_ends_with_the_frame_it_waits_for_and_holds_only_its_own(wire: Wire, dut: Wire) -> None:
    with wire.capture(b"marked") as seen:
        dut.send(b"another".ljust(60), b"marked 1".ljust(60), b"marked 2".ljust(60))
        assert seen.wait(2) == [b"marked 1".ljust(60), b"marked 2".ljust(60)]
    dut.send(b"marked 3".ljust(60))
    assert len(seen.wait(3, 0.2)) == 2, "the block has ended"


def test_a_capture_at_its_deadline_returns_what_there_is(wire: Wire, dut: Wire) -> None:
    with wire.capture(b"marked") as seen:
        dut.send(b"marked".ljust(60))
        assert seen.wait(2, 0.5) == [b"marked".ljust(60)]


def test_resolve_returns_none_when_nobody_answers_and_the_answer_when_somebody_does(wire: Wire, dut: Wire) -> None:
    assert wire.resolve(WIRE.ip, deadline_s=0.2) is None
    Neighbour(dut)
    other = Ether(src=STRANGER_MAC, dst=WIRE.mac) / ARP(op=2, hwsrc=STRANGER_MAC, psrc="192.0.2.9", pdst=WIRE.ip)
    dut.cable.watch(lambda record: dut.send(other))
    assert wire.resolve("192.0.2.77", deadline_s=0.2) is None, "somebody, but not this station"
    answer = wire.resolve(WIRE.ip)
    assert answer is not None
    assert answer[ARP].hwsrc == WIRE.mac


# The neighbour, asked by the DUT.

ARP_REQUEST = Ether(src=DUT.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=DUT.mac, psrc=DUT.ip, pdst=WIRE.ip)


def asked(dut: Wire, request: Packet, layer: type[Packet]) -> Packet:
    answer = dut.ask([bytes(request).ljust(60, b"\0")], lambda packet: layer in packet)
    assert answer is not None, f"no answer to {request.summary()}"
    return answer


@pytest.mark.usefixtures("neighbour")
def test_the_neighbour_answers_arp_for_its_own_address_only(dut: Wire) -> None:
    answer = asked(dut, ARP_REQUEST, ARP)
    assert (answer.dst, answer[ARP].hwsrc, answer[ARP].psrc, answer[ARP].op) == (DUT.mac, WIRE.mac, WIRE.ip, 2)
    other = ARP_REQUEST.copy()
    other[ARP].pdst = "192.0.2.200"
    assert dut.ask([bytes(other)], lambda packet: True, deadline_s=0.3) is None


def test_the_neighbour_leases_the_duts_address_and_knows_that_it_was_asked(dut: Wire, neighbour: Neighbour) -> None:
    assert not neighbour.dhcp_asked.is_set()
    client = Ether(src=DUT.mac, dst="ff:ff:ff:ff:ff:ff") / IP(src="0.0.0.0", dst="255.255.255.255")
    client /= UDP(sport=68, dport=67) / BOOTP(op=1, chaddr=bytes.fromhex(DUT.mac.replace(":", "")), xid=0x1234)
    for kind, expected in (("discover", 2), ("request", 5)):
        options = [("message-type", kind), ("requested_addr", DUT.ip), "end"]
        answer = asked(dut, client / DHCP(options=options), DHCP)
        given = dict(option for option in answer[DHCP].options if isinstance(option, tuple) and len(option) == 2)
        assert (given["message-type"], given["server_id"], given["router"]) == (expected, WIRE.ip, WIRE.ip)
        assert (answer[BOOTP].yiaddr, answer[BOOTP].xid) == (DUT.ip, 0x1234)
        assert (answer.src, answer[IP].src) == (WIRE.mac, WIRE.ip)
        assert given["lease_time"] >= 3600, "no renewal in the middle of a test"
        sum_sent, answer[UDP].chksum = answer[UDP].chksum, None
        assert Ether(bytes(answer))[UDP].chksum == sum_sent
    assert neighbour.dhcp_asked.is_set()


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize("octets", [0, 56, 1400])
def test_the_neighbour_answers_pings_with_the_same_data(octets: int, dut: Wire) -> None:
    data = bytes(number % 251 for number in range(octets))
    four = Ether(src=DUT.mac, dst=WIRE.mac) / IP(src=DUT.ip, dst=WIRE.ip) / ICMP(id=5, seq=9) / data
    answer = asked(dut, four, ICMP)
    assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (0, 5, 9)
    assert bytes(answer[ICMP].payload)[:octets] == data
    six = Ether(src=DUT.mac, dst=WIRE.mac) / IPv6(src=DUT.ip6, dst=WIRE.ip6) / ICMPv6EchoRequest(id=5, seq=9, data=data)
    answer = asked(dut, six, ICMPv6EchoReply)
    assert (answer[ICMPv6EchoReply].id, answer[ICMPv6EchoReply].seq) == (5, 9)
    assert bytes(answer[ICMPv6EchoReply].data)[:octets] == data


@pytest.mark.usefixtures("neighbour")
def test_the_neighbour_answers_solicitations_but_not_the_detection_of_duplicates(dut: Wire) -> None:
    solicit = Ether(src=DUT.mac, dst="33:33:ff:00:00:01") / IPv6(src=DUT.ip6, dst="ff02::1:ff00:1", hlim=255)
    answer = asked(dut, solicit / ICMPv6ND_NS(tgt=WIRE.ip6), ICMPv6ND_NA)
    assert (answer[ICMPv6ND_NA].tgt, answer[ICMPv6NDOptDstLLAddr].lladdr) == (WIRE.ip6, WIRE.mac)
    assert (answer[IPv6].dst, answer[IPv6].hlim) == (DUT.ip6, 255)
    solicit[IPv6].src = "::"
    assert dut.ask([bytes(solicit / ICMPv6ND_NS(tgt=WIRE.ip6))], lambda packet: True, deadline_s=0.3) is None


@pytest.mark.usefixtures("neighbour")
def test_garbage_from_a_dut_does_not_silence_the_neighbour(dut: Wire) -> None:
    head = bytes.fromhex("ffffffffffff" + DUT.mac.replace(":", ""))
    dhcp = head + bytes.fromhex("0800 4500 0020 0000 0000 4011 0000 00000000 ffffffff 0044 0043 000c 0000 0101")
    dut.send(head, head + b"\x08\x06", head + b"\x08\x06\x00\x01", head + b"\x08\x00\x4f", dhcp, b"\xff" * 3000)
    assert asked(dut, ARP_REQUEST, ARP)[ARP].hwsrc == WIRE.mac


def test_scapy_is_told_nothing_of_this_host() -> None:
    assert "cable" not in conf.ifaces, "the wire is an interface of its own, not one of the host's"


def test_solicitation_is_answered_by_whose_address_it_is(wire: Wire, dut: Wire, neighbour: Neighbour) -> None:
    answer = dut.solicit(WIRE.ip6, deadline_s=20)
    assert answer is not None
    assert answer.src == WIRE.mac
    assert dut.solicit(DUT.ip6, deadline_s=0.1) is None
