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
    """Time `./run linux` in minutes: every test on every cell, two workers, image and snapshots in the cache."""
    for cell in all_cells(setting.cell.profile):
        if isinstance(cell, Cell):
            setting.launcher.saved(cell)
    with tempfile.TemporaryDirectory(prefix="nicproof-") as reports:
        command = [
            *(sys.executable, "-m", "pytest", "suites", "--profile", "linux", "-n", "2"),
            *("--accel", "tcg", "--reports", reports, "-q"),
        ]
        said: list[str] = []

        def run() -> None:
            done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, errors="replace", check=False)
            said.append(done.stdout)

        seconds = clock(run)
    if not re.search(r"\b\d+ passed\b", said[0]):
        raise NicproofError(f"the nightly job did not run: {(said[0].strip().splitlines() or ['no output'])[-1]}")
    return seconds / 60
