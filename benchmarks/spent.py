"""The pytest plugin of `benchmarks/shares.py`: where the time of each test case went, as JSON at the run's end."""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from harness.cell import Cell
from harness.plugin import BENCH, Bench
from harness.supply import ForkSupply
from harness.testbed import Testbed


@dataclass
class Clock:
    """Seconds that went by, and those in which a thread of this very process was on a processor."""

    wall: float = 0.0
    own: float = 0.0

    @contextmanager
    def runs(self) -> Iterator[None]:
        """Run during a block."""
        wall, own = time.monotonic(), time.process_time()
        try:
            yield
        finally:
            self.wall += time.monotonic() - wall
            self.own += time.process_time() - own


@dataclass
class Spent:
    """What one test case took, from pytest's beginning with it to its end, reports included."""

    case: str
    whole: Clock = field(default_factory=Clock)
    fork: Clock = field(default_factory=Clock)
    """The part of it in which its testbed was waited for."""


class _TimedSupply(ForkSupply):
    def __init__(self, supply: ForkSupply, spent: list[Spent]) -> None:
        super().__init__(supply.launcher)
        self._spent = spent

    def testbed(self, cell: Cell) -> Testbed:
        with self._spent[-1].fork.runs():
            return super().testbed(cell)


class _Timer:
    def __init__(self, spent: list[Spent], file: Path) -> None:
        self._spent = spent
        self._file = file

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        spent = Spent(item.nodeid)
        self._spent.append(spent)
        with spent.whole.runs():
            return (yield)

    def pytest_sessionfinish(self) -> None:
        self._file.write_text(json.dumps([asdict(one) for one in self._spent]))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--spent", metavar="FILE", help="for python -m benchmarks alone")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    bench = config.stash[BENCH]
    assert isinstance(bench.supply, ForkSupply)
    spent: list[Spent] = []
    config.stash[BENCH] = Bench(bench.cells, _TimedSupply(bench.supply, spent))
    config.pluginmanager.register(_Timer(spent, Path(config.getoption("spent"))))
