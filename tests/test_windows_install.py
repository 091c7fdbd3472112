"""The installation of a Windows, on real machines: a stand-in for Setup goes all the way, small programs go astray."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import filelock
import paramiko
import pytest

from harness.errors import InputError, NicproofError
from harness.image.keys import guest_keys
from harness.image.windows.build import Order, build, exports
from harness.image.windows.install import Devices, Installation, InstallFailure
from harness.image.windows.medium import Family
from harness.image.windows.recipe import RECIPES, Phase, Recipe
from harness.image.windows.said import Bound, blocks, bound_drivers, milestones
from harness.nic import CATALOGUE
from harness.qemu.accel import choose_accel
from harness.qemu.binary import Qemu, find_qemu
from harness.qemu.image_tool import image_tool
from tests.conftest import wait_until
from tests.stand_in import HOST_KEY, stand_in
from tests.windows_media import KEY, WIN10_ID, XP_ID, intel, virtio_win, write_iso

ROOT = Path(__file__).parents[1]
VOLUME_ID: dict[Family, str] = {"winxp": XP_ID, "win10": WIN10_ID}


@pytest.fixture(scope="module")
def qemu() -> Qemu:
    return find_qemu()


def small(family: Family, deadline_s: float = 240) -> Recipe:
    """Return a recipe with the family's machine and phases, for a guest that needs less of all."""
    recipe = RECIPES[family]

    def short(phase: Phase) -> Phase:
        return replace(phase, deadline_s=deadline_s)

    return replace(
        recipe,
        machine=replace(recipe.machine, cpu="Nehalem", memory_mib=192, cpus=1),  # the stand-in's kernel has 64 bits
        install=tuple(map(short, recipe.install)),
        hardware=short(recipe.hardware),
        disk_gib=1,
        needs_gib=1,
    )


def order(family: Family, iso: Path, home: Path, ssh: Path | None = None, key: str = KEY) -> Order:
    """Order an image with drivers for all that can have one."""
    (home / "key").write_text(key)
    return Order(
        family,
        iso,
        home / f"{family}.qcow2",
        virtio_win=virtio_win(home / "virtio.iso"),
        intel_drivers=intel(home / "intel") if family == "winxp" else None,
        ssh=ssh,
        product_key=home / "key",
    )


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# All the way


_BUILD = """
import sys
from pathlib import Path
from harness.image.windows.build import build
from harness.qemu.accel import choose_accel
from harness.qemu.binary import find_qemu
from tests.test_windows_install import order, small
iso, home = map(Path, sys.argv[1:])
qemu = find_qemu()
build(order("winxp", iso, home), small("winxp"), qemu, choose_accel(qemu, "tcg"), lambda line: print(line, flush=True))
"""


