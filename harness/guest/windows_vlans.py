"""VLANs on Windows: the adapter as a whole is in one, by its driver's setting for it, or in none.

Source: Microsoft, "Standardized INF Keywords for NDIS QoS and VLANs"; virtio's NetKVM has the same (netkvm.inx).
"""

from harness.endpoint.remote import RemoteEndpoint
from harness.endpoint.vlan import CUSTOMER_TAG
from harness.errors import Unsupported
from harness.guest.vlans import VlanOperations
from harness.guest.windows_system import WindowsSystem

_VID = "vlanid"
_TAGS = "*priorityvlantag"
_VLANS = 2
"""Bit of `*PriorityVLANTag`: 0 no tags, 1 priority, 2 VLAN, 3 both."""


class WindowsVlans(WindowsSystem, VlanOperations):
    """The adapter's VLAN."""

    def add_vlan(self, vid: int, tag_type: int = CUSTOMER_TAG, priority: int = 0) -> RemoteEndpoint:
        """Raise the reason."""
        raise Unsupported("VLANs beside each other: Windows tags for one at most, and gives no raw frames in it")

    def move_into_vlan(self, vid: int) -> None:
        """Change the driver's settings and restart the device."""
        settings = self._settings()
        if _VID not in settings:
            raise Unsupported("the adapter's VLAN: this driver has no setting for it (VlanID)")
        if not settings[_VID].offers(str(vid)):
            raise Unsupported(f"VLAN {vid}: this driver's INF does not offer it")
        values = {_VID: str(vid)}
        tags = settings.get(_TAGS)
        if tags is not None and tags.number is not None:
            values[_TAGS] = str(tags.number | _VLANS)
        self._write(values)
