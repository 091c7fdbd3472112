"""Which operations change a guest."""

import pytest

from harness.errors import Unsupported
from harness.guest.base import Guest
from harness.guest.operations import LOOKING, SETTING


class MuteGuest(Guest):
    """Does what it is asked, whatever that is."""

    def mtu(self) -> int:
        return 1500

    def set_mtu(self, octets: int) -> bool:
        return True


def test_operations_that_look_or_set_are_operations_of_a_guest() -> None:
    assert not LOOKING & SETTING
    assert [name for name in sorted(LOOKING | SETTING) if not callable(getattr(Guest, name, None))] == []


def test_guest_that_was_only_looked_at_is_as_it_was() -> None:
    guest = MuteGuest()
    assert guest.mtu() == 1500
    assert not guest.changes
    assert guest.set_mtu(1400)
    assert guest.changes == {"set_mtu"}
    assert not MuteGuest().changes


def test_operation_that_is_lacking_changes_nothing() -> None:
    guest = MuteGuest()
    with pytest.raises(Unsupported):
        guest.reset_nic()
    assert not guest.changes
