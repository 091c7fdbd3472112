"""How a station asks for its IPv4 address: a broadcast of DHCP (RFC 2131)."""

from dataclasses import dataclass

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from harness.station import BROADCAST_MAC
from harness.traffic.frames import mac_octets, mac_text

_EVERYBODY = mac_octets(BROADCAST_MAC)


@dataclass(frozen=True)
class LeaseRequest:
    """Who asks: as the frame, the message in it (chaddr) and the packet around it say."""

    sender: str
    client: str
    source: str


def asks_for_a_lease(frame: bytes) -> bool:
    """Return whether a frame is such a broadcast."""
    return frame[:6] == _EVERYBODY and DHCP in Ether(frame)


def lease_request(frame: bytes) -> LeaseRequest:
    """Return what a frame that asks for a lease says of its station."""
    packet = Ether(frame)
    return LeaseRequest(sender=packet.src, client=mac_text(packet[BOOTP].chaddr[:6]), source=packet[IP].src)