def killed_in_boot_2(iso: Path, home: Path) -> None:
    """Build in another process, and kill that one while the guest runs for the second time."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", _BUILD, str(iso), str(home)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        alarm = threading.Timer(400, process.kill)
        alarm.start()
        assert process.stdout
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("boot 2, phase finish"):
                    break
            else:
                pytest.fail(f"the build ended early: {lines}")
        finally:
            alarm.cancel()
            process.send_signal(signal.SIGKILL)


def test_an_interrupted_installation_goes_on_and_ends_as_an_image(qemu: Qemu, tmp_path: Path) -> None:
    iso = stand_in(XP_ID)
    before = digest(iso)
    killed_in_boot_2(iso, tmp_path)
    image, work = tmp_path / "winxp.qcow2", tmp_path / "winxp.qcow2.build"
    assert not image.exists()
    # What boot 2 had written must be gone: all that is where the stand-in looks how far it is.
    junk = ["bench", "-w", "--pattern=57", "-c", "1", "-s", "65536", "-o", str(64 << 20), str(work / "disk.qcow2")]
    write = [*qemu.img_argv, *junk]

    def written() -> bool:  # the killed harness's QEMU ends a moment later, and holds a lock on the disk until then
        return not subprocess.run(write, env={**os.environ, **qemu.env}, capture_output=True, check=False).returncode

    wait_until("a disk that nobody else writes to", written)
    said: list[str] = []
    made = build(order("winxp", iso, tmp_path), small("winxp"), qemu, choose_accel(qemu, "tcg"), said.append)
    assert made == image
    steps = [line.split(":")[0] for line in said if line.startswith(("taken up", "boot"))]
    assert steps == [
        "taken up again at boot 2, phase graphical",
        "boot 2, phase graphical",
        "boot 2, phase finish",
        "boot 3, phase finish",
        "boot 3, phase logon",
        "boot 4, phase hardware",
    ]
    assert digest(iso) == before
    left = {path.name for path in tmp_path.iterdir() if path.name.startswith("winxp")}
    assert left == {image.name, *(f"{image.name}.{what}" for what in ("json", "key", "password"))}
    card = json.loads((tmp_path / "winxp.qcow2.json").read_text())
    assert card["iso"] == {"file": "setup.iso", "volume_id": XP_ID, "sha256": before}
    assert (card["build"], card["hal"], card["ssh"]) == (
        "Microsoft Windows XP [Version 5.1.2600]",
        r"acpiapic_up\0\0",
        None,
    )
    given = {driver["device"]: driver["version"] for driver in card["drivers_given"]}
    assert given["e1000"] == "8.10.3.0"
    bound = {driver["id"] for driver in card["drivers_bound"]}
    assert bound == {"VEN_8086&DEV_100E", "VEN_1AF4&DEV_1000", "VEN_1AF4&DEV_1041", "VEN_1AF4&DEV_1001"}
    assert {driver["service"] for driver in card["drivers_bound"]} == {"nic"}
    assert card["nics_without_driver"].keys() == {"e1000e", "igb", "igbvf"}
    password = (tmp_path / "winxp.qcow2.password").read_text().strip()
    for secret in (password, KEY):
        assert secret not in json.dumps(card)
    for private in ("key", "password"):
        assert (tmp_path / f"winxp.qcow2.{private}").stat().st_mode & 0o777 == 0o600
    assert exports("winxp", image) == {"NICPROOF_WINXP_IMAGE": str(image)}
    check = [*qemu.img_argv, "info", "--output=json", str(image)]
    facts = json.loads(subprocess.run(check, env={**os.environ, **qemu.env}, check=True, capture_output=True).stdout)
    assert (facts["format"], facts.get("snapshots"), facts["virtual-size"]) == ("qcow2", None, 1 << 30)
    with pytest.raises(InputError, match=r"winxp\.qcow2 is there already: remove it, or give another --output$"):
        build(order("winxp", iso, tmp_path), small("winxp"), qemu, choose_accel(qemu, "tcg"), said.append)


def test_windows_10_is_installed_with_its_ssh_server(qemu: Qemu, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ssh.zip", "w") as archive:
        archive.writestr("OpenSSH-Win64/install-sshd.ps1", "")
    iso, said = stand_in(WIN10_ID), list[str]()
    build(
        order("win10", iso, tmp_path, ssh=tmp_path / "ssh.zip"),
        small("win10"),
        qemu,
        choose_accel(qemu, "tcg"),
        said.append,
    )
    phases = [line.partition(":")[0] for line in said if line.startswith("boot")]
    assert phases == [
        "boot 1, phase copy",
        "boot 2, phase copy",
        "boot 2, phase specialize",
        "boot 3, phase specialize",
        "boot 3, phase logon",
        "boot 3, phase ssh",
        "boot 4, phase hardware",
    ]
    card = json.loads((tmp_path / "win10.qcow2.json").read_text())
    assert card["ssh"] == {"user": "Administrator", "host_key": HOST_KEY}
    assert exports("win10", tmp_path / "win10.qcow2") == {
        "NICPROOF_WIN10_IMAGE": str(tmp_path / "win10.qcow2"),
        "NICPROOF_WIN10_KEY": str(tmp_path / "win10.qcow2.key"),
        "NICPROOF_WIN10_USER": "Administrator",
    }
    bound = {driver["id"] for driver in card["drivers_bound"]}
    assert bound >= {"VEN_8086&DEV_100E", "VEN_8086&DEV_10D3", "VEN_8086&DEV_10C9", "VEN_1AF4&DEV_1041"}
    key = paramiko.PKey.from_path(tmp_path / "win10.qcow2.key")
    assert guest_keys().authorized.split()[1] == key.get_base64()


# Astray

HANG, RESTART, OFF = "f4 ebfd", "b0fe e664 f4 ebfd", "ba0406 b80020 ef f4 ebfd"


def boot_program(text: str, end: str) -> bytes:
    """Return a program that a BIOS starts from a CD: it puts text on the first serial port, and then does `end`."""
    code = bytes.fromhex(
        "fa fc 31c0 8ed8"  #            cli; cld; xor ax, ax; mov ds, ax
        "be 407c"  #                    mov si, 0x7c40
        "ac 84c0 7411"  #         next: lodsb; test al, al; jz end
        "88c4 bafd03"  #                mov ah, al; mov dx, 0x3fd
        "ec a820 74fb"  #         wait: in al, dx; test al, 0x20; jz wait
        "b2f8 88e0 ee ebea" + end  #    mov dl, 0xf8; mov al, ah; out dx, al; jmp next
    )
    return code.ljust(64, b"\0") + text.replace("\n", "\r\n").encode() + b"\0"


Astray = Callable[..., NicproofError]


@pytest.fixture
def astray(qemu: Qemu, tmp_path: Path) -> Astray:
    """Install with a program in Setup's place, and return the failure."""

    def begin(
        text: str, end: str, *, key: str = KEY, deadline_s: float = 60, said: list[str] | None = None
    ) -> NicproofError:
        iso = tmp_path / "setup.iso"
        if not iso.exists():
            write_iso(iso, XP_ID, {"README.TXT": b"x"}, boot=boot_program(text, end))
        lines: list[str] = [] if said is None else said
        with pytest.raises(InstallFailure) as caught:
            build(
                order("winxp", iso, tmp_path, key=key),
                small("winxp", deadline_s),
                qemu,
                choose_accel(qemu, "tcg"),
                lines.append,
            )
        assert not (tmp_path / "winxp.qcow2").exists()
        assert "\n" not in str(caught.value)
        return caught.value

    return begin


