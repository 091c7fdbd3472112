"""How latencies are taken: on the cable, each answer for its own request, and none for one that never came."""

import socket
import time
from collections.abc import Iterator

import pytest

from harness.endpoint.cable import Cable, Record
from harness.endpoint.wire import Wire
from harness.traffic import measuring
from harness.traffic.measuring import percentiles, round_trips

ANSWER = b"answer".ljust(60, b"\0")
DELAY_S = 0.02


@pytest.fixture
def ends() -> Iterator[tuple[Wire, Cable]]:
    sockets = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    cables = [Cable(end) for end in sockets]
    yield Wire(cables[0]), cables[1]
    for cable, end in zip(cables, sockets, strict=True):
        cable.close()
        end.close()


def requests(count: int) -> list[bytes]:
    return [number.to_bytes(2, "big").ljust(60, b"\0") for number in range(count)]


def test_each_round_trip_lasts_from_the_request_to_its_answer(ends: tuple[Wire, Cable]) -> None:
    wire, dut = ends

    def answer(record: Record) -> None:
        if record.frame[1] % 2:
            time.sleep(DELAY_S)  # what is measured
        dut.send(b"something else".ljust(60, b"\0"))
        dut.send(ANSWER)

    dut.watch(answer)
    took = round_trips(wire, requests(10), ANSWER.__eq__)
    assert len(took) == 10
    assert all(seconds > 0 for seconds in took)
    assert all(seconds >= DELAY_S for seconds in took[1::2])


def test_a_request_without_an_answer_ends_it(ends: tuple[Wire, Cable], monkeypatch: pytest.MonkeyPatch) -> None:
    wire, dut = ends
    monkeypatch.setattr(measuring, "DEADLINE_S", 0.1)
    dut.watch(lambda record: dut.send(ANSWER) if record.frame[1] < 3 else None)
    assert len(round_trips(wire, requests(10), ANSWER.__eq__)) == 3


def test_as_many_of_a_hundred_took_no_longer_as_a_percentile_says() -> None:
    assert percentiles(list(range(101))) == {"p50": 50, "p90": 90, "p99": 99}
