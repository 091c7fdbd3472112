"""What an SSH server offers before any key is exchanged, and why a client and it have nothing in common.

paramiko says only that there is no acceptable algorithm. Old guests have old servers, so a person needs to know which
side lacks what: the server's first packet, which is not encrypted, says what it has (RFC 4253, 7.1).
"""

import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

KINDS = ("key exchange", "host key", "cipher", "MAC")
_KEXINIT = 20
_LONGEST_PACKET = 35000
"""RFC 4253, 6.1."""
_LONGEST_BANNER = 64
"""Lines before the server's version (RFC 4253, 4.2)."""
_CURES = {
    "key exchange": "install a newer SSH server in the guest, with diffie-hellman-group14 or ecdh",
    "host key": "give the server a host key of another kind (ssh-keygen -t rsa or -t ed25519)",
    "cipher": "allow aes128-ctr or aes128-cbc in the server's settings",
    "MAC": "allow hmac-sha2-256 or hmac-sha1 in the server's settings",
}


@dataclass(frozen=True)
class Offer:
    """A server's version and what it offers, by the names in `KINDS`; ciphers and MACs of both directions."""

    version: str
    algorithms: Mapping[str, tuple[str, ...]]


def read_offer(address: tuple[str, int], deadline_s: float) -> Offer:
    """Ask a server what it offers, on a connection of its own.

    Raises:
        OSError: it does not answer.
        ValueError: what answers is no SSH server.
    """
    with socket.create_connection(address, deadline_s) as connection, connection.makefile("rb") as heard:
        connection.sendall(b"SSH-2.0-nicproof\r\n")
        for _ in range(_LONGEST_BANNER):
            version = heard.readline(256).decode("ascii", "replace").strip()
            if version.startswith("SSH-"):
                return Offer(version, parse_kexinit(_packet(heard.read(5), heard.read)))
        raise ValueError("it names no SSH version")


def _packet(head: bytes, read: Callable[[int], bytes]) -> bytes:
    """Return the payload of the unencrypted packet that begins with `head`: length, and length of the padding."""
    if len(head) < 5:
        raise ValueError("it ended before its first packet")
    length, padding = struct.unpack(">IB", head)
    if not padding < length <= _LONGEST_PACKET:
        raise ValueError(f"its first packet has the impossible length {length}")
    body = read(length - 1)
    return body[: length - 1 - padding]


def parse_kexinit(payload: bytes) -> dict[str, tuple[str, ...]]:
    """Read SSH_MSG_KEXINIT: a number, a cookie of 16 octets, and ten lists of names (RFC 4253, 7.1).

    Raises:
        ValueError: it is none.
    """
    if payload[:1] != bytes([_KEXINIT]):
        raise ValueError("its first packet is no KEXINIT")
    lists: list[tuple[str, ...]] = []
    at = 17
    while len(lists) < 10:
        (length,) = struct.unpack_from(">I", payload, at) if at + 4 <= len(payload) else (-1,)
        if not 0 <= length <= len(payload) - at - 4:
            raise ValueError("its KEXINIT ends too early")
        names = payload[at + 4 : at + 4 + length].decode("ascii", "replace")
        lists.append(tuple(name for name in names.split(",") if name))
        at += 4 + length
    kex, keys, cipher_to, cipher_from, mac_to, mac_from = lists[:6]
    both = {"cipher": (cipher_to, cipher_from), "MAC": (mac_to, mac_from)}
    common = {kind: tuple(name for name in to if name in back) for kind, (to, back) in both.items()}
    return {"key exchange": kex, "host key": keys, **common}


def nothing_in_common(
    offer: Offer, known: Mapping[str, Sequence[str]], disabled: Mapping[str, Sequence[str]], client: str
) -> str | None:
    """Return in what server and client have nothing in common, which side lacks what, and the cure; None: in nothing.

    Args:
        offer: the server's.
        known: what the client knows, by the names in `KINDS`.
        disabled: what the profile has taken away of that.
        client: who the client is, with its version.
    """
    said = []
    for kind in KINDS:
        offered = offer.algorithms[kind]
        usable = [name for name in known[kind] if name not in disabled.get(kind, ())]
        if set(usable) & set(offered):
            continue
        if taken := [name for name in offered if name in known[kind]]:
            cure = f"the profile's ssh.disabled_algorithms takes {', '.join(taken)} away: remove it there"
        elif kind == "host key" and set(offered) <= {"ssh-dss"}:
            cure = f"DSA is in no supported client any more: {_CURES[kind]}"
        elif "ssh-rsa" in offered or any(name.endswith("-sha1") for name in offered):
            cure = f"paramiko 5 dropped what needs SHA-1: install paramiko>=4,<5, or {_CURES[kind]}"
        else:
            cure = _CURES[kind]
        mine, theirs = ", ".join(usable) or "none", ", ".join(offered) or "none"
        said.append(f"no common {kind}: the server ({offer.version}) has {theirs}; {client} has {mine}; {cure}")
    return "; ".join(said) or None
