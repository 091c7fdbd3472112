"""The Linux guest image: kernel, initial RAM disk and read-only root, from Debian or with the user's own kernel."""

import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path, PurePosixPath

from harness.cache import publish
from harness.errors import InputError, NicproofError
from harness.image import BootImage
from harness.image.content import content_hash, joined_hash
from harness.image.driver import replacements
from harness.image.initrd import ROOT_MODULES, initrd, load_order, module_name
from harness.image.kernel import kernel_release, uncompressed_kernel, unpacked
from harness.image.keys import GuestKeys, guest_keys
from harness.image.root import debian_root, root_key
from harness.profile import BuiltImage

APPEND = (
    "console=ttyS0 loglevel=5 mitigations=off no_timer_check nokaslr random.trust_cpu=on tsc=reliable 8250.nr_uarts=1 "
    "initcall_blacklist=jent_mod_init "  # a source of randomness that tests itself for long; the processor has one
    "rcupdate.rcu_expedited=1 "  # what waits for all processors, such as the end of an interface, waits a hundredth
    # What no driver is concerned with and every process pays for, of which each test starts some.
    "lsm= psi=0 cgroup_disable=memory,cpu,cpuset,io,pids randomize_kstack_offset=off hardened_usercopy=off "
    "init_on_alloc=0"  # zeroing all memory that is given out takes time, and hides what a driver leaves unwritten
)
_COMPRESSOR = "lz4"
_NEEDS_MIB = 500
_ENDPOINT = ("worker.py", "nic_state.py")
"""What runs in the guest as the endpoint on the DUT."""
_PACK_DEADLINE_S = 300.0
_CHUNK = 1 << 20


class RootTar:
    """A root file system in a tar file, read by path."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        """Read the list of members of an open, uncompressed archive."""
        self._tar = tar
        self._members = {member.name.removeprefix("./"): member for member in tar}
        self.end = tar.offset
        """Where the archive's closing blocks begin, in bytes: more members can follow from here."""
        merged = "lib" in self._members and self._members["lib"].issym()
        self.modules = "usr/lib/modules" if merged else "lib/modules"

    def names(self, prefix: str) -> list[str]:
        """Return the paths that start with `prefix`, relative to the root."""
        return [name for name in self._members if name.startswith(prefix)]

    def read(self, name: str) -> bytes:
        """Return a regular file's content.

        Raises:
            NicproofError: the root has no such file.
        """
        member = self._members.get(name)
        file = self._tar.extractfile(member) if member else None
        if file is None:
            raise NicproofError(f"the guest's root has no file /{name}")
        return file.read()

    def packages(self) -> dict[str, str]:
        """Return version by name of the Debian packages inside.

        var/lib/dpkg/status:
            Package: base-files
            Status: install ok installed
            Version: 13.8+deb13u1
        """
        packages: dict[str, str] = {}
        name = ""
        for line in self.read("var/lib/dpkg/status").decode().splitlines():
            field, _, value = line.partition(": ")
            if field == "Package":
                name = value
            elif field == "Version":
                packages[name] = value
        return packages


def _check_modules(source: Path, release: str | None) -> None:
    if release is not None and source.name != release:
        raise InputError(f"image modules {source}: they are for {source.name}, but the kernel says {release}")
    for index in ("modules.dep", "modules.dep.bin", "modules.builtin"):
        if not (source / index).is_file():
            raise InputError(f"image modules {source}: no {index}; install them with `make modules_install`")


def _make_initrd(read: Callable[[str], bytes], busybox: bytes, release: str) -> bytes:
    """Return the initial RAM disk for the modules that `read` gives by their path under lib/modules/RELEASE."""
    order = load_order(
        ROOT_MODULES,
        read("modules.dep").decode().splitlines(),
        read("modules.builtin").decode().splitlines(),
        release,
    )
    return initrd(busybox, {f"{module_name(path)}.ko": unpacked(read(path), path) for path in order})


