"""The two stations on the DUT's cable and their addresses: from the documentation range (RFC 5737), and link-local."""

from dataclasses import dataclass
from ipaddress import IPv6Address

from scapy.utils6 import in6_mactoifaceid

NETWORK = "192.0.2.0/24"


@dataclass(frozen=True)
class Station:
    """A station: MAC address, IPv4 address in `NETWORK`, IPv6 link-local address."""

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

STRANGER_MAC = "52:54:00:6e:70:99"
"""A station that is neither."""

BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"


def almost(mac: str, octet: int) -> str:
    """Return the address of a station that differs from `mac` in one bit of one octet (0 to 5): not the group bit."""
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[octet] ^= 4
    return octets.hex(":")
