"""The nicproof command: what it says, its exit status, and that its shell leaves nothing behind."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness import cache, doctor, rundir
from harness.cell import Cell, Exclusion, all_cells
from harness.cli import app
from harness.profile_file import load_profile, profile_names

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "harness.cli"]
DEADLINE_S = 240
"""A cell may have to be booted first, on a busy host."""


def nicproof(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, whose entries are let go of afterwards."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NICPROOF_CACHE", str(folder))
    yield folder
    for path in [path for path in cache._held if path.is_relative_to(folder)]:
        os.close(cache._held.pop(path))


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    """A profile whose image is made of nothing but a file."""
    (tmp_path / "kernel").write_bytes(bytes(1 << 20))
    file = tmp_path / "mine.yaml"
    file.write_text("extends: ipxe\nimage: {package:, suite:, script:, kernel: kernel}\n")
    return file


# matrix


def test_matrix_lists_every_combination_of_every_profile_as_a_cell_or_with_its_reason() -> None:
    listed = nicproof("matrix").stdout.splitlines()
    for name in profile_names():
        for one in all_cells(load_profile(name)):
            if isinstance(one, Cell):
                assert one.id in listed
            else:
                assert [one.reason] == [line.split("excluded: ")[1] for line in listed if line.split()[0] == one.id]


def test_matrix_as_json_says_the_same(firmware: Path) -> None:
    listed = json.loads(nicproof("matrix", "--profile", str(firmware), "--json").stdout)
    expected = all_cells(load_profile(str(firmware)))
    assert [one["id"] for one in listed] == [one.id for one in expected]
    assert [one["excluded"] for one in listed] == [
        one.reason if isinstance(one, Exclusion) else None for one in expected
    ]
    assert listed[0] == {**listed[0], "profile": "mine", "nic": "e1000", "mode": "polled"}


# mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["matrix", "--profile", "linx"], r"^nicproof: profile 'linx': no such profile; nearest: linux"),
        (["image", "build", "linx"], r"^nicproof: profile 'linx': no such profile; nearest: linux"),
        (["shell", "linux/igb/msx"], r"^nicproof: cell 'linux/igb/msx': no such cell; nearest: linux/igb/msix"),
        (["shell", "linux/e1000/msi"], r"^nicproof: cell .* is excluded: e1000 has no MSI capability$"),
        (["shell", "linux"], r"^nicproof: cell 'linux': is no cell; allowed: PROFILE/NIC/MODE"),
        (["shell", "linux/e1000/intx", "--qemu", "/nowhere"], r"^nicproof: --qemu /nowhere: no such program"),
        (["scapy", "/nowhere/wire"], r"^nicproof: no cable at /nowhere/wire"),
    ],
    ids=["profile", "image", "cell", "excluded cell", "no cell", "QEMU", "cable"],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_status_2(arguments: list[str], message: str) -> None:
    ran = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert re.search(message, line), line


# doctor


def test_doctor_finds_that_the_default_job_can_run_here() -> None:
    done = nicproof("doctor")
    assert done.exit_code == 0, done.output
    for name in profile_names():
        assert name in done.stdout


def test_doctor_says_why_the_default_job_cannot_run_and_what_would_cure_it(own_cache: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    env = {**os.environ, "PATH": str(tools), "NICPROOF_MIRROR": "http://127.0.0.1:9/debian", "COLUMNS": "4000"}
    ran = subprocess.run(
        [*COMMAND, "doctor"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 1
    rows = {cells[0].strip(): cells[1:] for line in ran.stdout.splitlines() if len(cells := line.split("│")[1:]) > 3}
    for subject, why, cure in (
        ("QEMU", "mmdebstrap is not installed", ""),
        ("tar2sqfs", "is missing", "apt-get install squashfs-tools-ng"),
        ("setpriv", "is missing", "apt-get install util-linux"),
        ("Debian mirror", "http://127.0.0.1:9/debian: ", "set NICPROOF_MIRROR"),
        ("linux", "tar2sqfs: is missing", "apt-get install squashfs-tools-ng"),
        ("ipxe", "mmdebstrap: is missing", "apt-get install mmdebstrap"),
    ):
        assert rows[subject][0].strip() == "no", subject
        assert why in rows[subject][1], subject
        assert cure in rows[subject][2], subject
    assert "squashfs" not in rows["ipxe"][2], "iPXE's image needs no root file system"


def test_doctor_asks_for_what_a_build_needs_only_where_the_image_is_not_there(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = doctor.Finding("tool", False, "is missing", "install it")
    profile = load_profile("ipxe")
    monkeypatch.setattr(doctor, "_is_cached", lambda profile: True)
    assert doctor._profile(profile.name, (), (missing,)).good
    assert not doctor._profile(profile.name, (missing,), ()).good
    monkeypatch.setattr(doctor, "_is_cached", lambda profile: False)
    tool = doctor.Finding("mmdebstrap", False, "is missing", "install it")
    assert doctor._profile(profile.name, (), (tool,)) == doctor.Finding(
        "ipxe", False, "mmdebstrap: is missing", "install it"
    )


def test_doctor_knows_how_many_guests_the_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "available_mib", lambda: 500)
    found = doctor._memory()
    assert found.good is False or "1 guests" in found.seen
    assert "run one worker (-n 1)" in found.cure
    monkeypatch.setattr(doctor, "available_mib", lambda: 100)
    assert not doctor._memory().good


# image, clean


def test_an_image_is_built_listed_and_cleaned(own_cache: Path, firmware: Path) -> None:
    assert "no image yet" in nicproof("image", "list").stdout
    built = nicproof("image", "build", str(firmware))
    assert built.exit_code == 0, built.output
    (entry,) = cache.entries("firmware")
    assert str(entry.path) in built.stdout
    listed = nicproof("image", "list").stdout
    assert "1 MiB" in listed
    kept = nicproof("clean").stdout  # this process has just used it
    assert "freed 0 MiB" in kept
    assert "kept, because a run uses or makes it: 1 firmware" in kept
    assert entry.path.exists()


def test_clean_says_what_it_freed(own_cache: Path, firmware: Path) -> None:
    subprocess.run([*COMMAND, "image", "build", str(firmware)], cwd=ROOT, capture_output=True, timeout=60, check=True)
    cleaned = nicproof("clean").stdout
    assert f"freed 1 MiB in {own_cache}: 1 firmware" in cleaned
    assert "kept" not in cleaned
    assert cache.entries() == ()


def test_clean_removes_the_directories_of_dead_runs_and_of_no_other(own_cache: Path) -> None:
    mine = rundir.make()
    dead = mine.with_name("4194305-dead")  # greater than any process id (proc(5), pid_max)
    dead.mkdir()
    cleaned = nicproof("clean").stdout
    assert "removed 1 run directory" in cleaned
    assert f"kept, because process {os.getpid()} uses it: {mine}" in " ".join(cleaned.split("\n"))
    assert mine.is_dir()
    assert not dead.exists()


# shell


class Terminal:
    """A person at a terminal with a program."""

    def __init__(self, command: list[str], env: Mapping[str, str] | None = None) -> None:
        self._ours, theirs = os.openpty()
        self.said = ""
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)

    def wait_for(self, pattern: str) -> re.Match[str]:
        end = time.monotonic() + DEADLINE_S
        while not (found := re.search(pattern, self.said)):
            if not select.select([self._ours], [], [], max(0.0, end - time.monotonic()))[0]:
                pytest.fail(f"it did not say {pattern!r} but:\n{self.said}")
            try:
                self.said += os.read(self._ours, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                pytest.fail(f"it ended without {pattern!r}:\n{self.said}")
        return found

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Wait for the program's end and return its exit status."""
        try:
            return self.process.wait(30)
        finally:
            self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1


