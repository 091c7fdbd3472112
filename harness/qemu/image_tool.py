"""qemu-img: disks made, changed and copied by the program that comes with a QEMU."""

import os
import subprocess

from harness.errors import NicproofError
from harness.qemu.binary import Qemu

_DEADLINE_S = 1800.0


class ImageToolFailed(NicproofError):
    """qemu-img did not do what it was told."""


def image_tool(qemu: Qemu, *arguments: str) -> None:
    """Run qemu-img.

    Raises:
        InputError: this QEMU came without it.
        ImageToolFailed: it failed, with its own words.
    """
    command = ["setpriv", "--pdeathsig", "KILL", "--", *qemu.img_argv, *arguments]
    ran = subprocess.run(
        command,
        env={**os.environ, **qemu.env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_DEADLINE_S,
        check=False,
    )
    if ran.returncode:
        words = ran.stderr.strip().splitlines()
        raise ImageToolFailed(f"qemu-img {arguments[0]} failed: {words[-1] if words else 'without a word'}")
