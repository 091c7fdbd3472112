"""The initial RAM disk: just enough to mount the guest's root and go there."""

import stat
from collections.abc import Iterable, Mapping
from importlib import resources

from harness.errors import NicproofError

ROOT_MODULES = ("virtio_pci", "virtio_blk", "squashfs", "overlay")
"""What mounting the root needs, built in or as modules."""


def _member(number: int, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """Return one member of a cpio archive in the "newc" format (Documentation/driver-api/early-userspace)."""
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)


def module_name(path: str) -> str:
    """Return the name under which a module's file is loaded.

    >>> module_name("kernel/drivers/block/virtio-blk.ko.xz")
    'virtio_blk'
    """
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def load_order(names: Iterable[str], dependencies: Iterable[str], builtin: Iterable[str], release: str) -> list[str]:
    """Return the module files to load for `names`, each after those that it needs.

    modules.dep:
        kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko
        kernel/net/core/failover.ko:
    modules.builtin:
        kernel/drivers/virtio/virtio_pci.ko

    Raises:
        NicproofError: a name is neither a module nor built in.
    """
    needs: dict[str, list[str]] = {}
    files: dict[str, str] = {}
    for line in dependencies:
        path, _, needed = line.partition(":")
        needs[path] = needed.split()
        files[module_name(path)] = path
    inside = {module_name(line.strip()) for line in builtin}
    order: list[str] = []
    for name in names:
        if name in inside:
            continue
        if name not in files:
            raise NicproofError(f"kernel {release}: {name} is neither built in nor a module: the guest cannot start")
        # depmod lists the nearest need first and all of them: reversed, each stands after its own needs.
        order += [path for path in (*reversed(needs[files[name]]), files[name]) if path not in order]
    return order


def initrd(busybox: bytes, modules: Mapping[str, bytes]) -> bytes:
    """Return the archive, uncompressed: unpacking is slower than reading under emulation.

    Args:
        busybox: a statically linked one.
        modules: uncompressed modules by file name, in the order in which to load them.
    """
    init = resources.files(__package__).joinpath("initrd_init").read_bytes()
    directories = ("bin", "dev", "lower", "modules.d", "root", "writable")
    listing = "".join(f"/modules.d/{name}\n" for name in modules).encode()
    members = [(name, stat.S_IFDIR | 0o755, b"", (0, 0)) for name in directories]
    members.append(("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)))
    members.append(("bin/busybox", stat.S_IFREG | 0o755, busybox, (0, 0)))
    members.append(("init", stat.S_IFREG | 0o755, init, (0, 0)))
    members.append(("modules", stat.S_IFREG | 0o644, listing, (0, 0)))
    members += [(f"modules.d/{name}", stat.S_IFREG | 0o644, content, (0, 0)) for name, content in modules.items()]
    members.append(("TRAILER!!!", 0, b"", (0, 0)))
    return b"".join(_member(number, *member) for number, member in enumerate(members, 1))
