"""What a failed test leaves for the person who looks into it: reports/<profile>/<nic>/<mode>/<test>/."""

import hashlib
import re
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.report.verdict import TestName

_PROJECT = Path(__file__).resolve().parents[2]
_LONGEST = 120  # file systems allow 255 bytes; paths stay readable, and short enough to be copied anywhere


def directory_name(test: str) -> str:
    """Return a file-safe name for a test's id: `test_traffic.test_order`, `test_traffic.test_length-60-.3f2a91`.

    Ids that differ get names that differ: whatever had to be changed in an id is made up for by a hash of it.
    """
    parts = TestName.parse(test)
    plain = f"{parts.module}.{parts.name}"
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", plain)[:_LONGEST].lstrip(".")
    # Letter case alone must not tell two names apart: not every file system keeps it.
    if safe == plain == plain.lower() and "/" not in test.removeprefix("suites/"):
        return safe
    return f"{safe}.{hashlib.sha256(test.encode()).hexdigest()[:6]}"


class Artifacts:
    """The files of one test on one cell. Nothing exists until something is written."""

    def __init__(self, reports_dir: Path, cell_id: str, test: str) -> None:
        """Name the place: `reports_dir` is the folder that holds one folder per profile."""
        self.path = reports_dir.joinpath(*cell_id.split("/"), directory_name(test))
        self._cell = f"{cell_id} {test}"

    def clear(self) -> None:
        """Remove what an older run or this one left: for a test that begins, and for one that passed."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.path)
        with suppress(OSError):
            self.path.parent.rmdir()  # the cell's, if this was its last; what lies above is shared with other processes

    def write(self, name: str, content: str | bytes) -> Path:
        """Write one file and return its path; `name` has no directory."""
        if name in ("", "..") or Path(name).name != name:
            raise ValueError(f"artifact name '{name}': allowed: a name without a directory")
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / name
        # Console logs hold bytes that are no UTF-8: keep them as they came.
        file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))
        return file

    def write_reproduce(self, argv: Sequence[str]) -> Path:
        """Write reproduce.sh, which runs `argv` and whatever is added to it in the project's root."""
        title = " ".join(self._cell.split())
        file = self.write(
            "reproduce.sh",
            f"#!/bin/sh\n# Runs again, and nothing else: {title}\n"
            f'cd {shlex.quote(str(_PROJECT))} || exit 2\nexec {shlex.join(argv)} "$@"\n',
        )
        file.chmod(0o755)
        return file
