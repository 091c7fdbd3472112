"""Guests that are a ready disk of the user's own: passed through as it is."""

from harness.image import BootImage
from harness.image.content import content_hash
from harness.profile import DiskImage


def disk_image(image: DiskImage) -> BootImage:
    """Return the disk and how to log in to it.

    The key is the disk's content: the same disk under another name has the same snapshots.
    """
    return BootImage(
        kernel=None,
        initrd=None,
        disk=image.disk,
        disk_format=image.format,
        append="",
        key=content_hash(image.disk)[:24],
        kernel_release=None,
        ssh_key=image.key,
        host_key=image.host_key,
        user=image.user or "root",
    )
