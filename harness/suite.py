"""What the tests in `suites/` say about themselves."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from harness.cell import Cell
from harness.guest.base import Guest

Test = TypeVar("Test", bound=Callable[..., Any])


def requirement(*clauses: str) -> Callable[[Test], Test]:
    """Name the clauses that a test checks, such as "82574L 10.2.4.1"; they appear in the report."""
    return pytest.mark.requirement(*clauses)


def applies_to(cells: Callable[[Cell], bool]) -> Callable[[Test], Test]:
    """Limit a test to the cells that its rule is about: elsewhere it does not exist, rather than being skipped."""
    return pytest.mark.applies_to.with_args(cells)  # a mark that is called with a function alone decorates it


own_guest = pytest.mark.own_guest
"""Each case has a guest to itself: it floods or confuses one, or judges all that a guest has done so far."""

own_settings = pytest.mark.own_settings
"""Each case finds the settings that a guest starts with, not what the case before it has made."""


def length_id(octets: int) -> str:
    """Name a parameter by its length."""
    return f"{octets}-octets"


Disturb = Callable[[Guest], None]
"""Something that a setting of the DUT has to survive."""


def _down_and_up(guest: Guest) -> None:
    guest.bounce(1)


def _reset(guest: Guest) -> None:
    guest.reset_nic()


after_down_and_up_and_reset = pytest.mark.parametrize("disturb", [_down_and_up, _reset], ids=["down-and-up", "reset"])
"""Run a test twice: `disturb` closes and opens the interface, or has the driver reset the NIC."""
