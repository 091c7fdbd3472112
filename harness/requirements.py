"""Requirements: the clauses of standards and datasheets that the suites check, and which test checks which.

Each file in `requirements/` is one document with its clauses. A test names the clauses that it checks by their ids
(`@requirement`). What a test names is read from the suites' text, so that nothing has to be imported or run.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field

from harness.cell import Cell
from harness.errors import InputError
from harness.globs import NicGlobs, matches
from harness.profile import GuestOS
from harness.shipped import shipped
from harness.yaml_source import Facts, Mark, Node, Text, nearest, read, validate


class Clause(Facts):
    """One demand of a document."""

    id: Text
    """As tests name it: the document and the section in short, with the name of a register where a section has many."""
    title: Text
    """The section's."""
    says: Text
    """What it demands, in a sentence of our own."""
    not_testable: Text | None = None
    """Why no test can check it here; a clause that is tested has none."""


class Document(Facts):
    """A standard, a specification or a datasheet: one file in `requirements/`."""

    title: Text
    edition: Text
    url: Text
    """Where it can be had."""
    nics: NicGlobs = ("*",)
    """The NIC models that it is about."""
    systems: Annotated[tuple[GuestOS, ...], Field(min_length=1)] | None = None
    """Whose drivers have to meet it; any, if it is not given."""
    clauses: Annotated[tuple[Clause, ...], Field(min_length=1)]

    def binds(self, cell: Cell) -> bool:
        """Whether a driver in this cell has to meet it."""
        return matches(cell.nic.name, self.nics) and (self.systems is None or cell.profile.os in self.systems)


@dataclass(frozen=True)
class Test:
    """A test of the suites and the clauses that it names."""

    __test__ = False  # its name would make pytest collect it

    name: str
    """Such as `test_traffic.py::test_order_is_kept`."""
    clauses: tuple[str, ...]
    mark: Mark


@dataclass(frozen=True)
class Coverage:
    """Which tests check which clauses."""

    documents: tuple[Document, ...]
    tests: tuple[Test, ...]

    @cached_property
    def clauses(self) -> dict[str, Clause]:
        """The clauses of all documents, by id."""
        return {clause.id: clause for document in self.documents for clause in document.clauses}

    def tests_of(self, clause: Clause) -> tuple[str, ...]:
        """Return the names of the tests that check a clause."""
        return tuple(test.name for test in self.tests if clause.id in test.clauses)

    def summary(self) -> str:
        """Return how much is covered, in one line."""
        not_testable = sum(clause.not_testable is not None for clause in self.clauses.values())
        covered = sum(bool(self.tests_of(clause)) for clause in self.clauses.values())
        return (
            f"{len(self.clauses)} clauses of {len(self.documents)} documents: {covered} checked by {len(self.tests)} "
            f"tests, {not_testable} not testable here"
        )

    def problems(self) -> list[str]:
        """Return what is wrong, a line each: nothing if every test and every clause has its counterpart."""
        return [*self._problems_of_tests(), *self._problems_of_clauses()]

    def _problems_of_tests(self) -> Iterator[str]:
        for test in self.tests:
            if not test.clauses:
                yield f"{test.mark}: {test.name}: names no requirement; allowed: one or more"
            for clause in test.clauses:
                if clause not in self.clauses:
                    close = nearest(clause, sorted(self.clauses)).partition("; ")[0]
                    hint = close if close.startswith("nearest") else "add it to a file in requirements/"
                    yield f"{test.mark}: {test.name}: requirement '{clause}' is in no document; {hint}"

    def _problems_of_clauses(self) -> Iterator[str]:
        for clause in self.clauses.values():
            tests = self.tests_of(clause)
            if not tests and not clause.not_testable:
                yield f"{clause.id}: no test names it; allowed: a test that does, or not_testable with the reason"
            if tests and clause.not_testable:
                yield f"{clause.id}: is said to be not testable, but {', '.join(tests)} names it"


def load_coverage(requirements: Path | None = None, suites: Path | None = None) -> Coverage:
    """Read the documents and the suites in these folders, or those that come with nicproof.

    Raises:
        InputError: One line for each thing that is wrong in a file: file, line, field, what is allowed.
    """
    return Coverage(load_documents(requirements), tests_in(suites or shipped("suites")))


def not_binding(documents: Iterable[Document], cell: Cell) -> frozenset[str]:
    """Return the ids of the clauses that are about other hardware than a cell's, or other systems."""
    return frozenset(clause.id for one in documents if not one.binds(cell) for clause in one.clauses)


def tests_in(suites: Path) -> tuple[Test, ...]:
    """Return every test in a folder of suites, as they stand there.

    Raises:
        InputError: A test names something else than ids as plain text.
    """
    return tuple(test for file in sorted(suites.glob("test_*.py")) for test in _tests_in(file))


def load_documents(requirements: Path | None = None) -> tuple[Document, ...]:
    """Read the documents in this folder, or those that come with nicproof.

    Raises:
        InputError: One line for each thing that is wrong in a file: file, line, field, what is allowed.
    """
    documents: list[Document] = []
    problems: list[str] = []
    first: dict[str, Mark] = {}
    for file in sorted((requirements or shipped("requirements")).glob("*.yaml")):
        try:
            root = read(file)
            documents.append(validate(Document, root))
        except InputError as error:
            problems.append(str(error))
            continue
        for number, node in enumerate(_ids(root)):
            name = str(node.value)
            if name in first:
                problems.append(f"{node.mark}: clauses[{number}].id: '{name}' stands twice; first at {first[name]}")
            first.setdefault(name, node.mark)
    if problems:
        raise InputError("\n".join(problems))
    return tuple(documents)


def _ids(root: Node) -> list[Node]:
    listed = root.entries()["clauses"].value
    return [node.entries()["id"] for node in listed] if isinstance(listed, list) else []


def _tests_in(file: Path) -> Iterator[Test]:
    for node in ast.parse(file.read_text(encoding="utf-8"), str(file)).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            clauses = tuple(clause for decorator in node.decorator_list for clause in _named_by(decorator, file))
            yield Test(f"{file.name}::{node.name}", clauses, Mark(file, node.lineno))


def _named_by(decorator: ast.expr, file: Path) -> Iterator[str]:
    if not (isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "requirement"):
        return
    for argument in decorator.args:
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            raise InputError(
                f"{Mark(file, argument.lineno)}: requirement: is {ast.unparse(argument)}; allowed: ids as plain text"
            )
        yield argument.value
