"""Profile files: a profile is a YAML file in `profiles/`, or any YAML file named by its path.

- It is named after its file: `linux-6.1.yaml` is the profile `linux-6.1`.
- `extends:` names another profile (`linux`) or file (`./base.yaml`) whose fields it takes over. Blocks are merged
  field by field, everything else is replaced, and an empty value (`msi:`) takes the inherited field away.
- `${NAME}` and `${NAME:-default}` are environment variables; `$${` is a plain `${`.
- A relative path is relative to the file that names it.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness import yaml_source
from harness.errors import InputError
from harness.profile import Profile
from harness.profile_image import DiskImage, image_class, image_kind
from harness.recorded import with_card, with_recorded
from harness.shipped import shipped
from harness.supplied_image import without_absent_image
from harness.yaml_source import Mark, Node, nearest


def profile_names() -> tuple[str, ...]:
    """Return the names of the profiles that come with nicproof, sorted."""
    return tuple(sorted(file.stem for file in shipped("profiles").glob("*.yaml")))


_NOT_IN_A_FILE = {
    "name": "a profile is named after its file",
    "path": "a profile is named after its file",
    "packages": "a driver package is given by --driver NAME=FILE.inf",
    "undriven": "what an image lacks is in its card",
}
"""Fields that a profile has from elsewhere, and where that is."""


def load_profile(wish: str) -> Profile:
    """Load a profile by name (`linux`) or a YAML file by path (`./mine.yaml`).

    Raises:
        InputError: There is none, or something in it is wrong: one line for each, with file, line and field. Or what is
            recorded beside its disk is.
    """
    file = _find(wish, Path.cwd(), f"profile '{wish}'")
    tree = without_absent_image(_inherit(file, ()), file.stem)
    problems: list[str] = []
    tree = yaml_source.expand(tree, problems)
    for field, why in _NOT_IN_A_FILE.items():
        if own := tree.entries().get(field):
            problems.append(f"{own.mark}: {field}: unknown field; {why}")
    if problems:
        raise InputError("\n".join(problems))
    start = Mark(file, 1)
    given = {"name": Node(file.stem, start), "path": Node(file, start)}
    profile = yaml_source.validate(Profile, replace(tree, value={**tree.entries(), **given}))
    if not isinstance(profile.image, DiskImage):
        return profile
    return with_recorded(with_card(profile, profile.image), profile.image.disk)


def _find(wish: str, relative_to: Path, who: str) -> Path:
    """Return the file that a profile's name or path means; `who` begins the message if there is none."""
    if "/" in wish or wish.endswith((".yaml", ".yml")):
        file = relative_to / Path(wish).expanduser()
        if not file.is_file():
            raise InputError(f"{who}: {'is not a file' if file.exists() else 'no such file'}: {file}")
        return file
    names = profile_names()
    if wish not in names:
        raise InputError(f"{who}: no such profile; {nearest(wish, names)}, or the path of a YAML file")
    return shipped("profiles") / f"{wish}.yaml"


def _inherit(file: Path, above: tuple[Path, ...]) -> Node:
    """Read `file` and merge it over what it extends."""
    tree = yaml_source.read(file)
    if not isinstance(tree.value, Mapping):
        raise InputError(f"{tree.mark}: is no profile; allowed: a block of fields")
    chain = (*above, file.resolve())
    own = {field: node for field, node in tree.entries().items() if field != "extends"}
    tree, extends = replace(tree, value=own), tree.entries().get("extends")
    if extends is None:
        return tree
    if not isinstance(extends.value, str):
        raise InputError(f"{extends.mark}: extends: is no name; allowed: a profile's name or the path of a YAML file")
    problems: list[str] = []
    wish = str(yaml_source.expand(extends, problems, field="extends").value)
    if problems:
        raise InputError("\n".join(problems))
    base = _find(wish, file.parent, f"{extends.mark}: extends: '{wish}'")
    if base.resolve() in chain:
        loop = " -> ".join(link.name for link in (*chain[chain.index(base.resolve()) :], base))
        raise InputError(f"{extends.mark}: extends: goes round in a loop: {loop}")
    return _merge(_inherit(base, chain), tree)


def _merge(base: Node, over: Node) -> Node:
    """Merge two blocks field by field; an image of another kind replaces the whole image."""
    entries = dict(base.entries())
    for field, node in over.entries().items():
        inherited = entries.get(field)
        if inherited is None:
            entries[field] = node
        elif node.value is None:
            del entries[field]
        elif _is_block(node) and _is_block(inherited) and not _is_another_image(field, node, inherited):
            entries[field] = _merge(inherited, node)
        else:
            entries[field] = node
    return Node(entries, over.mark)


def _is_block(node: Node) -> bool:
    return isinstance(node.value, Mapping)


def _is_another_image(field: str, node: Node, inherited: Node) -> bool:
    return field == "image" and image_kind(node.entries()) not in (None, image_class(inherited.value))
