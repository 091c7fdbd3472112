"""virtme-ng, the known tool nearest to what nicproof does at a boot: one command in a guest with a given kernel."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.setting import Setting, clock
from harness.cache import publish
from harness.debian import extract
from harness.errors import NicproofError
from harness.image.content import joined_hash
from harness.profile import BuiltImage

VERSION = "1.42"
DEADLINE_S = 300.0
_NEEDS_MIB = 700


def virtme_ng(setting: Setting) -> float:
    """Time virtme-ng from its start to its end, for one command: same kernel, same QEMU, as many processors.

    It boots the kernel as its package has it, compressed, as it does for its users.
    """
    tools = _tools(setting)
    release = setting.image.kernel_release
    machine = setting.cell.profile.machine
    command = [
        *(str(tools / "site/bin/vng"), "--run", str(tools / f"root/boot/vmlinuz-{release}")),
        # Where udev is missing, in containers say, the command's output comes on the console or not at all.
        *("--verbose", "--append", "quiet"),
        *("--disable-kvm", "--cpus", str(machine.cpus), "--memory", f"{machine.memory_mib}M"),
        *("--busybox", str(tools / "root/usr/bin/busybox"), "--", "uname", "-r"),
    ]
    path = f"{tools / 'bin'}:{tools / 'site/bin'}:{os.environ['PATH']}"
    environment = {**os.environ, **setting.launcher.qemu.env, "PATH": path, "PYTHONPATH": str(tools / "site")}
    said: list[str] = []

    def run() -> None:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        ) as process:
            try:
                said.append(process.communicate(timeout=DEADLINE_S)[0])
            except BaseException:
                os.killpg(process.pid, 9)  # it starts QEMU through a shell
                raise

    seconds = clock(run)
    if str(release) not in said[0].split():
        raise NicproofError(f"virtme-ng did not run the command: {(said[0].strip().splitlines() or ['no output'])[-1]}")
    return seconds


def _tools(setting: Setting) -> Path:
    """Return virtme-ng and what it needs: the kernel with all its modules, kmod, busybox, the QEMU on PATH."""
    image, profile, qemu = setting.image, setting.cell.profile, setting.launcher.qemu
    assert isinstance(profile.image, BuiltImage), "the benchmark's cell has a built image"
    suite = profile.image.suite

    def build(into: Path) -> None:
        root = into / "root"
        extract(suite, ["linux-image-amd64", "busybox-static", "kmod"], root)
        if not (root / "usr/lib/modules" / str(image.kernel_release)).is_dir():
            raise NicproofError(
                f"Debian {suite} has no kernel {image.kernel_release} any more, the cached image's: "
                "`nicproof clean` makes a new image"
            )
        (root / "lib").symlink_to("usr/lib")
        _install(into / "site")
        _write_programs(into / "bin", qemu.argv)

    key = joined_hash([VERSION, sys.executable, image.key, *qemu.argv])
    return publish("virtme", key, build, what=f"virtme-ng {VERSION}", needs_mib=_NEEDS_MIB)


def _install(site: Path) -> None:
    """Install virtme-ng where nothing else is."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), f"virtme-ng=={VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise NicproofError(f"virtme-ng {VERSION} cannot be installed: {reason}")


def _write_programs(folder: Path, qemu: Sequence[str]) -> None:
    """Write what virtme-ng looks for on PATH: QEMU by its name, and kmod as unpacked, by its own loader."""
    libraries = '"$root/usr/lib/x86_64-linux-gnu"'
    kmod = f'exec {libraries}/ld-linux-x86-64.so.2 --argv0 NAME --library-path {libraries} "$root/usr/bin/kmod" "$@"'
    scripts = {name: f"root=${{0%/*}}/../root\n{kmod.replace('NAME', name)}\n" for name in ("depmod", "modprobe")}
    scripts["qemu-system-x86_64"] = f'exec {shlex.join(qemu)} "$@"\n'
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}")
        (folder / name).chmod(0o755)
