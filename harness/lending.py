"""Who has which guest: each test gets a pristine one, or one that those before it have left fit for it."""

import time
from collections.abc import Mapping, Set
from contextlib import suppress

import pytest

from harness.cell import Cell
from harness.driver_install import NotInstalled
from harness.errors import NicproofError
from harness.guest.state import State
from harness.qemu.process import QemuDied
from harness.readiness import BootFailure
from harness.report.progress import report_phase
from harness.report.verdict import Outcome
from harness.supply import Supply
from harness.testbed import Testbed
from harness.traffic.liveness import answers

WORTH_S = 2.0
"""What takes longer to be put back on a cell is not tried again: a new guest, made meanwhile, is there sooner."""


def cell_of(item: pytest.Item) -> Cell | None:
    """Return the cell that a test of the suites runs on; None for any other test."""
    callspec = getattr(item, "callspec", None)
    cell = callspec.params.get("cell") if callspec else None
    return cell if isinstance(cell, Cell) else None


class Lender:
    """Lends testbeds to the tests of one process, one at a time.

    Attributes:
        served: the tests that the present guest has served, by node id, in order; the last is the present one.
        last_words: what explains why a cell did not boot: files by name, by cell.
    """

    def __init__(self, isolation: str) -> None:
        """Lend by one of three rules.

        Args:
            isolation: what has a guest to itself. "fork": each case. "rule": the cases of one test function, and what
                comes after them as long as the guest is as it was, because nothing was changed or because all of it
                could be put back; each case of a test marked `own_settings` finds it so too; a test marked `own_guest`,
                or on a testbed that does not last, as with "fork". "cell": all tests of a cell.
        """
        self._isolation = isolation
        self.served: list[str] = []
        self.last_words: dict[str, Mapping[str, str | bytes]] = {}
        self._unusable: dict[str, NicproofError] = {}
        self._failed_to_boot: set[str] = set()
        self._left: Testbed | None = None
        self._recorded = 0
        self._test = ""
        self._next: Cell | None = None
        self._own_guest = self._same_rule_next = self._next_shares = False
        self._states: dict[str, State] = {}
        self._too_slow: set[tuple[str, Set[str]]] = set()

    def begin(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """Take notice of the test that comes now and of the one behind it."""
        self._test = item.nodeid
        self._own_guest = self._has_own(item)
        self._next, self._same_rule_next, self._next_shares = None, False, False
        if following is not None:
            self._next = cell_of(following)
            same_rule = _rule(following) == _rule(item)
            self._same_rule_next = same_rule and item.get_closest_marker("own_settings") is None
            self._next_shares = self._next == cell_of(item) and not self._has_own(following)

    def _has_own(self, item: pytest.Item) -> bool:
        """Return whether each case of a test has a guest to itself."""
        marked = item.get_closest_marker("own_guest") is not None
        return self._isolation == "fork" or (self._isolation == "rule" and marked)

    def lend(self, source: Supply, cell: Cell) -> Testbed:
        """Return a testbed of the cell for the present test.

        Raises:
            NicproofError: the cell cannot be had; said at once for each further test, not after another long wait. Only
                a boot gets a second chance, with the next test: that it failed need not be the cell's fault.
        """
        left, self._left = self._left, None
        if left is not None and (left.cell.id != cell.id or self._own_guest):
            left.close()
            left = None
        if left is None:
            self.served.clear()
            left = self._pristine(source, cell)
        self.served.append(self._test)
        self._recorded = len(left.cable.records)
        return left

    def _pristine(self, source: Supply, cell: Cell) -> Testbed:
        if cell.id in self._unusable:
            raise self._unusable[cell.id].with_traceback(None)
        try:
            source.prepare(cell)
        except NicproofError as error:
            if isinstance(error, BootFailure | NotInstalled):
                self.last_words[cell.id] = error.papers
            if not isinstance(error, QemuDied | BootFailure) or cell.id in self._failed_to_boot:
                self._unusable[cell.id] = error
            self._failed_to_boot.add(cell.id)
            raise
        report_phase(cell.id, "fork")
        bed = source.testbed(cell)
        bed.take_as_pristine()
        report_phase(cell.id, "tests")
        if self._isolation == "rule" and bed.lasting and cell.id not in self._states:
            with suppress(NicproofError):  # then nothing can be put back
                self._states[cell.id] = bed.guest.state()
        if self._next == cell and self._isolation != "cell":
            source.expect(cell)
        return bed

    def take_back(self, bed: Testbed, outcome: Outcome) -> None:
        """Keep for the next test a testbed with which all is well, or end it.

        Args:
            bed: the present test's.
            outcome: how that ended: passed, or failed by a known deviation; one that is skipped half-way, when frames
                have crossed, leaves what it has begun, such as a queue full of them.
        """
        crossed = len(bed.cable.records) != self._recorded
        began = outcome is not Outcome.SKIPPED or bed.changed or crossed
        if not began:
            self.served.pop()
        if not (self._own_guest or began) or self._goes_on(bed, outcome, crossed):
            self._left = bed
        else:
            bed.close()

    def _goes_on(self, bed: Testbed, outcome: Outcome, crossed: bool) -> bool:
        """Return whether the next test can have this one's testbed; it is put back for that if need be.

        Behind a known deviation it must also answer, which says too that nothing waits any more in its receive queue.
        What a skipped case has left, such as a closed interface, its rule's next case did not ask for.
        """
        if self._isolation == "cell":
            return outcome is not Outcome.FAILED
        if self._own_guest or not bed.lasting or (outcome is Outcome.SKIPPED and crossed):
            return False
        if outcome is Outcome.FAILED:
            return self._next_shares and (not bed.changed or self._put_back(bed)) and _answers(bed)
        as_left = self._same_rule_next and outcome is not Outcome.SKIPPED
        return as_left or not bed.changed or (self._next_shares and self._put_back(bed))

    def _put_back(self, bed: Testbed) -> bool:
        """Make a testbed as it was, if nothing stands against it."""
        state, kind = self._states.get(bed.cell.id), (bed.cell.id, bed.asked)
        if state is None or kind in self._too_slow:
            return False
        began = time.monotonic()
        try:
            return bed.put_back(state)
        except NicproofError:
            return False
        finally:
            if time.monotonic() - began > WORTH_S:
                self._too_slow.add(kind)

    def close(self) -> None:
        """End the testbed that no test uses any more."""
        if self._left is not None:
            self._left.close()


def _rule(item: pytest.Item) -> tuple[Cell | None, str]:
    """Return the cell and the test function, without its case."""
    return cell_of(item), item.nodeid.partition("[")[0]


def _answers(bed: Testbed) -> bool:
    try:
        return answers(bed.wire, WORTH_S)
    except NicproofError:
        return False
