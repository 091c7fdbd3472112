"""VLANs on Linux: an interface for each, on top of the DUT's."""

from harness.endpoint.remote import RemoteEndpoint
from harness.endpoint.vlan import CUSTOMER_TAG, SERVICE_TAG
from harness.guest.linux_system import LinuxSystem
from harness.guest.vlans import VlanOperations
from harness.station import TAGGED_DUT

_PROTOCOLS = {CUSTOMER_TAG: "802.1Q", SERVICE_TAG: "802.1ad"}


class LinuxVlans(LinuxSystem, VlanOperations):
    """Interfaces of the type vlan, which make their IPv6 addresses as the DUT's does."""

    def add_vlan(self, vid: int, tag_type: int = CUSTOMER_TAG) -> RemoteEndpoint:
        """Make the VLAN's interface and take it up."""
        name, kind = self._name(vid), _PROTOCOLS[tag_type]
        self._ssh.check(
            f"ip link add link {self.interface} name {name} type vlan protocol {kind} id {vid} && "
            f"ip address add {TAGGED_DUT.ip}/24 dev {name} && ip link set {name} up"
        )
        return RemoteEndpoint(self._worker, name)

    def remove_vlan(self, vid: int) -> None:
        """Delete the VLAN's interface."""
        self._ssh.check(f"ip link delete {self._name(vid)}")

    def _name(self, vid: int) -> str:
        return f"{self.interface}.{vid}"
