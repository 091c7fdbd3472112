"""Where testbeds come from: forks made ahead, and a second guest at the far end of a cable that the harness carries."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness import rundir
from harness.cell import find_cell
from harness.endpoint.base import padded
from harness.endpoint.cable import Direction
from harness.launcher import Launcher, Saved
from harness.qemu.accel import choose_accel
from harness.qemu.binary import find_qemu
from harness.qemu.snapshot import SnapshotError
from harness.station import DUT, WIRE
from harness.supply import ENDPOINT_CELL, ForkSupply, TwoGuestSupply
from harness.testbed import Testbed
from harness.traffic.frames import HEADER, LOCAL_EXPERIMENT, frame

CELL = find_cell("linux/igb/msix")


@pytest.fixture(scope="module")
def testbed() -> Iterator[Testbed]:
    qemu = find_qemu(None)
    supply = TwoGuestSupply(Launcher(qemu, choose_accel(qemu, "tcg")))
    assert supply.describe()["endpoint"] == f"guest {ENDPOINT_CELL}"
    supply.prepare(CELL)
    bed = supply.testbed(CELL)
    yield bed
    bed.close()


def test_the_dut_answers_to_the_far_guest_and_not_to_itself(testbed: Testbed) -> None:
    answer = testbed.wire.resolve(DUT.ip, deadline_s=20)
    assert answer is not None
    assert (answer.src, answer.dst) == (DUT.mac, WIRE.mac)


def test_every_frame_of_a_flood_crosses_both_ways_in_order(testbed: Testbed) -> None:
    for direction in Direction:
        flood = [padded(frame(direction, LOCAL_EXPERIMENT, number.to_bytes(4, "big"))) for number in range(3000)]
        ends = (testbed.wire, testbed.guest.endpoint())
        sender, receiver = ends if direction is Direction.TO_DUT else ends[::-1]
        with receiver.capture(flood[0][6:HEADER]) as seen:
            for first in range(0, len(flood), 100):
                sender.send(*flood[first : first + 100])
                seen.wait(first + 100, 30)
            assert seen.wait(len(flood)) == flood


def test_the_cable_has_recorded_what_the_two_guests_said(testbed: Testbed) -> None:
    heard = {record.direction for record in testbed.cable.records if record.frame[12:14] == b"\x08\x06"}
    assert heard == set(Direction)


@pytest.fixture
def forks() -> Iterator[ForkSupply]:
    qemu = find_qemu(None)
    supply = ForkSupply(Launcher(qemu, choose_accel(qemu, "tcg")))
    supply.prepare(CELL)
    yield supply
    supply.close()


def test_an_expected_fork_is_logged_in_and_stands_still_until_it_is_taken(forks: ForkSupply) -> None:
    forks.expect(CELL)
    bed = forks.testbed(CELL)
    try:
        assert "guest" in vars(bed), "the first question to the guest waits for no login"
        assert [event["event"] for event in bed.vm.monitor.forget_events()][-2:] == ["STOP", "RESUME"]
        assert bed.vm.monitor.execute("query-status")["running"]
        assert bed.guest.link().up
        other = forks.testbed(CELL)
        other.close()
        assert other is not bed, "a fork is one test's own"
    finally:
        bed.close()


def _in_use() -> list[Path]:
    return [folder for folder in rundir.directories() if rundir.user_of(folder) == os.getpid()]


def test_forks_that_nobody_takes_leave_nothing(forks: ForkSupply) -> None:
    before = _in_use()
    forks.expect(CELL)
    forks.expect(CELL)
    forks.close()
    assert _in_use() == before


@pytest.fixture
def spoilt(forks: ForkSupply, tmp_path: Path) -> Saved:
    """A snapshot that cannot be loaded."""
    saved = forks.saved[CELL.id]
    (tmp_path / "memory").symlink_to(saved.memory)
    (tmp_path / "console.log").touch()
    (tmp_path / "state").write_text("no snapshot")
    return replace(saved, folder=tmp_path)


def test_a_fork_that_could_not_be_made_ahead_is_made_when_it_is_needed(forks: ForkSupply, spoilt: Saved) -> None:
    saved, forks.saved[CELL.id] = forks.saved[CELL.id], spoilt
    forks.expect(CELL)
    forks.saved[CELL.id] = saved
    bed = forks.testbed(CELL)
    try:
        assert bed.guest.link().up
    finally:
        bed.close()


def test_a_fork_that_cannot_be_made_is_an_error_of_the_test_that_it_was_for(forks: ForkSupply, spoilt: Saved) -> None:
    forks.saved[CELL.id] = spoilt
    forks.expect(CELL)
    with pytest.raises(SnapshotError, match=f"the snapshot of {CELL.id}|loading the snapshot"):
        forks.testbed(CELL)
