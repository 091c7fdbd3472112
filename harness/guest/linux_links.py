"""The link on Linux: the carrier in sysfs, ethtool, and the kernel's messages by netlink."""

import re
from itertools import dropwhile

from harness.guest.links import LinkOperations, LinkSettings
from harness.guest.linux_settings import parse_pause
from harness.guest.linux_system import LinuxSystem
from harness.guest.settings import RECEIVE_PAUSE, TRANSMIT_PAUSE

_EVENTS = "/tmp/nicproof-links"
"""The interface as it was, and what `ip monitor` has printed since, in the guest."""


def parse_link_events(text: str, interface: str) -> list[bool]:
    r"""Return each report of an interface's link from its first change on, True for up.

    Before the first line, which says how the link was, nothing was watched; the others are what `ip -o monitor link`
    prints. The kernel's messages come up to a second late (net/core/link_watch.c): those that only say how the link was
    are of what had been before.
        3: eth1: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc mq state DOWN group default \    link/ether ...
        3: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP group default \    link/ether ...
    """
    flags = re.findall(rf"^(?:Deleted )?\d+: {re.escape(interface)}: <([^>]*)>", text, re.MULTILINE)
    states = ["LOWER_UP" in found.split(",") for found in flags]
    return list(dropwhile(lambda up: up == states[0], states))


def parse_link(shown: str, pause: str) -> LinkSettings:
    """Read what `ethtool` and `ethtool -a` print.

    Real lines, ethtool 6.14, which says "Unknown!" where the driver knows none:
        Speed: 1000Mb/s
        Duplex: Full
        Auto-negotiation: on

    What the second shows, `parse_pause` reads.
    """
    speed, duplex = re.search(r"Speed: (\d+)Mb/s", shown), re.search(r"Duplex: (Full|Half)", shown)
    pauses = parse_pause(pause)
    return LinkSettings(
        speed_mbps=int(speed[1]) if speed else None,
        full_duplex=duplex[1] == "Full" if duplex else None,
        autonegotiates="Auto-negotiation: on" in shown,
        pauses=(bool(pauses[RECEIVE_PAUSE]), bool(pauses[TRANSMIT_PAUSE])) if pauses else None,
    )


class LinuxLinks(LinuxSystem, LinkOperations):
    """The interface's carrier."""

    def wait_link(self, up: bool) -> bool:
        """Poll the carrier."""
        return self._wait(self._carrier_is(up)).status == 0

    def open_interface(self) -> None:
        """Set the interface up."""
        self._ssh.check(f"ip link set {self.interface} up")

    def carrier_changes(self) -> int:
        """Return the kernel's own count."""
        return int(self._read(f"/sys/class/net/{self.interface}/carrier_changes")[0])

    def link_settings(self) -> LinkSettings:
        """Ask ethtool."""
        return parse_link(*self._said(f"ethtool {self.interface}", f"ethtool -a {self.interface}"))

    def fix_link(self, speed_mbps: int, *, full_duplex: bool) -> str:
        """Use `ethtool -s`."""
        duplex = "full" if full_duplex else "half"
        command = f"ethtool -s {self.interface} autoneg off speed {speed_mbps} duplex {duplex}"
        return self._change("a fixed speed", command)

    def negotiate_link(self) -> str:
        """Use `ethtool -s`, which has all speeds advertised."""
        return self._change("a negotiated speed", f"ethtool -s {self.interface} autoneg on")

    def watch_link(self) -> None:
        """Start `ip monitor`; it listens once it shows a change that was made for it to show."""
        change = "ip link set lo alias nicproof-$n; n=$((n + 1)); sleep 0.02"
        self._ssh.check(
            f"ip -o link show {self.interface} >{_EVENTS}; ip -o monitor link >>{_EVENTS} 2>&1 </dev/null & "
            f"n=0; until grep -q ': lo:' {_EVENTS}; do {change}; done",
        )

    def link_events(self, count: int) -> list[bool]:
        """Read what `ip monitor` has printed, until it is enough."""
        up, down = "LOWER_UP", "NO-CARRIER"
        enough = (
            f"grep -o ': {self.interface}: .*\\({up}\\|{down}\\)' {_EVENTS} | grep -o '{up}\\|{down}' | uniq | wc -l"
        )
        self._wait(f"[ $({enough}) -gt {count} ]")
        return parse_link_events(self._ssh.check(f"cat {_EVENTS}"), self.interface)
