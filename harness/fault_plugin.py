"""The pytest plugin behind `./run prove`: lets each chosen test meet its faults and tells the runner what became of it.

The tests and all their fixtures are the real ones; only the cells and what boots them are spoilt.
"""

import json
import os
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import pytest
from _pytest.reports import TestReport

from harness.errors import NicproofError
from harness.fault import FaultyCell, FaultyLauncher, load_faults
from harness.lending import cell_of
from harness.plugin import BENCH, Bench
from harness.profile_file import load_profile
from harness.report.examiner import VERDICT, test_name
from harness.supply import ForkSupply


@dataclass(frozen=True)
class Plan:
    """What the runner wants of pytest."""

    faults: str
    """The folder that declares the faults."""
    meetings: list[tuple[str, str]]
    """Fault's name, or its control's, and test, as the fault names it."""
    results: int
    """File descriptor for one line of JSON for each `Meeting`."""


@dataclass(frozen=True)
class Meeting:
    """What became of a test case that met a fault."""

    fault: str
    """Its name, or its control's."""
    case: str
    """Such as "test_traffic.py::test_order[udp]"."""
    green: bool
    red: bool
    """The test's own assertion failed: neither green nor red is an error, a skip, a crash."""
    why: str
    """What the test said, or why it is not red."""
    seconds: float


MEETING = "nicproof_meeting"
"""The attribute by which a report carries its meeting from the process that ran the test."""
PLAN = pytest.StashKey[Plan]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option through which the runner speaks."""
    parser.addoption("--fault-plan", help="for ./run prove alone")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Put the faulty cells in the place of the profile's own."""
    plan = Plan(**json.loads(Path(config.getoption("fault_plan")).read_text()))
    config.stash[PLAN] = plan
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Messenger(plan.results))
    supply = config.stash[BENCH].supply
    assert isinstance(supply, ForkSupply)
    launcher = supply.launcher
    try:
        profile = load_profile(config.getoption("profile"))
        wanted = {name for name, _ in plan.meetings}
        declared = load_faults(Path(plan.faults)).values()
        known = {fault.name: fault for one in declared for fault in (one, one.control())}
        faults = [fault for name, fault in known.items() if name in wanted]
        cells = tuple(fault.cell_of(profile) for fault in faults)
    except NicproofError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[BENCH] = Bench(cells, ForkSupply(FaultyLauncher(launcher.qemu, launcher.accel)))


def _case(item: pytest.Item, cell: FaultyCell) -> str:
    file, _, rest = test_name(item.nodeid, cell.id).partition("::")
    return f"{PurePosixPath(file).name}::{rest}"


def _cell(item: pytest.Item) -> FaultyCell | None:
    cell = cell_of(item)
    return cell if isinstance(cell, FaultyCell) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave only the meetings that the runner wants."""
    meetings = set(map(tuple, config.stash[PLAN].meetings))

    def wanted(item: pytest.Item) -> bool:
        if (cell := _cell(item)) is None:
            return False
        case = _case(item, cell)
        return any((cell.fault.name, name) in meetings for name in (case, case.partition("[")[0]))

    items[:] = [item for item in items if wanted(item)]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, TestReport, TestReport]:
    """Judge the test itself, after its verdict has been found."""
    report = yield
    cell = _cell(item)
    if cell is not None and (call.when == "call" or (call.when == "setup" and not report.passed)):
        ruling, why = _judge(item, call, report)
        seconds = round(call.duration, 1)
        meeting = Meeting(cell.fault.name, _case(item, cell), ruling == "green", ruling == "red", why, seconds)
        setattr(report, MEETING, asdict(meeting))
    return report


def _judge(
    item: pytest.Item, call: pytest.CallInfo[None], report: TestReport
) -> tuple[Literal["red", "green", "neither"], str]:
    """Return whether the test's own assertion failed, or all of them held, and a line about it.

    Neither an error of the harness nor a crash of the guest is the test's merit. A known issue excuses nothing, and it
    accuses nobody: on a mended cable, a test passes that the ledger has fail.
    """
    verdict = getattr(report, VERDICT)
    message = str(verdict["message"])
    if verdict["crashed"]:
        return "neither", f"crash: {message}"
    if call.when != "call" or verdict["outcome"] == "error":
        return "neither", f"error: {message}"
    if call.excinfo is None:
        return "green", "passed"
    error = call.excinfo.value
    words = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if not isinstance(error, AssertionError | pytest.fail.Exception):
        return "neither", f"{'skipped' if report.skipped else type(error).__name__}: {words}"
    raised = [entry for entry in call.excinfo.traceback if not entry.ishidden(call.excinfo)][-1]
    if Path(raised.path).parent != item.path.parent:
        return "neither", f"not the test's own assertion: {words} ({raised.path}:{raised.lineno + 1})"
    return "red", words


class Messenger:
    """Sends what became of each meeting to the runner, from the process that the runner started."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def pytest_runtest_logreport(self, report: TestReport) -> None:
        """Send a meeting as one line."""
        if (meeting := getattr(report, MEETING, None)) is not None:
            os.write(self._descriptor, (json.dumps(meeting) + "\n").encode())
