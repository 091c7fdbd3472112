"""The documents are true: what they name is there, and what is there they name."""

import configparser
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from harness.cell import Cell, all_cells
from harness.cli import app
from harness.nic import CATALOGUE, InterruptMode
from harness.profile_file import load_profile, profile_names
from harness.report.known_issues import load_ledger
from harness.requirements import load_coverage
from harness.requirements import tests_in as all_tests_in

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "FINDINGS.md",
    "docs/windows-control.md",
    "docs/winxp.md",
    "docs/win10.md",
    "reports/README.md",
)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_and_path_leads_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    paths = re.findall(r"`((?:harness|suites|requirements|profiles|tests|benchmarks|reports)/[\w./-]*)`", text)
    missing = [path for path in (*links, *paths) if not (ROOT / document).parent.joinpath(path).exists()]
    missing = [path for path in missing if not (ROOT / path).exists()]
    assert not missing


def test_readme_names_every_job() -> None:
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(ROOT / "tox.ini")
    jobs = {section.partition(":")[2] for section in ini.sections() if section.startswith("testenv:")}
    assert jobs
    assert {job for job in jobs if f"`{job}`" not in README} == set()
    assert set(re.findall(r"\./run ([\w.-]+)", README)) <= jobs


def test_readme_names_every_profile_model_mode_and_suite() -> None:
    suites = {path.stem for path in (ROOT / "suites").glob("test_*.py")}
    words = {*profile_names(), *CATALOGUE, *(mode.value for mode in InterruptMode)}
    assert {word for word in words if f"`{word}`" not in README} == set()
    assert set(re.findall(r"\[(test_\w+)\]\(suites/", README)) == suites


def test_readme_names_every_option_and_command() -> None:
    options = set(re.findall(r'"(--[a-z]+)"', (ROOT / "harness/plugin.py").read_text()))
    assert {option for option in options if f"`{option}" not in README} == set()
    shown = [command for command in app.registered_commands if not command.hidden]
    commands = {command.callback.__name__ for command in shown if command.callback}
    assert {command for command in commands if f"nicproof {command}" not in README} == set()


def test_readme_says_how_many_clauses_of_which_documents_each_suite_checks() -> None:
    files = {path.stem: path.read_text() for path in (ROOT / "requirements").glob("*.yaml")}
    clauses_of = {name: re.findall(r"- id: (.+)", text) for name, text in files.items()}
    coverage = load_coverage()
    checked: dict[str, list[tuple[str, ...]]] = {}
    for test in coverage.tests:
        checked.setdefault(test.name.partition(".py::")[0], []).append(test.clauses)
    rows = []
    for suite, tests in sorted(checked.items()):
        clauses = {clause for one in tests for clause in one}
        counts = {name: len(clauses & set(own)) for name, own in sorted(clauses_of.items())}
        documents = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        rows.append(f"| {suite} | {len(tests)} | {len(clauses)} | {documents} |")
    head = "| suite | tests | clauses checked | of which documents |\n| --- | ---: | ---: | --- |\n"
    assert README.partition(head)[2].partition("\n\n")[0].splitlines() == rows
    assert {name for name in files if f"`{name}`" not in README} == set()


def test_findings_and_ledger_name_the_same() -> None:
    text = (ROOT / "FINDINGS.md").read_text()
    findings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert findings == [entry.id for entry in load_ledger().entries]
    for row in ("where", "requirement", "versions", "evidence", "cause", "reproduce"):
        assert text.count(f"\n| {row} | ") == len(findings)
    clauses = {clause for row in re.findall(r"\| requirement \| (.+) \|", text) for clause in row.split(", ")}
    assert clauses - load_coverage().clauses.keys() == set()


def test_each_finding_is_reproduced_by_a_command_that_runs_a_test_of_its_entry() -> None:
    commands = re.findall(r"\| reproduce \| `\./run (\S+) (.+)` \|", (ROOT / "FINDINGS.md").read_text())
    entries = load_ledger().entries
    assert len(commands) == len(entries)
    for (profile, options), entry in zip(commands, entries, strict=True):
        nics, words = re.findall(r"--nic (\S+)", options), re.findall(r"-k (\S+)", options)
        cells = [one for one in all_cells(load_profile(profile)) if isinstance(one, Cell)]
        assert {cell.nic.name for cell in cells} & set(nics), f"no cell of {profile} has {nics}"
        assert set(nics) <= set(entry.scope.nic)
        assert [test for test in entry.scope.test for word in words if word in test], (
            f"{words} selects no test of {entry.id}"
        )


def test_each_entry_of_the_ledger_names_tests_that_exist() -> None:
    tests = {test.name for test in all_tests_in(ROOT / "suites")}
    for entry in load_ledger().entries:
        for glob in entry.scope.test:
            function = glob.partition("[")[0]
            assert [name for name in tests if fnmatchcase(name, function)], f"{entry.id}: {glob} is no test"


def test_the_profiles_in_the_documents_are_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = tmp_path / "lib/modules/6.12.0"
    modules.mkdir(parents=True)
    for name in ("vmlinux", "appliance.qcow2", "id_ed25519"):
        (tmp_path / name).touch()
    monkeypatch.setenv("KERNEL", str(tmp_path))
    text = README + (ROOT / "docs/windows-control.md").read_text()
    shown = re.findall(r"```yaml\n# (\w+\.yaml): .*\n((?:.*\n)*?)```", text)
    assert len(shown) == 3
    for name, text in shown:
        (tmp_path / name).write_text(text)
        assert load_profile(str(tmp_path / name)).nics
