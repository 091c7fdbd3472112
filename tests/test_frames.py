"""The frames of the traffic suite are what scapy takes for sound ones, and every loss and change of one is named."""

import socket
from collections.abc import Callable, Iterable, Iterator
from itertools import count

import pytest
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from harness.endpoint.base import padded
from harness.endpoint.cable import Cable, Direction
from harness.endpoint.checksum import wrong_checksums
from harness.endpoint.neighbour import Neighbour
from harness.endpoint.wire import Wire
from harness.station import DUT, WIRE, solicited_node
from harness.traffic import exchange, frames
from harness.traffic.exchange import (
    IN_FLIGHT,
    IN_RING,
    exchange_arp,
    exchange_echoes,
    exchange_every_echo,
    send_in_step,
)
from harness.traffic.frames import IPV4, IPV6, Family, difference, random_payloads

both_families = pytest.mark.parametrize("family", [IPV4, IPV6], ids=str)


Defect = Callable[[bytes], list[bytes]]
"""What becomes of a frame."""


def unharmed(frame: bytes) -> list[bytes]:
    return [frame]


class Dut:
    """The other end: answers echoes and ARP with scapy, through a cable with a defect in its replies."""

    def __init__(self) -> None:
        self.sockets = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.wire = Wire(Cable(self.sockets[0], self._impair))
        self.far = Wire(Cable(self.sockets[1]))
        self.replies = count()
        self.defects: dict[int, Defect] = {}
        self.damage: Defect = lambda frame: self.defects.get(next(self.replies), unharmed)(frame)
        self.far.cable.watch(lambda record: self._hear(record.frame))

    def _impair(self, way: Direction, frame: bytes) -> Iterable[bytes]:
        if way is Direction.FROM_DUT:
            return self.damage(frame)
        return (frame,)

    def _hear(self, frame: bytes) -> None:
        request = Ether(frame)
        reply = request.copy()
        reply.src, reply.dst = DUT.mac, request.src
        if ARP in request:
            asked = request[ARP]
            reply[ARP].op = 2
            reply[ARP].hwsrc, reply[ARP].psrc = DUT.mac, asked.pdst
            reply[ARP].hwdst, reply[ARP].pdst = asked.hwsrc, asked.psrc
        else:
            network = reply.payload
            network.src, network.dst = network.dst, network.src
            echo = ICMP if ICMP in reply else ICMPv6EchoRequest
            reply[echo].type = 0 if echo is ICMP else 129
            for layer, field in ((network, "chksum"), (reply[echo], "chksum"), (reply[echo], "cksum")):
                if field in layer.fields:
                    delattr(layer, field)
        self.far.send(padded(reply))

    def close(self) -> None:
        for wire, end in zip((self.wire, self.far), self.sockets, strict=True):
            wire.cable.close()
            end.close()


@pytest.fixture
def dut(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dut]:
    monkeypatch.setattr(exchange, "DEADLINE_S", 0.5)
    monkeypatch.setattr(exchange, "UNANSWERED_S", 0.3)
    dut = Dut()
    yield dut
    dut.close()


@both_families
def test_echo_requests_are_what_scapy_takes_for_sound(dut: Dut, family: Family) -> None:
    data = [b"", b"a", bytes(18), bytes(range(256)) * 5]
    exchange_echoes(dut.wire, family, data)
    sent = [record.frame for record in dut.wire.cable.records if record.direction is Direction.TO_DUT][: len(data)]
    layer = ICMP if family is IPV4 else ICMPv6EchoRequest
    for octets, request in zip(data, sent, strict=True):
        assert wrong_checksums(request) == []
        packet = Ether(request)
        assert (packet.dst, packet.src) == (DUT.mac, WIRE.mac)
        carried = bytes(packet[layer].payload)[: len(octets)] if family is IPV4 else packet[layer].data
        assert carried == octets
    assert any(Ether(request)[layer].type == family.request for request in sent)


@both_families
def test_sound_echoes_differ_in_nothing(dut: Dut, family: Family) -> None:
    due, came = exchange_echoes(dut.wire, family, random_payloads(range(18, 60)))
    assert len(came) == 42
    assert difference(due, came) == ""


