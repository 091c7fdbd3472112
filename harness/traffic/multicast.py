"""Multicast MAC addresses for tests: groups that a guest joins, and groups that no imperfect filter takes for them."""

from collections.abc import Collection, Iterator

from harness.station import DUT, solicited_node
from harness.traffic.frames import mac_octets

_SHIFTS = (4, 3, 2, 0)
"""By RCTL.MO: how far the last 16 bits of an address are shifted to give the 12 bits that pick a bit of the multicast
table array (82540EM 13.5.1)."""
OF_ANY_STACK = ("01:00:5e:00:00:01", "33:33:00:00:00:01", solicited_node(DUT.ip6)[1])
"""What a guest's IPv4 and IPv6 listen to by themselves (RFC 1112, 4; RFC 4291, 2.8)."""


def ipv4_groups(count: int) -> tuple[str, ...]:
    """Return `count` groups of the block that IPv4's administratively scoped groups map to (RFC 1112, 6.4)."""
    return tuple(f"01:00:5e:40:{number >> 8:02x}:{number & 255:02x}" for number in range(1, count + 1))


def apart_from(joined: Collection[str], count: int) -> tuple[str, ...]:
    """Return `count` groups that share no bucket with `joined` nor with what any stack joins, however it is hashed."""
    taken = {bucket for group in (*joined, *OF_ANY_STACK) for bucket in _buckets(group)}
    found = [group for group in _candidates() if not _buckets(group) & taken]
    return tuple(found[:count])


def _candidates() -> Iterator[str]:
    return (f"03:00:00:00:{high:02x}:{high ^ 0x5A:02x}" for high in range(0x10, 0x100, 7))


def _buckets(group: str) -> set[tuple[int, int]]:
    high, low = mac_octets(group)[4:]
    return {(shift, (low << 8 | high) >> shift & 0xFFF) for shift in _SHIFTS}
