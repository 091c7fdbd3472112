"""A floppy disk with a few files: where Setup of Windows XP looks for its answers.

FAT12 as on every 1.44 MB disk (Microsoft, "FAT: General Overview of On-Disk Format", 1.03). pyfatfs would need `fs`,
which no longer works with a current setuptools.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

_SECTOR = 512
_SECTORS = 2880
_FAT_SECTORS = 9
_ROOT_ENTRIES = 224
_FIRST_DATA = 1 + 2 * _FAT_SECTORS + _ROOT_ENTRIES * 32 // _SECTOR
_END = 0xFFF
_DATE = (2001 - 1980) << 9 | 10 << 5 | 25
"""Any date will do; the same files make the same disk."""


def _boot_sector() -> bytes:
    fields = (_SECTOR, 1, 1, 2, _ROOT_ENTRIES, _SECTORS, 0xF0, _FAT_SECTORS, 18, 2, 0, 0)
    parameters = struct.pack("<HBHBHHBHHHII", *fields)
    extended = struct.pack("<BBBI11s8s", 0, 0, 0x29, 0x4E494350, b"NICPROOF   ", b"FAT12   ")
    # int 18h: this disk does not boot
    return (b"\xeb\x3c\x90NICPROOF" + parameters + extended + b"\xcd\x18").ljust(510, b"\0") + b"\x55\xaa"


def write_floppy(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the disk.

    Args:
        path: the image to make.
        files: by name, of 8 and 3 capital letters and digits at most; all of them fit.
    """
    clusters = [0xFF0, _END]
    entries, data = b"", b""
    for name, content in files.items():
        stem, _, extension = name.partition(".")
        count = max(1, -(-len(content) // _SECTOR))
        first = len(clusters)
        clusters += [*range(first + 1, first + count), _END]
        entries += struct.pack(
            "<8s3sB10xHHHI",
            stem.ljust(8).encode(),
            extension.ljust(3).encode(),
            0x20,
            0,
            _DATE,
            first,
            len(content),
        )
        data += content.ljust(count * _SECTOR, b"\0")
    packed = sum(value << 12 * number for number, value in enumerate(clusters))
    fat = packed.to_bytes(_FAT_SECTORS * _SECTOR, "little")
    disk = _boot_sector() + 2 * fat + entries.ljust(_ROOT_ENTRIES * 32, b"\0") + data
    path.write_bytes(disk.ljust(_SECTORS * _SECTOR, b"\0"))
