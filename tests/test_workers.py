"""How many workers a job has where nobody says how many."""

import os

from tests.conftest import Start

SUITE = """
    import os

    def test_it(cell):
        assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "EXPECTED"
"""


def test_auto_is_three_workers_for_two_processors(start: Start) -> None:
    processors = len(os.sched_getaffinity(0))
    suite = SUITE.replace("EXPECTED", str(processors + processors // 2))
    ended = start(suite, "--profile", "linux", "--nic", "e1000e", "--irq", "msix", "-n", "auto").ended()
    assert ended.status == 0, ended.output
