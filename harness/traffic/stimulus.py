"""Frames that make a DUT work, and what a test needs to know about when it has."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from harness.endpoint.base import Capture, Endpoint, padded
from harness.endpoint.cable import CableStuck, Direction
from harness.endpoint.wire import Wire
from harness.errors import NicproofError, Unsupported
from harness.guest.base import Guest
from harness.station import BROADCAST_MAC, DUT, WIRE
from harness.testbed import Observed, Testbed
from harness.traffic.exchange import DEADLINE_S, send_in_step
from harness.traffic.frames import BACKGROUND, HEADER, LOCAL_EXPERIMENT, LONGEST_FRAME, SEED, arp_frame, frame
from harness.traffic.liveness import ARP_OCTETS

WATCHDOG_PERIOD_S = 2.0
"""Linux's Intel drivers raise each of their vectors by software this often (e1000_watchdog, igb_watchdog_task)."""
LOAD_INTERVAL_S = 0.01
RAISED_AT_ONCE = 2
"""QEMU's e1000e and igb send a vector once more when its throttling timer ends, though no cause is left (82576 7.3.4).

Its trace: "MSI-X notify vector 0x1", "Clearing ICR bits due to EIAC", "Sending MSI-X postponed by EITR[1]" with ICR 0.
"""
PROBES = 8
"""Frames that show where a flow lands: more than what else may come meanwhile."""


def unasked(observed: Observed) -> int:
    """Return how many interrupts a vector may have had that no frame asked for, in the time that was watched."""
    return RAISED_AT_ONCE * (1 + int(observed.seconds / WATCHDOG_PERIOD_S))


def broadcast_frames(marker: bytes, count: int) -> list[bytes]:
    """Return frames that every station takes and no stack answers, each with the marker and its number."""
    head = bytes(Ether(src=WIRE.mac, dst=BROADCAST_MAC, type=LOCAL_EXPERIMENT))
    return [padded(head + marker + number.to_bytes(4, "big")) for number in range(count)]


def resolve_repeatedly(wire: Wire, count: int) -> int:
    """Ask the DUT for its address `count` times, one after the other; return how many answers came."""
    return sum(wire.resolve(DUT.ip) is not None for _ in range(count))


def renew_receive_buffers(testbed: Testbed) -> None:
    """Have the DUT take a frame with each buffer of its receive ring, if it can be asked how many these are.

    Linux cuts buffers out of larger pieces: one that was got amid a flood keeps a piece whose other frames are long
    gone, 32 KiB for 2. The frames are full, for drivers copy short ones and keep the buffer.
    """
    full = frame(Direction.TO_DUT, BACKGROUND, bytes(LONGEST_FRAME - HEADER))
    with suppress(Unsupported):
        send_in_step(testbed.wire, [full] * testbed.guest.receive_ring())


def flow_to_queue(testbed: Testbed, guest: Guest, queue: int, marker: bytes) -> bytes:
    """Return a frame that the DUT receives on `queue`: its own counters say which flow lands there.

    The flows' addresses differ in many bits: those that differ in a few, a key may send to one queue. They are nobody's
    (RFC 5737), so that no stack answers.

    Raises:
        NicproofError: no flow of 64 lands there.
    """
    hosts = random.Random(SEED)
    for _ in range(64):
        addresses = IP(src=f"198.51.100.{hosts.randrange(1, 255)}", dst=f"203.0.113.{hosts.randrange(1, 255)}")
        packet = Ether(src=WIRE.mac, dst=DUT.mac) / addresses / UDP(dport=9) / marker
        rose = frames_by_queue(testbed, guest, [padded(packet)] * PROBES, marker)
        if rose.get(queue, 0) >= PROBES:
            return padded(packet)
    raise NicproofError(f"none of 64 flows lands on receive queue {queue}")


