"""Requirements: what tests name exists, what exists is tested or said to be not testable, and what a mistake says."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import harness.cli
from harness.cell import find_cell, select_cells
from harness.cli import app
from harness.errors import InputError
from harness.profile_file import load_profile
from harness.requirements import Coverage, load_coverage, not_binding

ROOT = Path(__file__).parents[1]
DOCUMENT = """\
title: A datasheet
edition: revision 1
url: https://example.org/datasheet.pdf
clauses:
  - id: chip 1
    title: Receiving
    says: What arrives is delivered.
  - id: chip 2
    title: Sending
    says: What is sent leaves.
"""
SUITE = """\
@requirement("chip 1", "chip 2")
@pytest.mark.parametrize("length", [1, 2])
def test_all_is_well(length):
    pass
"""

Load = Callable[..., Coverage]


@pytest.fixture
def coverage_of(tmp_path: Path) -> Load:
    def load(document: str = DOCUMENT, suite: str = SUITE, second: str = "") -> Coverage:
        (tmp_path / "chip.yaml").write_text(document)
        (tmp_path / "test_chip.py").write_text(suite)
        if second:
            (tmp_path / "other.yaml").write_text(second)
        return load_coverage(tmp_path, tmp_path)

    return load


def test_every_test_and_every_clause_of_the_project_has_its_counterpart() -> None:
    coverage = load_coverage()
    assert coverage.problems() == []
    assert len(coverage.tests) > 60
    assert {document.name for document in (ROOT / "suites").glob("test_*.py")} == {
        test.name.partition("::")[0] for test in coverage.tests
    }


def test_a_clause_is_covered_by_every_test_that_names_it(coverage_of: Load) -> None:
    coverage = coverage_of(suite=SUITE + '\n@requirement("chip 2")\ndef test_more(): ...\n')
    assert coverage.problems() == []
    assert coverage.tests_of(coverage.clauses["chip 1"]) == ("test_chip.py::test_all_is_well",)
    assert coverage.tests_of(coverage.clauses["chip 2"]) == (
        "test_chip.py::test_all_is_well",
        "test_chip.py::test_more",
    )


def test_a_clause_may_be_not_testable_with_the_reason(coverage_of: Load) -> None:
    third = "  - {id: chip 3, title: Colour, says: The chip is blue., not_testable: nobody can see it}\n"
    coverage = coverage_of(DOCUMENT + third)
    assert coverage.problems() == []
    assert coverage.summary() == "3 clauses of 1 documents: 2 checked by 1 tests, 1 not testable here"


@pytest.mark.parametrize(
    ("document", "suite", "says"),
    [
        (
            DOCUMENT,
            SUITE.replace("chip 2", "chip 22"),
            [
                "test_chip.py:3: test_chip.py::test_all_is_well: requirement 'chip 22' is in no document; "
                "nearest: chip 2, chip 1",
                "chip 2: no test names it; allowed: a test that does, or not_testable with the reason",
            ],
        ),
        (
            DOCUMENT,
            SUITE + "\ndef test_more(): ...\n",
            ["test_chip.py:6: test_chip.py::test_more: names no requirement; allowed: one or more"],
        ),
        (
            DOCUMENT + "    not_testable: too fast\n",
            SUITE,
            ["chip 2: is said to be not testable, but test_chip.py::test_all_is_well names it"],
        ),
    ],
    ids=["unknown and untested", "no requirement", "both"],
)
def test_what_has_no_counterpart_is_named(
    coverage_of: Load, tmp_path: Path, document: str, suite: str, says: list[str]
) -> None:
    found = coverage_of(document, suite).problems()
    assert [line.removeprefix(f"{tmp_path}/") for line in found] == says


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    says: What is sent leaves.\n", "", "chip.yaml:8: clauses[1].says: is missing"),
        ("title: Sending", "titel: Sending", "chip.yaml:9: clauses[1].titel: unknown field; nearest: title"),
        ("edition: revision 1\n", "", "chip.yaml:1: edition: is missing"),
        ("id: chip 2", "id: chip 1", "chip.yaml:8: clauses[1].id: 'chip 1' stands twice; first at"),
    ],
    ids=["missing", "unknown field", "no edition", "twice"],
)
def test_a_mistake_is_one_line_with_file_line_and_field(
    coverage_of: Load, tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in DOCUMENT
    with pytest.raises(InputError) as caught:
        coverage_of(DOCUMENT.replace(old, new))
    assert any(line.startswith(f"{tmp_path}/{says}") for line in str(caught.value).splitlines()), str(caught.value)


def test_an_id_in_two_documents_is_refused_with_both_places(coverage_of: Load, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        coverage_of(second=DOCUMENT)
    first = str(caught.value).splitlines()[0]
    assert first == f"{tmp_path}/other.yaml:5: clauses[0].id: 'chip 1' stands twice; first at {tmp_path}/chip.yaml:5"


def test_an_id_that_is_not_plain_text_is_refused(coverage_of: Load) -> None:
    with pytest.raises(InputError, match=r"test_chip\.py:1: requirement: is CLAUSE; allowed: ids as plain text$"):
        coverage_of(suite=SUITE.replace('"chip 1"', "CLAUSE"))


COLLECTED = """\
from harness.lending import cell_of
from harness.requirements import load_documents, not_binding

