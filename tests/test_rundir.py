"""Directories of running guests: private, and gone when their run, or the guest that was kept, is gone."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import rundir

Guest = Callable[[Path], "subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NICPROOF_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def of_dead_run() -> Path:
    """A directory whose maker has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    made = rundir.make()
    return made.rename(made.with_name(f"{ended.pid}-{made.name}"))


@pytest.fixture
def guest() -> Iterator[Guest]:
    """Start a process that names a directory's trace log as QEMU does."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(directory: Path) -> "subprocess.Popen[bytes]":
        script = "echo running; read forever"
        command = ["sh", "-c", script, "sh", "-D", str(directory / "trace.log"), "-incoming", "defer"]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert (said := started[-1].stdout) is not None
        assert said.readline() == b"running\n", "until then the kernel may show an empty command line"
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_a_directory_is_private_and_its_owner_is_the_run() -> None:
    directory = rundir.make()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert rundir.user_of(directory) == os.getpid()
    rundir.sweep()
    assert rundir.directories() == (directory,)


def test_what_a_killed_run_left_is_removed_and_its_guest_ended(of_dead_run: Path, guest: Guest) -> None:
    running = guest(of_dead_run)
    rundir.sweep()
    assert running.wait(20) == -9
    assert not of_dead_run.exists()


def test_a_kept_guest_goes_on_with_its_directory_until_it_ends(of_dead_run: Path, guest: Guest) -> None:
    running = guest(of_dead_run)
    rundir.keep(of_dead_run)
    rundir.sweep()
    assert rundir.user_of(of_dead_run) == running.pid
    assert running.poll() is None
    running.kill()
    running.wait(20)
    rundir.sweep()
    assert not of_dead_run.exists()


def test_who_only_looks_into_a_directory_is_no_guest(of_dead_run: Path) -> None:
    command = ["sh", "-c", "read forever", "sh", str(of_dead_run / "trace.log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as looking:
        rundir.sweep()
        assert not of_dead_run.exists()
        looking.communicate(b"enough\n", timeout=20)
    assert looking.returncode == 0, "it ended by itself"
