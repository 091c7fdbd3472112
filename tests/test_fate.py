"""What Linux kernels say when they break, and what only looks like it."""

import pytest

from harness.fate import first_crash

# Debian 13, Linux 6.12: a processor that gets no timer any more, seen 21 s later by the other one.
STALL = """\
[   25.378584] nicproof: endpoint ready
[   48.665299] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
[   48.666764] rcu: \t1-...!: (0 ticks this GP) idle=c730/0/0x0 softirq=1007/1007 fqs=0 (false positive?)
[   48.668107] rcu: \t(detected by 0, t=5254 jiffies, g=389, q=319 ncpus=2)
[   48.671669] NMI backtrace for cpu 1
"""
HEALTHY = """\
[    0.032000] tsc: Unable to calibrate against PIT
[    1.472974] mtrr: your CPUs had inconsistent fixed MTRR settings
[    3.688807] amd_pstate: the _CPC object is not present in SBIOS or ACPI disabled
[    8.596468] nicproof: ready
[   25.378584] nicproof: endpoint ready
"""


def test_a_processor_that_stands_still_is_told_by_the_line_that_says_so() -> None:
    assert first_crash(STALL) == "[   48.665299] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"


@pytest.mark.parametrize(
    "line",
    [
        "rcu: INFO: rcu_preempt self-detected stall on CPU",
        "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-...D } 21 jiffies s: 77 root: 0x2/.",
        "INFO: task kworker/0:1:9 blocked for more than 120 seconds.",
        "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [ip:311]",
        "Kernel panic - not syncing: sysrq triggered crash",
    ],
)
def test_each_way_to_stand_still_is_told(line: str) -> None:
    assert first_crash(f"{HEALTHY}[   99.000001] {line}\n") == f"[   99.000001] {line}"


def test_boot_of_a_healthy_guest_is_no_crash() -> None:
    assert first_crash(HEALTHY) is None
