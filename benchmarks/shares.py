"""Where the nightly job's time goes: the shares of the forks, of the guests, and of the harness itself.

From the test cases of one whole cell, one after the other. While the guest works, or a test waits for it, the harness
does nothing: so its own share is the time in which its process is on a processor, the forks' is the rest of the time in
which they are waited for, as most are made while the test before runs, and the guests' all other.
"""

import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.job import run_suites
from benchmarks.setting import Setting
from harness.cell import Cell, find_cell

CELL = "linux/igb/msix"


@dataclass(frozen=True)
class _Shares:
    """Percent of all the time that the cases took."""

    forks: float
    harness: float


def forks(setting: Setting) -> float:
    """Measure how many percent of its time a test case waits for its fork."""
    return _shares(setting).forks


def guests(setting: Setting) -> float:
    """Measure how many percent of a test case's time the guest works, or is waited for."""
    shares = _shares(setting)
    return 100 - shares.forks - shares.harness


def harness(setting: Setting) -> float:
    """Measure how many percent of a test case's time the harness's own process works."""
    return _shares(setting).harness


def _shares(setting: Setting) -> _Shares:
    cell = find_cell(CELL)
    setting.launcher.saved(cell)
    return _measured(cell)


@cache
def _measured(cell: Cell) -> _Shares:
    """Run the cell's tests, once for all three shares."""
    with tempfile.TemporaryDirectory(prefix="nicproof-") as folder:
        spent = Path(folder, "spent.json")
        chosen = (f"--nic={cell.nic.name}", f"--irq={cell.mode}", "-n", "0")
        run_suites(*chosen, "-p", "benchmarks.spent", f"--spent={spent}")
        cases = json.loads(spent.read_text())
    whole, own, forks, own_of_forks = (
        sum(case[part][clock] for case in cases) for part in ("whole", "fork") for clock in ("wall", "own")
    )
    return _Shares(100 * (forks - own_of_forks) / whole, 100 * own / whole)
