"""What the tests in `suites/` say about themselves."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from harness.cell import Cell
from harness.guest.base import Guest
from harness.nic import InterruptMode

Test = TypeVar("Test", bound=Callable[..., Any])


def requirement(*clauses: str) -> Callable[[Test], Test]:
    """Name the clauses that a test checks, such as "82574L 10.2.4.1"; they appear in the report."""
    return pytest.mark.requirement(*clauses)


def applies_to(cells: Callable[[Cell], bool]) -> pytest.MarkDecorator:
    """Limit a test, or one of its parameters, to the cells that it is about: elsewhere it does not exist."""
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


def _sleep(guest: Guest) -> None:
    guest.suspend()


_ONE_FOR_EACH_DRIVER = ("e1000", "e1000e", "igb", "virtio-net")
"""But for igbvf, which is some fifteen seconds away when it wakes."""


def stands_for_its_driver(cell: Cell) -> bool:
    """Whether what costs seconds is to be asked of a cell: of each driver once, in the mode that it is used in most."""
    mode = InterruptMode.MSIX if cell.nic.msix_vectors else InterruptMode.INTX
    return cell.mode is mode and cell.nic.name in _ONE_FOR_EACH_DRIVER


_DOWN_AND_UP, _RESET = pytest.param(_down_and_up, id="down-and-up"), pytest.param(_reset, id="reset")
after_down_and_up_and_reset = pytest.mark.parametrize("disturb", [_DOWN_AND_UP, _RESET])
"""Run a test twice: `disturb` closes and opens the interface, or has the driver reset the NIC."""
after_sleep_as_well = pytest.mark.parametrize(
    "disturb", [_DOWN_AND_UP, _RESET, pytest.param(_sleep, id="sleep", marks=applies_to(stands_for_its_driver))]
)
"""Run it a third time, after a sleep: a driver without a reset of its own sets its NIC up anew only there."""
