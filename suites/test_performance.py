"""Performance: how many frames a second cross, how long an answer takes, and how many interrupts a frame costs.

Measured, not judged: no figure turns a test red, for it is the host's and QEMU's as much as the driver's. The figures
stand in the report and in performance.json, where runs on one host can be compared.

What is asserted, without tolerance, is that there is something to measure: each frame that is offered, no more at a
time than any ring has room for, is counted at the other end; each request is answered; and what comes interrupts. So
the rate to the DUT is that of frames taken from a ring which is filled when it has been emptied, and the rate from it
that of bursts from the guest's own system.
"""

import pytest

from harness.cell import Cell
from harness.endpoint.base import SHORTEST_FRAME, padded
from harness.endpoint.cable import Direction
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.report.performance import Measure
from harness.station import DUT, WIRE
from harness.suite import applies_to, length_id, requirement
from harness.testbed import Testbed
from harness.traffic.frames import HEADER, IPV4, LONGEST_FRAME, arp_frame, echoes, random_payloads
from harness.traffic.measuring import Flow, flow, percentiles, round_trips

LONGEST = 0
"""As long as the driver's longest MTU allows."""
LENGTHS = (SHORTEST_FRAME, 512, LONGEST_FRAME, LONGEST)
REQUESTS = 500

both_directions = pytest.mark.parametrize("direction", list(Direction), ids=["to-dut", "from-dut"])


def _name(length: int) -> str:
    return "longest" if length == LONGEST else length_id(length)


def _octets(guest: Guest, length: int) -> int:
    """Return how long a frame is, and have the DUT take it."""
    if length != LONGEST:
        return length
    mtu = guest.mtu_range().longest
    assert guest.set_mtu(mtu), f"expected the longest MTU that the driver offers, {mtu}, to be taken, it was refused"
    return mtu + HEADER


def _assert_all_arrived(seen: Flow, octets: int, direction: Direction) -> None:
    what = f"{seen.offered} frames of {octets} octets {direction.value}"
    assert seen.arrived == seen.offered, f"expected {what} counted at the other end, seen {seen.arrived}"


def _measure_round_trips(measure: Measure, name: str, seconds: list[float]) -> None:
    assert len(seconds) == REQUESTS, f"expected {REQUESTS} requests answered, {len(seconds)} were"
    for percent, value in percentiles(seconds).items():
        measure(f"{name} {percent}", value * 1e6, "us", REQUESTS)


@requirement("82540EM 3.2.6", "82540EM 3.4", "82574L 7.1", "82574L 7.2", "82576 7.1", "82576 7.2", "virtio 1.2 5.1.6")
@both_directions
@pytest.mark.parametrize("length", LENGTHS, ids=_name)
def test_every_frame_offered_is_counted(
    testbed: Testbed, guest: Guest, measure: Measure, direction: Direction, length: int
) -> None:
    """Of the frames that are offered while the rings have room for them, each crosses: so many in a second."""
    octets = _octets(guest, length)
    seen = flow(direction, octets, testbed, guest)
    _assert_all_arrived(seen, octets, direction)
    measure("frame length", octets, "octets", seen.arrived)
    measure("frame rate", seen.frames_per_s, "frames/s", seen.arrived)
    measure("octet rate", seen.frames_per_s * octets, "octets/s", seen.arrived)


@applies_to(lambda cell: cell.mode != "polled")
@requirement("82540EM 3.2.7", "82540EM 13.4.17", "82574L 7.1.9", "82574L 7.4", "82576 7.3", "virtio 1.2 2.7.7.2")
@both_directions
def test_frames_interrupt_while_they_cross(
    testbed: Testbed, guest: Guest, measure: Measure, direction: Direction
) -> None:
    """While frames of each length come, the DUT interrupts, and may while they leave: so many times for each frame."""
    for length in LENGTHS:
        octets = _octets(guest, length)
        with testbed.deliveries() as observed:
            seen = flow(direction, octets, testbed, guest)
        _assert_all_arrived(seen, octets, direction)
        interrupts = observed.delivery.total
        came = direction is Direction.TO_DUT
        assert interrupts or not came, (
            f"expected interrupts while {seen.arrived} frames of {octets} octets came, seen none"
        )
        measure(f"interrupts per frame, {_name(length)}", interrupts / seen.arrived, "interrupts/frame", seen.arrived)


@requirement("RFC 826 packet reception")
def test_every_arp_request_is_answered(wire: Wire, measure: Measure) -> None:
    """Requests for the DUT's address, one after the other, are each answered: after so long."""
    request = arp_frame(1, WIRE.mac, WIRE.ip, DUT.mac, "00:00:00:00:00:00", DUT.ip)
    reply = arp_frame(2, DUT.mac, DUT.ip, WIRE.mac, WIRE.mac, WIRE.ip).rstrip(b"\0")
    took = round_trips(wire, [request] * REQUESTS, lambda seen: seen.startswith(reply))
    _measure_round_trips(measure, "ARP round trip", took)


@requirement("RFC 792 echo")
@pytest.mark.parametrize("octets", [SHORTEST_FRAME, LONGEST_FRAME], ids=length_id)
def test_every_echo_request_is_answered(cell: Cell, wire: Wire, measure: Measure, octets: int) -> None:
    """Echo requests, one after the other, are each answered: after so long."""
    cell.needs(IPV4.echo)
    data = random_payloads([IPV4.echo_octets(octets)] * REQUESTS)
    requests = [padded(request) for request in echoes(IPV4, IPV4.request, WIRE, DUT, data)]
    took = round_trips(wire, requests, IPV4.is_echo(IPV4.reply))
    _measure_round_trips(measure, "echo round trip", took)