def pytest_collection_finish(session):
    documents = load_documents()
    for item in session.items:
        others = not_binding(documents, cell_of(item))
        named = [name for mark in item.iter_markers("requirement") for name in mark.args]
        print("CASE" if set(named) - others else "NOTHING BINDS", item.nodeid)
"""


def test_every_case_on_linux_names_a_clause_of_its_own_hardware(tmp_path: Path) -> None:
    (tmp_path / "collected.py").write_text(COLLECTED)
    ask = [sys.executable, "-m", "pytest", "suites", "--profile", "linux", "--collect-only", "-n", "0"]
    ask += ["-p", "collected", "-p", "no:cacheprovider", "--reports", str(tmp_path / "reports")]
    paths = f"{tmp_path}:{ROOT}"
    ended = subprocess.run(ask, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    lines = ended.stdout.splitlines()
    assert sum(line.startswith("CASE ") for line in lines) > 1000, ended.stdout + ended.stderr
    assert [line for line in lines if line.startswith("NOTHING BINDS")] == []


def test_a_document_binds_its_hardware_and_its_systems(coverage_of: Load) -> None:
    scoped = DOCUMENT.replace("clauses:", "nics: virtio-net*\nsystems: [win10]\nclauses:")
    documents = coverage_of(scoped).documents
    bound = {
        one.id for name in ("linux", "win10") for one in select_cells(load_profile(name)) if documents[0].binds(one)
    }
    assert bound == {"win10/virtio-net/intx", "win10/virtio-net/msix", "win10/virtio-net-modern/msix"}
    assert not_binding(documents, find_cell("linux/igb/msix")) == {"chip 1", "chip 2"}
    assert not_binding(documents, find_cell("win10/virtio-net/msix")) == set()


# nicproof requirements


def test_the_command_shows_every_clause_and_every_test() -> None:
    done = CliRunner().invoke(app, ["requirements"], env={"COLUMNS": "400"})
    assert done.exit_code == 0, done.output
    coverage = load_coverage()
    for clause in coverage.clauses.values():
        assert f"{clause.title}: {clause.says}" in done.stdout
        assert clause.not_testable is None or clause.not_testable in done.stdout
    for test in coverage.tests:
        assert f" {test.name} " in done.stdout
    assert coverage.summary() in done.stdout


def test_the_command_as_json_says_the_same() -> None:
    listed = json.loads(CliRunner().invoke(app, ["requirements", "--json"]).stdout)
    coverage = load_coverage()
    assert {one["id"]: tuple(one["tests"]) for one in listed} == {
        clause.id: coverage.tests_of(clause) for clause in coverage.clauses.values()
    }
    assert set(listed[0]) == {"document", "id", "title", "says", "not_testable", "tests"}


def test_the_command_says_what_has_no_counterpart(coverage_of: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    gap = coverage_of(suite=SUITE.replace(', "chip 2"', ""))
    monkeypatch.setattr(harness.cli, "load_coverage", lambda: gap)
    done = CliRunner().invoke(app, ["requirements"])
    assert done.exit_code == 1
    assert (
        done.stderr
        == "nicproof: chip 2: no test names it; allowed: a test that does, or not_testable with the reason\n"
    )
