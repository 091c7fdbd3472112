"""What every operation on a Linux guest stands on: the connections, the DUT's place on the bus and its interface."""

import shlex
from functools import cached_property

from harness.endpoint.bootstrap import start_worker
from harness.endpoint.remote import WORKER_ADDRESS, WorkerConnection
from harness.errors import NicproofError, Unsupported
from harness.guest.operations import Operations
from harness.guest.ssh import Ssh, SshError
from harness.guest.transport import CommandFailed, Completed

LINK_DEADLINE_S = 15
"""For the link to come up: autonegotiation takes seconds."""
_TIMED_OUT = 124
"""Timeout's status, which neither ethtool nor ip ends with."""


def first_words(done: Completed) -> str:
    """Return what a command has complained of first, or its status if it has said nothing."""
    return done.stderr.strip().partition("\n")[0] or f"status {done.status}"


def refusal(done: Completed) -> str:
    """Return why a command was refused, in its own first words, or "" if it was not."""
    return first_words(done) if done.status else ""


class LinuxSystem(Operations):
    """A Linux guest over one SSH connection."""

    lacks = "this Linux guest has no such operation"
    _hurries = False

    def __init__(self, ssh: Ssh, pci_address: str | None, interface: str | None = None) -> None:
        """Speak with a guest whose DUT sits at `pci_address`, such as "01:00.0", or is just an interface."""
        self._ssh = ssh
        self._pci_address = pci_address
        self._named = interface

    @property
    def _address(self) -> str:
        if self._pci_address is None:
            raise Unsupported(f"what belongs to a PCI function: the interface {self._named} is none")
        return self._pci_address

    @property
    def _device(self) -> str:
        return f"/sys/bus/pci/devices/0000:{self._address}"

    @cached_property
    def _interfaces(self) -> tuple[str, ...]:
        if self._pci_address is None and self._named is not None:
            return (self._named,)
        listed = self._ssh.run(f"echo {self._device}/net/* {self._device}/virtio*/net/*").stdout
        return tuple(path.rpartition("/")[2] for path in listed.split() if not path.endswith("*"))

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

    def _connect_worker(self) -> WorkerConnection:
        try:
            return WorkerConnection(self._ssh.connect_to(*WORKER_ADDRESS))
        except SshError:  # none was there before the snapshot, or this server forwards no connections
            return start_worker(self._ssh)

    @cached_property
    def _worker(self) -> WorkerConnection:
        return self._connect_worker()

    def _forget(self) -> None:
        """Forget which interface the DUT has: a driver that is loaded anew may name another."""
        for name in ("_interfaces", "_virtio_devices"):
            self.__dict__.pop(name, None)

    def _wait(self, condition: str) -> Completed:
        """Wait until a condition of the guest's shell holds; the status is 0 if it did before the link's deadline.

        The shell asks itself first, and then five times a second: each program that it starts takes 10 ms of a
        processor under emulation, and the DUT's own driver is to have it.
        """
        return self._ssh.run(self._until(condition), deadline_s=LINK_DEADLINE_S + 30)

    def _until(self, condition: str) -> str:
        """Return what the shell is told to wait so."""
        wait = shlex.quote(f"until {condition}; do sleep 0.2; done")
        return f"{condition} || timeout {LINK_DEADLINE_S} sh -c {wait}"

    def _carrier_is(self, up: bool) -> str:
        """Return the condition to poll, for sysfs has no event for it; that of a closed interface cannot be read."""
        carrier = f"/sys/class/net/{self.interface}/carrier"
        return f'{{ read -r up <{carrier} && [ "$up" = {up:d} ]; }} 2>/dev/null'

    def _wait_carrier(self) -> None:
        """Wait for the link of an interface that is up, unless who asked for several changes does so after the last."""
        self._run_to_link("true")

    def _run_to_link(self, command: str, *, deadline_s: float = 60.0) -> Completed:
        """Run a command and, if it ends with status 0, wait for the link in the same request; return how it ended.

        Raises:
            CommandFailed: no link came before the deadline.
        """
        wait = "" if self._hurries else f"; {self._until(self._carrier_is(True))}"
        done = self._ssh.run(f"{{ {command}; }} || exit{wait}", deadline_s=deadline_s + LINK_DEADLINE_S)
        if done.status == _TIMED_OUT:
            raise CommandFailed(done)
        return done

    def _change(self, what: str, command: str) -> str:
        """Run a command that changes a setting; return why it was refused, or "" once the link is up.

        Raises:
            Unsupported: the driver cannot do this at all.
        """
        # netlink error: Operation not supported
        # netlink error: bit name not found (offset 48)     (a refusal, though "Operation not supported" follows)
        # Cannot set device ring parameters: Invalid argument       (ethtool 5.9)
        # ring parameters unchanged, aborting                       (the same, with status 80)
        done = self._run_to_link(command)
        if done.status and "not supported" in done.stderr and "bit name not found" not in done.stderr:
            raise Unsupported(f"{what}: the driver has no such setting")
        return "" if "unchanged" in done.stderr else refusal(done)

    def _said(self, *commands: str) -> list[str]:
        """Run commands in one request, which costs as much as a program; return what each printed.

        Raises:
            CommandFailed: one had them all `exit` in vain; that a program says no is part of what it tells.
        """
        return self._ssh.check("; echo =; ".join((*commands, "true"))).split("=\n")[:-1]

    def _read(self, *paths: str) -> list[str]:
        """Return the first line of each file; an unreadable one is empty, as `speed` is on a link that is down."""
        script = "; ".join(f"cat {shlex.quote(path)} 2>/dev/null || echo" for path in paths)
        return [line.strip() for line in self._ssh.check(script).split("\n")][: len(paths)]
