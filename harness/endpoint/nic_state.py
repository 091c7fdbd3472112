"""What an interface is set to and what its Linux system has beside it: read whole, and put back.

This file runs in a guest that nicproof built (python3 >= 3.9, nothing of nicproof), beside the endpoint's worker, which
has been there since before the snapshot: to ask it costs a tenth of what the programs cost that would tell the same.
A state is a text by name, so that two can be compared; what only the kernel has to understand stays in hexadecimal.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import time
from contextlib import suppress
from glob import glob

STRUCTURES = {
    "wake events": (0x05, 0x06, 20),
    "message level": (0x07, 0x08, 8),
    "coalescing": (0x0E, 0x0F, 92),
    "rings": (0x10, 0x11, 36),
    "pause": (0x12, 0x13, 16),
    "private flags": (0x27, 0x28, 8),
    "channels": (0x3C, 0x3D, 36),
}
"""ethtool's commands to get and to set, and the octets of what the first gives and the second takes
(include/uapi/linux/ethtool.h)."""
GET_FEATURES, SET_FEATURES = 0x3A, 0x3B
FEATURES = struct.Struct("=II8I")
"""Command and number of words; for each word what is available, wanted, active and never changed."""
WISHES = struct.Struct("=II4I")
"""Command and number of words; for each word what is to be as it is wanted, and what is wanted."""
GET_HASH = 0x46
HASH = struct.Struct("=IIII8x")
"""Command, context, entries of the indirection table, octets of the key; then the function, and what has no meaning."""
GET_PERMANENT_ADDRESS = 0x20
PERMANENT_ADDRESS = struct.Struct("=II6s2x")
"""Command, room for the address in octets, and the address: which a driver may take from what it has been set to."""
SIOCETHTOOL, SIOCGIFADDR, SIOCSIFHWADDR, SIOCDELMULTI = 0x8946, 0x8915, 0x8924, 0x8932
ETHERNET = 1
"""The kind of hardware address (include/uapi/linux/if_arp.h)."""
ROUTES, ROUTES6, ADDRESSES6, GROUPS = (f"/proc/net/{name}" for name in ("route", "ipv6_route", "if_inet6", "dev_mcast"))
SETTLING = {"carrier", "speed", "duplex", ROUTES, ROUTES6, ADDRESSES6, GROUPS}
"""What comes back by itself: the link by negotiation, IPv6 addresses once it is known that nobody else has them."""
LINK_POLL_S, POLL_S = 0.02, 0.1
CONFIGURATION_OCTETS = 256
"""What every PCI function has; behind it a PCI Express function also keeps what it has seen go wrong."""

_threads: set[str] = set()
"""The kernel's own, by number: they have no command line and never get one, and most of what runs is theirs."""


def ethtool(interface: str, request: bytes) -> bytes:
    """Make a request of ethtool's ioctl; return what the kernel made of it, or nothing if the driver refuses."""
    buffer = ctypes.create_string_buffer(request, len(request))
    with suppress(OSError), socket.socket() as asked:
        fcntl.ioctl(asked, SIOCETHTOOL, struct.pack("16sQ16x", interface.encode(), ctypes.addressof(buffer)))
        return buffer.raw
    return b""


def _features(interface: str) -> str:
    return ethtool(interface, FEATURES.pack(GET_FEATURES, 2, *[0] * 8)).hex()


def _want_features(interface: str, before: str) -> None:
    """Want again what was wanted, as far as it can be changed."""
    if before:
        words = FEATURES.unpack(bytes.fromhex(before))[2:]
        wishes = [part for at in (0, 4) for part in (words[at] & ~words[at + 3], words[at + 1])]
        ethtool(interface, WISHES.pack(SET_FEATURES, 2, *wishes))


def _hash(interface: str) -> str:
    """Return the indirection table, the key and the function."""
    sizes = ethtool(interface, HASH.pack(GET_HASH, 0, 0, 0))
    if not sizes:
        return ""
    _, _, entries, key = HASH.unpack(sizes)
    return ethtool(interface, sizes + bytes(4 * entries + key)).hex()


def _text(path: str) -> str:
    with suppress(OSError), open(path) as file:
        return file.read().strip()
    return ""


def _write(path: str, text: str) -> None:
    with suppress(OSError), open(path, "w") as file:
        file.write(text)


def _function(interface: str) -> str:
    """Return the PCI function's folder: the interface's device, or the one that has a virtio device as its part."""
    device = f"/sys/class/net/{interface}/device"
    return device if os.path.exists(f"{device}/config") else f"{device}/.."


def _written(interface: str) -> list[str]:
    """Return the files that are put back by writing them."""
    at, function = f"/sys/class/net/{interface}", _function(interface)
    interrupts = [_text(f"{function}/irq"), *map(os.path.basename, glob(f"{function}/msi_irqs/*"))]
    affinities = [f"/proc/irq/{number}/smp_affinity" for number in interrupts]
    return [f"{at}/mtu", f"{at}/flags", *glob(f"{at}/queues/*/[rx]ps_cpus"), *affinities]


