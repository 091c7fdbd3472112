"""Guests as somebody else would bring them: a kernel with its modules, and a disk that boots by itself.

Nothing of nicproof is in them: no start script, no key, no endpoint worker. The disk is partitioned: SYSLINUX, kernel
and initial RAM disk on FAT; a writable Debian root on ext2, whose init is busybox.
"""

import hashlib
import inspect
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from harness.cache import publish
from harness.debian import extract
from harness.image.initrd import initrd, load_order, module_name
from harness.image.keys import dropbear_format
from harness.image.root import debian_root

MIB = 1 << 20
SECTOR = 512
BOOT_MIB, ROOT_MIB = 64, 512
BOOT_MODULES = ("crc32c_generic", "virtio_pci", "virtio_blk", "ata_piix", "ahci", "sd_mod", "ext4")
KEPT = (
    *("arch", "crypto", "lib", "net/core", "net/packet"),
    *(f"drivers/{part}" for part in ("char", "dca", "i2c", "net", "pps", "ptp", "virtio")),
)
"""Modules on the root, under kernel/."""

SYSLINUX_CFG = """\
DEFAULT linux
LABEL linux
  LINUX vmlinuz
  INITRD initrd
  APPEND console=ttyS0 quiet no_timer_check
"""

# In the initial RAM disk.
BOOT = """\
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs devtmpfs /dev
while read -r module; do $b insmod "$module"; done </modules
root=
while [ -z "$root" ]; do
    for disk in /dev/vda2 /dev/sda2; do [ -b $disk ] && root=$disk; done
    [ -n "$root" ] || $b usleep 50000
done
$b mount -t ext4 $root /root
$b mount --move /dev /root/dev
exec $b switch_root /root /sbin/init
"""

# On the root.
START = """\
#!/bin/sh
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t tmpfs tmpfs /run
mkdir -p /dev/pts && busybox mount -t devpts devpts /dev/pts
for bus in pci virtio; do cat /sys/bus/$bus/devices/*/modalias | sort -u | xargs modprobe -a -q -b; done
ip link set lo up
for nic in $(ls /sys/class/net | grep -v lo); do
    ip link set $nic up
    busybox udhcpc -q -t 30 -i $nic -s /etc/lease >/dev/null 2>&1
done
date >>/var/log/starts
dropbear -s -r /etc/host_key
"""
LEASE = """\
#!/bin/sh
[ "$1" = bound ] && ip address replace "$ip/$mask" dev "$interface"
"""


@dataclass(frozen=True)
class Kernel:
    """A user's own."""

    release: str
    bzimage: Path
    modules: Path


@dataclass(frozen=True)
class Appliance:
    """A user's disk and how to get in."""

    disk: Path
    """qcow2."""
    key: Path
    host_key: str


def _key(*parts: str) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:24]


def own_kernel() -> Kernel:
    """Return a kernel and `make modules_install`'s output, as somebody who builds a kernel has them."""

    def build(into: Path) -> None:
        unpacked = into / "unpacked"
        extract("bookworm", ["linux-image-amd64", "kmod"], unpacked)
        (modules,) = (unpacked / "lib/modules").iterdir()
        # What no test needs is most of it.
        for unneeded in ("drivers/gpu", "drivers/media", "drivers/net/wireless", "drivers/infiniband", "sound"):
            shutil.rmtree(modules / "kernel" / unneeded)
        libraries = [f"{unpacked}/{place}/x86_64-linux-gnu" for place in ("lib", "usr/lib")]
        loader = [f"{libraries[0]}/ld-linux-x86-64.so.2", "--library-path", ":".join(libraries), "--argv0", "depmod"]
        subprocess.run([*loader, unpacked / "bin/kmod", "-b", unpacked, modules.name], check=True)
        (into / "arch").mkdir()
        (unpacked / f"boot/vmlinuz-{modules.name}").rename(into / "arch/bzImage")
        (into / "lib").mkdir()
        (unpacked / "lib/modules").rename(into / "lib/modules")
        shutil.rmtree(unpacked)

    folder = publish("own-guest", _key(inspect.getsource(own_kernel)), build, what="a kernel of one's own")
    (modules,) = (folder / "lib/modules").iterdir()
    return Kernel(modules.name, folder / "arch/bzImage", modules)


