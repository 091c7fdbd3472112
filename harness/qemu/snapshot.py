"""Saving a running guest and continuing it from there, any number of times (QEMU: docs/system/vm-templating.rst).

A snapshot is two files: the guest's memory, which a guest that is to be saved has as a shared mapping, and the state of
all devices, by migration. A fork maps the memory copy-on-write: nothing is read before the guest touches it, and forks
share what they leave alone.

A snapshot belongs to one QEMU build, command line, kernel and image: whoever stores it keys it by all of them.
"""

from pathlib import Path

from harness.errors import NicproofError
from harness.qemu.monitor import CommandRefused
from harness.qemu.process import QemuProcess


class SnapshotError(NicproofError):
    """A snapshot could not be saved or loaded."""


def _migrate(vm: QemuProcess, command: str, path: Path, what: str, deadline_s: float) -> None:
    vm.monitor.forget_events()
    try:
        capabilities = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
        vm.monitor.execute("migrate-set-capabilities", capabilities=capabilities)
        vm.monitor.execute(command, uri=f"file:{path}")
    except CommandRefused as refusal:
        raise SnapshotError(f"{what} failed: {refusal}") from None
    event = vm.monitor.wait_event(
        what,
        lambda heard: heard["event"] == "MIGRATION" and heard["data"]["status"] in ("completed", "failed"),
        deadline_s,
    )
    if event["data"]["status"] == "failed":
        reason = vm.monitor.execute("query-migrate").get("error-desc", "no reason given")
        raise SnapshotError(f"{what} failed: {reason}")


def save(vm: QemuProcess, path: Path, deadline_s: float = 120.0) -> None:
    """Save the devices of `vm` to `path`; the guest is paused from then on, its memory file stays as it is.

    Raises:
        SnapshotError: the device models of this QEMU cannot be saved, or the disk is full.
    """
    _migrate(vm, "migrate", path, f"saving the snapshot {path}", deadline_s)


def load(vm: QemuProcess, path: Path, deadline_s: float = 60.0) -> None:
    """Continue the guest saved in `path` in a QEMU that was started with its memory and with `incoming=True`.

    It runs when this returns.

    Raises:
        SnapshotError: the file is not a whole snapshot of this very machine.
        MonitorLost: QEMU ended while it read the file, as it does when the file is corrupt.
    """
    # After a migration QEMU tells switches where the guest is now: with frames of its own on the DUT's cable, and with
    # configuration interrupts to virtio drivers. This guest has not moved.
    vm.monitor.execute("migrate-set-parameters", announce_rounds=0)
    _migrate(vm, "migrate-incoming", path, f"loading the snapshot {path}", deadline_s)
    if vm.monitor.execute("query-status")["status"] != "running":
        vm.monitor.execute("cont")
