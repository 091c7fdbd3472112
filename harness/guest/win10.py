"""Windows 10 and later (11, Server 2019 and later): PowerShell, whose objects no language changes.

The device is found by its place: DEVPKEY_Device_BusNumber and DEVPKEY_Device_Address are numbers, as the location's
text ("PCI bus 1, device 0, function 0") is not, and they are those of the bus, which Windows takes over from the
firmware.
"""

from collections.abc import Collection, Mapping
from typing import Any

from harness.errors import NicproofError
from harness.guest.powershell import PowerShell, quoted
from harness.guest.statistics import Statistics
from harness.guest.transport import CommandFailed, Transport
from harness.guest.windows import WindowsGuest, is_fault, statistics_of
from harness.guest.windows_packages import INSTALL_DEADLINE_S
from harness.guest.windows_system import RESTART_DEADLINE_S, Adapter, mac_of

_BUS, _ADDRESS = "DEVPKEY_Device_BusNumber", "DEVPKEY_Device_Address"
_NOTHING_NEWER = 259
"""ERROR_NO_MORE_ITEMS: no device takes the package (Microsoft, "PnPUtil Return Values")."""
_NEEDS_REBOOT = 3010
"""ERROR_SUCCESS_REBOOT_REQUIRED: the package is installed, and used from the next start on (the same page)."""
_CONNECTED = 1
"""MediaConnectState of MSFT_NetAdapter: 0 unknown, 1 connected, 2 disconnected."""
_COUNTERS = (
    *(f"{way}{what}" for way in ("Received", "Sent") for what in ("Bytes", "UnicastPackets", "MulticastPackets")),
    *("ReceivedBroadcastPackets", "SentBroadcastPackets", "ReceivedPacketErrors", "OutboundPacketErrors"),
    *("ReceivedDiscardedPackets", "OutboundDiscardedPackets"),
)
"""Properties of MSFT_NetAdapterStatisticsSettingData."""


def instance_at(properties: Collection[Mapping[str, Any]], pci_address: str) -> str | None:
    r"""Return the instance of the device at a PCI address, such as "01:00.0", among properties of all devices.

    One object of `Get-PnpDeviceProperty | Select InstanceId,KeyName,Data`, from its documentation (not recorded); the
    address is the device in the upper 16 bits and the function in the lower:
        {"InstanceId":"PCI\\VEN_8086&DEV_10D3&SUBSYS_00008086&REV_00\\4&12829b10&0&0014",
        "KeyName":"DEVPKEY_Device_Address","Data":0}
    """
    bus, _, rest = pci_address.partition(":")
    device, _, function = rest.partition(".")
    wanted = {_BUS: int(bus, 16), _ADDRESS: int(device, 16) << 16 | int(function, 16)}
    found: dict[str, dict[str, Any]] = {}
    for one in properties:
        found.setdefault(one["InstanceId"], {})[one["KeyName"]] = one["Data"]
    places = [instance for instance, place in found.items() if place == wanted]
    if len(places) > 1:
        raise NicproofError(f"Windows has several devices at {pci_address}: {', '.join(places)}")
    return places[0] if places else None


def parse_adapter(objects: Collection[Mapping[str, Any]]) -> Adapter:
    """Return the state in what Get-NetAdapter gives for one device.

    Properties of MSFT_NetAdapter, from its documentation; a disabled device has no adapter, or one that is not up:
        {"MediaConnectState":1,"MacAddress":"52-54-00-6E-70-01","PermanentAddress":"5254006E7001",
        "ReceiveLinkSpeed":1000000000,"FullDuplex":true,"MtuSize":1500}
    """
    if not objects:
        return Adapter(up=False, mac="")
    (one,) = objects
    speed = one["ReceiveLinkSpeed"]
    return Adapter(
        up=one["MediaConnectState"] == _CONNECTED,
        mac=mac_of(one["MacAddress"] or ""),
        permanent_mac=mac_of(one["PermanentAddress"]) if one["PermanentAddress"] else None,
        speed_mbps=speed // 1_000_000 if speed and one["MediaConnectState"] == _CONNECTED else None,
        full_duplex=one["FullDuplex"],
        mtu=one["MtuSize"],
    )


def parse_events(objects: Collection[Mapping[str, Any]]) -> list[str]:
    """Return a line for each event: when, who, which and what, its own line ends taken out."""
    words = ("TimeCreated", "ProviderName", "Id", "Message")
    return [" ".join(" ".join(str(one[word] or "") for word in words).split()) for one in objects]


