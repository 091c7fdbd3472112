"""Traffic that is measured: how many frames a second cross the DUT, and how long an answer takes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import quantiles

from harness.endpoint.cable import Direction, Record
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.testbed import Testbed
from harness.traffic.counting import Window
from harness.traffic.exchange import DEADLINE_S, IN_RING, send_in_step
from harness.traffic.frames import HEADER, IPV4, LOCAL_EXPERIMENT, LONGEST_FRAME, frame
from harness.traffic.transmission import DISCARD, Carrier

STEPS = 100
"""How often a ring is filled in one flow to the DUT."""
BURSTS = 2
BURST = 4000
"""Frames from the guest: QEMU drops what is sent while 10,000 wait for the cable's other end (net/queue.c)."""


@dataclass(frozen=True)
class Flow:
    """What became of many frames of one length, sent in one direction as fast as none need be lost."""

    offered: int
    arrived: int
    frames_per_s: float


def flow(direction: Direction, octets: int, testbed: Testbed, guest: Guest) -> Flow:
    """Send many frames of `octets` octets and count those that arrive, in the guest's system or at the wire."""
    way = _flow_to_dut if direction is Direction.TO_DUT else _flow_from_dut
    return way(octets, testbed, guest)


def _at_most(frames: int, octets: int) -> int:
    """Return how many frames of this length need no more room than `frames` full ones of Ethernet."""
    return max(2, frames * LONGEST_FRAME // max(octets, LONGEST_FRAME))


def _flow_to_dut(octets: int, testbed: Testbed, guest: Guest) -> Flow:
    """Fill the ring, wait until the DUT has taken all, and so on; the guest's own count says what arrived."""
    guest.statistics()  # of a guest that does not count nothing can be measured
    one = frame(Direction.TO_DUT, LOCAL_EXPERIMENT, bytes(octets - HEADER))
    in_ring = _at_most(IN_RING, octets)
    offered = STEPS * in_ring
    send_in_step(testbed.wire, [one] * in_ring)  # an emulated processor's first time through any code is its slowest
    window = Window(testbed, guest.statistics)
    first, began = len(testbed.cable.records), time.monotonic()
    send_in_step(testbed.wire, [one] * offered, in_ring=in_ring)
    seconds = time.monotonic() - began
    passed, counted = window.compare(lambda since: since.received.frames)
    others = passed - sum(record.frame == one for record in _since(testbed, first))
    return Flow(offered, counted - others, offered / seconds)


def _flow_from_dut(octets: int, testbed: Testbed, guest: Guest) -> Flow:
    """Have the guest's system send bursts; the rate is that of the frames of each at the wire, from first to last."""
    generated = Carrier(IPV4, "udp").carries(DISCARD)
    count = _at_most(BURST, octets)
    arrived, seconds = 0, 0.0
    for _ in range(BURSTS):
        first = len(testbed.cable.records)
        with testbed.wire.capture(generated) as seen:
            guest.generate(count, octets)
            seen.wait(count, DEADLINE_S)
        times = [record.time for record in _since(testbed, first) if generated(record.frame)]
        arrived += len(times)
        if len(times) < count:
            break
        seconds += times[-1] - times[0]
    return Flow(BURSTS * count, arrived, (arrived - BURSTS) / seconds if seconds else 0.0)


def _since(testbed: Testbed, first: int) -> list[Record]:
    return list(islice(testbed.cable.records, first, None))


def round_trips(wire: Wire, requests: Sequence[bytes], is_reply: Callable[[bytes], bool]) -> list[float]:
    """Send each request when the one before it is answered; return how many seconds the answers took on the cable.

    One that does not come within the deadline ends it: the list is then shorter than that of the requests.
    """
    took = []
    for request in requests:
        first = len(wire.cable.records)
        with wire.capture(is_reply) as replies:
            wire.send(request)
            if not replies.wait(1, DEADLINE_S):
                break
        since = wire.cable.records[first:]
        sent = next(one.time for one in since if one.frame == request)
        took.append(next(one.time for one in since if one.time >= sent and is_reply(one.frame)) - sent)
    return took


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """Return p50, p90 and p99."""
    cuts = quantiles(samples, n=100, method="inclusive")
    return {f"p{percent}": cuts[percent - 1] for percent in (50, 90, 99)}
