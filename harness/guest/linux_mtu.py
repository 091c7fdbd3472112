"""The MTU on Linux: an attribute of the interface, which the kernel holds within what the driver offers."""

import json
from typing import Any

from harness.guest.linux_system import LinuxSystem
from harness.guest.mtu import MtuOperations, MtuRange
from harness.guest.transport import CommandFailed

_REFUSALS = ("mtu greater than device maximum", "mtu less than device minimum")


def parse_attributes(text: str) -> dict[str, Any]:
    """Read what `ip -j -d link show` prints of one interface.

    Real text, iproute2 6.15, shortened:
        [{"ifindex":3,"ifname":"eth1","mtu":1500,"address":"52:54:00:6e:70:01","min_mtu":68,"max_mtu":9216}]
    """
    (link,) = json.loads(text)
    return dict(link)


class LinuxMtu(LinuxSystem, MtuOperations):
    """The interface's MTU, by netlink."""

    def mtu(self) -> int:
        """Return the interface's MTU."""
        return int(self._link()["mtu"])

    def mtu_range(self) -> MtuRange:
        """Return the device's own limits."""
        link = self._link()
        return MtuRange(int(link["min_mtu"]), int(link["max_mtu"]))

    def set_mtu(self, octets: int) -> bool:
        """Set the MTU and wait for the link, which most drivers take down for it."""
        # Error: mtu greater than device maximum.        (with status 2)
        change = self._run_to_link(f"ip link set {self.interface} mtu {octets}")
        refused = any(words in change.stderr for words in _REFUSALS)
        if change.status and not refused:
            raise CommandFailed(change)
        return not refused

    @property
    def _shows_link(self) -> str:
        return f"ip -j -d link show {self.interface}"

    def _link(self) -> dict[str, Any]:
        return parse_attributes(self._ssh.check(self._shows_link))
