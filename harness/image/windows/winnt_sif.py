r"""WINNT.SIF: what Setup of Windows XP would ask for (Microsoft, "Unattend.txt reference", deploy.chm of the XP CD).

It lies on a floppy disk beside the untouched CD: a way that other test projects have used for years. To put it into the
CD would need the whole CD written anew, for a boot loader that is choosy about the file system, and nothing here could
check that. So there is no $OEM$ folder. The drivers come from the second CD at the first logon, and stay where Windows
looks for drivers (the value DevicePath in the registry, which is all that OemPnPDriversPath sets).
"""

from collections.abc import Mapping

SETUP_COMMAND = r"A:\SETUP.CMD"
LOGON_COMMAND = r"A:\LOGON.CMD"


def winnt_sif(product_key: str, password: str) -> bytes:
    """Return the file, with the line ends and in the code page of its readers."""
    sections: Mapping[str, Mapping[str, str]] = {
        "Data": {"AutoPartition": "1", "MsDosInitiated": '"0"', "UnattendedInstall": '"Yes"'},
        "Unattended": {
            "UnattendMode": "FullUnattended",
            "OemSkipEula": "Yes",
            "OemPreinstall": "No",
            "TargetPath": r"\WINDOWS",
            "Repartition": "Yes",
            "FileSystem": "ConvertNTFS",
            "UnattendSwitch": "Yes",
            "WaitForReboot": "No",
            "DriverSigningPolicy": "Ignore",
            "NonDriverSigningPolicy": "Ignore",
        },
        "GuiUnattended": {
            "AdminPassword": f'"{password}"',
            "EncryptedAdminPassword": "No",
            "OemSkipWelcome": "1",
            "OemSkipRegional": "1",
            "TimeZone": "85",  # Greenwich
            "AutoLogon": "Yes",
            "AutoLogonCount": "9999",
        },
        "UserData": {
            "ProductKey": f'"{product_key}"',
            "FullName": '"nicproof"',
            "OrgName": '"nicproof"',
            "ComputerName": "NICPROOF",
        },
        "Display": {"Xresolution": "1024", "Yresolution": "768", "BitsPerPel": "16"},
        "Identification": {"JoinWorkgroup": "WORKGROUP"},
        "Networking": {"InstallDefaultComponents": "Yes"},
        "SetupParams": {"UserExecute": f'"{SETUP_COMMAND}"'},
        "GuiRunOnce": {"Command0": f'"{LOGON_COMMAND}"'},
        "WindowsFirewall": {"Profiles": "WindowsFirewall.TurnOffFirewall"},
        "WindowsFirewall.TurnOffFirewall": {"Mode": "0"},
    }
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key}={value}" for key, value in values.items()), ""]
    return "\r\n".join(lines).encode("ascii")
