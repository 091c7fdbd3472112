"""What a guest shows: judged on screens that real guests paint, and what makes a guest without a console ready."""

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from harness.cell import Cell, select_cells
from harness.image import build_image
from harness.launcher import Launcher
from harness.profile_file import load_profile
from harness.qemu.screen import Picture
from harness.readiness import BootFailure
from harness.testbed import Testbed
from tests.conftest import wait_until
from tests.painter import HALT, RESET, TURN, disk, text_screen, true_colour_screen

PROFILE = """\
description: A boot sector
os: firmware
control: none
image: {{disk: {disk}, format: raw, bus: ide}}
ready: {{{ready}}}
machine: {{memory_mib: 32, cpus: 1, display: {display}}}
nics: {{e1000: {{drivers: [none], queues: {{rx: 1, tx: 1}}, modes: {{polled: {{}}}}}}}}
"""
STOP = {
    1: "A problem has been detected and Windows has been shut down to prevent damage",
    2: "to your computer.",
    5: "DRIVER_IRQL_NOT_LESS_OR_EQUAL",
    18: "*** STOP: 0x000000D1 (0x0000000C,0x00000002,0x00000000,0xF86B5A89)",
}
"""The words of a blue screen of Windows XP; where they stand does not matter."""
QUIET_S = 2.0

Paint = Callable[..., Cell]
Boot = Callable[..., Testbed]


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    """Return the cell of a guest that is one boot sector."""
    numbers = count()

    def cell(*code: bytes, ready: str = f"quiet_screen_s: {QUIET_S}, deadline_s: 60", display: str = "std") -> Cell:
        name = f"guest{next(numbers)}"
        image = disk(tmp_path / f"{name}.raw", code)
        file = tmp_path / f"{name}.yaml"
        file.write_text(PROFILE.format(disk=image, ready=ready, display=display))
        return select_cells(load_profile(str(file)))[0]

    return cell


@pytest.fixture
def boot(launcher: Launcher) -> Iterator[Boot]:
    beds: list[Testbed] = []

    def ready(cell: Cell) -> Testbed:
        beds.append(launcher.boot(cell, build_image(cell.profile)))
        return beds[-1]

    yield ready
    for bed in beds:
        bed.close()


def shown(bed: Testbed) -> Picture:
    assert bed.screen
    return bed.screen.picture()


@pytest.mark.parametrize("display", ["std", "cirrus"])
@pytest.mark.parametrize("cursor", [False, True], ids=["steady", "blinking"])
def test_a_screen_that_stands_still_makes_a_guest_ready_though_its_cursor_blinks(
    paint: Paint, boot: Boot, display: str, cursor: bool
) -> None:
    bed = boot(paint(text_screen(0x07, {0: "C:>"}, cursor=cursor), HALT, display=display))
    picture = shown(bed)
    assert (picture.width, picture.height) == (720, 400)
    assert not picture.is_blank
    assert bed.crash() is None


def test_a_screen_that_goes_on_changing_does_not(paint: Paint, boot: Boot) -> None:
    ready = f"quiet_screen_s: {QUIET_S}, deadline_s: 12"
    said = r"not ready within 12 s, waiting for a screen that stands still for 2 s; its console is silent$"
    with pytest.raises(BootFailure, match=said) as failure:
        boot(paint(text_screen(0x07, {0: "|"}), TURN, ready=ready))
    assert failure.value.papers["screen.png"][:8] == b"\x89PNG\r\n\x1a\n"


def test_nor_does_a_screen_without_anything(paint: Paint, boot: Boot) -> None:
    with pytest.raises(BootFailure, match=r"waiting for a screen that stands still for 2 s"):
        boot(paint(text_screen(0x10, {}), HALT, ready=f"quiet_screen_s: {QUIET_S}, deadline_s: 8"))


@pytest.mark.parametrize(
    "code",
    [text_screen(0x1F, STOP), text_screen(0x17, STOP), true_colour_screen(0x0078D7, strokes=True)],
    ids=["white-on-0000aa", "grey-on-0000aa", "white-on-0078d7"],
)
def test_a_blue_screen_ends_the_wait_at_once(paint: Paint, boot: Boot, code: bytes) -> None:
    ready = "console: never said by anyone, deadline_s: 60"
    with pytest.raises(BootFailure, match=r"the guest broke while it booted: it shows a blue screen$"):
        boot(paint(code, HALT, ready=ready))


@pytest.mark.parametrize(
    "code",
    [
        text_screen(0x1F, {1: "Windows XP Setup", 8: "To set up Windows XP now, press ENTER."}, bars={24: 0x70}),
        text_screen(0x1F, {12: " " * 32 + "Please wait..."}),
        text_screen(0x4F, STOP),
        text_screen(0x07, STOP),
        true_colour_screen(0x004E98, strokes=True),
    ],
    ids=["setup", "please-wait", "red", "black", "desktop"],
)
def test_other_screens_are_none(paint: Paint, boot: Boot, code: bytes) -> None:
    bed = boot(paint(code, HALT))
    assert not shown(bed).is_blue_screen
    assert bed.crash() is None


def test_a_guest_that_resets_its_machine_has_crashed_unless_it_boots(paint: Paint, boot: Boot) -> None:
    with pytest.raises(BootFailure, match=r"its console is silent; it reset its machine [1-9]\d* times$"):
        boot(paint(text_screen(0x07, {0: "|"}), RESET, ready="console: never said by anyone, deadline_s: 15"))
    bed = boot(paint(text_screen(0x07, {0: "|"}), RESET, ready="quiet_screen_s: 0.5, deadline_s: 60"))
    wait_until("the reset", lambda: bed.crash() == "it reset its machine")


def test_a_reset_from_outside_is_no_crash(paint: Paint, boot: Boot) -> None:
    bed = boot(paint(text_screen(0x07, {0: "C:>"}), HALT))
    bed.vm.monitor.execute("system_reset")
    bed.vm.monitor.wait_event("the reset", lambda event: bool(event["event"] == "RESET"), 20)
    assert bed.crash() is None


def test_a_fork_shows_what_its_snapshot_did_and_keeps_that_picture(paint: Paint, launcher: Launcher) -> None:
    cell = paint(text_screen(0x07, {0: "C:>"}), HALT)
    saved = launcher.saved(cell)
    with closing(launcher.fork(cell, saved)) as bed:
        assert bed.crash() is None
        papers = bed.papers()
        assert papers["screen-when-ready.png"] == saved.screen.read_bytes() == papers["screen.png"]


def test_a_png_holds_the_pictures_pixels(paint: Paint, boot: Boot) -> None:
    picture = shown(boot(paint(text_screen(0x1F, {3: "hello"}), HALT)))
    png = picture.png()
    length = struct.unpack(">I", png[33:37])[0]
    rows = zlib.decompress(png[41 : 41 + length])
    stride = picture.width * 3 + 1
    assert struct.unpack(">II", png[16:24]) == (picture.width, picture.height)
    assert b"".join(rows[at + 1 : at + stride] for at in range(0, len(rows), stride)) == picture.pixels
    assert picture.pixels[:3] == bytes((0, 0, 0xA8))
