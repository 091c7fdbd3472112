"""Private directories for running guests; what a killed run left behind is removed by the next one."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.cache import cache_root

_KEPT = "kept"


def _root() -> Path:
    return cache_root() / ".runs"  # hidden: no entry of the cache, and not to be cleared as one


def make() -> Path:
    """Return a new directory, mode 0700, named by this process."""
    root = _root()
    root.mkdir(mode=0o700, exist_ok=True)
    sweep()
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=root))


def remove(directory: Path) -> None:
    """Remove a directory made here, with all that is in it."""
    shutil.rmtree(directory, ignore_errors=True)


def keep(directory: Path) -> None:
    """Leave a directory to the guest that goes on using it: it is swept when that guest has ended.

    Raises:
        OSError: it cannot be marked.
    """
    (directory / _KEPT).touch()


def directories() -> tuple[Path, ...]:
    """Return the directories that are there, sorted."""
    root = _root()
    return tuple(sorted(root.iterdir())) if root.is_dir() else ()


def user_of(directory: Path) -> int | None:
    """Return the process that uses a directory, or None: the run that made it, or the guest that was kept."""
    maker = directory.name.partition("-")[0]
    if maker.isdigit() and Path("/proc", maker).exists():
        return int(maker)
    return _guest(directory) if (directory / _KEPT).exists() else None


def _guest(directory: Path) -> int | None:
    """Return the process whose command line has the directory's trace log, as QEMU's has and nobody else's."""
    wanted = b"\0-D\0" + os.fsencode(directory / "trace.log") + b"\0"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "cmdline").read_bytes():
                return int(process.name)
        except OSError:
            continue  # it has just ended, or is another user's
    return None


@contextmanager
def socket_name(path: Path) -> Iterator[str]:
    """Return a name for `path` that fits into a socket address, which has room for 107 bytes only (unix(7))."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def sweep() -> None:
    """Remove the directories that nobody uses any more, and end the guests that lost their harness unnoticed.

    A guest ends with its harness, but not with --keep: of those, only the ones that were kept may go on.
    """
    for directory in directories():
        if user_of(directory) is None:
            if (guest := _guest(directory)) is not None:
                with suppress(ProcessLookupError):
                    os.kill(guest, signal.SIGKILL)
            remove(directory)
