"""Guests that are one file: a kernel or a firmware ROM from a Debian package, or one of the user's own."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from harness.cache import publish
from harness.debian import extract
from harness.errors import InputError
from harness.image import BootImage
from harness.image.content import content_hash, joined_hash
from harness.profile import KernelImage, RomImage

_NEEDS_MIB = 300
_OVMF_SUITE = "trixie"
_OVMF = Path("usr/share/OVMF")
_OVMF_FILES = ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd")
"""The firmware, and its variables: none is set, so Secure Boot is off."""


def _build(image: KernelImage | RomImage, source: Path, into: Path) -> None:
    if image.package:
        with tempfile.TemporaryDirectory(dir=into, prefix="package-") as folder:
            extract(image.suite, [image.package], Path(folder))
            member = Path(folder) / source
            if not member.is_file():
                raise InputError(f"image: the package {image.package} of Debian {image.suite} has no file {source}")
            shutil.copyfile(member, into / "file")
    else:
        shutil.copyfile(source, into / "file")
    if isinstance(image, KernelImage):
        if image.initrd:
            shutil.copyfile(image.initrd, into / "initrd")
        elif image.script:
            (into / "initrd").write_text(image.script)


def firmware_image(image: KernelImage | RomImage) -> BootImage:
    """Return what boots; a package is unpacked at the first call, and taken from the cache afterwards."""
    initrd, script = None, None
    if isinstance(image, KernelImage):
        source, initrd, script = image.kernel, image.initrd, image.script
    else:
        source = image.rom
    parts = [Path(__file__).read_text(), image.suite, image.package or "", str(source), script or ""]
    parts += [content_hash(path) for path in (None if image.package else source, initrd) if path]
    key = joined_hash(parts)
    what = f"{image.package} of Debian {image.suite}" if image.package else str(source)
    needs_mib = _NEEDS_MIB if image.package else 0
    folder = publish("firmware", key, lambda into: _build(image, source, into), what=what, needs_mib=needs_mib)
    file, made = folder / "file", folder / "initrd"
    if isinstance(image, RomImage):
        return BootImage(key=key, rom=file)
    return BootImage(key=key, kernel=file, initrd=made if made.exists() else None)


def with_uefi(image: BootImage) -> BootImage:
    """Return the image with UEFI firmware to boot it: Debian's OVMF, unpacked at the first call.

    Raises:
        NicproofError: it cannot be had.
    """

    def build(into: Path) -> None:
        with tempfile.TemporaryDirectory(dir=into, prefix="package-") as folder:
            extract(_OVMF_SUITE, ["ovmf"], Path(folder))
            for name in _OVMF_FILES:
                shutil.copyfile(Path(folder) / _OVMF / name, into / name)

    key = joined_hash([Path(__file__).read_text(), _OVMF_SUITE, *_OVMF_FILES])
    folder = publish("firmware", key, build, what=f"ovmf of Debian {_OVMF_SUITE}", needs_mib=_NEEDS_MIB)
    code, variables = (folder / name for name in _OVMF_FILES)
    key = joined_hash([image.key, content_hash(code), content_hash(variables)])
    return replace(image, key=key, uefi_code=code, uefi_variables=variables)
