"""What is known of a disk takes the place of what its profile supposes: its build's card, and the doctor's record."""

import codecs
from pathlib import Path
from typing import Annotated, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from harness.errors import InputError
from harness.profile import Profile
from harness.profile_image import DiskImage

Known = TypeVar("Known", bound=BaseModel)


def card_file(disk: Path) -> Path:
    """Return where the card of an image that nicproof has built is: beside it."""
    return disk.with_name(f"{disk.name}.json")


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


class _Ssh(BaseModel):
    host_key: str | None = None


class _Card(BaseModel):
    """The part of a card that a profile supposes otherwise; harness/image/windows/card.py makes all of it."""

    profile: str
    ssh: _Ssh | None = None
    nics_without_driver: dict[str, str] = {}


def _read(file: Path, kind: type[Known], what: str, cure: str) -> Known:
    """Read a file beside a disk; JSON is YAML too.

    Raises:
        InputError: it is no such file.
    """
    try:
        return kind.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise InputError(f"{file}: is no {what} ({str(error).splitlines()[0]}); {cure}") from None


def with_card(profile: Profile, image: DiskImage) -> Profile:
    """Return the profile with the image's own SSH host key, and with the NICs that it has no driver of.

    Args:
        profile: of a guest on a disk of the user's.
        image: that disk.

    Raises:
        InputError: the file beside the disk is no card.
    """
    file = card_file(image.disk)
    if not file.is_file():
        return profile
    card = _read(file, _Card, "card of nicproof image build", "remove it or build the image anew")
    if card.ssh is not None and card.ssh.host_key and image.host_key is None:
        image = image.model_copy(update={"host_key": card.ssh.host_key})
    undriven = {name: f"the image has no driver of it: {why}" for name, why in card.nics_without_driver.items()}
    return profile.model_copy(update={"image": image, "undriven": undriven})


def with_recorded(profile: Profile, disk: Path) -> Profile:
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
    record = _read(file, _Record, "record of nicproof doctor --guest", "remove it or make it anew")
    nics = dict(profile.nics)
    for cell_id, nic in record.nics.items():
        name, driver = (*cell_id.split("/"), "")[1], nic.known.driver.name
        if name in nics and driver and driver not in nics[name].drivers:
            nics[name] = nics[name].model_copy(update={"drivers": (*nics[name].drivers, driver)})
    return profile.model_copy(update={"nics": nics, "encoding": _encoding(record.system.known.code_page, profile)})


def _encoding(code_page: str, profile: Profile) -> str:
    """Return Python's name of a code page, such as 850; the profile's own encoding if it has none or none was told."""
    name = {"65001": "utf-8"}.get(code_page, f"cp{code_page}")
    try:
        codecs.lookup(name)
    except LookupError:
        return profile.encoding
    return name
