"""Judges each test where it ran: what its outcome means, and what is kept for the person who looks into a failure.

Runs in the process that runs the tests. The verdict travels to the controller inside pytest's own report.
"""

import datetime
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import pytest
from _pytest.reports import TestReport
from packaging.version import Version

from harness import rundir
from harness.cell import Cell
from harness.driver_install import DriverRefused
from harness.endpoint.cable import CableStuck
from harness.errors import NicproofError, Unsupported
from harness.guest.base import Guest
from harness.guest.transport import CommandFailed
from harness.lending import Lender, cell_of
from harness.report.artifacts import Artifacts
from harness.report.known_issues import load_ledger
from harness.report.performance import Measurement
from harness.report.verdict import Outcome, Verdict
from harness.requirements import load_documents, not_binding
from harness.testbed import Testbed

VERDICT = "nicproof_verdict"
FACTS = "nicproof_facts"
KEPT = "nicproof_kept"
MEASURED = "nicproof_measured"
"""Attributes of pytest's report that carry a verdict, what became known of the cell, how to get into the guest that was
kept, and what the test measured; they cross process borders."""
MEASUREMENTS = pytest.StashKey[list[Measurement]]()
"""What a test has measured, on its item."""


def test_name(node_id: str, cell_id: str) -> str:
    """Return a node id without its cell: `suites/test_a.py::test_b[60]` of `...::test_b[linux/e1000/intx-60]`."""
    head, bracket, inside = node_id.partition("[")
    if not bracket:
        return node_id
    inside = inside.rpartition("]")[0]
    rest = inside.removeprefix(cell_id).removesuffix(cell_id).strip("-")
    return f"{head}[{rest}]" if rest else head


