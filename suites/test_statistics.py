"""Statistics: the counters of an interface say exactly what has crossed it, in its direction and of its kind.

Asserted exactly, without tolerance: the cable counts every frame and every octet that passes, also those that the guest
sends by itself, and the counters must have grown by just as many, no more and no fewer. No test measures time: a driver
may refresh its counters every few seconds only, so a test waits until they say what they must, and fails at a deadline.

The system's statistics take a frame from its destination address to the last octet of its data. The device's own, where
the driver shows them, take the FCS for a part of it.
"""

from collections.abc import Callable, Sequence
from functools import partial

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from harness.cell import Cell
from harness.endpoint.base import padded
from harness.endpoint.cable import Direction
from harness.endpoint.stack import Stack
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.guest.statistics import Statistics
from harness.station import BROADCAST_MAC, DUT, STRANGER_MAC, WIRE
from harness.suite import applies_to, length_id, own_guest, requirement
from harness.testbed import Testbed
from harness.traffic.counting import Window, standing_still
from harness.traffic.exchange import DEADLINE_S, carry, send_in_step, stations_reached
from harness.traffic.frames import HEADER, LENGTHS, LOCAL_EXPERIMENT, frame, mac_octets, random_payloads
from harness.traffic.multicast import apart_from

GROUPS = ("01:00:5e:40:12:34", "33:33:00:01:56:78")
RUNT = 59
OVERSIZE = 9014
"""Octets without FCS: longer than any frame for which an interface with an MTU of 1500 may have room."""
RECEIVED, SENT = 10_000, 20_000
"""Frames: so different that no loss, repetition or own frame of the guest could make the one look like the other."""
AT_ONCE = 4000
"""Frames from the guest: QEMU drops what is sent while 10,000 wait for the cable's other end (net/queue.c)."""
STREAM_OCTETS = 100_000
HOSTS = range(100, 164)
"""Senders, so many that each receive queue has some of them."""
PROCESSORS = range(2)

both_directions = pytest.mark.parametrize("direction", list(Direction), ids=["to-dut", "from-dut"])


def _device_counts(cell: Cell) -> bool:
    """Whether the device counts by itself: virtio 1.2 has no counters."""
    return cell.nic.family != "virtio"


def _device_counts_kinds(cell: Cell) -> bool:
    """Whether it counts broadcast and bad frames: a virtual function's registers are of good frames only."""
    return _device_counts(cell) and not cell.nic.virtual_function


def _frames(counted: Statistics) -> tuple[int, int]:
    return counted.received.frames, counted.sent.frames


def _octets(counted: Statistics) -> tuple[int, int]:
    return counted.received.octets, counted.sent.octets


def _good_frames(direction: Direction) -> list[bytes]:
    """Return a frame of every seventh length, the shortest and the longest among them."""
    lengths = [*LENGTHS[::7], LENGTHS[-1]]
    return [frame(direction, LOCAL_EXPERIMENT, payload) for payload in random_payloads(n - HEADER for n in lengths)]


def _bad_frames_between_good_ones(octets: int) -> list[bytes]:
    bad = frame(Direction.TO_DUT, LOCAL_EXPERIMENT, bytes(octets - HEADER))
    return [one for good in _good_frames(Direction.TO_DUT)[:20] for one in (bad, good)]


def _to(stations: tuple[str, ...], direction: Direction) -> list[bytes]:
    source = WIRE.mac if direction is Direction.TO_DUT else DUT.mac
    kind = LOCAL_EXPERIMENT.to_bytes(2, "big")
    return [padded(mac_octets(station) + mac_octets(source) + kind) for station in stations]


def _assert_counted(window: Window, what: str, pick: Callable[[Statistics], object]) -> None:
    expected, seen = window.compare(pick)
    assert seen == expected, f"expected {what} {expected} counted, as passed the cable, seen {seen}"


def _assert_cross(direction: Direction, frames: Sequence[bytes], guest: Guest, wire: Wire) -> None:
    """Assert that all frames cross: what a driver loses without a word, it need not count either."""
    came = len(carry(direction, frames, guest, wire))
    assert came == len(frames), f"expected {len(frames)} frames to cross {direction.value}, seen {came}"


@requirement("Linux rtnl_link_stats64 packets", "NDIS statistics")
@both_directions
@pytest.mark.parametrize("octets", [LENGTHS[0], LENGTHS[-1]], ids=length_id)
def test_one_frame_is_counted_once(
    testbed: Testbed, guest: Guest, wire: Wire, direction: Direction, octets: int
) -> None:
    """When one frame crosses, the counter of its direction grows by one and the other does not grow."""
    one = frame(direction, LOCAL_EXPERIMENT, bytes(octets - HEADER))
    window = Window(testbed, guest.statistics)
    with wire.capture(one) as at_wire:
        (wire if direction is Direction.TO_DUT else guest.endpoint()).send(one)
        came = at_wire.wait(1) if direction is Direction.FROM_DUT else [one]
    assert came, "expected the frame on the cable, none came"
    _assert_counted(window, "(received, sent) frames", _frames)


