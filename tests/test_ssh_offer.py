"""What is said when an old SSH server and we have no algorithm in common: which side lacks what, and the cure."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import paramiko
import pytest

from harness.errors import InputError
from harness.guest.ssh import Ssh, SshError
from harness.guest.ssh_offer import KINDS, Offer, nothing_in_common, parse_kexinit, read_offer
from tests.windows import Server

Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "key"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(file))
    return file


@pytest.fixture
def serve(key: Path) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(**only: tuple[str, ...]) -> Server:
        pair = paramiko.RSAKey(filename=str(key))
        servers.append(Server(None, pair, pair, only).start())
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def connect(server: Server, key: Path, **disabled: list[str]) -> Ssh:
    return Ssh(server.address, user="Administrator", key=key, host_key=None, disabled_algorithms=disabled)


def test_what_a_server_offers_is_read_from_its_first_packet(serve: Serve) -> None:
    server = serve(kex=("diffie-hellman-group14-sha1",), ciphers=("aes128-cbc", "3des-cbc"), digests=("hmac-md5",))
    offer = read_offer(server.address, 20)
    assert offer.version.startswith("SSH-2.0-paramiko_")
    assert set(offer.algorithms) == set(KINDS)
    assert "diffie-hellman-group14-sha1" in offer.algorithms["key exchange"]
    assert "ssh-rsa" in offer.algorithms["host key"]
    assert (offer.algorithms["cipher"], offer.algorithms["MAC"]) == (("aes128-cbc", "3des-cbc"), ("hmac-md5",))


def test_an_old_server_is_logged_in_to(serve: Serve, key: Path) -> None:
    server = serve(kex=("diffie-hellman-group1-sha1",), key_types=("ssh-rsa",), ciphers=("3des-cbc",))
    connect(server, key).close()


@pytest.mark.parametrize(
    ("kind", "name", "algorithm", "said"),
    [
        ("kex", "key exchange", "diffie-hellman-group14-sha1", "no common key exchange: the server (SSH-2.0-paramiko_"),
        ("ciphers", "cipher", "aes128-cbc", "no common cipher: the server (SSH-2.0-paramiko_"),
        ("macs", "MAC", "hmac-md5", "no common MAC: the server (SSH-2.0-paramiko_"),
    ],
)
def test_what_the_profile_takes_away_is_named_when_nothing_else_is_left(
    serve: Serve, key: Path, kind: str, name: str, algorithm: str, said: str
) -> None:
    attribute = {"macs": "digests"}.get(kind, kind)
    server = serve(**{attribute: (algorithm,)})
    connect(server, key).close()
    with pytest.raises(SshError) as refused:
        connect(server, key, **{kind: [algorithm]})
    (line,) = str(refused.value).splitlines()
    assert said in line
    assert f"ssh.disabled_algorithms takes {algorithm} away: remove it there" in line
    assert f"paramiko {paramiko.__version__} has " in line


def test_disabled_algorithms_are_not_used(serve: Serve, key: Path) -> None:
    server = serve()
    connection = connect(server, key, pubkeys=["rsa-sha2-512", "rsa-sha2-256"], ciphers=["aes128-ctr"])
    assert connection._transport.local_cipher != "aes128-ctr"
    connection.close()


def test_an_algorithm_that_is_none_is_the_profiles_mistake(serve: Serve, key: Path) -> None:
    with pytest.raises(InputError, match=r"^ssh\.disabled_algorithms: aes128-cbs: no such cipher; nearest: aes128-cbc"):
        connect(serve(), key, ciphers=["aes128-cbs"])


MODERN = {
    "key exchange": ("curve25519-sha256@libssh.org", "diffie-hellman-group14-sha256"),
    "host key": ("ssh-ed25519", "rsa-sha2-256"),
    "cipher": ("aes128-ctr",),
    "MAC": ("hmac-sha2-256",),
}


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        ({"host key": ("ssh-dss",)}, "DSA is in no supported client any more: give the server a host key of another"),
        ({"host key": ("ssh-rsa", "ssh-dss")}, "paramiko 5 dropped what needs SHA-1: install paramiko>=4,<5, or give"),
        ({"key exchange": ("diffie-hellman-group1-sha1",)}, "install paramiko>=4,<5, or install a newer SSH server"),
        ({"cipher": ("arcfour",)}, "the server (SSH-2.0-old) has arcfour; me has aes128-ctr; allow aes128-ctr"),
        ({"MAC": ()}, "no common MAC: the server (SSH-2.0-old) has none; me has hmac-sha2-256; allow hmac-sha2-256"),
    ],
)
def test_each_lack_has_its_cure(offered: Mapping[str, tuple[str, ...]], said: str) -> None:
    """As an OpenSSH before 5.7 or a WinSSHD offers it to a paramiko 5."""
    line = nothing_in_common(Offer("SSH-2.0-old", {**MODERN, **offered}), MODERN, {}, "me")
    assert line is not None
    assert said in line
    assert line.count("no common") == 1


def test_who_has_something_in_common_lacks_nothing() -> None:
    assert nothing_in_common(Offer("SSH-2.0-x", MODERN), MODERN, {}, "me") is None


def packet(*lists: str, number: int = 20) -> bytes:
    texts = b"".join(struct.pack(">I", len(text)) + text.encode() for text in lists)
    return bytes([number]) + bytes(16) + texts


@pytest.mark.parametrize(
    ("payload", "why"),
    [(b"", "no KEXINIT"), (packet("a", number=21), "no KEXINIT"), (packet("a", "b"), "ends too early")],
)
def test_what_is_no_kexinit_is_refused(payload: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_kexinit(payload)


def test_a_cipher_must_do_for_both_directions() -> None:
    read = parse_kexinit(packet("k", "h", "a,b", "b,c", "m", "m,n", "none", "none", "", ""))
    assert read == {"key exchange": ("k",), "host key": ("h",), "cipher": ("b",), "MAC": ("m",)}


@pytest.mark.parametrize(
    ("greeting", "why"),
    [(b"220 smtp\r\n" * 70, "names no SSH version"), (b"SSH-2.0-x\r\n\xff\xff\xff\xff\x04", "impossible length")],
)
def test_what_is_no_ssh_server_is_said(greeting: bytes, why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(greeting)
                connection.recv(64)

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(ValueError, match=why):
            read_offer(listener.getsockname(), 20)
