"""What a failed test leaves: where it lies, that names never collide, and that reproduce.sh runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.report.artifacts import Artifacts, directory_name

CELL = "linux/e1000e/msix"
TEST = "suites/test_traffic.py::test_order"


def test_artifacts_lie_under_profile_nic_mode_and_test(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path, CELL, TEST)
    assert not any(tmp_path.iterdir())
    console = artifacts.write("console.log", "\udcffbroken\n")
    assert console == tmp_path / "linux" / "e1000e" / "msix" / "test_traffic.test_order" / "console.log"
    assert console.read_bytes() == b"\xffbroken\n"


def test_names_are_file_safe_and_differ_where_tests_differ() -> None:
    tests = [
        TEST,
        "suites/test_traffic.py::test_Order",
        "suites/test_traffic.py::test_length[60]",
        "suites/test_traffic.py::test_length(60)",
        "suites/test_traffic.py::test_length-60-",
        "suites/test_traffic.py::test_ping[fe80::1/64 <|>]",
        "suites/more/test_traffic.py::test_order",
        "mine/test_traffic.py::test_order",
        "suites/test_traffic.py::test_" + "x" * 300,
        "suites/test_traffic.py::test_" + "x" * 301,
    ]
    names = [directory_name(test) for test in tests]
    assert len({name.lower() for name in names}) == len(tests)
    assert all(len(name) < 140 and not set(name) & set("/\\<>|[]:() ") for name in names)
    assert names == [directory_name(test) for test in tests]


def test_what_an_older_run_left_is_removed_and_other_tests_keep_theirs(tmp_path: Path) -> None:
    other = Artifacts(tmp_path, CELL, "suites/test_traffic.py::test_other")
    for artifacts in (other, Artifacts(tmp_path, CELL, TEST)):
        artifacts.write("console.log", "x")
    now = Artifacts(tmp_path, CELL, TEST)
    now.clear()
    assert not now.path.exists()
    assert other.path.exists()
    other.clear()
    assert not other.path.parent.exists()
    other.clear()


@pytest.mark.parametrize("name", ["a/b", "../b", "", ".", ".."])
def test_a_file_outside_the_tests_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="without a directory"):
        Artifacts(tmp_path, CELL, TEST).write(name, "x")


def test_reproduce_runs_its_command_in_the_project_with_every_argument_kept(tmp_path: Path) -> None:
    arguments = ["suites/test_x.py::test_y[it's $HOME `id`]", "two words", "", "line\nbreak"]
    script = Artifacts(tmp_path, CELL, "suites/test_x.py::test_y[a\nb]").write_reproduce(
        [sys.executable, "-c", "import os, sys; print([os.getcwd(), *sys.argv[1:]])", *arguments]
    )
    assert script.stat().st_mode & 0o777 == 0o755
    shown = subprocess.run([script, "-x"], cwd="/", capture_output=True, text=True, timeout=30, check=True)
    assert shown.stdout == f"{[str(Path(__file__).resolve().parents[1]), *arguments, '-x']}\n"