def _rows(path: str, interface: str) -> str:
    """Return the rows about an interface in the kernel's list of multicast addresses, addresses or routes.

    Without what counts references and uses: the seventh and eighth column of IPv6 routes.
    """
    # 3    eth1            1     0     01005e000001
    # fe80000000000000505400fffe6e7001 03 40 20 80     eth1
    # fe80... 40 0000... 00 0000... 00000100 00000001 00000000 00000001     eth1
    rows = (line.split() for line in _text(path).splitlines())
    own = (row[:6] + row[8:] if path == ROUTES6 else row for row in rows if interface in row)
    return "\n".join(sorted(map(" ".join, own)))


def _modules() -> list[str]:
    """Return the modules, the last loaded first, which those loaded before it do not need."""
    return [line.split()[0] for line in _text("/proc/modules").splitlines()]


def _programs() -> str:
    """Return the command lines of all processes but those that a login has."""
    lines = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        if number not in _threads:
            line = _text(f"/proc/{number}/cmdline").replace("\0", " ")
            if not line:
                _threads.add(number)
            elif "dropbear" not in line:
                lines.append(line)
    return "\n".join(sorted(lines))


def read(interface: str) -> dict[str, str]:
    """Return the state of an interface."""
    at = f"/sys/class/net/{interface}"
    state = {path: _text(path) for path in _written(interface)}
    for name, (get, _, octets) in STRUCTURES.items():
        state[name] = ethtool(interface, struct.pack("=I", get) + bytes(octets - 4)).hex()
    state["features"], state["hash"] = _features(interface), _hash(interface)
    state["permanent address"] = ethtool(interface, PERMANENT_ADDRESS.pack(GET_PERMANENT_ADDRESS, 6, b"")).hex()
    for name in ("address", "carrier", "speed", "duplex", "tx_queue_len"):
        state[name] = _text(f"{at}/{name}")
    for path in (ROUTES, ROUTES6, ADDRESSES6, GROUPS):
        state[path] = _rows(path, interface)
    with suppress(OSError), socket.socket() as asked:
        state["IPv4 address"] = fcntl.ioctl(asked, SIOCGIFADDR, struct.pack("16s24x", interface.encode())).hex()
    with open(f"{_function(interface)}/config", "rb") as file:
        state["configuration space"] = file.read(CONFIGURATION_OCTETS).hex()
    state["interfaces"] = " ".join(sorted(os.listdir("/sys/class/net")))
    state["modules"] = " ".join(sorted(_modules()))
    state["programs"] = _programs()
    return state


def run(*command: str) -> None:
    """Run a command; whether it did its work shows in the state."""
    subprocess.run(command, check=False, stderr=subprocess.DEVNULL)


def _write_back(interface: str, before: dict[str, str], now: dict[str, str], changed: list[str]) -> None:
    """Undo what is another than it was, of what can be undone."""
    for extra in set(now["interfaces"].split()) - set(before["interfaces"].split()):
        run("ip", "link", "delete", extra)
    if extra_modules := [name for name in _modules() if name not in before["modules"].split()]:
        run("modprobe", "-q", "-r", *extra_modules)
    for name, (_, put, _) in STRUCTURES.items():
        if name in changed and before[name]:
            ethtool(interface, struct.pack("=I", put) + bytes.fromhex(before[name])[4:])
    if "features" in changed:
        _want_features(interface, before["features"])
    for path in before.keys() & _written(interface) & set(changed):
        _write(path, before[path])
    # eth1 00000000 010200C0 0003 0 0 0 00000000 0 0 0          interface, destination, gateway; an address is a number
    for route in set(before[ROUTES].splitlines()) - set(now[ROUTES].splitlines()):
        _, target, gateway = route.split()[:3]
        if int(target, 16) == 0:  # a closed interface loses it
            via = socket.inet_ntoa(struct.pack("=I", int(gateway, 16)))
            run("ip", "route", "replace", "default", "via", via, "dev", interface)
    # 3 eth1 1 0 01005e000001          index, name, users, users who want it always, address
    groups = [{line.split()[-1] for line in one[GROUPS].splitlines()} for one in (before, now)]
    requests = [(SIOCDELMULTI, 0, group) for group in groups[1] - groups[0]]
    if "address" in changed:
        requests.append((SIOCSIFHWADDR, ETHERNET, before["address"].replace(":", "")))
    with socket.socket() as asked:
        for request, kind, address in requests:
            with suppress(OSError):
                fcntl.ioctl(asked, request, struct.pack("16sH14s8x", interface.encode(), kind, bytes.fromhex(address)))
    if set(_rows(ADDRESSES6, interface).splitlines()) - set(before[ADDRESSES6].splitlines()):
        for off in ("1", "0"):  # the address that is made from the MAC address is made anew when IPv6 comes
            _write(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6", off)


def _differing(before: dict[str, str], now: dict[str, str]) -> list[str]:
    return sorted(name for name in {**before, **now} if before.get(name) != now.get(name))


def put_back(interface: str, before: dict[str, str], deadline_s: float) -> list[str]:
    """Undo what is another than before, and wait for what then comes by itself; return the names of what still is."""
    now = read(interface)
    if not (changed := _differing(before, now)):
        return []
    end = time.monotonic() + deadline_s
    _write_back(interface, before, now, changed)
    while _text(f"/sys/class/net/{interface}/carrier") != before["carrier"] and time.monotonic() < end:
        time.sleep(LINK_POLL_S)
    while SETTLING.issuperset(changed := _differing(before, read(interface))) and changed and time.monotonic() < end:
        time.sleep(POLL_S)
    return changed
