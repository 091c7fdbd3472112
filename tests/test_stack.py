"""The wire's own UDP and TCP: against itself over a cable, and against another end that does not play its part."""

import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from harness.endpoint.cable import Cable, Direction, Impairment
from harness.endpoint.checksum import wrong_checksums
from harness.endpoint.stack import Stack
from harness.endpoint.tcp import TcpConnection
from harness.endpoint.wire import Wire
from harness.station import DUT, WIRE

both_families = pytest.mark.parametrize("address", [WIRE.ip, WIRE.ip6], ids=["IPv4", "IPv6"])
both_transports = pytest.mark.parametrize("transport", ["udp", "tcp"])


def joined(impairment: Impairment | None = None) -> Iterator[tuple[Wire, Wire]]:
    sockets = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    cables = [Cable(sockets[0], impairment), Cable(sockets[1])]
    yield Wire(cables[0]), Wire(cables[1])
    for cable, end in zip(cables, sockets, strict=True):
        cable.close()
        end.close()


@pytest.fixture
def ends() -> Iterator[tuple[Wire, Wire]]:
    yield from joined()


@both_families
@both_transports
@pytest.mark.parametrize("octets", [1, 1400])
def test_what_is_sent_to_a_service_comes_back(
    ends: tuple[Wire, Wire], transport: str, address: str, octets: int
) -> None:
    payload = bytes(range(256)) * 6
    with Stack(ends[1]).serve(transport, address) as port:
        assert Stack(ends[0]).exchange(transport, address, port, payload[:octets]) == payload[:octets]


@both_families
def test_stream_longer_than_the_window_comes_back_in_segments_that_fit_a_frame(
    ends: tuple[Wire, Wire], address: str
) -> None:
    payload = bytes(range(256)) * 400
    with Stack(ends[1]).serve("tcp", address) as port:
        assert Stack(ends[0]).exchange("tcp", address, port, payload, deadline_s=60) == payload
    lengths = {len(record.frame) for record in ends[0].cable.records}
    assert max(lengths) == 1514
    assert min(lengths) >= 60


def test_both_ends_close(ends: tuple[Wire, Wire]) -> None:
    with Stack(ends[1]).serve("tcp", WIRE.ip) as port:
        Stack(ends[0]).exchange("tcp", WIRE.ip, port, b"hello")
    ways = [record.direction for record in ends[0].cable.records if Ether(record.frame)[TCP].flags.F]
    assert ways == [Direction.TO_DUT, Direction.FROM_DUT]


@both_transports
def test_damaged_answer_is_no_answer(transport: str) -> None:
    def damage(way: Direction, frame: bytes) -> Iterator[bytes]:
        is_ours = way is Direction.FROM_DUT and b"hello" in frame
        yield frame.replace(b"hello", b"hullo") if is_ours else frame

    for near, far in joined(damage):
        with Stack(far).serve(transport, WIRE.ip) as port:
            assert Stack(near).exchange(transport, WIRE.ip, port, b"hello", deadline_s=0.3) == b""


@both_transports
def test_where_nobody_listens_nothing_comes(ends: tuple[Wire, Wire], transport: str) -> None:
    assert Stack(ends[0]).exchange(transport, WIRE.ip, 9, b"hello", deadline_s=0.1) == b""


def test_stops_to_listen_after_the_block(ends: tuple[Wire, Wire]) -> None:
    with Stack(ends[1]).serve("udp", WIRE.ip) as port:
        pass
    assert Stack(ends[0]).exchange("udp", WIRE.ip, port, b"hello", deadline_s=0.1) == b""


@pytest.fixture
def sent() -> list[Packet]:
    return []


@pytest.fixture
def connection(sent: list[Packet]) -> TcpConnection:
    """An open connection, whose other end has begun with 7 and has room for 1000 octets."""
    connection = TcpConnection((1, 2), 400, sent.append)
    connection.open()
    connection.hear(TCP(flags="SA", seq=7, ack=sent[0].seq + 1, window=1000))
    assert [str(segment.flags) for segment in sent] == ["S", "A"]
    assert sent.pop().ack == 8
    sent.clear()
    return connection


def test_sends_no_more_than_the_window_holds(connection: TcpConnection, sent: list[Packet]) -> None:
    connection.write(bytes(1500))
    assert [len(segment.payload) for segment in sent] == [400, 400, 200]
    connection.hear(TCP(flags="A", seq=8, ack=sent[1].seq, window=1000))
    assert [len(segment.payload) for segment in sent[3:]] == [400]
    assert all(after.seq == before.seq + len(before.payload) for before, after in pairwise(sent))


def test_takes_what_comes_twice_once(connection: TcpConnection, sent: list[Packet]) -> None:
    for _ in range(2):
        connection.hear(TCP(flags="PA", seq=8, ack=1001, window=1000) / b"once")
    assert connection.received == b"once"
    assert [segment.ack for segment in sent] == [12, 12]


def test_does_not_take_what_comes_after_a_gap(connection: TcpConnection, sent: list[Packet]) -> None:
    connection.hear(TCP(flags="PA", seq=9, ack=1001, window=1000) / b"late")
    assert connection.received == b""
    assert [segment.ack for segment in sent] == [8]


