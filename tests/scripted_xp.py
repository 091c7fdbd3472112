"""A Windows XP that is none: a transport which answers as its programs are documented to, about one e1000.

What it proves is what the harness does with the answers, and in which order it asks; not what a Windows answers.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from harness.guest.transport import Completed, stdout_of
from harness.testbed import Testbed

INSTANCE = r"PCI\VEN_8086&DEV_100E&SUBSYS_11001AF4&REV_03\3&13C0B0C5&0&20"
CLASS = r"{4D36E972-E325-11CE-BFC1-08002BE10318}\0001"
IMAGES_OWN = {"InfName": "oem0.inf", "DriverVersion": "1.0", "DriverProviderName": "Intel", "IsSigned": "TRUE"}
USERS_OWN = {"InfName": "oem7.inf", "DriverVersion": "9.9", "DriverProviderName": "Me", "IsSigned": "FALSE"}
# DevCon's source, its messages file; status 2 is EXIT_FAIL.
REFUSAL = "Updating drivers for PCI\\VEN_8086&DEV_100E from C:\\WINDOWS\\Temp\\x.inf.\ndevcon.exe failed.\n"


@dataclass
class ScriptedXp:
    """The transport. All of them are one guest."""

    takes: bool = True
    """Whether it takes a driver."""
    restarts: Testbed | None = None
    """What it restarts before it uses one; None: it uses one at once."""
    installed: ClassVar[bool] = False
    said: ClassVar[list[str]] = []
    uploaded: ClassVar[dict[str, bytes]] = {}
    closed: bool = field(default=False, init=False)

    def run(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> Completed:
        """Answer."""
        assert not self.closed, "it was let go of"
        self.said.append(command)
        status, out = self._answer(command)
        return Completed(command, status, out, "")

    def _answer(self, command: str) -> tuple[int, str]:
        program = command.split()[0]
        if program == "devcon" and " find " in command:
            return 0, f"{INSTANCE}: Intel(R) PRO/1000\n1 matching device(s) found.\n"
        if program == "devcon" and " update " in command:
            if self.restarts:
                return 1, "Drivers updated successfully.\n"
            ScriptedXp.installed = self.takes
            return (0, "Drivers updated successfully.\n") if self.takes else (2, REFUSAL)
        if program == "shutdown" and self.restarts:
            self.restarts.vm.monitor.execute("system_reset")
            ScriptedXp.installed = self.takes
        if program == "reg" and "Enum" in command:
            own = (
                f"    Driver    REG_SZ    {CLASS}\n    Service    REG_SZ    {'E1NEW' if self.installed else 'E1OLD'}\n"
            )
            return 0, f"HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Enum\\{INSTANCE}\n{own}"
        if "Win32_PnPSignedDriver" in command:
            row = USERS_OWN if self.installed else IMAGES_OWN
            return 0, "".join(f"{name}={value}\n" for name, value in row.items())
        if "Win32_NetworkAdapter" in command:
            return 0, "MACAddress=52:54:00:6E:70:01\nName=Intel\nNetConnectionStatus=2\n"
        if command.startswith("type "):
            return 0, "#E358 An unsigned or incorrectly signed file\n"
        return 0, "Microsoft Windows XP [Version 5.1.2600]\n" if program == "ver" else ""

    def check(self, command: str, *, deadline_s: float = 60.0, stdin: bytes = b"") -> str:
        """Answer with what must be no failure."""
        return stdout_of(self.run(command))

    def upload(self, content: bytes, path: str) -> None:
        """Take a file."""
        self.said.append(f"upload {path}")
        self.uploaded[path.rpartition("\\")[2]] = content

    def close(self) -> None:
        """Be let go of."""
        self.closed = True
