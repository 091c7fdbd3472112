"""The checklists of `nicproof doctor --guest`: what is asked of a guest, by the operating system that it runs.

Each question settles something that a profile, a parser or a suite relies on and that no page has told for sure.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.errors import NicproofError, Unsupported
from harness.guest.powershell import encoded, quoted
from harness.guest.ssh_offer import read_offer
from harness.guest.windows import WindowsGuest
from harness.qemu.pci import Ecam
from harness.testbed import Testbed

HANGS_S = 30.0
"""For a command that may wait for input that never comes."""


@dataclass(frozen=True)
class Question:
    """One item."""

    name: str
    ask: Callable[[Testbed], object]
    """Returns what YAML can hold."""


def _line(command: str, find: str = "") -> Callable[[Testbed], object]:
    """Return the question what a command line prints, or what `find` finds in it."""

    def ask(bed: Testbed) -> object:
        done = bed.guest.command(command)
        said = done.stdout.replace("\r", "").strip()
        if done.status:
            raise NicproofError(f"status {done.status}: {done.stderr.strip() or said or 'no output'}")
        if not find:
            return said
        found = re.findall(find, said)
        if not found:
            raise NicproofError(f"not in the output: {said[:200]!r}")
        return found[0] if len(found) == 1 else found

    return ask


def _ends(command: str) -> Callable[[Testbed], object]:
    """Return the question whether a command ends by itself, and after how many seconds."""

    def ask(bed: Testbed) -> object:
        began = time.monotonic()
        try:
            bed.guest.command(command, deadline_s=HANGS_S)
        except Unsupported:
            raise
        except NicproofError as error:
            return f"no: {error}"
        return f"yes, after {time.monotonic() - began:.1f} s"

    return ask


def _windows(bed: Testbed) -> WindowsGuest:
    if not isinstance(bed.guest, WindowsGuest):
        raise Unsupported("this guest is asked by other means than a Windows is")
    return bed.guest


def _driver(bed: Testbed) -> object:
    driver = bed.guest.driver()
    return {"name": driver.name, "version": driver.version, "expected": driver.name in bed.cell.nic_profile.drivers}


def _claim(bed: Testbed) -> object:
    claim = bed.guest.interrupts()
    return {"mode": str(claim), "irqs": [vector.irq for vector in claim.vectors]}


def _device(bed: Testbed) -> object:
    function = bed.function()
    return {
        "MSI-X": function.msix_enabled,
        "MSI": function.msi_enabled,
        "line": function.intx_enabled,
        "vectors granted": function.vectors_granted,
        "vectors": len(function.msix),
    }


def _link(bed: Testbed) -> object:
    link = bed.guest.link()
    return {"up": link.up, "speed in Mb/s": link.speed_mbps}


def _package(bed: Testbed) -> object:
    package = bed.guest.driver_package()
    return {
        "name": package.name,
        "version": package.version,
        "provider": package.provider,
        "signed": package.signed,
        "signer": package.signer,
    }


def _service(bed: Testbed) -> object:
    state = _windows(bed).service_state()
    return None if state is None else state.name


def _settings(bed: Testbed) -> object:
    settings = _windows(bed).driver_settings()
    return {
        name: {"value": one.value, "choices": list(one.choices), "bounds": [one.least, one.most, one.step]}
        for name, one in sorted(settings.items())
    }


def _ecam(bed: Testbed) -> object:
    space = bed.pci.space
    return f"{space.base:#x}" if isinstance(space, Ecam) else "none: this machine has configuration space by ports"


def _ssh(bed: Testbed) -> object:
    if bed.cell.profile.control != "ssh":
        raise Unsupported(f"this guest is not controlled over SSH (profile: control: {bed.cell.profile.control})")
    try:
        offer = read_offer(("127.0.0.1", bed.ssh_port()), HANGS_S)
    except (OSError, ValueError) as error:
        raise NicproofError(f"the SSH server says nothing of what it offers: {error}") from None
    return {"version": offer.version, **{kind: list(names) for kind, names in offer.algorithms.items()}}


_EVERY_NIC = (
    Question("driver", _driver),
    Question("interrupts that the guest claims", _claim),
    Question("interrupts that the device has", _device),
    Question("link", _link),
    Question("MAC address", lambda bed: bed.guest.mac()),
    Question("permanent MAC address", lambda bed: bed.guest.permanent_mac()),
    Question("MTU", lambda bed: bed.guest.mtu()),
    Question("interfaces", lambda bed: list(bed.guest.identity().interfaces)),
    Question("counters", lambda bed: dict(bed.guest.counters())),
    Question("warnings", lambda bed: bed.guest.warnings(bed.cell.nic_profile.drivers)),
    Question("ECAM base", _ecam),
)
_WINDOWS_NIC = (
    *_EVERY_NIC,
    Question("driver package", _package),
    Question("service", _service),
    Question("settings", _settings),
    Question("duplex", lambda bed: bed.guest.full_duplex()),
    Question("offloads", lambda bed: {one.value: state.on for one, state in bed.guest.offloads().items()}),
)
_RELEASE = Question("release", lambda bed: bed.guest.release())
_SSH = Question("SSH server", _ssh)
_BUG_CHECKS = r"(?m)^.*(?:BugCheck|Save Dump|WER-SystemErrorReporting).*$"
_WINDOWS = (
    _RELEASE,
    _SSH,
    Question("code page", _line("chcp", r"\d+")),
    Question(
        "language", _line(r'reg query "HKLM\SYSTEM\CurrentControlSet\Control\Nls\Language" /v Default', r"(\w+)$")
    ),
    Question("bug checks in the log", lambda bed: re.findall(_BUG_CHECKS, bed.guest.log())),
    Question("echo is answered by the harness", lambda bed: bed.guest.ping("192.0.2.1", 56)),
)

OF_SYSTEM: Mapping[str, tuple[Question, ...]] = {
    "linux": (_RELEASE, _SSH, Question("processors", _line("nproc", r"\d+"))),
    "winxp": (
        *_WINDOWS,
        Question(
            "HAL",
            _line(
                r'reg query "HKLM\SYSTEM\CurrentControlSet\Enum\Root\ACPI_HAL\0000" /v HardwareID',
                r"REG_\w+\s+(\w+)",
            ),
        ),
        Question("devcon is there", _line("devcon find =net < NUL")),
        Question("wmic ends with its input closed", _ends("wmic os get Version /value < NUL")),
        Question(
            "wmic writes UTF-16", lambda bed: "\0" in bed.guest.command("wmic os get Version /value < NUL").stdout
        ),
        Question("wmic has CSV", _line("wmic os get Version /format:csv < NUL", r"Node,Version")),
        Question("link speed by NDIS", _line(r"wmic /namespace:\\root\wmi path MSNdis_LinkSpeed get /value < NUL")),
        # The last one: a shell whose command hangs may be of no more use.
        Question("wmic ends with its input left open", _ends("wmic os get Version /value")),
    ),
    "win10": (
        *_WINDOWS,
        Question("PowerShell", _line(encoded("$PSVersionTable.PSVersion.ToString()"), r"[\d.]+")),
        Question("error stream of a script that succeeds", lambda bed: bed.guest.command(encoded("1")).stderr),
        Question("pnputil restarts devices", _line("pnputil /?", r"/restart-device")),
    ),
}
"""Operating system -> what is a matter of the whole guest."""

OF_NIC: Mapping[str, tuple[Question, ...]] = {"linux": _EVERY_NIC, "winxp": _WINDOWS_NIC, "win10": _WINDOWS_NIC}
"""Operating system -> what is asked with each NIC model."""


def _fixed(command: str) -> Callable[[Testbed], str]:
    return lambda bed: command


def _of_device(command: str) -> Callable[[Testbed], str]:
    """Return a command line with {instance}, {class_key} and {service} of the DUT put in."""

    def line(bed: Testbed) -> str:
        device = _windows(bed).device()
        return command.format(instance=device.instance, class_key=device.class_key, service=device.service)

    return line


def _script(pipeline: str) -> Callable[[Testbed], str]:
    """Return the line for a script, in which {instance} is the DUT's, quoted."""

    def line(bed: Testbed) -> str:
        instance = quoted(_windows(bed).device().instance)
        return encoded(f"ConvertTo-Json -InputObject @({pipeline.format(instance=instance)}) -Depth 3")

    return line


