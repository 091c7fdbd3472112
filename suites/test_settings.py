"""Settings: a driver takes what it documents, shows what it took, refuses the rest, and forgets nothing.

Asserted exactly, without tolerance, but for an interval between interrupts: the device counts it in units, 256 ns or
1 us, and may have one unit less. What the driver says it has set is compared with the device wherever the device has a
register for it. A driver offers a setting if it shows a value for it; a flag that it shows but that this NIC cannot
have may be refused, as long as it then stays as it was.
"""

from collections.abc import Mapping

import pytest

from harness.cell import Cell
from harness.endpoint.wire import Wire
from harness.errors import Unsupported
from harness.guest.base import Guest
from harness.guest.offloads import Offload
from harness.guest.settings import (
    MESSAGES,
    PAUSE_AUTONEGOTIATION,
    RECEIVE_INTERVAL,
    RECEIVE_PAUSE,
    TRANSMIT_PAUSE,
    SettingKind,
)
from harness.registers import interrupt_interval_us, pause_programmed
from harness.suite import Disturb, after_down_and_up_and_reset, applies_to, requirement
from harness.testbed import Testbed
from harness.traffic.stimulus import resolve_repeatedly

SHORTEST_US, LONGEST_US = 10, 10_000
"""The interval between interrupts that Intel documents for its Linux drivers: 100 to 100,000 a second."""
OTHER_INTERVAL_US = 100
OTHER_MESSAGES = 0x2041
UNIT_US = 1.0


def _has_interval(cell: Cell) -> bool:
    """Whether the driver has an interval to set: Linux's e1000 offers none for the 82540EM."""
    return cell.nic.family in ("e1000e", "igb")


def _has_pause(cell: Cell) -> bool:
    """Whether the function has a MAC of its own: a virtual function's is its physical function's."""
    return cell.nic.family != "virtio" and not cell.nic.virtual_function


def _all_settings(guest: Guest) -> dict[SettingKind, Mapping[str, int]]:
    """Return every setting that the driver offers.

    Raises:
        Unsupported: there is none that anybody could read.
    """
    found, lacking = {}, []
    for kind in SettingKind:
        try:
            found[kind] = guest.settings(kind)
        except Unsupported as reason:
            lacking.append(reason)
    if not found:
        raise lacking[0]
    return found


def _other(kind: SettingKind, now: Mapping[str, int]) -> dict[str, int]:
    """Return other values for the settings of a kind: of the features one that the NIC itself has to obey."""
    match kind:
        case SettingKind.COALESCING:
            return {RECEIVE_INTERVAL: OTHER_INTERVAL_US}
        case SettingKind.MESSAGE_LEVEL:
            return {MESSAGES: OTHER_MESSAGES}
        case SettingKind.FEATURES:
            feature = Offload.RX_CHECKSUM if Offload.RX_CHECKSUM in now else Offload.RECEIVE_AGGREGATION
            return {feature: 1 - now[feature]}
        case SettingKind.PAUSE:
            return {PAUSE_AUTONEGOTIATION: 0, RECEIVE_PAUSE: 0, TRANSMIT_PAUSE: 0}
        case SettingKind.PRIVATE_FLAGS:
            return {flag: 1 - value for flag, value in now.items()}


@requirement(
    "ethtool-netlink COALESCE_SET",
    "ethtool-netlink DEBUG_SET",
    "ethtool-netlink PRIVFLAGS_SET",
    "ethtool-netlink PAUSE_SET",
    "ethtool-netlink FEATURES_SET",
)
@pytest.mark.parametrize("kind", list(SettingKind), ids=[kind.replace(" ", "-") for kind in SettingKind])
def test_settings_are_taken_and_leave_the_others(guest: Guest, wire: Wire, kind: SettingKind) -> None:
    """Settings of a kind read back as they were set, or stay if refused; all others stay; defaults are taken back."""
    before = _all_settings(guest)
    now = guest.settings(kind)
    wished = _other(kind, now)
    refused = guest.change_settings(kind, wished)
    after = _all_settings(guest)
    expected = now if refused else {**now, **wished}
    assert after[kind] == expected, f"expected {kind} {expected} ({refused or 'taken'}), seen {after[kind]}"
    assert not refused or kind is SettingKind.PRIVATE_FLAGS, f"expected {kind} {wished} taken, refused: {refused}"
    changed = [other for other in before if other is not kind and after[other] != before[other]]
    assert not changed, f"expected no other setting changed with the {kind}, changed: {changed}"
    refused = guest.change_settings(kind, {name: now[name] for name in wished})
    assert _all_settings(guest) == before, f"expected {kind} {now} again ({refused or 'taken'}), seen {after[kind]}"
    assert resolve_repeatedly(wire, 3) == 3, f"expected answers after the {kind} changed, none came"


