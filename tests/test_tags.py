"""Tags, and the far end of a VLAN: it hears its own frames alone, without the tag, and speaks with it."""

import socket
from collections.abc import Iterator

import pytest

from harness.endpoint.cable import Cable, Direction
from harness.endpoint.stack import Stack
from harness.endpoint.vlan import SERVICE_TAG, Tag, far_end, header_octets, outermost_vid, tagged
from harness.endpoint.wire import Wire
from harness.station import TAGGED_WIRE, WIRE
from harness.traffic.frames import frame

PLAIN = frame(Direction.FROM_DUT, 0x88B5, b"data".ljust(46))


@pytest.fixture
def ends() -> Iterator[tuple[Wire, Wire]]:
    sockets = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    cables = [Cable(end) for end in sockets]
    yield Wire(cables[0]), Wire(cables[1])
    for cable, end in zip(cables, sockets, strict=True):
        cable.close()
        end.close()


def test_tags_stand_behind_the_addresses_the_outermost_first() -> None:
    service, customer = Tag(4094, 7, drop_eligible=True, type=SERVICE_TAG), Tag(1)
    both = tagged(PLAIN, service, customer)
    assert both == PLAIN[:12] + bytes.fromhex("88a8fffe81000001") + PLAIN[12:]
    assert (header_octets(PLAIN), header_octets(both)) == (14, 22)
    assert (outermost_vid(PLAIN), outermost_vid(both)) == (None, 4094)


def test_far_end_hears_the_frames_of_its_vlan_without_their_tag(ends: tuple[Wire, Wire]) -> None:
    wire, dut = ends
    others = (PLAIN, tagged(PLAIN, Tag(6)), tagged(PLAIN, Tag(5, type=SERVICE_TAG)))
    with far_end(wire, 5) as far, far.capture(b"data") as seen:
        dut.send(*others, tagged(PLAIN, Tag(5, 3)))
        assert seen.wait(1, 20) == [PLAIN]
        assert far.sent_by_dut() == [PLAIN]


def test_what_the_far_end_sends_has_the_tag(ends: tuple[Wire, Wire]) -> None:
    with far_end(ends[0], 5) as far, ends[1].capture(b"data") as seen:
        far.send(PLAIN)
        assert seen.wait(1, 20) == [tagged(PLAIN, Tag(5))]


def test_both_ends_of_a_vlan_speak_with_its_addresses(ends: tuple[Wire, Wire]) -> None:
    with far_end(ends[0], 5) as near, far_end(ends[1], 5) as far:
        answer = far.resolve(TAGGED_WIRE.ip, deadline_s=20)
        assert answer is not None
        assert answer.src == WIRE.mac
        assert far.resolve(WIRE.ip, deadline_s=0.1) is None
        with Stack(near, TAGGED_WIRE).serve("tcp", TAGGED_WIRE.ip) as port:
            assert Stack(far, TAGGED_WIRE).exchange("tcp", TAGGED_WIRE.ip, port, b"hello") == b"hello"
    assert {outermost_vid(record.frame) for record in ends[0].cable.records} == {5}


def test_it_falls_silent_after_the_block(ends: tuple[Wire, Wire]) -> None:
    with far_end(ends[0], 5):
        pass
    with far_end(ends[1], 5) as far:
        assert far.resolve(TAGGED_WIRE.ip, deadline_s=0.1) is None, "nobody is there who would answer"
