"""MAC addresses: the one that the DUT uses, and the one that it was made with."""

from harness.guest.operations import Operations


class AddressOperations(Operations):
    """What a guest may be asked to do with the DUT's MAC address."""

    def mac(self) -> str:
        """Return the DUT's MAC address in use, in lower case with colons."""
        self._unsupported("the MAC address in use")

    def permanent_mac(self) -> str:
        """Return the MAC address that the DUT has by itself, whichever is in use, in lower case with colons."""
        self._unsupported("the permanent MAC address")

    def set_mac(self, mac: str) -> bool:
        """Have the DUT use another MAC address from now on; return whether the system took it.

        Not every system can do that while the interface is up: where one cannot, it says no.
        """
        self._unsupported("another MAC address")

    def fix_mac(self) -> None:
        """Have the physical function allow its virtual function, the DUT, no other MAC address than it was given."""
        self._unsupported("the physical function's rules for the DUT")
