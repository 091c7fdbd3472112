"""How many workers a job has where nobody says how many."""

import os

from tests.conftest import Start

SUITE = """
    import os

    def test_it(cell):
        assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "EXPECTED"
"""


def test_auto_is_two_workers_for_each_processor_and_no_more_than_gibibytes(start: Start) -> None:
    processors, memory = len(os.sched_getaffinity(0)), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    suite = SUITE.replace("EXPECTED", str(min(2 * processors, memory // 1024**3)))
    ended = start(suite, "--profile", "linux", "--nic", "e1000e", "--irq", "msix", "-n", "auto").ended()
    assert ended.status == 0, ended.output