def own_disk(qemu_img: tuple[str, ...]) -> Appliance:
    """Return an appliance's disk; `qemu_img` makes it qcow2."""
    kernel = own_kernel()
    root = debian_root("trixie", with_kernel=False)

    def build(into: Path) -> None:
        tools = _tools(into / "tools")
        host, client = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        (into / "key").touch(mode=0o600)
        (into / "key").write_bytes(client.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        (into / "host_key").write_text(_public(host))
        shutil.copy(root, into / "root.tar")
        with tarfile.open(root) as tar:
            busybox = tar.extractfile("./usr/bin/busybox")
            assert busybox
            ramdisk = _initrd(busybox.read(), kernel)
        with tarfile.open(into / "root.tar", "a") as tar:
            _add(tar, dropbear_format(host), _public(client))
            tar.add(kernel.modules, f"./usr/lib/modules/{kernel.release}", filter=_needed)
        _disk(into, tools, kernel, ramdisk)
        subprocess.run(
            [*qemu_img, "convert", "-f", "raw", "-O", "qcow2", into / "disk.raw", into / "disk.qcow2"], check=True
        )
        for left in ("disk.raw", "root.tar", "root.ext2", "boot.fat"):
            (into / left).unlink()
        shutil.rmtree(into / "tools")

    key = _key(inspect.getsource(sys.modules[__name__]), root.parent.name)
    folder = publish("own-guest", key, build, what="a disk of one's own")
    return Appliance(folder / "disk.qcow2", folder / "key", (folder / "host_key").read_text())


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _tools(into: Path) -> Mapping[str, str]:
    """Unpack what makes a disk without root; return the environment in which its programs are found."""
    extract("trixie", ["syslinux", "syslinux-common", "mtools", "e2fsprogs", "libarchive13t64"], into)
    libraries = into / "usr/lib/x86_64-linux-gnu"
    wrappers = into / "wrappers"
    wrappers.mkdir()
    for place in ("usr/bin", "usr/sbin"):
        for name in ("mformat", "mcopy", "mattrib", "mmove", "mren", "syslinux", "mke2fs"):
            if (program := into / place / name).exists():
                loader = f"{libraries}/ld-linux-x86-64.so.2 --library-path {libraries}"
                (wrappers / name).write_text(f'#!/bin/sh\nexec {loader} {program} "$@"\n')
                (wrappers / name).chmod(0o755)
    return {**os.environ, "PATH": f"{wrappers}:{os.environ['PATH']}", "MTOOLS_SKIP_CHECK": "1"}


def _initrd(busybox: bytes, kernel: Kernel) -> bytes:
    needs, builtin = ((kernel.modules / f"modules.{name}").read_text().splitlines() for name in ("dep", "builtin"))
    order = load_order(BOOT_MODULES, needs, builtin, kernel.release)
    archive = initrd(busybox, {f"{module_name(path)}.ko": (kernel.modules / path).read_bytes() for path in order})
    # A later archive's file takes an earlier one's place (Documentation/driver-api/early-userspace/buffer-format.rst).
    content = BOOT.encode()
    fields = (1, 0o100755, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len("init") + 1, 0)
    member = b"070701" + b"".join(b"%08X" % field for field in fields) + b"init\0\0" + content
    fields = (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, len("TRAILER!!!") + 1, 0)
    end = b"070701" + b"".join(b"%08X" % field for field in fields) + b"TRAILER!!!\0\0\0\0"
    return archive + b"\0" * (-len(archive) % 4) + member + b"\0" * (-len(member) % 4) + end


def _add(tar: tarfile.TarFile, host_key: bytes, authorized: str) -> None:
    files = {
        "etc/inittab": (0o644, b"::sysinit:/etc/start\n"),
        "etc/start": (0o755, START.encode()),
        "etc/lease": (0o755, LEASE.encode()),
        "etc/host_key": (0o600, host_key),
        "root/.ssh": (0o700, None),
        "usr/lib/modules": (0o755, None),
        "root/.ssh/authorized_keys": (0o600, f"{authorized}\n".encode()),
    }
    for name, (mode, content) in files.items():
        member = tarfile.TarInfo(f"./{name}")
        member.mode, member.size = mode, len(content or b"")
        member.type = tarfile.REGTYPE if content else tarfile.DIRTYPE
        tar.addfile(member, io.BytesIO(content or b""))
    init = tarfile.TarInfo("./usr/sbin/init")
    init.type, init.linkname = tarfile.SYMTYPE, "../bin/busybox"
    tar.addfile(init)


def _needed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out the modules that neither the NICs nor the companion need."""
    member.uid = member.gid = 0
    inside = f"{member.name.partition('/kernel/')[2]}/"
    above_or_below = (inside.startswith(f"{part}/") or f"{part}/".startswith(inside) for part in KEPT)
    return member if inside == "/" or any(above_or_below) else None


def _disk(into: Path, tools: Mapping[str, str], kernel: Kernel, ramdisk: bytes) -> None:
    def run(*command: object) -> None:
        subprocess.run([str(word) for word in command], check=True, env=tools, cwd=into)

    (into / "initrd").write_bytes(ramdisk)
    (into / "syslinux.cfg").write_text(SYSLINUX_CFG)
    fat, ext = into / "boot.fat", into / "root.ext2"
    with fat.open("wb") as file:
        file.truncate(BOOT_MIB * MIB)
    # -H: sectors before the partition, -h -s: what a BIOS makes of such a disk
    run("mformat", "-i", fat, "-H", MIB // SECTOR, "-h", 255, "-s", 63, "-F", "::")
    run("mcopy", "-i", fat, kernel.bzimage, "::vmlinuz")
    run("mcopy", "-i", fat, into / "initrd", into / "syslinux.cfg", "::")
    run("syslinux", "--install", fat)
    run("mke2fs", "-q", "-t", "ext2", "-d", into / "root.tar", ext, f"{ROOT_MIB}M")
    mbr = (into / "tools/usr/lib/syslinux/mbr/mbr.bin").read_bytes()[:440].ljust(446, b"\0")
    sizes = {MIB // SECTOR: BOOT_MIB * MIB // SECTOR, (1 + BOOT_MIB) * MIB // SECTOR: ROOT_MIB * MIB // SECTOR}
    for number, (first, sectors) in enumerate(sizes.items()):
        active, kind = ((0x80, 0x0C), (0, 0x83))[number]
        mbr += bytes([active, 0xFE, 0xFF, 0xFF, kind, 0xFE, 0xFF, 0xFF])
        mbr += first.to_bytes(4, "little") + sectors.to_bytes(4, "little")
    with (into / "disk.raw").open("wb") as disk:
        disk.write(mbr.ljust(510, b"\0") + b"\x55\xaa")
        for at, part in ((1, fat), (1 + BOOT_MIB, ext)):
            disk.seek(at * MIB)
            with part.open("rb") as content:
                shutil.copyfileobj(content, disk, MIB)
    for left in ("initrd", "syslinux.cfg"):
        (into / left).unlink()
