"""Which QEMU: the host's own, one that the user names, or one unpacked from a Debian suite into the cache."""

import hashlib
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from packaging.version import Version

from harness import debian
from harness.cache import publish
from harness.errors import InputError, NicproofError
from harness.nic import CATALOGUE

_log = logging.getLogger(__name__)

LEAST = Version("7.2")
"""The first QEMU that takes an end of a socket pair for the DUT's cable ("-netdev dgram")."""
WITH_ALL_MODELS = max(model.since for model in CATALOGUE.values() if model.since is not None)
"""An older one is used only if the user names it."""

_NAME = "qemu-system-x86_64"
_PACKAGES = ("qemu-system-x86", "qemu-utils")
_UNPACK_FROM = "trixie"
_UNPACK_NEEDS_MIB = 700
_START_DEADLINE_S = 60
_CURE = f"use --qemu debian:{_UNPACK_FROM}"


@dataclass(frozen=True)
class Qemu:
    """A QEMU that has been seen to start."""

    argv: tuple[str, ...]
    """How to start it; a machine's options follow."""
    env: Mapping[str, str] = field(hash=False)
    """Variables to add to the environment, for QEMU and for qemu-img."""
    version: Version
    origin: str
    """Where it comes from: "/usr/bin/qemu-system-x86_64" or "debian:trixie 1:10.0.13+ds-0+deb13u1"."""
    build_id: str
    """The same for the same build only: a hash of the program and of the version that it reports."""
    image_tool: tuple[str, ...] | None
    """How to start its qemu-img, if it has one."""

    @property
    def img_argv(self) -> tuple[str, ...]:
        """Return how to start qemu-img.

        Raises:
            InputError: This QEMU came without it.
        """
        if self.image_tool is None:
            raise InputError(f"{self.origin} has no qemu-img: sudo apt-get install qemu-utils, or {_CURE}")
        return self.image_tool

    @cached_property
    def trace_events(self) -> frozenset[str]:
        """Return the names of the trace events that this build can report."""
        try:
            shown = run_program((*self.argv, "-trace", "help"), self.env, deadline_s=_START_DEADLINE_S)
        except NicproofError as error:
            raise NicproofError(f"{self.origin} cannot list its trace events: {error}") from None
        if shown.returncode:
            raise NicproofError(f"{self.origin} cannot list its trace events: {last_line(shown.stderr)}")
        return frozenset(shown.stdout.split())


def find_qemu(wish: str | None = None) -> Qemu:
    """Return the QEMU to use.

    Args:
        wish: A program, "debian:SUITE" for one unpacked from there, or None: the one on PATH if it is new enough, else
            one unpacked from Debian.

    Raises:
        InputError: What the user asks for does not exist, is not a QEMU for x86-64, or is older than `LEAST`.
        NicproofError: It could not be unpacked.
    """
    if wish is None:
        return _on_path() or _unpacked(_UNPACK_FROM)
    if wish.startswith("debian:"):
        return _unpacked(wish.removeprefix("debian:"))
    program = shutil.which(wish) if "/" not in wish else wish
    if program is None or not Path(program).exists():
        raise InputError(f"--qemu {wish}: no such program: name one that exists, or {_CURE}")
    if not Path(program).is_file() or not os.access(program, os.X_OK):
        raise InputError(f"--qemu {wish}: not an executable file: name a {_NAME}, or {_CURE}")
    try:
        qemu = _installed(Path(program).absolute())
    except NicproofError as error:
        raise InputError(f"--qemu {wish}: not a {_NAME} that starts ({error}): {_CURE}") from error
    if qemu.version < LEAST:
        raise InputError(f"--qemu {wish}: {_too_old(qemu, LEAST)}: {_CURE}")
    return qemu


def _on_path() -> Qemu | None:
    program = shutil.which(_NAME)
    if program is None:
        _log.info("no %s on PATH: using Debian %s's", _NAME, _UNPACK_FROM)
        return None
    try:
        qemu = _installed(Path(program))
    except NicproofError as error:
        _log.warning("%s does not start (%s): using Debian %s's", program, error, _UNPACK_FROM)
        return None
    if qemu.version < WITH_ALL_MODELS:
        _log.info("%s: %s: using Debian %s's", program, _too_old(qemu, WITH_ALL_MODELS), _UNPACK_FROM)
        return None
    return qemu


def _installed(program: Path) -> Qemu:
    argv = (str(program),)
    version, _ = _start(argv, {})
    image_tool = shutil.which("qemu-img", path=str(program.parent)) or shutil.which("qemu-img")
    return Qemu(
        argv=argv,
        env=MappingProxyType({}),
        version=version,
        origin=str(program),
        build_id=_build_id(program, str(version)),
        image_tool=(image_tool,) if image_tool else None,
    )


