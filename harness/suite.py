"""What the tests in `suites/` say about themselves."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from harness.cell import Cell

Test = TypeVar("Test", bound=Callable[..., Any])


def requirement(*clauses: str) -> Callable[[Test], Test]:
    """Name the clauses that a test checks, such as "82574L 10.2.4.1"; they appear in the report."""
    return pytest.mark.requirement(*clauses)


def applies_to(cells: Callable[[Cell], bool]) -> Callable[[Test], Test]:
    """Limit a test to the cells that its rule is about: elsewhere it does not exist, rather than being skipped."""
    return pytest.mark.applies_to.with_args(cells)  # a mark that is called with a function alone decorates it


def length_id(octets: int) -> str:
    """Name a parameter by its length."""
    return f"{octets}-octets"
