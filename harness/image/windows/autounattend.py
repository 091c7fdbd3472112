"""autounattend.xml: what Setup of Windows 10, 11 and Server would ask for.

Setup looks for it in the root of every CD (Microsoft, "Windows Setup automation overview"), so the user's stays as it
is. The machine starts from a BIOS: a CD of Microsoft's that starts from UEFI waits for a key first.
"""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from harness.image.windows.medium import Medium

USER = "nicproof"
_NAMESPACE = "urn:schemas-microsoft-com:unattend"
_WCM = "http://schemas.microsoft.com/WMIConfig/2002/State"
_GENERIC_KEY = "VK7JG-NPHTM-C97JM-9MPGT-3V66T"
"""Chooses the edition Pro on a consumer medium and never activates it; Microsoft gives it for changes of edition."""
_SERVER_IMAGE = "2"
"""Standard with desktop; 1 is the same without, 3 and 4 are Datacenter."""
_LAB_CONFIG = ("BypassTPMCheck", "BypassSecureBootCheck", "BypassRAMCheck", "BypassCPUCheck", "BypassStorageCheck")
"""What Windows 11 would insist on; 10 and the servers ignore it."""


def say(text: str) -> str:
    """Return the command that puts a line on the first serial port."""
    return f"cmd.exe /c echo nicproof: {text}>COM1"


def autounattend(medium: Medium, product_key: str | None, password: str) -> bytes:
    """Return the file."""
    root = ET.Element("unattend", {"xmlns": _NAMESPACE, "xmlns:wcm": _WCM})
    _preparation(root, medium, product_key)
    special = _settings(root, "specialize")
    _texts(_component(special, "Microsoft-Windows-Shell-Setup"), {"ComputerName": "NICPROOF"})
    silent = r"reg.exe add HKLM\SYSTEM\CurrentControlSet\Control\Network\NewNetworkWindowOff /f"
    _commands(_component(special, "Microsoft-Windows-Deployment"), [say("phase specialize"), silent])
    _out_of_box(root, medium, password)
    ET.indent(root)
    text = ET.tostring(root, "unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.replace("\n", "\r\n").encode()


def _settings(root: ET.Element, phase: str) -> ET.Element:
    return ET.SubElement(root, "settings", {"pass": phase})


def _component(settings: ET.Element, name: str) -> ET.Element:
    fixed = {"processorArchitecture": "amd64", "publicKeyToken": "31bf3856ad364e35", "language": "neutral"}
    return ET.SubElement(settings, "component", {"name": name, **fixed, "versionScope": "nonSxS"})


def _texts(parent: ET.Element, values: dict[str, str]) -> None:
    for name, value in values.items():
        ET.SubElement(parent, name).text = value


def _added(parent: ET.Element, name: str, values: dict[str, str]) -> ET.Element:
    child = ET.SubElement(parent, name, {"wcm:action": "add"})
    _texts(child, values)
    return child


def _commands(component: ET.Element, commands: Sequence[str]) -> None:
    parent = ET.SubElement(component, "RunSynchronous")
    for number, command in enumerate(commands, 1):
        _added(parent, "RunSynchronousCommand", {"Order": str(number), "Path": command})


def _locale(component: ET.Element, medium: Medium) -> None:
    for name in ("InputLocale", "SystemLocale", "UILanguage", "UserLocale"):
        ET.SubElement(component, name).text = medium.language


def _preparation(root: ET.Element, medium: Medium, product_key: str | None) -> None:
    settings = _settings(root, "windowsPE")
    language = _component(settings, "Microsoft-Windows-International-Core-WinPE")
    _texts(ET.SubElement(language, "SetupUILanguage"), {"UILanguage": medium.language})
    _locale(language, medium)
    setup = _component(settings, "Microsoft-Windows-Setup")
    lab = [rf"reg.exe add HKLM\SYSTEM\Setup\LabConfig /v {name} /t REG_DWORD /d 1 /f" for name in _LAB_CONFIG]
    _commands(setup, [say("phase copy"), *lab])
    disk = _added(ET.SubElement(setup, "DiskConfiguration"), "Disk", {"DiskID": "0", "WillWipeDisk": "true"})
    create = ET.SubElement(disk, "CreatePartitions")
    _added(create, "CreatePartition", {"Order": "1", "Type": "Primary", "Extend": "true"})
    modify = ET.SubElement(disk, "ModifyPartitions")
    active = {"Order": "1", "PartitionID": "1", "Active": "true", "Format": "NTFS", "Label": "Windows", "Letter": "C"}
    _added(modify, "ModifyPartition", active)
    image = ET.SubElement(ET.SubElement(setup, "ImageInstall"), "OSImage")
    if product_key is None and medium.needs_no_key:
        choice = {"Key": "/IMAGE/INDEX", "Value": _SERVER_IMAGE if medium.server else "1"}
        _added(ET.SubElement(image, "InstallFrom"), "MetaData", choice)
    _texts(ET.SubElement(image, "InstallTo"), {"DiskID": "0", "PartitionID": "1"})
    user = ET.SubElement(setup, "UserData")
    _texts(user, {"AcceptEula": "true", "FullName": USER, "Organization": "nicproof"})
    key = product_key or (None if medium.needs_no_key else _GENERIC_KEY)
    # An empty one keeps Setup from asking for it.
    _texts(ET.SubElement(user, "ProductKey"), {"Key": key, "WillShowUI": "OnError"} if key else {})
    _texts(ET.SubElement(setup, "DynamicUpdate"), {"Enable": "false", "WillShowUI": "Never"})


def _out_of_box(root: ET.Element, medium: Medium, password: str) -> None:
    settings = _settings(root, "oobeSystem")
    _locale(_component(settings, "Microsoft-Windows-International-Core"), medium)
    shell = _component(settings, "Microsoft-Windows-Shell-Setup")
    hidden = ("HideEULAPage", "HideLocalAccountScreen", "HideOnlineAccountScreens", "HideOEMRegistrationScreen")
    oobe = dict.fromkeys((*hidden, "HideWirelessSetupInOOBE", "SkipMachineOOBE", "SkipUserOOBE"), "true")
    _texts(ET.SubElement(shell, "OOBE"), {**oobe, "ProtectYourPC": "3"})
    accounts = ET.SubElement(ET.SubElement(shell, "UserAccounts"), "LocalAccounts")
    account = _added(accounts, "LocalAccount", {"Name": USER, "Group": "Administrators", "DisplayName": USER})
    _texts(ET.SubElement(account, "Password"), {"Value": password, "PlainText": "true"})
    logon = ET.SubElement(shell, "AutoLogon")
    _texts(logon, {"Enabled": "true", "LogonCount": "9999", "Username": USER})
    _texts(ET.SubElement(logon, "Password"), {"Value": password, "PlainText": "true"})
    ET.SubElement(shell, "TimeZone").text = "UTC"
    first = ET.SubElement(shell, "FirstLogonCommands")
    # The CD's letter depends on the machine.
    start = r"cmd.exe /c for %d in (D E F G H) do if exist %d:\nicproof\setup.cmd call %d:\nicproof\setup.cmd"
    _added(first, "SynchronousCommand", {"Order": "1", "CommandLine": start})
