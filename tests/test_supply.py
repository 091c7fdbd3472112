"""A second guest at the far end of the cable: real frames from its NIC, carried and recorded by the harness."""

from collections.abc import Iterator

import pytest

from harness.cell import find_cell
from harness.endpoint.base import padded
from harness.endpoint.cable import Direction
from harness.launcher import Launcher
from harness.qemu.accel import choose_accel
from harness.qemu.binary import find_qemu
from harness.station import DUT, WIRE
from harness.supply import ENDPOINT_CELL, TwoGuestSupply
from harness.testbed import Testbed
from harness.traffic.frames import HEADER, LOCAL_EXPERIMENT, frame


@pytest.fixture(scope="module")
def testbed() -> Iterator[Testbed]:
    qemu = find_qemu(None)
    supply = TwoGuestSupply(Launcher(qemu, choose_accel(qemu, "tcg")))
    assert supply.describe()["endpoint"] == f"guest {ENDPOINT_CELL}"
    cell = find_cell("linux/igb/msix")
    supply.prepare(cell)
    bed = supply.testbed(cell)
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
