"""Two hosts with a cable between them and an SSH server each: Debian's programs in network namespaces of their own.

A host is a process that holds the namespaces. Its SSH server is started for each connection, by whoever listens on
loopback in its place: so nothing but the cable is in the host's own network.
"""

import os
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from harness.image.keys import GuestKeys, guest_keys
from harness.image.root import debian_root

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make hosts of network namespaces")
_START = """
mount --bind /dev {root}/dev && mount -t proc proc {root}/proc && mount -t sysfs sysfs {root}/sys &&
echo there && exec chroot {root} sleep infinity
"""


def unpack_debian(into: Path) -> Path:
    """Unpack the guests' Debian, with our keys, for hosts to live in."""
    tar = debian_root("trixie", with_kernel=True)
    subprocess.run(["tar", "-x", "-f", str(tar), "-C", str(into), "--exclude=./dev/*"], check=True)
    keys = guest_keys()
    (into / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    (into / "root/.ssh/authorized_keys").write_text(f"{keys.authorized}\n")
    (into / "host_key").write_bytes(keys.host.read_bytes())
    (into / "host_key").chmod(0o600)
    return into


@dataclass
class Host:
    """A host; `place` is how nicproof's options name its interface."""

    interface: str
    holder: "subprocess.Popen[bytes]"
    keys: GuestKeys
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @classmethod
    def start(cls, root: Path, interface: str) -> Self:
        """Start a host in the tree `root`, not yet with an interface."""
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--"]
        holder = subprocess.Popen([*command, "sh", "-c", _START.format(root=root)], stdout=subprocess.PIPE)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"there\n"
        host = cls(interface, holder, guest_keys())
        threading.Thread(target=host._serve, daemon=True).start()
        return host

    @property
    def pid(self) -> int:
        """The process in the namespaces: the only child of the one that made them."""
        return int(Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()[0])

    @property
    def _enter(self) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "--net", "--mount", "--pid", "--root", "--wd"]

    def run(self, *command: str) -> None:
        """Run a program of the host's."""
        subprocess.run([*self._enter, *command], check=True, stdout=subprocess.DEVNULL)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                subprocess.Popen(
                    [*self._enter, "dropbear", "-i", "-s", "-r", "/host_key"],
                    stdin=connection.fileno(),
                    stdout=connection.fileno(),
                    stderr=subprocess.DEVNULL,
                )

    def place(self, **other: str) -> str:
        """Return the option's value; `other` replaces fields of it."""
        port = self.listener.getsockname()[1]
        fields = {"interface": self.interface, "key": str(self.keys.client), "host_key": self.keys.host_public, **other}
        return f"ssh://root@127.0.0.1:{port}?" + "&".join(f"{name}={value}" for name, value in fields.items())

    def close(self) -> None:
        """End the host and all that runs in it."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.holder.kill()
        self.holder.communicate()


def connect(one: Host, other: Host) -> None:
    """Put a cable between the interfaces of two hosts."""
    here, there = ([host.interface, "netns", str(host.pid)] for host in (one, other))
    subprocess.run(["ip", "link", "add", *here, "type", "veth", "peer", "name", *there], check=True)
    for host in (one, other):  # a veth pair says that it fills in checksums, and hands frames over without them
        host.run("ethtool", "-K", host.interface, "tx", "off")
