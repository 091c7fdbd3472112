"""Boots and forks testbeds: each cell boots once, is saved when ready, and continues from there for every test."""

import hashlib
import json
import logging
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness import cache, rundir
from harness.cell import Cell
from harness.driver_install import install
from harness.endpoint.bootstrap import leave_worker
from harness.endpoint.cable import Impairment
from harness.endpoint.remote import EndpointError
from harness.errors import NicproofError, Unsupported
from harness.guest.packages import DriverPackage
from harness.image import BootImage, build_image
from harness.image.content import joined_hash
from harness.image.windows.inf import WINDOWS
from harness.image.windows.own_package import OwnPackage
from harness.own import own_package
from harness.profile import DiskImage
from harness.qemu import machine, snapshot
from harness.qemu.accel import Accel
from harness.qemu.binary import Qemu
from harness.qemu.image_tool import ImageToolFailed, image_tool
from harness.qemu.monitor import MonitorLost
from harness.qemu.process import QemuProcess
from harness.readiness import SETTLE_DEADLINE_S, make_function, settle, wait_for_endpoint, wait_ready
from harness.report.progress import report_phase
from harness.testbed import Testbed

_log = logging.getLogger(__name__)

UEFI = "uefi-variables.fd"
FIRST_SIGHT_DEADLINE_S = 300.0
"""For a Windows that sees a NIC in this slot for the first time: SSH may answer before its driver is there."""


@dataclass(frozen=True)
class Saved:
    """A cell's snapshot in the cache."""

    folder: Path
    image: BootImage
    """What the guest booted from: a fork needs the very same, whatever the profile would give by now."""

    @property
    def state(self) -> Path:
        """The state of the devices."""
        return self.folder / "state"

    @property
    def memory(self) -> Path:
        """The guest's memory."""
        return self.folder / "memory"

    @property
    def disk(self) -> Path:
        """The guest's disk at that moment, where it has one of its own."""
        return self.folder / "disk.qcow2"

    @property
    def uefi_variables(self) -> Path:
        """The variables of the guest's firmware at that moment, where that is UEFI."""
        return self.folder / UEFI

    @property
    def card(self) -> Path:
        """Which cell it is, what its checksums must be, and which driver package was installed, as JSON."""
        return self.folder / "card.json"

    @property
    def driver_package(self) -> DriverPackage:
        """The package of the user's own that was installed, where one was to be."""
        return DriverPackage(**json.loads(self.card.read_text())["driver package"])

    @property
    def console(self) -> Path:
        """What the guest said while it booted."""
        return self.folder / "console.log"

    @property
    def screen(self) -> Path:
        """What the guest showed at that moment, where it has a display."""
        return self.folder / "screen.png"


