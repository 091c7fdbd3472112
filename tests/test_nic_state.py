"""A guest whose settings were changed is put back, all of it, or is said not to be as it was."""

from collections.abc import Callable, Iterator

import pytest

from harness.cell import find_cell
from harness.guest.base import Guest
from harness.guest.offloads import Offload
from harness.guest.settings import MESSAGES, RECEIVE_INTERVAL, SettingKind
from harness.guest.state import State
from harness.launcher import Launcher
from harness.testbed import Testbed

GROUP = "01:00:5e:40:12:34"
VID = 5


@pytest.fixture(scope="module")
def bed(launcher: Launcher) -> Iterator[Testbed]:
    cell = find_cell("linux/e1000e/msix")
    testbed = launcher.fork(cell, launcher.saved(cell))
    testbed.take_as_pristine()
    yield testbed
    testbed.close()


@pytest.fixture(scope="module")
def before(bed: Testbed) -> State:
    return bed.guest.state()


def set_mac_while_down(guest: Guest) -> None:
    guest.set_up(False)
    guest.set_mac("52:54:00:12:34:56")
    guest.set_up(True)


def changed(before: State, guest: Guest) -> set[str]:
    now = guest.state()
    return {name.rpartition("/")[2] for name in before if before[name] != now.get(name)}


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        (lambda guest: guest.set_mtu(9000), {"mtu"}),
        (lambda guest: guest.set_mac("52:54:00:12:34:56"), {"address"}),
        (set_mac_while_down, {"address", "if_inet6"}),
        (lambda guest: guest.set_offload(Offload.TX_CHECKSUM, False), {"features"}),
        (lambda guest: guest.set_rings(rx=128), {"rings"}),
        (lambda guest: guest.set_promiscuous(True), {"flags"}),
        (lambda guest: guest.join([GROUP]), {"dev_mcast"}),
        (lambda guest: guest.add_vlan(VID), {"interfaces", "modules"}),
        (lambda guest: guest.bounce(1), {"route"}),
        (lambda guest: guest.change_settings(SettingKind.COALESCING, {RECEIVE_INTERVAL: 100}), {"coalescing"}),
        (lambda guest: guest.change_settings(SettingKind.MESSAGE_LEVEL, {MESSAGES: 1}), {"message level"}),
        (lambda guest: guest.set_affinity(guest.interrupts().vectors[0], 1), {"smp_affinity"}),
    ],
    ids=[
        "mtu",
        "mac",
        "mac-while-down",
        "offload",
        "rings",
        "promiscuous",
        "group",
        "vlan",
        "down-and-up",
        "interval",
        "messages",
        "affinity",
    ],
)
def test_setting_is_put_back(bed: Testbed, before: State, change: Callable[[Guest], object], shows: set[str]) -> None:
    change(bed.guest)
    assert changed(before, bed.guest) >= shows
    assert bed.put_back(before)
    assert changed(before, bed.guest) == set()
    assert not bed.changed


def test_cable_is_plugged_in_again(bed: Testbed, before: State) -> None:
    bed.plug.pull_cable()
    assert bed.guest.wait_link(False)
    assert bed.put_back(before)
    assert bed.guest.link().up


def test_what_is_not_put_back_is_named(bed: Testbed, before: State) -> None:
    assert bed.guest.put_back({**before, "programs": "init"}) == ["programs"]


def test_guest_that_was_given_more_than_settings_is_not_put_back(bed: Testbed, before: State) -> None:
    bed.guest.rebind_driver(1)
    assert not bed.put_back(before)


def test_driver_that_takes_another_permanent_address_is_not_put_back(launcher: Launcher) -> None:
    cell = find_cell("linux/igbvf/msix")  # whose driver tells the address in use (FINDINGS.md)
    testbed = launcher.fork(cell, launcher.saved(cell))
    try:
        before = testbed.guest.state()
        testbed.guest.set_mac("52:54:00:12:34:56")
        testbed.guest.bounce(1)
        assert testbed.guest.put_back(before) == ["permanent address"]
    finally:
        testbed.close()
