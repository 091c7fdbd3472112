"""The wire: how many frames each second, each counted at both ends."""

from itertools import pairwise

from scapy.layers.l2 import Ether

from benchmarks.setting import Setting, clock
from harness.endpoint.base import SHORTEST_FRAME, padded
from harness.endpoint.cable import Direction
from harness.errors import NicproofError
from harness.station import DUT, WIRE
from harness.testbed import Testbed
from harness.traffic.frames import LOCAL_EXPERIMENT

FRAMES = 100_000
FLOOD_DEADLINE_S = 120.0


def wire_to_dut(setting: Setting) -> float:
    """Measure frames/s from the wire into the guest: until it answers to a frame sent behind them all.

    Raises:
        NicproofError: the guest did not count each one of them.
    """
    bed = setting.launcher.fork(setting.wire_cell, setting.wire_saved)
    try:
        return flood(bed, FRAMES)
    finally:
        bed.close()


def flood(bed: Testbed, count: int) -> float:
    """Return the frames/s at which `count` frames cross to the DUT.

    Raises:
        NicproofError: the DUT did not count each one of them.
    """
    frame = padded(Ether(src=WIRE.mac, dst=DUT.mac, type=LOCAL_EXPERIMENT) / b"benchmark")
    bed.wire.resolve(DUT.ip)
    before = bed.guest.counters()["rx_packets"]

    def send() -> None:
        bed.wire.send(*[frame] * count)
        if bed.wire.resolve(DUT.ip, deadline_s=FLOOD_DEADLINE_S) is None:
            raise NicproofError("the DUT did not answer after the flood")

    seconds = clock(send)
    counted = bed.guest.counters()["rx_packets"] - before - 1
    if counted != count:
        raise NicproofError(f"{count} frames were sent to the DUT, it counted {counted}")
    return count / seconds


def wire_from_dut(setting: Setting) -> float:
    """Measure frames/s from the guest onto the wire, sent by its kernel's packet generator: by the times recorded.

    Raises:
        NicproofError: the wire did not record each one of them, in order.
    """
    bed = setting.launcher.fork(setting.wire_cell, setting.wire_saved)
    try:
        bed.guest.generate(FRAMES, SHORTEST_FRAME)
        frames = [record for record in list(bed.cable.records) if record.direction is Direction.FROM_DUT]
        # The generator's header, behind Ethernet, IPv4 and UDP: magic number, sequence number (net/core/pktgen.c).
        numbered = [record for record in frames if record.frame[42:46] == b"\xbe\x9b\xe9\x55"]
        numbers = [int.from_bytes(record.frame[46:50], "big") for record in numbered]
        if len(numbers) != FRAMES or any(after != before + 1 for before, after in pairwise(numbers)):
            raise NicproofError(f"the guest sent {FRAMES} frames, the wire has {len(numbers)} of them, or not in order")
        return (FRAMES - 1) / (numbered[-1].time - numbered[0].time)
    finally:
        bed.close()
