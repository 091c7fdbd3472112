"""Segmentation and aggregation: a large send leaves as the segments it is made of, and what comes is never mixed up.

With the offload on, a stack hands its driver TCP data of many segments behind one header, and the NIC cuts it; with it
off, no frame is handed over that is longer than the cable takes. Two witnesses: a capture in the guest at the point
where the stack hands frames to the driver, and every frame on the cable, where the wire's own TCP announces the longest
segment that it takes. Asserted exactly, without tolerance: frame for frame and octet for octet, checksums computed
anew. IPv4 identifications count on by one inside a large send: RFC 6864 would permit others, the controllers' manuals
do not. A stack may send a segment again when an acknowledgment was late, so the stream is put together as TCP does.

Receive aggregation is the stack's: it may hand several segments on as one. How many depends on how they arrive, so no
more is asserted of that than that some are merged of 40 that come at once, but of all that are every octet is accounted
for.
"""

import hashlib
from collections.abc import Callable

import pytest

from harness.endpoint.checksum import wrong_checksums
from harness.endpoint.stack import Stack, framed
from harness.endpoint.tcp import TcpConnection
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.guest.offloads import Offload
from harness.station import WIRE
from harness.suite import applies_to, requirement
from harness.testbed import Testbed
from harness.traffic.aggregation import delivered, wrongly_merged
from harness.traffic.damage import damaged
from harness.traffic.exchange import DEADLINE_S
from harness.traffic.frames import IPV4, IPV6, LONGEST_FRAME, Family, difference, mac_octets, random_payloads
from harness.traffic.handing import Sent, outside_vlans
from harness.traffic.segmentation import (
    CWR,
    end_flags,
    flags_of,
    longest_segment,
    offload_of,
    parts_of,
    reassembled,
    send_at_once,
    send_datagrams,
    send_stream,
    without_end_flags,
    wrongly_cut,
)
from harness.traffic.transmission import data_of

STANDARD, JUMBO = 1500, 9000
"""MTUs."""
SEGMENT = 500
"""Octets of each segment or datagram where their length is not the matter."""
PIECES = random_payloads([SEGMENT] * 40)
"""No more than any receive ring holds."""
STREAM = b"".join(PIECES)
UNEVEN = STREAM[1:]
"""Its last segment is shorter than the others."""
DATAGRAMS = random_payloads([20 * SEGMENT + 123])[0]

both_families = pytest.mark.parametrize("family", [IPV4, IPV6], ids=str)
with_and_without = pytest.mark.parametrize("offload", [True, False], ids=["on", "off"])


def _assert_left_to_the_nic(sent: Sent, payload: bytes, segment: int) -> None:
    longest = max(len(data_of(frame)) for frame in sent.handed)
    assert (longest > segment) == (len(payload) > segment), (
        f"expected a stack that leaves segmentation to the NIC to hand it {len(payload)} octets in sends longer "
        f"than a segment if there is more than one, the longest has {longest}"
    )


def _lengths(mss: int) -> tuple[int, ...]:
    return mss - 1, 4 * mss, 4 * mss + 1, 65536


@requirement(
    "RFC 9293 3.7.1",
    "RFC 9293 3.1",
    "82540EM 3.5",
    "82574L 7.3",
    "82576 7.2.4",
    "virtio 1.2 5.1.6.2",
    "NDIS 6 Large Send",
)
@both_families
@pytest.mark.parametrize(
    ("mtu", "mss"),
    [(STANDARD, 536), (STANDARD, 1000), (STANDARD, None), (JUMBO, None)],
    ids=["536", "1000", "full", "jumbo"],
)
def test_stream_leaves_in_segments_of_the_announced_length(
    guest: Guest, wire: Wire, family: Family, mtu: int, mss: int | None
) -> None:
    """A NIC cuts any send into segments as long as the other end takes, with right checksums, and no octet is lost."""
    guest.set_offload(offload_of(family), True)
    if mtu != STANDARD:
        assert guest.set_mtu(mtu), f"expected an MTU of {mtu} to be taken, it was refused"
    longest = mss or longest_segment(family, mtu)
    for payload in random_payloads(_lengths(longest)):
        sent = send_stream(outside_vlans(guest, wire), family, payload, longest)
        _assert_left_to_the_nic(sent, payload, longest)
        seen, expected = max(len(data_of(frame)) for frame in sent.seen), min(len(payload), longest)
        assert seen == expected, f"expected segments of {expected} octets at most for {len(payload)}, seen {seen}"
        wrong = [one for frame in sent.seen for one in wrong_checksums(frame)]
        assert not wrong, f"expected right checksums in {len(sent.seen)} segments, seen {wrong}"
        came = reassembled(sent.seen)
        digests = [hashlib.sha256(octets).hexdigest()[:16] for octets in (payload, came)]
        assert digests[0] == digests[1], f"expected {len(payload)} octets (SHA-256, seen): {digests}, seen {len(came)}"


