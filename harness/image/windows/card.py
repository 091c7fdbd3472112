"""The card beside an image: what is inside, and from what it was made. It holds no secret."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from harness.image.windows.drivers import Drivers
from harness.image.windows.medium import Family, Medium
from harness.image.windows.recipe import Recipe
from harness.image.windows.said import bound_drivers
from harness.qemu.binary import Qemu

VERSION = 1
"""Of the card's form: a new field keeps it, a field that goes or changes its meaning raises it."""


def _value(lines: list[str]) -> str | None:
    return lines[0].strip() if lines else None


def make_card(
    family: Family, medium: Medium, recipe: Recipe, drivers: Drivers, said: Mapping[str, list[str]], qemu: Qemu
) -> dict[str, object]:
    """Return the card; the hash of the medium takes a while.

    Args:
        family: which Windows.
        medium: the user's.
        recipe: how it was installed.
        drivers: what was put in.
        said: the blocks of facts that the guest has told.
        qemu: which QEMU it was installed in.
    """
    hal = [line.split(maxsplit=2)[-1] for line in said.get("hal", ()) if "REG_" in line]
    machine = recipe.machine
    return {
        "version": VERSION,
        "profile": family,
        "windows": medium.title,
        "build": _value(said.get("version", [])),
        "hal": _value(hal),
        "iso": {"file": medium.path.name, "volume_id": medium.volume_id, "sha256": medium.sha256()},
        "drivers_given": [
            {**asdict(package), "inf": package.inf.name, "source": Path(package.source).name}
            for package in drivers.packages
        ],
        "drivers_bound": [asdict(driver) for driver in bound_drivers(said)],
        "nics_without_driver": dict(drivers.missing),
        "ssh": {"user": _value(said.get("user", [])), "host_key": key} if (key := _host_key(said)) else None,
        "machine": {"machine": machine.machine, "cpu": machine.cpu, "cpus": machine.cpus, "disk": "ide"},
        "qemu": str(qemu.version),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _host_key(said: Mapping[str, list[str]]) -> str | None:
    """Return the guest's public host key without its comment."""
    line = _value(said.get("host-key", []))
    return " ".join(line.split()[:2]) if line else None
