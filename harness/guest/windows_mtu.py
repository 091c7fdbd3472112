"""The MTU on Windows: the driver's setting for the longest frame, which makes the MTU of the protocols above."""

from harness.errors import Unsupported
from harness.guest.mtu import MtuOperations, MtuRange
from harness.guest.windows_registry import Keyword
from harness.guest.windows_system import WindowsSystem

_HEADER = 14
"""Octets of an Ethernet header, which *JumboPacket counts and an MTU does not: 1514 and 9014 are the usual values
(Microsoft, "Standardized INF Keywords for Jumbo Frames")."""
_KEYWORDS = {"*jumbopacket": _HEADER, "mtu": 0}
"""Setting -> octets of its value that are no part of the packet. MTU is virtio's on Windows XP (netkvm.inx)."""


class WindowsMtu(WindowsSystem, MtuOperations):
    """The adapter's MTU."""

    def mtu(self) -> int:
        """Return what the adapter says, or what its driver is set to."""
        if (told := self._adapter().mtu) is not None:
            return told
        _, keyword, extra = self._setting()
        if keyword.number is None:
            raise Unsupported(f"the interface's MTU: the driver's setting is no number but {keyword.value!r}")
        return keyword.number - extra

    def mtu_range(self) -> MtuRange:
        """Return the shortest and the longest that the driver's INF offers."""
        _, keyword, extra = self._setting()
        bounds = keyword.bounds()
        if bounds is None:
            raise Unsupported("the range of MTUs: the driver's INF does not tell")
        return MtuRange(bounds[0] - extra, bounds[1] - extra)

    def set_mtu(self, octets: int) -> bool:
        """Change the driver's setting; what is beyond the INF's bounds is refused as Device Manager would refuse it.

        Raises:
            Unsupported: the INF offers a few lengths, and this is none of them.
        """
        name, keyword, extra = self._setting()
        value, bounds = str(octets + extra), keyword.bounds()
        if not keyword.offers(value):
            if bounds is not None and not bounds[0] <= octets + extra <= bounds[1]:
                return False
            offered = ", ".join(str(int(one) - extra) for one in keyword.choices if one.isdigit())
            raise Unsupported(f"an MTU of {octets}: this driver offers {offered} alone")
        self._write({name: value})
        return self.mtu() == octets

    def _setting(self) -> tuple[str, Keyword, int]:
        settings = self._settings()
        for name, extra in _KEYWORDS.items():
            if name in settings:
                return name, settings[name], extra
        raise Unsupported("the interface's MTU: this driver has no setting for it")
