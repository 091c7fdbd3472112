"""Driver packages on Windows: an INF and the files that it names, in a folder of their own."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping

from harness.errors import InputError, NicproofError
from harness.guest.packages import DriverPackage, PackageOperations
from harness.guest.windows_system import WindowsSystem

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


class WindowsPackages(WindowsSystem, PackageOperations):
    """What is the same for both generations."""

    @abstractmethod
    def _signed_driver(self) -> Mapping[str, object]:
        """Return the device's instance of Win32_PnPSignedDriver; nothing for a device without a driver."""

    @abstractmethod
    def _install(self, inf: str) -> None:
        """Install the package whose INF has this path for the device."""

    @abstractmethod
    def _go_back(self, current: DriverPackage, wanted: DriverPackage) -> None:
        """Have the device use `wanted`."""

    def driver_package(self) -> DriverPackage:
        """Return the package and whether it is signed."""
        return package_of(self._signed_driver())

    def install_driver(self, files: Mapping[str, bytes], description: str) -> DriverPackage:
        """Upload the files, install the package, and look whether Windows uses it."""
        if description not in files or not description.lower().endswith(".inf"):
            raise InputError(f"driver package: '{description}' is no INF among its files: {', '.join(sorted(files))}")
        before = self.driver_package()
        digest = hashlib.sha256(b"".join(name.encode() + files[name] for name in sorted(files))).hexdigest()[:16]
        folder = rf"{_FOLDER}\nicproof-{digest}"
        self._transport.check(f'if not exist "{folder}" mkdir "{folder}"')
        try:
            for name, content in files.items():
                self._transport.upload(content, rf"{folder}\{name}")
            self._install(rf"{folder}\{description}")
        finally:
            self._transport.run(f'rmdir /s /q "{folder}"')
        self._forget()
        self._await_link(True)
        after = self.driver_package()
        if (after.name, after.version) == (before.name, before.version):
            raise NicproofError(f"{description}: Windows goes on using {before.name}, version {before.version}")
        return after

    def restore_driver(self, package: DriverPackage) -> None:
        """Go back, and look whether Windows did."""
        self._go_back(self.driver_package(), package)
        self._forget()
        self._await_link(True)
        if (now := self.driver_package()).name != package.name:
            raise NicproofError(f"Windows uses {now.name}, version {now.version}, and not {package.name} again")
