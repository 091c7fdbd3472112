"""The MTU: how long a packet the DUT's interface carries."""

from dataclasses import dataclass

from harness.guest.operations import Operations


@dataclass(frozen=True)
class MtuRange:
    """The MTUs that the driver offers, in octets of a packet without its Ethernet header."""

    least: int
    longest: int


class MtuOperations(Operations):
    """What a guest may be asked of the DUT's MTU."""

    def mtu(self) -> int:
        """Return the interface's MTU."""
        self._unsupported("the interface's MTU")

    def mtu_range(self) -> MtuRange:
        """Return what the driver offers."""
        self._unsupported("the range of MTUs")

    def set_mtu(self, octets: int) -> bool:
        """Set the interface's MTU; returns, when the link is up, whether the system has not refused it."""
        self._unsupported("another MTU")
