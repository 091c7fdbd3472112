"""One QEMU, its monitor and its snapshots, on a machine with nothing but firmware: how it ends, and what is said."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from harness.errors import NicproofError
from harness.qemu import snapshot
from harness.qemu.binary import Qemu, find_qemu
from harness.qemu.monitor import CommandRefused, MonitorLost
from harness.qemu.process import QemuProcess
from tests.conftest import wait_until

MACHINE = ("-no-user-config", "-nodefaults", "-display", "none", "-machine", "q35", "-accel", "tcg", "-m", "32")

Started = Callable[..., QemuProcess]


@pytest.fixture(scope="module")
def qemu() -> Qemu:
    return find_qemu()


@pytest.fixture
def started(qemu: Qemu, tmp_path: Path) -> Iterator[Started]:
    running: list[QemuProcess] = []

    def begin(
        *more: str, memory_mib: int = 32, paused: bool = False, incoming: bool = False, second_serial: bool = False
    ) -> QemuProcess:
        directory = tmp_path / f"vm{len(running)}"
        directory.mkdir()
        vm = QemuProcess(
            qemu,
            [*MACHINE, *more],
            directory,
            memory_mib=memory_mib,
            second_serial=second_serial,
            paused=paused,
            incoming=incoming,
        )
        running.append(vm)
        return vm

    yield begin
    for vm in running:
        vm.kill()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_an_ended_qemu_leaves_no_process_and_no_descriptor(started: Started) -> None:
    started().kill()  # what libraries open once is open now
    before = descriptors()
    vm = started()
    assert vm.death() is None
    vm.kill()
    vm.kill()
    assert not Path("/proc", str(vm.pid)).exists()
    assert descriptors() == before
    assert (vm.death(), vm.crashed) == (None, False), "it was ended on purpose"


def test_a_second_serial_port_is_com2_of_the_guest_and_ends_with_it(started: Started, tmp_path: Path) -> None:
    # A boot sector that answers each letter on COM2 (0x2f8) with the letter of the other case:
    #   mov dx,0x2fd; in al,dx; test al,1; jz -5; mov dx,0x2f8; in al,dx; xor al,0x20; out dx,al; jmp to the start
    program = bytes.fromhex("bafd02 ec a801 74fb baf802 ec 3420 ee ebef")
    (tmp_path / "disk").write_bytes((program.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    before = descriptors()
    vm = started("-drive", f"file={tmp_path / 'disk'},format=raw,if=ide", second_serial=True)
    assert vm.serial is not None
    vm.serial.settimeout(60)
    vm.serial.sendall(b"Serial Shell")
    heard = b""
    while len(heard) < 12:
        heard += vm.serial.recv(64)
    assert heard == b"sERIAL\0sHELL"
    assert vm.console.text.count("sERIAL") == 0, "the console is another port"
    vm.kill()
    assert descriptors() == before
    assert started().serial is None


def test_qemus_own_words_tell_why_it_did_not_start(started: Started) -> None:
    with pytest.raises(
        NicproofError, match=r"^QEMU did not start: .*'no-such-device' is not a valid device model name"
    ):
        started("-device", "no-such-device")


def test_a_guest_for_which_there_is_no_memory_is_refused_before_it_starts(started: Started) -> None:
    said = r"^not enough memory for another guest: it needs 10000192 MiB, the host has \d+ MiB available; run fewer"
    with pytest.raises(NicproofError, match=said):
        started(memory_mib=10_000_000)


@pytest.mark.parametrize(
    ("deadly", "crashed"),
    [(signal.SIGKILL, False), (signal.SIGTERM, False), (signal.SIGABRT, True), (signal.SIGSEGV, True)],
)
def test_a_qemu_that_ends_by_itself_says_how_and_only_a_fault_of_its_own_is_a_crash(
    deadly: signal.Signals, crashed: bool, started: Started
) -> None:
    vm = started()
    os.kill(vm.pid, deadly)
    wait_until("QEMU's end", vm.death)
    how = "exited with status 0: " if deadly is signal.SIGTERM else f"killed by {deadly.name}"
    death = vm.death()
    assert str(death).startswith(f"QEMU {how}")
    assert vm.crashed is crashed
    vm.kill()
    (vm.directory / "qemu.log").unlink()
    assert (vm.death(), vm.crashed) == (death, crashed), "to clear up afterwards changes nothing"


def test_the_harness_takes_its_qemu_along_whatever_kills_it(tmp_path: Path) -> None:
    harness = f"""
        from pathlib import Path
        from harness.qemu.binary import find_qemu
        from harness.qemu.process import QemuProcess
        vm = QemuProcess(find_qemu(), {MACHINE!r}, Path({str(tmp_path)!r}), memory_mib=32)
        print(vm.pid, flush=True)
        input()
    """
    code = "\n".join(line.strip() for line in harness.splitlines())
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert Path("/proc", str(pid)).exists()
        process.kill()
    wait_until("QEMU's end", lambda: not Path("/proc", str(pid)).exists())


def test_a_refused_command_is_one_line_and_the_monitor_goes_on(started: Started) -> None:
    monitor = started().monitor
    with pytest.raises(CommandRefused, match=r"^QEMU refused device_del: Device 'nobody' not found$"):
        monitor.execute("device_del", id="nobody")
    assert monitor.execute("query-status")["running"] is True


def test_a_qemu_that_is_gone_or_silent_is_told_from_one_that_refuses(started: Started) -> None:
    silent, dead = started(), started()
    os.kill(silent.pid, signal.SIGSTOP)
    with pytest.raises(MonitorLost, match=r"^QEMU gave no answer to the event that never comes within 0\.3 s$"):
        silent.monitor.wait_event("the event that never comes", lambda event: True, 0.3)
    os.kill(dead.pid, signal.SIGKILL)
    wait_until("QEMU's end", dead.death)
    for _ in range(2):
        with pytest.raises(MonitorLost, match=r"^QEMU closed its monitor during query-status"):
            dead.monitor.execute("query-status")


def test_an_event_is_not_waited_for_once_qemu_is_gone(started: Started) -> None:
    vm = started()
    killer = threading.Timer(0.3, os.kill, (vm.pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(MonitorLost, match=r"^QEMU closed its monitor during the event that never comes"):
        vm.monitor.wait_event("the event that never comes", lambda event: False, 60)
    killer.join()
    assert str(vm.death()).startswith("QEMU killed by SIGKILL")


LINGERS = """
import os, subprocess, sys, time
qemu = subprocess.Popen(sys.argv[1:], close_fds=False)
os.closerange(3, 256)
qemu.wait()
time.sleep(0.5)
sys.exit(7)
"""


def test_a_qemu_that_has_closed_its_monitor_but_not_ended_yet_is_waited_for(qemu: Qemu, tmp_path: Path) -> None:
    lingers = replace(qemu, argv=(sys.executable, "-c", LINGERS, *qemu.argv))
    with QemuProcess(lingers, MACHINE, tmp_path, memory_mib=32) as vm:
        vm.monitor.execute("quit")
        with pytest.raises(MonitorLost):
            vm.monitor.execute("query-status")
        assert str(vm.death()).startswith("QEMU exited with status 7")


def test_events_are_waited_for_and_others_passed_over(started: Started) -> None:
    monitor = started().monitor
    monitor.execute("stop")
    monitor.execute("cont")
    event = monitor.wait_event("RESUME", lambda heard: heard["event"] == "RESUME", 10)
    assert event["event"] == "RESUME"
    monitor.execute("stop")
    assert [heard["event"] for heard in monitor.forget_events()] == ["STOP"]


# The CMOS memory is state of a device that every machine has, and can be reached without a guest.


def remember(vm: QemuProcess, value: int) -> None:
    vm.monitor.human("o /b 0x70 0x60")
    vm.monitor.human(f"o /b 0x71 {value:#x}")


def remembered(vm: QemuProcess) -> int:
    vm.monitor.execute("stop")  # the firmware uses the same two ports
    vm.monitor.human("o /b 0x70 0x60")
    return int(vm.monitor.human("i /b 0x71").split("=")[1], 16)


@pytest.mark.parametrize("version", ["10.0", "7.2"])
def test_a_snapshot_goes_on_where_it_was_saved(version: str, started: Started, tmp_path: Path) -> None:
    first, second = started(paused=True), started(incoming=True)
    first.version = second.version = Version(version)  # an old one is handed the file, which newer ones still take
    remember(first, 0x5A)
    snapshot.save(first, tmp_path / "state")
    first.kill()
    snapshot.load(second, tmp_path / "state")
    assert second.monitor.execute("query-status")["running"] is True
    assert remembered(second) == 0x5A


@pytest.mark.parametrize("version", ["10.0", "7.2"])
@pytest.mark.parametrize("way", [snapshot.save, snapshot.load])
def test_a_snapshot_file_that_cannot_be_opened_is_refused_with_the_reason(
    way: Callable[[QemuProcess, Path], None], version: str, started: Started, tmp_path: Path
) -> None:
    vm = started(incoming=way is snapshot.load)
    vm.version = Version(version)
    with pytest.raises(NicproofError, match=r"No such file"):
        way(vm, tmp_path / "missing" / "state")


@pytest.mark.parametrize("damage", ["empty", "cut off", "of another machine"])
def test_a_snapshot_that_is_not_whole_or_not_of_this_machine_is_refused(
    damage: str, started: Started, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    snapshot.save(started(*(("-device", "e1000e") if damage == "of another machine" else ())), state)
    if damage != "of another machine":
        os.truncate(state, 0 if damage == "empty" else 3000)
    with pytest.raises((snapshot.SnapshotError, MonitorLost)):
        snapshot.load(started(incoming=True), state, deadline_s=20)
