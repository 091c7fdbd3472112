"""Frames that make a DUT work, and what a test needs to know about when it has."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from harness.endpoint.base import padded
from harness.endpoint.wire import Wire
from harness.errors import NicproofError
from harness.frames import LOCAL_EXPERIMENT, arp_frame
from harness.guest.base import Guest
from harness.station import DUT, WIRE
from harness.testbed import Observed, Testbed

WATCHDOG_PERIOD_S = 2.0
"""Linux's Intel drivers raise each of their vectors by software this often (e1000_watchdog, igb_watchdog_task)."""
RAISED_AT_ONCE = 2
"""QEMU's e1000e and igb send a vector once more when its throttling timer ends, though no cause is left (82576 7.3.4).

Its trace: "MSI-X notify vector 0x1", "Clearing ICR bits due to EIAC", "Sending MSI-X postponed by EITR[1]" with ICR 0.
"""


def unasked(observed: Observed) -> int:
    """Return how many interrupts a vector may have had that no frame asked for, in the time that was watched."""
    return RAISED_AT_ONCE * (1 + int(observed.seconds / WATCHDOG_PERIOD_S))


def broadcast_frames(marker: bytes, count: int) -> list[bytes]:
    """Return frames that every station takes and no stack answers, each with the marker and its number."""
    head = bytes(Ether(src=WIRE.mac, dst="ff:ff:ff:ff:ff:ff", type=LOCAL_EXPERIMENT))
    return [padded(head + marker + number.to_bytes(4, "big")) for number in range(count)]


def resolve_repeatedly(wire: Wire, count: int) -> int:
    """Ask the DUT for its address `count` times, one after the other; return how many answers came."""
    return sum(wire.resolve(DUT.ip) is not None for _ in range(count))


def flow_to_queue(testbed: Testbed, guest: Guest, queue: int, marker: bytes) -> bytes:
    """Return a frame that the DUT receives on `queue`: its own counters say which flow lands there.

    Raises:
        NicproofError: no flow of 64 lands there.
    """
    for host in range(64):
        packet = Ether(src=WIRE.mac, dst=DUT.mac) / IP(src=f"192.0.2.{100 + host}", dst=DUT.ip) / UDP(dport=9) / marker
        before = guest.frames_by_receive_queue()
        if len(before) == 1:
            return padded(packet)
        with guest.endpoint().capture(marker) as seen:
            testbed.wire.send(padded(packet))
            seen.wait(1)
        after = guest.frames_by_receive_queue()
        if after[queue] > before[queue]:
            return padded(packet)
    raise NicproofError(f"none of 64 flows lands on receive queue {queue}")


@contextmanager
def requests_in_background(wire: Wire) -> Iterator[None]:
    """Keep asking the DUT for its address while a block runs."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            wire.resolve(DUT.ip)

    thread = threading.Thread(target=ask, name="requests")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def flood_in_background(wire: Wire) -> Iterator[None]:
    """Send the DUT requests for its address, 200 a second and whether they are answered or not, during a block."""
    request = arp_frame(1, WIRE.mac, WIRE.ip, DUT.mac, "00:00:00:00:00:00", DUT.ip)
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.005):
            wire.send(request)

    thread = threading.Thread(target=ask, name="flood")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def answers_within(wire: Wire, deadline_s: float) -> bool:
    """Ask the DUT for its address until it answers: whether it did, and in time."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if wire.resolve(DUT.ip, 0.2) is not None:
            return True
    return False
