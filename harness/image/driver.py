"""A driver of the user's own in the place of the guest kernel's."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.errors import InputError
from harness.image.initrd import module_name
from harness.image.kernel import unpacked
from harness.yaml_source import nearest


def module_facts(module: bytes) -> dict[str, str]:
    r"""Return what a module says of itself: its name, its vermagic and what it depends on.

    The section .modinfo holds it as text, each entry ended by a zero octet:
        depends=\0intree=Y\0name=e1000e\0retpoline=Y\0vermagic=6.12.107+deb13-amd64 SMP preempt mod_unload \0
    """
    found = re.findall(rb"(?:^|\0)(name|vermagic|depends)=([^\0]*)(?=\0)", module)
    return {name.decode(): value.decode(errors="replace") for name, value in found}


def replacements(drivers: Mapping[str, Path], release: str | None, dependencies: Iterable[str]) -> dict[str, bytes]:
    """Return the content of each driver's module by its path under lib/modules/RELEASE.

    Args:
        drivers: files by the name of the module that they replace.
        release: the guest kernel's, as `uname -r` says it.
        dependencies: the lines of its modules.dep.

    Raises:
        InputError: a file is no module, is another one, is for another kernel, or the kernel has no such module.
    """
    needed = dict(line.split(":", 1) for line in dependencies)
    paths = {module_name(path): path for path in needed}
    found: dict[str, bytes] = {}
    for name, file in drivers.items():
        wanted, who = name.replace("-", "_"), f"driver {name}={file}"
        if wanted not in paths:
            raise InputError(f"{who}: kernel {release} has no module {name}; {nearest(wanted, sorted(paths))}")
        content = unpacked(file.read_bytes(), str(file)) if file.suffix != ".ko" else file.read_bytes()
        facts = module_facts(content)
        if not content.startswith(b"\x7fELF") or "vermagic" not in facts:
            raise InputError(f"{who}: is no kernel module; allowed: a .ko file")
        if facts.get("name", wanted) != wanted:
            raise InputError(f"{who}: the module's name is {facts['name']}; give it as {facts['name']}={file}")
        built_for = facts["vermagic"].split()[0]
        if built_for != release:
            raise InputError(f"{who}: is built for kernel {built_for}, the guest's is {release}; build it for that one")
        own = {module_name(path) for path in needed[paths[wanted]].split()}
        if missing := sorted(set(filter(None, facts.get("depends", "").replace("-", "_").split(","))) - own):
            raise InputError(f"{who}: needs {', '.join(missing)}, which the module that it replaces does not")
        if not paths[wanted].endswith(".ko"):
            raise InputError(f"{who}: the guest's own is compressed ({paths[wanted]}); put yours among image.modules")
        found[paths[wanted]] = content
    return found
