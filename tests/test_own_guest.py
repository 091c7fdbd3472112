"""A guest of somebody else's, given by a profile alone: their kernel, or their disk with an SSH server."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.l2 import Ether

from harness.cell import Exclusion, all_cells, find_cell, select_cells
from harness.endpoint.base import padded
from harness.errors import InputError, Unsupported
from harness.guest.base import Guest
from harness.launcher import Launcher
from harness.nic import InterruptMode
from harness.profile import BuiltImage, DiskImage
from harness.profile_file import load_profile
from harness.qemu.accel import choose_accel
from harness.qemu.binary import Qemu, find_qemu
from harness.station import DUT, WIRE
from harness.testbed import Testbed
from tests.appliance import Appliance, own_disk, own_kernel

MARK = b"somebody else's guest"
Fork = Callable[[str], Testbed]


@pytest.fixture(scope="module")
def qemu() -> Qemu:
    return find_qemu(None)


@pytest.fixture
def fork(qemu: Qemu) -> Iterator[Fork]:
    """Give a fork of the cell; all of them end with the test."""
    launcher = Launcher(qemu, choose_accel(qemu, "tcg"))
    forks: list[Testbed] = []

    def begin(wish: str) -> Testbed:
        cell = find_cell(wish)
        forks.append(launcher.fork(cell, launcher.saved(cell)))
        return forks[-1]

    yield begin
    for one in forks:
        one.close()


def frames_cross(testbed: Testbed) -> bool:
    """Whether a raw frame crosses both ways between the endpoint in the guest and the wire."""
    endpoint = testbed.guest.endpoint()
    out = padded(Ether(src=DUT.mac, dst=WIRE.mac, type=0x88B5) / MARK)
    into = padded(Ether(src=WIRE.mac, dst=DUT.mac, type=0x88B5) / MARK)
    with testbed.wire.capture(MARK) as on_wire, endpoint.capture(MARK) as in_guest:
        endpoint.send(out)
        seen = on_wire.wait(1)
        testbed.wire.send(into)
        return (seen, [frame for frame in in_guest.wait(1) if frame == into]) == ([out], [into])


# A kernel of one's own


@pytest.fixture
def kernel_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile beside the kernel's tree, which a link puts where the user builds."""
    (tmp_path / "build").symlink_to(own_kernel().bzimage.parents[1])
    monkeypatch.setenv("KERNEL", "../build")
    file = tmp_path / "profiles" / "kernel.yaml"
    file.parent.mkdir()
    file.write_text(f"""
extends: linux
description: our kernel in a Debian 13 guest
image:
  kernel: ${{KERNEL}}/arch/bzImage
  modules: ${{KERNEL}}/lib/modules/{own_kernel().release}
""")
    return file


def test_own_kernel_and_its_modules_are_what_is_tested(kernel_profile: Path, fork: Fork) -> None:
    image = load_profile(str(kernel_profile)).image
    assert isinstance(image, BuiltImage)
    assert image.suite == "trixie", "the profile that it extends gives the suite"
    testbed = fork(f"{kernel_profile}/e1000e/msix")
    guest, release = testbed.guest, own_kernel().release
    assert (guest.release(), guest.driver().name, guest.driver().version) == (release, "e1000e", release)
    assert guest.interrupts().way is InterruptMode.MSIX
    assert frames_cross(testbed)


# A disk of one's own


@pytest.fixture(scope="module")
def appliance(qemu: Qemu) -> Appliance:
    return own_disk(qemu.img_argv)


