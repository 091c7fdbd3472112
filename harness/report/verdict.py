"""What one test said of one cell: the unit that every report is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from types import MappingProxyType

_SUITES = PurePosixPath("suites")  # where the project's own tests live; of no interest in a name


class Outcome(StrEnum):
    """How a test ended."""

    PASSED = "passed"
    FAILED = "failed"
    """The driver or the device broke a requirement."""
    ERROR = "error"
    """The harness, the host or the image could not do its work."""
    SKIPPED = "skipped"
    """The test cannot apply; the message says why."""


@dataclass(frozen=True)
class Verdict:
    """One test's result on one cell.

    Raises:
        ValueError: an outcome other than passed without a message: readers of JUnit take such a test for a passed one.
    """

    cell_id: str
    test: str
    """pytest's id without the cell: `suites/test_traffic.py::test_length[60]`."""
    outcome: Outcome
    seconds: float
    message: str = ""
    """One line: expected what of what, and what was seen."""
    details: str = ""
    stdout: str = ""
    requirements: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    known_issue: str | None = None
    """Id of the ledger's entry that decided the outcome."""
    artifacts: Path | None = None
    crashed: bool = False
    """The guest or QEMU crashed during the test: no known issue may excuse that."""

    def __post_init__(self) -> None:
        """Refuse a verdict that a report could not tell from a passed one."""
        if self.outcome is not Outcome.PASSED and not self.message.strip():
            raise ValueError(f"{self.cell_id} {self.test}: {self.outcome} needs a message")


@dataclass(frozen=True)
class TestName:
    """A pytest id taken apart."""

    module: str
    """Dotted, without suites: `test_traffic`, with the class if there is one: `test_traffic.TestLengths`."""
    name: str
    """Function and parameters: `test_length[60]`."""

    __test__ = False  # pytest collects classes of this name

    @classmethod
    def parse(cls, test: str) -> "TestName":
        """Take `test` (`suites/test_traffic.py::TestLengths::test_length[fe80::1]`) apart."""
        head, bracket, parameters = test.partition("[")
        file, *scopes = head.split("::")
        # pytest names no file if it was given a single one from outside its root directory.
        path = PurePosixPath(file or "outside").with_suffix("")
        if path.is_relative_to(_SUITES):
            path = path.relative_to(_SUITES)
        name = scopes.pop() if scopes else path.name
        return cls(".".join([*path.parts, *scopes]), name + bracket + parameters)
