"""What becomes of a run when something goes wrong: one clear line, the right outcome, and nothing left behind."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from harness import rundir
from harness.guest.ssh import Ssh
from tests.conftest import Ended, Run, Start, wait_until

CELL = ("--profile", "linux", "--nic", "e1000e", "--irq", "msix")
HERE = ("-n", "0")
NOT_RUN = "not run: the run ended before this test"

WAITING = """
    from pathlib import Path

    def test_first(guest):
        pass

    def test_second(testbed, guest):
        Path(MARKS).write_text(f"{testbed.vm.pid}\\n")
        testbed.idle(600)

    def test_third(guest):
        pass
"""


def gone(pid: int) -> bool:
    """Whether a process has ended, or is a zombie whose parent has not looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def remains(run: Run) -> list[object]:
    return [*run.guests(), *run.directories()]


# A mistake of the user's: nothing runs.


@pytest.fixture
def old_qemu(tmp_path: Path) -> Path:
    version = {"qemu": {"micro": 19, "minor": 2, "major": 5}, "package": "Debian 1:5.2+dfsg-11+deb11u5"}
    greeting = json.dumps({"QMP": {"version": version, "capabilities": []}})
    program = tmp_path / "qemu-system-x86_64"
    program.write_text(f"#!/bin/sh\necho {shlex.quote(greeting)}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def without_kernel(tmp_path: Path) -> Path:
    profile = tmp_path / "own.yaml"
    profile.write_text("extends: linux\nimage: {suite: trixie, kernel: /no/such/vmlinuz}\n")
    return profile


MISTAKES = {
    "profile": (["--profile", "linus"], r"profile .*linus.*linux"),
    "nic": (["--profile", "linux", "--nic", "e100e"], r"--nic e100e: no such NIC model.*e1000e"),
    "mode": (["--profile", "linux", "--irq", "mxis"], r"--irq mxis: no such interrupt mode.*msix"),
    "cell": (["--profile", "linux", "--nic", "e1000", "--irq", "msix"], r"no cell linux/e1000/msix: .*MSI-X"),
    "image": (["--profile", "{without_kernel}"], r"own\.yaml.*kernel.*/no/such/vmlinuz"),
    "qemu": (["--profile", "linux", "--qemu", "/no/such/qemu"], r"--qemu /no/such/qemu: no such program"),
    "old qemu": (["--profile", "linux", "--qemu", "{old_qemu}"], r"QEMU 5\.2\.19 is too old, 7\.2 or newer is needed"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_exit_status_4_and_a_report_that_says_the_same(
    mistake: str, start: Start, old_qemu: Path, without_kernel: Path
) -> None:
    options, said = MISTAKES[mistake]
    places = {"old_qemu": old_qemu, "without_kernel": without_kernel}
    ended = start("def test_it(guest): ...", *HERE, *(option.format(**places) for option in options)).ended()
    assert ended.status == 4, ended.output
    lines = [line for line in ended.output.splitlines() if line.startswith("ERROR: ")]
    assert len(lines) == 1, ended.output
    assert re.search(said, lines[0])
    assert "Traceback" not in ended.output
    ((name, case),) = ended.cases.items()
    assert (name, case.outcome, f"ERROR: {case.message}") == ("start", "error", lines[0])


# A guest that cannot be had: each of its tests is an error, and a boot that failed is tried once more.


def own_profile(folder: Path, text: str) -> tuple[str, ...]:
    profile = folder / "own.yaml"
    profile.write_text(f"extends: linux\n{text}\n")
    return "--profile", str(profile), "--nic", "e1000e", "--irq", "msix"


THREE = """
    def test_one(guest):
        pass

    def test_two(guest):
        pass

    def test_three(guest):
        pass
"""

UNUSABLE = {
    "it never says ready": (
        "ready: {console: never said by anyone, deadline_s: 6}",
        r"own/e1000e/msix: not ready within 6 s, waiting for console text 'never said by anyone'; the console's last",
    ),
    "it panics while it boots": (
        "machine: {append: rdinit=/missing}",
        r"own/e1000e/msix: the guest broke while it booted: .*Kernel panic - not syncing: ",
    ),
    "the disk has no room for it": (
        "machine: {memory_mib: 99999999}",
        r"not enough disk for the snapshot of own/e1000e/msix: it needs 199999998 MiB",
    ),
    "QEMU refuses the device": (
        "nics: {e1000e: {modes: {msix: {device: {no-such-property: 1}}}}}",
        r"QEMU did not start: .*no-such-property",
    ),
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_a_guest_that_cannot_be_had_is_an_error_of_each_test_with_the_reason(
    reason: str, start: Start, tmp_path: Path
) -> None:
    text, said = UNUSABLE[reason]
    run = start(THREE, *HERE, *own_profile(tmp_path, text))
    ended = run.ended()
    assert ended.status == 1, ended.output
    cases = ended.cases
    assert [case.outcome for case in cases.values()] == ["error"] * 3
    for name in ("test_one", "test_two"):
        assert re.search(said, cases[name].message), cases[name].message
    assert cases["test_three"].message == cases["test_two"].message, "a boot gets a second chance, and no third"
    assert remains(run) == []


DIES_WHILE_BOOTING = """
    import os
    from harness import launcher

    wait_ready = launcher.wait_ready

    def die(testbed):
        launcher.wait_ready = wait_ready
        os.kill(testbed.vm.pid, 6)
        wait_ready(testbed)

    launcher.wait_ready = die

    def test_one(guest):
        pass

    def test_two(guest):
        pass
"""


def test_a_qemu_that_aborts_while_it_boots_costs_one_test_not_the_cell(start: Start, tmp_path: Path) -> None:
    # A command line of its own: a snapshot that exists would need no boot.
    mark = f"nicproof.test={tmp_path.name}-{os.getpid()}"
    ended = start(DIES_WHILE_BOOTING, *HERE, *own_profile(tmp_path, f"machine: {{append: {mark}}}")).ended()
    cases = ended.cases
    assert (cases["test_one"].outcome, cases["test_two"].outcome) == ("error", "passed"), ended.output
    assert cases["test_one"].message == "own/e1000e/msix: QEMU killed by SIGABRT while the guest booted"


def test_a_corrupt_snapshot_is_made_again_and_said_so(start: Start, tmp_path: Path) -> None:
    # A snapshot of its own: nobody else must fork from the corrupt one.
    options = own_profile(tmp_path, "machine: {append: nicproof.test=corrupt}")
    suite = "def test_it(guest, cell, testbed, pytestconfig):\n    from harness.plugin import BENCH\n"
    suite += "    open(MARKS, 'w').write(str(pytestconfig.stash[BENCH].supply.saved[cell.id].state))\n"
    run = start(suite, *HERE, *options)
    state = Path(run.wait_mark())
    assert run.ended().status == 0, run.output
    with state.open("r+b") as file:
        file.seek(state.stat().st_size // 2)
        octet = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([octet ^ 1]))
    ended = start(suite, *HERE, *options).ended()
    assert ended.status == 0, ended.output
    said = "the snapshot of own/e1000e/msix in the cache is unusable (its checksum is not the recorded one): making it"
    assert said in ended.output
    assert "Traceback" not in ended.output


# Something breaks in the middle of a test: that test says what, the next one has a new guest.

BREAKING = """
    import dataclasses, os, signal
    from pathlib import Path

    import paramiko
    import pytest

    from harness.guest.linux import LinuxGuest
    from harness.station import DUT

    def test_qemu_is_killed(testbed, guest):
        os.kill(testbed.vm.pid, signal.SIGKILL)
        guest.link()

    def test_next_after_killed(testbed, wire):
        assert wire.resolve(DUT.ip)

    def test_qemu_aborts(testbed, wire):
        os.kill(testbed.vm.pid, signal.SIGABRT)
        testbed.idle(20)

    def test_next_after_abort(wire):
        assert wire.resolve(DUT.ip)

    def test_kernel_panics(testbed):
        testbed.connect().start("echo c > /proc/sysrq-trigger")
        testbed.vm.console.wait_for("end Kernel panic", 60)

    @pytest.fixture
    def breaks_late(testbed):
        yield
        testbed.connect().start("echo '<0>BUG: seen late' > /dev/kmsg")
        testbed.vm.console.wait_for("BUG: seen late", 60)

    def test_guest_breaks_when_the_test_is_over(guest, breaks_late):
        pass

    def test_ssh_refuses_the_key(testbed, tmp_path):
        other = tmp_path / "key"
        paramiko.RSAKey.generate(2048).write_private_key_file(str(other))
        testbed.image = dataclasses.replace(testbed.image, ssh_key=other)
        testbed.connect()

    def test_ssh_shows_another_host_key(testbed):
        kind, key = testbed.image.host_key.split()[:2]
        testbed.image = dataclasses.replace(testbed.image, host_key=f"{kind} {key[:-4]}AAAA")
        testbed.connect()

    def test_nic_takes_no_frame(testbed):
        from harness.endpoint.cable import CableStuck
        raise CableStuck("the cable is stuck")

    def test_command_fails(guest):
        guest.set_throttle("nonsense")

    def test_expectation_fails(guest):
        assert guest.driver().name == "another"

    def test_harness_has_a_bug(testbed):
        testbed.no_such_attribute

    def test_lacking_operation(testbed):
        from harness.guest.base import Guest
        Guest().link()

    def test_last(testbed, guest, wire):
        assert guest.link().up
        assert wire.resolve(DUT.ip)
"""

BROKEN = {
    "test_qemu_is_killed": ("error", r"^QEMU killed by SIGKILL$"),
    "test_next_after_killed": ("passed", ""),
    "test_qemu_aborts": ("failure", r"^QEMU killed by SIGABRT"),
    "test_next_after_abort": ("passed", ""),
    "test_kernel_panics": ("failure", r"^the guest broke: .*Kernel panic - not syncing: sysrq triggered crash"),
    "test_guest_breaks_when_the_test_is_over": ("failure", r"^the guest broke: .*BUG: seen late"),
    "test_ssh_refuses_the_key": ("error", r"^root@127\.0\.0\.1 port \d+ refused the key .*authorized_keys$"),
    "test_ssh_shows_another_host_key": ("error", r"^root@127\.0\.0\.1 port \d+ showed another host key .*image's own$"),
    "test_nic_takes_no_frame": ("failure", r"^the cable is stuck"),
    "test_command_fails": ("failure", r"^in the guest, 'ethtool -C .*nonsense' ended with status \d+: "),
    "test_expectation_fails": ("failure", r"^AssertionError|^assert "),
    "test_harness_has_a_bug": ("error", r"^AttributeError: .*no_such_attribute"),
    "test_lacking_operation": ("skipped", r"^the link's state: nobody can log in to this guest"),
    "test_last": ("passed", ""),
}


@pytest.fixture(scope="module")
def broken(start: Start) -> tuple[Run, Ended]:
    run = start(BREAKING, *HERE, *CELL)
    return run, run.ended()


@pytest.mark.parametrize("name", BROKEN)
def test_a_test_in_which_something_breaks_says_what(name: str, broken: tuple[Run, Ended]) -> None:
    outcome, said = BROKEN[name]
    case = broken[1].cases[name]
    assert case.outcome == outcome, f"{case}\n{broken[1].output}"
    assert re.search(said, case.message), case.message


def test_the_run_with_broken_guests_goes_on_to_its_end_and_leaves_nothing(broken: tuple[Run, Ended]) -> None:
    run, ended = broken
    assert ended.status == 1
    assert ended.cases.keys() == BROKEN.keys()
    assert remains(run) == []


def test_artifacts_of_a_panic_hold_the_console_from_the_boot_to_the_end(broken: tuple[Run, Ended]) -> None:
    folder = next(broken[1].junit.parent.rglob("test_it.test_kernel_panics"))
    said = (folder / "console.log").read_text()
    assert said.index("nicproof: ready") < said.index("Kernel panic - not syncing")
    assert {"cable.pcapng", "reproduce.sh", "qemu-command-line.txt", "device-after.txt"} <= set(os.listdir(folder))


def test_a_test_whose_process_is_killed_is_an_error_and_the_others_run(start: Start) -> None:
    suite = """
        import os, signal

        def test_one(guest):
            os.kill(os.getpid(), signal.SIGKILL)

        def test_two(guest):
            pass
    """
    run = start(suite, "-n", "1", *CELL)
    ended = run.ended()
    cases = ended.cases
    assert {name: case.outcome for name, case in cases.items()} == {"test_one": "error", "test_two": "passed"}
    assert cases["test_one"].message.startswith("the test's process died: worker 'gw0' crashed")
    assert remains(run) == []


# The user, or the host, ends the run.


@pytest.mark.parametrize("how", [HERE, ("-n", "2"), (*HERE, "--isolation", "cell"), (*HERE, "--keep")], ids=" ".join)
def test_ctrl_c_ends_guests_and_leaves_a_report_of_what_ran_and_what_did_not(
    how: tuple[str, ...], start: Start
) -> None:
    run = start(WAITING, *how, *CELL)
    guest = int(run.wait_mark())
    run.wait_passed("test_first")
    run.interrupt()
    ended = run.ended()
    assert ended.status == 2, ended.output
    wait_until("the guest's end", lambda: gone(guest))
    assert remains(run) == []
    cases = ended.cases
    assert cases["test_first"].outcome == "passed"
    for name in ("test_second", "test_third"):
        assert (cases[name].outcome, cases[name].message) == ("error", NOT_RUN)


@pytest.mark.parametrize("part", ["guest", "test"])
def test_ctrl_c_that_makes_an_error_of_its_own_ends_the_run_all_the_same(part: str, start: Start) -> None:
    suite = """
        import pytest

        @pytest.fixture
        def part(guest):
            if "PART" == "guest":
                lose_a_lock()

        def lose_a_lock():
            try:
                raise KeyboardInterrupt
            finally:
                raise RuntimeError("cannot release un-acquired lock")

        def test_one(part):
            lose_a_lock()

        def test_two(guest):
            pass
    """
    run = start(suite.replace("PART", part), *HERE, *CELL)
    ended = run.ended()
    assert ended.status == 2, ended.output
    assert {name: case.message for name, case in ended.cases.items()} == {"test_one": NOT_RUN, "test_two": NOT_RUN}
    assert remains(run) == []


@pytest.mark.parametrize("how", [HERE, ("-n", "2")], ids=" ".join)
def test_ctrl_c_twice_ends_at_once_and_leaves_nothing_either(how: tuple[str, ...], start: Start) -> None:
    run = start(WAITING, *how, *CELL)
    guest = int(run.wait_mark())
    run.interrupt()
    run.interrupt()
    ended = run.ended()
    wait_until("the guest's end", lambda: gone(guest))
    assert ended.cases["test_third"].message == NOT_RUN
    rundir.sweep()  # what the next run does
    assert remains(run) == []


@pytest.mark.parametrize("how", [HERE, ("-n", "1"), (*HERE, "--keep")], ids=" ".join)
def test_a_killed_harness_takes_its_guests_along_and_the_next_run_sweeps(how: tuple[str, ...], start: Start) -> None:
    run = start(WAITING, *how, *CELL)
    guest = int(run.wait_mark())
    run.wait_passed("test_first")
    run.process.send_signal(signal.SIGKILL)
    run.process.wait(30)
    if "--keep" not in how:
        wait_until("the guest's end", lambda: gone(guest))
    # A worker outlives its controller for as long as it takes to notice, and what it uses is not swept before.
    makers = [int(folder.name.partition("-")[0]) for folder in run.directories()]
    wait_until("the end of all its processes", lambda: all(map(gone, makers)))
    cases = run.ended().cases
    assert cases["test_first"].outcome == "passed"
    assert cases["test_third"].message == NOT_RUN
    next_run = start("def test_it(guest): ...", *HERE, *CELL)
    assert next_run.ended().status == 0
    wait_until("the guest's end", lambda: gone(guest))
    assert remains(run) == []


def test_two_runs_share_a_host_but_not_a_report(start: Start, tmp_path: Path) -> None:
    suite = """
        def test_it(testbed, guest):
            open(MARKS, "w").write("here")
            open(GO).read()
            assert guest.link().up
    """
    first = start(suite, *HERE, *CELL, "--reports", str(tmp_path))
    first.wait_mark()
    refused = start(suite, *HERE, *CELL, "--reports", str(tmp_path)).ended()
    assert refused.status == 4
    (line,) = (line for line in refused.output.splitlines() if line.startswith("ERROR: "))
    assert line.startswith(f"ERROR: another run is writing to {tmp_path}/linux: ")
    assert "--reports DIR" in line
    assert "Traceback" not in refused.output
    other = start("def test_it(guest): assert guest.link().up", *HERE, *CELL).ended()
    assert (other.status, other.cases["test_it"].outcome) == (0, "passed")
    first.go_on()
    ended = first.ended()
    assert (ended.status, ended.cases["test_it"].outcome) == (0, "passed")
    again = start("def test_it(guest): ...", *HERE, *CELL, "--reports", str(tmp_path)).ended()
    assert again.status == 0, "the place of a run that has ended is free"
    assert [path.name for path in (tmp_path / "linux").iterdir()] == ["junit.xml"]


# What the user asks for.


def log_in(line: str, command: str) -> str:
    """Run a command over SSH as the `line` says, by itself where there is an ssh."""
    if shutil.which("ssh"):
        return subprocess.run(
            ["sh", "-c", f"{line} {command}"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        ).stdout
    words = shlex.split(line)
    key, port = (words[words.index(option) + 1] for option in ("-i", "-p"))
    user, _, host = words[-1].partition("@")
    return Ssh((host, int(port)), user=user, key=Path(key), host_key=None).check(command)


def test_a_kept_guest_lets_the_user_in_and_ends_when_he_says_so(start: Start) -> None:
    run = start("def test_it(guest): assert not guest.link().up", "-n", "1", "--keep", *CELL)
    ended = run.ended()
    assert ended.status == 1
    said = ended.output.partition("the guest is kept. Get in: ")[2].splitlines()
    enter, end = said[0], said[1].removeprefix("End it: ")
    rundir.sweep()
    (guest,), (folder,) = run.guests(), run.directories()
    assert guest
    assert log_in(enter, "uname -s") == "Linux\n"
    subprocess.run(["sh", "-c", end], check=True)
    wait_until("the guest's end", lambda: not run.guests())
    rundir.sweep()
    assert not folder.exists()


def test_guest_serves_the_cases_of_a_rule_and_what_follows_as_long_as_it_is_as_it_was(start: Start) -> None:
    suite = """
        import pytest
        from harness.guest.offloads import Offload
        from harness.suite import own_guest, own_settings

        GUESTS = []

        def is_new(testbed):
            GUESTS.append(testbed.vm.pid)
            return GUESTS[-1] not in GUESTS[:-1]

        twice = pytest.mark.parametrize("octets", [1000, 1400])

        def test_first_only_looks(testbed, guest):
            assert is_new(testbed)
            assert guest.mtu() == 1500

        def test_next_has_the_same(testbed):
            assert not is_new(testbed)

        @twice
        def test_cases_that_change_it_have_it_too(testbed, guest, octets):
            assert not is_new(testbed)
            assert guest.set_mtu(octets)

        def test_behind_them_it_is_as_it_was(testbed, guest):
            assert not is_new(testbed)
            assert guest.mtu() == 1500
            testbed.plug.pull_cable()

        def test_cable_is_in_again(testbed, guest):
            assert not is_new(testbed)
            assert guest.link().up

        @own_settings
        @twice
        def test_marked_cases_do_not_find_what_the_one_before_has_made(testbed, guest, octets):
            assert not is_new(testbed)
            guest.add_vlan(5)

        def test_driver_that_is_loaded_anew(guest):
            guest.unload_driver()
            guest.load_driver()

        def test_leaves_more_than_settings(testbed):
            assert is_new(testbed)
            testbed.vm.monitor.execute("watchdog-set-action", action="none")

        def test_what_qemu_was_told_counts_too(testbed):
            assert is_new(testbed)

        @own_guest
        @twice
        def test_marked_cases_have_their_own(testbed, octets):
            assert is_new(testbed)

        @pytest.mark.parametrize("first", [True, False])
        def test_skipped_behind_a_setting_leaves_its_own(testbed, guest, first):
            assert is_new(testbed) is first
            assert guest.offloads()[Offload.TCP6_SEGMENTATION].on
            guest.set_offload(Offload.TCP6_SEGMENTATION, False)
            pytest.skip("behind a setting")

        def test_setting_is_as_it_was(testbed, guest):
            assert not is_new(testbed)
            assert guest.offloads()[Offload.TCP6_SEGMENTATION].on

        def test_skipped_after_it_sent_leaves_none(testbed, wire):
            assert not is_new(testbed)
            wire.send(b"\\xff" * 60)
            pytest.skip("behind a frame")

        def test_skipped_at_once_leaves_its_own(testbed):
            assert is_new(testbed)
            pytest.skip("at once")

        def test_behind_it_is_the_same(testbed):
            assert not is_new(testbed)
    """
    run = start(suite, *HERE, *CELL)
    cases = run.ended().cases
    skipped = [name for name, case in cases.items() if case.outcome == "skipped"]
    assert {name: case.message for name, case in cases.items() if case.outcome == "failure"} == {}
    assert len(skipped) == 4
    assert len(cases) == 19
    assert remains(run) == []


def test_guest_goes_on_behind_a_known_deviation_if_it_can_be_put_back_and_answers(start: Start) -> None:
    suite = """
        import os
        import signal

        import pytest
        from harness.report.known_issues import Ledger

        GUESTS = []

        def match(ledger, *of):
            entry = ledger.entries[0].model_copy(update={"crash": "SIGSEGV"})
            return entry if "deviates" in of[4] else None

        Ledger.match = match

        def is_new(testbed):
            GUESTS.append(testbed.vm.pid)
            return GUESTS[-1] not in GUESTS[:-1]

        @pytest.mark.parametrize("octets", [1000, 1400])
        def test_deviates_half_way(testbed, guest, octets):
            assert guest.mtu() == 1500
            assert guest.set_mtu(octets)
            pytest.fail("half-way")

        def test_behind_it_is_the_same_guest_as_it_was(testbed, guest):
            GUESTS.append(testbed.vm.pid)
            assert guest.mtu() == 1500

        def test_deviates_beyond_repair(testbed, guest):
            assert not is_new(testbed)
            guest.unload_driver()
            pytest.fail("without a driver")

        def test_behind_that_is_a_new_one(testbed, guest):
            assert is_new(testbed)

        def test_deviates_into_silence(testbed, guest):
            assert not is_new(testbed)
            testbed.connect().check(f"ip link set {guest.interface} down")
            pytest.fail("nobody hears it any more")

        def test_behind_silence_is_a_new_one(testbed, guest):
            assert is_new(testbed)

        def test_deviates_by_a_crash(testbed, wire):
            os.kill(testbed.vm.pid, signal.SIGSEGV)
            assert wire.resolve("192.0.2.2", 1), "expected an answer"

        def test_behind_a_crash_is_a_new_one(testbed):
            assert is_new(testbed)
    """
    run = start(suite, *HERE, *CELL)
    cases = run.ended().cases
    assert {name: case.message for name, case in cases.items() if case.outcome in ("failure", "error")} == {}
    assert Counter(case.outcome for case in cases.values()) == {"skipped": 5, "passed": 4}
    assert remains(run) == []


def test_tests_of_a_cell_may_share_a_guest_until_one_fails(start: Start) -> None:
    suite = """
        from harness.suite import own_guest

        def leave_a_mark(testbed, found):
            assert testbed.connect().run("mkdir /run/mark").status == found

        def test_one(testbed):
            leave_a_mark(testbed, 0)

        def test_two_has_the_same_guest(testbed):
            leave_a_mark(testbed, 1)
            assert False

        def test_three_has_a_new_one(testbed):
            leave_a_mark(testbed, 0)

        def test_four_shares_that(testbed):
            leave_a_mark(testbed, 1)

        @own_guest
        def test_five_shares_it_too(testbed):
            leave_a_mark(testbed, 1)
    """
    run = start(suite, *HERE, "--isolation", "cell", *CELL)
    ended = run.ended()
    outcomes = {name: (case.outcome, case.message) for name, case in ended.cases.items()}
    assert outcomes.pop("test_two_has_the_same_guest") == ("failure", "assert False")
    assert {outcome for outcome, _ in outcomes.values()} == {"passed"}, outcomes
    assert remains(run) == []
