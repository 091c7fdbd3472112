"""What a guest may boot from, on which bus, by which firmware: each boots for real, is saved, and goes on in a fork."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.cache import publish
from harness.cell import select_cells
from harness.debian import extract
from harness.launcher import Launcher
from harness.profile_file import load_profile
from harness.station import DUT
from harness.testbed import Testbed
from harness.traffic.stimulus import requests_in_background
from harness.witness import device_witness
from tests.painter import HALT, disk, text_screen

FIRMWARE = """\
description: A guest on a medium
os: firmware
control: none
image: {image}
ready: {ready}
machine: {machine}
nics: {{{nic}: {{drivers: [none], queues: {{rx: 1, tx: 1}}, modes: {{polled: {{}}}}}}}}
"""
LINUX = """\
extends: linux-agentless
machine: {{cpus: 1, {machine}}}
nics:
  e1000: {{drivers: [e1000], queues: {{rx: 1, tx: 1}}, modes: {{intx-pic: {pic}, intx: {apic}}}}}
  e1000e:
  igb:
  igbvf:
  virtio-net:
  virtio-net-modern:
"""
STILL = "{quiet_screen_s: 2, deadline_s: 90}"
SCREEN = text_screen(0x07, {0: "I was loaded from a medium"}), HALT
FLOPPY_OCTETS = 2 * 80 * 18 * 512

Fork = Callable[..., Testbed]


@pytest.fixture(scope="module")
def ipxe() -> Path:
    """Debian's iPXE: a CD, and a program for UEFI."""
    where = lambda folder: extract("trixie", ["ipxe"], folder / "unpacked")  # noqa: E731
    folder = publish(
        "test-media", hashlib.sha256(b"ipxe of trixie").hexdigest()[:24], where, what="ipxe", needs_mib=100
    )
    return folder / "unpacked/usr/lib/ipxe"


@pytest.fixture
def fork(launcher: Launcher, tmp_path: Path) -> Iterator[Fork]:
    beds: list[Testbed] = []

    def one(text: str, **parts: str) -> Testbed:
        file = tmp_path / "guest.yaml"
        file.write_text(text.format(**parts))
        (cell,) = select_cells(load_profile(str(file)))
        beds.append(launcher.fork(cell, launcher.saved(cell)))
        return beds[-1]

    yield one
    for bed in beds:
        bed.close()


def assert_shows_the_sector(bed: Testbed) -> None:
    assert bed.crash() is None
    assert bed.vm.monitor.execute("query-status")["status"] == "running"
    papers = bed.papers()
    assert papers["screen.png"] == papers["screen-when-ready.png"]


@contextmanager
def untouched(file: Path) -> Iterator[None]:
    before = hashlib.sha256(file.read_bytes()).digest()
    yield
    assert hashlib.sha256(file.read_bytes()).digest() == before


@pytest.mark.parametrize(
    ("bus", "nic"),
    [
        *((bus, "e1000") for bus in ("virtio", "ide", "ahci", "lsi53c895a")),
        *((bus, "e1000e") for bus in ("virtio", "ide", "ahci", "lsi53c895a")),
    ],
)
def test_disk_boots_on_every_bus_of_both_machines(bus: str, nic: str, tmp_path: Path, fork: Fork) -> None:
    file = disk(tmp_path / "a disk,with a comma.raw", SCREEN)
    image = f'{{disk: "{file}", format: raw, bus: {bus}}}'
    with untouched(file):
        bed = fork(FIRMWARE, image=image, nic=nic, ready=STILL, machine="{memory_mib: 32, cpus: 1, display: std}")
        assert_shows_the_sector(bed)


@pytest.mark.parametrize("nic", ["e1000", "e1000e"])
def test_floppy_boots_on_both_machines(nic: str, tmp_path: Path, fork: Fork) -> None:
    file = disk(tmp_path / "floppy.img", SCREEN, FLOPPY_OCTETS)
    machine = "{memory_mib: 32, cpus: 1, display: cirrus}"
    assert_shows_the_sector(fork(FIRMWARE, image=f"{{floppy: {file}}}", nic=nic, ready=STILL, machine=machine))


@pytest.mark.parametrize("nic", ["e1000", "e1000e"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_cd_boots_by_either_firmware_and_its_driver_asks_for_an_address(
    nic: str, firmware: str, ipxe: Path, fork: Fork
) -> None:
    machine = f"{{memory_mib: 256, cpus: 1, display: std, firmware: {firmware}}}"
    ready = "{dhcp: true, deadline_s: 180}"
    bed = fork(FIRMWARE, image=f"{{iso: {ipxe / 'ipxe.iso'}}}", nic=nic, ready=ready, machine=machine)
    assert bed.function().bus_mastering, "a driver was at the NIC before the guest was saved"
    assert bed.vm.monitor.execute("query-status")["status"] == "running"
    flash = {one["device"] for one in bed.vm.monitor.execute("query-block") if one["device"].startswith("pflash")}
    assert flash == ({"pflash0", "pflash1"} if firmware == "uefi" else set())


def test_program_for_uefi_boots_as_a_kernel_and_answers_in_a_fork(ipxe: Path, fork: Fork) -> None:
    image = f"{{kernel: {ipxe / 'ipxe-amd64.efi'}}}"
    machine = "{memory_mib: 256, cpus: 1, firmware: uefi}"
    bed = fork(FIRMWARE, image=image, nic="e1000e", ready="{dhcp: true, deadline_s: 180}", machine=machine)
    with bed.wire.capture(lambda frame: frame[6:12] == bytes.fromhex(DUT.mac.replace(":", ""))) as sent:
        assert sent.wait(1, 60), "its driver goes on in the fork"


@pytest.mark.parametrize(
    ("machine", "modes", "says", "mode"),
    [
        ("apic: false", {"pic": "{}", "apic": ""}, "", "intx-pic"),
        ("acpi: false", {"pic": "", "apic": "{}"}, "A valid RSDP was not found", "intx"),
    ],
    ids=["no-apic", "no-acpi"],
)
def test_machine_without_apic_or_acpi_gives_the_interrupt_controller_that_is_left(
    machine: str, modes: dict[str, str], says: str, mode: str, fork: Fork
) -> None:
    bed = fork(LINUX, machine=machine, **modes)
    assert bed.wire.resolve(DUT.ip, 20) is not None
    with requests_in_background(bed.wire):
        seen = Counter(str(device_witness(bed).mode) for _ in range(20))
    assert seen == {mode: 20}, "an interrupt that is being handled, its line closed meanwhile, is not polling"
    assert says in bed.boot_console
