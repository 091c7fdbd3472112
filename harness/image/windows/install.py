"""Runs an installation on a real machine: boot after boot, each from the disk that the one before has left.

A restart of the guest ends the machine. Between two boots the disk is whole, and a snapshot inside it is where a build
that was interrupted, or failed, is taken up again: at the beginning of the boot that did not end well.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.errors import NicproofError
from harness.image.windows.recipe import RESTARTS, Phase, Recipe
from harness.image.windows.said import blocks, bound_drivers, milestones
from harness.nic import NicModel
from harness.qemu.accel import Accel
from harness.qemu.binary import Qemu
from harness.qemu.image_tool import image_tool
from harness.qemu.machine import Hardware, install_hardware, memory
from harness.qemu.monitor import MonitorLost
from harness.qemu.process import QemuProcess
from harness.qemu.screen import Screen
from harness.whole_file import WholeFile

_LOOK_S = 0.5
_SPARE_BYTES = 64 << 20


class InstallFailure(NicproofError):
    """The guest did not come as far as it should: the message says in which phase, and what was seen."""


@dataclass(frozen=True)
class State:
    """How far an installation has come; the next boot begins from the disk's snapshot of its number."""

    boot: int = 1
    phase: str = ""
    restarts: int = 0
    """In this phase."""
    stage: str = "install"
    """"install", "hardware" or "done"."""


@dataclass(frozen=True)
class Devices:
    """What the machine has beside its disk."""

    medium: Path
    answers: Path
    floppy: Path | None
    nics: Sequence[NicModel]
    virtio_disk: bool
    expected: Mapping[str, str]
    """PCI ids by device of what must end with a driver."""


