"""The SSH keys of all guest images in one cache: made once, shared by every image, so that a rebuild changes none."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from harness.cache import publish
from harness.errors import NicproofError


@dataclass(frozen=True)
class GuestKeys:
    """Who the harness is to the guest, and the guest to the harness."""

    client: Path
    """The harness's private key, OpenSSH format."""
    authorized: str
    """Its public half, as a line of authorized_keys."""
    host: Path
    """The guest's private key, dropbear format."""
    host_public: str
    """Its public half, "ssh-ed25519 AAAA..."."""


def _public_line(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def dropbear_format(key: Ed25519PrivateKey) -> bytes:
    """Return a private key as dropbear keeps it (dropbear, ed25519.c: buf_put_ed25519_priv_key)."""
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return b"".join(struct.pack(">I", len(part)) + part for part in (b"ssh-ed25519", private + public))


def _write(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def make_keys(into: Path) -> None:
    """Make both key pairs in the folder `into`, readable by the owner alone."""
    client, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    _write(into / "client", client.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    _write(into / "client.pub", f"{_public_line(client)} nicproof\n".encode())
    _write(into / "host", dropbear_format(host))
    _write(into / "host.pub", f"{_public_line(host)}\n".encode())


def _check(folder: Path) -> None:
    for name in ("client", "client.pub", "host", "host.pub"):
        if not (folder / name).stat().st_size:
            raise NicproofError(f"{folder / name} is empty")


def guest_keys() -> GuestKeys:
    """Return this cache's keys, made at the first call."""
    folder = publish("keys", "guest", make_keys, what="SSH keys", valid=_check)
    return GuestKeys(
        client=folder / "client",
        authorized=(folder / "client.pub").read_text().strip(),
        host=folder / "host",
        host_public=(folder / "host.pub").read_text().strip(),
    )
