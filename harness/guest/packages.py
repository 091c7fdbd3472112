"""Driver packages: what the DUT's driver was installed from, and another one in its place."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import NicproofError
from harness.guest.operations import Operations


class PackageRefused(NicproofError):
    """The system does not drive the DUT from a package that it was given: in its own words, as far as it has any."""


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

    @property
    def signature(self) -> str:
        """Who has signed it, in words."""
        if self.signed is None:
            return "the system does not say"
        return f"by {self.signer or 'a signer without a name'}" if self.signed else "none"


@dataclass(frozen=True)
class Installation:
    """A package that the system was given, and has yet to be seen to use."""

    description: str
    """Which of its files describes it (an INF)."""
    before: DriverPackage
    """What the DUT's driver was from until then."""
    said: str
    """What the system's program printed."""
    needs_restart: bool
    """Whether the system has to be restarted before it uses it."""


class PackageOperations(Operations):
    """What a guest may be asked to do with driver packages."""

    def driver_package(self) -> DriverPackage:
        """Return the package that the DUT's driver is from."""
        self._unsupported("driver packages")

    def install_driver(self, files: Mapping[str, bytes], description: str) -> Installation:
        """Give the system a package of one's own to drive the DUT from; whether it does, `driver_installed` tells.

        Args:
            files: the package's files by their path in it; a folder is followed by a backslash.
            description: which of them describes it (an INF).

        Raises:
            PackageRefused: the system does not take it.
        """
        self._unsupported("installing a driver package")

    def driver_installed(self, begun: Installation) -> DriverPackage:
        """Return the package as it is installed; the link is up.

        Raises:
            PackageRefused: the system does not use it, or its driver brings up no link.
        """
        self._unsupported("installing a driver package")

    def installation_log(self) -> str:
        """Return what the system has written down about the installation of drivers."""
        self._unsupported("a log of installations")
