"""Supplies a pristine testbed for each test: a fork of the cell's snapshot, or a DUT in a lab set up anew."""

import logging
from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar

from packaging.version import Version

from harness.cell import Cell, find_cell
from harness.errors import NicproofError
from harness.launcher import Launcher, Saved
from harness.testbed import Testbed

_log = logging.getLogger(__name__)

ENDPOINT_CELL = "linux/virtio-net-modern/msix"
"""Whose guest is the far end with --endpoint guest: virtio takes frames of every length, and is not the model that is
tested for what a MAC must drop."""


class Supply(ABC):
    """Where testbeds come from.

    Attributes:
        one_at_a_time: whether a cell has but one testbed, as in a lab.
    """

    one_at_a_time: ClassVar[bool] = False

    @property
    @abstractmethod
    def qemu_version(self) -> Version | None:
        """Of the QEMU that emulates the DUT, if one does."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """Return the facts about it that go into every report."""

    @abstractmethod
    def remarks(self) -> list[str]:
        """Return what a person should know before it begins, a line each."""

    @abstractmethod
    def prepare(self, cell: Cell) -> None:
        """Do what is done once for all testbeds of a cell.

        Raises:
            NicproofError: no testbed of this cell can be had.
        """

    @abstractmethod
    def testbed(self, cell: Cell) -> Testbed:
        """Return a pristine testbed of a cell that is prepared.

        Raises:
            NicproofError: it cannot be had this time.
        """

    def expect(self, cell: Cell) -> None:  # noqa: B027 # nothing, unless a source can make use of it
        """Take notice that the next testbed will be one of this cell, which is prepared."""

    def close(self) -> None:  # noqa: B027
        """End what was made and not taken."""


class Ahead:
    """The next test's testbed, made while the present test runs, in which the processors mostly wait.

    It is made by one thread that lives as long as the process: the kernel ends a QEMU with the thread that started it.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "ahead")
        self._made: tuple[str, Future[Testbed]] | None = None

    def begin(self, launcher: Launcher, cell: Cell, saved: Saved) -> None:
        """Begin to make a testbed of the cell, unless one waits; until it is taken its guest stands still."""

        def make() -> Testbed:
            bed = launcher.fork(cell, saved)
            try:
                bed.log_in()
                bed.stop()
            except BaseException:
                bed.close()
                raise
            return bed

        if self._made is not None and self._made[0] == cell.id:
            return
        self.drop()
        self._made = cell.id, self._thread.submit(make)

    def take(self, cell: Cell) -> Testbed | None:
        """Return the testbed, its guest going on, if one of this cell was made.

        One that could not be made is none: the host may have had no room for it beside the test before.
        """
        if self._made is None or self._made[0] != cell.id:
            return None
        (_, future), self._made = self._made, None
        try:
            bed = future.result()
        except NicproofError as error:
            _log.info("%s: no fork could be made ahead: %s", cell.id, error)
            return None
        bed.go_on()
        return bed

    def drop(self) -> None:
        """End the testbed that nobody has taken."""
        if self._made is not None:
            (_, future), self._made = self._made, None
            with suppress(NicproofError):
                future.result().close()

    def close(self) -> None:
        """End the testbed, and the thread that made it."""
        self.drop()
        self._thread.shutdown()


@dataclass
class ForkSupply(Supply):
    """Forks of each cell's snapshot; the harness itself is the far end of the cable."""

    launcher: Launcher
    endpoint: ClassVar[str] = "wire"
    saved: dict[str, Saved] = field(default_factory=dict)
    """The snapshots by cell."""
    ahead: Ahead = field(default_factory=Ahead)

    @property
    def qemu_version(self) -> Version:
        """The launcher's."""
        return self.launcher.qemu.version

    def describe(self) -> dict[str, str]:
        """Return which QEMU, how it runs, and who is at the far end."""
        qemu = self.launcher.qemu
        facts = {"QEMU": str(qemu.version), "QEMU origin": qemu.origin, "acceleration": self.launcher.accel.name}
        return {**facts, "endpoint": self.endpoint}

    def remarks(self) -> list[str]:
        """Return how QEMU runs, and why."""
        return [self.launcher.accel.reason]

    def prepare(self, cell: Cell) -> None:
        """Find or make the snapshot."""
        if cell.id not in self.saved:
            self.saved[cell.id] = self.launcher.saved(cell)

    def testbed(self, cell: Cell) -> Testbed:
        """Return a fork."""
        return self.ahead.take(cell) or self.launcher.fork(cell, self.saved[cell.id])

    def expect(self, cell: Cell) -> None:
        """Begin to make the fork."""
        self.ahead.begin(self.launcher, cell, self.saved[cell.id])

    def close(self) -> None:
        """End a fork that was expected in vain."""
        self.ahead.close()


@dataclass
class TwoGuestSupply(ForkSupply):
    """Forks of each cell's snapshot, each with a guest of its own at the far end of the cable.

    The harness carries the frames between the two and records them on the DUT's cable.
    """

    endpoint: ClassVar[str] = f"guest {ENDPOINT_CELL}"

    @property
    def _far_cell(self) -> Cell:
        return find_cell(ENDPOINT_CELL)

    def prepare(self, cell: Cell) -> None:
        """Find or make both snapshots."""
        super().prepare(self._far_cell)
        super().prepare(cell)

    def testbed(self, cell: Cell) -> Testbed:
        """Return a fork with another at the far end."""
        testbed = super().testbed(cell)
        try:
            far = super().testbed(self._far_cell)
            testbed.at_end(far.close)
            for bed in (testbed, far):
                bed.neighbour.close()  # the far guest's end of the cable has the neighbour now
            far.guest.forget_addresses()
            station = far.guest.stand_at_cable()
            far.cable.watch(lambda record: testbed.cable.send(record.frame))
            testbed.cable.watch(lambda record: far.cable.send(record.frame))
            testbed.move_wire(station)
        except BaseException:
            testbed.close()
            raise
        return testbed
