"""Link: a driver follows its cable: it says when the link goes and comes, and frames flow exactly while there is one.

The cable is pulled and plugged at the NIC, as a hand does it. Asserted exactly: the state that the system reports, how
often it changed, and that no frame crosses while the cable is out; each silence has an answer before and after it. When
the link has to be there again is asserted only as a deadline, far beyond the seconds that autonegotiation takes (IEEE
802.3, 28.3.1). A frame that was on its way when the cable went may be lost, so no frame is judged that was sent then.

What needs nobody inside the guest (its answers, the device's own word) is asked of every guest.
"""

import pytest

from harness.cell import Cell
from harness.endpoint.cable import Direction
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.readiness import reboot
from harness.registers import shows_link
from harness.station import DUT, WIRE
from harness.suite import applies_to, requirement, stands_for_its_driver
from harness.testbed import Testbed
from harness.traffic.exchange import carry
from harness.traffic.frames import LOCAL_EXPERIMENT, arp_frame, difference, frame, random_payloads
from harness.traffic.liveness import answers, what_fails_as_seen

ROUNDS = 3
FLAPS = 50
WINDOW_S = 2.5
"""Longer than any of these NICs takes to find a link that is there: 2 s, the period of Intel's watchdogs."""
REQUESTS = 20
LINK_DEADLINE_S = 20.0
SILENCE_S = 0.5


def _has_phy(cell: Cell) -> bool:
    """Whether the function has a PHY of its own."""
    return cell.nic.family != "virtio" and not cell.nic.virtual_function


def _has_settings(cell: Cell) -> bool:
    """Whether the link is the function's own: a virtual one's is its physical function's."""
    return not cell.nic.virtual_function


def _assert_link(guest: Guest, up: bool, when: str) -> None:
    """Assert that the guest comes to see the link up or down."""
    expected, other = ("up", "down") if up else ("down", "up")
    assert guest.wait_link(up), f"expected the link {expected} {when}, the guest still says {other}"


def _assert_answers(wire: Wire, when: str) -> None:
    """Assert that the DUT answers before the link's deadline."""
    assert answers(wire, LINK_DEADLINE_S), f"expected an answer within {LINK_DEADLINE_S:g} s {when}, none came"


def _replug(testbed: Testbed, times: int) -> None:
    """Pull the cable and plug it in so many times; assert that the device shows no link each time that it is out.

    A NIC that negotiates has none between quick flaps either: to it they are one loss.
    """
    for number in range(times):
        testbed.plug.pull_cable()
        noticed = not shows_link(testbed)
        testbed.plug.plug_cable()
        assert noticed, f"expected the device to show no link when the cable is out, it showed one at pull {number + 1}"


@requirement(
    "82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4", "NDIS Indicating Connection Status"
)
def test_carrier_goes_when_the_cable_is_pulled(testbed: Testbed, guest: Guest) -> None:
    """Without a cable the guest says that the link is down."""
    _assert_link(guest, True, "before the cable is pulled")
    testbed.plug.pull_cable()
    _assert_link(guest, False, "after the cable was pulled")


@requirement(
    "82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4", "NDIS Indicating Connection Status"
)
def test_carrier_comes_when_the_cable_is_plugged(testbed: Testbed, guest: Guest) -> None:
    """With the cable in again the guest says that the link is up."""
    testbed.plug.pull_cable()
    _assert_link(guest, False, "after the cable was pulled")
    testbed.plug.plug_cable()
    _assert_link(guest, True, "after the cable was plugged in again")


@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4")
def test_device_itself_knows_its_link(testbed: Testbed, wire: Wire) -> None:
    """The link's bit in the device's status is set with the cable in, and clear without it."""
    seen = []
    for step in (None, testbed.plug.pull_cable, testbed.plug.plug_cable):
        if step:
            step()
        if step != testbed.plug.pull_cable:
            _assert_answers(wire, "with the cable in")
        seen.append(shows_link(testbed))
    assert seen == [True, False, True], f"expected the device to show a link, none without the cable, one, seen {seen}"


