"""The guest's root file system as Debian makes it, before anything of ours goes in: one tar file per suite."""

import hashlib
import json
from pathlib import Path

from harness.cache import publish
from harness.debian import apt_options, check_suite, mirror, run_mmdebstrap

_KERNEL = "linux-image-amd64"
_PACKAGES = (
    "busybox-static",
    "dropbear-bin",
    "ethtool",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "kmod",
    "pciutils",
    "python3",
    "python3-scapy",
    "tcpdump",
)
_LEFT_OUT = (
    "/boot/System.map*",
    "/boot/config*",
    "/etc/kernel/postinst.d/initramfs-tools",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "*/lib/systemd/*",
    "*/lib/udev/*",
    "*/lib/modules/*/kernel/*",
)
_MODULES = (
    "arch/x86/crypto",
    "crypto",
    "drivers/block/virtio_blk",
    "drivers/char/hw_random",
    "drivers/dca",
    "drivers/gnss",
    "drivers/i2c/algos",
    "drivers/net/dummy",
    "drivers/net/ethernet/intel",
    "drivers/net/ethernet/realtek/8139",
    "drivers/net/ifb",
    "drivers/net/macvlan",
    "drivers/net/mdio",
    "drivers/net/mii",
    "drivers/net/net_failover",
    "drivers/net/phy",
    "drivers/net/tap",
    "drivers/net/tun",
    "drivers/net/veth",
    "drivers/net/virtio_net",
    "drivers/pps",
    "drivers/ptp",
    "drivers/vdpa/vdpa",
    "drivers/virtio",
    "fs/nls",
    "fs/overlayfs",
    "fs/squashfs",
    "kernel",
    "lib",
    "net/802",
    "net/8021q",
    "net/core",
    "net/ipv4",
    "net/ipv6",
    "net/llc",
    "net/packet",
    "net/sched",
    "net/xfrm",
)
"""Paths under kernel/ that start with one of these stay: every Intel and virtio NIC driver and what they stand on."""

_MODULES_HOOK = (
    'chroot "$1" /bin/sh -ec '
    "'find /lib/modules -name \"*.ko.xz\" -exec busybox unxz {} +; for d in /lib/modules/*; do depmod ${d##*/}; done'"
)
"""Modules that need no unpacking in the guest load faster."""
_HOST_HOOK = 'rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/apt/sources.list"'
"""What mmdebstrap copies from the host: an image is the same whoever builds it."""
_SHELL_HOOK = (
    'chroot "$1" /bin/sh -ec '
    '\'sed -i "s,^\\(root:.*\\):.*,\\1:/bin/sh," /etc/passwd; '
    'for d in "" /usr; do for f in $d/sbin/*; do b=$d/bin/${f##*/}; [ -e $b ] || ln -sf $f $b; done; done\''
)
"""Each SSH command starts root's shell, and bash takes twice as long; an old dropbear has no sbin in root's PATH."""

_NEEDS_MIB = 1200
_DEADLINE_S = 1800.0


def _recipe(suite: str, with_kernel: bool) -> list[str]:
    """Return mmdebstrap's options: with the suite, all that decides what comes out."""
    packages = (*((_KERNEL,) if with_kernel else ()), *_PACKAGES)
    return [
        "--variant=essential",
        *apt_options(suite),
        f"--include={','.join(packages)}",
        *(f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT),
        *(f"--dpkgopt=path-include=*/lib/modules/*/kernel/{path}*" for path in _MODULES),
        f"--customize-hook={_SHELL_HOOK}",
        f"--customize-hook={_HOST_HOOK}",
        *((f"--customize-hook={_MODULES_HOOK}",) if with_kernel else ()),
    ]


def root_key(suite: str, *, with_kernel: bool) -> str:
    """Return the key of a root: the hash of its recipe."""
    return hashlib.sha256(json.dumps([suite, *_recipe(suite, with_kernel)]).encode()).hexdigest()[:24]


def debian_root(suite: str, *, with_kernel: bool) -> Path:
    """Return the tar file of a Debian suite's root: built at the first call, from the cache afterwards.

    Raises:
        InputError: there is no such suite, or mmdebstrap is not installed.
        NicproofError: no network, no disk...
    """
    check_suite(suite)
    what = f"the guest's root from Debian {suite}"

    def build(into: Path) -> None:
        tar = str(into / "root.tar")
        run_mmdebstrap(_recipe(suite, with_kernel), [suite, tar, mirror()], what=what, deadline_s=_DEADLINE_S)

    folder = publish("root", root_key(suite, with_kernel=with_kernel), build, what=what, needs_mib=_NEEDS_MIB)
    return folder / "root.tar"
