"""The user's cache: folders that cost time to make, each made once and found again by its key.

An entry is `<cache root>/<kind>/<key>/`. It is made under another name and renamed when it is whole, so that what has
an entry's name is finished, whenever and however the process that made it ended.
"""

import errno
import fcntl
import logging
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import filelock
import platformdirs

from harness.errors import InputError, NicproofError

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_BUILDS = ".builds"
"""Where entries are made: `<kind>@<key>@<random>/`, on the same file system as the entries."""
_LOCKS = ".locks"
_QUIET_WAIT_S = 2.0
"""Checking an entry takes its lock too, briefly: a wait shorter than this is not worth a word."""

_may_build = ContextVar("_may_build", default=True)

_held: dict[Path, int] = {}
"""Descriptors of the entries that this process uses: the shared lock on each lasts as long as the process."""


class NotCached(NicproofError):
    """The entry is absent, or unusable, and may not be made now (`only_cached`)."""


@dataclass(frozen=True)
class CacheEntry:
    """A finished entry."""

    kind: str
    key: str
    path: Path
    size: int
    """Bytes on disk."""
    made: datetime


@dataclass(frozen=True)
class Cleared:
    """What `clear` did."""

    removed: tuple[CacheEntry, ...]
    kept: tuple[CacheEntry, ...]
    """Entries that a live run uses or builds."""


def cache_root() -> Path:
    """Return the cache's folder: $NICPROOF_CACHE, else the user's cache folder; made if absent, for its owner only.

    Raises:
        InputError: It cannot be made, is no directory, or belongs to somebody else (it holds private keys).
    """
    wish = os.environ.get("NICPROOF_CACHE")
    root = Path(wish).absolute() if wish else Path(platformdirs.user_cache_dir("nicproof"))
    source = f"NICPROOF_CACHE={wish}" if wish else f"the cache folder {root}"
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        info = root.stat()
        if info.st_uid != os.geteuid():
            raise InputError(
                f"{source} belongs to user id {info.st_uid}, not to you ({os.geteuid()}): "
                "set NICPROOF_CACHE to a directory of your own"
            )
        if stat.S_IMODE(info.st_mode) != 0o700:
            root.chmod(0o700)
    except OSError as error:
        raise InputError(
            f"{source} cannot be used ({error.strerror}): set NICPROOF_CACHE to a directory that you can write"
        ) from error
    return root


@contextmanager
def only_cached() -> Iterator[None]:
    """Have `publish` raise `NotCached` where it would build, in a `with` block: for questions about the cache."""
    token = _may_build.set(False)
    try:
        yield
    finally:
        _may_build.reset(token)


def publish(
    kind: str,
    key: str,
    build: Callable[[Path], None],
    *,
    what: str,
    valid: Callable[[Path], object] | None = None,
    needs_mib: int = 0,
    wait_s: float = 1800,
) -> Path:
    """Return the entry's folder, made by `build` if it is absent or not valid.

    The entry is protected from `clear`, in every process, until this process ends.

    Args:
        kind: What sort of entry: a file name.
        key: Hash of all that goes into it: a file name.
        build: Fills the empty directory that it is given.
        what: For messages: "the guest image of profile linux".
        valid: Raises any exception for a folder that must not be used; its message says why.
        needs_mib: Free disk space, in MiB, that the build needs.
        wait_s: Longest wait, in seconds, for another process that builds the same entry.

    Raises:
        NicproofError: No disk space, or the other process took too long. What `build` raises passes through.
        NotCached: It would have to be built inside `only_cached`.
    """
    if not _NAME.fullmatch(kind) or not _NAME.fullmatch(key):
        raise ValueError(f"not a file name: {kind!r} or {key!r}")
    root = cache_root()
    entry = root / kind / key
    if not _may_build.get() and not entry.is_dir():
        raise NotCached(f"{what} is not in the cache")
    _sweep(root)
    with _locked(root, kind, key, what, wait_s):
        if entry.is_dir():
            try:
                if valid:
                    valid(entry)
            except Exception as error:
                if _may_build.get():
                    _log.warning("%s in the cache is unusable (%s): making it again", what, error)
            else:
                _hold(root, kind, key)
                return entry
        if not _may_build.get():
            raise NotCached(f"{what} in the cache is unusable")
        _build(root, entry, build, what=what, valid=valid, needs_mib=needs_mib)
        _hold(root, kind, key)
    return entry


