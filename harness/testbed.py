"""A cell's guest, running: booted once, saved when ready, and forked for every test.

A testbed holds both ends of the DUT's cable: the guest that drives the DUT, and the wire with the station at its end.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property

from harness import fate, rundir
from harness.cell import Cell
from harness.endpoint.cable import Cable, Impairment
from harness.endpoint.far import FarStation
from harness.endpoint.neighbour import Neighbour
from harness.endpoint.wire import Wire
from harness.errors import NicproofError
from harness.guest.base import Guest
from harness.guest.cygwin import CygwinShell, is_cygwin
from harness.guest.linux import LinuxGuest
from harness.guest.operations import SETTING
from harness.guest.packages import DriverPackage
from harness.guest.serial import SerialShell
from harness.guest.ssh import Ssh
from harness.guest.state import State
from harness.guest.transport import Transport
from harness.guest.win10 import Win10Guest
from harness.guest.winxp import WinXpGuest, hardware_id
from harness.image import BootImage
from harness.image.windows.inf import WINDOWS
from harness.qemu import machine
from harness.qemu.interrupts import Delivery, Programmed, Trace, own
from harness.qemu.line import LineState, find_line, line_state
from harness.qemu.pci import Bdf, PciFunction, PciView
from harness.qemu.plug import PULL_OR_PLUG, Plug
from harness.qemu.process import QemuProcess
from harness.qemu.screen import Screen

_log = logging.getLogger(__name__)

LONGEST_WAIT_S = 1.0


@dataclass
class Observed:
    """What a window saw; complete when its block has ended."""

    delivery: Delivery = field(default_factory=Delivery)
    seconds: float = 0.0
    """How long the window was open."""


class Testbed:
    """One running guest of a cell.

    Attributes:
        cell: what it is expected to be.
        cable: the DUT's cable, with a record of every frame.
        wire: the endpoint at its far end: the harness, or a station on another host.
        trace: what QEMU's interrupt controllers and devices do.
        image: what the guest booted from.
        boot_console: what the guest said before it was saved.
        boot_screen: what it showed when it was saved, as PNG; None without a display.
        driver_package: the package of the user's own that was installed before it was saved.
    """

    __test__ = False  # not a class of tests, whatever its name
    driver_package: DriverPackage | None = None

    def __init__(self, cell: Cell, vm: QemuProcess, image: BootImage, impairment: Impairment | None = None) -> None:
        self.cell = cell
        self._vm = vm
        self.image = image
        self._endings = ExitStack()
        self.cable = Cable(vm.cable, impairment)
        self._stand_at(self.cable)
        self.trace = Trace(vm)
        self.boot_console = ""
        self.boot_screen: bytes | None = None
        self._closed = False
        self._changed = False
        self._end: str | None = None
        """How the guest had broken when it was closed or left a QEMU, which nobody can ask any more."""

    @property
    def vm(self) -> QemuProcess:
        """The QEMU process."""
        return self._vm

    def _stand_at(self, cable: Cable) -> None:
        """Have the wire endpoint and the DUT's neighbour speak through `cable`."""
        self.wire = Wire(cable)
        self.neighbour = Neighbour(self.wire)
        self._endings.callback(self.neighbour.close)

    def move_wire(self, station: FarStation) -> Cable:
        """Have a station on another host be the far end from now on; the testbed ends it when it is closed itself.

        Returns:
            What the station's end looks like from here.
        """
        far = Cable(station.socket)
        self._endings.callback(station.close)
        self._endings.callback(far.close)
        self._stand_at(far)
        return far

    def at_end(self, close: Callable[[], object]) -> None:
        """Have something closed together with the testbed."""
        self._endings.callback(close)

    @cached_property
    def pci(self) -> PciView:
        """The machine's PCI functions."""
        return PciView(self.vm.monitor)

    @cached_property
    def plug(self) -> Plug:
        """The DUT's slot and the cable in it; a virtual function's are its physical function's."""
        return Plug(self.vm.monitor, machine.dut_device(self.cell))

    @property
    def physical_bdf(self) -> Bdf:
        """Where the DUT sits, or its physical function if it is a virtual one."""
        return self.pci.find(machine.DUT_DEVICE_ID)

    @property
    def _of_vf(self) -> tuple[Bdf, int] | None:
        return (self.physical_bdf, 0) if self.cell.nic.virtual_function else None

    @property
    def bdf(self) -> Bdf:
        """Where the DUT sits; the same in the guest, which keeps the firmware's bus numbers."""
        of_vf = self._of_vf
        return self.pci.virtual_function(*of_vf) if of_vf else self.physical_bdf

    def function(self, vf: int | None = None) -> PciFunction:
        """Read what the driver has programmed into the DUT, or into virtual function `vf` of its physical function."""
        of_vf = self._of_vf if vf is None else (self.physical_bdf, vf)
        return self.pci.function(self.pci.virtual_function(*of_vf) if of_vf else self.bdf, of_vf=of_vf)

    def await_bus_mastering(self, deadline_s: float) -> bool:
        """Wait until a driver has switched the DUT's bus mastering on, as no system does by itself; return whether."""
        end = time.monotonic() + deadline_s
        while not (found := self._masters_the_bus()) and time.monotonic() < end and self.vm.death() is None:
            self.vm.console.wait_for_more(0.05)
        return found

    def _masters_the_bus(self) -> bool:
        try:
            return self.function().bus_mastering
        except NicproofError:  # it is on no bus that the guest has configured
            return False

    def bar(self, number: int) -> int:
        """Return the memory address of the DUT's BAR `number`."""
        with self.pci.space.undisturbed():
            return self.pci.bar(self.bdf, number, of_vf=self._of_vf)

    def line(self) -> LineState | None:
        """Read how the interrupt controllers treat the DUT's line; None without a pin."""
        return self.programmed().line

    def programmed(self, vf: int | None = None) -> Programmed:
        """Read what the driver has programmed into a function, as `function` does, and where its line leads to."""
        function = self.function(vf)
        if function.pin == 0:
            return Programmed(function, None)
        line = find_line(self.vm.monitor, self.pci.space, self.cell.machine, function.bdf, function.pin)
        return Programmed(function, line_state(self.vm.monitor, line))

    @contextmanager
    def deliveries(self, vf: int | None = None) -> Iterator[Observed]:
        """Watch the interrupts that the DUT, or virtual function `vf`, has delivered inside a `with` block.

        Raises:
            Unsupported: this QEMU cannot tell.
        """
        observed, before, evidence = Observed(), self.programmed(vf), self.trace.evidence()
        began = time.monotonic()
        with self.trace.window(evidence) as window:
            yield observed
        observed.seconds = time.monotonic() - began
        observed.delivery = evidence.count(window.text(), own([before, self.programmed(vf)]))

    @cached_property
    def guest(self) -> Guest:
        """The guest's operations; connects when first used.

        Raises:
            TransportError: the guest does not let us in.
        """
        if self.cell.profile.control == "none":
            return Guest()
        match self.cell.profile.os:
            case "linux":
                return LinuxGuest(self.connect(), str(self.bdf))
            case "winxp":
                nic = self.cell.nic
                return WinXpGuest(self.transport(), hardware_id(nic.vendor_id, nic.device_id))
            case "win10":
                return Win10Guest(self.transport(), str(self.bdf))
            case "firmware":
                return Guest()

    @contextmanager
    def new_warnings(self) -> Iterator[list[str]]:
        """Note what a block leaves in the system's log about the DUT, at warning level or worse; complete at its end.

        Nothing is noted of a guest that nobody can log in to.

        Raises:
            Unsupported: this system has no such log.
        """
        found = list[str]()
        if not self.guest.claims:
            yield found
            return
        drivers = self.cell.nic_profile.drivers
        before = len(self.guest.warnings(drivers))
        yield found
        found += self.guest.warnings(drivers)[before:]

    def log_in(self) -> None:
        """Do what the first questions to the guest and its endpoint would wait for; a failure is left to them."""
        with suppress(NicproofError):
            if self.guest.claims:
                self.guest.endpoint()

    def log_out(self) -> None:
        """Let go of the guest; the next question to it logs in anew."""
        if "guest" in self.__dict__:
            self._changed = self.changed
            self.guest.close()
            del self.__dict__["guest"]

    @property
    def lasting(self) -> bool:
        """Whether it stays what it is while nobody changes it: firmware goes on by itself."""
        return self.cell.profile.os != "firmware"

    @property
    def asked(self) -> frozenset[str]:
        """What the guest and QEMU were asked for that may have made them another: operations and commands, by name."""
        of_guest = self.guest.changes if "guest" in self.__dict__ else frozenset[str]()
        return of_guest | self.vm.monitor.changes

    @property
    def changed(self) -> bool:
        """Whether the guest or its machine may be another than it was: by an operation, or by what QEMU was told."""
        return self._changed or self.vm.killed or bool(self.asked)

    def take_as_pristine(self) -> None:
        """Count changes from now on."""
        self._changed = False
        self.vm.monitor.changes.clear()
        if "guest" in self.__dict__:
            self.guest.changes = frozenset()

    def put_back(self, before: State) -> bool:
        """Undo what was changed, if that was settings and the cable; return whether all is as when it was pristine.

        Args:
            before: the guest's state then.
        """
        if self._changed or self.vm.killed or not self.asked <= SETTING | {PULL_OR_PLUG}:
            return False
        if PULL_OR_PLUG in self.asked:
            self.plug.plug_cable()
        if changed := self.guest.put_back(before):
            _log.debug("%s: not put back: %s", self.cell.id, ", ".join(changed))
            return False
        self.take_as_pristine()
        return True

    def stop(self) -> None:
        """Stop the machine: no time passes in it until it goes on."""
        self.vm.monitor.execute("stop")

    def go_on(self) -> None:
        """Let a stopped machine go on."""
        self.vm.monitor.execute("cont")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the machine for the time of a block."""
        self.stop()
        try:
            yield
        finally:
            self.go_on()

    def move_to(self, vm: QemuProcess) -> None:
        """Have the guest, whom nobody is logged in to, be in another QEMU, which has yet to be given its state.

        The one that it was in, which stands still, is ended.
        """
        self._end = self.crash()
        former, self._vm = self._vm, vm
        self._endings.callback(rundir.remove, former.directory)  # its disk is there, which the other QEMU has open
        for of_former in ("pci", "plug", "screen"):
            self.__dict__.pop(of_former, None)
        self.trace = Trace(vm)
        self.boot_console += former.console.text
        self.cable.lead_to(vm.cable)
        former.kill()
        self._changed = True

    def ssh_port(self) -> int:
        """Return the loopback port that leads to the guest's SSH server."""
        #   TCP[HOST_FORWARD]   3       127.0.0.1 40753       10.0.2.15    22     0     0
        listed = self.vm.monitor.human("info usernet")
        found = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", listed)
        if found is None:
            raise NicproofError("QEMU shows no port forwarded to the guest's SSH server")
        return int(found[1])

    def connect(self) -> Ssh:
        """Open an SSH connection to the guest."""
        disabled = self.cell.profile.ssh.disabled_algorithms
        if self.image.ssh_key is None:
            raise NicproofError(f"profile {self.cell.profile.name}: control is ssh, but its image names no key")
        return Ssh(
            ("127.0.0.1", self.ssh_port()),
            user=self.image.user,
            key=self.image.ssh_key,
            host_key=self.image.host_key,
            disabled_algorithms={str(kind): names for kind, names in disabled.items()},
            encoding=self.cell.profile.encoding,
            posix=self.cell.profile.os == "linux",
        )

    def transport(self, deadline_s: float = 60.0) -> Transport:
        """Open the profile's way of control into the guest; a shell on a serial port has so long to be found.

        Raises:
            TransportError: the guest does not let us in.
        """
        if self.vm.serial is None:
            ssh = self.connect()
            return CygwinShell(ssh) if self.cell.profile.os in WINDOWS and is_cygwin(ssh.server) else ssh
        return SerialShell(self.vm.serial, encoding=self.cell.profile.encoding, deadline_s=deadline_s)

    def kernel(self) -> str | None:
        """Return the release of the guest's kernel, as its image or the guest itself says."""
        return self.guest.release() if self.guest.claims else self.image.kernel_release

    def place(self) -> str:
        """Say what the DUT is a part of: the machine's type."""
        return self.cell.machine

    def death(self) -> str | None:
        """Say how QEMU ended, if it did though nobody asked it to."""
        return self.vm.death()

    @property
    def device_crashed(self) -> bool:
        """Whether QEMU ended by a fault of its own."""
        return self.vm.crashed

    @cached_property
    def screen(self) -> Screen | None:
        """The machine's display, or None."""
        return Screen(self.vm.monitor, self.vm.directory) if self.cell.profile.machine.display else None

    def papers(self) -> dict[str, str | bytes]:
        """Return what explains a failure and needs no answer of the guest: files by name."""
        console = self.boot_console + self.vm.console.text
        papers: dict[str, str | bytes] = {
            "console.log": console,
            "qemu-command-line.txt": self.vm.command_line() + "\n",
        }
        if self.boot_screen is not None:
            papers["screen-when-ready.png"] = self.boot_screen
        if (picture := self.shown()) is not None:
            papers["screen.png"] = picture
        return papers

    def shown(self) -> bytes | None:
        """Return what the machine's display shows, as PNG; None without one, or if QEMU is gone."""
        with suppress(NicproofError):
            return self.screen.picture().png() if self.screen else None
        return None

    def crash(self) -> str | None:
        """Return how the guest said or showed that it broke, or None: on its console, to its machine, on its screen."""
        if (line := self.crash_on_console()) is not None:
            return line
        return self._end or (None if self._closed else fate.crash_of_machine(self.vm, self.screen))

    def crash_on_console(self) -> str | None:
        """Return the first line of the console in which the guest said that it broke, or None."""
        return fate.crash_on_console(self.vm.console)

    @property
    def panicked(self) -> bool:
        """Whether the guest's kernel has stopped for good: no question to it would be answered."""
        return fate.panicked(self.vm.console)

    def close(self) -> None:
        """End the guest and everything that belongs to it. May be called twice."""
        if not self._closed:
            self._end, self._closed = self._end or fate.crash_of_machine(self.vm, self.screen), True
        self.log_out()
        self._endings.close()
        self.cable.close()
        self.vm.kill()
        rundir.remove(self.vm.directory)

    def idle(self, seconds: float) -> None:
        """Let time pass in which nothing is asked of the guest: to see what happens by itself.

        Raises:
            NicproofError: QEMU ended meanwhile.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            # Ctrl-C that comes just before a wait is noticed at its end: while the next fork is made, threads compete.
            self.vm.console.wait_for_more(min(left, LONGEST_WAIT_S))
        if (death := self.vm.death()) is not None:
            raise NicproofError(death)
