"""`nicproof image build winxp|win10`: from the user's medium to a sealed image, in one call that can be repeated."""

import inspect
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import filelock

from harness.errors import InputError, NicproofError
from harness.image.content import content_hash, joined_hash
from harness.image.keys import guest_keys
from harness.image.windows import autounattend, winnt_sif
from harness.image.windows.card import make_card
from harness.image.windows.drivers import Drivers, collect
from harness.image.windows.install import Devices, Installation
from harness.image.windows.media import Media, new_password, write_media
from harness.image.windows.medium import Family, Medium, identify
from harness.image.windows.recipe import Recipe
from harness.qemu.accel import Accel
from harness.qemu.binary import Qemu
from harness.qemu.image_tool import image_tool

_NO_DEVCON = "none, so nobody can ask this XP about its devices: --devcon FILE"
KEY_VARIABLE = "NICPROOF_PRODUCT_KEY"


@dataclass(frozen=True)
class Order:
    """What the user asks for."""

    family: Family
    iso: Path
    output: Path
    virtio_win: Path | None = None
    intel_drivers: Path | None = None
    ssh: Path | None = None
    product_key: Path | None = None
    """A file: a key on the command line would be seen by everybody on the host."""
    devcon: Path | None = None
    """Windows XP: the program that knows its devices, which is not part of it."""


def beside(output: Path, what: str) -> Path:
    """Return a file or folder that belongs to an image: `winxp.qcow2` has `winxp.qcow2.json`."""
    return output.with_name(f"{output.name}.{what}")  # its card where harness.recorded.card_file looks for it


