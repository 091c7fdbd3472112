"""The guest operations that every Windows has: what differs by generation is in `winxp` and `win10`."""

import re
from abc import abstractmethod
from collections.abc import Collection, Mapping

from harness.endpoint.remote import RemoteEndpoint
from harness.errors import NicproofError, Unsupported
from harness.guest.base import Driver, Guest, Identity, InterruptClaim, Link
from harness.guest.links import LinkSettings
from harness.guest.statistics import Counts, Statistics
from harness.guest.transport import Completed
from harness.guest.windows_addresses import WindowsAddresses
from harness.guest.windows_interrupts import claim_of
from harness.guest.windows_lifecycle import WindowsLifecycle
from harness.guest.windows_mtu import WindowsMtu
from harness.guest.windows_packages import WindowsPackages
from harness.guest.windows_queues import WindowsQueues
from harness.guest.windows_registry import Keyword
from harness.guest.windows_settings import WindowsSettings
from harness.guest.windows_system import Device
from harness.guest.windows_vlans import WindowsVlans

_PING_DEADLINE_MS = 5000
_MAKE_UP_A_SPEED = {"netkvm"}
"""Services of drivers that give NDIS a speed of their own (netkvm.inx: ConnectRate)."""
_LINK_IS_DOWN = 27
"""The event with which Intel's drivers say that the link went, as a warning."""
_SPEED_DUPLEX = "*speedduplex"
"""0 is autonegotiation (Microsoft, "Enumeration Keywords")."""


def is_fault(provider: str, event: int) -> bool:
    """Return whether a warning in the System log tells of a fault; that a cable was pulled is none."""
    return not (event == _LINK_IS_DOWN and provider.lower().startswith("e1"))


def parse_version(text: str) -> str:
    """Read what `ver` prints: the number, which no language changes.

    Real lines, Windows XP, Windows 10, Wine 8.0:
        Microsoft Windows XP [Version 5.1.2600]
        Microsoft Windows [Version 10.0.19045.3803]
        Microsoft Windows 6.1.7601

    Raises:
        NicproofError: there is none.
    """
    found = re.search(r"\d+\.\d+\.\d+(?:\.\d+)?", text)
    if found is None:
        raise NicproofError(f"ver shows no version: {text.strip()!r}")
    return found[0]


def parse_ping(text: str, address: str, status: int) -> bool:
    """Return whether the answer to an echo request came.

    ping ends with 0 also where a router said that the host is unreachable; only an answer from the host has a TTL, in
    every language. For IPv6 there is none, and the status is right. A real line of Wine 8.0, and of a German Windows
    that was counted as a success (a public note on a home network; the statistics below it say 0% loss):
        Reply from 127.0.0.1: bytes=32 time=1ms TTL=64
        Antwort von 10.1.0.210: Zielhost nicht erreichbar.
    """
    return status == 0 and (":" in address or re.search(r"\bTTL=\d", text) is not None)


def parse_ids(ids: Collection[str]) -> tuple[int, int, int, int, int]:
    r"""Return vendor, device, subsystem vendor, subsystem and class code of a PCI device's hardware and compatible ids.

    Of QEMU's e1000 (Microsoft, "Identifiers for PCI Devices"); SUBSYS has the subsystem first, then its vendor:
        PCI\VEN_8086&DEV_100E&SUBSYS_11001AF4&REV_03
        PCI\VEN_8086&DEV_100E&CC_020000

    Raises:
        NicproofError: one of them is in none of the ids.
    """
    patterns = (r"VEN_([0-9A-F]{4})", r"DEV_([0-9A-F]{4})", r"SUBSYS_([0-9A-F]{4})([0-9A-F]{4})", r"CC_([0-9A-F]{6})")
    text = " ".join(ids).upper()
    found = [re.search(pattern, text) for pattern in patterns]
    if (missing := next((name for name, one in zip(patterns, found, strict=True) if one is None), None)) is not None:
        raise NicproofError(f"Windows' ids of the device lack {missing.partition('_')[0]}: {text or 'there are none'}")
    vendor, device, subsystem, code = (one for one in found if one is not None)
    return int(vendor[1], 16), int(device[1], 16), int(subsystem[2], 16), int(subsystem[1], 16), int(code[1], 16)