def _additions(
    keys: GuestKeys, endpoint: Mapping[str, bytes], modules: Mapping[str, bytes]
) -> dict[str, tuple[int, bytes]]:
    """Return mode and content by path of what is ours in the guest's root, and of the modules to test."""
    ours = resources.files(__package__)
    files = {
        "init": (0o755, ours.joinpath("init").read_bytes()),
        "etc/inittab": (0o644, b"::ctrlaltdel:/bin/busybox reboot -f\n"),
        "nicproof/dhcp": (0o755, ours.joinpath("dhcp").read_bytes()),
        "nicproof/host_key": (0o600, keys.host.read_bytes()),
        "root/.ssh/authorized_keys": (0o600, f"{keys.authorized}\n".encode()),
    }
    more = {**endpoint, **{f"modules/{path}": content for path, content in modules.items()}}
    return files | {f"nicproof/{path}": (0o644, content) for path, content in more.items()}


def _add(tar: tarfile.TarFile, base: RootTar, files: Mapping[str, tuple[int, bytes]]) -> None:
    inside = {str(parent) for name in files for parent in PurePosixPath(name).parents if "nicproof/" in f"{parent}/"}
    for folder, mode in (*((folder, 0o755) for folder in sorted(inside)), ("root/.ssh", 0o700)):
        if not base.names(folder):  # tar2sqfs takes no path twice
            directory = tarfile.TarInfo(f"./{folder}")
            directory.type, directory.mode = tarfile.DIRTYPE, mode
            tar.addfile(directory)
    for name, (mode, content) in files.items():
        file = tarfile.TarInfo(f"./{name}")
        file.mode, file.size = mode, len(content)
        tar.addfile(file, io.BytesIO(content))


