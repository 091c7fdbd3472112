"""Settings: a driver takes what it documents, shows what it took, refuses the rest, and forgets nothing.

Asserted exactly, without tolerance, but for an interval between interrupts: the device counts it in units, 256 ns or
1 us, and may have one unit less. What the driver says it has set is compared with the device wherever the device has a
register for it; what the message level lets a driver log, and what a private flag does, is left to them. That pause
frames are obeyed and sent is what the device is told, not what it does. A driver offers a setting if it shows a value
for it that is not fixed; one that it shows but that this NIC cannot have may be refused, as long as it then stays as it
was. A feature may wait for another, without which it cannot be, as long as the system says so.
"""

from collections.abc import Mapping

import pytest

from harness.cell import Cell
from harness.endpoint.cable import Direction
from harness.endpoint.wire import Wire
from harness.errors import Unsupported
from harness.guest.base import Guest
from harness.guest.offloads import Offload
from harness.guest.settings import (
    COALESCING_SWITCHES,
    MESSAGES,
    PAUSE_AUTONEGOTIATION,
    RECEIVE_INTERVAL,
    RECEIVE_PAUSE,
    TRANSMIT_INTERVAL,
    TRANSMIT_PAUSE,
    SettingKind,
)
from harness.registers import interrupt_interval_us, pause_programmed
from harness.suite import Disturb, after_down_and_up_and_reset, applies_to, requirement
from harness.testbed import Testbed
from harness.traffic.frames import HEADER, LOCAL_EXPERIMENT, difference, frame, random_payloads, with_fcs
from harness.traffic.stimulus import broadcast_frames, resolve_repeatedly

SHORTEST_US, LONGEST_US = 10, 10_000
"""The interval between interrupts that Intel documents for its Linux drivers: 100 to 100,000 a second."""
OTHER_INTERVAL_US = 100
"""Also for what else is counted in coalescing, such as frames."""
OTHER_MESSAGES = 0x2041
UNIT_US = 1.0
Settings = Mapping[SettingKind, Mapping[str, int]]
DEFAULTS = {
    "e1000": (SettingKind.FEATURES, {Offload.RX_CHECKSUM.value: 1}),
    "e1000e": (SettingKind.COALESCING, {RECEIVE_INTERVAL: 3}),
}
"""What Linux's pages on Intel's drivers say of XsumRX and InterruptThrottleRate."""


def _has_interval(cell: Cell) -> bool:
    """Whether the driver has an interval to set: Linux's e1000 offers none for the 82540EM."""
    return cell.nic.family in ("e1000e", "igb")


def _has_transmit_interval(cell: Cell) -> bool:
    """Whether transmit queues have vectors of their own, with intervals that the driver offers."""
    return cell.nic.name == "igb" and cell.mode.has_vector_per_queue


def _can_show_fcs(cell: Cell) -> bool:
    """Whether the driver has a feature for it: those of the 82576 and virtio have it fixed off."""
    return cell.nic.family in ("e1000", "e1000e")


def _has_documented_defaults(cell: Cell) -> bool:
    """Whether Linux documents the default of a setting that can be read."""
    return cell.nic.name in DEFAULTS


def _has_pause(cell: Cell) -> bool:
    """Whether the function has a MAC of its own: a virtual function's is its physical function's."""
    return cell.nic.family != "virtio" and not cell.nic.virtual_function


