"""Guests that are a ready disk, CD or floppy of the user's own: passed through as it is."""

from harness.image import BootImage
from harness.image.content import content_hash
from harness.profile import DiskImage, MediumImage


def disk_image(image: DiskImage) -> BootImage:
    """Return the disk and how to log in to it.

    The key is the disk's content: the same disk under another name has the same snapshots.
    """
    return BootImage(
        key=content_hash(image.disk)[:24],
        disk=image.disk,
        disk_format=image.format,
        ssh_key=image.key,
        host_key=image.host_key,
        user=image.user or "root",
    )


def medium_image(image: MediumImage) -> BootImage:
    """Return the CD or floppy, keyed by its content as a disk is."""
    (medium,) = (path for path in (image.iso, image.floppy) if path)
    return BootImage(key=content_hash(medium)[:24], iso=image.iso, floppy=image.floppy)