@contextmanager
def _interrupts_pass() -> Iterator[None]:
    """Raise an interrupt as such, though another error came of it.

    One that hits a wait just when it has let go of its lock ends as "cannot release un-acquired lock" (threading's
    Condition), which would be an error of the test, and the run would go on.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise


class Examiner:
    """Watches what becomes of testbeds, and turns pytest's outcomes into verdicts.

    Attributes:
        lender: who hands the testbeds out.
        facts: what became known of a cell and is not yet reported.
    """

    def __init__(self, config: pytest.Config, qemu_version: Version | None) -> None:
        self._config = config
        self.lender = Lender(config.getoption("isolation"))
        self._qemu_version = qemu_version
        self._ledger = load_ledger()
        self._documents = load_documents()
        self._kernel: dict[str, str] = {}
        self._before: dict[str, dict[str, str]] = {}
        self._bed: Testbed | None = None
        self._ended_well, self._outcome_seen = True, Outcome.PASSED
        self._kept = ""
        self.facts: dict[str, dict[str, str]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Have the lender know what this test needs and what the next is about."""
        self.lender.begin(item, nextitem)

    def attend(self, bed: Testbed) -> None:
        """Begin a test on `bed`; what is known of a pristine guest is noted once for each cell."""
        self._bed = bed
        self._ended_well, self._outcome_seen = True, Outcome.PASSED
        if bed.cell.id in self._before:
            return
        facts = {"machine": bed.place(), "kernel": "unknown", "driver": "unknown"}
        try:
            facts["kernel"] = bed.kernel() or "unknown"
            if bed.guest.claims:
                self._kernel[bed.cell.id] = facts["kernel"]
                driver = bed.guest.driver()
                facts |= {"driver": driver.name, "driver version": driver.version}
            if (package := bed.driver_package) is not None:
                facts |= {"driver package": f"{package.name} {package.version} of {package.provider}"}
                facts |= {"driver signature": package.signature}
        except NicproofError as error:
            facts["driver"] = f"unknown: {error}"
        self.facts.setdefault(bed.cell.id, {}).update(facts)
        self._before[bed.cell.id] = _state(bed)

    def release(self, bed: Testbed) -> None:
        """End a test on `bed`: keep its guest for the user, pass it on to the next test, or end it."""
        if not self._ended_well and self._config.getoption("keep") and bed.death() is None:
            rundir.keep(bed.vm.directory)
            self._kept = f"{bed.cell.id}: the guest is kept. {how_to_get_in(bed)}"
        elif self._ended_well and not _broken(bed):
            self.lender.take_back(bed, self._outcome_seen)
        else:
            bed.close()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """End the guest that no test uses any more; last, as an interrupted test gives its guest back only now."""
        self.lender.close()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None]:
        """Let an interrupt be one."""
        with _interrupts_pass():
            yield

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None]:
        """Let an interrupt be one."""
        with _interrupts_pass():
            yield

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None]:
        """Let an interrupt be one."""
        with _interrupts_pass():
            yield

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, TestReport, TestReport]:
        """Give the report its verdict."""
        if call.excinfo is not None and isinstance(call.excinfo.value, Unsupported):
            # What pytest knows as a skip: of anything else it would make a traceback, which costs more than most tests.
            unsupported = call.excinfo.value
            skip = pytest.skip.Exception(str(unsupported)).with_traceback(unsupported.__traceback__)
            call.excinfo = pytest.ExceptionInfo.from_exception(skip)
        report = yield
        cell = cell_of(item)
        if cell is None:
            return report
        ended = call.when == "teardown"
        broke_late = ended and self._ended_well and self._bed is not None and _broken(self._bed)
        if call.when == "call" or not report.passed or broke_late:
            verdict = self._judge(item, call, report, cell)
            self._apply(report, verdict)
        setattr(report, FACTS, self.facts.pop(cell.id, {}))
        if call.when == "call":
            setattr(report, MEASURED, [asdict(one) for one in item.stash.get(MEASUREMENTS, [])])
        if ended:
            setattr(report, KEPT, self._kept)
            self._bed, self._kept = None, ""
        return report

    def _judge(self, item: pytest.Item, call: pytest.CallInfo[None], report: TestReport, cell: Cell) -> Verdict:
        test = test_name(item.nodeid, cell.id)
        outcome, message, crashed = self._outcome(call)
        artifacts = Artifacts(Path(self._config.getoption("reports")), cell.id, test)
        if call.when == "call":
            artifacts.clear()
        verdict = self._ledger.judge(
            Verdict(
                cell_id=cell.id,
                test=test,
                outcome=outcome,
                seconds=call.duration,
                message=message,
                details=report.longreprtext if report.failed else "",
                stdout=report.capstdout + report.caplog,
                requirements=self._clauses(item, cell),
                properties={name: str(value) for name, value in item.user_properties},
                crashed=crashed,
            ),
            cell.profile.os,
            self._qemu_version,
            self._kernel.get(cell.id),
            datetime.date.today(),
        )
        self._ended_well = verdict.outcome in (Outcome.PASSED, Outcome.SKIPPED) and not crashed
        self._outcome_seen = outcome
        if verdict.outcome in (Outcome.FAILED, Outcome.ERROR):
            self._collect(artifacts, item, cell, ask=call.when != "teardown")
        return verdict

    def _clauses(self, item: pytest.Item, cell: Cell) -> tuple[str, ...]:
        """Return the clauses that a test checks on this cell; a suite from outside may name one of no document."""
        others = not_binding(self._documents, cell)
        return tuple(name for mark in item.iter_markers("requirement") for name in mark.args if name not in others)

    def _outcome(self, call: pytest.CallInfo[None]) -> tuple[Outcome, str, bool]:
        """Return outcome, message and whether something crashed."""
        bed = self._bed
        if bed is not None and (crash := bed.crash()) is not None:
            return Outcome.FAILED, f"the guest broke: {crash}", True
        if bed is not None and (death := bed.death()) is not None:
            return (Outcome.FAILED if bed.device_crashed else Outcome.ERROR), death, bed.device_crashed
        error = call.excinfo.value if call.excinfo is not None else None
        if error is None:
            return Outcome.PASSED, "", False
        message = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if isinstance(error, pytest.skip.Exception):
            return Outcome.SKIPPED, message, False
        if isinstance(error, DriverRefused):  # before any test: a driver that is not in use passes none
            return Outcome.FAILED, message, False
        if call.when == "call" and isinstance(
            error, AssertionError | pytest.fail.Exception | CommandFailed | CableStuck
        ):
            return Outcome.FAILED, message, False
        if isinstance(error, NicproofError):
            return Outcome.ERROR, message, False
        return Outcome.ERROR, f"{type(error).__name__}: {message}", False

    def _apply(self, report: TestReport, verdict: Verdict) -> None:
        """Make pytest's report say what the verdict says, and carry it."""
        match verdict.outcome:
            case Outcome.PASSED:
                report.outcome = "passed"
            case Outcome.SKIPPED:
                report.outcome = "skipped"
                report.longrepr = (report.location[0], report.location[1] or 0, f"Skipped: {verdict.message}")
            case _:
                report.outcome = "failed"
                if not report.longrepr or verdict.message not in report.longreprtext:
                    report.longrepr = "\n\n".join(part for part in (verdict.message, report.longreprtext) if part)
        carried = {
            "cell_id": verdict.cell_id,
            "test": verdict.test,
            "outcome": str(verdict.outcome),
            "seconds": verdict.seconds,
            "message": verdict.message,
            "details": verdict.details,
            "stdout": verdict.stdout,
            "requirements": list(verdict.requirements),
            "properties": dict(verdict.properties),
            "known_issue": verdict.known_issue,
            "artifacts": str(verdict.artifacts) if verdict.artifacts else None,
            "crashed": verdict.crashed,
        }
        setattr(report, VERDICT, carried)

    def _collect(self, artifacts: Artifacts, item: pytest.Item, cell: Cell, *, ask: bool) -> None:
        """Keep what explains a failure; what a guest that is gone or dead cannot tell any more is left out."""
        artifacts.write_reproduce(reproduce(self._config, self.lender.served or [item.nodeid], cell))
        bed = self._bed
        if bed is None:
            for name, content in self.lender.last_words.get(cell.id, {}).items():
                artifacts.write(name, content)
            return
        for name, content in bed.papers().items():
            artifacts.write(name, content)
        bed.cable.save(artifacts.path / "cable.pcapng")
        for name, text in self._before.get(cell.id, {}).items():
            artifacts.write(f"{name}-before.txt", text)
        if not ask:
            return
        for name, text in _state(bed).items():
            artifacts.write(f"{name}-after.txt", text)
        if bed.panicked:
            return  # the console has it all
        try:
            artifacts.write("kernel.log", bed.guest.log())
        except NicproofError as error:
            artifacts.write("kernel.log", f"not to be had: {error}\n")


