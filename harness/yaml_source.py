"""YAML files that remember where each value stands, so that an error can name file, line and field.

`read` turns a file into `Node`s, `expand` fills in environment variables, `validate` turns nodes into a pydantic model
or raises one `InputError` with a line for each thing that is wrong.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from harness.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


class Facts(BaseModel):
    """A block of fields that refuses unknown ones and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Mark:
    """A line of a file."""

    file: Path
    line: int
    """Counted from 1."""

    def __str__(self) -> str:
        """Return `file:line`, which editors and terminals can follow."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Node:
    """A value of a YAML file; the mark of a mapping's entry is the line of its key."""

    value: object
    """A mapping of text to nodes, a list of nodes, or a scalar."""
    mark: Mark

    def entries(self) -> Mapping[str, "Node"]:
        """Return the entries of a mapping; none for anything else."""
        return self.value if isinstance(self.value, Mapping) else {}


class _TextOfFile(str):
    """Text that knows the file which it came from, so that a relative path can be resolved against that file."""

    __slots__ = ("file",)
    file: Path


def read(file: Path) -> Node:
    """Read one YAML document.

    Raises:
        InputError: The file cannot be read, is not YAML, or has a key twice.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is not UTF-8 text (byte {error.start})") from None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise InputError(f"{file}: is empty; allowed: a YAML document")
        return _node(loader, root, Mark(file, 1), ())
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise InputError(f"{Mark(file, where.line + 1 if where else 1)}: is not YAML: {what}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(f"{Mark(file, line)}: is not YAML: a control character is not allowed") from None


def _node(loader: yaml.SafeLoader, node: yaml.Node, mark: Mark, above: tuple[yaml.Node, ...]) -> Node:
    if any(node is outer for outer in above):
        raise InputError(f"{mark}: the anchor contains itself")
    inside = (*above, node)
    if isinstance(node, yaml.MappingNode):
        entries: dict[str, Node] = {}
        for key, value in node.value:
            here = Mark(mark.file, key.start_mark.line + 1)
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"{here}: a key is a list or a block; allowed: text")
            name: str = key.value  # as written: `off:` stays "off"
            if name in entries:
                raise InputError(f"{here}: key '{name}' stands twice; first on line {entries[name].mark.line}")
            entries[name] = _node(loader, value, here, inside)
        return Node(entries, mark)
    if isinstance(node, yaml.SequenceNode):
        items = [_node(loader, item, Mark(mark.file, item.start_mark.line + 1), inside) for item in node.value]
        return Node(items, mark)
    try:
        return Node(loader.construct_object(node), mark)
    except ValueError as error:  # a date that looks like one and is none
        raise InputError(f"{mark}: '{node.value}' is not a value: {error}") from None


_VARIABLE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})?")


def expand(node: Node, problems: list[str], environment: Mapping[str, str] | None = None, field: str = "") -> Node:
    """Return `node` with `${NAME}` and `${NAME:-default}` filled in, in every text; `$${` stands for a plain `${`.

    What cannot be filled in is added to `problems`, one line each.
    """
    environment = os.environ if environment is None else environment
    if isinstance(node.value, Mapping):
        entries = {
            key: expand(item, problems, environment, f"{field}.{key}" if field else key)
            for key, item in node.value.items()
        }
        return replace(node, value=entries)
    if isinstance(node.value, list):
        items = [expand(item, problems, environment, f"{field}[{n}]") for n, item in enumerate(node.value)]
        return replace(node, value=items)
    if not isinstance(node.value, str):
        return node

    def filled(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match[0] == "$${":
            return "${"
        if name is None:
            problems.append(
                f"{node.mark}: {field}: a ${{ that is no ${{NAME}} or ${{NAME:-default}}; write $${{ for a plain ${{"
            )
            return ""
        value = environment.get(name)
        if not value and default is not None:
            value = default
        if value is None:
            problems.append(
                f"{node.mark}: {field}: environment variable {name} is not set; set it or write ${{{name}:-default}}"
            )
            return ""
        return value

    return replace(node, value=_VARIABLE.sub(filled, node.value))


def _plain(node: Node) -> Any:
    if isinstance(node.value, Mapping):
        return {key: _plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(item) for item in node.value]
    if isinstance(node.value, str):
        text = _TextOfFile(node.value)
        text.file = node.mark.file
        return text
    return node.value


def validate(model: type[Model], node: Node, *, field: str = "") -> Model:
    """Return `node` as a `model`; `field` names where in its file the node stands, if it is not the whole.

    Raises:
        InputError: Something does not fit: one line for each, with file, line, field, what is wrong, what is allowed.
    """
    try:
        return model.model_validate(_plain(node))
    except ValidationError as error:
        lines = [_line(model, node, details, field) for details in error.errors()]
    raise InputError("\n".join(dict.fromkeys(lines)))


def _line(model: type[BaseModel], node: Node, error: ErrorDetails, prefix: str) -> str:
    """Return what is wrong as one line, at the deepest node that exists."""
    models: list[type[BaseModel]] = [model]
    names: list[str] = [prefix] if prefix else []
    mark = node.mark
    here: Node | None = node
    for part in error["loc"]:
        if part == "[key]":
            continue
        if chosen := [one for one in models if one.__name__ == part]:  # which one of a union: not a field of the file
            models = chosen
            continue
        if isinstance(part, str) and part in (known := _fields(models)):
            models = known[part]
        if isinstance(part, int) and names:
            names[-1] += f"[{part}]"
        else:
            names.append(str(part))
        here = _below(here, part)
        mark = here.mark if here else mark
    what = _explain(error, sorted(_fields(models)) if error["type"] == "extra_forbidden" else [])
    return f"{mark}: {'.'.join(names)}: {what}" if names else f"{mark}: {what}"


def _below(node: Node | None, part: str | int) -> Node | None:
    if node is None:
        return None
    if isinstance(part, int):
        return node.value[part] if isinstance(node.value, list) and part < len(node.value) else None
    return node.entries().get(part)


def _fields(models: Iterable[type[BaseModel]]) -> dict[str, list[type[BaseModel]]]:
    """Return the fields of `models`, each with the models that its value may be."""
    return {
        name: list(_models_in(info.annotation))
        for one in models
        for name, info in one.model_fields.items()
        if not info.exclude
    }


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "string": "text",
    "bool": "true or false",
    "dict": "a block of fields",
    "mapping": "a block of fields",
    "model": "a block of fields",
    "list": "a list",
    "tuple": "a list",
    "path": "a path",
    "date": "a date such as 2030-12-31",
}
_ONE_OF = ("literal_error", "enum")
_REFUSED = "refused"


def refuse(title: str, problems: Iterable[tuple[tuple[str, ...], str]]) -> None:
    """Raise a ValidationError with a message for each field, for a model's validator that compares fields.

    Does nothing without problems.
    """
    errors = [
        InitErrorDetails(type=PydanticCustomError(_REFUSED, "{what}", {"what": what}), loc=field, input=None)
        for field, what in problems
    ]
    if errors:
        raise ValidationError.from_exception_data(title, errors)


def _explain(error: ErrorDetails, known: Sequence[str]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown field; {nearest(str(error['loc'][-1]), known)}"
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context["error"])
    if kind == _REFUSED:
        return error["msg"]
    shown = _shown(error["input"])
    if kind in _ONE_OF:
        allowed_values = re.findall(r"'([^']*)'", str(context["expected"]))  # "'pc' or 'q35'"
        return f"is {shown}; {nearest(str(error['input']), allowed_values)}"
    if kind in ("too_short", "string_too_short"):
        return "is empty"
    if (family := kind.split("_")[0]) in _KINDS and not kind.startswith(("string_pattern", "string_too")):
        return f"is {shown}; allowed: {_KINDS[family]}"
    allowed = error["msg"].removeprefix("Input should be ")
    return f"is {shown}; allowed: {allowed[:1].lower()}{allowed[1:]}"


def _shown(value: object) -> str:
    match value:
        case None:
            return "empty"
        case Mapping():
            return "a block of fields"
        case list():
            return "a list"
        case str():
            return f"'{value}'"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def nearest(wish: str, known: Sequence[str]) -> str:
    """Return the clause that ends a message on an unknown name: the nearest names first, then all that are allowed."""
    close = get_close_matches(wish.lower(), known, n=3, cutoff=0.5)
    allowed = f"allowed: {', '.join(known) or 'none'}"
    return f"nearest: {', '.join(close)}; {allowed}" if close else allowed


def from_file(value: object) -> object:
    """Resolve a relative path against the file that names it."""
    return value.file.parent / os.path.expanduser(value) if isinstance(value, _TextOfFile) else value


def is_file(path: Path) -> Path:
    """Return `path` if it is a file; a ValueError says what it is instead."""
    if not path.is_file():
        raise ValueError(f"{'is not a file' if path.exists() else 'no such file'}: {path}")
    return path


def is_directory(path: Path) -> Path:
    """Return `path` if it is a directory; a ValueError says what it is instead."""
    if not path.is_dir():
        raise ValueError(f"{'is not a directory' if path.exists() else 'no such directory'}: {path}")
    return path


FileIn = Annotated[Path, BeforeValidator(from_file), AfterValidator(is_file)]
"""An existing file; relative to the YAML file that names it."""
DirectoryIn = Annotated[Path, BeforeValidator(from_file), AfterValidator(is_directory)]
"""An existing directory; relative to the YAML file that names it."""