def _module_for_root(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out the links to where the kernel was built, and whose files they were."""
    if member.issym() and member.name.rpartition("/")[2] in ("build", "source"):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _pack(source: Path, end: int, extra: Path, target: Path) -> None:
    """Make the squashfs of the first `end` bytes of a tar file followed by the tar file `extra`."""
    program = shutil.which("tar2sqfs")
    if program is None:
        raise NicproofError("tar2sqfs is needed to build guest images: apt-get install squashfs-tools-ng")
    command = [program, "--quiet", "--no-skip", "--no-xattr", "--compressor", _COMPRESSOR, str(target)]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said, process_group=0) as process,
    ):
        try:
            assert process.stdin is not None
            with process.stdin as pipe, source.open("rb") as root, extra.open("rb") as ours:
                left = end
                while left:
                    chunk = root.read(min(_CHUNK, left))
                    pipe.write(chunk)
                    left -= len(chunk)
                shutil.copyfileobj(ours, pipe, _CHUNK)
            status = process.wait(_PACK_DEADLINE_S)
        except BrokenPipeError:
            status = process.wait(_PACK_DEADLINE_S)
        finally:
            if process.returncode is None:
                process.kill()
        if status:
            said.seek(0)
            raise NicproofError(f"packing the guest's root: {said.read().decode(errors='replace').strip()}")


def build_linux(
    into: Path,
    root: Path,
    keys: GuestKeys,
    *,
    endpoint: Mapping[str, bytes],
    kernel: Path | None,
    modules: Path | None,
    drivers: Mapping[str, Path],
) -> None:
    """Build vmlinux, initrd, root.squashfs and card.json in the folder `into`.

    Args:
        into: an empty folder.
        root: the tar file from `debian_root`, without a kernel if one is given.
        keys: of the cache.
        endpoint: the sources by name of the worker that is started in the guest, and of what it imports.
        kernel: the user's own vmlinux or bzImage in place of Debian's.
        modules: its lib/modules/RELEASE; None for a kernel that has all it needs built in.
        drivers: modules of the user's own, by the name of the one that each replaces.

    Raises:
        InputError: the user's kernel, modules or drivers cannot be used.
        NicproofError: a tool is missing or failed.
    """
    with tarfile.open(root) as tar:
        base = RootTar(tar)
        if kernel is None:
            (boot,) = base.names("boot/vmlinuz-")
            elf = uncompressed_kernel(base.read(boot), f"/{boot}")
        else:
            elf = uncompressed_kernel(kernel.read_bytes(), f"image kernel {kernel}")
        release = kernel_release(elf)
        (into / "vmlinux").write_bytes(elf)
        busybox = base.read("bin/busybox" if base.modules == "lib/modules" else "usr/bin/busybox")
        extra = into / "extra.tar"
        read: Callable[[str], bytes] | None = None
        if kernel is None:
            tree = f"{base.modules}/{release}"
            read = lambda path: base.read(f"{tree}/{path}")  # noqa: E731
        elif modules is not None:
            _check_modules(modules, release)
            read = lambda path: (modules / path).read_bytes()  # noqa: E731
        index = read("modules.dep").decode().splitlines() if read else []
        with tarfile.open(extra, "w") as ours:
            _add(ours, base, _additions(keys, endpoint, replacements(drivers, release, index)))
            ramdisk = _make_initrd(read, busybox, str(release)) if read else initrd(busybox, {})
            if modules is not None:
                ours.add(modules, f"./{base.modules}/{modules.name}", filter=_module_for_root)
        (into / "initrd").write_bytes(ramdisk)
        _pack(root, base.end, extra, into / "root.squashfs")
        extra.unlink()
        files = {name: (into / name).stat().st_size for name in ("vmlinux", "initrd", "root.squashfs")}
        card = {"root": root.parent.name, "kernel_release": release, "files": files, "packages": base.packages()}
    (into / "card.json").write_text(json.dumps(card, indent=1) + "\n")


def _endpoint() -> dict[str, bytes]:
    """Return the sources by name of what runs inside the guest."""
    return {name: resources.files("harness.endpoint").joinpath(name).read_bytes() for name in _ENDPOINT}


def _sources() -> list[str]:
    """Return the text of all that decides how an image is put together."""
    files = sorted(resources.files(__package__).iterdir(), key=lambda file: file.name)
    return [file.read_text() for file in files if file.is_file()]


def _whole(folder: Path) -> None:
    """Check that an image in the cache has all that its card lists, in the right size."""
    card = json.loads((folder / "card.json").read_text())
    for name, size in card["files"].items():
        if (folder / name).stat().st_size != size:
            raise NicproofError(f"{name} is not as it was built")


def linux_image(image: BuiltImage) -> BootImage:
    """Return the image of a Debian suite: built at the first call, from the cache without any network afterwards.

    Raises:
        InputError: the user's kernel or modules cannot be used, or a tool is not installed.
        NicproofError: the build failed: no network, no disk...
    """
    keys = guest_keys()
    endpoint = _endpoint()
    own = [path for path in (image.kernel, image.modules, *image.drivers.values()) if path]
    key = joined_hash(
        [
            root_key(image.suite, with_kernel=image.kernel is None),
            *_sources(),
            *(source.decode() for source in endpoint.values()),
            keys.authorized,
            keys.host_public,
            *(content_hash(path) for path in own),
            *image.drivers,
        ]
    )

    def build(into: Path) -> None:
        root = debian_root(image.suite, with_kernel=image.kernel is None)
        build_linux(
            into, root, keys, endpoint=endpoint, kernel=image.kernel, modules=image.modules, drivers=image.drivers
        )

    what = f"the guest image of Debian {image.suite}" + (f" with {', '.join(map(str, own))}" if own else "")
    folder = publish("image", key, build, what=what, valid=_whole, needs_mib=_NEEDS_MIB)
    return BootImage(
        kernel=folder / "vmlinux",
        initrd=folder / "initrd",
        disk=folder / "root.squashfs",
        disk_format="raw",
        append=APPEND,
        key=key,
        kernel_release=json.loads((folder / "card.json").read_text())["kernel_release"],
        ssh_key=keys.client,
        host_key=keys.host_public,
        user="root",
    )
