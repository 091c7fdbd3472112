"""The ledger of known issues: what an entry covers, what it never covers, and what a mistake in it says."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from packaging.version import Version

from harness.errors import InputError
from harness.report.known_issues import KnownIssue, Ledger, kernel_version, load_ledger
from harness.report.verdict import Outcome, Verdict

ENTRY = """\
known_issues:
  - id: slow-link
    title: the link comes up late
    scope:
      profile: linux*
      nic: [e1000e, igb]
      mode: msi*
      test: [test_link.py::test_up, "test_traffic.py::test_length[6*]"]
      qemu: ">=8.0,<12"
    cause: the PHY's timer is never armed
    owner: nobody@example.org
    expires: 2030-06-30
"""
TODAY = date(2030, 6, 30)
QEMU = Version("10.0.13")


@pytest.fixture
def ledger_of(tmp_path: Path) -> Callable[[str], Ledger]:
    def load(text: str) -> Ledger:
        file = tmp_path / "known_issues.yaml"
        file.write_text(text)
        return load_ledger(file)

    return load


def found(ledger: Ledger, **other: object) -> KnownIssue | None:
    asked: dict[str, object] = {
        "profile": "linux",
        "os": "linux",
        "nic": "e1000e",
        "mode": "msix",
        "test": "suites/test_link.py::test_up",
        "qemu_version": QEMU,
        "kernel_release": "6.12.48+deb13-amd64",
        "today": TODAY,
    }
    return ledger.match(**(asked | other))  # type: ignore[arg-type]


def test_an_entry_covers_all_that_its_scope_names(ledger_of: Callable[[str], Ledger]) -> None:
    ledger = ledger_of(ENTRY)
    for inside in (
        {},
        {"profile": "linux-6.1"},
        {"nic": "igb"},
        {"mode": "msi"},
        {"test": "test_link.py::test_up"},
        {"test": "suites/test_traffic.py::test_length[60]"},
        {"test": "suites/test_link.py::test_up[any-case]"},
        {"qemu_version": Version("11.1.3")},
    ):
        issue = found(ledger, **inside)
        assert issue is not None, inside
        assert issue.id == "slow-link"


@pytest.mark.parametrize(
    "outside",
    [
        {"profile": "ipxe"},
        {"nic": "e1000"},
        {"mode": "intx"},
        {"test": "suites/test_link.py::test_up_again"},
        {"test": "suites/test_traffic.py::test_length[1514]"},
        {"test": "suites/test_traffic.py::test_length6"},  # brackets stand for themselves
        {"qemu_version": Version("7.2")},
        {"qemu_version": Version("12.0")},
        {"today": date(2030, 7, 1)},
    ],
    ids=str,
)
def test_an_entry_covers_nothing_outside_its_scope_or_after_its_last_day(
    ledger_of: Callable[[str], Ledger], outside: dict[str, object]
) -> None:
    assert found(ledger_of(ENTRY), **outside) is None


@pytest.mark.parametrize(
    ("release", "covered"),
    [
        ("6.11.99", False),
        ("6.12.0", True),
        ("6.12.48+deb13-amd64", True),
        ("6.12.0-41-amd64", True),
        ("6.13-rc1", True),
        ("7.0-rc3", False),  # before 7.0, and not a kernel of the 6 series either
        ("7.0.1", False),
        (None, False),
        ("unreadable", False),
    ],
)
def test_a_kernel_range_covers_kernels_whose_version_is_known_and_inside(
    ledger_of: Callable[[str], Ledger], release: str | None, covered: bool
) -> None:
    ledger = ledger_of(ENTRY.replace("      qemu:", '      kernel: ">=6.12,<7.0"\n      qemu:'))
    assert (found(ledger, kernel_release=release) is not None) is covered


def test_without_a_kernel_range_a_kernel_that_nobody_could_ask_is_covered(
    ledger_of: Callable[[str], Ledger],
) -> None:
    assert found(ledger_of(ENTRY), kernel_release=None) is not None


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.12.48+deb13-amd64", "6.12.48"),
        ("6.1.0-40-amd64", "6.1.0"),
        ("7.0-rc3", "7.0rc3"),
        ("6.12.0-rc7-next-20241115", "6.12.0rc7"),
        ("5.10.0-36-amd64", "5.10.0"),
    ],
)
def test_kernel_releases_are_read_as_their_version(release: str, version: str) -> None:
    assert kernel_version(release) == Version(version)


def test_a_scope_by_os_covers_its_guests_whatever_their_profile_is_called(
    ledger_of: Callable[[str], Ledger],
) -> None:
    ledger = ledger_of(ENTRY.replace("profile: linux*", "os: linux"))
    assert found(ledger, profile="appliance") is not None
    assert found(ledger, profile="linux-but-not", os="firmware") is None


def judged(ledger: Ledger, outcome: Outcome, message: str = "", *, crashed: bool = False) -> Verdict:
    verdict = Verdict(
        "linux/e1000e/msi", "suites/test_link.py::test_up", outcome, 1.0, message, "details", crashed=crashed
    )
    return ledger.judge(verdict, "linux", QEMU, None, TODAY)


def test_a_covered_failure_is_skipped_with_id_title_cause_and_what_was_seen(
    ledger_of: Callable[[str], Ledger],
) -> None:
    verdict = judged(ledger_of(ENTRY), Outcome.FAILED, "expected link up, saw down")
    assert (verdict.outcome, verdict.known_issue) == (Outcome.SKIPPED, "slow-link")
    assert verdict.message == "known issue slow-link: the link comes up late"
    assert verdict.details == "cause: the PHY's timer is never armed\n\nexpected link up, saw down\n\ndetails"


def test_a_covered_pass_fails_and_names_the_entry_to_delete(ledger_of: Callable[[str], Ledger]) -> None:
    verdict = judged(ledger_of(ENTRY), Outcome.PASSED)
    assert verdict.outcome is Outcome.FAILED
    assert "delete the entry slow-link from known_issues.yaml" in verdict.message


def test_a_race_may_be_won_or_lost(ledger_of: Callable[[str], Ledger]) -> None:
    ledger = ledger_of(ENTRY.replace("    owner:", "    race: between the PHY and the driver\n    owner:"))
    assert judged(ledger, Outcome.PASSED).outcome is Outcome.PASSED
    assert judged(ledger, Outcome.FAILED, "expected an answer, saw none").known_issue == "slow-link"


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.SKIPPED])
def test_an_error_and_a_skip_are_never_changed(ledger_of: Callable[[str], Ledger], outcome: Outcome) -> None:
    verdict = judged(ledger_of(ENTRY), outcome, "QEMU was killed")
    assert (verdict.outcome, verdict.message, verdict.known_issue) == (outcome, "QEMU was killed", None)


def test_a_crash_is_covered_by_an_entry_that_names_it_and_by_no_other(ledger_of: Callable[[str], Ledger]) -> None:
    ledger = ledger_of(ENTRY.replace("    owner:", "    crash: QEMU killed by SIGSEGV\n    owner:"))
    assert judged(ledger, Outcome.FAILED, "QEMU killed by SIGSEGV", crashed=True).known_issue == "slow-link"
    for other in ("QEMU killed by SIGABRT: out of range", "the guest broke: BUG: kernel NULL pointer dereference"):
        assert judged(ledger, Outcome.FAILED, other, crashed=True).outcome is Outcome.FAILED


def test_a_crash_is_never_masked(ledger_of: Callable[[str], Ledger]) -> None:
    verdict = judged(ledger_of(ENTRY), Outcome.FAILED, "BUG: kernel NULL pointer dereference", crashed=True)
    assert (verdict.outcome, verdict.known_issue) == (Outcome.FAILED, None)


def test_an_expired_entry_is_listed_and_covers_no_failure(ledger_of: Callable[[str], Ledger]) -> None:
    ledger = ledger_of(ENTRY.replace("2030-06-30", "2030-06-29"))
    assert [entry.id for entry in ledger.expired(TODAY)] == ["slow-link"]
    assert judged(ledger, Outcome.FAILED, "expected link up, saw down").outcome is Outcome.FAILED
    assert ledger_of(ENTRY).expired(TODAY) == ()


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("    owner:", "    owners:", 11, "slow-link.owners: unknown field; nearest: owner"),
        ("    owner: nobody@example.org\n", "", 2, "slow-link.owner: is missing"),
        ("profile: linux*", "os: linus", 5, "slow-link.scope.os: is 'linus'"),
        ("      mode: msi*\n", "", 4, "slow-link.scope.mode: is missing"),
        ("    cause: the PHY's timer is never armed\n", "", 2, "slow-link: has neither cause nor link"),
        ("nic: [e1000e, igb]", "nic: [e1000x]", 6, "slow-link.scope.nic: 'e1000x' fits none; nearest: e1000"),
        ("mode: msi*", "mode: msi-x", 7, "slow-link.scope.mode: 'msi-x' fits none; nearest: msi"),
        ('">=8.0,<12"', '"8 to 12"', 9, "slow-link.scope.qemu: is '8 to 12'; allowed: a version range such as"),
        ('">=8.0,<12"', "8.0", 9, "slow-link.scope.qemu: is '8.0'; allowed: a version range such as"),
        ("2030-06-30", "soon", 12, "slow-link.expires: is 'soon'; allowed: a date such as"),
        ("test: [test_link.py", "test: []\n      x: [test_link.py", 8, "slow-link.scope.test: is empty"),
        ("id: slow-link", 'id: "slow link"', 2, "slow link.id: is 'slow link'; allowed: "),
    ],
)
def test_a_mistake_is_one_line_with_file_line_entry_and_field(
    ledger_of: Callable[[str], Ledger], tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    assert old in ENTRY
    with pytest.raises(InputError) as caught:
        ledger_of(ENTRY.replace(old, new))
    lines = str(caught.value).splitlines()
    assert any(one.startswith(f"{tmp_path}/known_issues.yaml:{line}: {says}") for one in lines), lines


def test_an_id_that_stands_twice_is_refused_with_both_lines(ledger_of: Callable[[str], Ledger]) -> None:
    with pytest.raises(InputError, match=r"known_issues\.yaml:13: slow-link: id stands twice; first on line 2$"):
        ledger_of(ENTRY + ENTRY.removeprefix("known_issues:\n"))


@pytest.mark.parametrize("text", ["- id: x\n", "issues: []\n", "known_issues: {}\n", "known_issues: []\nmore: 1\n"])
def test_a_file_of_another_shape_is_refused(ledger_of: Callable[[str], Ledger], text: str) -> None:
    with pytest.raises(InputError, match="is no ledger; allowed: the single field known_issues with a list"):
        ledger_of(text)


def test_the_projects_own_ledger_covers_the_mode_check_of_e1000e_in_msi_mode() -> None:
    ledger = load_ledger()
    test = "suites/test_interrupts.py::test_mode_is_the_cells_by_all_witnesses"
    covered = {"mode": "msi", "test": test, "today": date(2026, 12, 1)}
    issue = found(ledger, **covered)
    assert issue is not None
    assert issue.id == "e1000e-msi-rxseq"
    assert found(ledger, **covered | {"mode": "msix"}) is None
