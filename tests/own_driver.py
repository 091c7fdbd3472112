"""Linux's e1000e for a guest, built from Debian's source: as it is, or with a defect."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from harness import cache
from harness.debian import apt_options, mirror, run_mmdebstrap

MODULE = "kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko"
"""The kernel's own one, in the tree of its modules."""
_SOURCE = "drivers/net/ethernet/intel/e1000e"
_DEADLINE_S = 1500.0


def built(release: str, edits: Mapping[str, str]) -> Path:
    """Build a module for each of some edits of its netdev.c, and return the folder where they lie as NAME.ko.

    Args:
        release: the guest kernel's, such as "6.12.107+deb13-amd64".
        edits: a script for sed by the module's name; an empty one leaves the source as it is.

    Raises:
        NicproofError: The source, the headers or the compiler are not to be had, an edit changes nothing, or a module
            cannot be built.
    """
    what = f"{len(edits)} builds of e1000e"

    def build(into: Path) -> None:
        unpack = f'tar -C /tmp -xJf /usr/src/linux-source-*.tar.xz --strip-components=1 --wildcards "*/{_SOURCE}/*"'
        recipe = [
            *("--variant=apt", *apt_options("trixie"), "--format=null"),
            f"--include=linux-headers-{release},linux-source,make,xz-utils",
            f"--customize-hook=chroot \"$1\" /bin/sh -ec '{unpack}'",
        ]
        for name, edit in edits.items():
            folder = f"/tmp/{name}"
            steps = [f"cp -r /tmp/{_SOURCE} {folder}"]
            if edit:
                steps += [
                    f"sed -i {shlex.quote(edit)} {folder}/netdev.c",
                    f"cmp -s /tmp/{_SOURCE}/netdev.c {folder}/netdev.c && echo E: {name} edits nothing && exit 1 || :",
                ]
            steps += [f"make -C /lib/modules/{release}/build M={folder} CONFIG_E1000E=m modules"]
            recipe += [
                f'--customize-hook=chroot "$1" /bin/sh -ec {shlex.quote("; ".join(steps))}',
                f"--customize-hook=copy-out {folder}/e1000e.ko {into}",
                f"--customize-hook=mv {into}/e1000e.ko {into}/{name}.ko",
            ]
        run_mmdebstrap(recipe, ["trixie", "/dev/null", mirror()], what=what, deadline_s=_DEADLINE_S)

    key = hashlib.sha256(json.dumps([release, sorted(edits.items())]).encode()).hexdigest()[:16]
    return cache.publish("own-driver", key, build, what=what, needs_mib=2000)
