"""Checksum errors as Linux counts them."""

from harness.guest.linux_checksums import parse_counters

# The start of three files of a Debian 13, Linux 6.12.
COUNTERS = """\
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
Udp: 4 0 6 4 0 0 6 0 0
UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
UdpLite: 0 0 0 0 0 0 1 0 0
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens InCsumErrors
Tcp: 1 200 120000 -1 1 3
Udp6InDatagrams                 \t2
Udp6InCsumErrors                \t5
"""


def test_counters_are_read_by_their_names() -> None:
    counters = parse_counters(COUNTERS)
    names = ("Udp.InCsumErrors", "UdpLite.InCsumErrors", "Tcp.InCsumErrors", "Udp6InCsumErrors", "Tcp.MaxConn")
    assert [counters[name] for name in names] == [6, 1, 3, 5, -1]