def test_takes_the_synchronization_once(connection: TcpConnection, sent: list[Packet]) -> None:
    connection.hear(TCP(flags="SA", seq=7, ack=1001, window=1000))
    connection.hear(TCP(flags="PA", seq=8, ack=1001, window=1000) / b"data")
    assert connection.received == b"data"


def test_numbers_wrap_round(sent: list[Packet]) -> None:
    connection = TcpConnection((1, 2), 400, sent.append)
    connection.open()
    connection.hear(TCP(flags="SA", seq=0xFFFFFFFE, ack=1001, window=1000))
    connection.hear(TCP(flags="PA", seq=0xFFFFFFFF, ack=1001, window=1000) / b"ab")
    connection.hear(TCP(flags="FPA", seq=1, ack=1001, window=1000) / b"c")
    assert connection.received == b"abc"
    assert connection.finished
    assert sent[-1].ack == 3


def test_reset_ends_the_wait(connection: TcpConnection) -> None:
    connection.hear(TCP(flags="R"))
    assert not connection.wait(lambda: connection.closed, deadline_s=60)


def test_closes_after_all_data(connection: TcpConnection, sent: list[Packet]) -> None:
    connection.write(bytes(1200))
    connection.close()
    assert "F" not in "".join(str(segment.flags) for segment in sent)
    connection.hear(TCP(flags="A", seq=8, ack=sent[-1].seq + 200, window=1000))
    assert str(sent[-1].flags) == "FA"
    connection.hear(TCP(flags="FA", seq=8, ack=sent[-1].seq + 1, window=1000))
    assert connection.closed


def frame(network: type[Packet], transport: Packet) -> bytes:
    near, far = (WIRE.ip, DUT.ip) if network is IP else (WIRE.ip6, DUT.ip6)
    return bytes(Ether(src=WIRE.mac, dst=DUT.mac) / network(src=near, dst=far) / transport).ljust(60, b"\0")


@pytest.mark.parametrize("network", [IP, IPv6])
@pytest.mark.parametrize("transport", [UDP() / b"x", TCP() / b"xyz", TCP()], ids=["udp", "tcp", "tcp-empty"])
def test_damage_shows_in_the_checksum(network: type[Packet], transport: Packet) -> None:
    sound = frame(network, transport)
    assert wrong_checksums(sound) == []
    header = 34 if network is IP else 54
    damaged = sound[: header + 1] + bytes([sound[header + 1] ^ 1]) + sound[header + 2 :]
    assert [one.partition(":")[0] for one in wrong_checksums(damaged)] == [transport.name]


def test_damage_to_the_ipv4_header_shows() -> None:
    sound = frame(IP, UDP() / b"x")
    assert [one.partition(":")[0] for one in wrong_checksums(sound[:22] + b"\x07" + sound[23:])] == ["IP"]


def test_no_udp_checksum_is_right_over_ipv4_and_wrong_over_ipv6() -> None:
    assert wrong_checksums(frame(IP, UDP(chksum=0) / b"x")) == []
    assert [one.partition(":")[0] for one in wrong_checksums(frame(IPv6, UDP(chksum=0) / b"x"))] == ["UDP"]


def test_end_that_did_not_ask_closes_when_the_other_does(sent: list[Packet]) -> None:
    sink = TcpConnection((2, 1), 400, sent.append)
    sink.hear(TCP(flags="S", seq=7, window=1000))
    sink.hear(TCP(flags="FPA", seq=8, ack=1001, window=1000) / b"all")
    assert sink.received == b"all"
    assert [str(segment.flags) for segment in sent] == ["SA", "A", "FA"]


def test_segment_for_the_caller_to_send_has_its_place_and_moves_the_end(
    connection: TcpConnection, sent: list[Packet]
) -> None:
    late, early = connection.segment(4, b"late"), connection.segment(0, b"soon", "PA")
    assert [(one.seq, str(one.flags), one.ack) for one in (late, early)] == [(1005, "A", 8), (1001, "PA", 8)]
    connection.hear(TCP(flags="PA", seq=8, ack=1009, window=1000) / b"back")
    assert [(one.seq, one.ack) for one in sent] == [(1009, 12)]


def test_announces_the_length_that_it_is_told(ends: tuple[Wire, Wire]) -> None:
    with Stack(ends[1]).serve("tcp", WIRE.ip, mss=536) as port:
        Stack(ends[0]).exchange("tcp", WIRE.ip, port, bytes(1000))
    answers = [Ether(record.frame)[TCP] for record in ends[0].cable.records if record.direction is Direction.FROM_DUT]
    assert answers[0].options == [("MSS", 536)]
    assert max(len(answer.payload) for answer in answers[1:]) <= 536


def test_takes_what_is_new_in_a_segment_that_comes_again(connection: TcpConnection, sent: list[Packet]) -> None:
    for flags, data in (("PA", b"one"), ("PA", b"onetwo"), ("FPA", b"onetwo"), ("FPA", b"onetwo")):
        connection.hear(TCP(flags=flags, seq=8, ack=1001, window=1000) / data)
    assert connection.received == b"onetwo"
    assert [segment.ack for segment in sent] == [11, 14, 15, 15]
