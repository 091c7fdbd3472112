"""MAC addresses on Windows: the adapter's, and the driver's setting NetworkAddress, which all NIC drivers obey."""

from harness.errors import Unsupported
from harness.guest.addresses import AddressOperations
from harness.guest.windows_system import WindowsSystem

_KEYWORD = "NetworkAddress"
"""Twelve hexadecimal digits (Microsoft, "Keywords That Can Be Edited"); without it, the NIC's own."""


class WindowsAddresses(WindowsSystem, AddressOperations):
    """The adapter's address."""

    def mac(self) -> str:
        """Return the adapter's address."""
        return self._adapter().mac

    def permanent_mac(self) -> str:
        """Return what the driver says, or the address in use where nothing has replaced it."""
        adapter = self._adapter()
        if adapter.permanent_mac is not None:
            return adapter.permanent_mac
        if any(name.lower() == _KEYWORD.lower() and value for name, value in self._values(self._class_key).items()):
            raise Unsupported("the permanent MAC address: this Windows shows only the one in use, and that was set")
        return adapter.mac

    def set_mac(self, mac: str) -> bool:
        """Set NetworkAddress and restart the device; a driver that does not like the address leaves its own."""
        self._write({_KEYWORD: mac.replace(":", "").upper()})
        return self.mac() == mac
