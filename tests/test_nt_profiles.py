"""The profiles of Windows and ReactOS: what they expect of each NIC model, and that QEMU has such machines."""

import re
import socket
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cell import Cell, Exclusion, all_cells, find_cell, select_cells
from harness.guest.serial import SerialError
from harness.image import build_image
from harness.launcher import Launcher
from harness.nic import CATALOGUE, InterruptMode
from harness.profile import AbsentImage, DiskImage, MediumImage, Profile
from harness.profile_file import load_profile
from harness.qemu import machine
from harness.qemu.accel import choose_accel
from harness.qemu.binary import find_qemu
from harness.qemu.process import QemuProcess
from harness.testbed import Testbed

VARIABLES = ("NICPROOF_WINXP_IMAGE", "NICPROOF_WIN10_IMAGE", "NICPROOF_REACTOS_ISO")
KEYS = ("NICPROOF_WINXP_KEY", "NICPROOF_WIN10_KEY")
CELLS = {
    "winxp": ["e1000/intx", "e1000e/intx", "virtio-net/intx", "virtio-net-modern/intx"],
    "win10": ["e1000/intx", "e1000e/msix", "igb/msix", "virtio-net/intx", "virtio-net/msix", "virtio-net-modern/msix"],
    "reactos": ["e1000/intx-pic"],
}
"""What is expected where nothing else is known (Windows XP has no messages; Windows 10 uses them where it can)."""


@pytest.fixture
def supplied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The images that a user would bring: here, a disk with nothing on it."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    for name in VARIABLES:
        monkeypatch.setenv(name, str(disk))
    for name in KEYS:
        monkeypatch.setenv(name, str(disk))
    return disk


@pytest.mark.parametrize("name", CELLS)
def test_each_model_is_expected_in_the_mode_that_its_windows_can(name: str) -> None:
    assert [cell.id for cell in select_cells(load_profile(name))] == [f"{name}/{cell}" for cell in CELLS[name]]


def test_xp_gets_no_message_and_a_client_no_virtual_function() -> None:
    reasons = {
        one.id: one.reason for name in CELLS for one in all_cells(load_profile(name)) if isinstance(one, Exclusion)
    }
    for nic in ("e1000e", "virtio-net-modern"):
        assert "XP has none" in reasons[f"winxp/{nic}/msix"]
    assert "the 82576 for XP" in reasons["winxp/igb/intx"]
    assert "no driver of the 82576's virtual function" in reasons["winxp/igbvf/msix"]
    assert "Hyper-V" in reasons["win10/igbvf/msix"]
    assert reasons["winxp/e1000/msi"] == "e1000 has no MSI capability"


@pytest.mark.parametrize("name", CELLS)
def test_with_and_without_the_image_the_cells_are_the_same(name: str, supplied: Path) -> None:
    with_image = load_profile(name)
    assert isinstance(with_image.image, DiskImage | MediumImage)
    assert supplied in (getattr(with_image.image, "disk", None), getattr(with_image.image, "iso", None))
    with pytest.MonkeyPatch.context() as patch:
        for variable in VARIABLES:
            patch.delenv(variable)
        without = load_profile(name)
    assert isinstance(without.image, AbsentImage)
    assert [one.id for one in all_cells(without)] == [one.id for one in all_cells(with_image)]
    assert without.model_dump(exclude={"image"}) == with_image.model_dump(exclude={"image"})


def control_nic(cell: Cell) -> str:
    arguments = machine._control(cell)
    return arguments[arguments.index("-device") + 1].split(",")[0]


def test_control_nic_is_in_the_box_and_never_the_duts(supplied: Path) -> None:
    assert {control_nic(cell) for cell in select_cells(load_profile("winxp"))} == {"rtl8139"}
    found = {cell.nic.name: control_nic(cell) for cell in select_cells(load_profile("win10"))}
    assert found.pop("e1000e") == "rtl8139"
    assert set(found.values()) == {"e1000e"}
    assert control_nic(find_cell("linux/e1000e/msix")) == "virtio-net-pci"
    assert control_nic(find_cell("linux/virtio-net/msix")) == "e1000"


