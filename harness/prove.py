"""`./run prove`: every check can go red.

Runs each test of `suites/` against the faults that `tests/faults/` declares for it, and once against none: a test that
is red anyhow proves nothing. The run fails if no fault is declared for a test, or if any case of a test meets its fault
and does not go red.
"""

import datetime
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import InputError, NicproofError
from harness.fault import Fault, load_faults
from harness.fault_plugin import Meeting, Plan
from harness.requirements import tests_in
from harness.yaml_source import nearest

ROOT = Path(__file__).resolve().parents[1]
INTERRUPT_DEADLINE_S = 60


@dataclass
class Pair:
    """A test, as a fault names it, and that fault."""

    test: str
    fault: Fault
    meetings: list[Meeting] = field(default_factory=list)
    without: list[Meeting] = field(default_factory=list)
    """The same without the fault; none where the test is not about this cell, which a fault may hide from it."""

    @property
    def red(self) -> bool:
        """Whether every case of the test went red, and none without the fault."""
        met = self.meetings and all(meeting.red for meeting in self.meetings)
        return bool(met) and all(meeting.green for meeting in self.without)

    @property
    def words(self) -> str:
        """The first case's own words, or the first that is not as it should be."""
        for meeting in self.meetings:
            if not meeting.red:
                return f"{_function(meeting)}: {meeting.why}"
        for meeting in self.without:
            if not meeting.green:
                return f"{_function(meeting)} is not green without the fault either: {meeting.why}"
        return self.meetings[0].why if self.meetings else "did not run: the test has no such case on this cell"


def _function(meeting: Meeting) -> str:
    return meeting.case.partition("::")[2]


def functions_in(suites: Path) -> tuple[str, ...]:
    """Return every test function in a folder, such as "test_traffic.py::test_order"."""
    return tuple(test.name for test in tests_in(suites))


def plan_pairs(tests: Sequence[str], faults: Sequence[Fault]) -> tuple[list[Pair], list[str]]:
    """Return what is to be run, and the tests that no fault is declared for.

    Raises:
        InputError: a fault names a test that does not exist.
    """
    pairs = [Pair(test, fault) for fault in faults for test in fault.tests]
    for pair in pairs:
        if (function := pair.test.partition("[")[0]) not in tests:
            raise InputError(f"fault {pair.fault.name!r}: no such test {function}; {nearest(function, tests)}")
    covered = {pair.test.partition("[")[0] for pair in pairs}
    order = {test: place for place, test in enumerate(tests)}
    pairs.sort(key=lambda pair: order[pair.test.partition("[")[0]])
    return pairs, [test for test in tests if test not in covered]


