"""performance.json: the figures that a run has measured, whole and valid, whoever measured them and however it ends."""

import json
import re
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from harness.errors import NicproofError
from harness.report.performance import VERSION, PerformanceReport
from tests.conftest import Ended, Start

RUN = {"QEMU": "10.0.13", "QEMU origin": "debian:trixie", "acceleration": "tcg", "endpoint": "wire"}
E1000E, IGB = "linux/e1000e/msix", "linux/igb/msix"
RATE = {"measurement": "rate", "value": 48_100.5, "unit": "frames/s", "samples": 10_000}
RATE["when"] = "2026-11-24T23:28:51+00:00"
FIELDS = {
    "cell": str,
    "test": str,
    "measurement": str,
    "value": float,
    "unit": str,
    "samples": int,
    "when": str,
    "qemu": str,
    "accel": str,
    "endpoint": str,
    "driver": str,
    "kernel": str,
}


def read(path: Path) -> list[dict[str, Any]]:
    """Read the file as its documentation says."""
    report = json.loads(path.read_text())
    assert set(report) == {"version", "measurements"}
    assert report["version"] == VERSION == 1
    for measurement in report["measurements"]:
        assert {name: type(value) for name, value in measurement.items()} == FIELDS
        assert datetime.fromisoformat(measurement["when"]).tzinfo is not None
    return list(report["measurements"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "performance.json"


@pytest.fixture
def report(path: Path) -> PerformanceReport:
    return PerformanceReport(path, RUN)


def test_a_measurement_has_all_that_makes_it_comparable(report: PerformanceReport, path: Path) -> None:
    report.cell_facts(IGB, {"driver": "igb", "kernel": "6.12", "machine": "q35"})
    report.add(IGB, "suites/test_a.py::test_it", [RATE])
    report.close()
    ran_on = {"qemu": "10.0.13", "accel": "tcg", "endpoint": "wire", "driver": "igb", "kernel": "6.12"}
    assert read(path) == [{"cell": IGB, "test": "suites/test_a.py::test_it", **RATE, **ran_on}]


def test_what_is_not_known_is_null(path: Path) -> None:
    report = PerformanceReport(path, {"endpoint": "root@lab7 eth1"})
    report.add(IGB, "suites/test_a.py::test_it", [RATE])
    report.close()
    (measurement,) = json.loads(path.read_text())["measurements"]
    assert [measurement[name] for name in ("qemu", "accel", "driver", "kernel")] == [None] * 4


def test_the_order_is_that_of_cells_and_tests_and_within_a_test_its_own(report: PerformanceReport, path: Path) -> None:
    facts = {"driver": "igb", "kernel": "6.12"}
    for cell_id, test in ((IGB, "b"), (E1000E, "b"), (IGB, "a")):
        report.add(cell_id, test, [{**RATE, "measurement": name} for name in ("p90", "p50")])
        report.cell_facts(cell_id, facts)
    report.close()
    places = [(one["cell"], one["test"], one["measurement"]) for one in read(path)]
    tests = [(E1000E, "b"), (IGB, "a"), (IGB, "b")]
    assert places == [(*test, name) for test in tests for name in ("p90", "p50")]


def test_a_run_that_measured_nothing_leaves_no_file_not_even_an_older_one(path: Path) -> None:
    path.write_text("{}")
    PerformanceReport(path, RUN).close()
    assert not path.exists()


def test_a_figure_that_is_none_is_refused_before_anything_is_written(report: PerformanceReport, path: Path) -> None:
    report.add(IGB, "suites/test_a.py::test_it", [{**RATE, "value": float("nan")}])
    with pytest.raises(ValueError, match="JSON compliant"):
        report.close()
    assert list(path.parent.iterdir()) == []


def test_a_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "linux").write_text("in the way")
    report = PerformanceReport(tmp_path / "other" / "performance.json", RUN)
    (tmp_path / "other").write_text("in the way")
    report.add(IGB, "suites/test_a.py::test_it", [RATE])
    with pytest.raises(NicproofError, match=r"^\S*/performance\.json: cannot write the performance report: [^\n]+$"):
        report.close()


# Whole runs, on guests.

CELLS = ("--profile", "linux", "--nic", "e1000e", "--nic", "igb", "--irq", "msix")
MEASURING = """
    import os

    def test_one(testbed, measure):
        measure("rate", 48100.5, "frames/s", 10000)
        measure("process", os.getpid(), "", 1)

    def test_two(testbed, measure):
        measure("round trip p50", 130.25, "us", 500)

    def test_three(testbed, measure):
        measure("seen before it failed", 1.5, "us", 1)
        assert False, "expected more"

    def test_four(cell):
        pass
"""


def measured(ended: Ended) -> list[dict[str, Any]]:
    return read(ended.junit.with_name("performance.json"))


@pytest.mark.parametrize("processes", ["0", "2"])
def test_all_processes_figures_stand_in_one_file(start: Start, processes: str) -> None:
    ended = start(MEASURING, "-n", processes, *CELLS).ended()
    found = measured(ended)
    seen = {(one["cell"], one["test"].partition("::")[2], one["measurement"]) for one in found}
    names = (("one", "rate"), ("one", "process"), ("two", "round trip p50"), ("three", "seen before it failed"))
    assert seen == {(cell, f"test_{test}", name) for cell in (E1000E, IGB) for test, name in names}, ended.output
    assert len(found) == len(seen)
    assert {(one["cell"], one["driver"]) for one in found} == {(E1000E, "e1000e"), (IGB, "igb")}
    assert all(re.match(r"\d+\.\d+", one["kernel"]) and one["accel"] in ("tcg", "kvm") for one in found)
    assert len({one["value"] for one in found if one["measurement"] == "process"}) == max(1, int(processes))


def test_figures_are_properties_of_their_case_too(start: Start) -> None:
    ended = start(MEASURING, "-n", "0", *CELLS, "-k", "igb and test_one").ended()
    assert "[[PROPERTY|rate=48100.5 frames/s of 10000 samples]]" in ended.junit.read_text()
    assert {one["cell"] for one in measured(ended)} == {IGB}


WAITING = """
    from pathlib import Path

    def test_first(testbed, measure):
        measure("rate", 1.0, "frames/s", 1)

    def test_second(testbed):
        Path(MARKS).write_text("here")
        testbed.idle(600)
"""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_ctrl_c_leaves_what_was_measured(start: Start, processes: str) -> None:
    run = start(WAITING, "-n", processes, *CELLS, "-k", "igb")
    run.wait_mark()
    run.wait_passed("test_first")
    run.interrupt()
    assert [one["measurement"] for one in measured(run.ended())] == ["rate"]


def test_a_killed_run_leaves_no_file_of_its_own_and_none_of_an_older_run(start: Start, tmp_path: Path) -> None:
    place = ("--reports", str(tmp_path))
    first = start(MEASURING, "-n", "0", *CELLS, *place, "-k", "igb and test_one").ended()
    assert measured(first)
    run = start(WAITING, "-n", "0", *CELLS, *place, "-k", "igb")
    run.wait_mark()
    run.process.send_signal(signal.SIGKILL)
    left = {file.name for file in run.ended().junit.parent.iterdir() if "performance" in file.name}
    assert left == set()
