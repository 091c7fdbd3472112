"""The DUT's cable: every frame passes whole, in order and once, is recorded, and heard by all who listen."""

import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from scapy.utils import PcapNgReader

from harness.endpoint import cable as cable_module
from harness.endpoint.cable import Cable, Direction, Impairment, Record
from harness.endpoint.wire import WireCapture
from harness.errors import NicproofError

Plugged = Callable[..., tuple[Cable, socket.socket]]


@pytest.fixture
def plugged() -> Iterator[Plugged]:
    """A cable, and the DUT's end of it."""
    opened: list[tuple[Cable, socket.socket, socket.socket]] = []

    def plug(impairment: Impairment | None = None) -> tuple[Cable, socket.socket]:
        here, dut = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        dut.settimeout(10)
        opened.append((Cable(here, impairment), here, dut))
        return opened[-1][0], dut

    yield plug
    for cable, here, dut in opened:
        cable.close()
        here.close()
        dut.close()


def frame(number: int) -> bytes:
    return number.to_bytes(60, "big")


def test_a_flood_from_the_dut_is_heard_by_every_listener_in_order(plugged: Plugged) -> None:
    cable, dut = plugged()
    listeners = [WireCapture(b""), WireCapture(b"")]
    for listener in listeners:
        cable.watch(listener.see)
    flood = [frame(number) for number in range(20_000)]
    for one in flood:
        dut.send(one)
    for listener in listeners:
        assert listener.wait(len(flood), 30) == flood
    assert [record.frame for record in cable.records] == flood


@pytest.mark.parametrize("length", [1, 14, 60, 1514, 65536])
def test_a_frame_passes_as_it_is_both_ways_whatever_its_length(length: int, plugged: Plugged) -> None:
    cable, dut = plugged()
    heard = WireCapture(b"")
    cable.watch(heard.see)
    cable.send(b"\xa5" * length)
    assert dut.recv(70_000) == b"\xa5" * length
    dut.send(b"\x5a" * length)
    assert heard.wait(1, 10) == [b"\x5a" * length]
    assert [record.direction for record in cable.records] == [Direction.TO_DUT, Direction.FROM_DUT]


def test_who_stops_listening_hears_no_more(plugged: Plugged) -> None:
    cable, dut = plugged()
    gone, there = WireCapture(b""), WireCapture(b"")
    cable.watch(gone.see)
    cable.watch(there.see)
    cable.unwatch(gone.see)
    dut.send(frame(1))
    assert there.wait(1, 10) == [frame(1)]
    assert gone.wait(0) == []


def test_a_listener_that_breaks_is_told_and_silences_nobody_else(
    plugged: Plugged, caplog: pytest.LogCaptureFixture
) -> None:
    cable, dut = plugged()
    heard = WireCapture(b"")

    def breaks(record: Record) -> None:
        raise ValueError("cannot read this frame")

    cable.watch(breaks)
    cable.watch(heard.see)
    for number in range(3):
        dut.send(frame(number))
    assert heard.wait(3, 10) == [frame(number) for number in range(3)]
    assert "cannot read a frame from the DUT (ValueError('cannot read this frame')): 0000" in caplog.text


def test_an_impaired_cable_passes_on_what_the_impairment_makes_of_each_frame(plugged: Plugged) -> None:
    def impair(direction: Direction, passing: bytes) -> Iterable[bytes]:
        return [passing, passing] if direction is Direction.TO_DUT else []

    cable, dut = plugged(impair)
    heard = WireCapture(b"")
    cable.watch(heard.see)
    cable.send(frame(7))
    assert [dut.recv(100), dut.recv(100)] == [frame(7), frame(7)]
    dut.send(frame(8))
    assert heard.wait(1, 0.2) == []
    assert len(cable.records) == 2, "what did not pass is not recorded"


def test_a_dut_that_takes_no_frame_is_told_from_one_that_is_gone(
    plugged: Plugged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cable_module, "SEND_DEADLINE_S", 1)
    stuck, _ = plugged()
    cut, dut = plugged()

    def fill(cable: Cable) -> None:
        for number in range(100_000):
            cable.send(frame(number))

    with pytest.raises(NicproofError, match=r"^the cable is stuck: QEMU took no frame for 1 s$"):
        fill(stuck)
    dut.close()
    with pytest.raises(NicproofError, match=r"^the cable is cut: "):
        fill(cut)


def test_a_cable_that_leads_elsewhere_delivers_what_was_sent_before_and_keeps_nobody_waiting(plugged: Plugged) -> None:
    cable, former = plugged()
    heard = WireCapture(b"")
    cable.watch(heard.see)
    here, dut = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    dut.settimeout(10)

    def send_all() -> None:
        for number in range(2000):
            cable.send(frame(number))

    with here, dut, ThreadPoolExecutor(1) as thread:
        flood = thread.submit(send_all)
        assert former.recv(100) == frame(0)
        former.send(b"before")
        cable.lead_to(here)
        dut.send(b"after")
        came = [dut.recv(100)]
        while came[-1] != frame(1999):
            came.append(dut.recv(100))
        flood.result(10)
        assert heard.wait(2, 10) == [b"before", b"after"]
        assert came == [frame(number) for number in range(2000 - len(came), 2000)], "one that waited was lost"
        cable.close()


def test_a_capture_file_holds_every_frame_with_its_direction_and_time(plugged: Plugged, tmp_path: Path) -> None:
    cable, dut = plugged()
    heard = WireCapture(b"")
    cable.watch(heard.see)
    cable.send(frame(1))
    dut.send(frame(2))
    heard.wait(1, 10)
    cable.save(tmp_path / "cable.pcapng")
    with PcapNgReader(str(tmp_path / "cable.pcapng")) as reader:
        read = [(bytes(packet), packet.direction, float(packet.time)) for packet in reader]
    assert [(octets, direction) for octets, direction, _ in read] == [(frame(1), 2), (frame(2), 1)]
    assert [time for _, _, time in read] == pytest.approx([record.time for record in cable.records], abs=1e-5)
