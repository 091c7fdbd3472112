r"""Windows XP (and Server 2003, and ReactOS as far as it has the same programs): cmd.exe with wmic, reg, sc and devcon.

The device is found by its hardware id, of which a machine has one: the control NIC is never of the DUT's family. XP
knows its place as text alone, in its own language, and keeps devices that are gone in the registry; devcon finds only
those that are there. devcon is not part of Windows: the image has it in its path.
"""

import re
from collections.abc import Collection, Iterable, Mapping

from harness.errors import NicproofError, Unsupported
from harness.guest.statistics import Statistics
from harness.guest.transport import CommandFailed, Completed, Transport
from harness.guest.windows import WindowsGuest, is_fault, statistics_of
from harness.guest.windows_interrupts import parse_devcon_irqs
from harness.guest.windows_packages import INSTALL_DEADLINE_S
from harness.guest.windows_system import RESTART_DEADLINE_S, Adapter, mac_of
from harness.guest.wmic import Row, Wmic
from harness.nic import windows_id

_CONNECTED = "2"
"""NetConnectionStatus: 0 disconnected, 2 connected, 4 not present, 5 disabled, 7 media disconnected (Microsoft,
Win32_NetworkAdapter)."""
_NEEDS_REBOOT = 1
"""devcon's status where the change waits for a restart of Windows (DevCon's source: EXIT_REBOOT)."""
_FAILED = 2
_COUNTERS = (
    "Name",
    *(f"Bytes{way}Persec" for way in ("Received", "Sent")),
    *(f"Packets{way}{kind}Persec" for way in ("Received", "Sent") for kind in ("", "NonUnicast", "Unicast")),
    *("PacketsReceivedErrors", "PacketsReceivedDiscarded", "PacketsOutboundErrors", "PacketsOutboundDiscarded"),
)
"""Properties of Win32_PerfRawData_Tcpip_NetworkInterface: raw data are totals, though the names say per second."""


def hardware_id(vendor_id: int, device_id: int) -> str:
    r"""Return the hardware id of a NIC model, such as PCI\VEN_8086&DEV_100E."""
    return rf"PCI\{windows_id(vendor_id, device_id)}"


def parse_devcon_find(text: str) -> list[str]:
    r"""Return the instances that `devcon find ID` prints.

    In the form of DevCon's documentation, not recorded; the name is the device's, the last line a count:
        ROOT\FTDISK\0000                                            : Volume Manager
        PCI\VEN_8086&DEV_1229&SUBSYS_00021179&REV_08\4&39A85202&0&40F0: Intel 8255x-based PCI Ethernet Adapter (10/100)
        5 matching device(s) found.
    """
    return [found[1].rstrip() for found in re.finditer(r"^(\S+\\\S+\\\S*?)\s*:", text, re.MULTILINE)]


def row_of_nic(rows: Collection[Row], name: str) -> Row | None:
    """Return the performance data of one NIC.

    Performance data name an instance by the NIC's name with other brackets and strokes, and on XP by the protocol that
    is bound to it too. Real names, Windows XP in German, from a monitoring agent (Checkmk, winperf_if), in which blanks
    are underscores; the NIC is "Ethernetadapter der AMD-PCNET-Familie" there:
        Ethernetadapter_der_AMD-PCNET-Familie__2_-_Paketplaner-Miniport
        Ethernetadapter_der_AMD-PCNET-Familie_-_Paketplaner-Miniport
        MS_TCP_Loopback_interface
    """

    def canonical(text: str) -> str:
        return " ".join(text.translate(str.maketrans("()/#_", "[]   ")).split())

    wanted = canonical(name)
    for row in rows:
        own = canonical(row["Name"])
        if own == wanted or own.startswith(f"{wanted} - "):
            return row
    return None