@pytest.mark.parametrize(
    ("text", "end", "said"),
    [
        ("nicproof: failed no disk here\n", HANG, "phase text: the guest says: no disk here"),
        ("nicproof: phase finish\nnicproof: phase text\n", HANG, "phase finish: the guest began again with phase text"),
        ("nicproof: phase dance\n", HANG, "phase text: the guest speaks of a phase 'dance' that is not the recipe's"),
        ("some words\n", OFF, "phase text: the guest switched itself off early; its last line on COM1: 'some words'"),
        ("", RESTART, "phase graphical: the guest restarted 5 times in it"),
    ],
    ids=["failed", "began again", "unknown phase", "off", "round in circles"],
)
def test_an_installation_that_goes_astray_is_told_with_its_screen(
    text: str, end: str, said: str, astray: Astray, tmp_path: Path
) -> None:
    failure = str(astray(text, end))
    assert failure.startswith(said), failure
    boots = 6 if end == RESTART else 1
    screen = tmp_path / f"winxp.qcow2.build/boot-{boots}/screen.png"
    assert failure.endswith(f"; its screen: {screen}; the same command tries boot {boots} again")
    assert screen.read_bytes().startswith(b"\x89PNG")


def test_a_phase_that_takes_too_long_ends_at_its_deadline(astray: Astray) -> None:
    began = time.monotonic()
    failure = str(astray("nicproof: phase graphical\nworking\n", HANG, deadline_s=20))
    assert failure.startswith("phase graphical took longer than 20 s; its last line on COM1: 'working'; its screen: ")
    assert time.monotonic() - began < 120


