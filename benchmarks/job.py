"""The whole nightly job."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.setting import Setting, clock
from harness.cell import Cell, all_cells
from harness.errors import NicproofError

SOURCE = Path(__file__).resolve().parent.parent


def nightly_job(setting: Setting) -> float:
    """Time `./run linux` in minutes: every test on every cell, image and snapshots in the cache."""
    for cell in all_cells(setting.cell.profile):
        if isinstance(cell, Cell):
            setting.launcher.saved(cell)
    return clock(lambda: run_suites("-n", "auto")) / 60


def run_suites(*options: str) -> None:
    """Run the suites of the profile linux, under emulation.

    Raises:
        NicproofError: not one test passed.
    """
    with tempfile.TemporaryDirectory(prefix="nicproof-") as reports:
        command = [
            *(sys.executable, "-m", "pytest", "suites", "--profile", "linux"),
            *("--accel", "tcg", "--reports", reports, "-q", *options),
        ]
        done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, errors="replace", check=False)
    if not re.search(r"\b\d+ passed\b", done.stdout):
        raise NicproofError(f"the suites did not run: {(done.stdout.strip().splitlines() or ['no output'])[-1]}")
