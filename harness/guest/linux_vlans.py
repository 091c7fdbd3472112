"""VLANs on Linux: an interface for each, on top of the DUT's."""

from harness.endpoint.remote import RemoteEndpoint
from harness.endpoint.vlan import CUSTOMER_TAG, SERVICE_TAG
from harness.errors import Unsupported
from harness.guest.linux_offloads import LinuxOffloads
from harness.guest.offloads import Offload
from harness.guest.vlans import VlanOperations
from harness.station import DUT, TAGGED_DUT

_PROTOCOLS = {CUSTOMER_TAG: "802.1Q", SERVICE_TAG: "802.1ad"}


class LinuxVlans(LinuxOffloads, VlanOperations):
    """Interfaces of the type vlan, which make their IPv6 addresses as the DUT's does."""

    def add_vlan(self, vid: int, tag_type: int = CUSTOMER_TAG, priority: int = 0) -> RemoteEndpoint:
        """Make the VLAN's interface and take it up."""
        return RemoteEndpoint(self._worker, self._make(vid, tag_type, TAGGED_DUT.ip, priority))

    def ask_for_vlan(self, vid: int) -> bool:
        """Make the VLAN's interface, which the kernel does not if the driver refuses the VID."""
        # RTNETLINK answers: Invalid argument        (igbvf, whose physical function refuses)
        make = f"ip link add link {self.interface} name {self._name(vid)} type vlan id {vid}"
        return self._ssh.run(f"{make} && ip link set {self._name(vid)} up").status == 0

    def move_into_vlan(self, vid: int) -> None:
        """Make the VLAN's interface with the address that the DUT's interface has until then."""
        self._ssh.check(f"ip address flush dev {self.interface}")
        self._make(vid, CUSTOMER_TAG, DUT.ip)

    def set_vlan_offload(self, vid: int, offload: Offload, on: bool) -> None:
        """Switch the feature of the DUT's interface, whose VLANs follow; one without it there stays off in them."""
        self.set_offload(offload, on)
        if on and not self._features_of(self._name(vid))[offload].on:
            raise Unsupported(f"the offload {offload} in a VLAN: this driver leaves it to the stack there")

    def remove_vlan(self, vid: int) -> None:
        """Delete the VLAN's interface."""
        self._ssh.check(f"ip link delete {self._name(vid)}")

    def _make(self, vid: int, tag_type: int, address: str, priority: int = 0) -> str:
        """Make a VLAN's interface, take it up, and return its name; whatever is sent there gets the tag's priority."""
        name, kind = self._name(vid), _PROTOCOLS[tag_type]
        self._ssh.check(
            f"ip link add link {self.interface} name {name} type vlan protocol {kind} id {vid} "
            f"egress-qos-map 0:{priority} && "
            f"ip address add {address}/24 dev {name} && ip link set {name} up"
        )
        return name

    def _name(self, vid: int) -> str:
        return f"{self.interface}.{vid}"
