"""The cache: made once, whole or not at all, and never taken from under a live run."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import cache
from harness.errors import InputError, NicproofError

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "cache"
    monkeypatch.setenv("NICPROOF_CACHE", str(folder))
    yield folder
    for path in [path for path in cache._held if path.is_relative_to(folder)]:
        os.close(cache._held.pop(path))


def fill(folder: Path) -> None:
    (folder / "made").write_text("whole")


def other_run(script: str) -> subprocess.Popen[str]:
    """Another process that uses the cache; it prints a line where the test has to wait for it."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


BUILDS_UNTIL_TOLD = """
    import logging, sys
    from harness.cache import publish
    def build(folder):
        (folder / "made").write_text("half")
        print("building", flush=True)
        sys.stdin.readline()
        (folder / "made").write_text("whole")
    publish("thing", "k1", build, what="the thing")
    print("published", flush=True)
    sys.stdin.readline()
"""


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_an_entry_is_made_once_and_found_again() -> None:
    calls = []

    def build(folder: Path) -> None:
        calls.append(folder)
        fill(folder)

    first = cache.publish("thing", "k1", build, what="the thing")
    second = cache.publish("thing", "k1", build, what="the thing")
    assert first == second
    assert (first / "made").read_text() == "whole"
    assert len(calls) == 1


def test_the_cache_is_for_its_owner_only(root: Path) -> None:
    root.mkdir(mode=0o755)
    assert cache.cache_root() == root
    assert root.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NICPROOF_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"NICPROOF_CACHE=.*/file cannot be used .*set NICPROOF_CACHE"):
        cache.cache_root()


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_nothing(root: Path, error: BaseException) -> None:
    def build(folder: Path) -> None:
        fill(folder)
        raise error

    with pytest.raises(type(error)):
        cache.publish("thing", "k1", build, what="the thing")
    assert cache.entries() == ()
    assert list((root / ".builds").iterdir()) == []


def test_a_corrupt_entry_is_made_again_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    def valid(folder: Path) -> None:
        if (folder / "made").read_text() != "whole":
            raise NicproofError("the file made is damaged")

    path = cache.publish("thing", "k1", fill, what="the thing", valid=valid)
    (path / "made").write_text("rubbish")
    again = cache.publish("thing", "k1", fill, what="the thing", valid=valid)
    assert (again / "made").read_text() == "whole"
    assert "the thing in the cache is unusable (the file made is damaged): making it again" in caplog.text


def test_what_is_not_valid_when_just_made_is_not_published() -> None:
    def valid(folder: Path) -> None:
        raise NicproofError("never right")

    with pytest.raises(NicproofError, match="never right"):
        cache.publish("thing", "k1", fill, what="the thing", valid=valid)
    assert cache.entries() == ()


def test_too_little_disk_is_said_before_anything_is_made(root: Path) -> None:
    with pytest.raises(NicproofError, match=r"not enough disk for the thing: it needs 999999999 MiB .*NICPROOF_CACHE"):
        cache.publish("thing", "k1", lambda folder: pytest.fail("built"), what="the thing", needs_mib=999_999_999)
    assert not (root / "thing").exists()


def test_a_disk_that_fills_up_is_one_line() -> None:
    def build(folder: Path) -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(NicproofError, match="the disk is full: the thing cannot be made"):
        cache.publish("thing", "k1", build, what="the thing")


def test_one_entry_may_need_another() -> None:
    def outer(folder: Path) -> None:
        inner = cache.publish("part", "p1", fill, what="the part")
        (folder / "made").write_text((inner / "made").read_text())

    assert (cache.publish("thing", "k1", outer, what="the thing") / "made").read_text() == "whole"


def test_the_second_of_two_runs_waits_says_so_and_builds_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_QUIET_WAIT_S", 0.1)
    with other_run(BUILDS_UNTIL_TOLD) as first:
        assert said(first) == "building"

        class Listener(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "waiting" in record.getMessage():
                    tell(first)

        listener = Listener()
        logging.getLogger("harness.cache").addHandler(listener)
        caplog.set_level(logging.INFO)
        try:
            path = cache.publish("thing", "k1", lambda folder: pytest.fail("built twice"), what="the thing")
        finally:
            logging.getLogger("harness.cache").removeHandler(listener)
            tell(first)
        assert (path / "made").read_text() == "whole"
    assert caplog.text.count("waiting for another run that makes the thing") == 1


def test_a_wait_for_another_run_has_an_end() -> None:
    with other_run(BUILDS_UNTIL_TOLD) as first:
        assert said(first) == "building"
        with pytest.raises(NicproofError, match=r"waited 0\.2 s for another run to make the thing"):
            cache.publish("thing", "k1", fill, what="the thing", wait_s=0.2)
        first.kill()


def test_a_killed_build_is_no_entry_and_the_next_run_removes_its_remains(root: Path) -> None:
    with other_run(BUILDS_UNTIL_TOLD) as first:
        assert said(first) == "building"
        first.send_signal(signal.SIGKILL)
    assert cache.entries() == ()
    assert len(list((root / ".builds").iterdir())) == 1
    cache.publish("other", "k2", fill, what="another thing")
    assert list((root / ".builds").iterdir()) == []


def test_remains_with_read_only_folders_are_removed(root: Path) -> None:
    remains = root / ".builds" / "thing@k1@abc" / "closed"
    remains.mkdir(parents=True)
    (remains / "file").touch()
    remains.chmod(0o500)
    cache.publish("other", "k2", fill, what="another thing")
    assert list((root / ".builds").iterdir()) == []


def test_entries_are_listed_by_kind_with_their_size() -> None:
    def large(folder: Path) -> None:
        (folder / "made").write_bytes(b"x" * 100_000)

    cache.publish("thing", "k1", large, what="a")
    cache.publish("other", "k2", fill, what="b")
    assert [entry.kind for entry in cache.entries()] == ["other", "thing"]
    (entry,) = cache.entries("thing")
    assert entry.key == "k1"
    assert 100_000 <= entry.size < 200_000


def test_clear_keeps_what_a_live_run_uses_or_builds(root: Path) -> None:
    with other_run(BUILDS_UNTIL_TOLD) as live:
        assert said(live) == "building"
        assert cache.clear().kept == ()
        assert len(list((root / ".builds").iterdir())) == 1, "clear took a live build away"
        tell(live)
        assert said(live) == "published"
        assert [entry.key for entry in cache.clear().kept] == ["k1"]
        assert len(cache.entries()) == 1
        tell(live)
    assert [entry.key for entry in cache.clear().removed] == ["k1"]
    assert cache.entries() == ()
