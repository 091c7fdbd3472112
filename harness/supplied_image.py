"""Images that the user has to bring, as nicproof may not: what is said where one is not there yet."""

import os
from dataclasses import replace
from pathlib import Path

from harness.yaml_source import Facts, Node, Text


class Supplied(Facts):
    """An image that the user has to bring, as nicproof may not: cells are known without it, and nothing can boot."""

    variable: Text
    """The environment variable that names the file."""
    what: Text
    """What the file has to be."""
    build: Text
    """The command that makes it."""


def without_absent_image(tree: Node, name: str) -> Node:
    """Put a remark in the place of an image whose file the user has yet to bring, or return the profile as it is."""
    supplied, image = tree.entries().get("supplied"), tree.entries().get("image")
    said = {field: node.value for field, node in supplied.entries().items()} if supplied else {}
    variable, what, build = (said.get(field) for field in ("variable", "what", "build"))
    if not (image and isinstance(variable, str) and isinstance(what, str) and isinstance(build, str)):
        return tree
    if not any(isinstance(node.value, str) and f"${{{variable}}}" in node.value for node in image.entries().values()):
        return tree  # another image has taken its place
    file = os.environ.get(variable)
    if file and Path(file).expanduser().is_file():
        return tree
    seen = f"which is {file}, where no file is" if file else "which is not set"
    why = {
        "absent": f"profile {name} has no image: it needs {what}, looked for where the environment variable "
        f"{variable} says, {seen}",
        "cure": f"{build}; then set {variable} to the file",
    }
    nodes = {field: Node(text, image.mark) for field, text in why.items()}
    return replace(tree, value={**tree.entries(), "image": Node(nodes, image.mark)})