class WindowsGuest(
    WindowsAddresses,
    WindowsLifecycle,
    WindowsMtu,
    WindowsPackages,
    WindowsQueues,
    WindowsSettings,
    WindowsVlans,
    Guest,
):
    """A Windows guest, asked through its own tools and its registry. Nothing of it has run on a Windows yet."""

    @abstractmethod
    def _irqs(self) -> Collection[int]:
        """Return the IRQ numbers that the system has allocated to the device."""

    @abstractmethod
    def _counts(self) -> Mapping[str, int]:
        """Return the system's counters of the adapter, by the names that this generation has for them."""

    @property
    def claims(self) -> bool:
        """A Windows guest behind a transport can be asked."""
        return True

    def command(self, line: str, *, deadline_s: float = 60.0) -> Completed:
        """Run it."""
        return self._transport.run(line, deadline_s=deadline_s)

    def device(self) -> Device:
        """Return the DUT as the device tree has it."""
        return self._device

    def release(self) -> str:
        """Return the version, such as 5.1.2600 (XP) or 10.0.19045.3803."""
        return parse_version(self._transport.check("ver"))

    def driver(self) -> Driver:
        """Return the driver's service and the version of its INF."""
        if not self._device.service:
            return Driver("", "unknown")
        values = {name.lower(): value for name, value in self._values(self._class_key).items()}
        return Driver(self._device.service, values.get("driverversion", "unknown"))

    def driver_settings(self) -> Mapping[str, Keyword]:
        """Return the driver's settings by keyword in lower case, with what its INF offers for each."""
        return self._settings()

    def identity(self) -> Identity:
        """Return what the device's ids say."""
        return Identity(*parse_ids(self._device.ids), interfaces=(self._connection(),))

    def interrupts(self) -> InterruptClaim:
        """Return what the signs of the allocated IRQ numbers say."""
        return claim_of(self._irqs())

    def link(self) -> Link:
        """Return the adapter's state; a speed that its driver makes up, as the device tells none, is none."""
        adapter = self._adapter()
        return Link(adapter.up, None if self._device.service.lower() in _MAKE_UP_A_SPEED else adapter.speed_mbps)

    def full_duplex(self) -> bool | None:
        """Return the adapter's duplex."""
        if (told := self._adapter().full_duplex) is None:
            raise Unsupported("the link's duplex: this Windows does not tell")
        return told

    def link_settings(self) -> LinkSettings:
        """Return the adapter's state and whether the driver is set to negotiate."""
        duplex, adapter, setting = self.full_duplex(), self._adapter(), self._settings().get(_SPEED_DUPLEX)
        if setting is None:
            raise Unsupported("what the link has negotiated: this driver has no setting for speed and duplex")
        return LinkSettings(adapter.speed_mbps, duplex, setting.value == "0", pauses=None)

    def wait_link(self, up: bool) -> bool:
        """Ask until it is so."""
        return self._link_comes(up)

    def counters(self) -> Mapping[str, int]:
        """Return the system's counters of the adapter."""
        return self._counts()

    def endpoint(self) -> RemoteEndpoint:
        """Raise the reason."""
        raise Unsupported("raw frames from the guest: Windows has no packet driver of its own")

    def ping(self, address: str, octets: int) -> bool:
        """Ping once."""
        done = self._transport.run(f"ping -n 1 -w {_PING_DEADLINE_MS} -l {octets} {address}")
        return parse_ping(done.stdout, address, done.status)


def statistics_of(counts: Mapping[str, int], received: Mapping[str, str], sent: Mapping[str, str]) -> Statistics:
    """Return the statistics in counters of these names: field of `Counts` -> counters to be added up, with +."""

    def one(names: Mapping[str, str]) -> Counts:
        return Counts(**{field: sum(counts[name] for name in text.split("+")) for field, text in names.items()})

    return Statistics(one(received), one(sent))
