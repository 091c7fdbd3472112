"""Driver packages on Windows: an INF and the files that it names, in a folder of their own."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping

from harness.errors import InputError
from harness.guest.packages import DriverPackage, Installation, PackageOperations, PackageRefused
from harness.guest.transport import CommandFailed
from harness.guest.windows_system import LINK_DEADLINE_S, WindowsSystem

INSTALL_DEADLINE_S = 300.0
"""For the files to be copied, the signature to be checked and the device to be started."""
_FOLDER = r"C:\WINDOWS\Temp"


def package_of(row: Mapping[str, object]) -> DriverPackage:
    """Return the package in an instance of Win32_PnPSignedDriver.

    By PowerShell as JSON, and by wmic, from Microsoft's documentation (not recorded); an unsigned one has no signer:
        {"InfName":"oem3.inf","DriverVersion":"12.15.25.6712","DriverProviderName":"Intel","IsSigned":true,
        "Signer":"Microsoft Windows"}
        IsSigned=TRUE
    """
    signed = {"true": True, "false": False}.get(str(row.get("IsSigned")).lower())
    name, version, provider, signer = (
        str(row.get(field) or "") for field in ("InfName", "DriverVersion", "DriverProviderName", "Signer")
    )
    return DriverPackage(name, version, provider, signed, signer)


def _words(*texts: str) -> str:
    """Return all that a program said in one line: what went wrong need not be pnputil's last words.

    From a public note on a driver for Android:
        Microsoft PnP Utility
        Adding driver package: android_winusb.inf
        Failed to add driver package: Access is denied.
        Total driver packages: 1
        Added driver packages: 0
    """
    lines = (" ".join(line.split()) for text in texts for line in text.splitlines())
    return "; ".join(filter(None, lines)) or "nothing"


class WindowsPackages(WindowsSystem, PackageOperations):
    """What is the same for both generations."""

    _installation_log: str
    """The file into which the setup functions write what they do."""

    @abstractmethod
    def _signed_driver(self) -> Mapping[str, object]:
        """Return the device's instance of Win32_PnPSignedDriver; nothing for a device without a driver."""

    @abstractmethod
    def _install(self, inf: str) -> tuple[str, bool]:
        """Install the package whose INF has this path for the device.

        Returns:
            What Windows' program said, and whether Windows has to be restarted for it.

        Raises:
            CommandFailed: it did not end well.
        """

    def driver_package(self) -> DriverPackage:
        """Return the package and whether it is signed."""
        return package_of(self._signed_driver())

    def install_driver(self, files: Mapping[str, bytes], description: str) -> Installation:
        """Upload the files and install the package."""
        if description not in files or not description.lower().endswith(".inf"):
            raise InputError(f"driver package: '{description}' is no INF among its files: {', '.join(sorted(files))}")
        before = self.driver_package()
        digest = hashlib.sha256(b"".join(name.encode() + files[name] for name in sorted(files))).hexdigest()[:16]
        folder = rf"{_FOLDER}\nicproof-{digest}"
        try:
            for place in sorted({rf"{folder}\{name}".rpartition("\\")[0] for name in files}):
                self._transport.check(f'if not exist "{place}" mkdir "{place}"')
            for name, content in files.items():
                self._transport.upload(content, rf"{folder}\{name}")
            said, needs_restart = self._install(rf"{folder}\{description}")
        except CommandFailed as failed:
            raise PackageRefused(f"{description}: {_words(failed.completed.stdout, failed.completed.stderr)}") from None
        finally:
            self._transport.run(f'rmdir /s /q "{folder}"')
        return Installation(description, before, said, needs_restart)

    def driver_installed(self, begun: Installation) -> DriverPackage:
        """Look whether Windows uses it."""
        description, before = begun.description, begun.before
        self._forget()
        up, after = self._link_comes(True), self.driver_package()
        if (after.name, after.version) == (before.name, before.version):
            # Microsoft, "How Windows Ranks Drivers".
            raise PackageRefused(
                f"{description}: Windows goes on using {before.name}, version {before.version}, and said: "
                f"{_words(begun.said)}; it takes the better of two by signature, hardware id, date and version"
            )
        if not up:
            raise PackageRefused(
                f"{description}: Windows uses it as {after.name}, version {after.version}, but sees no link "
                f"within {LINK_DEADLINE_S:g} s"
            )
        return after

    def installation_log(self) -> str:
        """Return the log of the setup functions (SetupAPI)."""
        return self._transport.check(f'type "{self._installation_log}"', deadline_s=INSTALL_DEADLINE_S)