def test_a_driver_that_windows_did_not_take_is_named(qemu: Qemu, tmp_path: Path) -> None:
    """All NICs are there, and what boots from the disk says that it is done, but not which drivers it has."""
    recipe, absent = small("winxp"), tmp_path / "none"
    devices = Devices(absent, absent, None, [CATALOGUE["e1000"]], False, {"e1000": "VEN_8086&DEV_100E"})
    accel = choose_accel(qemu, "tcg")
    begun = Installation(tmp_path, recipe, devices, qemu, accel, print)
    program = boot_program("nicproof: phase hardware\nnicproof: done\n", OFF).ljust(510, b"\0") + b"\x55\xaa"
    (tmp_path / "disk.raw").write_bytes(program.ljust(1 << 20, b"\0"))
    image_tool(qemu, "convert", "-O", "qcow2", "-f", "raw", str(tmp_path / "disk.raw"), str(begun.disk))
    image_tool(qemu, "snapshot", "-c", "before-boot-4", str(begun.disk))
    (tmp_path / "state.json").write_text(json.dumps({"boot": 4, "phase": "hardware", "stage": "hardware"}))
    for number in (1, 2, 3):
        (tmp_path / f"boot-{number}").mkdir()
        (tmp_path / f"boot-{number}/console.log").touch()
    with pytest.raises(
        InstallFailure, match=r"^phase hardware: Windows did not take the driver of e1000; its screen: "
    ):
        Installation(tmp_path, recipe, devices, qemu, accel, print).run()
    devices = replace(devices, expected={})
    assert Installation(tmp_path, recipe, devices, qemu, accel, print).run() == {}


def test_what_is_unfinished_is_taken_up_only_for_the_same_image(astray: Astray, qemu: Qemu, tmp_path: Path) -> None:
    first, again = list[str](), list[str]()
    password = tmp_path / "winxp.qcow2.build" / "password"
    astray("nicproof: failed on purpose\n", HANG, said=first)
    assert not [line for line in first if line.startswith("taken up")]
    kept = password.read_text()
    astray("", HANG, said=again)
    assert "taken up again at boot 1, phase text" in again
    assert password.read_text() == kept, "the media must have the password that is on the disk"
    other = order("winxp", tmp_path / "setup.iso", tmp_path, key=KEY.replace("A", "Z"))
    with pytest.raises(InputError, match=r"\.build holds an unfinished build of something else: give the same options"):
        build(other, small("winxp"), qemu, choose_accel(qemu, "tcg"), print)
    assert password.read_text() == kept, "hours of work may be in there"


# Before anything is installed


def test_disk_that_is_not_there_is_told_before(qemu: Qemu, tmp_path: Path) -> None:
    write_iso(tmp_path / "setup.iso", XP_ID, {"README.TXT": b"x"})
    recipe = replace(small("winxp"), needs_gib=1 << 30)
    with pytest.raises(
        NicproofError, match=r"^not enough disk: the build needs 1073741824 GiB in \S+, where \d+ GiB are"
    ):
        build(order("winxp", tmp_path / "setup.iso", tmp_path), recipe, qemu, choose_accel(qemu, "tcg"), print)


def test_two_builds_of_one_image_are_one_too_many(qemu: Qemu, tmp_path: Path) -> None:
    write_iso(tmp_path / "setup.iso", XP_ID, {"README.TXT": b"x"})
    with (
        filelock.FileLock(tmp_path / "winxp.qcow2.lock"),
        pytest.raises(NicproofError, match=r"^another process is building \S+/winxp\.qcow2$"),
    ):
        build(order("winxp", tmp_path / "setup.iso", tmp_path), small("winxp"), qemu, choose_accel(qemu, "tcg"), print)


def test_a_place_that_cannot_be_written_is_told(qemu: Qemu, tmp_path: Path) -> None:
    write_iso(tmp_path / "setup.iso", XP_ID, {"README.TXT": b"x"})
    (tmp_path / "file").touch()
    wish = replace(order("winxp", tmp_path / "setup.iso", tmp_path), output=tmp_path / "file/winxp.qcow2")
    with pytest.raises(InputError, match=r"^--output \S+/file/winxp\.qcow2: cannot be written: Not a directory$"):
        build(wish, small("winxp"), qemu, choose_accel(qemu, "tcg"), print)


