"""What every operation on a Linux guest stands on: the connections, the DUT's place on the bus and its interface."""

import shlex
from functools import cached_property

from harness.endpoint.bootstrap import start_worker
from harness.endpoint.remote import WORKER_ADDRESS, WorkerConnection
from harness.errors import NicproofError
from harness.guest.operations import Operations
from harness.guest.ssh import Ssh, SshError

LINK_DEADLINE_S = 15
"""For the link to come up: autonegotiation takes seconds."""


class LinuxSystem(Operations):
    """A Linux guest over one SSH connection."""

    lacks = "this Linux guest has no such operation"

    def __init__(self, ssh: Ssh, pci_address: str) -> None:
        """Speak with a guest whose DUT sits at `pci_address`, such as "01:00.0"."""
        self._ssh = ssh
        self._device = f"/sys/bus/pci/devices/0000:{pci_address}"
        self._address = pci_address

    @cached_property
    def _interfaces(self) -> tuple[str, ...]:
        listed = self._ssh.run(f"cd {self._device} && ls net virtio*/net 2>/dev/null").stdout
        return tuple(word for word in listed.split() if not word.endswith(":"))

    @cached_property
    def _virtio_devices(self) -> tuple[str, ...]:
        return tuple(self._ssh.run(f"cd {self._device} && ls -d virtio* 2>/dev/null").stdout.split())

    @property
    def interface(self) -> str:
        """The name of the DUT's interface.

        Raises:
            NicproofError: the function has none, or several.
        """
        if len(self._interfaces) != 1:
            found = ", ".join(self._interfaces) or "none"
            raise NicproofError(f"the PCI function {self._address} has not exactly one network interface: {found}")
        return self._interfaces[0]

    @cached_property
    def _worker(self) -> WorkerConnection:
        try:
            return WorkerConnection(self._ssh.connect_to(*WORKER_ADDRESS))
        except SshError:  # none was there before the snapshot, or this server forwards no connections
            return start_worker(self._ssh)

    def _wait_carrier(self) -> None:
        """Wait for the link of an interface that is up."""
        wait = f"until grep -q 1 /sys/class/net/{self.interface}/carrier 2>/dev/null; do sleep 0.02; done"
        self._ssh.check(f"timeout {LINK_DEADLINE_S} sh -c {shlex.quote(wait)}", deadline_s=LINK_DEADLINE_S + 30)

    def _read(self, *paths: str) -> list[str]:
        """Return the first line of each file; an unreadable one is empty, as `speed` is on a link that is down."""
        script = "; ".join(f"cat {shlex.quote(path)} 2>/dev/null || echo" for path in paths)
        return [line.strip() for line in self._ssh.check(script).split("\n")][: len(paths)]
