"""What the scripts in the guest say on its first serial port, and what is made of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.guest.windows_registry import parse_reg_query


@dataclass(frozen=True)
class Milestone:
    """One line of the scripts'."""

    kind: str
    """"phase", "installed", "done" or "failed"."""
    text: str


# nicproof: phase logon
# nicproof: begin host-key
# ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI... system@NICPROOF
# nicproof: end host-key
# nicproof: installed
def milestones(console: str) -> list[Milestone]:
    """Return the milestones in the order in which they were said."""
    found = re.findall(r"^nicproof: (phase|installed|done|failed)\b *(.*?)\s*$", console, re.MULTILINE)
    return [Milestone(kind, text) for kind, text in found]


def blocks(console: str) -> dict[str, list[str]]:
    """Return the lines of each block, without empty ones; of several with one name the last."""
    found = re.findall(r"^nicproof: begin (\S+)\s*$\n(.*?)^nicproof: end \1\s*$", console, re.MULTILINE | re.DOTALL)
    return {name: [line.rstrip() for line in text.splitlines() if line.strip()] for name, text in found}


@dataclass(frozen=True)
class Bound:
    """A driver that Windows has given to a device."""

    id: str
    """As "VEN_8086&DEV_100E"."""
    service: str | None
    version: str | None
    inf: str | None
    provider: str | None


# `reg query` of Windows XP begins with "! REG.EXE VERSION 3.0" and puts tabs between the columns; later ones, blanks.
# From forum posts and documentation, not verified on a guest yet:
#
# HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Class\{4D36E972-E325-11CE-BFC1-08002BE10318}\0007
#     DriverVersion    REG_SZ    12.19.1.32
#     InfPath    REG_SZ    net1ic64.inf
#     MatchingDeviceId    REG_SZ    PCI\VEN_8086&DEV_10D3
#     ProviderName    REG_SZ    Microsoft
#
# HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Enum\PCI\VEN_8086&DEV_10D3&SUBSYS_00008086&REV_00\3&11583659&0&20
#     Service    REG_SZ    e1i65x64
_ID = re.compile(r"VEN_[0-9A-F]{4}&DEV_[0-9A-F]{4}")


def bound_drivers(said: Mapping[str, list[str]]) -> tuple[Bound, ...]:
    """Return the drivers of PCI devices in the blocks "drivers" and "services", sorted by id."""
    services: dict[str, str] = {}
    for key, values in _keys(said, "services"):
        if "service" in values and (found := _ID.search(key.upper())):
            services[found[0]] = values["service"]
    bound: dict[str, Bound] = {}
    for _, values in _keys(said, "drivers"):
        if found := _ID.search(values.get("matchingdeviceid", "").upper()):
            facts = (values.get("driverversion"), values.get("infpath"), values.get("providername"))
            bound[found[0]] = Bound(found[0], services.get(found[0]), *facts)
    return tuple(bound[name] for name in sorted(bound))


def _keys(said: Mapping[str, list[str]], block: str) -> list[tuple[str, dict[str, str]]]:
    """Return the keys in a block, and the values of each by name in lower case."""
    keys = parse_reg_query("\n".join(said.get(block, ())))
    return [(key, {name.lower(): value for name, value in values.items()}) for key, values in keys.items()]
