"""What `nicproof doctor --guest` has recorded beside a disk takes the place of what its profile supposes."""

import codecs
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.profile import Profile


def recorded_file(disk: Path) -> Path:
    """Return where the facts of the guest on a disk are: beside it."""
    return disk.with_name(f"{disk.name}.facts.yaml")


class _Driver(BaseModel):
    name: str = ""


class _OfNic(BaseModel):
    driver: _Driver = _Driver()


class _OfSystem(BaseModel):
    code_page: Annotated[str, BeforeValidator(str)] = Field(default="", alias="code page")


class _Nic(BaseModel):
    known: _OfNic = _OfNic()


class _System(BaseModel):
    known: _OfSystem = _OfSystem()


class _Record(BaseModel):
    """The part of the file that a profile supposes otherwise; harness/guest_facts.py writes all of it."""

    system: _System = _System()
    nics: dict[str, _Nic] = {}


def with_recorded(profile: "Profile", disk: Path) -> "Profile":
    """Return the profile with the guest's code page, and with the drivers that were bound among those accepted.

    Args:
        profile: of a guest on a disk of the user's.
        disk: that disk.

    Raises:
        InputError: the file beside the disk is none of nicproof's.
    """
    file = recorded_file(disk)
    if not file.is_file():
        return profile
    try:
        record = _Record.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        said = str(error).splitlines()[0]
        raise InputError(
            f"{file}: is no record of nicproof doctor --guest ({said}); remove it or make it anew"
        ) from None
    nics = dict(profile.nics)
    for cell_id, nic in record.nics.items():
        name, driver = (*cell_id.split("/"), "")[1], nic.known.driver.name
        if name in nics and driver and driver not in nics[name].drivers:
            nics[name] = nics[name].model_copy(update={"drivers": (*nics[name].drivers, driver)})
    return profile.model_copy(update={"nics": nics, "encoding": _encoding(record.system.known.code_page, profile)})


def _encoding(code_page: str, profile: "Profile") -> str:
    """Return Python's name of a code page, such as 850; the profile's own encoding if it has none or none was told."""
    name = {"65001": "utf-8"}.get(code_page, f"cp{code_page}")
    try:
        codecs.lookup(name)
    except LookupError:
        return profile.encoding
    return name
