"""What `./run prove` says of a test and its faults: only the test's own failed assertion, under a fault, is a proof."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from harness.cell import find_cell
from harness.errors import InputError, NicproofError
from harness.fault import Fault, load_faults
from harness.fault_plugin import Meeting
from harness.prove import ROOT, Pair, functions_in, plan_pairs, prove

SUITE = """
import pytest

from harness.errors import NicproofError, Unsupported
from harness.suite import applies_to


def test_link(guest):
    assert guest.link().up, "expected the link up"


@pytest.mark.parametrize("number", [1, 2])
def test_even(guest, number):
    assert guest.link().up or number % 2 == 0, f"expected the link up or {number} even"


def test_harness_breaks(guest):
    if not guest.link().up:
        raise NicproofError("the endpoint is gone")


def test_skips(guest):
    if not guest.link().up:
        raise Unsupported("the link is down")


def test_command_fails(testbed):
    testbed.connect().check("grep 1 /sys/class/net/eth1/carrier")


def test_foreign_assertion(testbed):
    testbed.cell.fault.complain()


def test_crashes(testbed):
    testbed.connect().check("echo 'BUG: a fault of the kernel' >/dev/console")
    assert testbed.vm.console.wait_for("BUG: ", 10) is None


@applies_to(lambda cell: cell.nic.name == "igb")
def test_elsewhere(guest):
    assert guest.link().up


def test_bare(guest):
    assert guest.link().up


def test_always_red(guest):
    assert not guest.link().up, "expected the link down"
    assert False, "expected the impossible"
"""

FAULTS = """
from harness.fault import Fault
from harness.testbed import Testbed


class Complaining(Fault):
    def complain(self):
        assert False, "the harness is wrong"


def down(bed: Testbed) -> None:
    ssh = bed.connect()
    ssh.check("ip link set eth1 down")
    ssh.close()


def breaks(bed: Testbed) -> None:
    raise AssertionError("the tampering itself is wrong")


BROKEN = ("even", "harness_breaks", "skips", "command_fails", "crashes", "elsewhere", "always_red")
FAULTS = (
    Fault("down", "e1000e/msix", ("test_real.py::test_link",), tampered=down),
    Fault("down too", "e1000e/msix", tuple(f"test_real.py::test_{name}" for name in BROKEN), tampered=down),
    Fault("inert", "e1000e/msix", ("test_real.py::test_link",)),
    Fault("breaks", "e1000e/msix", ("test_real.py::test_link",), tampered=breaks),
    Complaining("complains", "e1000e/msix", ("test_real.py::test_foreign_assertion",)),
)
"""


def only_down(faults: str) -> str:
    """Return the declarations up to the first fault."""
    return faults.partition('    Fault("down too"')[0] + ")\n"


def make(folder: Path, suite: str, faults: str) -> tuple[Path, Path]:
    for name, text in (("suites/test_real.py", suite), ("faults/guest.py", faults)):
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    return folder / "suites", folder / "faults"


def run(suites: Path, faults: Path, *, wanted: str = "", sample: int | None = None) -> tuple[bool, str]:
    console = Console(file=io.StringIO(), width=300)
    proved = prove(
        suites, faults, console, wanted=wanted, sample=sample, seed="s", pytest_options=["--profile=linux", "-n0"]
    )
    assert isinstance(console.file, io.StringIO)
    return proved, console.file.getvalue()


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, str]:
    """What is printed about a suite with a fault of every sort."""
    return run(*make(tmp_path_factory.mktemp("prove"), SUITE, FAULTS))


def row(printed: str, test: str, fault: str) -> list[str]:
    """Return a row of the table: test, fault, cases, went red, what it said."""
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in printed.splitlines()]
    found = [cells for cells in rows if cells[:2] == [f"test_real.py::test_{test}", fault]]
    assert len(found) == 1, printed
    return found[0]


def test_failed_assertion_of_the_test_is_red(met: tuple[bool, str]) -> None:
    assert row(met[1], "link", "down")[2:] == ["1", "yes", "expected the link up"]


def test_inert_fault_is_reported_and_fails_the_run(met: tuple[bool, str]) -> None:
    assert row(met[1], "link", "inert")[2:] == ["1", "no", "test_link: passed"]
    assert not met[0]


def test_test_that_is_red_anyhow_is_not_proved(met: tuple[bool, str]) -> None:
    _, _, cases, went_red, words = row(met[1], "always_red", "down too")
    assert (cases, went_red) == ("1", "no")
    assert words == "test_always_red is not green without the fault either: expected the link down"


def test_every_case_must_go_red(met: tuple[bool, str]) -> None:
    assert row(met[1], "even", "down too")[2:] == ["2", "no", "test_even[2]: passed"]


@pytest.mark.parametrize(
    ("test", "fault", "said"),
    [
        ("harness_breaks", "down too", "error: the endpoint is gone"),
        ("skips", "down too", "skipped: the link is down"),
        ("command_fails", "down too", "CommandFailed: in the guest, 'grep 1 /sys/class/net/eth1/carrier' ended with"),
        ("foreign_assertion", "complains", "not the test's own assertion: the harness is wrong"),
        ("crashes", "down too", "crash: the guest broke: BUG: a fault of the kernel"),
        ("link", "breaks", "error: AssertionError: the tampering itself is wrong"),
    ],
)
def test_nothing_else_is_red(met: tuple[bool, str], test: str, fault: str, said: str) -> None:
    _, _, cases, went_red, words = row(met[1], test, fault)
    assert (cases, went_red) == ("1", "no")
    assert words.startswith(f"test_{test}: {said}")


def test_test_that_did_not_run_is_not_red(met: tuple[bool, str]) -> None:
    assert row(met[1], "elsewhere", "down too")[2:4] == ["0", "no"]


def test_test_without_a_fault_is_listed_and_fails_the_run(met: tuple[bool, str], tmp_path: Path) -> None:
    assert row(met[1], "bare", "none is declared")[2:] == ["0", "no"]
    proved, printed = run(*make(tmp_path, "def test_bare(guest):\n    pass\n", "FAULTS = ()\n"))
    assert not proved
    assert printed.splitlines()[-1] == "1 tests, 0 meetings with a fault, 0 not red, 1 tests without a fault"


def test_only_red_ones_make_the_run_succeed(tmp_path: Path) -> None:
    suite, _, _ = SUITE.partition("@pytest.mark.parametrize")
    proved, printed = run(*make(tmp_path, suite, only_down(FAULTS)))
    assert proved, printed


def test_progress_is_told_as_it_goes(met: tuple[bool, str]) -> None:
    told = [line.partition(" (")[0] for line in met[1].splitlines() if " | " in line]
    assert "red: test_real.py::test_link | down" in told
    assert "green: test_real.py::test_link | no fault on e1000e/msix" in told
    assert "green: test_real.py::test_even[2] | down too" in told
    assert "neither red nor green: test_real.py::test_skips | down too" in told


def test_known_issue_excuses_nothing(tmp_path: Path) -> None:
    """An entry of the ledger covers the cell's failures, but not those that a fault makes on it."""
    suite = 'def test_mode(guest):\n    assert guest.link().up, "expected the link up"\n'
    faults = FAULTS.replace("e1000e/msix", "e1000e/msi").replace("real.py::test_link", "interrupts.py::test_mode")
    suites, declared = make(tmp_path, suite, only_down(faults))
    (suites / "test_real.py").rename(suites / "test_interrupts.py")
    proved, printed = run(suites, declared)
    assert proved, printed