@requirement("82540EM 3.5", "82574L 7.3", "82576 7.2.4", "virtio 1.2 5.1.6.2", "NDIS 6 Large Send")
@both_families
def test_large_send_leaves_as_the_segments_that_it_is_made_of(guest: Guest, wire: Wire, family: Family) -> None:
    """Sequence numbers and identifications count on from those of the large send, and all else is as handed.

    PSH and FIN, CWR, and the checksums, have tests of their own.
    """
    guest.set_offload(offload_of(family), True)
    for payload in random_payloads(_lengths(SEGMENT)):
        sent = send_stream(outside_vlans(guest, wire), family, payload, SEGMENT)
        _assert_left_to_the_nic(sent, payload, SEGMENT)
        expected, seen = ([without_end_flags(part) for part in parts] for parts in (parts_of(sent, SEGMENT), sent.seen))
        wrong = difference(expected, seen)
        assert not wrong, f"of segments of {len(sent.handed)} sends, {wrong}"


@requirement("82540EM 3.5", "82574L 7.3", "82576 7.2.4", "virtio 1.2 5.1.6.2", "NDIS 6 Large Send")
@both_families
def test_end_of_a_large_send_is_said_in_its_last_segment_alone(guest: Guest, wire: Wire, family: Family) -> None:
    """PSH and FIN of a large send are in its last segment, and in no other."""
    guest.set_offload(offload_of(family), True)
    sent = send_at_once(outside_vlans(guest, wire), family, UNEVEN, SEGMENT, "FPA")
    _assert_left_at_once(sent)
    expected, seen = (
        " ".join(end_flags(part) or "-" for part in parts) for parts in (parts_of(sent, SEGMENT), sent.seen)
    )
    assert expected == seen, f"expected PSH and FIN in the segments as in {expected}, seen {seen}"


@requirement("RFC 3168 6.1.2", "virtio 1.2 5.1.6.2")
@both_families
def test_reduced_window_is_said_in_the_first_segment_of_a_large_send_alone(
    guest: Guest, wire: Wire, family: Family
) -> None:
    """CWR of a large send is in its first segment and in no other, whether the NIC minds it or the stack has to."""
    guest.set_offload(offload_of(family), True)
    _assert_cwr_first(send_at_once(outside_vlans(guest, wire), family, UNEVEN, SEGMENT, "CA", with_cwr=True))


@requirement("82576 8.12 DTXTCPFLGL", "82576 7.2.4")
@applies_to(lambda cell: cell.nic.name in ("igb", "igbvf"))
@both_families
def test_controller_leaves_cwr_to_the_first_segment_unasked(guest: Guest, wire: Wire, family: Family) -> None:
    """A controller that masks the flags of segments clears CWR in all but the first, whatever its driver says of it."""
    guest.set_offload(offload_of(family), True)
    sent = send_at_once(outside_vlans(guest, wire), family, UNEVEN, SEGMENT, "CA")
    _assert_left_at_once(sent)
    _assert_cwr_first(sent)


def _assert_left_at_once(sent: Sent) -> None:
    lengths = [len(data_of(frame)) for frame in sent.handed]
    assert lengths == [len(UNEVEN)], f"expected {len(UNEVEN)} octets left to the NIC at once, seen {lengths}"


def _assert_cwr_first(sent: Sent) -> None:
    flags = [flags_of(frame) & CWR for frame in sent.seen]
    marked = [number for number, flag in enumerate(flags, 1) if flag]
    assert marked == [1], f"of {len(flags)} segments expected CWR in the first alone, seen it in {marked}"
    wrong = wrongly_cut(sent, SEGMENT)
    assert not wrong, f"of segments of a large send with CWR, {wrong}"


@requirement("RFC 9293 3.7.1", "IEEE 802.3-2022 3.2.7", "virtio 1.2 5.1.6.2", "NDIS 6 Large Send")
@both_families
def test_without_the_offload_no_large_send_is_handed_over(guest: Guest, wire: Wire, family: Family) -> None:
    """A driver whose NIC is not to cut gets no frame longer than the cable takes, and what it gets leaves as it is."""
    guest.set_offload(offload_of(family), False)
    segment = longest_segment(family, STANDARD)
    for payload in random_payloads(_lengths(segment)):
        sent = send_stream(outside_vlans(guest, wire), family, payload, segment)
        longest = max(sent.largest_handed, *map(len, sent.seen))
        assert longest <= LONGEST_FRAME, f"expected frames of {LONGEST_FRAME} octets at most, seen {longest}"
        wrong = wrongly_cut(sent, segment)
        assert not wrong, f"of frames as the driver got them, {wrong}"
        wrong = difference([payload], [reassembled(sent.seen)])
        assert not wrong, f"of a stream of {len(payload)} octets, {wrong}"


