"""Where the headers of a frame are, judged by a few octets: for what must not wait until scapy has dissected it."""

IPV4_TYPE, IPV6_TYPE = b"\x08\x00", b"\x86\xdd"
ETHERNET_HEADER = 14
_IPV6_HEADER = 40
_EXTENSIONS = (0, 43, 60)
"""Hop-by-hop options, routing, destination options: each says its length in units of 8 octets (RFC 8200, 4)."""


def transport_of(frame: bytes) -> tuple[int | None, int]:
    """Return which protocol an IP packet carries and at which octet of the frame it begins; (None, 0) for no such one.

    Options and extension headers are passed over.
    """
    if frame[12:14] == IPV4_TYPE and len(frame) >= ETHERNET_HEADER + 20:
        return frame[23], ETHERNET_HEADER + 4 * (frame[14] & 15)
    if frame[12:14] == IPV6_TYPE and len(frame) >= ETHERNET_HEADER + _IPV6_HEADER:
        protocol, at = frame[20], ETHERNET_HEADER + _IPV6_HEADER
        while protocol in _EXTENSIONS and at + 1 < len(frame):
            protocol, at = frame[at], at + 8 * (frame[at + 1] + 1)
        return protocol, at
    return None, 0


def unpadded(frame: bytes) -> bytes:
    """Return a frame without what follows its IP packet."""
    if frame[12:14] == IPV6_TYPE:
        return frame[: ETHERNET_HEADER + _IPV6_HEADER + int.from_bytes(frame[18:20], "big")]
    return frame[: ETHERNET_HEADER + int.from_bytes(frame[16:18], "big")]
