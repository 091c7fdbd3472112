"""The scripts in the guest, run by a real cmd.exe and reg.exe: those of Wine, which lack what only Windows has."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.guest.transport import text_of
from harness.image.windows.build import Order, dry_run
from harness.image.windows.compact_disc import DriverDisc
from harness.image.windows.medium import Family
from harness.image.windows.recipe import RECIPES
from harness.image.windows.said import Bound, blocks, bound_drivers, milestones
from tests.windows_media import KEY, WIN10_ID, XP_ID, intel, virtio_win, write_iso
from tests.wine import PROGRAM, WHY_NOT, Prefix, windows

_DEADLINE_S = 240

_REGISTRY = """\
REGEDIT4

[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4D36E972-E325-11CE-BFC1-08002BE10318}\\0000]
"DriverVersion"="10.0.19041.1"
"MatchingDeviceId"="ms_sstpminiport"

[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4D36E972-E325-11CE-BFC1-08002BE10318}\\0007]
"DriverVersion"="8.10.3.0"
"InfPath"="oem3.inf"
"MatchingDeviceId"="pci\\\\ven_8086&dev_100e"
"ProviderName"="Intel"

[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Enum\\PCI\\VEN_8086&DEV_100E&SUBSYS_11001AF4&REV_03\\3&1&0&20]
"Service"="E1000"
"""


def run(wine: Prefix, *command: str) -> str:
    """Run a program and return what it prints; its exit status does not matter."""
    return text_of(wine.run(*command, deadline_s=_DEADLINE_S).stdout, "utf-8")


def said(wine: Prefix) -> str:
    """Return what would be said on the first serial port."""
    file = wine.drive / "said.txt"
    return file.read_text(errors="replace").replace("\r", "") if file.exists() else ""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefix]:
    """A Windows that nobody has used, to be copied: to make one takes a while."""
    if PROGRAM is None:
        pytest.skip(WHY_NOT)
    with windows(tmp_path_factory.mktemp("wine") / "prefix") as made:
        (made.drive / "class.reg").write_text(_REGISTRY)
        run(made, "regedit", "/S", r"C:\class.reg")
        made.end()
        yield made


@pytest.fixture
def wine(fresh: Prefix, tmp_path: Path) -> Iterator[Prefix]:
    one = Prefix(shutil.copytree(fresh.folder, tmp_path / "wine", symlinks=True))
    yield one
    one.end()


def insert_cd(wine: Prefix, family: Family, home: Path) -> None:
    """Put the CD's files into a drive, with what Wine lacks replaced: the serial port, and find's option /i."""
    write_iso(home / "win.iso", XP_ID if family == "winxp" else WIN10_ID, {"README.TXT": b"x"})
    (home / "key").write_text(KEY)
    drivers = intel(home / "intel") if family == "winxp" else None
    devcon = home / "devcon.exe" if family == "winxp" else None
    if devcon:
        devcon.write_bytes(b"MZ, of Microsoft's")
    own = (virtio_win(home / "v.iso"), drivers, None, home / "key", devcon)
    order = Order(family, home / "win.iso", home / "x", *own)
    dry_run(order, RECIPES[family])
    disc = DriverDisc(home / "x.media/answers.iso", "the CD")
    cd = home / "cd"
    cd.mkdir()
    disc.copy_folder("nicproof", cd / "nicproof")
    disc.copy_folder("nicproof/drivers/virtio-net", cd / "nicproof/drivers/virtio-net")
    disc.close()
    for script in (cd / "nicproof").glob("*.cmd"):
        text = script.read_bytes().replace(b">COM1", rb">>C:\said.txt")
        script.write_bytes(re.sub(rb'find /i "%%i" \S+ >NUL', b"ver >NUL", text))
    (wine.folder / "dosdevices/e:").symlink_to(cd)


@pytest.mark.parametrize("family", ["winxp", "win10"])
def test_scripts_set_the_guest_up_and_tell_what_is_inside(family: Family, wine: Prefix, tmp_path: Path) -> None:
    insert_cd(wine, family, tmp_path)
    run(wine, "cmd", "/c", r"E:\nicproof\setup.cmd")
    assert [(one.kind, one.text) for one in milestones(said(wine))] == [("phase", "logon"), ("installed", "")]
    inside = wine.drive / "nicproof"
    assert {"logon.cmd", "hardware.todo", "authorized_keys", "drivers"} <= {path.name for path in inside.iterdir()}
    autorun = run(wine, "reg", "query", r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run", "/v", "nicproof")
    assert r"C:\nicproof\logon.cmd" in autorun
    node = run(wine, "reg", "query", r"HKLM\SYSTEM\CurrentControlSet\Services\NetBT\Parameters", "/v", "NodeType")
    assert "0x2" in node, "NetBIOS names would be broadcast"
    if family == "winxp":
        path = run(wine, "reg", "query", r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion", "/v", "DevicePath")
        assert re.search(r"inf;C:\\nicproof\\drivers\\virtio-net\s*$", path), path
        assert (wine.drive / "windows/system32/devcon.exe").read_bytes() == b"MZ, of Microsoft's"
    run(wine, "cmd", "/c", r"C:\nicproof\logon.cmd")
    assert [(one.kind, one.text) for one in milestones(said(wine))][2:] == [("phase", "hardware"), ("done", "")]
    told = blocks(said(wine))
    assert told["version"][0].startswith("Microsoft Windows")
    assert len(told["user"]) == 1
    assert bound_drivers(told) == (Bound("VEN_8086&DEV_100E", "E1000", "8.10.3.0", "oem3.inf", "Intel"),)
    run(wine, "cmd", "/c", r"C:\nicproof\logon.cmd")
    assert said(wine).rstrip().endswith("nicproof: done\nnicproof: ready")