@requirement("82576 7.2.4", "virtio 1.2 5.1.6.2", "RFC 768", "RFC 8200 8.1")
@with_and_without
@both_families
def test_udp_payload_leaves_in_datagrams_of_the_length_asked_for(
    guest: Guest, wire: Wire, family: Family, offload: bool
) -> None:
    """A payload sent with a segment length leaves in whole datagrams of that length and one of the rest."""
    guest.set_offload(Offload.UDP_SEGMENTATION, offload)
    sent = send_datagrams(outside_vlans(guest, wire), family, DATAGRAMS, SEGMENT)
    large = sent.largest_handed > LONGEST_FRAME
    assert large == offload, f"expected large sends only with the offload, the longest has {sent.largest_handed} octets"
    expected = [DATAGRAMS[at : at + SEGMENT] for at in range(0, len(DATAGRAMS), SEGMENT)]
    wrong = difference(expected, [data_of(frame) for frame in sent.seen])
    assert not wrong, f"of the data of {len(expected)} datagrams in one send, {wrong}"
    wrong = wrongly_cut(sent, SEGMENT)
    assert not wrong, f"of datagrams with headers and checksums, {wrong}"


def _in_order(frames: list[bytes]) -> list[bytes]:
    return frames


def _out_of_order(frames: list[bytes]) -> list[bytes]:
    """Reverse every four."""
    return [frame for first in range(0, len(frames), 4) for frame in reversed(frames[first : first + 4])]


def _repeated(frames: list[bytes]) -> list[bytes]:
    """Send every second one twice."""
    return [frame for number, one in enumerate(frames) for frame in [one] * (1 + number % 2)]


@requirement("RFC 9293 3.10.7.4")
@with_and_without
@pytest.mark.parametrize("arrange", [_in_order, _out_of_order, _repeated], ids=["in-order", "out-of-order", "repeated"])
def test_stream_is_received_whole(
    guest: Guest, wire: Wire, arrange: Callable[[list[bytes]], list[bytes]], offload: bool
) -> None:
    """A stream is delivered whole and in order, however its segments arrive and whoever puts them together."""
    guest.set_offload(Offload.RECEIVE_AGGREGATION, offload)
    for family in (IPV4, IPV6):
        with Stack(wire).connect(family.dut, guest.endpoint().serve("tcp", family.dut)) as connection:
            wire.send(*arrange(_segments(family, connection)))
            _assert_received(family, connection)


@requirement("RFC 9293 3.10.7.4")
@both_families
def test_segments_that_come_at_once_are_merged(testbed: Testbed, guest: Guest, wire: Wire, family: Family) -> None:
    """With aggregation on, of segments that all wait for the machine when it goes on some are handed on as one."""
    guest.set_offload(Offload.RECEIVE_AGGREGATION, True)
    port = guest.endpoint().serve("tcp", family.dut)
    with guest.endpoint().capture(_to_dut(family)) as capture, Stack(wire).connect(family.dut, port) as connection:
        with testbed.stopped():
            wire.send(*_segments(family, connection))
        _assert_received(family, connection)
        came = delivered(capture, len(STREAM))
    longest = max(len(data_of(frame)) for frame in came)
    assert longest > SEGMENT, f"expected some of {len(PIECES)} segments merged, seen each by itself"


@requirement("RFC 9293 3.10.7.4")
@both_families
def test_without_aggregation_segments_are_delivered_as_they_came(guest: Guest, wire: Wire, family: Family) -> None:
    """With aggregation off, each segment is handed to the stack by itself, octet for octet."""
    guest.set_offload(Offload.RECEIVE_AGGREGATION, False)
    port = guest.endpoint().serve("tcp", family.dut)
    with guest.endpoint().capture(_to_dut(family)) as capture, Stack(wire).connect(family.dut, port) as connection:
        frames = _segments(family, connection)
        wire.send(*frames)
        _assert_received(family, connection)
        wrong = difference(frames, delivered(capture, len(STREAM)))
    assert not wrong, f"of segments of {SEGMENT} octets, {wrong}"


def _acknowledging(_: int) -> str:
    return "A"


