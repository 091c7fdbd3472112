"""Counters by queue from Linux's netdev family of generic netlink: printed as `ethtool -S` of other drivers names them.

This file runs in a guest (python3 >= 3.9, nothing of nicproof): `python3 - eth1 <netdev_statistics.py`. No tool of the
distributions asks for these counters yet. Numbers: include/uapi/linux/netdev.h, genetlink.h and netlink.h; what the
attributes mean: Documentation/netlink/specs/netdev.yaml. It imports little: to start a Python with `socket`, whose
constants all become enumerations, takes a second under emulation, with `_socket` a quarter of it.
"""

from __future__ import annotations

import _socket
import errno
import struct
import sys

NETLINK_GENERIC = 16
HEADER, GENERIC, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBH"), struct.Struct("=HH")
"""Of a message: length, type, flags, sequence, port; of a generic one: command, version; of an attribute: length, type.
"""
REQUEST, DUMP = 0x001, 0x300
ERROR, DONE = 2, 3
CONTROL = 0x10
"""The family that knows the others (GENL_ID_CTRL)."""
GET_FAMILY, FAMILY_ID, FAMILY_NAME = 3, 1, 2
GET_QUEUE_STATISTICS = 12
INTERFACE, QUEUE_TYPE, QUEUE, SCOPE = 1, 2, 3, 4
BY_QUEUE = 1
QUEUE_TYPES = ("rx", "tx")
COUNTERS = {8: "packets", 9: "bytes", 10: "packets", 11: "bytes"}
"""Received, then sent."""
LACKING = (errno.ENOENT, errno.EOPNOTSUPP)
"""No such family (Linux before 6.3), no such command (before 6.10), or a driver that has no such counters."""


def attribute(kind: int, value: bytes) -> bytes:
    """Return the octets of an attribute, filled up to a multiple of four."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(octets: bytes) -> dict[int, bytes]:
    """Return the attributes that follow each other, by their type."""
    found, at = {}, 0
    while at < len(octets):
        length, kind = ATTRIBUTE.unpack_from(octets, at)
        found[kind & 0x3FFF] = octets[at + ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def number(octets: bytes) -> int:
    """Return an integer of any length."""
    return int.from_bytes(octets, sys.byteorder)


def messages(octets: bytes) -> list[tuple[int, bytes]]:
    """Return type and content of the messages that came together."""
    found, at = [], 0
    while at < len(octets):
        length, kind, _, _, _ = HEADER.unpack_from(octets, at)
        found.append((kind, octets[at + HEADER.size : at + length]))
        at += (length + 3) & ~3
    return found


def ask(asked: _socket.socket, family: int, command: int, flags: int, wishes: bytes) -> list[dict[int, bytes]]:
    """Make a request; return the attributes of each message of its answer.

    Raises:
        OSError: the kernel refused it.
    """
    length = HEADER.size + GENERIC.size + len(wishes)
    asked.send(HEADER.pack(length, family, REQUEST | flags, 0, 0) + GENERIC.pack(command, 1, 0) + wishes)
    found: list[dict[int, bytes]] = []
    while True:
        for kind, content in messages(asked.recv(1 << 16)):
            if kind in (ERROR, DONE):
                (code,) = struct.unpack_from("=i", content)
                if code:
                    raise OSError(-code, "netlink")
                return found
            found.append(attributes(content[GENERIC.size :]))
        if not flags & DUMP:
            return found


def lines(told: dict[int, bytes]) -> list[str]:
    """Return a line for each counter of a queue that a message tells."""
    queue = f"{QUEUE_TYPES[number(told[QUEUE_TYPE])]}_queue_{number(told[QUEUE])}"
    return [f"{queue}_{name}: {number(told[kind])}" for kind, name in COUNTERS.items() if kind in told]


def main() -> None:
    """Print what the kernel tells of an interface's queues: nothing where it tells none."""
    asked = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, NETLINK_GENERIC)
    asked.bind((0, 0))
    interface = struct.pack("=I", _socket.if_nametoindex(sys.argv[1]))
    wishes = attribute(INTERFACE, interface) + attribute(SCOPE, struct.pack("=I", BY_QUEUE))
    try:
        (family,) = ask(asked, CONTROL, GET_FAMILY, 0, attribute(FAMILY_NAME, b"netdev\0"))
        for told in ask(asked, number(family[FAMILY_ID]), GET_QUEUE_STATISTICS, DUMP, wishes):
            print(*lines(told), sep="\n")
    except OSError as error:
        if error.errno not in LACKING:
            raise


if __name__ == "__main__":
    main()