@requirement("Linux rtnl_link_stats64 bytes")
@both_directions
def test_octets_are_counted_without_fcs(testbed: Testbed, guest: Guest, wire: Wire, direction: Direction) -> None:
    """The octets of a frame are counted from its destination address to the last of its data, at every length."""
    window = Window(testbed, guest.statistics)
    _assert_cross(direction, _good_frames(direction), guest, wire)
    _assert_counted(window, "(received, sent) octets", _octets)


@requirement("Linux rtnl_link_stats64 packets", "NDIS statistics")
@both_directions
def test_frames_of_every_length_are_counted(testbed: Testbed, guest: Guest, wire: Wire, direction: Direction) -> None:
    """Frames of every length are counted, each once."""
    frames = [frame(direction, LOCAL_EXPERIMENT, bytes(octets - HEADER)) for octets in LENGTHS]
    window = Window(testbed, guest.statistics)
    _assert_cross(direction, frames, guest, wire)
    _assert_counted(window, "(received, sent) frames", _frames)


@requirement("Linux rtnl_link_stats64 packets", "NDIS statistics")
def test_directions_are_not_exchanged(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """Of 10,000 frames to the guest and twice as many from it, each is counted in its own direction."""
    to_dut, from_dut = (frame(way, LOCAL_EXPERIMENT, bytes(46)) for way in (Direction.TO_DUT, Direction.FROM_DUT))
    window = Window(testbed, guest.statistics)
    with wire.capture(from_dut) as at_wire:
        send_in_step(wire, [to_dut] * RECEIVED)
        for so_far in range(AT_ONCE, SENT + 1, AT_ONCE):
            guest.endpoint().send(from_dut, repeat=AT_ONCE)
            left = len(at_wire.wait(so_far, DEADLINE_S))
    assert left == SENT, f"expected {SENT} frames to leave, seen {left}"
    _assert_counted(window, "(received, sent) frames", _frames)


@requirement("Linux rtnl_link_stats64 packets", "RFC 9293 3.1")
def test_segments_of_a_stream_are_counted_one_by_one(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """A TCP stream counts as the frames that it is sent in, whoever cut it into segments."""
    port = guest.endpoint().serve("tcp", DUT.ip)
    window = Window(testbed, guest.statistics)
    Stack(wire).exchange("tcp", DUT.ip, port, random_payloads([STREAM_OCTETS])[0])
    _assert_counted(window, "(received, sent) frames", _frames)


@requirement("Linux rtnl_link_stats64")
def test_every_source_says_the_same(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """Whichever way the system tells its statistics, it tells the same ones."""
    windows = {name: Window(testbed, partial(_by_source, guest, name)) for name in guest.statistics_by_source()}
    for direction in Direction:
        _assert_cross(direction, _good_frames(direction), guest, wire)
    for name, window in windows.items():
        _assert_counted(window, f"by {name} (received, sent) frames", _frames)
    told = standing_still(testbed, guest.statistics_by_source)[1]
    assert len(set(told.values())) == 1, f"expected the same statistics from every source, seen {told}"


def _by_source(guest: Guest, name: str) -> Statistics:
    return guest.statistics_by_source()[name]


@applies_to(_device_counts)
@requirement("82540EM 13.7 GPRC", "82574L 10.2.7 GPRC", "82576 8.19 GPRC")
@both_directions
def test_device_counts_good_frames(testbed: Testbed, guest: Guest, wire: Wire, direction: Direction) -> None:
    """The device's own counters grow by the frames that crossed, whatever their length."""
    window = Window(testbed, guest.device_statistics)
    _assert_cross(direction, _good_frames(direction), guest, wire)
    _assert_counted(window, "(received, sent) frames", _frames)


@applies_to(_device_counts)
@requirement("82540EM 13.7 GORC", "82574L 10.2.7 GORC", "82576 8.19 GORC")
@both_directions
def test_device_counts_octets_with_fcs(testbed: Testbed, guest: Guest, wire: Wire, direction: Direction) -> None:
    """The device's own counters of octets grow by the whole frames, from destination address to FCS."""
    window = Window(testbed, guest.device_statistics, with_fcs=True)
    _assert_cross(direction, _good_frames(direction), guest, wire)
    _assert_counted(window, "(received, sent) octets", _octets)


@own_guest
@applies_to(_device_counts)
@requirement("Linux rtnl_link_stats64", "82540EM 13.7 GPRC", "82574L 10.2.7 GPRC", "82576 8.19 GPRC")
@pytest.mark.parametrize("reset", [False, True], ids=["at-work", "after-a-reset"])
def test_system_and_device_have_counted_the_same(testbed: Testbed, guest: Guest, wire: Wire, reset: bool) -> None:
    """System and device have counted the same frames since the driver was loaded, and the same received to groups."""
    guest.join(GROUPS)
    stations_reached(wire, guest, (*GROUPS, BROADCAST_MAC))
    _assert_cross(Direction.FROM_DUT, _good_frames(Direction.FROM_DUT), guest, wire)
    if reset:
        guest.reset_nic()
    system, device = standing_still(testbed, lambda: (guest.statistics(), guest.device_statistics()))[1]
    expected, seen = ((*_frames(one), one.received.multicast) for one in (system, device))
    assert seen == expected, (
        f"expected (received, sent, multicast) {expected} of the device as of the system, seen {seen}"
    )


@applies_to(_device_counts)
@requirement("82540EM 13.7 GPRC", "82574L 10.2.7 GPRC", "82576 8.19 GPRC", "RFC 9293 3.1")
def test_device_counts_segments_one_by_one(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """The device counts a TCP stream as the frames that it sends, also when it cut the stream into segments itself."""
    port = guest.endpoint().serve("tcp", DUT.ip)
    window = Window(testbed, guest.device_statistics)
    Stack(wire).exchange("tcp", DUT.ip, port, random_payloads([STREAM_OCTETS])[0])
    _assert_counted(window, "(received, sent) frames", _frames)


@requirement("Linux rtnl_link_stats64 multicast")
def test_received_groups_are_counted_as_multicast(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """Frames to groups are counted as multicast beside those that are counted as received; broadcasts are not."""
    guest.join(GROUPS)
    window = Window(testbed, guest.statistics)
    stations_reached(wire, guest, (*GROUPS * 3, BROADCAST_MAC))
    _assert_counted(window, "(received, multicast) frames", lambda one: (one.received.frames, one.received.multicast))


@applies_to(_device_counts_kinds)
@requirement("82540EM 13.7 MPRC", "82574L 10.2.7 MPRC", "82576 8.19 MPRC")
@both_directions
def test_device_counts_groups_and_broadcasts(testbed: Testbed, guest: Guest, wire: Wire, direction: Direction) -> None:
    """The device counts frames to groups and frames to all stations, each in the counter of their kind."""
    guest.join(GROUPS)
    window = Window(testbed, guest.device_statistics)
    carry(direction, _to((*GROUPS * 3, *[BROADCAST_MAC] * 5), direction), guest, wire)
    _assert_counted(window, "(received, sent) frames to groups and to all", _kinds)


def _kinds(counted: Statistics) -> tuple[tuple[int | None, int | None], ...]:
    return tuple((way.multicast, way.broadcast) for way in (counted.received, counted.sent))


@requirement("Linux rtnl_link_stats64 errors", "NDIS statistics")
@both_directions
def test_good_frames_are_no_errors(testbed: Testbed, guest: Guest, wire: Wire, direction: Direction) -> None:
    """Good frames of every length raise no counter of errors or dropped frames, of the system or of the driver."""
    frames = [frame(direction, LOCAL_EXPERIMENT, bytes(octets - HEADER)) for octets in LENGTHS]
    with guest.endpoint().capture(b""):  # who listens takes every frame: none is dropped for want of a protocol
        window = Window(testbed, guest.statistics)
        before = guest.error_counters()
        _assert_cross(direction, frames, guest, wire)
        _assert_counted(window, "(received, sent) frames", _frames)
        rose = {name: count for name, count in guest.error_counters().items() if count != before[name]}
    assert not rose, f"expected good frames to raise none of {len(before)} counters of errors, risen: {rose}"


@applies_to(_device_counts_kinds)
@requirement("82540EM 13.7 ROC", "82574L 10.2.7 ROC", "82576 8.19 ROC")
def test_good_frames_have_no_bad_length(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """The device counts no frame from 60 to 1514 octets as too short or too long."""
    frames = [frame(Direction.TO_DUT, LOCAL_EXPERIMENT, bytes(octets - HEADER)) for octets in LENGTHS]
    window = Window(testbed, guest.device_statistics)
    _assert_cross(Direction.TO_DUT, frames, guest, wire)
    _assert_counted(window, "(received, sent) frames", _frames)
    _assert_counted(window, "frames (too short, too long)", _of_bad_length)


@applies_to(_device_counts_kinds)
@requirement("82540EM 13.7 ROC", "82574L 10.2.7 ROC", "82576 8.19 ROC")
@pytest.mark.parametrize("octets", [RUNT, OVERSIZE], ids=length_id)
def test_frames_of_bad_length_are_counted(testbed: Testbed, guest: Guest, wire: Wire, octets: int) -> None:
    """The device counts every runt as too short and every oversize frame as too long, and no good one between them."""
    mixed = _bad_frames_between_good_ones(octets)
    window = Window(testbed, guest.device_statistics)
    carry(Direction.TO_DUT, mixed, guest, wire, delivered=len(mixed) // 2)
    bad = sum(len(one) == octets for one in mixed)
    expected = (bad, 0) if octets == RUNT else (0, bad)
    seen = window.until(expected, _of_bad_length)
    assert seen == expected, f"expected frames (too short, too long) {expected} counted, as were sent, seen {seen}"


def _of_bad_length(counted: Statistics) -> tuple[int | None, int | None]:
    return counted.received.too_short, counted.received.too_long


@applies_to(_device_counts_kinds)
@requirement("Linux rtnl_link_stats64 errors", "NDIS statistics")
@pytest.mark.parametrize("octets", [RUNT, OVERSIZE], ids=length_id)
def test_frames_of_bad_length_are_errors(testbed: Testbed, guest: Guest, wire: Wire, octets: int) -> None:
    """Each runt and each oversize frame counts as one error of the interface."""
    mixed = _bad_frames_between_good_ones(octets)
    window = Window(testbed, guest.statistics)
    carry(Direction.TO_DUT, mixed, guest, wire, delivered=len(mixed) // 2)
    expected = sum(len(one) == octets for one in mixed)
    seen = window.until(expected, lambda one: one.received.errors)
    assert seen == expected, f"expected {expected} errors counted, one for each frame of {octets} octets, seen {seen}"


@requirement("Linux rtnl_link_stats64 packets", "82540EM 13.7 GPRC", "82574L 10.2.7 GPRC", "82576 8.19 GPRC")
@pytest.mark.parametrize("station", [STRANGER_MAC, apart_from(GROUPS, 1)[0]], ids=["stranger", "group"])
def test_filtered_frames_are_not_counted(testbed: Testbed, guest: Guest, wire: Wire, station: str) -> None:
    """A frame that the filters drop is not counted as received: neither one to another station nor to another group."""
    guest.join(GROUPS)
    foreign = mac_octets(station)
    window = Window(testbed, guest.statistics, takes=lambda frame: frame[:6] != foreign)
    stations_reached(wire, guest, (station, *GROUPS, station, BROADCAST_MAC))
    _assert_counted(window, "(received, sent) frames", _frames)


def _reset(guest: Guest) -> None:
    guest.reset_nic()


def _down(guest: Guest) -> None:
    guest.set_up(False)


def _rounds_up(guest: Guest) -> None:
    guest.bounce(2)


@requirement("Linux rtnl_link_stats64 packets", "Linux rtnl_link_stats64 bytes", "NDIS statistics")
@pytest.mark.parametrize("steps", [(_down, _rounds_up), (_reset,)], ids=["down-and-up", "reset"])
def test_counters_survive(testbed: Testbed, guest: Guest, wire: Wire, steps: Sequence[Callable[[Guest], None]]) -> None:
    """No counter falls while the NIC is closed and opened, or reset, and the frames that cross then are added."""
    window = Window(testbed, guest.statistics)
    for direction in Direction:
        _assert_cross(direction, _good_frames(direction), guest, wire)
    _assert_counted(window, "(received, sent) frames", _frames)
    now = guest.counters()
    for step in steps:
        step(guest)
        before, now = now, guest.counters()
        fell = {name: (count, now.get(name)) for name, count in before.items() if now.get(name, 0) < count}
        assert not fell, f"expected each of {len(before)} counters to stay or to rise, these fell: {fell}"
    _assert_cross(Direction.TO_DUT, _good_frames(Direction.TO_DUT), guest, wire)
    _assert_counted(window, "(received, sent) frames", _frames)


@requirement("Linux rtnl_link_stats64 packets")
def test_queues_add_up(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """The frames and octets of all queues together are those that crossed, and each queue counts those that took it."""
    window = Window(testbed, lambda: sum(guest.queue_statistics().values(), Statistics()))
    before = guest.queue_statistics()
    flows = [padded(Ether(src=WIRE.mac, dst=DUT.mac) / IP(src=f"192.0.2.{host}", dst=DUT.ip) / UDP()) for host in HOSTS]
    wire.send(*flows)
    guest.steer_transmission()
    outgoing = _good_frames(Direction.FROM_DUT)
    with wire.capture(outgoing[0][6:HEADER]) as at_wire:
        for cpu in PROCESSORS:
            guest.endpoint().send(*outgoing, cpu=cpu)
        at_wire.wait(len(outgoing) * len(PROCESSORS), DEADLINE_S)
    _assert_counted(window, "(received, sent) frames and octets", lambda one: (_frames(one), _octets(one)))
    rose = {queue: _frames(now - before[queue]) for queue, now in guest.queue_statistics().items()}
    assert all(map(all, rose.values())), f"expected frames (received, sent) by each queue, seen {rose}"