def _broken(bed: Testbed) -> bool:
    """Whether the guest or its QEMU broke."""
    return bed.crash() is not None or bed.death() is not None


def _state(bed: Testbed) -> dict[str, str]:
    """Return what counters and interrupts say now, as text by name."""
    state: dict[str, str] = {}
    try:
        with suppress(Unsupported):
            state["device"] = f"{bed.function()}\n{bed.line()}\n"
        if bed.panicked:
            return state
        guest: Guest = bed.guest
        if guest.claims:
            claim = guest.interrupts()
            state["interrupts"] = f"{claim}\n" + "".join(
                f"{vector.irq} {vector.name} {' '.join(map(str, vector.counts))}\n" for vector in claim.vectors
            )
            state["counters"] = "".join(f"{name} {value}\n" for name, value in guest.counters().items())
    except NicproofError as error:
        state["incomplete"] = f"{error}\n"
    return state


def reproduce(config: pytest.Config, node_ids: Sequence[str], cell: Cell) -> list[str]:
    """Return the command that runs a test again, behind those that its guest had served, on the same QEMU."""
    names = ("profile", "qemu", "accel", "kernel", "modules", "endpoint", "dut", "isolation")
    chosen = [f"--{name}={value}" for name in names if (value := config.getoption(name))]
    chosen += [f"--driver={given}" for given in config.getoption("driver")]
    return ["./run", "pytest", *node_ids, *chosen, f"--nic={cell.nic.name}", f"--irq={cell.mode}", "-n", "0"]


def how_to_get_in(bed: Testbed) -> str:
    """Say how a person gets into a running guest, and how to end it."""
    end = f"End it: kill {bed.vm.pid}"
    if bed.cell.profile.control != "ssh" or bed.image.ssh_key is None:
        return f"Nobody can log in; its console: {bed.vm.directory / 'console.log'}. {end}"
    ssh = (
        f"ssh -i {bed.image.ssh_key} -p {bed.ssh_port()} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
        f"{bed.image.user}@127.0.0.1"
    )
    return f"Get in: {ssh}\n{end}"