def entries(kind: str | None = None) -> tuple[CacheEntry, ...]:
    """Return the finished entries of one kind, or of all, sorted by kind and key."""
    root = cache_root()
    found = []
    for folder in sorted(root.iterdir()):
        if folder.name.startswith(".") or kind not in (None, folder.name) or not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            found.append(CacheEntry(folder.name, path.name, path, _size(path), made))
    return tuple(found)


def clear() -> Cleared:
    """Remove every entry that no live run uses or builds, and the remains of dead builds."""
    root = cache_root()
    removed, kept = [], []
    for entry in entries():
        with _try_lock(root, entry.kind, entry.key) as free:
            if free and not _is_held(root, entry.kind, entry.key):
                _discard(root, entry.path)
                removed.append(entry)
            else:
                kept.append(entry)
    _sweep(root)
    return Cleared(tuple(removed), tuple(kept))


def _build(
    root: Path,
    entry: Path,
    build: Callable[[Path], None],
    *,
    what: str,
    valid: Callable[[Path], object] | None,
    needs_mib: int,
) -> None:
    free_mib = shutil.disk_usage(root).free >> 20
    if free_mib < needs_mib:
        raise NicproofError(
            f"not enough disk for {what}: it needs {needs_mib} MiB in {root}, where {free_mib} MiB are free: "
            "free some, or set NICPROOF_CACHE to a directory on a larger disk"
        )
    _log.info("making %s", what)
    builds = root / _BUILDS
    builds.mkdir(exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(prefix=f"{entry.parent.name}@{entry.name}@", dir=builds))
    try:
        build(folder)
        if valid:
            valid(folder)
        entry.parent.mkdir(exist_ok=True, mode=0o700)
        if entry.exists():
            _discard(root, entry)
        folder.rename(entry)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NicproofError(
            f"the disk is full: {what} cannot be made in {root}: "
            "free some, or set NICPROOF_CACHE to a directory on a larger disk"
        ) from error
    finally:
        _remove(folder)


def _lock_path(root: Path, kind: str, key: str, purpose: Literal["lock", "used"]) -> Path:
    folder = root / _LOCKS
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder / f"{kind}@{key}.{purpose}"


@contextmanager
def _locked(root: Path, kind: str, key: str, what: str, wait_s: float) -> Iterator[None]:
    """Hold the entry's lock: whoever holds it may make, check or remove the entry."""
    lock = filelock.FileLock(_lock_path(root, kind, key, "lock"), mode=0o600)
    try:
        lock.acquire(timeout=min(_QUIET_WAIT_S, wait_s))
    except filelock.Timeout:
        _log.info("waiting for another run that makes %s", what)
        try:
            lock.acquire(timeout=max(0.0, wait_s - _QUIET_WAIT_S), poll_interval=0.1)
        except filelock.Timeout:
            raise NicproofError(
                f"waited {wait_s:g} s for another run to make {what}: look what holds {lock.lock_file}"
            ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _try_lock(root: Path, kind: str, key: str) -> Iterator[bool]:
    lock = filelock.FileLock(_lock_path(root, kind, key, "lock"), mode=0o600)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _hold(root: Path, kind: str, key: str) -> None:
    """Mark the entry as used until this process ends. Called under its lock, so nobody is just removing it."""
    path = _lock_path(root, kind, key, "used")
    if path not in _held:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _held[path] = descriptor


def _is_held(root: Path, kind: str, key: str) -> bool:
    """Return whether any process uses the entry. Called under its lock."""
    descriptor = os.open(_lock_path(root, kind, key, "used"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _sweep(root: Path) -> None:
    """Remove what builds left that died before they could do so themselves: those whose lock nobody holds."""
    builds = root / _BUILDS
    if not builds.is_dir():
        return
    for remains in builds.iterdir():
        kind, key, _ = remains.name.split("@")
        with _try_lock(root, kind, key) as free:
            if free:
                _remove(remains)


def _discard(root: Path, entry: Path) -> None:
    """Remove an entry so that its name never stands for half of it."""
    builds = root / _BUILDS
    builds.mkdir(exist_ok=True, mode=0o700)
    grave = Path(tempfile.mkdtemp(prefix=f"{entry.parent.name}@{entry.name}@", dir=builds))
    entry.rename(grave / "entry")
    _remove(grave)


def _remove(folder: Path) -> None:
    """Remove a folder, read-only directories in it too. What cannot be removed now is tried again by the next run."""
    for path, _, _ in os.walk(folder):
        with suppress(OSError):
            os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _size(path: Path) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total
