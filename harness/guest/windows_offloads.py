"""Offloads on Windows: the driver's settings, by Microsoft's standardized keywords and those of virtio on Windows XP.

Sources: Microsoft, "Using Registry Values to Enable and Disable Task Offloading" and "Enumeration Keywords";
kvm-guest-drivers-windows, NetKVM/NDIS5/wxp/netkvm.inx.
"""

from collections.abc import Mapping

from harness.errors import Unsupported
from harness.guest.offloads import Offload, OffloadOperations, OffloadState
from harness.guest.windows_registry import Keyword
from harness.guest.windows_system import WindowsSystem

_CHECKSUMS = tuple(
    f"*{what}checksumoffload{version}"
    for what, version in (("ip", "ipv4"), ("tcp", "ipv4"), ("udp", "ipv4"), ("tcp", "ipv6"), ("udp", "ipv6"))
)
_SENDING, _RECEIVING = 1, 2
"""Bits of a checksum setting: 0 off, 1 transmit, 2 receive, 3 both."""
_SWITCHES: Mapping[Offload, tuple[str, ...]] = {
    Offload.TCP_SEGMENTATION: ("*lsov2ipv4", "*lsov1ipv4", "offload.txlso"),
    Offload.TCP6_SEGMENTATION: ("*lsov2ipv6",),
    Offload.UDP_SEGMENTATION: ("*usoipv4",),
    Offload.TX_CHECKSUM: ("offload.txchecksum",),
    Offload.RX_CHECKSUM: ("offload.rxcs",),
}
"""Settings of which 0 is off and everything else is on; the first that the driver has counts."""
_BITS = {Offload.TX_CHECKSUM: _SENDING, Offload.RX_CHECKSUM: _RECEIVING}


def offload_values(settings: Mapping[str, Keyword], offload: Offload) -> tuple[bool, dict[str, str], dict[str, str]]:
    """Return whether an offload is on, and the settings that switch it on, and off; none where the driver has none."""
    sums = {name: settings[name] for name in _CHECKSUMS if name in settings}
    if (bit := _BITS.get(offload)) and sums:
        numbers = {name: one.number or 0 for name, one in sums.items()}
        on = any(number & bit for number in numbers.values())
        switch_on, switch_off = (
            {name: value for name, number in wish.items() if sums[name].offers(value := str(number))}
            for wish in (
                {name: number | bit for name, number in numbers.items()},
                {name: number & ~bit for name, number in numbers.items()},
            )
        )
        return on, switch_on, switch_off if switch_off.keys() == sums.keys() else {}
    for name in _SWITCHES.get(offload, ()):
        if name in settings:
            one = settings[name]
            most = str(max([int(choice) for choice in one.choices if choice.isdigit()], default=1))
            on_values = {name: most} if one.offers(most) and most != "0" else {}
            return bool(one.number), on_values, {name: "0"} if one.offers("0") else {}
    return False, {}, {}


class WindowsOffloads(WindowsSystem, OffloadOperations):
    """The driver's settings of what the NIC does for the stack."""

    def offloads(self) -> Mapping[Offload, OffloadState]:
        """Return the state of those that the driver has a setting for."""
        settings = self._settings()
        found = {}
        for offload in Offload:
            on, switch_on, switch_off = offload_values(settings, offload)
            if on or switch_on or switch_off:
                found[offload] = OffloadState(on, fixed=not (switch_off if on else switch_on))
        return found

    def set_offload(self, offload: Offload, on: bool) -> None:
        """Change the settings and restart the device."""
        is_on, switch_on, switch_off = offload_values(self._settings(), offload)
        values = switch_on if on else switch_off
        if is_on == on and (is_on or switch_on or switch_off):
            return
        if not values:
            raise Unsupported(f"the offload {offload}: this driver has no setting that switches it {_word(on)}")
        self._write(values)


def _word(on: bool) -> str:
    return "on" if on else "off"
