"""Receive filters on Linux."""

from collections.abc import Collection

from harness.guest.filters import FilterOperations
from harness.guest.linux_system import LinuxSystem


class LinuxFilters(LinuxSystem, FilterOperations):
    """The interface's flags, and the link-layer addresses that it listens to beside its own."""

    def set_promiscuous(self, on: bool) -> None:
        """Set the interface's flag."""
        self._ssh.check(f"ip link set {self.interface} promisc {'on' if on else 'off'}")

    def set_all_multicast(self, on: bool) -> None:
        """Set the interface's flag."""
        self._ssh.check(f"ip link set {self.interface} allmulticast {'on' if on else 'off'}")

    def join(self, groups: Collection[str]) -> None:
        """Add the addresses to the interface's list."""
        self._change_groups("add", groups)

    def leave(self, groups: Collection[str]) -> None:
        """Take the addresses from the interface's list."""
        self._change_groups("delete", groups)

    def _change_groups(self, change: str, groups: Collection[str]) -> None:
        # One at a time: of several in a batch, ip changes the first alone (iproute2 6.15).
        one = f"ip maddress {change} $group dev {self.interface} || exit"
        self._ssh.check(f"for group in {' '.join(groups)}; do {one}; done")