class Win10Guest(WindowsGuest):
    """A guest of this generation."""

    _installation_log = r"C:\WINDOWS\inf\setupapi.dev.log"

    def __init__(self, transport: Transport, pci_address: str) -> None:
        """Speak with a guest whose DUT sits at `pci_address`, such as "01:00.0"."""
        super().__init__(transport)
        self._pci_address = pci_address
        self._shell = PowerShell(transport)

    def _find_instance(self) -> str | None:
        listed = self._shell.ask(
            r"Get-PnpDevice -PresentOnly | Where-Object InstanceId -Like 'PCI\*' | "
            f"Get-PnpDeviceProperty -KeyName '{_BUS}','{_ADDRESS}' | Select-Object InstanceId,KeyName,Data"
        )
        return instance_at(listed, self._pci_address)

    def _of_adapter(self, command: str) -> str:
        """Return the pipeline that gives something for the DUT's adapter, or nothing while it has none."""
        instance = quoted(self._device.instance)
        return f"Get-NetAdapter | Where-Object PnPDeviceID -EQ {instance} | {command}"

    def _adapter(self) -> Adapter:
        names = "MediaConnectState,MacAddress,PermanentAddress,ReceiveLinkSpeed,FullDuplex,MtuSize"
        return parse_adapter(self._shell.ask(self._of_adapter(f"Select-Object {names}")))

    def _switch(self, action: str) -> None:
        # Disable-PnpDevice and Enable-PnpDevice have no third, and `pnputil /restart-device` came with version 2004.
        instance = f"-InstanceId {quoted(self._device.instance)} -Confirm:$false"
        steps = {"restart": ("Disable", "Enable")}.get(action, (action.capitalize(),))
        script = ";".join(f"{step}-PnpDevice {instance}" for step in steps)
        self._shell.check(script, deadline_s=RESTART_DEADLINE_S)

    def _irqs(self) -> Collection[int]:
        # IRQNumber is unsigned: 4294967293 is the third message (Server 2016, see parse_devcon_irqs).
        instance = quoted(self._device.instance)
        resources = (
            f"Get-CimInstance Win32_PnPEntity -Filter ('DeviceID=\"' + ({instance} -replace '\\\\','\\\\') + '\"') | "
            "Get-CimAssociatedInstance -ResultClassName Win32_IRQResource | Select-Object IRQNumber"
        )
        return [int(one["IRQNumber"]) for one in self._shell.ask(resources)]

    def _counts(self) -> Mapping[str, int]:
        listed = self._shell.ask(
            self._of_adapter(f"Get-NetAdapterStatistics | Select-Object {','.join(dict.fromkeys(_COUNTERS))}")
        )
        if not listed:
            raise NicproofError("Windows has no statistics of the DUT: it is disabled")
        return {name: int(value or 0) for name, value in listed[0].items()}

    def statistics(self) -> Statistics:
        """Return what Get-NetAdapterStatistics says."""
        frames = "{0}UnicastPackets+{0}MulticastPackets+{0}BroadcastPackets"
        received, sent = (
            {
                "frames": frames.format(way),
                "octets": f"{way}Bytes",
                "multicast": f"{way}MulticastPackets",
                "broadcast": f"{way}BroadcastPackets",
                "errors": f"{errors}PacketErrors",
                "dropped": f"{errors}DiscardedPackets",
            }
            for way, errors in (("Received", "Received"), ("Sent", "Outbound"))
        )
        return statistics_of(self._counts(), received, sent)

    def _signed_driver(self) -> Mapping[str, object]:
        instance = quoted(self._device.instance)
        listed = self._shell.ask(
            f"Get-CimInstance Win32_PnPSignedDriver | Where-Object DeviceID -EQ {instance} | "
            "Select-Object InfName,DriverVersion,DriverProviderName,IsSigned,Signer",
            deadline_s=INSTALL_DEADLINE_S,
        )
        return listed[0] if listed else {}

    def _install(self, inf: str) -> tuple[str, bool]:
        done = self._transport.run(f'pnputil /add-driver "{inf}" /install', deadline_s=INSTALL_DEADLINE_S)
        if done.status not in (0, _NOTHING_NEWER, _NEEDS_REBOOT):
            raise CommandFailed(done)
        return done.stdout, done.status == _NEEDS_REBOOT

    def warnings(self, drivers: Collection[str]) -> list[str]:
        """Return the System log's warnings and errors since the start whose source is the driver's service."""
        sources = ",".join(quoted(name) for name in sorted({*drivers, self._device.service} - {""}))
        found = self._events(f"Where-Object {{ $_.Level -in 1,2,3 -and @({sources}) -contains $_.ProviderName }}")
        return parse_events([one for one in found if is_fault(one["ProviderName"], one["Id"])])

    def log(self) -> str:
        """Return the System log since the start, which also holds the bug check that the last one ended with."""
        return "".join(f"{line}\n" for line in parse_events(self._events("Where-Object Level -GE 0")))

    def _events(self, choice: str) -> list[dict[str, Any]]:
        # Get-WinEvent ends with an error where it finds none, which is no error here.
        started = "$start=(Get-CimInstance Win32_OperatingSystem).LastBootUpTime"
        found = "Get-WinEvent -FilterHashtable @{LogName='System';StartTime=$start} -ErrorAction SilentlyContinue"
        fields = "@{n='TimeCreated';e={$_.TimeCreated.ToString('s')}},ProviderName,Id,Message"
        return self._shell.ask(f"& {{{started}; {found} | {choice} | Sort-Object RecordId | Select-Object {fields}}}")
