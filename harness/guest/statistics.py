"""Statistics: how many frames and octets the system, the driver and the device say have crossed the DUT."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from harness.guest.operations import Operations


@dataclass(frozen=True)
class Counts:
    """What was counted in one direction; None is what the source does not tell."""

    frames: int = 0
    octets: int = 0
    multicast: int | None = None
    """Frames to groups, without those to all stations."""
    broadcast: int | None = None
    errors: int | None = None
    dropped: int | None = None
    too_short: int | None = None
    too_long: int | None = None

    def __add__(self, other: Self) -> Self:
        """Return both together."""
        return self._with(other, 1)

    def __sub__(self, earlier: Self) -> Self:
        """Return what has been counted since `earlier`."""
        return self._with(earlier, -1)

    def _with(self, other: Self, factor: int) -> Self:
        pairs = ((one.name, getattr(self, one.name), getattr(other, one.name)) for one in fields(self))
        sums: dict[str, Any] = {name: None if None in (a, b) else a + factor * b for name, a, b in pairs}
        return type(self)(**sums)


@dataclass(frozen=True)
class Statistics:
    """What one source says of the DUT."""

    received: Counts = field(default_factory=Counts)
    sent: Counts = field(default_factory=Counts)

    def __add__(self, other: Self) -> Self:
        """Return both together."""
        return type(self)(self.received + other.received, self.sent + other.sent)

    def __sub__(self, earlier: Self) -> Self:
        """Return what has been counted since `earlier`."""
        return type(self)(self.received - earlier.received, self.sent - earlier.sent)


class StatisticsOperations(Operations):
    """What a guest may be asked of the DUT's counters."""

    def statistics(self) -> Statistics:
        """Return the system's statistics of the interface."""
        self._unsupported("the interface's statistics")

    def statistics_by_source(self) -> Mapping[str, Statistics]:
        """Return the system's statistics of the interface by each of the ways in which the system tells them."""
        self._unsupported("the interface's statistics")

    def device_statistics(self) -> Statistics:
        """Return what the driver has read from the device's own counters."""
        self._unsupported("the device's counters")

    def driver_counters(self) -> Mapping[str, int]:
        """Return the counters that the driver has beside the system's, by its own names."""
        self._unsupported("the driver's counters")

    def error_counters(self) -> Mapping[str, int]:
        """Return the counters of errors and of frames dropped, the system's and the driver's, by their own names."""
        self._unsupported("counters of errors")

    def queue_statistics(self) -> Mapping[int, Statistics]:
        """Return queue -> what has crossed it, as the driver counts it."""
        self._unsupported("counters by queue")
