"""What all benchmarks share: the QEMU, the cell, and what is made ready before the clock starts."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from harness import rundir
from harness.cell import Cell, find_cell
from harness.image import BootImage, build_image
from harness.launcher import Launcher, Saved
from harness.qemu.accel import choose_accel
from harness.qemu.binary import find_qemu
from harness.testbed import Testbed

CELL = "linux/e1000e/msix"
WIRE_CELL = "linux/virtio-net-modern/msix"
"""Its guest takes frames at the highest rate under emulation and loses none, so it can count what the wire gives."""


def clock(work: Callable[[], object]) -> float:
    """Return how many seconds `work` takes."""
    start = time.monotonic()
    work()
    return time.monotonic() - start


def answer(testbed: Testbed) -> None:
    """Log in to the guest and run one command."""
    ssh = testbed.connect()
    try:
        ssh.check("true")
    finally:
        ssh.close()


@dataclass(frozen=True)
class Setting:
    """Where the benchmarks run: emulation, whatever the host could do, so that hosts compare."""

    launcher: Launcher

    @cached_property
    def cell(self) -> Cell:
        """The cell whose guest is booted and forked."""
        return find_cell(CELL)

    @cached_property
    def image(self) -> BootImage:
        """What that guest boots from."""
        return build_image(self.cell.profile)

    @cached_property
    def saved(self) -> Saved:
        """That guest's snapshot."""
        return self.launcher.saved(self.cell)

    @cached_property
    def wire_cell(self) -> Cell:
        """The cell on whose cable the wire is measured."""
        return find_cell(WIRE_CELL)

    @cached_property
    def wire_saved(self) -> Saved:
        """That cell's snapshot."""
        return self.launcher.saved(self.wire_cell)


def here() -> Setting:
    """Return the setting of this host."""
    rundir.sweep()
    qemu = find_qemu(None)
    return Setting(Launcher(qemu, choose_accel(qemu, "tcg")))
