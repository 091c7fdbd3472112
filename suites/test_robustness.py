"""Robustness: whatever comes, and however much of it, a driver lives on, keeps its memory, and passes what is good.

A host must be able to deal with every error that can be thought of (RFC 1122, 1.2.2). So what comes is not judged here,
only what becomes of the guest, in every test alike (`_unharmed`): it does not crash, its log has no new warning about
the NIC, its kernel loses no memory, and then it answers, and frames of all sizes cross both ways, whole and in order.
That is asserted exactly, without tolerance. During a flood, without memory or without a link frames may be lost, so
none of those is counted; but that there was a flood, a storm, a lack of memory is asserted, by a lower bound.

The one tolerance is for the kernel's memory, whose caches are not exact: after first frames, which fill what stays
filled, it may grow by 1 MiB. That is some 10 octets for each frame of a flood, and 200 for each random one.

What is random is the same in every run: a frame that breaks something can be found again. No frame speaks for the
wire's own station, for the DUT has to believe what one says of itself. What needs nobody in the guest is asked of all.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from harness.cell import Cell
from harness.condition import held_kib
from harness.endpoint.cable import Direction
from harness.endpoint.wire import Wire
from harness.errors import Unsupported
from harness.guest.base import Guest
from harness.suite import applies_to, own_guest, requirement
from harness.testbed import Testbed
from harness.traffic.exchange import IN_RING
from harness.traffic.frames import BACKGROUND, HEADER, SEED, frame
from harness.traffic.fuzz import KINDS, fuzzed, owed, past_the_end
from harness.traffic.liveness import answers, what_fails_as_seen
from harness.traffic.stimulus import (
    RAISED_AT_ONCE,
    flood,
    flood_in_background,
    load,
    renew_receive_buffers,
    resolve_repeatedly,
    unasked,
)

FUZZED = 2000
"""Frames of each kind."""
FLOOD_S = 10.0
FLOOD_BOTH_WAYS_S = 3.0
FIRST_FLOOD_S = 0.5
SCARCE_S = 2.0
TINY, JUMBO = "tiny", "jumbo"
SHORTEST_PAYLOAD, LONGEST_PAYLOAD = 46, 1500
RINGS = 10
"""How often a flood goes round the ring at least: fewer frames are none."""
BATCH = 1000
MEMORY_KIB = 1024
REQUESTS = 500
STORM_S = 1.0
BURST, BURST_INTERVAL_S = 8, 0.002
LEAST_RAISED = 100
"""Interrupts in a second, of all vectors: one for every five bursts, for a guest on a slow host takes some together."""
ROUNDS = 3
FLAPS = 100
PROTOCOLS = {"tcp": 6, "sctp": 132}


@contextmanager
def _unharmed(
    testbed: Testbed, when: str, *, log_is_the_drivers: bool = True, first: Callable[[], object] | None = None
) -> Iterator[None]:
    """Assert that a block harms nothing, as far as anybody can see.

    The DUT answers and passes what is good, its kernel holds no more memory than before, and the log has no new warning
    about it; `log_is_the_drivers` is off where others have reason to warn. What is done `first` is judged as well, but
    for the memory that it fills.
    """
    with testbed.new_warnings() as warnings:
        if first is not None:
            held_kib(testbed.guest)  # a guest that was asked keeps no packet in fragments for long
            first()
        before = _held_by_one_that_works(testbed, f"before what is judged {when}")
        yield
        grown = _held_by_one_that_works(testbed, when, before + MEMORY_KIB) - before
    assert not (warnings and log_is_the_drivers), f"expected no warning about the DUT {when}, logged: {warnings[0]}"
    assert grown <= MEMORY_KIB, f"expected the kernel's memory to grow by {MEMORY_KIB} KiB at most {when}, seen {grown}"


def _held_by_one_that_works(testbed: Testbed, when: str, most: int | None = None) -> int:
    """Assert that the DUT answers and passes what is good, as far as anybody can see; return what its kernel holds."""
    problem = what_fails_as_seen(testbed)
    assert not problem, f"{when}, {problem}"
    renew_receive_buffers(testbed)
    return held_kib(testbed.guest, most)


def _send_counted(testbed: Testbed, frames: Sequence[bytes]) -> None:
    """Send frames; assert that half of those come that every NIC has to take, or half a ring, which they overrun."""
    guest, wire = testbed.guest, testbed.wire
    before = guest.statistics().received.frames if guest.claims else 0
    wire.send(*frames)
    if guest.claims and answers(wire):
        came, least = guest.statistics().received.frames - before, min(owed(frames), guest.receive_ring()) // 2
        assert came >= least, f"expected {least} of {len(frames)} random frames to be received at least, seen {came}"


@requirement("RFC 1122 1.2.2", "IEEE 802.3-2022 3.4", "82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.4")
@pytest.mark.parametrize("kind", KINDS)
def test_random_frames_do_no_harm(testbed: Testbed, wire: Wire, kind: str) -> None:
    """Thousands of frames at random, most of them wrong in one respect, leave a guest that works as before."""
    when = f"after {FUZZED} random frames ({kind}, seed {SEED})"
    frames = fuzzed(kind, FUZZED)
    with _unharmed(testbed, when, first=lambda: wire.send(*frames[: FUZZED // 2])):
        _send_counted(testbed, frames[FUZZED // 2 :])


@requirement("RFC 1122 1.2.2", "RFC 8200 4", "82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.4")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_header_longer_than_its_packet_does_no_harm(testbed: Testbed, wire: Wire, protocol: str) -> None:
    """A NIC that looks for what an IPv6 packet carries looks nowhere behind the packet's end."""
    with _unharmed(testbed, f"after packets whose header is longer than they are, and {protocol} is said to follow"):
        wire.send(*[past_the_end(PROTOCOLS[protocol])] * 10)


