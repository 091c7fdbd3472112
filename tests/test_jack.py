"""A jack on a cable: other processes plug in, hear every frame and send their own."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.endpoint.cable import Cable
from harness.endpoint.jack import Jack, plug_in
from harness.endpoint.wire import Wire, WireCapture
from harness.errors import InputError

FRAMES = [number.to_bytes(60, "big") for number in range(5000)]


@pytest.fixture
def dut() -> Iterator[tuple[socket.socket, Cable]]:
    """The DUT's end of a cable, and the harness's."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    cable = Cable(here)
    yield there, cable
    cable.close()
    here.close()
    there.close()


def ready(plug: Cable, dut: socket.socket) -> None:
    """Wait until a plug is heard by the DUT: from then on it hears all that the DUT sends."""
    plug.send(b"here".ljust(60))
    assert dut.recv(100) == b"here".ljust(60)


def test_every_plug_hears_every_frame_in_order(dut: tuple[socket.socket, Cable], tmp_path: Path) -> None:
    there, cable = dut
    with Jack(cable, tmp_path / "wire"):
        plugs = [plug_in(tmp_path / "wire") for _ in range(2)]
        captures = []
        for plug in plugs:
            ready(plug, there)
            captures.append(WireCapture(b""))
            plug.watch(captures[-1].see)
        for frame in FRAMES:
            there.send(frame)
        for capture in captures:
            assert capture.wait(len(FRAMES), 20) == FRAMES
        for plug in plugs:
            plug.close()


def test_frames_of_a_plug_reach_the_dut_whole_and_in_order(dut: tuple[socket.socket, Cable], tmp_path: Path) -> None:
    there, cable = dut
    there.settimeout(10)
    longest = bytes(65536)
    with Jack(cable, tmp_path / "wire"):
        wire = Wire(plug_in(tmp_path / "wire"))
        for frame in (b"x", b"y" * 1514, longest):
            wire.send(frame)
            assert there.recv(70000) == frame
        wire.cable.close()


def test_a_plug_that_goes_away_disturbs_nobody(dut: tuple[socket.socket, Cable], tmp_path: Path) -> None:
    there, cable = dut
    with Jack(cable, tmp_path / "wire"):
        leaves, stays = plug_in(tmp_path / "wire"), plug_in(tmp_path / "wire")
        ready(leaves, there)
        ready(stays, there)
        leaves.close()
        capture = WireCapture(b"")
        stays.watch(capture.see)
        for frame in FRAMES[:100]:
            there.send(frame)
        assert capture.wait(100, 10) == FRAMES[:100]
        stays.close()


def test_only_the_owner_can_plug_in_and_nothing_is_left_behind(
    dut: tuple[socket.socket, Cable], tmp_path: Path
) -> None:
    path = tmp_path / "wire"
    with Jack(dut[1], path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_a_long_path_is_no_obstacle(dut: tuple[socket.socket, Cable], tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    with Jack(dut[1], folder / "wire"):
        plug = plug_in(folder / "wire")
        ready(plug, dut[0])
        plug.close()


def test_no_jack_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^no cable at .*/wire \(No such file or directory\): `nicproof shell CELL`"):
        plug_in(tmp_path / "wire")