def test_fault_for_a_test_that_does_not_exist_is_a_mistake() -> None:
    fault = Fault("down", "e1000e/msix", ("test_a.py::test_lnk",))
    with pytest.raises(InputError, match=r"fault 'down': no such test test_a\.py::test_lnk; nearest: .*::test_link"):
        plan_pairs(["test_a.py::test_link"], [fault])


def test_fault_on_a_cell_that_does_not_exist_is_a_mistake() -> None:
    profile = find_cell("linux/e1000e/msix").profile
    with pytest.raises(InputError, match="e1000/msix"):
        Fault("down", "e1000/msix", ()).cell_of(profile)


def test_two_faults_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    twice = "from harness.fault import Fault\nFAULTS = (Fault('a', 'b', ()), Fault('a', 'c', ()))\n"
    _, faults = make(tmp_path, "", twice)
    with pytest.raises(InputError, match="two faults are called 'a'"):
        load_faults(faults)


def test_unknown_profile_is_told_in_pytests_own_words(tmp_path: Path) -> None:
    suites, faults = make(tmp_path, SUITE, FAULTS)
    with pytest.raises(NicproofError, match="profile 'linx': no such profile; nearest: linux"):
        prove(suites, faults, Console(file=io.StringIO()), wanted="inert", pytest_options=["--profile=linx", "-n0"])


def test_text_that_fits_nothing_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="-k zzz: no test"):
        run(*make(tmp_path, SUITE, FAULTS), wanted="zzz")


def test_sample_is_the_same_for_the_same_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def meet(pairs: list[Pair], *_: object) -> tuple[Meeting, ...]:
        asked.append([f"{pair.test} {pair.fault.name}" for pair in pairs])
        return ()

    monkeypatch.setattr("harness.prove.meet", meet)
    suites, faults = make(tmp_path, SUITE, FAULTS)
    for _ in range(2):
        run(suites, faults, sample=3)
    assert len(asked[0]) == 3
    assert asked[0] == asked[1]


def test_interrupt_leaves_no_guest_and_no_pytest(tmp_path: Path) -> None:
    suites, faults = make(tmp_path, SUITE, FAULTS)
    program = (
        "import pathlib, rich.console, harness.prove as p\n"
        f"p.prove(pathlib.Path({str(suites)!r}), pathlib.Path({str(faults)!r}), rich.console.Console(),\n"
        "        pytest_options=['--profile=linux', '-n0'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip(), "expected a first line of progress"
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert not list(tmp_path.glob("nicproof-prove-*"))


def test_every_committed_test_has_a_fault() -> None:
    """The whole proof takes long; that none was forgotten is told at once."""
    _, bare = plan_pairs(functions_in(ROOT / "suites"), list(load_faults(ROOT / "tests" / "faults").values()))
    assert bare == []
