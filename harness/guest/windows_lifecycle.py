"""The driver's life on Windows: the device is disabled and enabled, for which its driver is unloaded and loaded."""

import time

from harness.errors import NicproofError, Unsupported
from harness.guest.lifecycle import LifecycleOperations
from harness.guest.transport import CommandFailed
from harness.guest.windows_services import ServiceState, parse_sc_query
from harness.guest.windows_system import LINK_DEADLINE_S, WindowsSystem

_NO_SUCH_SERVICE = 1060
"""ERROR_SERVICE_DOES_NOT_EXIST (winerror.h), with which sc ends."""


class WindowsLifecycle(WindowsSystem, LifecycleOperations):
    """The device's state in the tree."""

    def service_state(self) -> ServiceState | None:
        """Return the state of the driver's service; None if it has none."""
        if not self._device.service:
            return None
        done = self._transport.run(f'sc query "{self._device.service}"')
        if done.status == _NO_SUCH_SERVICE:
            return None
        if done.status:
            raise CommandFailed(done)
        return parse_sc_query(done.stdout)

    def unload_driver(self) -> None:
        """Disable the device; Windows unloads a driver with its last device."""
        self._switch("disable")
        end = time.monotonic() + LINK_DEADLINE_S
        while (state := self.service_state()) not in (None, ServiceState.STOPPED):
            if time.monotonic() > end:
                raise Unsupported(
                    f"unloading the driver: {self._device.service} stays {state.name if state else ''} "
                    "without the device, as another one has the same driver or it never unloads"
                )

    def load_driver(self, *, with_link: bool = True) -> None:
        """Enable the device."""
        self._switch("enable")
        if with_link:
            self._await_link(True)

    def rebind_driver(self, rounds: int) -> None:
        """Disable and enable the device."""
        for _ in range(rounds):
            self._switch("disable")
            self._switch("enable")
        self._await_link(True)

    def set_up_again(self) -> None:
        """Wait for the device that was plugged in, and its link."""
        self._forget()
        end = time.monotonic() + LINK_DEADLINE_S
        while not self.is_present():
            if time.monotonic() > end:
                raise NicproofError(f"Windows did not see the NIC that was plugged in within {LINK_DEADLINE_S:g} s")
        self._await_link(True)

    def is_present(self) -> bool:
        """Look for the device."""
        return self._find_instance() is not None

    def set_up(self, up: bool) -> None:
        """Disable or enable the device, which is what Windows means by an interface that is down."""
        self._switch("enable" if up else "disable")
        if up:
            self._await_link(True)

    def open_interface(self) -> None:
        """Enable the device without waiting for a link."""
        self._switch("enable")

    def bounce(self, rounds: int) -> None:
        """Disable and enable the device without waiting for the link between."""
        self.rebind_driver(rounds)

    def restart(self) -> None:
        """Have Windows shut down and start again."""
        self._transport.check("shutdown -r -t 0")

    def reset_nic(self) -> None:
        """Restart the device, for which its driver sets up the whole NIC anew."""
        self._switch("restart")
        self._await_link(True)
