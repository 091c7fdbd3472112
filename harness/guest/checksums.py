"""Checksums: what the guest's stack counts of those that were wrong."""

from collections.abc import Mapping
from enum import StrEnum

from harness.guest.operations import Operations


class Checksum(StrEnum):
    """A checksum whose errors a stack counts apart from others."""

    IPV4 = "IPv4 header"
    UDP_IPV4 = "UDP over IPv4"
    UDP_IPV6 = "UDP over IPv6"
    TCP = "TCP"
    """Over IPv4 and IPv6 together."""


class ChecksumOperations(Operations):
    """What a guest may be asked of checksums."""

    def checksum_errors(self) -> Mapping[Checksum, int]:
        """Return how many packets the stack has dropped for each wrong checksum so far."""
        self._unsupported("checksum errors by protocol")
