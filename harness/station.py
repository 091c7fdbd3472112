"""The two stations on the DUT's cable and their addresses: from the documentation ranges (RFC 5737), and link-local."""

from dataclasses import dataclass
from ipaddress import IPv6Address

from scapy.utils6 import in6_mactoifaceid

NETWORK = "192.0.2.0/24"


@dataclass(frozen=True)
class Station:
    """A station: MAC address, IPv4 address, IPv6 link-local address."""

    mac: str
    ip: str
    ip6: str


def link_local(mac: str) -> str:
    """Return the EUI-64 link-local address of a MAC address (RFC 4291, 2.5.6 and appendix A)."""
    return str(IPv6Address(f"fe80::{in6_mactoifaceid(mac)}"))


def solicited_node(ip6: str) -> tuple[str, str]:
    """Return the group at which an IPv6 address is solicited (RFC 4291, 2.7.1), and its MAC address (RFC 2464, 7)."""
    low = IPv6Address(ip6).packed[-3:]
    return str(IPv6Address(bytes.fromhex("ff0200000000000000000001ff") + low)), "33:33:ff:" + low.hex(":")


_DUT_MAC = "52:54:00:6e:70:01"

DUT = Station(mac=_DUT_MAC, ip="192.0.2.2", ip6=link_local(_DUT_MAC))
"""The NIC under test: gets its IPv4 address by DHCP and makes its IPv6 address of its MAC address."""

WIRE = Station(mac="52:54:00:6e:70:fe", ip="192.0.2.1", ip6="fe80::1")
"""The far end of the cable: the harness."""

TAGGED_DUT = Station(mac=DUT.mac, ip="198.51.100.2", ip6=DUT.ip6)
TAGGED_WIRE = Station(mac=WIRE.mac, ip="198.51.100.1", ip6=WIRE.ip6)
"""The same two in a VLAN. Their IPv4 addresses are of another documentation range, for a host sends what is for one
network through one interface; the link-local ones are the same, for each VLAN is a link of its own (RFC 4007, 5)."""

STRANGER_MAC = "52:54:00:6e:70:99"
"""A station that is neither."""

BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"


def almost(mac: str, octet: int) -> str:
    """Return the address of a station that differs from `mac` in one bit of one octet (0 to 5): not the group bit."""
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[octet] ^= 4
    return octets.hex(":")
