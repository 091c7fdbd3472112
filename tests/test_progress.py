"""Progress: what is shown on a terminal and elsewhere, and that it disturbs no run and leaves nothing behind."""

import io
import os
import pty
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.report.progress import ENVIRONMENT, ProgressDisplay, report_phase

CELL = "linux/e1000/intx"
DEADLINE_S = 10.0


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the socket's directory where the test can see that it goes away."""
    folder = tmp_path / "t"
    monkeypatch.setenv("NICPROOF_CACHE", str(folder))
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    return folder


@pytest.fixture
def plain() -> Iterator[tuple[ProgressDisplay, io.StringIO]]:
    stream = io.StringIO()
    display = ProgressDisplay(stream)
    display.start()
    yield display, stream
    display.stop()


def lines(stream: io.StringIO) -> list[str]:
    """The lines shown, without their times."""
    return [re.sub(r"\d+ s$", "N s", line) for line in stream.getvalue().splitlines()]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_S} s for {what}"
        time.sleep(0.01)


def test_plain_lines_tell_each_phase_once_and_the_counts_at_the_end(
    plain: tuple[ProgressDisplay, io.StringIO],
) -> None:
    display, stream = plain
    for phase in ("image", "boot", "boot", "snapshot", "fork"):
        report_phase(CELL, phase)
    wait_until(lambda: "fork" in stream.getvalue(), "the fork phase")
    for done in range(1, 4):
        report_phase(CELL, "tests", "test_order")
        report_phase(CELL, "fork")
        wait_until(lambda: "tests (" in stream.getvalue(), "the tests phase")
        display.tests(CELL, done, 3, failed=1)
    display.stop()
    assert lines(stream) == [
        f"{CELL}: image",
        f"{CELL}: boot",
        f"{CELL}: snapshot",
        f"{CELL}: fork",
        f"{CELL}: tests (test_order)",
        f"{CELL}: done, 3 tests, 1 failed, N s",
    ]


def test_a_second_boot_is_told_again(plain: tuple[ProgressDisplay, io.StringIO]) -> None:
    display, stream = plain
    for phase, detail in (("boot", ""), ("fork", ""), ("boot", "QEMU was killed")):
        report_phase(CELL, phase, detail)
    display.stop()
    assert lines(stream)[:3] == [f"{CELL}: boot", f"{CELL}: fork", f"{CELL}: boot (QEMU was killed)"]


def test_a_cell_that_did_not_end_is_told_at_the_stop(plain: tuple[ProgressDisplay, io.StringIO]) -> None:
    display, stream = plain
    report_phase(CELL, "fork")
    display.tests(CELL, 12, 70, failed=1)
    display.stop()
    assert lines(stream)[-1] == f"{CELL}: ended in phase fork, 12 of 70 tests, 1 failed, N s"


def test_a_phase_that_comes_after_the_cells_end_does_not_bring_it_back(
    plain: tuple[ProgressDisplay, io.StringIO],
) -> None:
    display, stream = plain
    display.tests(CELL, 1, 1, failed=0)
    report_phase(CELL, "fork")
    display.stop()
    assert lines(stream) == [f"{CELL}: done, 1 test, 0 failed, N s"]


def test_other_processes_reach_the_display(plain: tuple[ProgressDisplay, io.StringIO]) -> None:
    display, stream = plain
    code = f"from harness.report.progress import report_phase; report_phase({CELL!r}, 'boot', 'tcg')"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True, timeout=60)
    display.stop()
    assert lines(stream)[0] == f"{CELL}: boot (tcg)"


def test_the_socket_is_private_and_nothing_is_left_after_the_stop(temporary: Path) -> None:
    threads = threading.active_count()
    open_files = len(os.listdir("/proc/self/fd"))
    display = ProgressDisplay(io.StringIO())
    display.start()
    (directory,) = (temporary / ".runs").iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert Path(os.environ[ENVIRONMENT]).parent == directory
    display.stop()
    display.stop()
    assert list((temporary / ".runs").iterdir()) == []
    assert ENVIRONMENT not in os.environ
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, open_files)


def test_an_outer_runs_display_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "/outer")
    display = ProgressDisplay(io.StringIO())
    display.start()
    assert os.environ[ENVIRONMENT] != "/outer"
    display.stop()
    assert os.environ[ENVIRONMENT] == "/outer"


def test_a_long_cache_directory_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NICPROOF_CACHE", str(tmp_path / ("x" * 120)))
    stream = io.StringIO()
    display = ProgressDisplay(stream)
    display.start()
    path = Path(os.environ[ENVIRONMENT])
    report_phase(CELL, "boot")
    display.stop()
    assert lines(stream)[0] == f"{CELL}: boot"
    assert not path.parent.exists()


@pytest.mark.parametrize("path", [None, "/nonexistent/progress"])
def test_reporting_to_nobody_does_nothing(monkeypatch: pytest.MonkeyPatch, path: str | None) -> None:
    if path:
        monkeypatch.setenv(ENVIRONMENT, path)
    report_phase(CELL, "boot")


def test_reporting_does_not_block_when_nobody_reads(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary.mkdir()
    path = str(temporary / "deaf")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(path)
        monkeypatch.setenv(ENVIRONMENT, path)

        def send() -> None:
            for _ in range(2000):
                report_phase(CELL, "boot")

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        sender.join(DEADLINE_S)
        assert not sender.is_alive()


def test_a_closed_stream_does_not_stop_the_display() -> None:
    stream = io.StringIO()
    display = ProgressDisplay(stream)
    display.start()
    stream.close()
    report_phase(CELL, "boot")
    display.tests(CELL, 1, 2, failed=0)
    display.stop()


def test_a_terminal_shows_a_live_line_for_each_active_cell_and_keeps_the_finished_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    controller, terminal = pty.openpty()
    seen = bytearray()

    def read() -> None:
        while True:
            try:
                chunk = os.read(controller, 4096)
            except OSError:  # EIO: the last writer has closed
                return
            seen.extend(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(terminal, "w") as stream:
        display = ProgressDisplay(stream)
        display.start()
        report_phase(CELL, "boot")
        report_phase("linux/igb/msix", "fork")
        display.tests("linux/igb/msix", 7, 70, failed=2)
        wait_until(lambda: b"7/70" in seen and b"2 failed" in seen and b"boot" in seen, f"both cells in {seen!r}")
        live = bytes(seen)
        display.tests(CELL, 3, 3, failed=0)
        display.stop()
    reader.join(DEADLINE_S)
    os.close(controller)
    assert f"{CELL}: boot".encode() not in live  # no plain lines of phases
    assert f"{CELL}: done, 3 tests, 0 failed".encode() in seen
    assert seen.rstrip().endswith(b"s")
    assert b"\x1b[?25h" in seen  # the cursor is shown again