class Shell(Terminal):
    """`nicproof shell CELL`."""

    def __init__(self, cell: str, env: Mapping[str, str] | None = None) -> None:
        super().__init__([*COMMAND, "shell", cell], env)
        self.guest = int(self.wait_for(r", process (\d+)\r\n")[1])
        self.scapy = self.wait_for(r"scapy on its cable: (.*)\r\n")[1]
        self.directory = Path(self.scapy.split()[-1]).parent

    def nothing_is_left(self) -> bool:
        return not Path("/proc", str(self.guest)).exists() and not self.directory.exists()


def answer_on_the_cable(shell: Shell) -> str:
    """Run the line that the shell printed, in a shell of its own and elsewhere, and ping the DUT at scapy's prompt."""
    script = (
        "p = Ether(src=WIRE.mac, dst=DUT.mac) / IP(src=WIRE.ip, dst=DUT.ip) / ICMP()\n"
        "a = srp1(p, timeout=20, verbose=0)\n"
        "print('ANSWER', a.summary(), wire.interface is conf.iface)\nexit()\n"
    )
    ran = subprocess.run(
        shell.scapy, shell=True, cwd="/", input=script, capture_output=True, text=True, timeout=120, check=False
    )
    return next((line for line in ran.stdout.splitlines() if "ANSWER" in line), ran.stdout + ran.stderr)