@both_families
@pytest.mark.parametrize(
    ("defect", "said"),
    [
        (lambda frame: [], "seen 2: number 2 (1514 octets) and what follows it did not come"),
        (lambda frame: [frame, frame], "seen 4: one too many"),
        (lambda frame: [frame[:1000]], "seen 3: number 2 (1000 octets for 1514)"),
    ],
    ids=["lost", "twice", "cut"],
)
def test_fault_in_the_last_echo_is_named(dut: Dut, family: Family, defect: Defect, said: str) -> None:
    dut.defects[2] = defect
    assert said in difference(*exchange_echoes(dut.wire, family, random_payloads([family.echo_octets(1514)] * 3)))


@both_families
def test_echo_that_is_left_unanswered_is_asked_again(dut: Dut, family: Family) -> None:
    dut.defects[3] = dut.defects[10] = lambda frame: []
    due, came = exchange_every_echo(dut.wire, family, random_payloads([18] * 320))
    assert difference(due, came) == ""


@both_families
def test_length_that_is_never_answered_is_named(dut: Dut, family: Family) -> None:
    data = random_payloads(range(18, 60))
    length = len(frames.echoes(family, family.reply, DUT, WIRE, data[5:6])[0])
    dut.damage = lambda frame: [] if len(frame) == length else [frame]
    said = difference(*exchange_every_echo(dut.wire, family, data))
    assert f"seen 41: in place of number 5 ({length} octets) came number 6" in said


@both_families
def test_cable_that_loses_many_echoes_is_not_asked_for_ever(dut: Dut, family: Family) -> None:
    dut.damage = lambda frame: [] if next(dut.replies) % 3 else [frame]
    due, came = exchange_every_echo(dut.wire, family, random_payloads([18] * 400))
    assert len(came) < 40
    assert "expected 400 frames" in difference(due, came)


@both_families
def test_few_echoes_may_not_be_lost_again_and_again(dut: Dut, family: Family) -> None:
    dut.defects[3] = dut.defects[10] = lambda frame: []
    due, came = exchange_every_echo(dut.wire, family, random_payloads(range(18, 47)))
    assert "expected 29 frames" in difference(due, came)


@both_families
def test_echo_that_comes_twice_or_altered_is_named(dut: Dut, family: Family) -> None:
    dut.defects[1] = lambda frame: [frame, frame]
    dut.defects[4] = lambda frame: [frame[:-1] + b"x"]
    said = difference(*exchange_every_echo(dut.wire, family, random_payloads(range(18, 30))))
    assert "in place of number 2" in said


def test_sender_of_a_reply_chooses_its_time_to_live_but_no_header_checksum() -> None:
    (reply,) = frames.echoes(IPV4, IPV4.reply, DUT, WIRE, [bytes(18)])
    other = Ether(reply)
    other.payload.ttl, other.payload.id = 255, 9
    del other.payload.chksum
    assert frames.blanked(bytes(other)) == frames.blanked(reply)
    damaged = bytes(other)[:24] + b"\xba\xad" + bytes(other)[26:]
    assert frames.blanked(damaged) != frames.blanked(reply)


def test_arp_gets_a_reply_for_each_asker(dut: Dut) -> None:
    due, came = exchange_arp(dut.wire, 20)
    assert difference(due, came) == ""
    assert len({Ether(reply).dst for reply in came}) == len(came) == 20


def test_silent_dut_is_not_waited_for_again_and_again(dut: Dut) -> None:
    dut.damage = lambda frame: []
    assert exchange_arp(dut.wire, 4097)[1] == []
    assert len(dut.wire.cable.records) == IN_FLIGHT
    assert send_in_step(dut.wire, [b"x" * 60] * 4097) == [b"x" * 60] * IN_RING