def meet(pairs: Sequence[Pair], suites: Path, faults: Path, pytest_options: Sequence[str]) -> Iterator[Meeting]:
    """Run pytest for `pairs` and yield what becomes of each case, as it becomes known.

    Raises:
        NicproofError: pytest could not do its work; with its last words.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory(prefix="nicproof-prove-") as folder, open(reading) as results:
        meetings = [(fault.name, pair.test) for pair in pairs for fault in (pair.fault, pair.fault.control())]
        plan = Plan(str(faults), list(dict.fromkeys(meetings)), writing)
        file, output = Path(folder, "plan.json"), Path(folder, "output")
        file.write_text(json.dumps(asdict(plan)))
        command = [
            *(sys.executable, "-m", "pytest", str(suites), f"--rootdir={ROOT}", f"--confcutdir={ROOT}"),
            *("-p", "harness.plugin", "-p", "harness.fault_plugin", f"--fault-plan={file}"),
            "--isolation=fork",
            *(f"--reports={folder}/reports", *pytest_options),
        ]
        with output.open("wb") as everything:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=everything, stderr=everything, stdin=subprocess.DEVNULL, pass_fds=[writing]
            )
        os.close(writing)
        try:
            for line in results:
                yield Meeting(**json.loads(line))
            process.wait()
        finally:
            _end(process)
        words = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
        broken = [line for line in words if line.startswith("INTERNALERROR")]
        if broken or process.returncode not in (0, 1):
            last = (broken or words or ["no output"])[-1]
            if last.startswith("ERROR: "):
                raise InputError(last.removeprefix("ERROR: "))
            raise NicproofError(f"pytest ended with status {process.returncode}: {last}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have pytest end its guests; on Ctrl-C it has had the signal too, and a second one would cut it short."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(INTERRUPT_DEADLINE_S if isinstance(sys.exception(), KeyboardInterrupt) else 0)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(INTERRUPT_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()


def prove(
    suites: Path,
    faults: Path,
    console: Console,
    *,
    wanted: str = "",
    sample: int | None = None,
    seed: str = "",
    pytest_options: Sequence[str] = (),
) -> bool:
    """Run the tests of `suites` against the faults of `faults` and print what went red.

    Args:
        suites: folder of tests.
        faults: folder of declarations.
        console: where to print.
        wanted: only what has this text in the name of its test, fault or cell.
        sample: only that many pairs, chosen at random by `seed`.
        seed: what the choice depends on.
        pytest_options: profile, QEMU and so on.

    Returns:
        Whether everything went red that was to.
    """
    pairs, bare = plan_pairs(functions_in(suites), list(load_faults(faults).values()))
    pairs = [pair for pair in pairs if any(wanted in text for text in (pair.test, pair.fault.name, pair.fault.cell))]
    bare = [test for test in bare if wanted in test]
    if not pairs and not bare:
        raise InputError(f"-k {wanted}: no test, no fault and no fault's cell has that in its name")
    if sample is not None and sample < len(pairs):
        console.print(Text(f"a sample of {sample} of {len(pairs)}, by the seed {seed}"))
        chosen = set(random.Random(seed).sample(range(len(pairs)), sample))
        pairs = [pair for place, pair in enumerate(pairs) if place in chosen]
    for meeting in meet(pairs, suites, faults, pytest_options) if pairs else ():
        _note(meeting, pairs)
        said = "red" if meeting.red else "green" if meeting.green else "neither red nor green"
        console.print(Text(f"{said}: {meeting.case} | {meeting.fault} ({meeting.seconds:g} s)"))
    _show(console, pairs, bare)
    return not bare and all(pair.red for pair in pairs)


def _note(meeting: Meeting, pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        if pair.test in (meeting.case, meeting.case.partition("[")[0]):
            if meeting.fault == pair.fault.name:
                pair.meetings.append(meeting)
            elif meeting.fault == pair.fault.control().name:
                pair.without.append(meeting)


def _show(console: Console, pairs: Sequence[Pair], bare: Sequence[str]) -> None:
    table = Table(box=box.ROUNDED if console.is_terminal else None)
    for title in ("test", "fault", "cases", "went red", "what it said"):
        table.add_column(title, overflow="fold")
    for pair in pairs:
        verdict = Text("yes", "green") if pair.red else Text("no", "red")
        table.add_row(Text(pair.test), Text(pair.fault.name), str(len(pair.meetings)), verdict, Text(pair.words))
    for test in bare:
        table.add_row(Text(test), "none is declared", "0", Text("no", "red"), "")
    console.print(table)
    functions = {pair.test.partition("[")[0] for pair in pairs} | set(bare)
    failed = sum(not pair.red for pair in pairs)
    counts = f"{len(pairs)} meetings with a fault, {failed} not red, {len(bare)} tests without a fault"
    console.print(f"{len(functions)} tests, {counts}")


app = typer.Typer(add_completion=False)


@app.command()
def main(
    wanted: Annotated[str, typer.Option("-k", metavar="TEXT", help="only what has this in its name")] = "",
    profile: Annotated[str, typer.Option(help="the guest")] = "linux",
    sample: Annotated[int | None, typer.Option(min=1, help="only that many, chosen by the seed")] = None,
    seed: Annotated[str, typer.Option(help="what the sample depends on (default: the day)")] = "",
    processes: Annotated[int, typer.Option("-n", min=1, help="how many guests at once")] = 2,
    qemu: Annotated[str | None, typer.Option(help="which QEMU, as in pytest")] = None,
) -> None:
    """Prove that every check can go red: run each test against its deliberate faults."""
    # Piped into a file, a table keeps its lines whole.
    console = Console() if sys.stdout.isatty() else Console(width=240)
    options = [f"--profile={profile}", f"-n{processes}", *([f"--qemu={qemu}"] if qemu else [])]
    try:
        proved = prove(
            ROOT / "suites",
            ROOT / "tests" / "faults",
            console,
            wanted=wanted,
            sample=sample,
            seed=seed or datetime.date.today().isoformat(),
            pytest_options=options,
        )
    except NicproofError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if proved else 1)


if __name__ == "__main__":
    app()