@pytest.fixture(params=["ssh", "no ssh on this host"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "ssh":
        if not shutil.which("ssh"):
            pytest.skip("this host has no ssh")
        return os.environ["PATH"]
    found = shutil.which("setpriv")
    assert found
    (tmp_path / "setpriv").symlink_to(found)
    return str(tmp_path)


def test_shell_opens_a_shell_in_the_guest_and_scapy_on_its_cable(path: str) -> None:
    subprocess.run([*COMMAND, "image", "build", "linux"], cwd=ROOT, capture_output=True, timeout=600, check=True)
    shell = Shell("linux/e1000e/msix", {**os.environ, "PATH": path})
    try:
        shell.wait_for(r"[#$] (\x1b\S*)?$")
        shell.type("echo release=$(uname -r) driver=$(basename $(readlink /sys/class/net/eth1/device/driver))\n")
        shell.wait_for(r"release=6\.\d+\.\d+\S* driver=e1000e\r")
        answer = answer_on_the_cable(shell)
        assert re.search(r"ANSWER Ether / IP / ICMP 192\.0\.2\.2 > 192\.0\.2\.1 echo-reply 0\b.* True", answer), answer
        shell.type("exit 3\n")
        assert shell.end() == 3
        assert shell.nothing_is_left()
    finally:
        shell.close()


def test_a_guest_that_nobody_can_log_in_to_gives_its_console() -> None:
    shell = Shell("ipxe/e1000/polled")
    try:
        shell.wait_for(r"serial console. Leave with Ctrl-\]")
        assert "echo-reply" in answer_on_the_cable(shell)
        shell.type("\x03")  # a key like any other
        assert shell.process.poll() is None
        shell.type("\x1d")
        assert shell.end() == 0
        assert shell.nothing_is_left()
    finally:
        shell.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: signal.Signals(number).name)
def test_a_shell_that_is_told_to_end_ends_its_guest(number: signal.Signals) -> None:
    shell = Shell("ipxe/e1000/polled")
    try:
        shell.wait_for(r"Leave with")
        os.kill(shell.process.pid, number)
        assert shell.end() == 128 + number
        assert shell.nothing_is_left()
    finally:
        shell.close()


def test_a_guest_that_dies_under_its_user_is_said_in_one_line() -> None:
    shell = Shell("ipxe/e1000/polled")
    try:
        shell.wait_for(r"Leave with")
        os.kill(shell.guest, signal.SIGKILL)
        shell.wait_for(r"nicproof: ipxe/e1000/polled: QEMU killed by SIGKILL\r\n")
        assert shell.end() == 2
        assert shell.nothing_is_left()
    finally:
        shell.close()
