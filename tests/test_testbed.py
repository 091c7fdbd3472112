"""A running guest: what its start says when it cannot be used, and that forks know nothing of each other."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from harness import rundir
from harness.cell import Cell, find_cell
from harness.endpoint.cable import Direction
from harness.errors import InputError, NicproofError
from harness.guest.ssh import SshError
from harness.image import build_image
from harness.launcher import Launcher
from harness.moving import save_and_restore
from harness.profile import Ready, SshProfile
from harness.readiness import BootFailure, reboot, wait_ready
from harness.station import DUT
from harness.testbed import Testbed


@pytest.fixture(scope="module")
def e1000e() -> Cell:
    return find_cell("linux/e1000e/msix")


@pytest.fixture
def fork(launcher: Launcher, e1000e: Cell) -> Iterator[Callable[[], Testbed]]:
    beds: list[Testbed] = []

    def one_more() -> Testbed:
        beds.append(launcher.fork(e1000e, launcher.saved(e1000e)))
        return beds[-1]

    yield one_more
    for bed in beds:
        bed.close()


def having_ready(cell: Cell, deadline_s: float, **ready: object) -> Cell:
    """Return the cell with other events that show that its guest is ready."""
    other = Ready.model_validate({**ready, "deadline_s": deadline_s})
    return replace(cell, profile=cell.profile.model_copy(update={"ready": other}))


def awaiting(bed: Testbed, deadline_s: float, **ready: object) -> Testbed:
    """Make a guest one that its profile has yet to find ready."""
    bed.cell = having_ready(bed.cell, deadline_s, **ready)
    return bed


@pytest.fixture
def other_key(tmp_path: Path) -> Path:
    paramiko.RSAKey.generate(2048).write_private_key_file(str(tmp_path / "key"))
    return tmp_path / "key"


def test_forks_of_one_snapshot_know_nothing_of_each_other(fork: Callable[[], Testbed]) -> None:
    first, second = fork(), fork()
    assert first.connect().run("mkdir /run/mark").status == 0
    assert second.connect().run("mkdir /run/mark").status == 0
    first.guest.set_up(False)
    assert first.wire.resolve(DUT.ip, deadline_s=0.5) is None
    assert second.wire.resolve(DUT.ip) is not None
    assert first.crash() is None


def test_a_guest_goes_on_in_another_qemu_and_the_former_is_gone(fork: Callable[[], Testbed]) -> None:
    bed = fork()
    former = bed.vm
    ssh = bed.connect()
    ssh.check("mkdir /run/mark; echo '<4>WARNING: CPU: 0 of a test' >/dev/kmsg")
    ssh.close()
    bed.vm.console.wait_for("of a test", 10)
    save_and_restore(bed)
    assert bed.connect().run("test -d /run/mark").status == 0
    assert bed.wire.resolve(DUT.ip) is not None
    assert bed.function().bus_mastering
    assert bed.crash() is not None, "that the guest broke in the former QEMU is forgotten"
    assert not Path("/proc", str(former.pid)).exists()
    bed.close()
    assert not {former.directory, bed.vm.directory} & set(rundir.directories())


def test_a_closed_guest_leaves_no_process_and_no_directory(fork: Callable[[], Testbed]) -> None:
    bed = fork()
    bed.guest.link()
    bed.close()
    bed.close()
    assert not Path("/proc", str(bed.vm.pid)).exists()
    assert bed.vm.directory not in rundir.directories()


def test_a_guest_that_refuses_the_key_is_not_ready_and_that_is_the_reason(
    fork: Callable[[], Testbed], other_key: Path
) -> None:
    bed = awaiting(fork(), 2, ssh=True)
    bed.image = replace(bed.image, ssh_key=other_key)
    said = r"not ready within 2 s, waiting for SSH \(root@127\.0\.0\.1 port \d+ refused the key .*/key .*\); "
    with pytest.raises(BootFailure, match=said):
        wait_ready(bed)


def test_a_mistake_in_the_profile_is_said_at_once_and_not_waited_for(fork: Callable[[], Testbed]) -> None:
    bed = awaiting(fork(), 10, ssh=True)
    ssh = SshProfile(disabled_algorithms={"ciphers": ("aes128-crt",)})
    bed.cell = replace(bed.cell, profile=bed.cell.profile.model_copy(update={"ssh": ssh}))
    with pytest.raises(InputError, match=r"^ssh\.disabled_algorithms: aes128-crt: no such cipher; nearest: aes128-ctr"):
        wait_ready(bed)


def test_a_guest_that_panics_or_whose_qemu_dies_is_not_waited_for_any_longer(fork: Callable[[], Testbed]) -> None:
    panics, dies = (awaiting(fork(), 600, console="never said by anyone") for _ in range(2))
    panics.connect().start("echo c > /proc/sysrq-trigger")
    with pytest.raises(BootFailure, match=r"the guest broke while it booted: .*Kernel panic"):
        wait_ready(panics)
    os.kill(dies.vm.pid, signal.SIGKILL)
    with pytest.raises(NicproofError, match=r"QEMU killed by SIGKILL while the guest booted$"):
        wait_ready(dies)


def test_what_a_guest_asks_for_while_it_boots_is_typed_in_order(launcher: Launcher) -> None:
    uboot = find_cell("uboot/e1000/polled")
    image = build_image(uboot.profile)
    words = [("Hit any key", "\n"), ("=> ", "echo one\n"), ("one", "echo two\n"), ("two\n", "echo three; true\n")]
    dialogue = [{"expect": expect, "send": send} for expect, send in words]
    with closing(launcher.boot(having_ready(uboot, 60, dialogue=dialogue, console="Hit any key"), image)) as bed:
        bed.vm.console.wait_for(r"=> echo one\none\n=> echo two\ntwo\n=> echo three; true\nthree\n", 20)
    with pytest.raises(BootFailure, match=r"not ready within 3 s, waiting for console text 'no prompt'; "):
        launcher.boot(having_ready(uboot, 3, dialogue=[{"expect": "no prompt", "send": "x"}], console="U-Boot"), image)


def test_a_guest_whose_cable_is_to_be_quiet_is_ready_when_it_has_spoken_and_no_more_comes(launcher: Launcher) -> None:
    uboot = find_cell("uboot/e1000/polled")
    image, typed = build_image(uboot.profile), uboot.profile.ready.dialogue
    with closing(launcher.boot(having_ready(uboot, 90, dialogue=typed, quiet_cable_s=2), image)) as bed:
        sent = [record.time for record in bed.cable.records if record.direction is Direction.FROM_DUT]
        assert sent, "it has asked for an address and a file"
        assert time.time() - sent[-1] >= 2
        reboot(bed)
        assert bed.crash() is None, "it was asked to start anew"
    with pytest.raises(BootFailure, match=r"waiting for a first frame from the DUT and then none for 2 s; "):
        launcher.boot(having_ready(uboot, 5, quiet_cable_s=2), image)


def test_there_must_be_memory_for_a_guest(launcher: Launcher, e1000e: Cell) -> None:
    machine = e1000e.profile.machine.model_copy(update={"memory_mib": 10_000_000})
    huge = replace(e1000e, profile=e1000e.profile.model_copy(update={"machine": machine}))
    before = rundir.directories()
    with pytest.raises(NicproofError, match=r"^not enough memory for another guest: it needs 10000192 MiB"):
        launcher.fork(huge, launcher.saved(e1000e))
    mine = {path for path in rundir.directories() if path.name.startswith(f"{os.getpid()}-")}
    assert mine <= set(before), "what was refused leaves no directory"


def test_a_command_that_does_not_end_is_given_up_with_its_words(fork: Callable[[], Testbed]) -> None:
    ssh = fork().connect()
    with pytest.raises(SshError, match=r"^in the guest, 'sleep 600' did not end within 1 s$"):
        ssh.run("sleep 600", deadline_s=1)
    with pytest.raises(SshError, match=r"^the guest does not let us reach its 127\.0\.0\.1 port 9: "):
        ssh.connect_to("127.0.0.1", 9)
