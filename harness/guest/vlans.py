"""VLANs: the tagged networks that the DUT takes part in."""

from harness.endpoint.remote import RemoteEndpoint
from harness.endpoint.vlan import CUSTOMER_TAG
from harness.guest.offloads import Offload
from harness.guest.operations import Operations


class VlanOperations(Operations):
    """What a guest may be asked to do with the DUT's VLANs."""

    def add_vlan(self, vid: int, tag_type: int = CUSTOMER_TAG, priority: int = 0) -> RemoteEndpoint:
        """Have the DUT take part in a VLAN, with the addresses of `TAGGED_DUT` there.

        Args:
            vid: the VLAN's number.
            tag_type: the EtherType of its tags.
            priority: of the tags of what is sent there.

        Returns:
            The endpoint in the VLAN: it sends and receives frames without the tag.
        """
        self._unsupported("VLANs")

    def ask_for_vlan(self, vid: int) -> bool:
        """Have the DUT take part in a VLAN without an address there; return whether its driver let it."""
        self._unsupported("VLANs")

    def move_into_vlan(self, vid: int) -> None:
        """Have the DUT's own addresses be in a VLAN and nowhere else."""
        self._unsupported("a VLAN for the DUT's own addresses")

    def set_vlan_offload(self, vid: int, offload: Offload, on: bool) -> None:
        """Switch an offload of the DUT whose VLAN there is already; returns when the link is up.

        Raises:
            Unsupported: this driver has it fixed the other way, or leaves it to the stack in a VLAN.
        """
        self._unsupported(f"the offload {offload} in a VLAN")

    def remove_vlan(self, vid: int) -> None:
        """Have the DUT leave a VLAN."""
        self._unsupported("VLANs")
