"""A driver package of the user's own on its way into the guests of a run, as far as it goes without a Windows.

The machine, its snapshot and its forks are real; a Linux runs in them, and a script answers in the place of Windows'
programs, or the Linux itself does, which has none of them.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from harness import cache
from harness.cell import select_cells
from harness.driver_install import DriverRefused, NotInstalled, install
from harness.errors import NicproofError, Unsupported
from harness.guest.transport import TransportError
from harness.image.windows.own_package import OwnPackage
from harness.launcher import Launcher
from harness.own import with_own
from harness.profile_file import load_profile
from harness.qemu.accel import choose_accel
from harness.qemu.binary import find_qemu
from harness.testbed import Testbed
from tests.appliance import own_disk
from tests.conftest import Ended, Start
from tests.windows_media import E1000_PACKAGE, own_package

NAME = "no-windows"
PROFILE = """
extends: linux
description: a Linux in the place of a Windows
os: winxp
encoding: cp437
image: {{disk: "{disk}", format: qcow2, bus: ide, user: root, key: "{key}"}}
ready: {{console:, ssh: true, deadline_s: 600}}
"""
SUITE = """
    from pathlib import Path

    from harness.testbed import Testbed
    from tests.scripted_xp import ScriptedXp

    SCRIPTED
    def test_first(testbed, guest):
        assert guest.driver().name == "E1NEW"
        assert testbed.driver_package.name == "oem7.inf"
        Path(MARKS).write_text("\\n".join(ScriptedXp.said))

    def test_second(testbed, guest):
        assert guest.driver().name == "E1NEW"
        assert testbed.driver_package.name == "oem7.inf"