class Installation:
    """One installation, in a folder of its own that holds all that it leaves.

    Attributes:
        disk: the disk that is installed on, qcow2.
        state: how far it has come, also in the file `state.json`.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, devices: Devices, qemu: Qemu, accel: Accel, say: Callable[[str], None]
    ) -> None:
        """Take up what the folder holds, or begin.

        Args:
            folder: exists, and is on the file system where the image shall be.
            recipe: how this Windows is installed.
            devices: the media and NICs.
            qemu: which QEMU.
            accel: how it runs.
            say: takes a line about the progress.
        """
        self._folder, self._recipe, self._devices = folder, recipe, devices
        self._qemu, self._accel, self._say = qemu, accel, say
        self._file = WholeFile(folder / "state.json", "the state of the installation")
        self.disk = folder / "disk.qcow2"
        self.state = State(phase=recipe.install[0].name)
        with suppress(FileNotFoundError):
            self.state = State(**json.loads((folder / "state.json").read_text()))
            self._image_tool("snapshot", "-a", self._point(self.state.boot), str(self.disk))
            say(f"taken up again at boot {self.state.boot}, phase {self.state.phase}")
            return
        self._image_tool("create", "-q", "-f", "qcow2", str(self.disk), f"{recipe.disk_gib}G")
        self._image_tool("snapshot", "-c", self._point(1), str(self.disk))
        self._save(self.state)

    @property
    def said(self) -> str:
        """All that the guest has said on its first serial port, in the boots that count."""
        logs = (self._boot_folder(number) / "console.log" for number in range(1, self.state.boot))
        return _plain("".join(log.read_text(errors="replace") for log in logs))

    def run(self) -> dict[str, list[str]]:
        """Boot until all is done, and return the blocks of facts that the guest has told.

        Raises:
            InstallFailure: the guest failed, hung, or went another way than the recipe's.
            NicproofError: QEMU failed.
        """
        while self.state.stage != "done":
            self._boot()
        return blocks(self.said)

    def _boot(self) -> None:
        number = self.state.boot
        folder = self._boot_folder(number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        hardware = self._hardware(folder)
        state = self.state
        self._say(f"boot {number}, phase {state.phase}: {self._phase(state.phase).what}")
        arguments = (*hardware.arguments, *memory(hardware, None, copy_on_write=False))
        with QemuProcess(self._qemu, arguments, folder, memory_mib=hardware.memory_mib) as vm:
            try:
                ended = self._watch(vm, state)
                state = self._after(vm, *ended)
            except InstallFailure as failure:
                raise InstallFailure(self._with_evidence(vm, str(failure))) from None
        with suppress(NicproofError):  # there is one if this boot was interrupted just here
            self._image_tool("snapshot", "-d", self._point(state.boot), str(self.disk))
        self._image_tool("snapshot", "-c", self._point(state.boot), str(self.disk))
        self._save(state)
        self._image_tool("snapshot", "-d", self._point(number), str(self.disk))

    def _hardware(self, folder: Path) -> Hardware:
        devices = self._devices
        if self.state.stage == "install":
            return install_hardware(
                self._recipe.machine,
                self._accel,
                disk=self.disk,
                cds=(devices.medium, devices.answers),
                floppy=devices.floppy,
                boot_cd=self.state.boot == 1,
            )
        spare = folder / "spare.raw"
        if devices.virtio_disk:
            with spare.open("wb") as file:
                file.truncate(_SPARE_BYTES)
        return install_hardware(
            self._recipe.machine,
            self._accel,
            disk=self.disk,
            nics=devices.nics,
            spare_disk=spare if devices.virtio_disk else None,
        )

    def _watch(self, vm: QemuProcess, state: State) -> tuple[State, str, bool]:
        """Follow one boot to its end; return how far it came, how it ended, and whether the stage's last word came."""
        last_word = "installed" if state.stage == "install" else "done"
        heard, finished = 0, False
        end = time.monotonic() + self._phase(state.phase).deadline_s
        while True:
            if reason := self._ended(vm):
                _hear_all(vm)
            text = vm.console.text
            # A line counts when it is whole.
            for milestone in (news := milestones(text[: text.rfind("\n") + 1]))[heard:]:
                if milestone.kind == "failed":
                    raise InstallFailure(f"phase {state.phase}: the guest says: {milestone.text}")
                if milestone.kind == "phase" and milestone.text != state.phase:
                    state = self._next(state, milestone.text)
                    end = time.monotonic() + self._phase(state.phase).deadline_s
                    self._say(f"boot {state.boot}, phase {state.phase}: {self._phase(state.phase).what}")
                finished = finished or milestone.kind == last_word
            heard = len(news)
            if reason:
                return state, reason, finished
            if time.monotonic() > end:
                limit = f"{self._phase(state.phase).deadline_s:g} s"
                raise InstallFailure(f"phase {state.phase} took longer than {limit}{_last_line(text)}")
            vm.console.wait_for_more(_LOOK_S)

    def _ended(self, vm: QemuProcess) -> str | None:
        """Return why the machine stands still: "guest-reset", "guest-shutdown" or "guest-panic"; None while it runs."""
        try:
            status = vm.monitor.execute("query-status")["status"]
            if status == "running":
                return None
            if status == "io-error":
                raise NicproofError(f"QEMU could not write {self.disk}: the host's disk is full, or broken")
            events = vm.monitor.forget_events()
        except MonitorLost as lost:
            raise NicproofError(f"{vm.death() or lost}, in phase {self.state.phase} of the installation") from None
        reasons = [str(event["data"].get("reason", "")) for event in events if event["event"] == "SHUTDOWN"]
        return reasons[-1] if reasons else "guest-panic"

    def _after(self, vm: QemuProcess, state: State, reason: str, finished: bool) -> State:
        """Return the state for the next boot."""
        if reason == "guest-reset":
            if state.restarts + 1 > RESTARTS:
                raise InstallFailure(f"phase {state.phase}: the guest restarted {state.restarts + 1} times in it")
            state = replace(state, restarts=state.restarts + 1)
            following = self._following(state.phase)
            if following is not None and following.after_restart:
                state = self._next(state, following.name)
        elif reason == "guest-shutdown":
            if not finished:
                raise InstallFailure(
                    f"phase {state.phase}: the guest switched itself off early{_last_line(vm.console.text)}"
                )
            if state.stage == "install":
                state = State(state.boot, self._recipe.hardware.name, stage="hardware")
            else:
                bound = {driver.id for driver in bound_drivers(blocks(_plain(vm.console.text)))}
                if missing := [name for name, device in self._devices.expected.items() if device not in bound]:
                    raise InstallFailure(
                        f"phase {state.phase}: Windows did not take the driver of {', '.join(missing)}"
                    )
                state = replace(state, stage="done")
        else:
            raise InstallFailure(f"phase {state.phase}: the guest crashed ({reason})")
        return replace(state, boot=state.boot + 1)

    def _phases(self) -> list[Phase]:
        return [*self._recipe.install, self._recipe.hardware]

    def _phase(self, name: str) -> Phase:
        return next(phase for phase in self._phases() if phase.name == name)

    def _following(self, name: str) -> Phase | None:
        names = [phase.name for phase in self._phases()]
        rest = self._phases()[names.index(name) + 1 :]
        return rest[0] if rest else None

    def _next(self, state: State, name: str) -> State:
        names = [phase.name for phase in self._phases()]
        if name not in names:
            raise InstallFailure(f"phase {state.phase}: the guest speaks of a phase {name!r} that is not the recipe's")
        if names.index(name) < names.index(state.phase):
            raise InstallFailure(f"phase {state.phase}: the guest began again with phase {name}")
        return replace(state, phase=name, restarts=0)

    def _with_evidence(self, vm: QemuProcess, what: str) -> str:
        path = self._boot_folder(self.state.boot) / "screen.png"
        with suppress(NicproofError):
            path.write_bytes(Screen(vm.monitor, path.parent).picture().png())
        screen = f"; its screen: {path}" if path.exists() else ""
        return f"{what}{screen}; the same command tries boot {self.state.boot} again"

    def _boot_folder(self, number: int) -> Path:
        return self._folder / f"boot-{number}"

    def _point(self, boot: int) -> str:
        return f"before-boot-{boot}"

    def _save(self, state: State) -> None:
        self._file.write([json.dumps(asdict(state)).encode()])
        self.state = state

    def _image_tool(self, *arguments: str) -> None:
        image_tool(self._qemu, *arguments)


def _hear_all(vm: QemuProcess) -> None:
    """Wait until the console of a machine that stands still is read to its end: the monitor may be ahead of it."""
    heard = -1
    while heard != len(vm.console.text):
        heard = len(vm.console.text)
        vm.console.wait_for_more(_LOOK_S)


def _plain(text: str) -> str:
    """Return text with plain line ends: some programs of Windows end a line with two carriage returns."""
    return text.replace("\r\n", "\n").replace("\r", "")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"; its last line on COM1: {lines[-1]!r}" if lines else "; it said nothing on COM1"
