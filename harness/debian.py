"""Debian packages unpacked into a folder: no root, nothing installed, nothing on the host changed."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from harness.errors import InputError, NicproofError

SUITES = ("bullseye", "bookworm", "trixie", "sid")
"""Debian suites that packages can be taken from, oldest first."""

_DEADLINE_S = 600


def mirror() -> str:
    """Return the Debian mirror: $NICPROOF_MIRROR, else Debian's own."""
    return os.environ.get("NICPROOF_MIRROR", "http://deb.debian.org/debian")


def check_suite(suite: str) -> None:
    """Refuse a suite that is not in `SUITES`.

    Raises:
        InputError: The suite is unknown; names the nearest and all.
    """
    if suite not in SUITES:
        near = get_close_matches(suite, SUITES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"unknown Debian suite {suite!r}: {hint}(one of {', '.join(SUITES)})")


def apt_options(suite: str) -> tuple[str, ...]:
    """Return the mmdebstrap options that a suite needs whatever is made of it."""
    options = ["--architectures=amd64", '--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Retries "2"']
    if suite == "sid":  # mirrors lag, and its Release file expires after a week; the signature is checked all the same
        options.append('--aptopt=Acquire::Check-Valid-Until "false"')
    return tuple(options)


def extract(suite: str, packages: Sequence[str], into: Path) -> None:
    """Unpack packages and all that they depend on into an empty or absent folder, without running their scripts.

    Raises:
        InputError: Unknown suite, or mmdebstrap is not installed.
        NicproofError: No network, no such package, disk full... in one line.
    """
    check_suite(suite)
    what = f"{', '.join(packages)} of Debian {suite}"
    run_mmdebstrap(
        ["--variant=extract", "--mode=chrootless", *apt_options(suite), f"--include={','.join(packages)}"],
        [suite, str(into), mirror()],
        what=what,
    )


def run_mmdebstrap(
    options: Sequence[str], arguments: Sequence[str], *, what: str, deadline_s: float = _DEADLINE_S
) -> None:
    """Run mmdebstrap so that it ends with this process and cleans up after itself.

    Raises:
        InputError: mmdebstrap is not installed.
        NicproofError: It failed, or took longer than `deadline_s` seconds: one line that says why.
    """
    if not shutil.which("mmdebstrap"):
        raise InputError(
            f"mmdebstrap is not installed, and {what} cannot be unpacked without it: sudo apt-get install mmdebstrap"
        )
    # setpriv: should this process be killed, mmdebstrap gets the signal on which it removes its temporary files
    command = ["setpriv", "--pdeathsig", "TERM", "mmdebstrap", *options, *arguments]
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,  # not a pipe: with its reader dead, mmdebstrap would die of writing instead of cleaning up
            env={**os.environ, "LC_ALL": "C"},
        ) as process:
            try:
                process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                _end(process)
                raise NicproofError(f"{what} from {mirror()} was not there after {deadline_s:g} s") from None
            except BaseException:
                _end(process)
                raise
        said.seek(0)
        output = said.read()
    if process.returncode:
        raise NicproofError(f"cannot get {what} from {mirror()}: {_reason(output)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()


# What apt says, and what it means for a person:
#   E: Failed to fetch http://127.0.0.1:9/debian/dists/trixie/InRelease  Could not connect to 127.0.0.1:9
#   E: Failed to fetch http://mirror.example/debian/dists/trixie/InRelease  Could not resolve 'mirror.example'
#   E: Failed to fetch http://deb.debian.org/debian-nope/dists/trixie/InRelease  404  Not Found [IP: 151.101.2.132 80]
#   E: The repository 'http://deb.debian.org/debian-nope trixie InRelease' is not signed.
#   E: Unable to locate package no-such-package
#   E: Release file for http://mirror.example/debian/dists/trixie/InRelease is expired (invalid since 16d 11h 6min 46s).
#   W: GPG error: http://mirror.example/debian trixie InRelease: The following signatures couldn't be verified because
#      the public key is not available: NO_PUBKEY 6ED0E7B82643E131
#   E: You don't have enough free space in /var/cache/apt/archives/.
_MEANINGS = (
    (r"No space left on device|enough free space", "the disk is full"),
    (r"Unable to locate package (?P<name>\S+)", "the suite has no package {name}"),
    (
        r"(?P<name>Temporary failure resolving '[^']*'|Could not resolve '[^']*'|Could not connect to \S+|"
        r"[Cc]onnection timed out|Connection failed|Network is unreachable|Unable to connect to \S+)",
        "no network, or the mirror does not answer ({name}); NICPROOF_MIRROR can name another",
    ),
    (
        r"InRelease +(?P<name>4\d\d +[A-Z][\w ]+\w)",
        "the mirror does not have this suite ({name}); NICPROOF_MIRROR can name another",
    ),
    (r"is expired \((?P<name>[^)]*)\)", "the mirror is out of date: its Release file is expired ({name})"),
    (
        r"NO_PUBKEY|is not signed|signatures couldn't be verified",
        "this host lacks the keys that sign this suite: sudo apt-get install debian-archive-keyring",
    ),
)


def _reason(output: str) -> str:
    """Return one line for what mmdebstrap and apt printed."""
    for pattern, meaning in _MEANINGS:
        if found := re.search(pattern, output):
            return meaning.format(**found.groupdict())
    errors = [line for line in output.splitlines() if line.startswith("E:")] or output.splitlines()[-1:]
    return "; ".join(errors) or "mmdebstrap failed without a word"
