"""What a guest's counters must say: exactly what has passed the DUT's cable since a moment when they stood still."""

import time
from collections.abc import Callable
from typing import TypeVar

from harness.endpoint.cable import Direction
from harness.errors import NicproofError
from harness.guest.statistics import Counts, Statistics
from harness.testbed import Testbed

FCS = 4
"""Octets (IEEE 802.3-2022, 3.2.9)."""
DEADLINE_S = 10.0
"""For a counter to say what it must, when all has passed: drivers refresh some of them every two seconds only."""
STILL_S = 3.0
"""Counters that have said the same for so long say it for good."""
PAUSE_S = 0.1
"""Between two readings that are waited with: counters announce nothing, and to read them without a pause would keep the
guest from what it is to count."""
Picked = TypeVar("Picked")
Read = TypeVar("Read")


def standing_still(testbed: Testbed, read: Callable[[], Read]) -> tuple[int, Read]:
    """Return how many frames have passed the cable and what `read` says, once neither changes any more.

    Raises:
        NicproofError: they never stood still.
    """
    end = time.monotonic() + DEADLINE_S
    before = None
    while before != (now := (len(testbed.cable.records), read())):
        if time.monotonic() > end:
            raise NicproofError(f"the guest's counters did not stand still within {DEADLINE_S:g} s")
        before = now
    return now


class Window:
    """The time since counters and cable stood still together, and what has passed in it.

    Whatever the guest sends by itself is on the cable as well, so it disturbs no count.
    """

    def __init__(
        self,
        testbed: Testbed,
        read: Callable[[], Statistics],
        *,
        with_fcs: bool = False,
        takes: Callable[[bytes], bool] = lambda frame: True,
    ) -> None:
        """Wait until nothing moves, and begin.

        Args:
            testbed: whose cable.
            read: the counters of which the window is.
            with_fcs: whether these counters take the FCS for a part of the frame.
            takes: whether the DUT has to receive a frame that is sent to it.

        Raises:
            NicproofError: counters and cable never stood still together.
        """
        self._records, self._read = testbed.cable.records, read
        self._extra, self._takes = FCS if with_fcs else 0, takes
        self._began, self._base = standing_still(testbed, read)

    def passed(self) -> Statistics:
        """Return what has passed the cable, and must have been counted."""
        since = self._records[self._began :]
        to_dut = [one.frame for one in since if one.direction is Direction.TO_DUT and self._takes(one.frame)]
        from_dut = [one.frame for one in since if one.direction is Direction.FROM_DUT]
        return Statistics(self._count(to_dut), self._count(from_dut))

    def _count(self, frames: list[bytes]) -> Counts:
        broadcast = sum(frame[:6] == b"\xff" * 6 for frame in frames)
        return Counts(
            frames=len(frames),
            octets=sum(len(frame) + self._extra for frame in frames),
            multicast=sum(frame[0] & 1 for frame in frames) - broadcast,
            broadcast=broadcast,
            too_short=0,
            too_long=0,
        )

    def compare(self, pick: Callable[[Statistics], Picked]) -> tuple[Picked, Picked]:
        """Return what must have been counted and what is, as soon as they are the same, or for good."""
        return self._until(lambda: pick(self.passed()), pick)

    def until(self, expected: object, pick: Callable[[Statistics], object]) -> object:
        """Return what is counted, as soon as it is what is expected, or for good."""
        return self._until(lambda: expected, pick)[1]

    def _until(self, expect: Callable[[], Picked], pick: Callable[[Statistics], Picked]) -> tuple[Picked, Picked]:
        end = time.monotonic() + DEADLINE_S
        before, still_until = None, end
        while True:
            pair = expect(), pick(self._read() - self._base)
            now = time.monotonic()
            if pair != before:
                before, still_until = pair, now + STILL_S
            if pair[0] == pair[1] or now > min(end, still_until):
                return pair
            time.sleep(PAUSE_S)