_ADAPTER = "Get-NetAdapter | Where-Object PnPDeviceID -EQ {instance}"
_WINDOWS_OUTPUTS: Mapping[str, Callable[[Testbed], str]] = {
    "ver": _fixed("ver"),
    "ipconfig": _fixed("ipconfig /all"),
    "reg-device": _of_device(r'reg query "HKLM\SYSTEM\CurrentControlSet\Enum\{instance}" /s'),
    "reg-class-key": _of_device('reg query "{class_key}" /s'),
    "sc-query": _of_device('sc query "{service}"'),
    "ping-answered": _fixed("ping -n 1 -w 5000 192.0.2.1"),
    "ping-unanswered": _fixed("ping -n 1 -w 1000 192.0.2.77"),
}

OUTPUTS: Mapping[str, Mapping[str, Callable[[Testbed], str]]] = {
    "linux": {
        "uname": _fixed("uname -a"),
        "interrupts": _fixed("cat /proc/interrupts"),
        "links": _fixed("ip -j -d -s -s link show"),
    },
    "winxp": {
        **_WINDOWS_OUTPUTS,
        "devcon-resources": _of_device('devcon resources "@{instance}" < NUL'),
        "devcon-find": _fixed("devcon find =net < NUL"),
        "wmic-nic": _fixed("wmic path Win32_NetworkAdapter get /value < NUL"),
        "wmic-signed-driver": _fixed("wmic path Win32_PnPSignedDriver where \"DeviceClass='NET'\" get /value < NUL"),
        "wmic-performance": _fixed("wmic path Win32_PerfRawData_Tcpip_NetworkInterface get /value < NUL"),
        "wmic-link-speed": _fixed(r"wmic /namespace:\\root\wmi path MSNdis_LinkSpeed get /value < NUL"),
        "wmic-resources": _fixed("wmic path Win32_PnPAllocatedResource get /value < NUL"),
    },
    "win10": {
        **_WINDOWS_OUTPUTS,
        "pnputil-drivers": _fixed("pnputil /enum-drivers"),
        "pnp-properties": _script(
            "Get-PnpDeviceProperty -InstanceId {instance} | Select-Object InstanceId,KeyName,Data"
        ),
        "adapter": _script(f"{_ADAPTER} | Select-Object * -ExcludeProperty Cim*"),
        "statistics": _script(f"{_ADAPTER} | Get-NetAdapterStatistics | Select-Object * -ExcludeProperty Cim*"),
        "properties": _script(
            f"{_ADAPTER} | Get-NetAdapterAdvancedProperty -AllProperties | Select-Object * -ExcludeProperty Cim*"
        ),
        "hardware": _script(f"{_ADAPTER} | Get-NetAdapterHardwareInfo | Select-Object * -ExcludeProperty Cim*"),
        "rss": _script(f"{_ADAPTER} | Get-NetAdapterRss | Select-Object * -ExcludeProperty Cim*"),
        "signed-driver": _script(
            "Get-CimInstance Win32_PnPSignedDriver | Where-Object DeviceID -EQ {instance} | "
            "Select-Object * -ExcludeProperty Cim*"
        ),
        "error": _fixed(encoded(r"Get-Item C:\no-such-file")),
    },
}
"""Operating system -> name -> the command line whose raw output is worth to be kept."""
