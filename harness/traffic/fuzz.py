"""Frames at random, most of them against a rule: the same ones in every run.

They come from stations that are neither end of the cable, and none of them speaks for one: what a frame says that
happens to be valid must not change what the DUT knows of its neighbour. So however many came, it has to be what it was.
"""

import random
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from types import MappingProxyType

from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether
from scapy.utils import checksum

from harness.endpoint.base import padded
from harness.station import BROADCAST_MAC, DUT, solicited_node
from harness.traffic.frames import BACKGROUND, LENGTHS, LONGEST_FRAME, SEED, arp_frame, mac_octets

_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_ICMP, _TCP, _UDP, _FRAGMENT, _ICMPV6, _SCTP = 1, 6, 17, 44, 58, 132
_LENGTHS = (
    (1, 13),
    (14, 59),
    (60, LONGEST_FRAME),
    (1515, 1522),
    (1523, 2048),
    (2049, 9022),
    (9023, 16384),
    (16385, 65549),
)
"""First and last of some lengths in octets. A frame of none would be the end of the cable for QEMU (net/dgram.c)."""
_OFTEN = (8, 8, 8, 4, 4, 2, 1, 1)
"""How often each of them comes, in proportion: long ones are slow."""
_TAG_TYPES = (0x8100, 0x88A8, 0x9100)
_KNOWN_TYPES = (*_TAG_TYPES, _IPV4, _IPV6, _ARP, 0x8035, 0x809B, 0x8137, 0x8808, 0x8809, 0x8847, 0x8863, 0x8864, 0x888E)
_KNOWN_TYPES_TOO = (0x88CC, 0x88E5, 0x88F7, 0x8906, 0x9000, 0xFFFF)
_PROTOCOLS = (0, _ICMP, 2, 4, _TCP, _UDP, 41, 47, 50, 51, 103, _SCTP, 255)
_EXTENSIONS = (0, 43, _FRAGMENT, 50, 51, 59, 60, 135)
"""Hop-by-hop, routing, fragment, ESP, AH, none, destination, mobility."""
_PORTS = (0, 1, 9, 22, 53, 67, 68, 123, 7000, 40001, 65535)
_STRANGERS = tuple(f"52:54:02:00:00:{n:02x}" for n in range(8))
_ON_LINK = tuple(f"192.0.2.{host}" for host in (126, 190, 222, 238, 254))
"""Each in many bits unlike the wire's own address."""
_ON_LINK_6 = tuple(f"fe80::f0f0:f0f0:f0f0:{n:x}" for n in range(0xF0, 0xF8))
_STATIONS = tuple(map(mac_octets, _STRANGERS))
_SOURCES = tuple(ip_address(ip).packed for ip in (*_ON_LINK, *(f"198.51.100.{n}" for n in range(1, 9))))
_SOURCES_6 = tuple(ip_address(ip).packed for ip in _ON_LINK_6)
_FALSE_SOURCES = tuple(ip_address(ip).packed for ip in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", DUT.ip))
_FALSE_SOURCES_6 = tuple(ip_address(ip).packed for ip in ("::", "::1", "ff02::1", "2001:db8::1", DUT.ip6))
_TARGETS = (*[mac_octets(DUT.mac)] * 6, mac_octets(BROADCAST_MAC), mac_octets("01:00:5e:00:00:01"))
_TARGETS_6 = (*[mac_octets(DUT.mac)] * 6, mac_octets("33:33:00:00:00:01"), mac_octets(solicited_node(DUT.ip6)[1]))
_DUT_IP, _DUT_IP6 = ip_address(DUT.ip).packed, ip_address(DUT.ip6).packed
_ALL_NODES = ip_address("ff02::1").packed

Random = random.Random
Maker = Callable[[Random], bytes]


def fuzzed(kind: str, count: int) -> list[bytes]:
    """Return `count` frames of a kind of `KINDS`, behind those by which their senders make themselves known.

    A stack that looked for whom to answer would keep its answers meanwhile, and owe others theirs.
    """
    source = Random(f"{SEED} {kind}")
    return [*_introductions(), *(KINDS[kind](source) for _ in range(count))]


def owed(frames: Iterable[bytes]) -> int:
    """Return how many of the frames every NIC has to take: of a legal length, to its own address and in no VLAN."""
    own, tag = mac_octets(DUT.mac), struct.pack("!H", _TAG_TYPES[0])
    return sum(one[:6] == own and len(one) in LENGTHS and one[12:14] != tag for one in frames)


def _introductions() -> Iterator[bytes]:
    """Return a question of each stranger on the DUT's network, with its own addresses."""
    for mac, ip in zip(_STRANGERS, _ON_LINK, strict=False):
        yield arp_frame(1, mac, ip, DUT.mac, "00:00:00:00:00:00", DUT.ip)
    for mac, ip6 in zip(_STRANGERS, _ON_LINK_6, strict=True):
        question = ICMPv6ND_NS(tgt=DUT.ip6) / ICMPv6NDOptSrcLLAddr(lladdr=mac)
        yield padded(Ether(src=mac, dst=DUT.mac) / IPv6(src=ip6, dst=DUT.ip6, hlim=255) / question)


def _some(source: Random, longest: int) -> bytes:
    return source.randbytes(source.randrange(longest + 1))


def _number(source: Random, bits: int) -> int:
    """Return a number at an end of what fits into `bits`, or any."""
    top = 1 << bits
    return source.choice((0, 1, top // 2, top - 2, top - 1, source.randrange(top)))


def _spoilt(source: Random, octets: bytes, first: int, end: int) -> bytes:
    """Return the octets with up to three of those from `first` up to `end` changed."""
    changed = bytearray(octets)
    for _ in range(source.randrange(4)):
        changed[source.randrange(first, min(end, len(changed)))] = _number(source, 8)
    return bytes(changed)


def _summed(message: bytes, at: int, pseudo: bytes = b"") -> bytes:
    """Return a message with the right checksum at its octet `at`."""
    blank = message[:at] + b"\0\0" + message[at + 2 :]
    return blank[:at] + checksum(pseudo + blank).to_bytes(2, "big") + blank[at + 2 :]


def _ethernet(source: Random, kind: int, payload: bytes, targets: tuple[bytes, ...] = _TARGETS) -> bytes:
    return padded(source.choice(targets) + source.choice(_STATIONS) + kind.to_bytes(2, "big") + payload)


def _ipv4_header(
    source: Random, protocol: int, octets: int, *, identification: int = 0, fragment: int = 0, options: bytes = b""
) -> bytes:
    """Return a right header of a packet to the DUT, with whole words of options."""
    words = 5 + len(options) // 4
    start = struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + octets, identification, fragment, 64, protocol, 0)
    return _summed(start + source.choice(_SOURCES) + _DUT_IP + options, 10)


def _ipv6_header(source: Random, following: int, octets: int) -> bytes:
    return struct.pack("!IHBB", 6 << 28, octets, following, 64) + source.choice(_SOURCES_6) + _DUT_IP6


def _transported(source: Random, protocol: int, message: bytes, at: int) -> bytes:
    """Return a frame with a message over IPv4 or IPv6, most with the right checksum at its octet `at`."""
    right = source.random() < 0.8
    if source.random() < 0.5:
        header = _ipv4_header(source, protocol, len(message))
        pseudo = header[12:20] + struct.pack("!HH", protocol, len(message))
        return _ethernet(source, _IPV4, header + (_summed(message, at, pseudo) if right else message))
    header = _ipv6_header(source, protocol, len(message))
    pseudo = header[8:40] + struct.pack("!II", len(message), protocol)
    return _ethernet(source, _IPV6, header + (_summed(message, at, pseudo) if right else message), _TARGETS_6)


def _lengths(source: Random) -> bytes:
    """Return a frame of any length, from a single octet to more than any NIC takes."""
    first, last = source.choices(_LENGTHS, _OFTEN)[0]
    kind = source.choice((BACKGROUND, _IPV4, source.randrange(0x600)))
    header = mac_octets(DUT.mac) + source.choice(_STATIONS) + kind.to_bytes(2, "big")
    length = source.randint(first, last)
    return (header + source.randbytes(max(0, length - len(header))))[:length]


def _types(source: Random) -> bytes:
    """Return a frame with any type or length, right or wrong, some with an LLC header."""
    known = source.choice((*_KNOWN_TYPES, *_KNOWN_TYPES_TOO))
    kind = source.choice((known, source.randrange(0x600), source.randrange(0x600, 0x10000)))
    llc = source.choice((b"", b"\x42\x42\x03", b"\xaa\xaa\x03", b"\xe0\xe0\x03", b"\xff\xff", b"\xf0\xf0\x7f"))
    groups = tuple(mac_octets(f"01:80:c2:00:00:{last:02x}") for last in (0, 1, 2, 3, 14))
    return _ethernet(source, kind, llc + _some(source, 300), (*_TARGETS, *groups))


def _tags(source: Random) -> bytes:
    """Return a frame with one to hundreds of tags, before a packet, before anything or before nothing."""
    count = source.choice((1, 2, 3, source.randrange(4, 12), source.randrange(12, 370)))
    tags = [(source.choice(_TAG_TYPES), _number(source, 16)) for _ in range(count)]
    inner = source.choice((b"", _some(source, 20), _echo(source)[12:], struct.pack("!H", _IPV4) + _some(source, 60)))
    octets = b"".join(struct.pack("!HH", *tag) for tag in tags) + inner
    return _ethernet(source, tags[0][0], octets[2:])


def _ipv4(source: Random) -> bytes:
    """Return an IPv4 packet with any options, wrong versions, lengths and addresses, most with a right checksum."""
    options = b"".join(_option(source) for _ in range(source.randrange(4)))[:40]
    options += bytes(-len(options) % 4)
    protocol = source.choice(_PROTOCOLS)
    payload = _some(source, 200)
    if protocol == _ICMP:
        payload = _summed(bytes([source.randrange(45), source.randrange(16)]) + bytes(2) + payload, 2)
    header = _ipv4_header(source, protocol, len(payload), options=options)
    if source.random() < 0.2:
        header = header[:12] + source.choice(_FALSE_SOURCES) + header[16:]
    header = _spoilt(source, _spoilt(source, header, 0, 12), 16, 60)
    return _ethernet(source, _IPV4, (_summed(header, 10) if source.random() < 0.8 else header) + payload)


def _option(source: Random) -> bytes:
    kind = source.choice((0, 1, 7, 68, 130, 131, 134, 136, 137, 148, source.randrange(256)))
    return bytes([kind]) if kind < 2 else bytes([kind, _number(source, 8) if source.random() < 0.3 else 7]) + bytes(5)


def _ipv6(source: Random) -> bytes:
    """Return an IPv6 packet with any chain of extension headers, and wrong versions, lengths and addresses.

    No header is followed by SCTP: one device does not live through that, so `past_the_end` has it apart.
    """
    chain = [source.choice(_EXTENSIONS) for _ in range(source.choice((0, 1, 2, 3, source.randrange(40))))]
    last = source.choice(_PROTOCOLS)
    body = b""
    for following in [*chain[1:], last] if chain else ():
        octets = source.choice((6, 6, 14))
        right = (octets - 6) // 8
        length = right if source.random() < 0.8 else _number(source, 8)
        data = _options_6(source, octets) if source.random() < 0.7 else source.randbytes(octets)
        body += bytes([following, length]) + data
    body = (body + _some(source, 200)).replace(bytes([_SCTP]), b"\0")
    header = _ipv6_header(source, chain[0] if chain else last, len(body))
    if source.random() < 0.2:
        header = header[:8] + source.choice(_FALSE_SOURCES_6) + header[24:]
    header = _spoilt(source, header, 0, 8) if source.random() < 0.5 else header
    return _ethernet(source, _IPV6, header + body, _TARGETS_6)


def past_the_end(protocol: int) -> bytes:
    """Return the shortest IPv6 packet whose only extension header says that it is longer than the packet."""
    header = struct.pack("!IHBB", 6 << 28, 8, 60, 64) + _SOURCES_6[0] + _DUT_IP6
    return _TARGETS[0] + _STATIONS[0] + _IPV6.to_bytes(2, "big") + header + bytes([protocol, 255]) + bytes(6)


def _options_6(source: Random, octets: int) -> bytes:
    """Return padding, a router alert, a jumbo payload (RFC 2675), or what must be dropped, reported or passed over."""
    kind = source.choice((1, 5, 0xC2, 0x3E, 0x7E, 0xBE, 0xFE))
    return (bytes([kind, octets - 2 if source.random() < 0.7 else _number(source, 8)]) + bytes(octets))[:octets]


def _fragments(source: Random) -> bytes:
    """Return a fragment of one of a few packets: they overlap, leave gaps, are tiny, or end past the longest packet."""
    identification = source.randrange(16)
    offset = source.choice((0, 1, 2, source.randrange(16), source.randrange(200), source.randrange(8192), 8189, 8191))
    more = source.random() < 0.7
    payload = source.randbytes(source.choice((0, 1, 7, 8, 16, 64, 512, 1400)))
    if source.random() < 0.5:
        protocol = source.choice((_ICMP, _TCP, _UDP))
        fragment = more << 13 | offset
        header = _ipv4_header(source, protocol, len(payload), identification=identification, fragment=fragment)
        return _ethernet(source, _IPV4, header + payload)
    following = source.choice((_ICMPV6, _TCP, _UDP, *_EXTENSIONS))
    extension = struct.pack("!BBHI", following, 0, offset << 3 | more, identification)
    return _ethernet(source, _IPV6, _ipv6_header(source, _FRAGMENT, len(payload) + 8) + extension + payload)


def _tcp(source: Random) -> bytes:
    """Return a segment with any flags, offsets and options."""
    options = b"".join(_tcp_option(source) for _ in range(source.randrange(5)))[:40]
    options += bytes(-len(options) % 4)
    words = 5 + len(options) // 4 if source.random() < 0.7 else source.randrange(16)
    ports = (source.choice((*_PORTS, source.randrange(65536))), source.choice(_PORTS))
    numbers = (_number(source, 32), _number(source, 32))
    fields = (words << 4 | source.randrange(16), source.randrange(256), _number(source, 16), 0, _number(source, 16))
    return _transported(
        source, _TCP, struct.pack("!HHIIBBHHH", *ports, *numbers, *fields) + options + _some(source, 100), 16
    )


def _tcp_option(source: Random) -> bytes:
    kind = source.choice((0, 1, 2, 3, 4, 5, 8, 19, 28, 29, 30, 34, 254, source.randrange(256)))
    data = _some(source, 18)
    return (
        bytes([kind])
        if kind < 2
        else bytes([kind, len(data) + 2 if source.random() < 0.6 else _number(source, 8)]) + data
    )


def _udp(source: Random) -> bytes:
    """Return a datagram with a length of its own."""
    data = _some(source, 300)
    length = source.choice((len(data) + 8, source.randrange(8), _number(source, 16)))
    ports = (source.choice(_PORTS), source.choice(_PORTS))
    return _transported(source, _UDP, struct.pack("!HHHH", *ports, length, source.choice((0, 0xFFFF))) + data, 6)


def _arp(source: Random) -> bytes:
    """Return ARP for any protocol and operation, with addresses of any length, whole or not."""
    right = source.random() < 0.5
    kinds = (1, _IPV4, 6, 4) if right else tuple(_number(source, bits) for bits in (16, 16, 8, 8))
    operation = source.choice((1, 1, 2, 3, 4, 8, 9, _number(source, 16)))
    sender = source.choice((*_STATIONS, bytes(6), mac_octets(BROADCAST_MAC), mac_octets(DUT.mac), b"\1" + bytes(5)))
    addresses = sender + source.choice((*_SOURCES, *_FALSE_SOURCES)) + _some(source, 6).ljust(6, b"\0") + _DUT_IP
    message = struct.pack("!HHBBH", *kinds, operation) + addresses
    return _ethernet(source, _ARP, message if right else message[: source.randrange(len(message) + 1)])


def _neighbour_discovery(source: Random) -> bytes:
    """Return a message of neighbour discovery with any options; what routers alone may say comes from afar."""
    kind = source.choice((133, 134, 135, 135, 136, 137))
    target = source.choice((_DUT_IP6, *_SOURCES_6, _ALL_NODES)) if kind == 135 else source.choice(_SOURCES_6)
    body = {133: bytes(4), 134: bytes([64, 0, 1, 0]) + bytes(8), 137: bytes(4) + target + target}
    options = b"".join(_discovery_option(source) for _ in range(source.randrange(5)))
    message = bytes([kind, source.choice((0, 0, 0, 1))]) + bytes(2) + body.get(kind, bytes(4) + target) + options
    message = message if source.random() < 0.7 else message[: source.randrange(4, len(message) + 1)]
    own = source.choice((*_SOURCES_6, *_SOURCES_6, *_FALSE_SOURCES_6))
    to = source.choice((_DUT_IP6, _ALL_NODES, ip_address(solicited_node(DUT.ip6)[0]).packed))
    limit = 254 if kind in (134, 137) or source.random() < 0.1 else 255  # RFC 4861, 6.1.2, 7.1 and 8.1: from this link
    header = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, limit) + own + to
    pseudo = own + to + struct.pack("!II", len(message), _ICMPV6)
    return _ethernet(source, _IPV6, header + _summed(message, 2, pseudo), _TARGETS_6)


def _discovery_option(source: Random) -> bytes:
    words = source.choice((1, 1, 2, 4))
    length = words if source.random() < 0.7 else _number(source, 8)
    return bytes([source.choice((1, 2, 3, 4, 5, 14, 25, 31, source.randrange(256))), length]) + source.randbytes(
        words * 8 - 2
    )


def _echo(source: Random) -> bytes:
    message = _summed(b"\x08\0\0\0" + source.randbytes(4) + _some(source, 1000), 2)
    return _ethernet(source, _IPV4, _ipv4_header(source, _ICMP, len(message)) + message, _TARGETS[:1])


def _bits(source: Random) -> bytes:
    """Return a packet of any kind with a few bits the other way, some cut off or with more behind them."""
    frame = bytearray(source.choice((_echo, _tcp, _udp, _arp))(source))
    for _ in range(source.randrange(1, 4)):
        frame[source.randrange(12, len(frame))] ^= 1 << source.randrange(8)
    end = source.choice((len(frame), len(frame), source.randrange(14, len(frame) + 1)))
    return bytes(frame[:end]) + source.choice((b"", b"", _some(source, 100)))


KINDS: Mapping[str, Maker] = MappingProxyType(
    {
        "lengths": _lengths,
        "types": _types,
        "tags": _tags,
        "ipv4": _ipv4,
        "ipv6": _ipv6,
        "fragments": _fragments,
        "tcp": _tcp,
        "udp": _udp,
        "arp": _arp,
        "neighbour-discovery": _neighbour_discovery,
        "bits": _bits,
    }
)
