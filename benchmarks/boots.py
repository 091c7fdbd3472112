"""Boots, forks and the memory that they take."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.setting import Setting, answer, clock
from harness import rundir
from harness.qemu import machine
from harness.qemu.process import QemuProcess
from harness.readiness import wait_for_endpoint
from harness.testbed import Testbed

INIT_SAYS = "benchmark: init"
INIT_DEADLINE_S = 120.0


def bare_boot(setting: Setting) -> float:
    """Time a bare QEMU with the cell's kernel, memory and processors, from its start to the first words of init.

    The least that any harness on this kernel needs: no NIC, no disk, and as init a shell from the initial RAM disk.
    """
    hardware = machine.hardware(setting.cell, setting.image, setting.launcher.accel)
    settings = list(hardware.arguments)

    def option(name: str) -> tuple[str, str]:
        return name, settings[settings.index(name) + 1]

    command = f'{setting.image.append} rdinit=/bin/busybox -- sh -c "echo {INIT_SAYS}; busybox poweroff -f"'
    arguments = (
        *("-no-user-config", "-nodefaults", "-display", "none"),
        *(word for name in ("-machine", "-accel", "-cpu", "-smp", "-m") for word in option(name)),
        *machine.memory(hardware, None, copy_on_write=False),
        *("-kernel", str(setting.image.kernel), "-initrd", str(setting.image.initrd), "-append", command),
    )

    def boot() -> None:
        with QemuProcess(setting.launcher.qemu, arguments, directory, memory_mib=hardware.memory_mib) as vm:
            vm.console.wait_for(INIT_SAYS, INIT_DEADLINE_S)

    directory = rundir.make()
    try:
        return clock(boot)
    finally:
        rundir.remove(directory)


def cold_boot(setting: Setting) -> float:
    """Time a cell's guest from nothing to the answer to its first command over SSH, without a snapshot."""
    return _until_first_answer(lambda: setting.launcher.boot(setting.cell, setting.image))


def fork(setting: Setting) -> float:
    """Time a fork of the same guest's snapshot to the answer to its first command over SSH: every test waits for it."""
    saved = setting.saved
    return _until_first_answer(lambda: setting.launcher.fork(setting.cell, saved))


def _until_first_answer(start: Callable[[], Testbed]) -> float:
    beds: list[Testbed] = []

    def answered() -> None:
        beds.append(start())
        answer(beds[0])

    try:
        return clock(answered)
    finally:
        for bed in beds:
            bed.close()


def memory_of_fork(setting: Setting) -> float:
    """Measure the memory of a fork's QEMU after a test's work: a login, the guest's counters, its endpoint, a flood."""
    bed = setting.launcher.fork(setting.cell, setting.saved)
    try:
        bed.guest.counters()
        with bed.guest.endpoint().capture(b"benchmark"):
            bed.wire.send(*[bytes(60)] * 10_000)
            bed.wire.resolve("192.0.2.2")
        return memory_mb(bed)
    finally:
        bed.close()


def memory_of_boot(setting: Setting) -> float:
    """Measure the memory of a booted guest's QEMU just before it is saved: the most that a guest ever takes."""
    directory = rundir.make()
    try:
        bed = setting.launcher.boot(setting.cell, setting.image, directory / "memory")
        try:
            wait_for_endpoint(bed)
            return memory_mb(bed)
        finally:
            bed.close()
    finally:
        rundir.remove(directory)


def memory_mb(bed: Testbed) -> float:
    """Return the memory of a guest's QEMU in MB, each page that it shares with others divided among them."""
    # Pss:               88344 kB
    for line in Path(f"/proc/{bed.vm.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/PID/smaps_rollup has no Pss")
