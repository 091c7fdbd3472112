"""What a person sees while a run goes: a live line for each cell on a terminal, plain lines anywhere else.

Tests run in pytest-xdist's worker processes and the controller shows. A worker sends one datagram for each phase to a
unix socket in a private directory, whose path is in the environment variable NICPROOF_PROGRESS, which workers inherit.
"""

import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from harness import rundir

ENVIRONMENT = "NICPROOF_PROGRESS"
_LARGEST = 4096
_EACH_TEST = ("fork", "tests")
_STOP = b""
_STOP_TIMEOUT_S = 5.0


def report_phase(cell_id: str, phase: str, detail: str = "") -> None:
    """Tell whoever shows progress that `cell_id` is now in `phase` (image, boot, snapshot, fork, ...).

    Never blocks and never raises: what nobody receives is lost.
    """
    _send([cell_id, phase, detail[: _LARGEST // 8]])


def report_line(line: str) -> bool:
    """Tell whoever shows progress a line that is about no cell; return whether somebody does."""
    return _send([line[: _LARGEST // 8]])


def _send(message: list[str]) -> bool:
    path = os.environ.get(ENVIRONMENT)
    if not path:
        return False
    with (
        suppress(OSError),
        rundir.socket_name(Path(path)) as name,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        sender.setblocking(False)
        sender.sendto(json.dumps(message).encode(), name)
        return True
    return False


@dataclass
class _Cell:
    """What is known of one active cell."""

    started: float = field(default_factory=time.monotonic)
    phase: str = ""
    detail: str = ""
    done: int = 0
    total: int = 0
    failed: int = 0
    told: set[str] = field(default_factory=set)
    spinner: Spinner = field(default_factory=lambda: Spinner("dots"))

    @property
    def elapsed(self) -> str:
        """Time since the cell's first sign, in seconds."""
        return f"{time.monotonic() - self.started:.0f} s"

    def counts(self) -> str:
        """Return `70 tests, 2 failed`, or how far an unfinished cell came."""
        progress = f"{self.total}" if self.done == self.total else f"{self.done} of {self.total}"
        return f"{progress} {'test' if self.total == 1 else 'tests'}, {self.failed} failed"


class ProgressDisplay:
    """Shows the progress of all cells on `stream`, from `start` to `stop`."""

    def __init__(self, stream: TextIO) -> None:
        """Prepare only; nothing exists before `start`."""
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._cells: dict[str, _Cell] = {}
        self._finished: set[str] = set()
        self._lock = threading.Lock()  # for the cells; never held while the console prints, which renders the cells
        self._directory: Path | None = None
        self._inherited: str | None = None
        self._receiver: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the socket, set NICPROOF_PROGRESS for child processes, and begin to show."""
        self._inherited = os.environ.get(ENVIRONMENT)
        self._directory = rundir.make()
        path = self._directory / "progress"
        self._receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with rundir.socket_name(path) as name:
            self._receiver.bind(name)
        os.environ[ENVIRONMENT] = str(path)
        if self._console.is_terminal:
            self._live = Live(
                console=self._console, get_renderable=self._table, refresh_per_second=8, transient=True,
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self._live.start()
        self._thread = threading.Thread(target=self._receive, name="progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Show what was still under way, and leave nothing behind; may be called twice, and without `start`."""
        if self._thread and self._receiver and self._directory:
            with (
                suppress(OSError),
                rundir.socket_name(self._directory / "progress") as name,
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
            ):
                sender.settimeout(_STOP_TIMEOUT_S)
                sender.sendto(_STOP, name)  # comes after all that was sent before, and ends the thread
            self._thread.join(_STOP_TIMEOUT_S)
            self._receiver.close()
        if self._live:
            self._live.stop()
        if self._directory:
            rundir.remove(self._directory)
            if self._inherited is None:
                os.environ.pop(ENVIRONMENT, None)
            else:
                os.environ[ENVIRONMENT] = self._inherited
        self._thread = self._receiver = self._live = self._directory = None
        for cell_id, cell in self._cells.items():
            where = f"ended in phase {cell.phase}" if cell.phase else "ended"
            self._say(f"{cell_id}: {where}, {cell.counts()}, {cell.elapsed}")
        self._cells.clear()

    def tests(self, cell_id: str, done: int, total: int, failed: int) -> None:
        """Show that `done` of a cell's `total` tests have ended, `failed` of them not well; the last ends the cell."""
        with self._lock:
            cell = self._cells.setdefault(cell_id, _Cell())
            cell.done, cell.total, cell.failed = done, total, failed
            if done < total:
                return
            del self._cells[cell_id]
            self._finished.add(cell_id)
        self._say(f"{cell_id}: done, {cell.counts()}, {cell.elapsed}")

    def _receive(self) -> None:
        assert self._receiver is not None
        while (datagram := self._receiver.recv(_LARGEST)) != _STOP:
            with suppress(ValueError, TypeError):  # from another version, or cut off
                match json.loads(datagram):
                    case [str(line)]:
                        self._say(line)
                    case [str(cell_id), str(phase), str(detail)]:
                        self._phase(cell_id, phase, detail)

    def _phase(self, cell_id: str, phase: str, detail: str) -> None:
        with self._lock:
            if cell_id in self._finished:
                return  # it came late: the cell's last test has overtaken it
            cell = self._cells.setdefault(cell_id, _Cell())
            # What every test goes through is news once; a second boot always is.
            news = phase != cell.phase and not (phase in _EACH_TEST and phase in cell.told)
            cell.phase, cell.detail = phase, detail
            cell.told.add(phase)
        if news and not self._live:
            self._say(f"{cell_id}: {phase}" + (f" ({detail})" if detail else ""))

    def _say(self, line: str) -> None:
        with suppress(OSError, ValueError):  # the stream was closed: a run is not for its progress
            self._console.print(Text(line))

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        with self._lock:
            for cell_id, cell in self._cells.items():
                counts = f"{cell.done}/{cell.total}" if cell.total else ""
                failed = Text(f"{cell.failed} failed", style="red") if cell.failed else Text("")
                phase = f"{cell.phase} {cell.detail}".strip()
                table.add_row(cell.spinner, Text(cell_id), Text(phase), counts, failed, cell.elapsed)
        return table
