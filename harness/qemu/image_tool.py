"""qemu-img: disks made, changed and copied by the program that comes with a QEMU."""

from harness.errors import NicproofError
from harness.qemu.binary import Qemu, last_line, run_program

_DEADLINE_S = 1800.0


class ImageToolFailed(NicproofError):
    """qemu-img did not do what it was told."""


def image_tool(qemu: Qemu, *arguments: str) -> None:
    """Run qemu-img.

    Raises:
        InputError: this QEMU came without it.
        ImageToolFailed: it failed, with its own words.
    """
    command = ("setpriv", "--pdeathsig", "KILL", "--", *qemu.img_argv, *arguments)
    try:
        ran = run_program(command, qemu.env, deadline_s=_DEADLINE_S)
    except NicproofError as error:
        raise ImageToolFailed(f"qemu-img {arguments[0]} failed: {error}") from None
    if ran.returncode:
        raise ImageToolFailed(f"qemu-img {arguments[0]} failed: {last_line(ran.stderr) or 'without a word'}")
