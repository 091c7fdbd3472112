"""Robustness: whatever comes, and however much of it, a driver lives on, keeps its memory, and passes what is good.

A host must be able to deal with every error that can be thought of (RFC 1122, 1.2.2). So what comes is not judged here,
only what becomes of the guest: it does not crash, its log has no new warning about the NIC, and then it answers, and
frames of all sizes cross both ways, whole and in order. That is asserted exactly, without tolerance. During a flood,
without memory or without a link frames may be lost, so none of those is counted.

The one tolerance is for the kernel's memory, whose caches are not exact: after a first round, which fills what stays
filled, it may grow by 1 MiB. That is some 10 octets for each frame of a flood, and 200 for each random one.

What is random is the same in every run: a frame that breaks something can be found again. No frame speaks for the
wire's own station, for the DUT has to believe what one says of itself. What needs nobody in the guest is asked of all.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

import pytest

from harness.cell import Cell
from harness.endpoint.cable import Direction
from harness.endpoint.wire import Wire
from harness.errors import Unsupported
from harness.guest.base import Guest
from harness.suite import applies_to, own_guest, requirement
from harness.testbed import Testbed
from harness.traffic.exchange import IN_RING
from harness.traffic.frames import BACKGROUND, HEADER, SEED, frame
from harness.traffic.fuzz import KINDS, fuzzed, past_the_end
from harness.traffic.liveness import what_fails_as_seen
from harness.traffic.stimulus import flood, flood_in_background, load, resolve_repeatedly

pytestmark = own_guest

FUZZED = 2000
"""Frames of each kind."""
FLOOD_S = 10.0
FIRST_FLOOD_S = 0.5
SCARCE_S = 2.0
TINY, JUMBO = "tiny", "jumbo"
SHORTEST_PAYLOAD, LONGEST_PAYLOAD = 46, 1500
RINGS = 10
"""How often a flood goes round the ring at least: fewer frames are none."""
BATCH = 1000
MEMORY_KIB = 1024
REQUESTS = 500
ROUNDS = 3
FLAPS = 100
PROTOCOLS = {"tcp": 6, "sctp": 132}


@contextmanager
def _no_warning(testbed: Testbed, when: str) -> Iterator[None]:
    """Assert that a block leaves no warning about the DUT in the kernel log, if anybody can read it."""
    noting: AbstractContextManager[list[str]] = testbed.new_warnings() if testbed.guest.claims else nullcontext([])
    with noting as warnings:
        yield
    assert not warnings, f"expected no warning about the DUT in the kernel log {when}, seen: {warnings[0]}"


@contextmanager
def _no_leak(guest: Guest, when: str) -> Iterator[None]:
    """Assert that after a block the kernel holds no more memory than before."""
    before = guest.kernel_memory_kib()
    yield
    grown = guest.kernel_memory_kib() - before
    assert grown <= MEMORY_KIB, f"expected the kernel's memory to grow by {MEMORY_KIB} KiB at most {when}, seen {grown}"


def _assert_works(testbed: Testbed, when: str) -> None:
    """Assert that the DUT answers and passes what is good, as far as anybody can see."""
    problem = what_fails_as_seen(testbed)
    assert not problem, f"{when}, {problem}"


@requirement("RFC 1122 1.2.2", "IEEE 802.3-2022 3.4", "82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.4")
@pytest.mark.parametrize("kind", KINDS)
def test_random_frames_do_no_harm(testbed: Testbed, wire: Wire, kind: str) -> None:
    """Thousands of frames at random, most of them wrong in one respect, leave a guest that works as before."""
    when = f"after {FUZZED} random frames ({kind}, seed {SEED})"
    with _no_warning(testbed, when):
        wire.send(*fuzzed(kind, FUZZED))
        _assert_works(testbed, when)


@requirement("RFC 1122 1.2.2", "RFC 8200 4", "82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.4")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_header_longer_than_its_packet_does_no_harm(testbed: Testbed, wire: Wire, protocol: str) -> None:
    """A NIC that looks for what an IPv6 packet carries looks nowhere behind the packet's end."""
    wire.send(*[past_the_end(PROTOCOLS[protocol])] * 10)
    _assert_works(testbed, f"after packets whose header is longer than they are, and {protocol} is said to follow")