@dataclass(frozen=True)
class Launcher:
    """Boots and forks testbeds on this host."""

    qemu: Qemu
    accel: Accel
    outlive_harness: bool = False

    def _start(
        self,
        cell: Cell,
        image: BootImage,
        impairment: Impairment | None = None,
        *,
        memory: Path | None,
        disk: Path | None = None,
        variables: Path | None = None,
        incoming: bool = False,
    ) -> Testbed:
        directory = rundir.make()
        try:
            if isinstance(cell.profile.image, DiskImage):
                image = replace(image, disk=self._overlay(disk or image.disk, image, directory), disk_format="qcow2")
            if image.uefi_variables is not None:
                image = replace(
                    image, uefi_variables=shutil.copyfile(variables or image.uefi_variables, directory / UEFI)
                )
            hardware = machine.hardware(cell, image, self.accel)
            vm = QemuProcess(
                self.qemu,
                (*hardware.arguments, *machine.memory(hardware, memory, copy_on_write=incoming)),
                directory,
                memory_mib=hardware.memory_mib,
                second_serial=cell.profile.control == "serial",
                incoming=incoming,
                outlive_harness=self.outlive_harness,
            )
        except BaseException:
            rundir.remove(directory)
            raise
        return Testbed(cell, vm, image, impairment)

    def _overlay(self, disk: Path | None, image: BootImage, directory: Path) -> Path:
        """Make a disk that keeps the guest's writes to itself: the user's file is never written to."""
        overlay = directory / "disk.qcow2"
        backing_format = "qcow2" if disk and disk.name == overlay.name else image.disk_format
        backing = ("-b", str(disk), "-F", backing_format)
        try:
            image_tool(self.qemu, "create", "-q", "-f", "qcow2", *backing, str(overlay))
        except ImageToolFailed as failed:
            raise NicproofError(f"cannot make an overlay of the disk {disk}: {failed}") from None
        return overlay

    def boot(self, cell: Cell, image: BootImage, memory: Path | None = None) -> Testbed:
        """Boot a cell from cold and wait until it is ready; its memory is the file `memory`, if it is to be saved."""
        report_phase(cell.id, "boot")
        testbed = self._start(cell, image, memory=memory)
        try:
            wait_ready(testbed)
        except BaseException:
            testbed.close()
            raise
        return testbed

    def fork(self, cell: Cell, saved: Saved, impairment: Impairment | None = None) -> Testbed:
        """Continue a cell from its snapshot.

        Raises:
            SnapshotError: the snapshot cannot be loaded.
        """
        said = saved.console.read_text(errors="replace")
        variables = saved.uefi_variables if saved.image.uefi_variables else None
        own = {"memory": saved.memory, "disk": saved.disk, "variables": variables}
        testbed = self._start(cell, saved.image, impairment, **own, incoming=True)
        testbed.boot_console = said
        testbed.boot_screen = saved.screen.read_bytes() if saved.screen.exists() else None
        testbed.driver_package = saved.driver_package if cell.nic.name in cell.profile.packages else None
        try:
            snapshot.load(testbed.vm, saved.state)
            if cell.nic.virtual_function:
                make_function(testbed)
        except BaseException as error:
            death = testbed.vm.death()
            testbed.close()
            if isinstance(error, MonitorLost) and death:
                raise snapshot.SnapshotError(f"cannot load the snapshot of {cell.id}: {death}") from None
            raise
        return testbed

    def saved(self, cell: Cell, boot_cell: Cell | None = None) -> Saved:
        """Return the cell's snapshot, from the cache or made now.

        Args:
            cell: the cell.
            boot_cell: boot this one instead (a deliberately wrong one).

        Raises:
            DriverRefused: the guest does not take the driver package that the user gives it.
            NicproofError: it could not be booted, installed into or saved.
        """
        booted = boot_cell or cell
        report_phase(cell.id, "image")
        image = build_image(booted.profile)
        hardware = machine.hardware(booted, image, self.accel)
        ready = booted.profile.ready.model_dump_json(exclude={"deadline_s"})
        serial = ["serial"] if booted.profile.control == "serial" else []
        package = own_package(booted.profile, booted.nic.name)
        driver = [package.key] if package else []
        key = joined_hash([self.qemu.build_id, image.key, ready, *serial, *driver, *hardware.arguments])
        folder = cache.publish(
            "snapshots",
            key,
            lambda folder: self._save(booted, Saved(folder, image), package),
            what=f"the snapshot of {cell.id}",
            valid=_check,
            needs_mib=2 * hardware.memory_mib,
        )
        return Saved(folder, image)

    def _save(self, cell: Cell, saved: Saved, package: OwnPackage | None) -> None:
        testbed = self.boot(cell, saved.image, saved.memory)
        facts: dict[str, object] = {}
        try:
            if cell.profile.control != "none":
                self._log_in(testbed)
            if package is not None:
                report_phase(cell.id, "driver")
                facts["driver package"] = asdict(install(testbed, package))
            if not cell.nic.virtual_function:  # which is made in each fork
                settle(testbed, FIRST_SIGHT_DEADLINE_S if cell.profile.os in WINDOWS else SETTLE_DEADLINE_S)
            report_phase(cell.id, "snapshot")
            snapshot.save(testbed.vm, saved.state)
            saved.console.write_text(testbed.vm.console.text)
            if (picture := testbed.shown()) is not None:
                saved.screen.write_bytes(picture)
            testbed.vm.kill()  # its disk must be closed before it is copied
            if isinstance(cell.profile.image, DiskImage):
                (testbed.vm.directory / "disk.qcow2").rename(saved.disk)
            if saved.image.uefi_variables is not None:
                (testbed.vm.directory / UEFI).rename(saved.uefi_variables)
        finally:
            testbed.close()
        digests = {name: _digest(saved.folder / name) for name in ("state", "memory")}
        saved.card.write_text(json.dumps({"cell": cell.id, "sha256": digests, **facts}))

    def _log_in(self, testbed: Testbed) -> None:
        """Have the guest load what a first login and the endpoint load, so that no fork has to."""
        if testbed.cell.profile.os != "linux":
            transport = testbed.transport(testbed.cell.profile.ready.deadline_s)
            try:
                transport.check("exit 0")  # in any shell
            finally:
                transport.close()
            guest = testbed.guest
            for ask in (guest.driver, guest.link, guest.interrupts, guest.counters):
                with suppress(NicproofError):  # a test that needs it says so too
                    ask()
            testbed.log_out()
            return
        ssh = testbed.connect()
        try:
            ssh.check("true")
            if wait_for_endpoint(testbed):
                return
            try:
                leave_worker(ssh)
            except (Unsupported, EndpointError) as reason:
                _log.info("%s: %s", testbed.cell.id, reason)  # the tests that need it say so too
        finally:
            ssh.close()


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _check(folder: Path) -> None:
    """Raise if the snapshot is not what was saved: a flipped page would otherwise become a finding about a driver."""
    card = json.loads((folder / "card.json").read_text())
    for name, recorded in card["sha256"].items():
        if recorded != _digest(folder / name):
            raise NicproofError("its checksum is not the recorded one")
