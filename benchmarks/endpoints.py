"""The far end of the cable on another host: how many frames each second, each counted at both ends."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.setting import Setting, clock
from benchmarks.wire import FLOOD_DEADLINE_S, flood
from harness.cell import select_cells
from harness.endpoint.base import padded
from harness.endpoint.cable import Direction
from harness.endpoint.place import parse_place
from harness.errors import NicproofError
from harness.lab import LabSupply
from harness.profile_file import load_profile
from harness.supply import TwoGuestSupply
from harness.testbed import Testbed
from harness.traffic.frames import LOCAL_EXPERIMENT, frame
from tests.lab import Host, connect, unpack_debian

FRAMES = 20_000


def guest_to_dut(setting: Setting) -> float:
    """Measure frames/s from a second guest at the far end."""
    with _two_guests(setting) as bed:
        return flood(bed, FRAMES)


def guest_from_dut(setting: Setting) -> float:
    """Measure frames/s to a second guest at the far end."""
    with _two_guests(setting) as bed:
        return _from_dut(bed)


def host_to_dut(setting: Setting) -> float:
    """Measure frames/s between two hosts of a lab, towards the DUT."""
    with _lab() as bed:
        return flood(bed, FRAMES)


def host_from_dut(setting: Setting) -> float:
    """Measure frames/s between two hosts of a lab, from the DUT."""
    with _lab() as bed:
        return _from_dut(bed)


def _from_dut(bed: Testbed) -> float:
    """Have the DUT's own raw endpoint send.

    Raises:
        NicproofError: the far end did not get each one of them.
    """
    sent = padded(frame(Direction.FROM_DUT, LOCAL_EXPERIMENT, b"benchmark"))
    with bed.wire.capture(sent[:23]) as seen:

        def cross() -> None:
            bed.guest.endpoint().send(sent, repeat=FRAMES)
            seen.wait(FRAMES, FLOOD_DEADLINE_S)

        seconds = clock(cross)
        if (counted := len(seen.wait(FRAMES))) != FRAMES:
            raise NicproofError(f"{FRAMES} frames were sent by the DUT, the far end has {counted}")
    return FRAMES / seconds


@contextmanager
def _two_guests(setting: Setting) -> Iterator[Testbed]:
    supply = TwoGuestSupply(setting.launcher)
    supply.prepare(setting.wire_cell)
    bed = supply.testbed(setting.wire_cell)
    try:
        yield bed
    finally:
        bed.close()


@contextmanager
def _lab() -> Iterator[Testbed]:
    """Two hosts made of network namespaces, which only root may."""
    with tempfile.TemporaryDirectory() as folder:
        root = unpack_debian(Path(folder))
        hosts = [Host.start(root, name) for name in ("dut", "far")]
        try:
            connect(*hosts)
            cells = select_cells(load_profile("linux"), ["virtio-net"], ["msix"])
            places = [parse_place("--dut", host.place()) for host in hosts]
            bed = LabSupply(cells, *places).testbed(cells[0])
            try:
                yield bed
            finally:
                bed.close()
        finally:
            for host in hosts:
                host.close()