@applies_to(_has_interval)
@requirement("ethtool-netlink COALESCE_SET")
@pytest.mark.parametrize("interval_us", [SHORTEST_US - 1, LONGEST_US + 1], ids=["too-short", "too-long"])
def test_interval_out_of_range_is_refused_and_changes_nothing(testbed: Testbed, guest: Guest, interval_us: int) -> None:
    """An interval between interrupts that is shorter or longer than documented is refused; all settings stay."""
    before = _all_settings(guest)
    refused = guest.change_settings(SettingKind.COALESCING, {RECEIVE_INTERVAL: interval_us})
    assert refused, f"expected an interval of {interval_us} us refused, it was taken"
    assert _all_settings(guest) == before, f"expected no setting changed by a refusal, seen {_all_settings(guest)}"
    assert resolve_repeatedly(testbed.wire, 3) == 3, "expected answers after a refused change, none came"


@requirement("ethtool-netlink PRIVFLAGS_SET")
def test_unknown_flag_is_refused_and_changes_nothing(guest: Guest) -> None:
    """A private flag that the driver does not have is refused, and all settings stay."""
    before = _all_settings(guest)
    if SettingKind.PRIVATE_FLAGS not in before:
        raise Unsupported("private flags: the driver has no such setting")
    refused = guest.change_settings(SettingKind.PRIVATE_FLAGS, {"no-such-flag": 1})
    assert refused, "expected a flag refused that the driver does not have, it was taken"
    assert _all_settings(guest) == before, f"expected no setting changed by a refusal, seen {_all_settings(guest)}"


@applies_to(_has_interval)
@requirement("82574L 10.2.4.2", "82574L 10.2.4.3", "82576 8.8 EITR", "ethtool-netlink COALESCE_SET")
@pytest.mark.parametrize("interval_us", [SHORTEST_US, OTHER_INTERVAL_US, LONGEST_US])
def test_interval_is_the_devices(testbed: Testbed, guest: Guest, interval_us: int) -> None:
    """An interval that the driver takes, from the shortest to the longest, is the one that the device keeps."""
    refused = guest.change_settings(SettingKind.COALESCING, {RECEIVE_INTERVAL: interval_us})
    assert not refused, f"expected an interval of {interval_us} us taken, refused: {refused}"
    assert resolve_repeatedly(testbed.wire, 5) == 5, f"expected answers with an interval of {interval_us} us, none came"
    vector = guest.queue_vectors("rx").get(0, 0)
    seen = interrupt_interval_us(testbed, vector)
    assert abs(seen - interval_us) <= UNIT_US, (
        f"expected an interval of {interval_us} us of vector {vector} in the device, seen {seen:g} us"
    )


@applies_to(_has_pause)
@requirement("82540EM 13.4.1", "82574L 10.2.2.1", "82576 8.2.1", "ethtool-netlink PAUSE_SET")
@pytest.mark.parametrize(("receive", "transmit"), [(1, 0), (0, 0)], ids=["receive-only", "neither"])
def test_pause_is_the_devices(testbed: Testbed, guest: Guest, receive: int, transmit: int) -> None:
    """Without autonegotiation the MAC obeys and sends pause frames just as it was asked to."""
    wished = {PAUSE_AUTONEGOTIATION: 0, RECEIVE_PAUSE: receive, TRANSMIT_PAUSE: transmit}
    refused = guest.change_settings(SettingKind.PAUSE, wished)
    assert not refused, f"expected the pause settings {wished} taken, refused: {refused}"
    assert guest.settings(SettingKind.PAUSE) == wished, f"expected {wished}, seen {guest.settings(SettingKind.PAUSE)}"
    seen = pause_programmed(testbed)
    assert seen == (bool(receive), bool(transmit)), (
        f"expected the device's CTRL to say {wished}, (RFCE, TFCE) is {seen}"
    )
    assert resolve_repeatedly(testbed.wire, 3) == 3, f"expected answers with the pause settings {wished}, none came"


@requirement(
    "ethtool-netlink COALESCE_SET",
    "ethtool-netlink DEBUG_SET",
    "ethtool-netlink PRIVFLAGS_SET",
    "ethtool-netlink PAUSE_SET",
    "ethtool-netlink FEATURES_SET",
)
@after_down_and_up_and_reset
def test_settings_survive(guest: Guest, wire: Wire, disturb: Disturb) -> None:
    """All settings last until they are changed, though the NIC is closed and opened, or reset."""
    start = _all_settings(guest)
    for kind, now in start.items():
        try:
            guest.change_settings(kind, _other(kind, now))
        except Unsupported:
            continue  # shown, but not to be changed with this device
    before = _all_settings(guest)
    assert before != start, f"expected settings to change, they are as they were: {before}"
    disturb(guest)
    after = _all_settings(guest)
    assert after == before, f"expected the settings {before} to last, seen {after}"
    assert resolve_repeatedly(wire, 3) == 3, "expected answers with other settings, none came"
