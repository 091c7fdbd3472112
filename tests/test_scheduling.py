"""Which worker runs which tests, played with workers that take a second for each."""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from xdist.remote import Producer

from harness.scheduling import CellScheduling

CELLS = {"linux/a/msix": 12, "linux/b/msix": 2, "linux/c/msix": 2, "linux/d/msix": 6}
"""How many suites there are on each."""
CASES = 4
TESTS = [
    f"suites/test_{suite}.py::test_rule{case}[{cell}-x]"
    for cell, suites in CELLS.items()
    for suite in range(suites)
    for case in range(CASES)
]


def cell_of(nodeid: str) -> str | None:
    return nodeid.partition("[")[2].removesuffix("-x]") or None


class Worker:
    """What xdist's scheduler needs of one."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.waiting: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.waiting += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class Played:
    """A run: each worker in turn takes its next test, until none has one."""

    def __init__(self, config: pytest.Config, workers: int, *, whole_cells: bool = False) -> None:
        self.workers = [Worker(f"gw{n}") for n in range(workers)]
        self.ran: dict[Worker, list[str]] = defaultdict(list)
        self.rounds = 0
        config.option.tx, config.option.loadscopereorder = ["popen"] * workers, False
        self.scheduling: Any = CellScheduling(config, Producer("test", enabled=False), cell_of, whole_cells=whole_cells)
        for worker in self.workers:
            self.scheduling.add_node(worker)
            self.scheduling.add_node_collection(worker, TESTS)
        self.scheduling.schedule()

    def play(self, rounds: int = 10_000) -> "Played":
        while rounds and any(worker.waiting for worker in self.workers):
            for worker in self.workers:
                if worker.waiting:
                    index = worker.waiting.pop(0)
                    self.ran[worker].append(TESTS[index])
                    self.scheduling.mark_test_complete(worker, index)
            rounds -= 1
            self.rounds += 1
        return self

    def die(self, worker: Worker) -> str | None:
        self.workers.remove(worker)
        crashed: str | None = self.scheduling.remove_node(worker)
        return crashed

    def cells(self, worker: Worker) -> list[str]:
        """Return the cells of a worker in the order in which it began with each."""
        return list(dict.fromkeys(cell_of(test) or "" for test in self.ran[worker]))


@pytest.fixture
def config(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> pytest.Config:
    for name in ("tx", "loadscopereorder"):
        monkeypatch.setattr(pytestconfig.option, name, None, raising=False)
    return pytestconfig


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 30])
def test_each_test_runs_once_and_those_of_a_suite_after_each_other(config: pytest.Config, workers: int) -> None:
    played = Played(config, workers).play()
    ran = [test for tests in played.ran.values() for test in tests]
    assert sorted(ran) == sorted(TESTS)
    for tests in played.ran.values():
        for first in range(0, len(tests), CASES):
            assert len({test.partition("::")[0] for test in tests[first : first + CASES]}) == 1


def test_each_worker_takes_a_cell_and_the_next_that_nobody_has(config: pytest.Config) -> None:
    played = Played(config, 3).play()
    a, b, c, d = CELLS
    assert [played.cells(worker)[:2] for worker in played.workers] == [[a, d], [b, d], [c, a]]


def test_workers_without_a_cell_help_so_that_all_end_together(config: pytest.Config) -> None:
    played = Played(config, 3).play()
    assert played.rounds <= len(TESTS) / 3 + 2 * CASES


def test_one_cell_has_all_workers(config: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = next(iter(CELLS))
    monkeypatch.setattr("tests.test_scheduling.TESTS", [test for test in TESTS if cell_of(test) == cell])
    played = Played(config, 3).play()
    assert [len(played.ran[worker]) for worker in played.workers] == [16, 16, 16]


def test_whole_cells_stay_in_one_worker_each(config: pytest.Config) -> None:
    played = Played(config, 3, whole_cells=True).play()
    owners = {cell: {worker for worker in played.workers if cell in played.cells(worker)} for cell in CELLS}
    assert {cell: len(workers) for cell, workers in owners.items()} == dict.fromkeys(CELLS, 1)


def test_dead_workers_tests_are_run_by_others_but_for_the_one_that_it_died_in(config: pytest.Config) -> None:
    played = Played(config, 3).play(rounds=2)
    dead = played.workers[0]
    in_hand = TESTS[dead.waiting[0]]
    assert played.die(dead) == in_hand
    played.play()
    ran = [test for tests in played.ran.values() for test in tests]
    assert sorted([*ran, in_hand]) == sorted(TESTS)
