"""Linux kernels as QEMU boots them fastest: uncompressed, through the PVH entry point.

Distributions ship a bzImage, whose own decompression costs seconds under emulation. Its payload is the ELF file that
the kernel's build made (Documentation/arch/x86/boot.rst, `payload_offset`), so nothing but decompression is needed.
"""

import bz2
import lzma
import re
import struct
import zlib
from collections.abc import Callable

import zstandard

from harness.errors import InputError


def _unzstd(data: bytes) -> bytes:
    # The frame names no content size, and the payload ends with four bytes that are no part of it.
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def _unxz(data: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(data)


def _gunzip(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(data)


def _bunzip2(data: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(data)


_PAYLOADS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\xfd7zXZ\0", _unxz),
    (b"\x28\xb5\x2f\xfd", _unzstd),
    (b"\x1f\x8b\x08", _gunzip),
    (b"BZh", _bunzip2),
    (b"\x5d\0\0", _unxz),
)
"""First bytes of a payload, and what unpacks it. LZ4 and LZO have no reader here."""


def unpacked(data: bytes, source: str) -> bytes:
    """Return what `data`, a kernel or a module, is when decompressed; an ELF file as it is.

    Raises:
        InputError: naming `source`: it is damaged, or compressed in a way that has no reader here.
    """
    if data.startswith(b"\x7fELF"):
        return data
    for first_bytes, unpack in _PAYLOADS:
        if data.startswith(first_bytes):
            try:
                return unpack(data)
            except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
                raise InputError(f"{source}: the compressed content is damaged: {error}") from None
    raise InputError(f"{source}: compressed in an unknown way (starts {data[:4].hex()}); give it uncompressed")


_PT_NOTE = 4
_XEN_ELFNOTE_PHYS32_ENTRY = 18


def has_pvh_entry(elf: bytes) -> bool:
    """Tell whether a 64-bit ELF kernel carries the PVH note that QEMU's `-kernel` needs (CONFIG_PVH)."""
    (table,) = struct.unpack_from("<Q", elf, 32)
    entry_size, entries = struct.unpack_from("<HH", elf, 54)
    for header in range(table, table + entry_size * entries, entry_size):
        kind, _, start = struct.unpack_from("<IIQ", elf, header)
        (size,) = struct.unpack_from("<Q", elf, header + 32)
        if kind != _PT_NOTE:
            continue
        at = start
        while at + 12 <= start + size:
            name_size, text_size, note = struct.unpack_from("<III", elf, at)
            if note == _XEN_ELFNOTE_PHYS32_ENTRY and elf[at + 12 : at + 16] == b"Xen\0":
                return True
            at += 12 + (name_size + 3 & ~3) + (text_size + 3 & ~3)
    return False


def uncompressed_kernel(data: bytes, source: str) -> bytes:
    """Return the ELF kernel with a PVH entry that `data`, a vmlinux or a bzImage, is or holds.

    Args:
        data: the whole file.
        source: the file as the user knows it, for messages.

    Raises:
        InputError: it is no x86 Linux kernel, is compressed in a way that has no reader here, or has no PVH entry.
    """
    elf = data
    if data[0x202:0x206] == b"HdrS":
        setup_sectors = data[0x1F1] or 4
        offset, length = struct.unpack_from("<II", data, 0x248)
        start = (setup_sectors + 1) * 512 + offset
        elf = unpacked(data[start : start + length], source)
    if not elf.startswith(b"\x7fELF\x02"):
        raise InputError(f"{source}: neither a bzImage nor a 64-bit vmlinux")
    try:
        pvh = has_pvh_entry(elf)
    except struct.error:
        raise InputError(f"{source}: the vmlinux is cut short") from None
    if not pvh:
        raise InputError(f"{source}: the kernel has no PVH entry; build it with CONFIG_PVH=y")
    return elf


def kernel_release(elf: bytes) -> str | None:
    """Return the release that `uname -r` will say, from the kernel's banner.

    Banner: `Linux version 6.12.107+deb13-amd64 (debian-kernel@lists.debian.org) (x86_64-linux-gnu-gcc-14 ...`
    """
    found = re.search(rb"Linux version (\S+) \(", elf)
    return found[1].decode() if found else None