def test_arp_reply_that_did_not_come_is_named(dut: Dut) -> None:
    dut.defects[7] = lambda frame: []
    assert "seen 7: number 7 (60 octets) and what follows it did not come" in difference(*exchange_arp(dut.wire, 20))


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ([b"aaaa", b"bbbb", b"cccc"], ""),
        ([b"aaaa", b"bbbb"], "expected 3 frames, octet for octet and in order, seen 2: number 2 (4 octets) and what"),
        ([], "seen 0: number 0 (4 octets) and what follows it did not come"),
        ([b"aaaa", b"cccc", b"bbbb"], "in place of number 1 (4 octets) came number 2"),
        ([b"aaaa", b"aaaa", b"bbbb", b"cccc"], "in place of number 1 (4 octets) came number 0"),
        ([b"aaaa", b"bbxb", b"cccc"], "number 1 (4 octets for 4) differs from octet 2 on: 7862 instead of 6262"),
        ([b"aaaa", b"bbb", b"cccc"], "number 1 (3 octets for 4) differs from octet 3 on: nothing instead of 62"),
        ([b"aaaa", b"bbbb", b"cccc", b"dddd"], "one too many came: 64646464"),
    ],
)
def test_first_difference_is_named(seen: list[bytes], said: str) -> None:
    found = difference([b"aaaa", b"bbbb", b"cccc"], seen)
    assert said in found
    assert bool(found) == bool(said)


@both_families
def test_udp_packet_that_sums_to_zero_carries_ones(family: Family) -> None:
    packet = Ether(bytes(frames.summing_to_zero(family.to_dut() / UDP(sport=40003, dport=33000))))
    assert packet[UDP].chksum == 0xFFFF
    assert wrong_checksums(bytes(packet)) == []


@both_families
def test_tcp_checksum_of_zero_may_be_written_as_ones(family: Family) -> None:
    segment = family.to_dut() / TCP(sport=40003, dport=33000)
    # Its checksum goes in as data that the rest then sums to zero with.
    segment[TCP].window = 0
    segment[TCP].window = Ether(bytes(segment))[TCP].chksum
    zero, ones, wrong = (bytes(_with_checksum(segment, value)) for value in (0, 0xFFFF, 1))
    assert Ether(bytes(segment))[TCP].chksum == 0
    assert wrong_checksums(zero) == wrong_checksums(ones) == []
    assert wrong_checksums(wrong) == ["TCP: 0001 instead of 0000"]


def _with_checksum(segment: Packet, value: int) -> Packet:
    changed = segment.copy()
    changed[TCP].chksum = value
    return changed


def test_solicited_node_group_is_that_of_the_last_24_bits() -> None:
    assert solicited_node("fe80::1:2345:6789") == ("ff02::1:ff45:6789", "33:33:ff:45:67:89")


def test_is_icmp_tells_the_families_apart() -> None:
    for family, other in ((IPV4, IPV6), (IPV6, IPV4)):
        (reply,) = frames.echoes(family, family.reply, DUT, WIRE, [bytes(18)])
        assert family.is_icmp(family.reply)(reply)
        assert not family.is_icmp(family.request)(reply)
        assert not other.is_icmp(other.reply)(reply)


def test_is_echo_tells_ours_from_what_others_have_asked() -> None:
    for family in (IPV4, IPV6):
        (reply,) = frames.echoes(family, family.reply, DUT, WIRE, [bytes(18)])
        at = family.headers + 4
        other = reply[:at] + b"\x7a\xfd" + reply[at + 2 :]
        assert family.is_echo(family.reply)(reply)
        assert not family.is_echo(family.request)(reply)
        assert not family.is_echo(family.reply)(other)


def test_neighbours_own_echo_is_sound() -> None:
    """The suite's ping from the guest is answered by the neighbour: its reply is the one that is due."""
    dut = Dut()
    neighbour = Neighbour(dut.wire)
    (request,) = frames.echoes(IPV6, IPV6.request, DUT, WIRE, [bytes(18)])
    with dut.far.capture(b"\x3a") as seen:
        dut.far.send(request)
        (reply,) = seen.wait(1, 20)
    assert Ether(reply)[ICMPv6EchoReply].data == bytes(18)
    assert wrong_checksums(reply) == []
    neighbour.close()
    dut.close()