def _pushing(number: int) -> str:
    return "PA" if number % 4 == 3 else "A"


def _echoing(number: int) -> str:
    """Echo congestion (RFC 3168, 6.1) in four of eight segments."""
    return "EA" if number // 4 % 2 else "A"


def _unmarked(_: int) -> int:
    return 0


def _marked(number: int) -> int:
    """Mark four of eight segments: congestion experienced, where the others could say so (RFC 3168, 5)."""
    return 3 if number // 4 % 2 else 2


@requirement("RFC 9293 3.9.1.2", "RFC 3168 6.1")
@pytest.mark.parametrize(
    ("flags", "tos"),
    [(_pushing, _unmarked), (_echoing, _unmarked), (_acknowledging, _marked)],
    ids=["push", "congestion-echo", "congestion-mark"],
)
def test_segments_that_say_different_things_are_not_merged(
    guest: Guest, wire: Wire, flags: Callable[[int], str], tos: Callable[[int], int]
) -> None:
    """Segments with other flags or another mark of congestion, or behind a push, are not merged with those before."""
    guest.set_offload(Offload.RECEIVE_AGGREGATION, True)
    for family in (IPV4, IPV6):
        port = guest.endpoint().serve("tcp", family.dut)
        with guest.endpoint().capture(_to_dut(family)) as capture, Stack(wire).connect(family.dut, port) as connection:
            frames = _segments(family, connection, flags=flags, tos=tos)
            wire.send(*frames)
            _assert_received(family, connection)
            wrong = wrongly_merged(delivered(capture, len(STREAM)), frames)
        assert not wrong, f"expected segments over {family} merged with their like alone, seen {wrong}"


@requirement("RFC 9293 3.10.7.4")
@both_families
def test_connections_are_not_mixed(guest: Guest, wire: Wire, family: Family) -> None:
    """Two connections whose segments arrive by turns each get their own."""
    guest.set_offload(Offload.RECEIVE_AGGREGATION, True)
    ports, stack = [guest.endpoint().serve("tcp", family.dut) for _ in range(2)], Stack(wire)
    with stack.connect(family.dut, ports[0]) as one, stack.connect(family.dut, ports[1]) as other:
        frames = [_segments(family, one), _segments(family, other, PIECES[::-1])]
        wire.send(*(frame for pair in zip(*frames, strict=True) for frame in pair))
        _assert_received(family, one)
        _assert_received(family, other, PIECES[::-1])


@requirement("RFC 9293 3.1", "RFC 9293 3.10.7.4")
@both_families
def test_damaged_segment_is_not_merged(guest: Guest, wire: Wire, family: Family) -> None:
    """A segment with a wrong checksum amid others is dropped, and what is sent in its place completes the stream."""
    guest.set_offload(Offload.RECEIVE_AGGREGATION, True)
    port, hit = guest.endpoint().serve("tcp", family.dut), 21
    with guest.endpoint().capture(_to_dut(family)) as capture, Stack(wire).connect(family.dut, port) as connection:
        frames = _segments(family, connection)
        bad = damaged(_segments(family, connection, PIECES[::-1])[hit])
        wire.send(*frames[:hit], *bad, *frames[hit + 1 :], frames[hit])
        _assert_received(family, connection)
        wrong = wrongly_merged(delivered(capture, len(STREAM)), [*bad, *frames])
    assert not wrong, f"expected the segment with a bit wrong merged with no other, seen {wrong}"


def _segments(
    family: Family,
    connection: TcpConnection,
    pieces: tuple[bytes, ...] = PIECES,
    *,
    flags: Callable[[int], str] = _acknowledging,
    tos: Callable[[int], int] = _unmarked,
) -> list[bytes]:
    # Linux merges no IPv4 packets whose identifications do not count on: they are no parts of one large send.
    parts = [(n, connection.segment(SEGMENT * n, data, flags(n))) for n, data in enumerate(pieces)]
    return [framed(family.wire, family.dut, part, tos=tos(n), identification=1 + n) for n, part in parts]


def _assert_received(family: Family, connection: TcpConnection, pieces: tuple[bytes, ...] = PIECES) -> None:
    """Assert that the service in the guest has sent the stream back."""
    connection.wait(lambda: len(connection.received) >= len(STREAM), DEADLINE_S)
    wrong = difference([b"".join(pieces)], [bytes(connection.received)])
    assert not wrong, f"of a stream over {family} that the guest sends back, {wrong}"


def _to_dut(family: Family) -> bytes:
    return mac_octets(WIRE.mac) + (b"\x08\x00" if family is IPV4 else b"\x86\xdd")
