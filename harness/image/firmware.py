"""Guests that are one kernel-like file: firmware from a Debian package, or a kernel and initrd of the user's own."""

import shutil
import tempfile
from pathlib import Path

from harness.cache import publish
from harness.debian import extract
from harness.errors import InputError
from harness.image import BootImage
from harness.image.content import content_hash, joined_hash
from harness.profile import KernelImage

_NEEDS_MIB = 300


def _build(image: KernelImage, into: Path) -> None:
    if image.package:
        with tempfile.TemporaryDirectory(dir=into, prefix="package-") as folder:
            extract(image.suite, [image.package], Path(folder))
            member = Path(folder) / image.kernel
            if not member.is_file():
                raise InputError(
                    f"image kernel: the package {image.package} of Debian {image.suite} has no file {image.kernel}"
                )
            shutil.copyfile(member, into / "kernel")
    else:
        shutil.copyfile(image.kernel, into / "kernel")
    if image.initrd:
        shutil.copyfile(image.initrd, into / "initrd")
    elif image.script:
        (into / "initrd").write_text(image.script)


def firmware_image(image: KernelImage) -> BootImage:
    """Return what boots; a package is unpacked at the first call, and taken from the cache afterwards."""
    parts = [Path(__file__).read_text(), image.suite, image.package or "", str(image.kernel), image.script or ""]
    parts += [content_hash(path) for path in (None if image.package else image.kernel, image.initrd) if path]
    key = joined_hash(parts)
    source = f"{image.package} of Debian {image.suite}" if image.package else str(image.kernel)
    folder = publish(
        "firmware", key, lambda into: _build(image, into), what=source, needs_mib=_NEEDS_MIB if image.package else 0
    )
    initrd = folder / "initrd"
    return BootImage(
        kernel=folder / "kernel",
        initrd=initrd if initrd.exists() else None,
        disk=None,
        disk_format="raw",
        append="",
        key=key,
        kernel_release=None,
        ssh_key=None,
        host_key=None,
        user="root",
    )
