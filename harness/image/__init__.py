"""Guest images: what a profile's `image` becomes, ready for QEMU."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ImageAbsent

if TYPE_CHECKING:
    from harness.profile import Profile


@dataclass(frozen=True, kw_only=True)
class BootImage:
    """Files that QEMU boots a guest from. They are shared between runs and never written to."""

    kernel: Path | None = None
    """For `-kernel`; None: the disk boots by its own loader."""
    initrd: Path | None = None
    disk: Path | None = None
    """The guest's disk; a built Linux image finds its root on the first virtio-blk disk."""
    disk_format: str = "raw"
    """"raw" or "qcow2"."""
    append: str = ""
    """Kernel command line that the image needs or is fastest with; the profile's own follows."""
    key: str
    """Hash of all that the image is."""
    kernel_release: str | None = None
    """What `uname -r` will say, where it is known before the boot."""
    ssh_key: Path | None = None
    """The private key that the guest lets in."""
    host_key: str | None = None
    """The guest's public host key, "ssh-ed25519 AAAA..."."""
    user: str = "root"
    """Whom to log in as."""
    rom: Path | None = None
    """Firmware in the place of the machine's own."""
    iso: Path | None = None
    """A CD's content."""
    floppy: Path | None = None
    """A floppy's content."""
    uefi_code: Path | None = None
    """UEFI firmware, without its variables."""
    uefi_variables: Path | None = None
    """The variables with which it starts, to be copied: it writes to them."""


def build_image(profile: "Profile") -> BootImage:
    """Return what the profile's guest boots from; built at the first call, from the cache afterwards.

    Raises:
        ImageAbsent: the user has yet to bring it.
        InputError: the profile's kernel, modules or files cannot be used, or a tool is not installed.
        NicproofError: the build failed: no network, no disk...
    """
    from harness.image import disk, firmware, linux
    from harness.profile import AbsentImage, BuiltImage, KernelImage, MediumImage, RomImage

    image = profile.image
    if isinstance(image, AbsentImage):
        raise ImageAbsent(image.absent, image.cure)
    if isinstance(image, BuiltImage):
        return linux.linux_image(image)
    if isinstance(image, KernelImage | RomImage):
        found = firmware.firmware_image(image)
    elif isinstance(image, MediumImage):
        found = disk.medium_image(image)
    else:
        found = disk.disk_image(image)
    return firmware.with_uefi(found) if profile.machine.firmware == "uefi" else found
