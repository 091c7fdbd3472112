"""Where an endpoint is that the user names: an interface of a host that is reached over SSH."""

import getpass
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import paramiko

from harness.errors import InputError
from harness.guest.ssh import Ssh

_FORM = "ssh://USER@HOST[:PORT]?interface=NAME[&key=FILE][&host_key=TYPE BASE64]"
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True)
class SshPlace:
    """An interface of another host, and the way there."""

    host: str
    port: int
    user: str
    interface: str
    key: Path
    host_key: str
    """The only one that is accepted, such as "ssh-ed25519 AAAA..."."""

    def __str__(self) -> str:
        """Return such as "eth1 of root@lab7"."""
        return f"{self.interface} of {self.user}@{self.host}"

    def connect(self) -> Ssh:
        """Log in.

        Raises:
            SshError: nobody answers, with another key than the recorded one, or we are not let in.
        """
        return Ssh((self.host, self.port), user=self.user, key=self.key, host_key=self.host_key, posix=True)


def parse_place(option: str, wish: str) -> SshPlace:
    """Return what a user means by `ssh://USER@HOST?interface=NAME`.

    Args:
        option: for messages: "--dut".
        wish: what was given.

    Raises:
        InputError: It is malformed, or there is no key for it.
    """
    parts = urlsplit(wish)
    fields = dict(parse_qsl(parts.query.replace("+", "%2B")))  # base64 has plus signs, which are no blanks here
    unknown = sorted(fields.keys() - {"interface", "key", "host_key"})
    if parts.scheme != "ssh" or not parts.hostname or not fields.get("interface") or unknown:
        wrong = f"unknown field {unknown[0]!r}" if unknown else "is no such place"
        raise InputError(f"{option} {wish}: {wrong}; allowed: {_FORM}")
    try:
        port = parts.port or 22
    except ValueError:
        raise InputError(f"{option} {wish}: the port is no number from 1 to 65535; allowed: {_FORM}") from None
    return SshPlace(
        host=parts.hostname,
        port=port,
        user=parts.username or getpass.getuser(),
        interface=fields["interface"],
        key=_key(option, wish, fields.get("key")),
        host_key=fields.get("host_key") or _known_host_key(option, wish, parts.hostname, port),
    )


def _key(option: str, wish: str, named: str | None) -> Path:
    home = Path.home() / ".ssh"
    choices = [Path(named).expanduser().absolute()] if named else [home / name for name in _DEFAULT_KEYS]
    for key in choices:
        if key.is_file():
            return key
    looked = ", ".join(map(str, choices))
    raise InputError(f"{option} {wish}: no private key ({looked}); make one with ssh-keygen, or add &key=FILE")


def _known_host_key(option: str, wish: str, host: str, port: int) -> str:
    """Return the key that the user's known_hosts has for a host: an unknown one is not trusted silently."""
    name = host if port == 22 else f"[{host}]:{port}"
    file = Path.home() / ".ssh" / "known_hosts"
    known = paramiko.HostKeys(str(file)).lookup(name) if file.is_file() else None
    for kind, key in (known or {}).items():
        return f"{kind} {key.get_base64()}"
    raise InputError(
        f"{option} {wish}: {file} has no key of {name}: connect once with ssh, or add &host_key= with the host's "
        "public key"
    )