def _changed(before: Settings, after: Settings) -> dict[tuple[SettingKind, str], tuple[int | None, int | None]]:
    """Return what is not the same any more, as it was and as it is."""
    pairs = {
        (kind, name): (now.get(name), after[kind].get(name))
        for kind, now in before.items()
        for name in now.keys() | after[kind].keys()
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _other(kind: SettingKind, now: Mapping[str, int]) -> dict[str, int]:
    """Return another value for each setting of a kind."""
    match kind:
        case SettingKind.COALESCING:
            return {one: 1 - was if one in COALESCING_SWITCHES else OTHER_INTERVAL_US for one, was in now.items()}
        case SettingKind.MESSAGE_LEVEL:
            return {MESSAGES: OTHER_MESSAGES}
        case _:
            return {name: 1 - value for name, value in now.items()}


def _change(guest: Guest, kind: SettingKind, values: Mapping[str, int]) -> str:
    """Change settings; return why they were refused: that the driver cannot change them at all is a refusal too."""
    try:
        return guest.change_settings(kind, values)
    except Unsupported as reason:
        return str(reason)


def _change_all(guest: Guest) -> Settings:
    """Change every setting that can be changed, but whether frames come with their FCS; return what then is."""
    before = guest.all_settings()
    for kind, now in before.items():
        for name, value in _other(kind, now).items():
            if name != Offload.RECEIVED_FCS and _change(guest, kind, {name: value}):
                _change(guest, kind, {name: now[name]})  # a wish that stays can keep others from coming true
    after = guest.all_settings()
    assert after != before, f"expected settings to change, all of them are as they were: {', '.join(before)}"
    return after


def _may_refuse(cell: Cell, kind: SettingKind, name: str, waiting: frozenset[str]) -> bool:
    """Whether this NIC cannot have a setting that its driver shows."""
    match kind:
        case SettingKind.PRIVATE_FLAGS:
            return cell.nic.name == "e1000e"  # Linux's driver has flags for NICs in a chipset, none for the 82574L
        case SettingKind.COALESCING:
            of_shared = name == TRANSMIT_INTERVAL and cell.nic.name == "igb" and not cell.mode.has_vector_per_queue
            # One interval for both directions, which is the receiver's; a device without VIRTIO_NET_F_NOTF_COAL
            return of_shared or cell.nic.family == "virtio"
        case SettingKind.PAUSE:
            return cell.nic.virtual_function
        case _:
            return name in waiting


def _assert_taken_alone(guest: Guest, cell: Cell, before: Settings, kind: SettingKind, name: str) -> None:
    """Assert that a setting is changed, or refused where it may be, and no other with it; and that it is taken back."""
    now, wished = before[kind][name], _other(kind, before[kind])[name]
    refused = _change(guest, kind, {name: wished})
    changed = _changed(before, guest.all_settings())
    waiting = guest.features_overruled() if kind is SettingKind.FEATURES else frozenset()
    change = f"{kind} with {name} {wished} for {now} ({refused or 'taken'})"
    assert not refused or _may_refuse(cell, kind, name, waiting), f"expected {change} taken"
    own = changed.pop((kind, name), (now, now))[1]
    assert own == (now if refused else wished), f"expected {change} to read back, seen {own}"
    others = {other: pair for other, pair in changed.items() if other[0] is not kind or other[1] not in waiting}
    assert not others, f"expected no other setting changed by {change}, changed: {others}"
    _change(guest, kind, {name: now})
    changed = _changed(before, guest.all_settings())
    assert not changed, f"expected all settings as before after {change} and back, changed: {changed}"


@requirement(
    "ethtool-netlink COALESCE_SET",
    "ethtool-netlink DEBUG_SET",
    "ethtool-netlink PRIVFLAGS_SET",
    "ethtool-netlink PAUSE_SET",
    "ethtool-netlink FEATURES_SET",
)
@pytest.mark.parametrize("kind", list(SettingKind), ids=[kind.replace(" ", "-") for kind in SettingKind])
def test_each_setting_is_taken_alone(guest: Guest, wire: Wire, cell: Cell, kind: SettingKind) -> None:
    """Each setting of a kind reads back as it was set, or stays if refused; all others stay; it can be set back."""
    names, first = set(guest.settings(kind)), guest.all_settings()
    if kind is SettingKind.PAUSE:
        _change(guest, kind, {PAUSE_AUTONEGOTIATION: 0})  # while it is on, the link's other end has a say
    if kind is SettingKind.FEATURES:
        names -= guest.features_overruled()
    before = guest.all_settings()
    for name in sorted(names):
        _assert_taken_alone(guest, cell, before, kind, name)
    if kind is SettingKind.PAUSE:
        _change(guest, kind, first[kind])
    changed = _changed(first, guest.all_settings())
    assert not changed, f"expected all settings in the end as at first, changed: {changed}"
    assert resolve_repeatedly(wire, 3) == 3, f"expected answers after the {kind} changed, none came"


@requirement("ethtool-netlink COALESCE_SET", "ethtool-netlink FEATURES_SET")
@pytest.mark.parametrize("kind", [SettingKind.COALESCING, SettingKind.FEATURES])
def test_setting_that_is_not_offered_is_refused_and_changes_nothing(
    guest: Guest, wire: Wire, kind: SettingKind
) -> None:
    """A parameter that the driver does not have, or a feature that it has fixed, is refused, and all settings stay."""
    guest.settings(kind)
    before, lacking = guest.all_settings(), guest.settings_lacking(kind)
    for name, value in _other(kind, lacking).items():
        refused = _change(guest, kind, {name: value})
        assert refused, f"expected {kind} {name} {value} refused, which the driver does not offer, it was taken"
    changed = _changed(before, guest.all_settings()) | _changed({kind: lacking}, {kind: guest.settings_lacking(kind)})
    assert not changed, f"expected no setting changed by a refusal, changed: {changed}"
    assert resolve_repeatedly(wire, 3) == 3, "expected answers after refused changes, none came"


@applies_to(_has_interval)
@requirement("ethtool-netlink COALESCE_SET")
@pytest.mark.parametrize("interval_us", [SHORTEST_US - 1, LONGEST_US + 1], ids=["too-short", "too-long"])
@pytest.mark.parametrize("name", [RECEIVE_INTERVAL, TRANSMIT_INTERVAL], ids=["receive", "transmit"])
def test_interval_out_of_range_is_refused_and_changes_nothing(
    testbed: Testbed, guest: Guest, name: str, interval_us: int
) -> None:
    """An interval between interrupts that is shorter or longer than documented is refused; all settings stay."""
    before = guest.all_settings()
    refused = guest.change_settings(SettingKind.COALESCING, {name: interval_us})
    assert refused, f"expected a {name} of {interval_us} us refused, it was taken"
    changed = _changed(before, guest.all_settings())
    assert not changed, f"expected no setting changed by a refusal, changed: {changed}"
    assert resolve_repeatedly(testbed.wire, 3) == 3, "expected answers after a refused change, none came"


@requirement("ethtool-netlink PRIVFLAGS_SET")
def test_unknown_flag_is_refused_and_changes_nothing(guest: Guest) -> None:
    """A private flag that the driver does not have is refused, and all settings stay."""
    before = guest.all_settings()
    if SettingKind.PRIVATE_FLAGS not in before:
        raise Unsupported("private flags: the driver has no such setting")
    refused = guest.change_settings(SettingKind.PRIVATE_FLAGS, {"no-such-flag": 1})
    assert refused, "expected a flag refused that the driver does not have, it was taken"
    changed = _changed(before, guest.all_settings())
    assert not changed, f"expected no setting changed by a refusal, changed: {changed}"


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


@applies_to(_has_transmit_interval)
@requirement("82576 8.8 EITR", "ethtool-netlink COALESCE_SET")
@pytest.mark.parametrize("interval_us", [SHORTEST_US, OTHER_INTERVAL_US, LONGEST_US])
def test_transmit_interval_is_the_devices(testbed: Testbed, guest: Guest, interval_us: int) -> None:
    """An interval of the transmit queues is the one that the device keeps for their vectors, and for no others."""
    rx, tx = guest.queue_vectors("rx")[0], guest.queue_vectors("tx")[0]
    guest.change_settings(SettingKind.COALESCING, {RECEIVE_INTERVAL: 2 * OTHER_INTERVAL_US})
    refused = guest.change_settings(SettingKind.COALESCING, {TRANSMIT_INTERVAL: interval_us})
    assert not refused, f"expected an interval of {interval_us} us taken, refused: {refused}"
    guest.steer_transmission()
    with testbed.wire.capture(b"from queue 0") as left:  # igb's driver writes an interval when its vector interrupts
        guest.endpoint().send(*broadcast_frames(b"from queue 0", 16), cpu=0)
        assert len(left.wait(16)) == 16, f"expected 16 frames from transmit queue 0 at {interval_us} us"
    assert resolve_repeatedly(testbed.wire, 5) == 5, f"expected answers with an interval of {interval_us} us, none came"
    seen = interrupt_interval_us(testbed, rx), interrupt_interval_us(testbed, tx)
    expected = 2 * OTHER_INTERVAL_US, interval_us
    assert seen == expected, f"expected intervals {expected} us of (receive, transmit) vectors {rx, tx}, seen {seen}"


@applies_to(_has_pause)
@requirement("82540EM 13.4.1", "82574L 10.2.2.1", "82576 8.2.1", "ethtool-netlink PAUSE_SET")
@pytest.mark.parametrize(
    ("receive", "transmit"), [(1, 0), (0, 1), (1, 1), (0, 0)], ids=["receive-only", "transmit-only", "both", "neither"]
)
def test_pause_is_the_devices(testbed: Testbed, guest: Guest, receive: int, transmit: int) -> None:
    """Without autonegotiation the MAC is told to obey and to send pause frames just as was asked."""
    wished = {PAUSE_AUTONEGOTIATION: 0, RECEIVE_PAUSE: receive, TRANSMIT_PAUSE: transmit}
    refused = guest.change_settings(SettingKind.PAUSE, wished)
    assert not refused, f"expected the pause settings {wished} taken, refused: {refused}"
    assert guest.settings(SettingKind.PAUSE) == wished, f"expected {wished}, seen {guest.settings(SettingKind.PAUSE)}"
    seen = pause_programmed(testbed)
    assert seen == (bool(receive), bool(transmit)), (
        f"expected the device's CTRL to say {wished}, (RFCE, TFCE) is {seen}"
    )
    assert resolve_repeatedly(testbed.wire, 3) == 3, f"expected answers with the pause settings {wished}, none came"


@applies_to(_has_pause)
@requirement("ethtool-netlink PAUSE_SET", "NDIS 6 Flow Control")
@pytest.mark.parametrize(("receive", "transmit"), [(1, 0), (0, 1), (0, 0)], ids=["receive", "transmit", "neither"])
def test_pause_is_negotiated_as_asked(guest: Guest, wire: Wire, receive: int, transmit: int) -> None:
    """While pause is negotiated, what is to be offered of it reads back as it was set, or is refused and stays."""
    before = guest.settings(SettingKind.PAUSE)
    wished = {PAUSE_AUTONEGOTIATION: 1, RECEIVE_PAUSE: receive, TRANSMIT_PAUSE: transmit}
    refused = _change(guest, SettingKind.PAUSE, wished)
    expected, seen = before if refused else wished, guest.settings(SettingKind.PAUSE)
    assert seen == expected, f"expected {expected} after {wished} ({refused or 'taken'}), seen {seen}"
    assert resolve_repeatedly(wire, 3) == 3, f"expected answers with the pause settings {wished}, none came"


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
    before = _change_all(guest)
    disturb(guest)
    changed = _changed(before, guest.all_settings())
    assert not changed, f"expected all settings to last, changed: {changed}"
    assert resolve_repeatedly(wire, 3) == 3, "expected answers with other settings, none came"


@applies_to(_can_show_fcs)
@requirement("82540EM 13.4.22", "82574L 10.2.5.1", "IEEE 802.3-2022 3.1.1", "ethtool-netlink FEATURES_SET")
def test_frames_come_with_their_fcs_when_asked(guest: Guest, wire: Wire) -> None:
    """While frames are to be handed on with their FCS, each has its own behind its data."""
    guest.set_offload(Offload.RECEIVED_FCS, True)
    frames = [frame(Direction.TO_DUT, LOCAL_EXPERIMENT, payload) for payload in random_payloads([46, 47, 600, 1500])]
    with guest.endpoint().capture(frames[0][6:HEADER]) as seen:
        wire.send(*frames)
        problem = difference([with_fcs(one) for one in frames], seen.wait(len(frames)))
    assert not problem, f"of frames that were to come with their FCS, {problem}"


@applies_to(_has_documented_defaults)
@requirement("Linux intel parameters")
def test_settings_have_their_documented_defaults(guest: Guest, cell: Cell) -> None:
    """A driver that was loaded without parameters has the defaults that its documentation names."""
    kind, expected = DEFAULTS[cell.nic.name]
    now = guest.settings(kind)
    seen = {name: now.get(name) for name in expected}
    assert seen == expected, f"expected the documented defaults {expected} of {kind}, seen {seen}"


@requirement("Linux intel parameters", "82576 4.5", "82574L 4.6", "82540EM 14.3", "virtio 1.2 3.1.1")
def test_settings_are_at_their_defaults_after_a_reload(guest: Guest, wire: Wire) -> None:
    """A driver that is loaded again has every setting as when it was first loaded, whatever was changed meanwhile."""
    before = guest.all_settings()
    _change_all(guest)
    guest.unload_driver()
    guest.load_driver()
    changed = _changed(before, guest.all_settings())
    assert not changed, f"expected all settings after a reload as at first, changed: {changed}"
    assert resolve_repeatedly(wire, 3) == 3, "expected answers after a reload, none came"
