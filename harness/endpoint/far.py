"""A far station on another host: an interface there, reached over SSH, is the far end of the DUT's cable.

The worker on that host sends and hears; here it is a socket like the one that a QEMU has, so that a `Cable` on it, and
all that speaks through a cable, works unchanged. Frames cross many at a time: a flood costs a message for each
`BATCH` frames, not one for each.
"""

import shlex
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from harness.endpoint.cable import LONGEST_FRAME
from harness.endpoint.remote import WorkerConnection
from harness.endpoint.worker import join_frames, split_frames
from harness.errors import InputError, NicproofError
from harness.guest.ssh import Ssh

BATCH = 256
"""Frames in one message at the most."""
_LISTENING_S = 1.0
"""How long one question for frames waits on the far host: so long may it take to end a station."""

_PREPARE = """
nic={interface}
at=/proc/sys/net/ipv6/conf/$nic/disable_ipv6
test -e /sys/class/net/$nic || {{ echo "there is no such interface" >&2; exit 1; }}
used=$(ip -o -4 address show dev $nic) || exit
test -z "$used" || {{ echo "the host uses it: $used: ip address flush dev $nic" >&2; exit 1; }}
if test -e $at; then echo 1 >$at || exit; fi
for feature in gro lro rxvlan txvlan; do ethtool -K $nic $feature off >/dev/null 2>&1; done
most=$(ip -d link show dev $nic | sed -n 's/.* maxmtu \\([0-9]*\\) .*/\\1/p')
if test "${{most:-0}}" -gt 1500; then ip link set $nic mtu $most || exit; fi
ip link set $nic up || exit
timeout 15 sh -c "until grep -q 1 /sys/class/net/$nic/carrier 2>/dev/null; do sleep 0.1; done" && exit
echo "it has no link: is the cable plugged, and the DUT's interface up?" >&2; exit 1
"""
"""In braces: the interface. A maximum of 0 is none (dummy, some virtual interfaces)."""


class FarStation:
    """An interface of another host.

    Attributes:
        socket: for a `Cable`: what is sent on it leaves the interface, and what arrives there is received.
    """

    def __init__(self, sending: WorkerConnection, hearing: WorkerConnection, interface: str) -> None:
        """Take over an interface that nothing else on its host uses.

        Args:
            sending: to a worker there.
            hearing: to the same or another one, for questions that wait for frames.
            interface: its name.

        Raises:
            EndpointError: the worker cannot open it.
        """
        self._sending, self._hearing, self._interface = sending, hearing, interface
        self._capture: int = hearing.ask("capture", interface=interface, promiscuous=True)[0]["capture"]
        sending.ask("send", interface=interface)  # opens its socket there: a refusal comes now
        self.socket, self._inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=loop, name=f"far station {interface}", daemon=True)
            for loop in (self._send, self._hear)
        ]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        with suppress(NicproofError, OSError):  # the host is gone: what waits for an answer says so
            while frame := self._inside.recv(LONGEST_FRAME):
                frames = [frame]
                with suppress(BlockingIOError):
                    while len(frames) < BATCH and (frame := self._inside.recv(LONGEST_FRAME, socket.MSG_DONTWAIT)):
                        frames.append(frame)
                self._sending.ask("send", join_frames(frames), patience_s=60.0, interface=self._interface)

    def _hear(self) -> None:
        with suppress(NicproofError, OSError):
            while not self._closing.is_set():
                _, heard = self._hearing.ask(
                    "take", patience_s=_LISTENING_S, capture=self._capture, deadline_s=_LISTENING_S
                )
                for frame in split_frames(heard):
                    self._inside.send(frame)

    def close(self) -> None:
        """Let go of the interface; the cable on the socket is to be closed first."""
        self._closing.set()
        with suppress(OSError):
            self._inside.shutdown(socket.SHUT_RDWR)
        self._hearing.close()
        self._sending.close()
        for thread in self._threads:
            thread.join(5)
        self._inside.close()
        self.socket.close()


def far_station(ssh: Ssh, interface: str, connect: Callable[[], WorkerConnection]) -> FarStation:
    """Make an interface of a Linux host the far end of a cable, and stand at it.

    What its stack would answer, merge or strip by itself is switched off: it speaks no IP there, and every frame is as
    it was on the cable.

    Args:
        ssh: a connection to the host.
        interface: its name; it must have no IPv4 address, as nothing else may use it.
        connect: makes a connection to a worker there.

    Raises:
        InputError: the host uses the interface itself, or has no such interface.
        EndpointError: the worker cannot open it.
    """
    prepared = ssh.run(_PREPARE.format(interface=shlex.quote(interface)))
    if prepared.status:
        said = (prepared.stderr.strip() or prepared.stdout.strip() or "no word").splitlines()
        raise InputError(f"{interface} cannot be the far end of the DUT's cable: {said[-1]}")
    return FarStation(connect(), connect(), interface)