class WinXpGuest(WindowsGuest):
    """A guest of this generation."""

    _installation_log = r"C:\WINDOWS\setupapi.log"

    def __init__(self, transport: Transport, device: str) -> None:
        r"""Speak with a guest whose DUT has this hardware id, such as PCI\VEN_8086&DEV_100E."""
        super().__init__(transport)
        self._id = device
        self._wmic = Wmic(transport)

    def _run_devcon(self, action: str, *targets: str, deadline_s: float = RESTART_DEADLINE_S) -> Completed:
        line = " ".join(f'"{target}"' for target in targets)
        return self._transport.run(f"devcon {action} {line} < NUL", deadline_s=deadline_s)

    def _devcon(self, action: str, *targets: str) -> str:
        done = self._run_devcon(action, *targets)
        _refuse(action, done)
        return done.stdout.replace("\r", "")

    def _find_instance(self) -> str | None:
        found = parse_devcon_find(self._devcon("find", f"{self._id}*"))
        if len(found) > 1:
            raise NicproofError(f"Windows has several devices {self._id}: {', '.join(found)}")
        return found[0] if found else None

    def _row(self, *properties: str) -> Row:
        instance = self._device.instance.replace("\\", "\\\\")
        rows = self._wmic.get("path Win32_NetworkAdapter", *properties, where=f"PNPDeviceID='{instance}'")
        return rows[0] if rows else {}

    def _adapter(self) -> Adapter:
        row = self._row("MACAddress", "Name", "NetConnectionStatus")
        up = row.get("NetConnectionStatus") == _CONNECTED
        speed = self._speed(row["Name"]) if up else None
        return Adapter(up=up, mac=mac_of(row.get("MACAddress", "")), speed_mbps=speed)

    def _speed(self, name: str) -> int | None:
        # Win32_NetworkAdapter has no Speed before Vista; NDIS tells it, in units of 100 bit/s.
        rows = self._wmic.get(r"/namespace:\\root\wmi path MSNdis_LinkSpeed", "InstanceName", "NdisLinkSpeed")
        speeds = [row["NdisLinkSpeed"] for row in rows if row["InstanceName"] == name]
        return int(speeds[0]) // 10_000 if speeds and speeds[0].isdigit() else None

    def _switch(self, action: str) -> None:
        self._devcon(action, f"@{self._device.instance}")

    def _irqs(self) -> Collection[int]:
        return parse_devcon_irqs(self._devcon("resources", f"@{self._device.instance}"))

    def _counts(self) -> Mapping[str, int]:
        rows = self._wmic.get("path Win32_PerfRawData_Tcpip_NetworkInterface", *_COUNTERS)
        row = row_of_nic(rows, name := self._row("Name").get("Name", ""))
        if row is None:
            raise NicproofError(f"Windows has no statistics of {name or 'the DUT'}: it is disabled")
        return {field: int(value) for field, value in row.items() if field != "Name"}

    def statistics(self) -> Statistics:
        """Return the performance data, which count broadcast and multicast together."""
        received, sent = (
            {
                "frames": f"Packets{way}Persec",
                "octets": f"Bytes{way}Persec",
                "errors": f"Packets{errors}Errors",
                "dropped": f"Packets{errors}Discarded",
            }
            for way, errors in (("Received", "Received"), ("Sent", "Outbound"))
        )
        return statistics_of(self._counts(), received, sent)

    def _signed_driver(self) -> Mapping[str, object]:
        instance = self._device.instance.replace("\\", "\\\\")
        rows = self._wmic.get(
            "path Win32_PnPSignedDriver",
            *("DriverProviderName", "DriverVersion", "InfName", "IsSigned", "Signer"),
            where=f"DeviceID='{instance}'",
            deadline_s=INSTALL_DEADLINE_S,
        )
        return rows[0] if rows else {}

    def _install(self, inf: str) -> tuple[str, bool]:
        done = self._run_devcon("update", inf, self._id, deadline_s=INSTALL_DEADLINE_S)
        if done.status == _FAILED:
            raise CommandFailed(done)
        if done.status == _NEEDS_REBOOT and done.stdout.strip():
            return done.stdout, True
        _refuse("update", done)
        return done.stdout, False

    def ping(self, address: str, octets: int) -> bool:
        """Ping once, by IPv4."""
        if ":" in address:
            raise Unsupported("ping by IPv6: Windows XP has no IPv6 unless someone installs it")
        return super().ping(address, octets)

    def warnings(self, drivers: Collection[str]) -> list[str]:
        """Return the System log's warnings and errors since the start whose source is the driver's service."""
        sources = sorted({*drivers, self._device.service} - {""})
        own = " or ".join(f"SourceName='{name}'" for name in sources)
        found = self._events(f"(EventType=1 or EventType=2) and ({own})")  # 1 error, 2 warning (Win32_NTLogEvent)
        return _lines(row for row in found if is_fault(row["SourceName"], int(row["EventCode"])))

    def log(self) -> str:
        """Return the System log since the start, which also holds the bug check that the last one ended with."""
        return "".join(f"{line}\n" for line in _lines(self._events("EventType>0")))

    def _events(self, condition: str) -> list[Row]:
        rows = self._wmic.get("os", "LastBootUpTime")
        if not rows:
            raise NicproofError("Windows does not say when it was started (wmic os get LastBootUpTime)")
        started = rows[0]["LastBootUpTime"]
        rows = self._wmic.get(
            "ntevent",
            *("EventCode", "Message", "RecordNumber", "SourceName", "TimeGenerated"),
            where=f"Logfile='System' and TimeGenerated>='{started}' and {condition}",
        )
        return sorted(rows, key=lambda row: int(row["RecordNumber"]))


def _lines(rows: Iterable[Row]) -> list[str]:
    """Return a line for each event: when, who, which and what, its own line ends taken out."""
    words = ("TimeGenerated", "SourceName", "EventCode", "Message")
    return [" ".join(" ".join(row.get(word, "") for word in words).split()) for row in rows]


def _refuse(action: str, done: Completed) -> None:
    # 'devcon' is not recognized as an internal or external command,       (in every language with the name; status 1)
    if done.status not in (0, _FAILED) and not done.stdout.strip() and "devcon" in done.stderr.lower():
        raise Unsupported("the guest lacks a tool: devcon.exe is not in its path")
    if done.status == _NEEDS_REBOOT:
        raise NicproofError(f"devcon {action}: Windows would have to be restarted for it")
    if done.status:
        words = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        raise NicproofError(f"in the guest, devcon {action} ended with status {done.status}: {words[-1]}")