@own_guest
@requirement("RFC 1122 1.2.2", "82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.3")
def test_random_frames_leave_nothing_behind(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """Random frames of all kinds, again and again, cost the kernel no memory and are not worth a warning."""
    frames = [one for kind in KINDS for one in fuzzed(kind, FUZZED // len(KINDS))]
    when = f"after {ROUNDS} rounds of {len(frames)} random frames (seed {SEED})"
    guest.kernel_memory_kib()  # where nobody can tell there is nothing to find here
    with _unharmed(testbed, when, first=lambda: wire.send(*frames)):
        for _ in range(ROUNDS):
            _send_counted(testbed, frames)


@own_guest
@requirement("RFC 1122 1.2.2", "82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.4")
@pytest.mark.parametrize("size", [TINY, JUMBO])
def test_flood_does_no_harm(testbed: Testbed, guest: Guest, wire: Wire, cell: Cell, size: str) -> None:
    """Frames as fast as the cable takes them, for 10 seconds, are received and leave a guest that works as before."""
    octets = cell.nic.longest_mtu if size == JUMBO else SHORTEST_PAYLOAD
    if size == JUMBO:
        assert guest.set_mtu(octets), f"expected an MTU of {octets} to be taken, it was refused"
    one = frame(Direction.TO_DUT, BACKGROUND, bytes(octets))
    _flood(testbed, f"after a flood of {len(one)} octets a frame", FLOOD_S, lambda: wire.send(*[one] * BATCH))


@own_guest
@requirement("RFC 1122 1.2.2", "IEEE 802.3-2022 4A.1.1", "82540EM 3.4", "82574L 7.2", "82576 7.2", "virtio 1.2 5.1.6.2")
def test_flood_both_ways_does_no_harm(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """While a flood comes the guest sends as fast as it can, for 3 seconds and ten rings, and works as before."""
    to, away = (frame(direction, BACKGROUND, bytes(SHORTEST_PAYLOAD)) for direction in Direction)
    inside = guest.endpoint()
    before = guest.statistics().sent.frames
    sends = (lambda: wire.send(*[to] * BATCH), lambda: inside.send(away, repeat=BATCH))
    _flood(testbed, "after a flood both ways", FLOOD_BOTH_WAYS_S, *sends)
    sent, least = guest.statistics().sent.frames - before, RINGS * guest.receive_ring()
    assert sent > least, f"expected more than {least} frames of a flood counted as sent, seen {sent}"


def _flood(testbed: Testbed, when: str, seconds: float, *sends: Callable[[], object]) -> None:
    """Assert that a flood is received, that the DUT works after it, and that nothing of it stays behind."""
    guest = testbed.guest
    least = RINGS * guest.receive_ring() if guest.claims else 0
    with _unharmed(testbed, when, first=lambda: flood(*sends, seconds=FIRST_FLOOD_S)):
        before = guest.statistics().received.frames if guest.claims else 0
        flood(*sends, seconds=seconds, times=1 + least // BATCH)
    if guest.claims:
        came = guest.statistics().received.frames - before
        assert came > least, f"expected more than {least} frames of a flood received, seen {came}"


@own_guest
@requirement("RFC 1122 1.2.2", "82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.3")
def test_scarce_memory_does_no_harm(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """With nearly all memory taken a flood of full frames both ways may lose some, and then all cross again."""
    to, away = (frame(direction, BACKGROUND, bytes(LONGEST_PAYLOAD)) for direction in Direction)
    inside = guest.endpoint()
    with _unharmed(testbed, "after a flood with scarce memory"), guest.scarce_memory():
        flood(lambda: wire.send(*[to] * BATCH), lambda: inside.send(away, repeat=BATCH), seconds=SCARCE_S)


@own_guest
@requirement("RFC 1122 1.2.2", "82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.3")
def test_failing_requests_for_memory_do_no_harm(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """A driver that gets no memory for its buffers while frames come loses some, and fills its ring when it can again.

    Somebody keeps the frames that come, so that their buffers are not free again at once. The log is not judged: who
    hands out the memory says who asked for it in vain, and that is no fault of the driver's.
    """
    starve = partial(_starve, guest, wire)
    before = guest.receptions_without_memory()
    when = "after a second in which requests for memory failed"
    with _unharmed(testbed, when, log_is_the_drivers=False, first=starve):
        failed = starve()
    short = guest.receptions_without_memory() - before
    assert failed, "expected requests for memory to fail meanwhile, one was granted"
    assert short > 0, "expected the driver to count that it got no memory to receive into, it counted nothing"


def _starve(guest: Guest, wire: Wire) -> bool:
    """Let requests for memory fail while frames come and somebody keeps them; return whether one did."""
    full = frame(Direction.TO_DUT, BACKGROUND, bytes(LONGEST_PAYLOAD))
    with guest.endpoint().capture(full[6:HEADER]), load(wire, [full] * IN_RING):
        return guest.starve()


@own_guest
@applies_to(lambda cell: cell.mode != "polled")
@requirement("82540EM 13.4.18", "82574L 7.4", "82576 8.8 EITR", "virtio 1.2 2.7.7.2")
def test_interrupt_storm_does_no_harm(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """With no interval between interrupts bursts both ways raise many, and single requests, one by one, cost one each.

    A driver that still looks for more when a frame comes needs no interrupt for it; that may be so for half of them.
    Without an interval moderation promises no upper bound, but nothing interrupts without a cause: a request has two,
    that it came and that its answer has left.
    """
    with suppress(Unsupported):  # a driver that lets nobody choose keeps its own interval, shorter than a request takes
        guest.set_throttle(0)
    with _unharmed(testbed, "after a storm of interrupts"):
        raised = _raised_by_bursts(testbed)
        with testbed.deliveries() as observed:
            before = _handled(guest)
            answered = resolve_repeatedly(wire, REQUESTS)
            handled = _handled(guest) - before
    least = STORM_S * LEAST_RAISED
    assert raised >= least, (
        f"expected at least {least:g} interrupts in {STORM_S:g} s of bursts both ways, seen {raised}"
    )
    assert answered == REQUESTS, f"expected {REQUESTS} answers to as many single requests, seen {answered}"
    least, most = REQUESTS // 2, 2 * RAISED_AT_ONCE * REQUESTS + len(guest.handled()) * unasked(observed)
    assert least <= handled <= most, f"expected {least} to {most} interrupts for {REQUESTS} requests, seen {handled}"


def _raised_by_bursts(testbed: Testbed) -> int:
    """Have bursts come and go for a while; return how many interrupts the guest handled in it."""
    guest = testbed.guest
    to, away = (frame(direction, BACKGROUND, bytes(SHORTEST_PAYLOAD)) for direction in Direction)
    before = _handled(guest)
    with load(testbed.wire, [to] * BURST, BURST_INTERVAL_S), load(guest.endpoint(), [away] * BURST, BURST_INTERVAL_S):
        testbed.idle(STORM_S)
    return _handled(guest) - before


def _handled(guest: Guest) -> int:
    return sum(guest.handled().values())


@own_guest
@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4", "IEEE 802.3-2022 22.2.4.2.13")
def test_link_storm_does_no_harm(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """A cable that goes and comes as fast as can be, while frames come, leaves a guest that works as before."""
    when = f"after the link went and came {FLAPS} times"
    with _unharmed(testbed, when), flood_in_background(wire) as flood:
        _flap(testbed)
    assert flood.answered, "expected requests answered before the link went, none was"


@own_guest
@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4")
def test_link_storm_is_counted_sensibly(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """Of changes too quick to see some may be missed, but none is made up, and as often as the link goes it comes."""
    away = frame(Direction.FROM_DUT, BACKGROUND, bytes(100))
    before = guest.carrier_changes()
    with _unharmed(testbed, f"after the link went and came {FLAPS} times"):
        with flood_in_background(wire) as flood, load(guest.endpoint(), [away]):
            _flap(testbed)
        testbed.plug.pull_cable()
        assert guest.wait_link(False), "expected the link down after the cable was pulled, the guest says it is up"
        testbed.plug.plug_cable()
        assert guest.wait_link(True), "expected the link up after the cable was plugged in, the guest says it is down"
        seen = guest.carrier_changes() - before
    assert flood.answered, "expected requests answered before the link went, none was"
    assert seen in range(2, 2 * (FLAPS + 1) + 1, 2), (
        f"expected an even number of changes from 2 to {2 * (FLAPS + 1)} for {FLAPS + 1} times, seen {seen}"
    )


def _flap(testbed: Testbed) -> None:
    for _ in range(FLAPS):
        testbed.plug.pull_cable()
        testbed.plug.plug_cable()