@requirement("RFC 1122 1.2.2", "82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.3")
def test_random_frames_leave_nothing_behind(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """Random frames of all kinds, again and again, cost the kernel no memory."""
    frames = [one for kind in KINDS for one in fuzzed(kind, FUZZED // len(KINDS))]
    when = f"after {ROUNDS} rounds of {len(frames)} random frames (seed {SEED})"
    wire.send(*frames)
    _assert_works(testbed, "after a first round of random frames")
    with _no_leak(guest, when):
        for _ in range(ROUNDS):
            wire.send(*frames)
        _assert_works(testbed, when)


@requirement("RFC 1122 1.2.2", "82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.4")
@pytest.mark.parametrize("size", [TINY, JUMBO])
def test_flood_does_no_harm(testbed: Testbed, guest: Guest, wire: Wire, cell: Cell, size: str) -> None:
    """Frames as fast as the cable takes them, for 10 seconds, are received and leave a guest that works as before."""
    octets = cell.nic.longest_mtu if size == JUMBO else SHORTEST_PAYLOAD
    if size == JUMBO:
        assert guest.set_mtu(octets), f"expected an MTU of {octets} to be taken, it was refused"
    one = frame(Direction.TO_DUT, BACKGROUND, bytes(octets))
    _flood(testbed, f"after a flood of {len(one)} octets a frame", lambda: wire.send(*[one] * BATCH))


@requirement("RFC 1122 1.2.2", "IEEE 802.3-2022 4A.1.1", "82540EM 3.4", "82574L 7.2", "82576 7.2", "virtio 1.2 5.1.6.2")
def test_flood_both_ways_does_no_harm(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """While a flood comes the guest sends as fast as it can, for 10 seconds, and works as before."""
    to, away = (frame(direction, BACKGROUND, bytes(SHORTEST_PAYLOAD)) for direction in Direction)
    inside = guest.endpoint()
    before = guest.statistics().sent.frames
    sends = (lambda: wire.send(*[to] * BATCH), lambda: inside.send(away, repeat=BATCH))
    _flood(testbed, "after a flood both ways", *sends)
    sent, least = guest.statistics().sent.frames - before, RINGS * BATCH
    assert sent > least, f"expected more than {least} frames of a flood counted as sent, seen {sent}"


def _flood(testbed: Testbed, when: str, *sends: Callable[[], object]) -> None:
    """Assert that a flood is received, that the DUT works after it, and that nothing of it stays behind."""
    guest = testbed.guest
    flood(*sends, seconds=FIRST_FLOOD_S)
    _assert_works(testbed, "after a first flood")
    with _no_warning(testbed, when), _no_leak(guest, when) if guest.claims else nullcontext():
        before = guest.statistics().received.frames if guest.claims else 0
        flood(*sends, seconds=FLOOD_S)
        _assert_works(testbed, when)
        if guest.claims:
            came, least = guest.statistics().received.frames - before, RINGS * guest.receive_ring()
            assert came > least, f"expected more than {least} frames of a flood received, seen {came}"


@requirement("RFC 1122 1.2.2", "82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.3")
def test_scarce_memory_does_no_harm(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """With nearly all memory taken a flood of full frames both ways may lose some, and then all cross again."""
    to, away = (frame(direction, BACKGROUND, bytes(LONGEST_PAYLOAD)) for direction in Direction)
    inside, when = guest.endpoint(), "after a flood with scarce memory"
    with _no_warning(testbed, when):
        with guest.scarce_memory():
            flood(lambda: wire.send(*[to] * BATCH), lambda: inside.send(away, repeat=BATCH), seconds=SCARCE_S)
        _assert_works(testbed, when)


@requirement("RFC 1122 1.2.2", "82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.3")
def test_failing_requests_for_memory_do_no_harm(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """A driver that gets no memory for its buffers while frames come loses some, and fills its ring when it can again.

    Somebody keeps the frames that come, so that their buffers are not free again at once. The log is not judged: who
    hands out the memory says who asked for it in vain, and that is no fault of the driver's.
    """
    full = frame(Direction.TO_DUT, BACKGROUND, bytes(LONGEST_PAYLOAD))
    with guest.endpoint().capture(full[6:HEADER]), load(wire, [full] * IN_RING):
        failed = guest.starve()
    assert failed, "expected requests for memory to fail meanwhile, one was granted"
    _assert_works(testbed, "after a second in which requests for memory failed")


@applies_to(lambda cell: cell.mode != "polled")
@requirement("82540EM 13.4.18", "82574L 7.4", "82576 8.8 EITR", "virtio 1.2 2.7.7.2")
def test_interrupt_storm_does_no_harm(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """With no interval between interrupts, single requests, each sent when the one before is answered, cost one each.

    A driver that still looks for more when a frame comes needs no interrupt for it; that may be so for half of them.
    """
    with suppress(Unsupported):  # a driver that lets nobody choose keeps its own interval, shorter than a request takes
        guest.set_throttle(0)
    before = _handled(guest)
    with _no_warning(testbed, "after a storm of interrupts"):
        answered = resolve_repeatedly(wire, REQUESTS)
        handled = _handled(guest) - before
        _assert_works(testbed, "after a storm of interrupts")
    assert answered == REQUESTS, f"expected {REQUESTS} answers to as many single requests, seen {answered}"
    assert handled >= REQUESTS // 2, f"expected an interrupt for half of {REQUESTS} requests at least, seen {handled}"


def _handled(guest: Guest) -> int:
    return sum(guest.handled().values())


@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4", "IEEE 802.3-2022 22.2.4.2.13")
def test_link_storm_does_no_harm(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """A cable that goes and comes as fast as can be, while frames come, leaves a guest that works as before."""
    when = f"after the link went and came {FLAPS} times"
    with _no_warning(testbed, when):
        with flood_in_background(wire):
            _flap(testbed)
        _assert_works(testbed, when)


@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4")
def test_link_storm_is_counted_sensibly(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """Of changes too quick to see some may be missed, but none is made up, and as often as the link goes it comes."""
    before = guest.carrier_changes()
    with flood_in_background(wire), load(guest.endpoint(), [frame(Direction.FROM_DUT, BACKGROUND, bytes(100))]):
        _flap(testbed)
    testbed.plug.pull_cable()
    assert guest.wait_link(False), "expected the link down after the cable was pulled for good, the guest says it is up"
    testbed.plug.plug_cable()
    assert guest.wait_link(True), "expected the link up after the cable was plugged in again, the guest says it is down"
    seen = guest.carrier_changes() - before
    assert seen in range(2, 2 * (FLAPS + 1) + 1, 2), (
        f"expected an even number of changes from 2 to {2 * (FLAPS + 1)} for {FLAPS + 1} times, seen {seen}"
    )


def _flap(testbed: Testbed) -> None:
    for _ in range(FLAPS):
        testbed.plug.pull_cable()
        testbed.plug.plug_cable()
