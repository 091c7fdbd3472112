"""What this host can run, and for all that it cannot: why, and what would change that."""

import os
import platform
import pwd
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import cache
from harness.cell import Cell, all_cells
from harness.debian import SUITES, mirror
from harness.errors import ImageAbsent, NicproofError
from harness.image import build_image
from harness.profile import BuiltImage, KernelImage, Profile, RomImage
from harness.profile_file import load_profile, profile_names
from harness.qemu.accel import choose_accel
from harness.qemu.binary import find_qemu
from harness.qemu.process import HEADROOM_MIB, available_mib

DEFAULT_PROFILE = "linux"
"""The profile of the default job, `./run linux`."""

_WORKERS = 2
"""Guests that the default job runs at a time (tox.ini)."""
_DISK_MIB = 4096
"""What the default job leaves in the cache: QEMU 180, root and image 1000, 14 snapshots 145 MiB each; measured."""
_SNAPSHOT_MIB = 512
"""What one snapshot needs while it is saved."""
_BUILD_MIB = 2200
"""What an image and its first snapshot need while they are made."""
_ANSWER_S = 5.0

_TOOLS = {"mmdebstrap": "mmdebstrap", "newuidmap": "uidmap", "tar2sqfs": "squashfs-tools-ng"}
"""The Debian package of each tool that images are built with."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    good: bool
    seen: str
    cure: str = ""
    """What would make it good."""


@dataclass(frozen=True)
class Report:
    """All findings; `profiles` has one for each profile that comes with nicproof, by its name."""

    host: tuple[Finding, ...]
    profiles: dict[str, Finding]

    @property
    def default_job_runs(self) -> bool:
        """Whether the default job can run here."""
        return self.profiles[DEFAULT_PROFILE].good


def examine() -> Report:
    """Look at this host. QEMU is unpacked and KVM tried, as the first run would do.

    Raises:
        InputError: the cache's folder cannot be used.
    """
    cache.cache_root()
    used = sum(entry.size for entry in cache.entries()) >> 20
    always = (_python(), *_qemu(), _setpriv(), _memory(), _disk(max(_DISK_MIB - used, _SNAPSHOT_MIB)))
    to_build = (*_tools(), _user_namespaces(), _mirror())
    profiles = {name: _profile(name, always, to_build) for name in profile_names()}
    return Report((*always, *to_build), profiles)


def _python() -> Finding:
    return Finding("Python", True, f"{platform.python_version()}, {platform.machine()}")


def _qemu() -> Iterator[Finding]:
    try:
        qemu = find_qemu()
    except NicproofError as error:
        yield Finding("QEMU", False, str(error))
        return
    yield Finding("QEMU", True, f"{qemu.version} ({qemu.origin})")
    try:
        accel = choose_accel(qemu)
    except NicproofError as error:
        yield Finding("acceleration", False, str(error))
        return
    yield Finding("acceleration", True, accel.reason)


def _setpriv() -> Finding:
    if found := shutil.which("setpriv"):
        return Finding("setpriv", True, found)
    return Finding("setpriv", False, "is missing: QEMU would outlive a killed run", "apt-get install util-linux")


def _tools() -> Iterator[Finding]:
    for tool, package in _TOOLS.items():
        found = shutil.which(tool)
        yield Finding(tool, found is not None, found or "is missing", "" if found else f"apt-get install {package}")


def _user_namespaces() -> Finding:
    subject = "user namespaces"
    if os.geteuid() == 0:
        return Finding(subject, True, "not needed: you are root")
    user = pwd.getpwuid(os.geteuid()).pw_name
    for file in ("/etc/subuid", "/etc/subgid"):
        # builder:100000:65536
        lines = Path(file).read_text().splitlines() if Path(file).exists() else []
        if not any(line.split(":")[0] in (user, str(os.geteuid())) for line in lines):
            cure = f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            return Finding(subject, False, f"{file} gives {user} no ids", cure)
    for setting, off, on in (
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user/max_user_namespaces", "0", "10000"),
    ):
        path = Path("/proc/sys", setting)
        if path.exists() and path.read_text().strip() == off:
            name = setting.replace("/", ".")
            return Finding(subject, False, f"not for ordinary users: {name} is {off}", f"as root: sysctl {name}={on}")
    return Finding(subject, True, f"for {user}")


def _memory() -> Finding:
    available = available_mib()
    memory_mib = load_profile(DEFAULT_PROFILE).machine.memory_mib
    each = memory_mib + HEADROOM_MIB
    guests = available // each
    seen = f"{available} MiB available: {guests} guests of {memory_mib} MiB at a time"
    if guests >= _WORKERS:
        return Finding("memory", True, seen)
    cure = f"{'run one worker (-n 1), or ' if guests else ''}free {_WORKERS * each - available} MiB"
    return Finding("memory", guests > 0, seen, cure)


def _disk(needed: int) -> Finding:
    root = cache.cache_root()
    free = shutil.disk_usage(root).free >> 20
    seen = f"{free} MiB free in {root}, {needed} MiB needed"
    if free >= needed:
        return Finding("disk", True, seen)
    cure = f"free {needed - free} MiB (`nicproof clean`), or set NICPROOF_CACHE to a directory on a larger disk"
    return Finding("disk", False, seen, cure)


def _mirror() -> Finding:
    url = mirror()
    request = urllib.request.Request(f"{url}/dists/{SUITES[-1]}/InRelease", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S):
            return Finding("Debian mirror", True, url)
    except urllib.error.HTTPError as error:
        return Finding("Debian mirror", False, f"{url}: {error}", "set NICPROOF_MIRROR to one that has Debian")
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        return Finding("Debian mirror", False, f"{url}: {why}", "connect this host, or set NICPROOF_MIRROR")


def _profile(name: str, always: tuple[Finding, ...], to_build: tuple[Finding, ...]) -> Finding:
    try:
        profile = load_profile(name)
        cached = _is_cached(profile)
    except ImageAbsent as error:
        return Finding(name, False, error.what, error.cure)
    except NicproofError as error:
        return Finding(name, False, str(error))
    needed = always if cached else (*always, *_needed(profile, to_build))
    if missing := [finding for finding in needed if not finding.good]:
        why = "; ".join(f"{finding.subject}: {finding.seen}" for finding in missing)
        return Finding(name, False, why, "; ".join(finding.cure for finding in missing if finding.cure))
    cells = sum(isinstance(one, Cell) for one in all_cells(profile))
    image = "its image is there" if cached else "the first run builds its image"
    return Finding(name, True, f"{cells} cells; {image}")


def _is_cached(profile: Profile) -> bool:
    with cache.only_cached():
        try:
            build_image(profile)
        except cache.NotCached:
            return False
    return True


def _needed(profile: Profile, to_build: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return what the profile's image cannot be built without."""
    to_unpack = tuple(finding for finding in to_build if finding.subject in ("mmdebstrap", "Debian mirror"))
    match profile.image:
        case BuiltImage():
            return (*to_build, _disk(_BUILD_MIB))
        case KernelImage(package=str()) | RomImage(package=str()):
            return to_unpack
        case _:
            return to_unpack if profile.machine.firmware == "uefi" else ()