@pytest.fixture
def disk_profile(appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a profile for the appliance."""
    monkeypatch.setenv("APPLIANCE", str(appliance.disk.parent))

    def write(bus: str = "virtio") -> Path:
        file = tmp_path / "appliance.yaml"
        file.write_text(f"""
extends: linux
description: our appliance
image:
  disk: ${{APPLIANCE}}/disk.qcow2
  format: qcow2
  bus: {bus}
  user: root
  key: ${{APPLIANCE}}/key
  host_key: {appliance.host_key}
ready: {{console:, ssh: true, deadline_s: 600}}
""")
        return file

    return write


@pytest.mark.parametrize(("bus", "where", "driver"), [("virtio", "igb/msix", "igb"), ("ide", "e1000/intx", "e1000")])
def test_own_disk_boots_by_its_own_loader_and_is_never_written_to(
    bus: str, where: str, driver: str, appliance: Appliance, disk_profile: Callable[..., Path], fork: Fork
) -> None:
    before = hashlib.sha256(appliance.disk.read_bytes()).digest()
    wish = f"{disk_profile(bus)}/{where}"
    testbed = fork(wish)
    assert (testbed.guest.driver().name, testbed.guest.interrupts().way) == (driver, where.rpartition("/")[2])
    assert testbed.guest.mac() == DUT.mac
    assert testbed.guest.ping(WIRE.ip, 56)
    assert frames_cross(testbed)
    ssh = testbed.connect()
    assert len(ssh.check("cat /var/log/starts").splitlines()) == 1, "expected a root that was written to when it booted"
    ssh.check("echo changed > /root/changed && sync")
    ssh.close()
    other = fork(wish).connect()
    assert other.check("ls /root") == "", "what one fork writes, no other sees"
    other.close()
    assert hashlib.sha256(appliance.disk.read_bytes()).digest() == before


@pytest.fixture
def disk_guest(disk_profile: Callable[..., Path], fork: Fork) -> Testbed:
    return fork(f"{disk_profile()}/igb/msix")


def change(testbed: Testbed, command: str) -> Guest:
    """Change the guest before its first use."""
    ssh = testbed.connect()
    ssh.check(command)
    ssh.close()
    return testbed.guest


NO_WORKER = (
    "kill $(busybox pidof python3) && timeout 30 sh -c 'while busybox pidof python3 >/dev/null; do sleep 0.02; done'"
)
"""Ends the worker, and waits until it is gone: as long as it ends, it may still be connected to."""


def test_endpoint_is_there_before_the_snapshot_and_started_where_it_is_not(disk_guest: Testbed) -> None:
    ssh = disk_guest.connect()
    ssh.connect_to("127.0.0.1", 7000).close()
    ssh.close()
    change(disk_guest, NO_WORKER)
    assert frames_cross(disk_guest)


@pytest.mark.parametrize(
    ("removed", "reason"),
    [
        ("/usr/bin/python3", r"python3: not found"),
        ("/usr/lib/python3/dist-packages/scapy", r"ModuleNotFoundError: No module named 'scapy'"),
    ],
)
def test_guest_without_python_or_scapy_lacks_raw_frames_alone(removed: str, reason: str, disk_guest: Testbed) -> None:
    guest = change(disk_guest, f"{NO_WORKER} && mv {removed} /root/away")
    with pytest.raises(Unsupported, match=f"^raw frames from the guest need python3 and scapy in it: .*{reason}"):
        guest.endpoint()
    assert guest.ping(WIRE.ip, 56)


def test_tool_that_the_guest_lacks_is_named(disk_guest: Testbed) -> None:
    guest = change(disk_guest, "rm /usr/sbin/ethtool")
    with pytest.raises(Unsupported, match=r"^the guest lacks a tool: .*ethtool: not found$"):
        guest.driver()


# What a disk cannot be brought to


@pytest.fixture
def any_disk(tmp_path: Path) -> Callable[[str], Path]:
    """Write a profile for a disk that nobody boots."""
    (tmp_path / "file").touch()

    def write(more: str = "") -> Path:
        file = tmp_path / "any.yaml"
        image = "{disk: file, format: raw, bus: ide, user: root, key: file}"
        file.write_text(f"extends: linux\nimage: {image}\nready: {{console:, ssh: true}}\n{more}\n")
        return file

    return write


def test_mode_that_takes_a_kernel_parameter_is_no_cell_of_a_disk(any_disk: Callable[[str], Path]) -> None:
    profile, linux = load_profile(str(any_disk(""))), load_profile("linux")
    assert isinstance(profile.image, DiskImage)
    left = {cell.id.partition("/")[2] for cell in select_cells(profile)}
    reachable = {cell for cell in select_cells(linux) if not cell.mode_profile.append and not cell.nic.virtual_function}
    assert left == {cell.id.partition("/")[2] for cell in reachable}
    reasons = {one.id: one.reason for one in all_cells(profile) if isinstance(one, Exclusion)}
    assert reasons["any/igb/intx"] == (
        "it takes the kernel parameter pci=nomsi, and a disk image's own loader decides its kernel's command line "
        '(where that leads to this mode by itself: append: "")'
    )
    made_by = "the virtual function is made by the start script of the images that nicproof builds"
    assert reasons["any/igbvf/msix"] == made_by


def test_asking_for_such_a_mode_is_answered_with_the_reason(any_disk: Callable[[str], Path]) -> None:
    said = r"^no cell any/e1000e/msi: it takes the kernel parameter e1000e\.IntMode=1,1,"
    with pytest.raises(InputError, match=said):
        select_cells(load_profile(str(any_disk(""))), ["e1000e"], ["msi"])


def test_disk_whose_loader_gives_the_parameter_has_the_cell(any_disk: Callable[[str], Path]) -> None:
    file = any_disk('nics: {igb: {modes: {intx: {append: ""}}}}')
    assert find_cell(f"{file}/igb/intx").mode is InterruptMode.INTX
