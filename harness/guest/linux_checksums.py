"""Checksum errors on Linux: the counters of its stack."""

import re
from collections.abc import Mapping

from harness.guest.checksums import Checksum, ChecksumOperations
from harness.guest.linux_system import LinuxSystem

_COUNTERS: Mapping[Checksum, str] = {
    Checksum.IPV4: "IpExt.InCsumErrors",
    Checksum.UDP_IPV4: "Udp.InCsumErrors",
    Checksum.UDP_IPV6: "Udp6InCsumErrors",
    Checksum.TCP: "Tcp.InCsumErrors",
}


def parse_counters(text: str) -> dict[str, int]:
    """Read /proc/net/snmp and netstat as "Udp.InErrors", snmp6 as "Udp6InErrors".

    Real lines, 6.12:
        Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
        Udp: 4 0 0 4 0 0 0 0 0
        Udp6InCsumErrors                        0
    """
    counters = {name: int(value) for name, value in re.findall(r"^(\w+)\s+(\d+)$", text, re.MULTILINE)}
    for group, names, values in re.findall(r"^(\w+): (.*[A-Za-z].*)\n\1: (.*)$", text, re.MULTILINE):
        pairs = zip(names.split(), values.split(), strict=True)
        counters.update((f"{group}.{name}", int(value)) for name, value in pairs)
    return counters


class LinuxChecksums(LinuxSystem, ChecksumOperations):
    """The counters of the whole system, whose control network has no errors."""

    def checksum_errors(self) -> Mapping[Checksum, int]:
        """Return the InCsumErrors."""
        counters = parse_counters(self._ssh.check("cd /proc/net && cat snmp netstat snmp6"))
        return {checksum: counters[name] for checksum, name in _COUNTERS.items()}