def dry_run(order: Order, recipe: Recipe) -> list[str]:
    """Write the media into a folder beside the image's place, and return the plan.

    Raises:
        InputError: something that was given cannot be used.
    """
    medium = identify(order.iso, order.family)
    key = _product_key(order, recipe)
    folder = beside(order.output, "media")
    if folder.exists():
        raise InputError(f"{folder} is there already: remove it, or give another --output")
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise InputError(f"--output {order.output}: cannot be written: {error.strerror}") from None
    try:
        drivers = collect(order.family, order.virtio_win, order.intel_drivers, folder)
        media = _write(order, medium, drivers, key, new_password(), folder)
        for part in ("NetKVM", "viostor"):
            shutil.rmtree(folder / part, ignore_errors=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return _plan(order, recipe, medium, drivers, media, key)


def build(order: Order, recipe: Recipe, qemu: Qemu, accel: Accel, say: Callable[[str], None]) -> Path:
    """Install, seal and return the image; what an earlier call left unfinished is taken up again.

    Args:
        order: what to build.
        recipe: how.
        qemu: which QEMU.
        accel: how it runs.
        say: takes a line about the progress.

    Raises:
        InputError: something that was given cannot be used.
        InstallFailure: the guest did not come as far as it should.
        NicproofError: no disk space, QEMU failed, or another build of this image is running.
    """
    medium = identify(order.iso, order.family)
    key = _product_key(order, recipe)
    if order.output.exists():
        raise InputError(f"{order.output} is there already: remove it, or give another --output")
    folder = beside(order.output, "build")
    lock = filelock.FileLock(beside(order.output, "lock"), mode=0o600)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise NicproofError(f"another process is building {order.output}") from None
    except OSError as error:
        raise InputError(f"--output {order.output}: cannot be written: {error.strerror}") from None
    try:
        _begin(folder, _made_from(order, recipe, key), recipe)
        work = folder / "drivers"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        drivers = collect(order.family, order.virtio_win, order.intel_drivers, work)
        media = _media(order, medium, drivers, key, folder)
        if order.family == "winxp" and order.ssh and not order.devcon:
            say(f"devcon: {_NO_DEVCON}")
        for name, reason in drivers.missing.items():
            say(f"{name} will have no driver: {reason}")
        devices = Devices(
            medium.path, media.cd, media.floppy, drivers.nics, drivers.has_disk, expected=drivers.expected
        )
        installation = Installation(folder, recipe, devices, qemu, accel, say)
        said = installation.run()
        say("sealing: the image is made compact, the medium is hashed")
        card = make_card(order.family, medium, recipe, drivers, said, qemu)
        whole = folder / "image.qcow2"
        image_tool(qemu, "convert", "-O", "qcow2", str(installation.disk), str(whole))
        _publish(order.output, whole, folder / "password", card)
        shutil.rmtree(folder)
    except InputError:
        if not (folder / "state.json").exists():  # nothing was begun that could be taken up
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        lock.release()
        with suppress(OSError):
            beside(order.output, "lock").unlink()
    return order.output


def exports(family: Family, image: Path) -> dict[str, str]:
    """Return the environment by which the family's profile finds an image, and who may log in to it how."""
    name = f"NICPROOF_{family.upper()}"
    ssh = json.loads(beside(image, "json").read_text())["ssh"]
    login = {f"{name}_KEY": str(beside(image, "key")), f"{name}_USER": str(ssh["user"])} if ssh else {}
    return {f"{name}_IMAGE": str(image), **login}


def _product_key(order: Order, recipe: Recipe) -> str | None:
    if order.product_key:
        source = f"--product-key {order.product_key}"
        try:
            text = order.product_key.read_text()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "is no text"
            raise InputError(f"{source}: {why}; give a file that holds the key") from None
    elif KEY_VARIABLE in os.environ:
        source, text = f"${KEY_VARIABLE}", os.environ[KEY_VARIABLE]
    elif recipe.needs_key:
        raise InputError(
            f"{order.family} needs a product key: --product-key FILE, or {KEY_VARIABLE} in the environment"
        )
    else:
        return None
    key = text.strip().upper()
    if not re.fullmatch(r"[A-Z0-9]{5}(-[A-Z0-9]{5}){4}", key):  # the key itself is not for a log
        raise InputError(f"{source}: is no product key; allowed: five groups of five letters and digits, with hyphens")
    return key


def _made_from(order: Order, recipe: Recipe, key: str | None) -> str:
    """Return a hash of all that decides what the image will be: what is unfinished for another one is of no use."""
    scripts = Path(str(resources.files(__package__))) / "scripts"
    answers = (inspect.getsource(part) for part in (autounattend, winnt_sif))
    parts = [order.family, repr(recipe), key or "", content_hash(scripts), *answers]
    for file in (order.iso, order.virtio_win):
        found = file.stat() if file and file.exists() else None  # what is not there is told when it is read
        parts.append(f"{file} {found.st_size} {found.st_mtime_ns}" if found else "")
    for content in (order.intel_drivers, order.ssh, order.devcon):
        parts.append(content_hash(content) if content and content.exists() else "")
    return joined_hash(parts)


def _begin(folder: Path, made_from: str, recipe: Recipe) -> None:
    """Leave an unfinished build of the same image as it is; else make the folder empty, and check for free disk."""
    note = folder / "made-from"
    if note.exists() and note.read_text() == made_from:
        return
    if (folder / "state.json").exists():  # hours of work, perhaps
        raise InputError(
            f"{folder} holds an unfinished build of something else: give the same options again, remove it, "
            "or give another --output"
        )
    shutil.rmtree(folder)
    free_gib = shutil.disk_usage(folder.parent).free >> 30
    if free_gib < recipe.needs_gib:
        raise NicproofError(
            f"not enough disk: the build needs {recipe.needs_gib} GiB in {folder.parent}, where {free_gib} GiB are "
            "free: free some, or give another --output"
        )
    folder.mkdir(mode=0o700)
    note.write_text(made_from)


def _media(order: Order, medium: Medium, drivers: Drivers, key: str | None, folder: Path) -> Media:
    """Return the media of an unfinished build, or write them: the password on them is that of the disk."""
    done = folder / "media-written"
    if not done.exists():
        password = new_password()
        with open(os.open(folder / "password", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{password}\n")
        media = _write(order, medium, drivers, key, password, folder)
        done.touch()
        return media
    floppy = folder / "answers.img"
    return Media(folder / "answers.iso", floppy if floppy.exists() else None)


def _write(order: Order, medium: Medium, drivers: Drivers, key: str | None, password: str, folder: Path) -> Media:
    return write_media(
        folder,
        order.family,
        medium,
        drivers,
        authorized_key=guest_keys().authorized,
        product_key=key,
        password=password,
        ssh=order.ssh,
        devcon=order.devcon,
    )


def _publish(output: Path, whole: Path, password: Path, card: dict[str, object]) -> None:
    """Put the image and what belongs to it into place, the image last."""
    shutil.copy(guest_keys().client, beside(output, "key"))  # the cache may be emptied
    password.replace(beside(output, "password"))
    card_file = whole.with_name("card.json")
    card_file.write_text(json.dumps(card, indent=1) + "\n")
    card_file.replace(beside(output, "json"))
    whole.chmod(0o444)
    whole.replace(output)


def _plan(order: Order, recipe: Recipe, medium: Medium, drivers: Drivers, media: Media, key: str | None) -> list[str]:
    machine = recipe.machine
    phases = (*recipe.install, recipe.hardware)
    source = "the user's product key" if key else "no product key of the user's"
    return [
        f"medium    {medium.path}: {medium.volume_id}, {medium.title}; {source}",
        f"machine   {machine.machine}, {machine.cpu}, {machine.cpus} processor(s), {machine.memory_mib} MiB, IDE disk",
        *(f"written   {path}" for path in (media.cd, media.floppy) if path),
        *(f"driver    {one.device}: {one.inf.name} {one.version} of {one.source}" for one in drivers.packages),
        *(f"driver    {name}: Windows' own" for name in drivers.inbox),
        *(f"no driver {name}: {reason}" for name, reason in drivers.missing.items()),
        f"SSH       {order.ssh or 'none is installed: --ssh FILE'}",
        *([f"devcon    {order.devcon or _NO_DEVCON}"] if order.family == "winxp" else []),
        *(f"phase     {phase.name}: {phase.what}, at most {phase.deadline_s / 3600:g} h" for phase in phases),
        f"result    {order.output}, with {', '.join(beside(order.output, what).name for what in _COMPANIONS)}",
    ]


_COMPANIONS = ("json", "key", "password")