def _unpacked(suite: str) -> Qemu:
    try:
        debian.check_suite(suite)
    except InputError as error:
        raise InputError(f"--qemu debian:{suite}: {error}") from error
    key = f"{suite}-{hashlib.sha256(repr(_PACKAGES).encode()).hexdigest()[:16]}"
    seen: list[tuple[Version, str]] = []

    def valid(root: Path) -> None:
        seen.append(_start(*_own_loader(root, _NAME)))

    root = publish(
        "qemu",
        key,
        lambda folder: debian.extract(suite, _PACKAGES, folder),
        what=f"QEMU of Debian {suite}",
        valid=valid,
        needs_mib=_UNPACK_NEEDS_MIB,
    )
    version, package = seen[-1]
    argv, env = _own_loader(root, _NAME)
    qemu = Qemu(
        argv=argv,
        env=MappingProxyType(env),
        version=version,
        origin=f"debian:{suite} {package.removeprefix('Debian ')}",
        build_id=_build_id(root / "usr/bin" / _NAME, package),
        image_tool=_own_loader(root, "qemu-img")[0],
    )
    if version < LEAST:
        raise InputError(f"--qemu debian:{suite}: {_too_old(qemu, LEAST)}: {_CURE}")
    return qemu


def _own_loader(root: Path, name: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return arguments and environment that start a program of an unpacked Debian by that Debian's own loader.

    So it runs with the libraries that it was built for, whatever the host has. Suites before the merge of /lib into
    /usr have the loader and the C library outside /usr.
    """
    triplet = "lib/x86_64-linux-gnu"
    loader = next((path for top in ("usr/", "") if (path := root / f"{top}lib64/ld-linux-x86-64.so.2").exists()), None)
    if loader is None:
        raise NicproofError(f"{root} has no loader")
    libraries = [root / "usr" / triplet, root / triplet, root / "usr" / triplet / "pulseaudio"]
    argv = [str(loader), "--library-path", ":".join(map(str, libraries)), str(root / "usr/bin" / name)]
    if name == _NAME:
        for firmware in ("share/qemu", "share/seabios", "lib/ipxe/qemu"):
            argv += ["-L", str(root / "usr" / firmware)]
    return tuple(argv), {"QEMU_MODULE_DIR": str(root / "usr" / triplet / "qemu")}


def _start(argv: tuple[str, ...], env: Mapping[str, str]) -> tuple[Version, str]:
    """Start QEMU with a q35 machine, ask it to quit, and return its version and the distribution's name for it.

    This needs its libraries and its firmware in place: more than `--version` would.
    """
    command = (*argv, "-machine", "q35", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio")
    quits = '{"execute": "qmp_capabilities"} {"execute": "quit"}\n'
    ran = run_program(command, env, told=quits, deadline_s=_START_DEADLINE_S)
    # {"QMP": {"version": {"qemu": {"micro": 13, "minor": 0, "major": 10}, "package": "Debian 1:10.0.13+ds-0+deb13u1"},
    #          "capabilities": ["oob"]}}
    # {"return": {}}
    try:
        greeting = json.loads(ran.stdout.splitlines()[0])["QMP"]["version"]
        numbers = greeting["qemu"]
        version = Version(f"{numbers['major']}.{numbers['minor']}.{numbers['micro']}")
        package = str(greeting["package"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise NicproofError(last_line(ran.stderr) or "it does not answer as a QEMU does") from error
    if ran.returncode:
        raise NicproofError(last_line(ran.stderr) or f"it ended with status {ran.returncode}")
    return version, package


def _too_old(qemu: Qemu, needed: Version) -> str:
    return f"QEMU {qemu.version} is too old, {needed} or newer is needed"


def _build_id(program: Path, version: str) -> str:
    with program.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(version.encode())
    return digest.hexdigest()[:32]


def run_program(
    command: Sequence[str], env: Mapping[str, str], *, told: str = "", deadline_s: float
) -> subprocess.CompletedProcess[str]:
    """Run one of QEMU's programs to its end.

    Args:
        command: the program and its arguments.
        env: what its build needs in the environment.
        told: its standard input.
        deadline_s: longest time that it may take.

    Raises:
        NicproofError: it cannot be run, or did not end in time.
    """
    try:
        return subprocess.run(
            command,
            env={**os.environ, **env},
            input=told,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NicproofError(f"no answer from it in {deadline_s:g} s") from None
    except OSError as error:
        raise NicproofError(f"it cannot be run: {error.strerror}") from error


def last_line(text: str) -> str:
    """Return the last line of what a program said; nothing if it said nothing."""
    return text.strip().splitlines()[-1] if text.strip() else ""