@requirement("82540EM 13.4.17", "82574L 10.2.4.1", "82576 7.3", "virtio 1.2 5.1.4", "NDIS Indicating Connection Status")
def test_each_change_is_reported_once(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """Whoever listens for the system's reports hears each loss and each return of the link, in order and not again.

    Each change waits for the report of the one before: a system may make one report of two changes. What comes until
    the DUT has answered after the last one counts.
    """
    guest.watch_link()
    changes: list[bool] = []
    for up in (False, True) * ROUNDS:
        changes.append(up)
        (testbed.plug.plug_cable if up else testbed.plug.pull_cable)()
        seen = guest.link_events(len(changes))
        assert seen == changes, f"expected the reports (True: up) {changes}, heard {seen}"
    _assert_answers(wire, "after the last change")
    seen = guest.link_events(len(changes))
    assert seen == changes, f"expected the reports (True: up) {changes} and no more, heard {seen}"


@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4")
def test_changes_are_counted_exactly(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """The counter of the link's changes rises by one when it goes and by one when it comes."""
    before = guest.carrier_changes()
    for _ in range(ROUNDS):
        testbed.plug.pull_cable()
        _assert_link(guest, False, "after the cable was pulled")
        testbed.plug.plug_cable()
        _assert_link(guest, True, "after the cable was plugged in again")
    _assert_answers(wire, "after the last change")
    seen = guest.carrier_changes() - before
    assert seen == 2 * ROUNDS, f"expected {2 * ROUNDS} changes counted for {ROUNDS} rounds, seen {seen}"


@requirement("IEEE 802.3-2022 22.2.4.2.13")
def test_nothing_is_answered_while_the_cable_is_out(testbed: Testbed, wire: Wire) -> None:
    """Requests on a pulled cable go unanswered, then and later; those after it is plugged in are answered."""
    _assert_answers(wire, "before the cable is pulled")
    asker = "192.0.2.77"
    testbed.plug.pull_cable()
    with wire.capture(lambda seen: seen[12:14] == b"\x08\x06" and seen[20:22] == b"\0\2") as replies:
        wire.send(*[arp_frame(1, WIRE.mac, asker, DUT.mac, "00:00:00:00:00:00", DUT.ip)] * REQUESTS)
        testbed.cable.wait_taken()
        answered = len(replies.wait(1, SILENCE_S))
        testbed.plug.plug_cable()
        _assert_answers(wire, "after the cable was plugged in again")
        late = sum(reply[38:42] == bytes(map(int, asker.split("."))) for reply in replies.wait(1))
    assert answered == late == 0, f"expected none of {REQUESTS} requests answered, {answered} were, later {late}"


@requirement("IEEE 802.3-2022 22.2.4.2.13")
def test_nothing_is_delivered_while_the_cable_is_out(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """Of the frames sent while the cable was out, none is delivered, neither then nor later."""
    lost, kept = (frame(Direction.TO_DUT, LOCAL_EXPERIMENT, text.ljust(64)) for text in (b"on no cable", b"on a cable"))
    with guest.endpoint().capture(lost[6:14]) as seen:
        testbed.plug.pull_cable()
        wire.send(*[lost] * REQUESTS)
        testbed.cable.wait_taken()
        testbed.plug.plug_cable()
        _assert_link(guest, True, "after the cable was plugged in again")
        wire.send(kept)
        received = seen.wait(1, LINK_DEADLINE_S)
    assert not (problem := difference([kept], received)), f"of frames sent before and after plugging: {problem}"


@requirement("IEEE 802.3-2022 22.2.4.2.13")
def test_nothing_leaves_while_the_cable_is_out(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """What the guest sends while it has no link does not reach the cable; what it sends afterwards does."""
    lost, kept = (frame(Direction.FROM_DUT, LOCAL_EXPERIMENT, text.ljust(64)) for text in (b"no link", b"a link"))
    with wire.capture(lost[6:14]) as seen:
        testbed.plug.pull_cable()
        _assert_link(guest, False, "after the cable was pulled")
        guest.endpoint().send(*[lost] * REQUESTS)
        leaked = len(seen.wait(1, SILENCE_S))
        testbed.plug.plug_cable()
        _assert_link(guest, True, "after the cable was plugged in again")
        guest.endpoint().send(kept)
        received = [one for one in seen.wait(1, LINK_DEADLINE_S) if one == kept]
    assert (leaked, len(received)) == (0, 1), (
        f"expected no frame on the pulled cable and one after it, seen {leaked} and {len(received)}"
    )


@requirement("IEEE 802.3-2022 22.2.4.2.13", "IEEE 802.3-2022 4A.2.4.1.1")
@pytest.mark.parametrize("direction", list(Direction), ids=["to-dut", "from-dut"])
def test_frames_cross_whole_after_replugging(testbed: Testbed, guest: Guest, wire: Wire, direction: Direction) -> None:
    """Once the link is back, frames of all sizes cross, octet for octet and in order."""
    testbed.plug.pull_cable()
    _assert_link(guest, False, "after the cable was pulled")
    testbed.plug.plug_cable()
    _assert_link(guest, True, "after the cable was plugged in again")
    frames = [frame(direction, LOCAL_EXPERIMENT, payload) for payload in random_payloads(range(46, 1501, 50))]
    problem = difference(frames, carry(direction, frames, guest, wire))
    assert not problem, f"after the cable was plugged in again, {problem}"


@requirement("IEEE 802.3-2022 22.2.4.2.13")
@pytest.mark.parametrize("times", [1, FLAPS])
def test_link_works_after_flapping(testbed: Testbed, wire: Wire, times: int) -> None:
    """After quick flaps, at each of which the device has no link, the DUT answers, and frames of all sizes cross."""
    _replug(testbed, times)
    _assert_answers(wire, f"after the link flapped {times} times")
    problem = what_fails_as_seen(testbed)
    assert not problem, f"after the link flapped {times} times, {problem}"


@requirement("PCI 3.0 6.8.2", "82574L 7.4.2", "82576 7.3", "profile")
def test_flapping_leaves_no_trace(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """After many flaps, each seen by the device, vectors are the same in it and the guest, and no warning is logged."""
    before = [vector.name for vector in guest.interrupts().vectors], testbed.function().vectors_granted
    with testbed.new_warnings() as warnings:
        _replug(testbed, FLAPS)
        _assert_answers(wire, f"after the link flapped {FLAPS} times")
        after = [vector.name for vector in guest.interrupts().vectors], testbed.function().vectors_granted
    assert after == before, f"expected the vectors {before} in guest and device as before, seen {after}"
    assert not warnings, f"expected no warning about the DUT in the kernel log, seen: {warnings[0]}"


@requirement(
    "82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4", "NDIS Indicating Connection Status"
)
def test_cable_pulled_while_down_is_noticed_when_up(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """An interface that is opened without a cable has no link, and has one as soon as the cable is in."""
    guest.set_up(False)
    testbed.plug.pull_cable()
    guest.open_interface()
    testbed.idle(WINDOW_S)
    assert not guest.link().up, "expected no link of an interface opened without a cable, the guest says it is up"
    testbed.plug.plug_cable()
    _assert_link(guest, True, "after the cable was plugged in")
    _assert_answers(wire, "after the cable was plugged in")


@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4")
def test_cable_replugged_while_down_does_no_harm(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """A cable that was out and in again while the interface was down leaves an interface that works when opened."""
    guest.set_up(False)
    _replug(testbed, ROUNDS)
    guest.open_interface()
    _assert_link(guest, True, "after the interface was opened")
    _assert_answers(wire, "after the interface was opened")


@requirement(
    "82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4", "NDIS Indicating Connection Status"
)
def test_driver_loaded_without_a_cable_has_no_link(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """A driver that is loaded while the cable is out says so, and has a link as soon as the cable is in."""
    guest.unload_driver()
    testbed.plug.pull_cable()
    guest.load_driver(with_link=False)
    testbed.idle(WINDOW_S)
    assert not guest.link().up, "expected no link of a driver loaded without a cable, the guest says it is up"
    testbed.plug.plug_cable()
    _assert_link(guest, True, "after the cable was plugged in")
    _assert_answers(wire, "after the cable was plugged in")


@applies_to(stands_for_its_driver)  # but for a virtual function, which nobody has made yet when the machine starts
@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4")
def test_machine_that_starts_without_a_cable_has_no_link(testbed: Testbed, guest: Guest) -> None:
    """A machine that starts with the cable out has no link and warns of nothing; with the cable in, all crosses."""
    _assert_link(guest, True, "before the cable was pulled")
    with testbed.new_warnings() as warnings:
        testbed.plug.pull_cable()
        reboot(testbed, with_link=False)
        testbed.idle(WINDOW_S)
        up = testbed.guest.link().up
        testbed.plug.plug_cable()
        _assert_link(testbed.guest, True, "after the cable was plugged in")
        testbed.guest.set_up_again()
        problem = what_fails_as_seen(testbed)
    assert not up, "expected no link of a machine that started without a cable, the guest says it is up"
    assert not problem, f"after the cable was plugged in, {problem}"
    assert not warnings, f"expected no warning about the DUT in the kernel log, seen: {warnings[0]}"


@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4", "IEEE 802.3-2022 28.2.3")
def test_settings_are_negotiated_again(testbed: Testbed, guest: Guest, cell: Cell) -> None:
    """After replugging, speed, duplex, autonegotiation and pause are as before; speed and duplex are the model's."""
    before = guest.link_settings()
    testbed.plug.pull_cable()
    _assert_link(guest, False, "after the cable was pulled")
    testbed.plug.plug_cable()
    _assert_link(guest, True, "after the cable was plugged in again")
    after = guest.link_settings()
    assert after == before, f"expected the settings as before, {before}, seen {after}"
    model = (cell.nic.speed_mbps, True if cell.nic.speed_mbps else None)
    seen = (after.speed_mbps, after.full_duplex)
    assert seen == model, f"expected (speed in Mb/s, full duplex) {model} of {cell.nic.name}, seen {seen}"


@applies_to(_has_settings)
@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "ethtool-netlink LINKMODES_SET")
@pytest.mark.parametrize(("speed_mbps", "full_duplex"), [(100, True), (10, False)], ids=["100-full", "10-half"])
def test_fixed_speed_is_read_back(guest: Guest, wire: Wire, speed_mbps: int, full_duplex: bool) -> None:
    """A speed and a duplex that are set instead of negotiated are those that the driver shows, and the DUT answers."""
    refused = guest.fix_link(speed_mbps, full_duplex=full_duplex)
    assert not refused, f"expected a speed of {speed_mbps} Mb/s taken, refused: {refused}"
    _assert_answers(wire, f"at {speed_mbps} Mb/s")
    settings = guest.link_settings()
    seen = (settings.speed_mbps, settings.full_duplex, settings.autonegotiates)
    expected = (speed_mbps, full_duplex, False)
    assert seen == expected, f"expected (speed in Mb/s, full duplex, negotiates) {expected}, seen {seen}"


@applies_to(_has_phy)
@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "ethtool-netlink LINKMODES_SET")
def test_speed_is_negotiated_again_when_wanted(guest: Guest, wire: Wire) -> None:
    """After a speed was fixed, negotiation can be had again: speed, duplex and pause are as before, the DUT answers."""
    before = guest.link_settings()
    for refused in (guest.fix_link(100, full_duplex=True), guest.negotiate_link()):
        assert not refused, f"expected a fixed speed and then negotiation taken, refused: {refused}"
    _assert_answers(wire, "after the speed was negotiated again")
    after = guest.link_settings()
    assert after == before, f"expected the settings as before, {before}, seen {after}"


@applies_to(_has_phy)
@requirement("IEEE 802.3-2022 28.2.3", "ethtool-netlink LINKMODES_SET")
@pytest.mark.parametrize(
    ("speed_mbps", "full_duplex"), [(1000, False), (10_000, True)], ids=["1000-half", "10000-full"]
)
def test_impossible_speed_is_refused_and_changes_nothing(
    guest: Guest, wire: Wire, speed_mbps: int, full_duplex: bool
) -> None:
    """A speed or a duplex that the NIC cannot have is refused; the link's settings stay, and the DUT answers."""
    before = guest.link_settings()
    refused = guest.fix_link(speed_mbps, full_duplex=full_duplex)
    after = guest.link_settings()
    assert refused, f"expected a speed of {speed_mbps} Mb/s refused, it was taken"
    assert after == before, f"expected the settings as before, {before}, seen {after}"
    _assert_answers(wire, "after a speed was refused")


@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4")
def test_link_without_a_cable_survives_down_and_up(testbed: Testbed, guest: Guest) -> None:
    """Closing and opening an interface without a cable makes no link and no report of one, but plugging it in does."""
    testbed.plug.pull_cable()
    _assert_link(guest, False, "after the cable was pulled")
    guest.watch_link()
    guest.set_up(False)
    guest.open_interface()
    testbed.idle(WINDOW_S)
    early = (guest.link().up, guest.link_events(0))
    assert early == (False, []), f"expected (a link, reports) (False, []) of an interface without a cable, seen {early}"
    testbed.plug.plug_cable()
    seen = guest.link_events(1)
    assert seen == [True], f"expected the report (True: up) [True] for the cable alone, heard {seen}"