def every_cell() -> list[str]:
    return [f"{name}/{cell}" for name, cells in CELLS.items() for cell in cells]


@pytest.fixture
def started(supplied: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Cell, QemuProcess]]:
    cell = find_cell(request.param)
    qemu = find_qemu()
    hardware = machine.hardware(cell, replace(build_image(cell.profile), disk_format="raw"), choose_accel(qemu, "tcg"))
    memory = machine.memory(replace(hardware, memory_mib=128), None, copy_on_write=False)
    with QemuProcess(qemu, (*hardware.arguments, "-m", "128", *memory), tmp_path, memory_mib=128, paused=True) as vm:
        yield cell, vm


@pytest.mark.parametrize("started", every_cell(), indirect=True)
def test_qemu_has_such_a_machine_with_the_model_in_it(started: tuple[Cell, QemuProcess]) -> None:
    cell, vm = started
    devices = vm.monitor.human("info qtree")
    assert f'dev: {cell.nic.device}, id "dut"' in devices
    assert cell.machine == {"winxp": "pc", "reactos": "pc", "win10": "q35"}[cell.profile.name]
    processor = vm.monitor.execute("query-cpus-fast")[0]["qom-path"]
    kind = vm.monitor.execute("qom-get", path=processor, property="type")
    assert kind == f"{cell.profile.machine.cpu}-x86_64-cpu"
    assert ("dev: pcie-root-port" in devices) == (cell.machine == "q35" and cell.nic.bus == "pcie")


def test_every_model_has_drivers_or_a_reason_and_none_polls() -> None:
    profiles: list[Profile] = [load_profile(name) for name in CELLS]
    nics = [nic for profile in profiles for nic in profile.nics.values()]
    assert not [name for nic in nics for name in nic.drivers if " " in name]
    assert all(set(profile.nics) | set(profile.absent) == set(CATALOGUE) for profile in profiles)
    assert InterruptMode.POLLED not in {mode for nic in nics for mode in nic.modes}


@pytest.fixture
def bed(supplied: Path, tmp_path: Path) -> Iterator[Testbed]:
    """A guest that is controlled by its second serial port, where nobody answers: its disk is empty."""
    made = subprocess.run([*find_qemu().img_argv, "create", "-q", "-f", "qcow2", supplied, "1M"], check=False)
    assert made.returncode == 0
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: winxp\ncontrol: serial\nready: {ssh:, dhcp: true, deadline_s: 60}\n")
    cell = find_cell(f"{mine}/e1000/intx")
    qemu = find_qemu()
    started = Launcher(qemu, choose_accel(qemu, "tcg"))._start(cell, build_image(cell.profile), memory=None)
    yield started
    started.close()


def test_a_guest_with_a_shell_on_its_serial_port_has_that_port_and_no_control_nic(bed: Testbed) -> None:
    assert "netdev=control" not in bed.vm.command_line()
    assert isinstance(bed.vm.serial, socket.socket)
    with pytest.raises(SerialError, match=r"^no cmd\.exe answers on the guest's serial port within 2 s: "):
        bed.transport(2)


@pytest.mark.parametrize("name", ["winxp", "win10"])
def test_an_image_without_a_login_is_tested_by_the_profile_that_its_page_shows(
    name: str, supplied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"NICPROOF_{name.upper()}_KEY")
    page = (Path(__file__).parent.parent / "docs" / f"{name}.md").read_text()
    (shown,) = re.findall(rf"(?m)^    extends: {name}\n(?:    .*\n)+", page)
    (tmp_path / "mine.yaml").write_text(textwrap.dedent(shown))
    profile = load_profile(str(tmp_path / "mine.yaml"))
    assert (profile.control, profile.ready.console, profile.ready.arp) == ("none", "nicproof: ready", True)
