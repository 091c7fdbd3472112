"""How a guest broke, as it said on its console, told its machine or shows on its screen; none of it asks the guest."""

import re
from contextlib import suppress

from harness.errors import NicproofError
from harness.qemu.console import Console, ConsoleTimeout
from harness.qemu.monitor import Monitor
from harness.qemu.process import QemuProcess
from harness.qemu.screen import Screen

BLUE_SCREEN = "it shows a blue screen"
_FATES = {
    "RESET": "it reset its machine",
    "SHUTDOWN": "it switched its machine off",
    "GUEST_PANICKED": "it told its machine that it has panicked",
}
_PANIC = "Kernel panic - not syncing"
_CRASH = re.compile(
    rf"^.*(?:{_PANIC}|Oops: |BUG: |WARNING: CPU|WARNING: .* at |general protection fault|"
    r"rcu: INFO: .*detected (?:expedited )?stall|INFO: task .* blocked for more than|"
    r"Out of memory: Killed|nicproof: failed: ).*$",
    re.MULTILINE,
)
"""What a Linux kernel, or the guest's own start, says when something broke or stands still for good (lib/bug.c,
kernel/panic.c, kernel/rcu/tree_stall.h, kernel/hung_task.c)."""


def first_crash(log: str) -> str | None:
    """Return the first line of a console or a kernel's log that says that something broke."""
    found = _CRASH.search(log)
    return found[0].strip() if found else None


def crash_on_console(console: Console) -> str | None:
    """Return the first line in which the guest said that it broke, or None; a line that it is still saying, whole."""
    said = console.text
    found = _CRASH.search(said)
    if found is not None and found.end() == len(said):
        with suppress(ConsoleTimeout):
            console.wait_for("\n", 1.0, found.start())
    return first_crash(console.text)


def panicked(console: Console) -> bool:
    """Whether the guest's kernel has stopped for good: no question to it would be answered."""
    return _PANIC in console.text


def told_machine(monitor: Monitor, *, may_reset: bool = False) -> str | None:
    """Return the first thing by which the guest ended its own life, or None.

    Args:
        monitor: of its machine.
        may_reset: a reset is none, as while it boots.

    Raises:
        NicproofError: QEMU is gone.
    """
    for event in monitor.fate():
        if (name := event["event"]) != "RESET" or not may_reset:
            return _FATES[name]
    return None


def crash_of_machine(vm: QemuProcess, screen: Screen | None) -> str | None:
    """Return what the guest told its machine or shows on its screen, or None; that QEMU is gone is found elsewhere."""
    if vm.killed:
        return None
    with suppress(NicproofError):
        if (event := told_machine(vm.monitor)) is not None:
            return event
        if screen and screen.picture().is_blue_screen:
            return BLUE_SCREEN
    return None
