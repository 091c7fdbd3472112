"""Runs pytest with nicproof's plugin in another process, on a suite that the test writes: as a user would."""

import os
import re
import select
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import rundir
from harness.image.linux import RootTar
from harness.image.root import debian_root
from harness.launcher import Launcher
from harness.qemu.accel import choose_accel
from harness.qemu.binary import find_qemu
from tests.own_driver import MODULE

PROJECT = Path(__file__).resolve().parents[1]
DEADLINE_S = 300.0
"""For anything that may have to build a guest image first on a busy machine."""

_CONFTEST = """
import os
from pathlib import Path

pytest_plugins = ["harness.plugin"]


def pytest_configure(config):
    with Path({pids!r}).open("a") as file:
        file.write(f"{{os.getpid()}}\\n")
"""


def wait_until(what: str, true: Callable[[], object], deadline_s: float = 60.0) -> None:
    """Wait for what can only be asked for again and again: a process's end, what firmware has done."""
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, f"{what} did not come within {deadline_s:g} s"
        time.sleep(0.05)


def clean_environment() -> dict[str, str]:
    """Return the environment for another pytest: without what this one, or its run, has put there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "NICPROOF_PROGRESS"))}
    return {**kept, "PYTHONPATH": str(PROJECT)}


@dataclass(frozen=True)
class Case:
    """A test case of a JUnit file: "passed", "failure", "error" or "skipped", and the message."""

    outcome: str
    message: str
    text: str


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    status: int
    output: str
    junit: Path

    @property
    def cases(self) -> dict[str, Case]:
        """Every test case of the report by its name."""
        return _cases_in(self.junit)


def _cases_in(junit: Path) -> dict[str, Case]:
    found = {}
    for case in ET.parse(junit).getroot().iter("testcase"):
        what = next((part for part in case if part.tag in ("failure", "error", "skipped")), None)
        outcome = "passed" if what is None else what.tag
        message, text = ("", "") if what is None else (what.get("message", ""), what.text or "")
        found[case.get("name", "")] = Case(outcome, message, text)
    return found


class Run:
    """A run of pytest that goes on in the background, in a session of its own as in a terminal of its own."""

    def __init__(self, home: Path, suite: str, options: tuple[str, ...]) -> None:
        self._home = home
        self._pids = home / "pids"
        self._marks = home / "marks"
        home.mkdir()
        self._go = home / "go"
        os.mkfifo(self._marks)
        os.mkfifo(self._go)
        self._marked = os.open(self._marks, os.O_RDWR | os.O_NONBLOCK)
        (home / "conftest.py").write_text(_CONFTEST.format(pids=str(self._pids)))
        places = {"MARKS": repr(str(self._marks)), "GO": repr(str(self._go))}
        suite = re.sub(r"\b(MARKS|GO)\b", lambda word: places[word[0]], textwrap.dedent(suite))
        (home / "test_it.py").write_text(suite)
        self.options = options
        at = options.index("--reports") + 1 if "--reports" in options else None
        self.reports = Path(options[at]) if at else home / "reports"
        command = [sys.executable, "-m", "pytest", str(home), "--rootdir", str(home), "-p", "no:cacheprovider", "-v"]
        with (home / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *(() if at else ("--reports", str(self.reports))), *options],
                cwd=home,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return (self._home / "output").read_text(errors="replace")

    def wait_mark(self) -> str:
        """Wait until a test of the suite writes a line to MARKS, and return it."""
        ready, _, _ = select.select([self._marked], [], [], DEADLINE_S)
        assert ready, f"the suite did not come to its mark within {DEADLINE_S:g} s:\n{self.output}"
        return os.read(self._marked, 4096).decode().strip()

    def wait_passed(self, name: str) -> None:
        """Wait until the report says that a test has passed: a worker goes on while its word of that is on its way."""
        wait_until(f"the verdict of {name}", lambda: _cases_in(self.junit)[name].outcome == "passed")

    @property
    def junit(self) -> Path:
        """The report; it is there once a test runs."""
        profile = self.options[self.options.index("--profile") + 1]
        return self.reports / Path(profile).name.removesuffix(".yaml") / "junit.xml"

    def go_on(self) -> None:
        """Let a test of the suite go on that reads from GO."""
        self._go.write_text("go")

    def interrupt(self) -> None:
        """Do what Ctrl-C in a terminal does: SIGINT to every process of the run."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self) -> Ended:
        """Wait for the end."""
        try:
            status = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the run did not end within {DEADLINE_S:g} s:\n{self.output}")
        return Ended(status, self.output, self.junit)

    def guests(self) -> list[str]:
        """Return the command lines of QEMU processes that run in this run's directories."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if any(f"/.runs/{pid}-" in line for pid in self._makers()):
                found.append(line)
        return found

    def directories(self) -> list[Path]:
        """Return the directories that this run's processes have made for guests and that are there."""
        return [path for path in rundir.directories() if path.name.partition("-")[0] in self._makers()]

    def _makers(self) -> list[str]:
        return self._pids.read_text().split() if self._pids.exists() else []

    def close(self) -> None:
        """End whatever is left of it."""
        for pid in (self.process.pid, *map(int, self._makers())):
            try:
                if os.getsid(pid) == self.process.pid:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(30)
        os.close(self._marked)


@pytest.fixture(scope="module")
def launcher() -> Launcher:
    """Return one that emulates, so that whoever has KVM tests the same."""
    qemu = find_qemu()
    return Launcher(qemu, choose_accel(qemu, "tcg"))


@pytest.fixture(scope="module")
def guest_kernel(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str], Path]:
    """The guest kernel's release, its modules.dep, and its own e1000e as a file."""
    with tarfile.open(debian_root("trixie", with_kernel=True)) as tar:
        root = RootTar(tar)
        (index,) = (name for name in root.names(root.modules) if name.endswith("/modules.dep"))
        tree = index.removesuffix("/modules.dep")
        file = tmp_path_factory.mktemp("driver") / "e1000e.ko"
        file.write_bytes(root.read(f"{tree}/{MODULE}"))
        return tree.rpartition("/")[2], root.read(index).decode().splitlines(), file


Start = Callable[..., Run]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a run: `start(suite, "--profile", ...)`; in the suite, MARKS and GO are files to tell and to be told."""
    runs: list[Run] = []

    def begin(suite: str, *options: str) -> Run:
        runs.append(Run(tmp_path_factory.mktemp("run") / "home", suite, options))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()
