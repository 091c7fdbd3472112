"""Saving a running guest and continuing it from there, any number of times (QEMU: docs/system/vm-templating.rst).

A snapshot is two files: the guest's memory, which a guest that is to be saved has as a shared mapping, and the state of
all devices, by migration. A fork maps the memory copy-on-write: nothing is read before the guest touches it, and forks
share what they leave alone.

A snapshot belongs to one QEMU build, command line, kernel and image: whoever stores it keys it by all of them.
"""

import os
from pathlib import Path

from packaging.version import Version

from harness.errors import NicproofError
from harness.qemu.monitor import CommandRefused
from harness.qemu.process import QemuProcess


class SnapshotError(NicproofError):
    """A snapshot could not be saved or loaded."""


_OPENS_FILES = Version("8.2")
"""The first QEMU that opens a file by itself; one that is handed to it open, newer ones are about to refuse."""


def _uri(vm: QemuProcess, path: Path, flags: int) -> str:
    if vm.version >= _OPENS_FILES:
        return f"file:{path}"
    try:
        descriptor = os.open(path, flags, mode=0o600)
    except OSError as error:
        raise SnapshotError(f"snapshot {path}: {error.strerror}") from None
    try:
        vm.monitor.hand_over(descriptor, "snapshot")
    finally:
        os.close(descriptor)
    return "fd:snapshot"


def _migrate(vm: QemuProcess, command: str, uri: str, what: str, deadline_s: float) -> None:
    vm.monitor.forget_events()
    try:
        capabilities = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
        vm.monitor.execute("migrate-set-capabilities", capabilities=capabilities)
        vm.monitor.execute(command, uri=uri)
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
    _migrate(
        vm, "migrate", _uri(vm, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), f"saving the snapshot {path}", deadline_s
    )


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
    _migrate(vm, "migrate-incoming", _uri(vm, path, os.O_RDONLY), f"loading the snapshot {path}", deadline_s)
    if vm.monitor.execute("query-status")["status"] != "running":
        vm.monitor.execute("cont")