"""
SCRIPTED = "Testbed.transport = lambda bed, deadline_s=60.0: ScriptedXp({takes}, {restarts})"
HERE = ("--accel", "tcg", "-n", "0", "--nic", "e1000", "--irq", "intx")


def _forget_snapshots() -> None:
    """Remove the snapshots of these tests: one that is there is taken, and nothing is installed."""
    for card in (cache.cache_root() / "snapshots").glob("*/card.json"):
        if json.loads(card.read_text())["cell"].startswith(f"{NAME}/"):
            shutil.rmtree(card.parent)


@pytest.fixture(autouse=True)
def pristine() -> Iterator[None]:
    _forget_snapshots()
    yield
    _forget_snapshots()


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    appliance = own_disk(find_qemu().img_argv)
    (tmp_path / f"{NAME}.yaml").write_text(PROFILE.format(disk=appliance.disk, key=appliance.key))
    return tmp_path / f"{NAME}.yaml"


@pytest.fixture
def inf(tmp_path: Path) -> Path:
    file = own_package(tmp_path / "build")
    file.write_text(E1000_PACKAGE.replace('"E1000"', '"E1NEW"'))
    return file


def run(start: Start, profile: Path, inf: Path, scripted: str) -> tuple[Ended, list[str]]:
    suite = SUITE.replace("SCRIPTED", scripted)
    going = start(suite, *HERE, "--profile", str(profile), "--driver", f"e1000={inf}")
    said = going.wait_mark().splitlines() if "True" in scripted else []
    return going.ended(), said


@pytest.mark.parametrize("restarts", [None, "bed"], ids=["at once", "after a restart"])
def test_a_package_is_installed_before_the_snapshot_and_every_fork_has_it(
    restarts: str | None, start: Start, profile: Path, inf: Path
) -> None:
    ended, said = run(start, profile, inf, SCRIPTED.format(takes=True, restarts=restarts))
    assert {case.outcome for case in ended.cases.values()} == {"passed"}, ended.output
    assert len(ended.cases) == 2
    steps = [line.split()[0] for line in said if line.startswith(("upload", "devcon update", "rmdir", "shutdown"))]
    asked = ["shutdown"] if restarts else []
    assert steps == [*(["upload"] * 5), "devcon", "rmdir", *asked], "once: both forks are of that guest"
    for name, value in {"driver package": "oem7.inf 9.9 of Me", "driver signature": "none", "driver": "E1NEW"}.items():
        assert f'<property name="{name}" value="{value}"' in ended.junit.read_text()


def test_a_package_that_the_guest_refuses_fails_every_test_with_the_guests_words(
    start: Start, profile: Path, inf: Path
) -> None:
    ended, _ = run(start, profile, inf, SCRIPTED.format(takes=False, restarts=None))
    for case in ended.cases.values():
        assert case.outcome == "failure", ended.output
        assert case.message == (
            "the guest did not take the driver e1000.inf: Updating drivers for PCI\\VEN_8086&DEV_100E from "
            "C:\\WINDOWS\\Temp\\x.inf.; devcon.exe failed."
        )
    (log,) = {path.read_text() for path in ended.junit.parent.rglob("installation.log")}
    assert log == "#E358 An unsigned or incorrectly signed file\n"
    assert len(ended.cases) == 2
    assert list(ended.junit.parent.rglob("console.log"))


def test_a_guest_that_cannot_be_asked_to_install_it_is_an_error(start: Start, profile: Path, inf: Path) -> None:
    """The Linux itself is asked, over SSH, and knows nothing of devcon."""
    ended, _ = run(start, profile, inf, "")
    for case in ended.cases.values():
        assert case.outcome == "error", ended.output
        assert case.message.startswith("e1000.inf: cannot be installed: in the guest, devcon find ended with status ")


@dataclass
class Broken:
    """A testbed whose guest answers a package with an error."""

    error: NicproofError
    blue: bool = False
    device_crashed: bool = False

    @property
    def guest(self) -> "Broken":
        return self

    def install_driver(self, files: object, description: object) -> None:
        raise self.error

    def installation_log(self) -> str:
        raise self.error

    def crash(self) -> str | None:
        return "it shows a blue screen" if self.blue else None

    def death(self) -> None:
        return None

    def papers(self) -> dict[str, str]:
        return {"console.log": "words"}


@pytest.mark.parametrize(
    ("error", "blue", "kind", "says"),
    [
        (
            Unsupported("the guest lacks a tool: devcon.exe"),
            False,
            NotInstalled,
            "cannot be installed: the guest lacks",
        ),
        (TransportError("SSH broke"), False, NotInstalled, "cannot be installed: SSH broke"),
        (
            TransportError("SSH broke"),
            True,
            DriverRefused,
            "the guest broke while it installed it: it shows a blue screen",
        ),
    ],
    ids=["no tool", "no way in", "blue screen"],
)
def test_a_finding_is_told_from_what_nobody_could_try(
    error: NicproofError, blue: bool, kind: type[NicproofError], says: str
) -> None:
    with pytest.raises(NotInstalled, match=f"^x.inf: {says}") as raised:
        install(cast(Testbed, Broken(error, blue)), OwnPackage("x.inf", {"x.inf": b""}))
    assert type(raised.value) is kind, "a lacking tool is no skip: the user asked for this driver"
    assert raised.value.papers == {"console.log": "words"}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The keys under which snapshots were looked for; none is made."""
    found: list[str] = []
    really = cache.publish

    def publish(kind: str, key: str, *more: Any, **named: Any) -> Path:
        if kind != "snapshots":
            return really(kind, key, *more, **named)
        found.append(key)
        return tmp_path

    monkeypatch.setattr(cache, "publish", publish)
    return found


def test_another_build_of_the_driver_is_another_snapshot(profile: Path, inf: Path, keys: list[str]) -> None:
    launcher = Launcher(qemu := find_qemu(), choose_accel(qemu, "tcg"))

    def look(**drivers: Path) -> None:
        launcher.saved(select_cells(with_own(load_profile(str(profile)), drivers=drivers), ["e1000"], ["intx"])[0])

    look(e1000=inf)
    look(e1000=inf)
    (inf.parent / "messages" / "e1000msg.dll").write_bytes(b"MZ another build")
    look(e1000=inf)
    look()
    once, again, rebuilt, without = keys
    assert once == again
    assert len({once, rebuilt, without}) == 3
