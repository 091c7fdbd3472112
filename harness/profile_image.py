"""What a guest boots from, as a profile says it: a built Linux image, a kernel, firmware, a disk, a CD or a floppy."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Discriminator,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from harness import yaml_source
from harness.yaml_source import DirectoryIn, Facts, FileIn, Text

Suite = Literal["bullseye", "bookworm", "trixie", "sid"]


class BuiltImage(Facts):
    """A Linux image built from a Debian suite, with that suite's kernel or one of the user's own."""

    suite: Suite
    kernel: FileIn | None = None
    """vmlinux or bzImage."""
    modules: DirectoryIn | None = None
    """The kernel's `lib/modules/RELEASE`; without it, everything must be built into the kernel."""
    drivers: Mapping[Text, FileIn] = {}
    """Modules (.ko) by name that take the place of the kernel's own."""

    @model_validator(mode="after")
    def _modules_have_a_kernel(self) -> "BuiltImage":
        if self.modules and not self.kernel:
            yaml_source.refuse("image", [(("modules",), "belongs to a kernel; add image.kernel")])
        return self


class KernelImage(Facts):
    """A kernel, or firmware that boots like one, with an optional initrd."""

    package: Text | None = None
    """The Debian package that holds the kernel, if it is no file of the user's own."""
    suite: Suite = "trixie"
    """Where the package comes from."""
    kernel: Path
    """A file; with `package`, the path in that package (`usr/lib/ipxe/ipxe.lkrn`)."""
    initrd: FileIn | None = None
    script: Text | None = None
    """Text to be given as the initrd."""

    @field_validator("kernel", mode="before")
    @classmethod
    def _kernel_relative_to_its_file(cls, kernel: object, info: ValidationInfo) -> object:
        return _relative_to_its_file(kernel, info)

    @field_validator("kernel")
    @classmethod
    def _kernel_exists(cls, kernel: Path, info: ValidationInfo) -> Path:
        return _exists(kernel, info)

    @model_validator(mode="after")
    def _one_initrd(self) -> "KernelImage":
        if self.initrd and self.script:
            yaml_source.refuse("image", [(("script",), "takes the place of the initrd; allowed: one of the two")])
        return self


class RomImage(Facts):
    """Firmware that takes the place of the machine's own, with all that it does at the reset vector."""

    package: Text | None = None
    """The Debian package that holds the ROM, if it is no file of the user's own."""
    suite: Suite = "trixie"
    """Where the package comes from."""
    rom: Path
    """A file; with `package`, the path in that package (`usr/lib/u-boot/qemu-x86_64/u-boot.rom`)."""

    @field_validator("rom", mode="before")
    @classmethod
    def _rom_relative_to_its_file(cls, rom: object, info: ValidationInfo) -> object:
        return _relative_to_its_file(rom, info)

    @field_validator("rom")
    @classmethod
    def _rom_exists(cls, rom: Path, info: ValidationInfo) -> Path:
        return _exists(rom, info)


def _relative_to_its_file(path: object, info: ValidationInfo) -> object:
    """Return a path of a profile, relative to that file unless it lies in a package."""
    return path if info.data.get("package") else yaml_source.from_file(path)


def _exists(path: Path, info: ValidationInfo) -> Path:
    """Return a path that is a file's, or one that may be a package's."""
    if not info.data.get("package"):
        return yaml_source.is_file(path)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"is '{path}'; allowed: a relative path inside the package {info.data['package']}")
    return path


class DiskImage(Facts):
    """A ready disk that boots by its own loader; it is never written to."""

    disk: FileIn
    format: Literal["qcow2", "raw"]
    bus: Literal["virtio", "ide", "ahci", "lsi53c895a"]
    """Where it is attached; ide: the machine's own controller, which is PIIX IDE on pc and AHCI on q35."""
    user: Text | None = None
    """Whom to log in as; needed with `control: ssh`."""
    key: FileIn | None = None
    """The private SSH key; needed with `control: ssh`."""
    host_key: Text | None = None
    """The guest's public host key (`ssh-ed25519 AAAA...`); without it, the first one seen is trusted."""


class MediumImage(Facts):
    """A CD or a floppy that boots by its own loader; it can only be read."""

    iso: FileIn | None = None
    """A CD's or DVD's content."""
    floppy: FileIn | None = None
    """A floppy's content, all its sectors in order."""

    @model_validator(mode="after")
    def _one_medium(self) -> "MediumImage":
        if self.iso and self.floppy:
            yaml_source.refuse("image", [(("floppy",), "is another medium than iso; allowed: one of the two")])
        return self


class AbsentImage(Facts):
    """What stands for an image that the user has yet to bring; no profile's file has it."""

    absent: Text
    """What is missing, and where it was looked for."""
    cure: Text
    """What to do about it."""


def image_kind(fields: Collection[str]) -> str | None:
    """Return the image class that alone has one of these fields, or None."""
    kinds = (
        ("AbsentImage", {"absent"}),
        ("DiskImage", {"disk"}),
        ("MediumImage", {"iso", "floppy"}),
        ("RomImage", {"rom"}),
        ("KernelImage", {"package", "initrd", "script"}),
    )
    for kind, own in kinds:
        if own & set(fields):
            return kind
    return "BuiltImage" if {"modules", "drivers"} & set(fields) else None


def image_class(value: object) -> str:
    """Return the name of the image class that the fields in a file mean, or seem to mean."""
    fields: Collection[str] = value if isinstance(value, Mapping) else ()
    return image_kind(fields) or ("KernelImage" if "kernel" in fields and "suite" not in fields else "BuiltImage")


Image = Annotated[
    Annotated[BuiltImage, Tag("BuiltImage")]
    | Annotated[KernelImage, Tag("KernelImage")]
    | Annotated[RomImage, Tag("RomImage")]
    | Annotated[DiskImage, Tag("DiskImage")]
    | Annotated[MediumImage, Tag("MediumImage")]
    | Annotated[AbsentImage, Tag("AbsentImage")],
    Discriminator(image_class),
]
