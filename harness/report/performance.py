"""performance.json: what the tests of a run have measured, for whoever compares it with another run's.

README.md describes the fields. Whoever changes their names or meaning changes `VERSION`; a new field does not.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.whole_file import WholeFile

VERSION = 1


class Measure(Protocol):
    """What a test calls with each figure that it has measured."""

    def __call__(self, name: str, value: float, unit: str, samples: int) -> None:
        """Put a figure into the report.

        Args:
            name: what was measured; no two of one test case have the same.
            value: the figure.
            unit: such as "frames/s".
            samples: how many frames or answers it was made of.
        """


@dataclass(frozen=True)
class Measurement:
    """A figure that a test measured."""

    measurement: str
    value: float
    unit: str
    samples: int
    when: str
    """ISO 8601, in UTC."""

    def __str__(self) -> str:
        """Return such as "48100 frames/s of 10000 samples"."""
        return f"{self.value:.6g} {self.unit} of {self.samples} samples"


class PerformanceReport:
    """Gathers the figures of one run; one process (pytest's controller) owns it."""

    def __init__(self, path: Path, run: Mapping[str, str]) -> None:
        """Remove an older run's file; `run` says which QEMU ran how, and who was at the far end."""
        self._file = WholeFile(path, "the performance report")
        path.unlink(missing_ok=True)
        names = {"qemu": "QEMU", "accel": "acceleration", "endpoint": "endpoint"}
        self._run = {name: run.get(fact) for name, fact in names.items()}
        self._facts: dict[str, dict[str, str]] = {}
        self._measured: list[tuple[str, str, Mapping[str, Any]]] = []

    def cell_facts(self, cell_id: str, facts: Mapping[str, str]) -> None:
        """Add what became known of a cell: its driver and its kernel, at any time before the end."""
        self._facts.setdefault(cell_id, {}).update(facts)

    def add(self, cell_id: str, test: str, measurements: Iterable[Mapping[str, Any]]) -> None:
        """Add a test's measurements, each the fields of a `Measurement`."""
        self._measured += [(cell_id, test, one) for one in measurements]

    def close(self) -> None:
        """Write the file, if anything was measured: by cell and test, whichever process was first.

        Raises:
            NicproofError: it cannot be written.
        """
        if not self._measured:
            return
        self._measured.sort(key=lambda measured: measured[:2])
        listed = [
            {
                **{"cell": cell_id, "test": test, **measurement, **self._run},
                **{name: self._facts.get(cell_id, {}).get(name) for name in ("driver", "kernel")},
            }
            for cell_id, test, measurement in self._measured
        ]
        report = {"version": VERSION, "measurements": listed}
        self._file.write([json.dumps(report, indent=1, allow_nan=False).encode(), b"\n"])
