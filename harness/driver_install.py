"""Installs a driver package of the user's own in a guest that has booted, before its snapshot is taken."""

from collections.abc import Mapping
from contextlib import suppress

from harness.errors import NicproofError
from harness.guest.packages import DriverPackage, PackageRefused
from harness.guest.windows_system import LINK_DEADLINE_S
from harness.image.windows.own_package import OwnPackage
from harness.readiness import restart, settle
from harness.testbed import Testbed

_LOG_LENGTH = 200_000
"""Characters of the system's log of installations that are kept, from its end: it goes back to its setup."""


class NotInstalled(NicproofError):
    """The harness could not install a package; `papers` explain it: files by name."""

    def __init__(self, message: str, papers: Mapping[str, str | bytes]) -> None:
        """Say why."""
        super().__init__(message)
        self.papers = papers


class DriverRefused(NotInstalled):
    """The guest did not take the driver, or broke over it: a finding about the driver, as a failed test is."""


def install(bed: Testbed, package: OwnPackage) -> DriverPackage:
    """Have the DUT driven from a package, and wait until the guest answers on it again.

    Raises:
        DriverRefused: the guest does not use it, in its own words, or broke.
        NotInstalled: it could not be asked to.
    """
    try:
        begun = bed.guest.install_driver(package.files, package.inf)
        if begun.needs_restart:
            restart(bed)
        installed = bed.guest.driver_installed(begun)
    except NicproofError as error:
        end = bed.crash() or (bed.death() if bed.device_crashed else None)
        if end is not None:
            raise DriverRefused(f"{package.inf}: the guest broke while it installed it: {end}", bed.papers()) from None
        papers = {**bed.papers(), **_log(bed)}
        if isinstance(error, PackageRefused):
            raise DriverRefused(f"the guest did not take the driver {error}", papers) from None
        raise NotInstalled(f"{package.inf}: cannot be installed: {error}", papers) from None
    bed.log_out()
    settle(bed, LINK_DEADLINE_S)  # its driver began anew, and its lease with it
    return installed


def _log(bed: Testbed) -> dict[str, str]:
    with suppress(NicproofError):  # what is lacking for one may be lacking for the other
        return {"installation.log": bed.guest.installation_log()[-_LOG_LENGTH:]}
    return {}