@pytest.mark.parametrize("option", ["--virtio-win", "--intel-drivers", "--ssh"])
def test_a_file_that_is_not_there_is_told_and_nothing_is_left(option: str, qemu: Qemu, tmp_path: Path) -> None:
    write_iso(tmp_path / "setup.iso", XP_ID, {"README.TXT": b"x"})
    wish, nowhere = order("winxp", tmp_path / "setup.iso", tmp_path), tmp_path / "nowhere"
    wishes = {
        "--virtio-win": replace(wish, virtio_win=nowhere),
        "--intel-drivers": replace(wish, intel_drivers=nowhere),
        "--ssh": replace(wish, ssh=nowhere),
    }
    with pytest.raises(InputError, match=rf"^{option} \S+/nowhere: [nN]o such f"):
        build(wishes[option], small("winxp"), qemu, choose_accel(qemu, "tcg"), print)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("winxp")]


# What the guest says

# Assembled from documentation of reg.exe and recorded lines of Windows; not verified on a guest yet.
SAID = """\
SeaBIOS
nicproof: phase hardware
nicproof: begin drivers
HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4D36E972-E325-11CE-BFC1-08002BE10318}\\0000
    DriverVersion    REG_SZ    10.0.19041.1
    InfPath    REG_SZ    netrasa.inf
    MatchingDeviceId    REG_SZ    ms_sstpminiport
    ProviderName    REG_SZ    Microsoft
HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4D36E972-E325-11CE-BFC1-08002BE10318}\\0007
    DriverVersion    REG_SZ    12.19.1.32
    InfPath    REG_SZ    net1ic64.inf
    MatchingDeviceId    REG_SZ    PCI\\VEN_8086&DEV_10D3
    ProviderName    REG_SZ    Microsoft
nicproof: end drivers
nicproof: begin services
HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Enum\\PCI\\VEN_8086&DEV_10D3&SUBSYS_00008086&REV_00
HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Enum\\PCI\\VEN_8086&DEV_10D3&SUBSYS_00008086&REV_00\\4&12829b10&0&0014
    Service    REG_SZ    e1i65x64
nicproof: end services
nicproof: begin user
nicproof: end user
nicproof: done
"""


def test_what_the_guest_says_is_understood() -> None:
    assert [(one.kind, one.text) for one in milestones(SAID)] == [("phase", "hardware"), ("done", "")]
    told = blocks(SAID)
    assert told["user"] == []
    assert bound_drivers(told) == (Bound("VEN_8086&DEV_10D3", "e1i65x64", "12.19.1.32", "net1ic64.inf", "Microsoft"),)


# The command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["winxp"], "winxp is built from an installation medium of yours: --iso FILE (docs/winxp.md)"),
        (["ipxe", "--iso", "x"], "--iso: is for winxp and win10; ipxe is built from what its profile says"),
        (["linux", "--dry-run"], "--dry-run: is for winxp and win10; linux is built from what its profile says"),
        (["win10", "--iso", "/nowhere.iso"], "--iso /nowhere.iso: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "harness.cli", "image", "build", *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr.splitlines()[-1]) == (2, "", f"nicproof: {message}")


def test_the_command_prints_the_plan(tmp_path: Path) -> None:
    write_iso(tmp_path / "w.iso", WIN10_ID, {"README.TXT": b"x"})
    command = [sys.executable, "-m", "harness.cli", "image", "build", "win10", "--iso", str(tmp_path / "w.iso")]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    ran = subprocess.run(
        [*command, "--dry-run"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert f"written   {tmp_path}/win10.qcow2.media/answers.iso\n" in ran.stdout
    assert f"result    {tmp_path}/win10.qcow2, with win10.qcow2.json, " in ran.stdout
    assert (tmp_path / "win10.qcow2.media/answers.iso").is_file()
