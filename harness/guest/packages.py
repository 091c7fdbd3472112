"""Driver packages: what the DUT's driver was installed from, another one in its place, and back."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.guest.operations import Operations


@dataclass(frozen=True)
class DriverPackage:
    """An installed driver package, as the system says."""

    name: str
    """What the system calls it, such as oem3.inf."""
    version: str
    provider: str
    signed: bool | None
    """None where the system does not say."""
    signer: str


class PackageOperations(Operations):
    """What a guest may be asked to do with driver packages."""

    def driver_package(self) -> DriverPackage:
        """Return the package that the DUT's driver is from."""
        self._unsupported("driver packages")

    def install_driver(self, files: Mapping[str, bytes], description: str) -> DriverPackage:
        """Have the DUT driven from a package of one's own.

        Args:
            files: the package's files by name.
            description: which of them describes it (an INF).

        Returns:
            The package as it is installed; the link is up.
        """
        self._unsupported("installing a driver package")

    def restore_driver(self, package: DriverPackage) -> None:
        """Have the DUT driven from a package that was there before; returns when the link is up."""
        self._unsupported("going back to another driver package")