def frames_by_queue(testbed: Testbed, guest: Guest, frames: Sequence[bytes], marker: bytes) -> dict[int, int]:
    """Send frames to the DUT, no more than any ring has room for; return how many each of its queues received.

    Nothing else comes to the DUT meanwhile: a guest looks by itself whether its neighbour is still there, and the
    answer would count as well.

    Args:
        testbed: where they are sent.
        guest: its own counters are asked.
        frames: what to send.
        marker: in each of them. A queue that received none is not in what is returned.
    """
    with testbed.neighbour.silence():
        before = guest.frames_by_receive_queue()
        with guest.endpoint().capture(marker) as seen:
            testbed.wire.send(*frames)
            arrived = len(seen.wait(len(frames), DEADLINE_S))
        end = time.monotonic() + DEADLINE_S
        while True:  # a driver counts a frame after it has delivered it
            after = guest.frames_by_receive_queue()
            rose = {queue: count - before[queue] for queue, count in after.items() if count != before[queue]}
            if sum(rose.values()) >= arrived or time.monotonic() > end:
                return rose


@contextmanager
def in_background(act: Callable[[], object], interval_s: float) -> Iterator[None]:
    """Do something over and over, with pauses, while a block runs.

    Raises:
        NicproofError: what it raised, once the block has ended.
    """
    stop = threading.Event()
    errors: list[NicproofError] = []

    def keep_on() -> None:
        try:
            while not stop.wait(interval_s):
                act()
        except NicproofError as error:
            errors.append(error)

    thread = threading.Thread(target=keep_on, name="background")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]


def flood(*sends: Callable[[], object], seconds: float, times: int = 0) -> None:
    """Call each of `sends` over and over, all at the same time, for so many seconds and `times` at least.

    Raises:
        NicproofError: theirs.
    """
    end = time.monotonic() + seconds

    def keep_sending(send: Callable[[], object]) -> None:
        sent = 0
        while sent < times or time.monotonic() < end:
            send()
            sent += 1

    with ThreadPoolExecutor(len(sends), "flood") as threads:
        for sending in [threads.submit(keep_sending, send) for send in sends]:
            sending.result()


@contextmanager
def requests_in_background(wire: Wire) -> Iterator[None]:
    """Keep asking the DUT for its address while a block runs, the next time when it has answered."""
    with in_background(lambda: wire.resolve(DUT.ip), 0):
        yield


@contextmanager
def load(sender: Endpoint, frames: Sequence[bytes], interval_s: float = LOAD_INTERVAL_S) -> Iterator[None]:
    """Have an endpoint send frames over and over while a block runs: often enough that some are always on their way.

    Raises:
        NicproofError: the endpoint's, once the block has ended.
    """
    with in_background(lambda: sender.send(*frames), interval_s):
        yield


class Flood:
    """Requests that pour in, and what came of them."""

    def __init__(self, answers: Capture) -> None:
        """Take the capture of the answers."""
        self._answers = answers

    @property
    def answered(self) -> int:
        """How many were answered so far."""
        return len(self._answers.wait(0))

    def goes_on(self, deadline_s: float = DEADLINE_S) -> bool:
        """Wait for one more answer; return whether it came."""
        return len(self._answers.wait(due := self.answered + 1, deadline_s)) >= due


@contextmanager
def flood_in_background(wire: Wire, interval_s: float = LOAD_INTERVAL_S) -> Iterator[Flood]:
    """Send the DUT requests for its address during a block, which begins when the first is answered, or in vain.

    Later ones may be taken and answered or not: one that the cable does not take is followed by the next.
    """
    request = arp_frame(1, WIRE.mac, WIRE.ip, DUT.mac, "00:00:00:00:00:00", DUT.ip)
    answer = arp_frame(2, DUT.mac, DUT.ip, WIRE.mac, WIRE.mac, WIRE.ip)[:ARP_OCTETS]

    def ask() -> None:
        with suppress(CableStuck):
            wire.send(request)

    with wire.capture(lambda seen: seen.startswith(answer)) as answers, in_background(ask, interval_s):
        flood = Flood(answers)
        flood.goes_on()
        yield flood
