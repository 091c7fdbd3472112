"""The controller's part of a run: plans, records and shows what the tests' processes tell it."""

import datetime
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.reports import TestReport
from filelock import FileLock, Timeout
from xdist.scheduler import LoadScopeScheduling

from harness.cell import Cell
from harness.errors import InputError
from harness.report.examiner import FACTS, KEPT, MEASURED, VERDICT, test_name
from harness.report.junit import JunitReport
from harness.report.known_issues import load_ledger
from harness.report.performance import PerformanceReport
from harness.report.progress import ProgressDisplay
from harness.report.verdict import Outcome, Verdict
from harness.scheduling import CellScheduling
from harness.supply import Supply


class Recorder:
    """Owns the JUnit file, performance.json and the progress display of one run."""

    def __init__(self, config: pytest.Config, reports: Path, profile: str) -> None:
        self._config = config
        self._directory = reports / Path(profile).name.removesuffix(".yaml")
        self._file = self._directory / "junit.xml"
        self._lock: FileLock | None = None
        self._junit: JunitReport | None = None
        self._performance: PerformanceReport | None = None
        # Its own descriptor: pytest takes the usual one away while a test runs in this very process.
        self._stream = os.fdopen(os.dup(sys.stderr.fileno()), "w", errors="replace")
        self._display = ProgressDisplay(self._stream)
        self._cells: tuple[Cell, ...] = ()
        self._whole_cells = False
        self._header: list[str] = []
        self._planned: dict[str, tuple[str, str]] = {}
        self._counts: dict[str, list[int]] = {}
        self._decided: dict[str, str] = {}
        self._kept: list[str] = []

    def _open(self, properties: dict[str, str]) -> JunitReport:
        """Take the report's place for this run alone.

        Raises:
            InputError: another run is writing there.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._directory / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"another run is writing to {self._directory}: wait for it, or choose another place with --reports DIR"
            ) from None
        self._lock = lock
        self._junit = JunitReport(self._file, properties)
        self._performance = PerformanceReport(self._directory / "performance.json", properties)
        return self._junit

    def begin(self, cells: tuple[Cell, ...], supply: Supply) -> None:
        """Open the report."""
        self._cells = cells
        self._whole_cells = supply.one_at_a_time or self._config.getoption("isolation") == "cell"
        facts = supply.describe()
        what = f"{len(cells)} cells of {cells[0].profile.name}"
        self._header = [
            f"nicproof: {what}; " + ", ".join(f"{name}: {value}" for name, value in facts.items()),
            *(f"nicproof: {remark}" for remark in supply.remarks()),
        ]
        self._header += [
            f"nicproof: known issue {entry.id} has expired and counts no more"
            for entry in load_ledger().expired(datetime.date.today())
        ]
        self._open(facts)
        self._display.start()

    def cannot_start(self, message: str) -> None:
        """Leave a report that says why there is no other."""
        try:
            junit = self._junit or self._open({})
        except InputError:
            return  # that report is another run's
        junit.run_error("start", message)
        junit.close()
        self.pytest_unconfigure()

    def pytest_report_header(self) -> list[str]:
        """Say what runs on what."""
        return self._header

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Plan, without xdist."""
        if session.items:
            self._plan(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Plan, with xdist: each worker collects the same tests."""
        self._plan(ids)

    def _plan(self, node_ids: Iterable[str]) -> None:
        if self._planned or self._junit is None:
            return
        tests: dict[str, list[str]] = {cell.id: [] for cell in self._cells}
        for node_id in node_ids:
            if (cell_id := self._cell_of(node_id)) is not None:
                self._planned[node_id] = cell_id, test_name(node_id, cell_id)
                tests[cell_id].append(self._planned[node_id][1])
        for cell_id, names in tests.items():
            if names:
                self._counts[cell_id] = [0, len(names), 0]
                self._junit.plan(cell_id, names, {})

    def _cell_of(self, node_id: str) -> str | None:
        """Return the cell that a test runs on: one of its parameters, the longest that fits."""
        inside = node_id.partition("[")[2].rpartition("]")[0]
        for cell_id in sorted((cell.id for cell in self._cells), key=len, reverse=True):
            if inside == cell_id or inside.startswith(f"{cell_id}-") or inside.endswith(f"-{cell_id}"):
                return cell_id
        return None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> LoadScopeScheduling:
        """Give each worker a cell, and those that are free a part of another's."""
        return CellScheduling(config, log, self._cell_of, whole_cells=self._whole_cells)

    def pytest_runtest_logreport(self, report: TestReport) -> None:
        """Record a verdict as soon as it is known."""
        if self._junit is None or self._performance is None:
            return
        carried: dict[str, Any] | None = getattr(report, VERDICT, None)
        place = self._planned.get(report.nodeid)
        if carried is not None:
            verdict = _verdict(carried)
        elif report.failed and place is not None:
            # The process that ran the test died; its guest died with it.
            text = f"the test's process died: {report.longrepr}"
            verdict = Verdict(*place, Outcome.ERROR, report.duration, text.splitlines()[0], text)
        else:
            verdict = None
        if verdict is not None and self._decided.get(report.nodeid) not in ("failed", "error"):
            self._decided[report.nodeid] = str(verdict.outcome)
            self._junit.record(verdict)
        if place is None:
            return
        cell_id, test = place
        self._performance.add(cell_id, test, getattr(report, MEASURED, ()))
        if facts := getattr(report, FACTS, None):
            self._junit.cell_properties(cell_id, facts)
            self._performance.cell_facts(cell_id, facts)
        if kept := getattr(report, KEPT, ""):
            self._kept.append(kept)
        if report.when == "teardown" or (carried is None and report.failed):
            counts = self._counts[cell_id]
            counts[0] += 1
            counts[2] += self._decided.get(report.nodeid) in ("failed", "error")
            self._display.tests(cell_id, *counts)

    def pytest_report_teststatus(self, report: TestReport) -> tuple[str, str, str] | None:
        """Tell errors from failures; the live lines take the place of pytest's dots."""
        carried: dict[str, Any] | None = getattr(report, VERDICT, None)
        if carried is None:
            return ("", "", "") if report.passed else None
        outcome = carried["outcome"]
        if carried["known_issue"] and outcome == "skipped":
            return "known issues", "", f"KNOWN ISSUE ({carried['known_issue']})"
        return outcome, "", outcome.upper()

    def pytest_sessionfinish(self) -> None:
        """Complete the reports."""
        self._display.stop()
        if self._junit is not None:
            self._junit.close()
        if self._performance is not None:
            self._performance.close()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say which guests are kept and where the report is."""
        for kept in self._kept:
            terminalreporter.write_line(f"nicproof: {kept}")
        terminalreporter.write_line(f"nicproof: report in {self._file}")

    def pytest_unconfigure(self) -> None:
        """Let the next run have the place."""
        self._display.stop()
        self._stream.close()
        if self._lock is not None:
            Path(self._lock.lock_file).unlink(missing_ok=True)  # still locked: nobody else takes it for a free one
            self._lock.release()
            self._lock = None


def _verdict(carried: dict[str, Any]) -> Verdict:
    """Return the verdict that an examiner put into a report."""
    return Verdict(
        **{
            **carried,
            "outcome": Outcome(carried["outcome"]),
            "requirements": tuple(carried["requirements"]),
            "artifacts": Path(carried["artifacts"]) if carried["artifacts"] else None,
        }
    )
