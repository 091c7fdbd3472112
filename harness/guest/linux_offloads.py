"""Offloads on Linux: the features of `ethtool -k`."""

import re
from collections.abc import Mapping

from harness.errors import Unsupported
from harness.guest.linux_system import LinuxSystem
from harness.guest.offloads import Offload, OffloadOperations, OffloadState

FEATURES: Mapping[Offload, str] = {
    Offload.RX_CHECKSUM: "rx-checksumming",
    Offload.TX_CHECKSUM: "tx-checksumming",
    Offload.TCP_SEGMENTATION: "tcp-segmentation-offload",
    Offload.TCP6_SEGMENTATION: "tx-tcp6-segmentation",
    Offload.UDP_SEGMENTATION: "tx-udp-segmentation",
    Offload.RECEIVE_AGGREGATION: "generic-receive-offload",
    Offload.VLAN_STRIPPING: "rx-vlan-offload",
    Offload.VLAN_INSERTION: "tx-vlan-offload",
    Offload.VLAN_FILTER: "rx-vlan-filter",
    Offload.RECEIVED_FCS: "rx-fcs",
}


def parse_features(text: str, *, groups: bool = True) -> dict[str, OffloadState]:
    """Read what `ethtool -k` prints, with the lines that sum up those indented below them or without these `groups`.

    Real lines, ethtool 6.14:
        Features for eth1:
        rx-checksumming: on
        tx-checksumming: on
                tx-checksum-ipv4: off [fixed]
        tcp-segmentation-offload: off
                tx-tcp-segmentation: off [requested on]
    """
    found = re.findall(r"^([ \t]*)([\w-]+): (on|off)(?: \[(fixed|requested \w+)\])?$(?=(\n[ \t])?)", text, re.MULTILINE)
    return {
        name: OffloadState(state == "on", note == "fixed", note.startswith("requested"))
        for indented, name, state, note, summed_up in found
        if groups or indented or not summed_up
    }


class LinuxOffloads(LinuxSystem, OffloadOperations):
    """The interface's features."""

    def offloads(self) -> Mapping[Offload, OffloadState]:
        """Return the features that this kernel knows."""
        return self._features_of(self.interface)

    def set_offload(self, offload: Offload, on: bool) -> None:
        """Change the feature and look whether it has changed: ethtool counts a wish for a success."""
        before = self.offloads().get(offload)
        if before is None:
            raise Unsupported(f"the offload {offload}: this kernel does not know it")
        if before.on == on:
            return
        name = FEATURES[offload]
        self._run_to_link(f"ethtool -K {self.interface} {name} {'on' if on else 'off'}")
        if self.offloads()[offload].on != on:
            raise Unsupported(f"the offload {offload}: this driver has it fixed {'off' if on else 'on'}")

    def _features_of(self, interface: str) -> dict[Offload, OffloadState]:
        features = parse_features(self._ssh.check(f"ethtool -k {interface}"))
        return {offload: features[name] for offload, name in FEATURES.items() if name in features}
