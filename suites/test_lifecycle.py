"""Lifecycle: a NIC works again after whatever is done to it, keeps what it should keep, and leaves nothing behind.

Asserted exactly, without tolerance, after whatever was done (`_as_before`): what crosses the cable, the vectors in the
guest and in the device, the configuration, and that the kernel log has no new warning. When the link has to be there
again is asserted as a deadline only. The one tolerance is for the kernel's memory, whose caches are not exact: it goes
up and down by some 40 pages while nothing is lost. After rounds of the same disturbance it may have grown by 64 pages,
and after more rounds than that by one for each; the first two, which set up what stays, do not count. So the loss of
a ring's buffers in each round is found, and in the 100 rounds of down and up that of a single page.

A driver that is loaded anew has its first configuration by nature, so another one is judged only where the interface
lives on. What needs nobody inside the guest is asked of every guest.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from scapy.layers.l2 import ARP

from harness.cell import Cell
from harness.condition import condition, configure_unusually, held_kib
from harness.endpoint.cable import Direction
from harness.endpoint.checksum import wrong_checksums
from harness.endpoint.wire import Wire
from harness.errors import Unsupported
from harness.guest.base import Guest
from harness.moving import save_and_restore
from harness.nic import InterruptMode
from harness.readiness import reboot, restart
from harness.station import DUT
from harness.suite import applies_to, requirement, stands_for_its_driver
from harness.testbed import Testbed
from harness.traffic.conversation import conversation
from harness.traffic.exchange import IN_RING
from harness.traffic.frames import LOCAL_EXPERIMENT, arp_frame, difference, frame, random_payloads
from harness.traffic.lease import LeaseRequest, asks_for_a_lease, lease_request
from harness.traffic.liveness import ANSWER_DEADLINE_S, ARP_OCTETS, answers, what_fails_as_seen
from harness.traffic.stimulus import Flood, flood_in_background

ROUNDS = 5
WARM_UP_ROUNDS = 2
LEAST_PAGES = 64
MANY_ROUNDS = 100
ROUNDS_WITH_LINK = 2
PAGE_KIB = 4
SILENCE_S = 0.5
STOPS = 3
ANOTHER_MAC = "00:00:5e:00:53:a1"
"""Of those for documentation (RFC 7042, 2.1.2)."""

Disturb = Callable[[Testbed], None]
Rounds = Callable[[Guest, int], None]


def _down_and_up(bed: Testbed) -> None:
    bed.guest.bounce(1)


def _reload(bed: Testbed) -> None:
    bed.guest.unload_driver()
    bed.guest.load_driver()


def _rebind(bed: Testbed) -> None:
    bed.guest.rebind_driver(1)


def _bind_again(guest: Guest, rounds: int) -> None:
    guest.rebind_driver(rounds)


def _load_again(guest: Guest, rounds: int) -> None:
    for _ in range(rounds):
        guest.unload_driver()
        guest.load_driver(with_link=False)


def _suspend(bed: Testbed) -> None:
    bed.guest.suspend()


def _reset_nic(bed: Testbed) -> None:
    bed.guest.reset_nic()


def _reset_function_and_open(bed: Testbed) -> None:
    bed.guest.set_up(False)
    assert bed.guest.reset_function(), "expected the reset of the function to end, it did not"
    bed.guest.set_up(True)


def _stop_the_clock(bed: Testbed) -> None:
    with bed.stopped():
        pass


def _replug(bed: Testbed) -> None:
    if bed.guest.is_present():
        bed.plug.remove()
        bed.plug.insert()
        bed.guest.set_up_again()


def _boot_again(bed: Testbed) -> None:
    """Have the system restart, for which it shuts its drivers down; where nobody can tell it to, press the button."""
    try:
        restart(bed)
    except Unsupported:
        reboot(bed)


def _can_be_unplugged(cell: Cell) -> bool:
    """Whether a hand can take it out: a virtual function is no card, and not every guest looks for new ones."""
    return not cell.nic.virtual_function and cell.profile.hot_plug


def _is_made_by_the_machine(cell: Cell) -> bool:
    """Whether the NIC is there when the machine starts: a virtual one is made by hand, in each fork."""
    return not cell.nic.virtual_function


def _holds_a_backlog(cell: Cell) -> bool:
    """Whether a ring takes what comes at once when the machine goes on: firmware has room for a frame or two."""
    return cell.mode is not InterruptMode.POLLED


def _is_set_up_when_opened(cell: Cell) -> bool:
    """Whether opening the interface sets the whole NIC up: a virtio driver does that once, when it is bound."""
    return cell.nic.family != "virtio"


def _as_another(disturb: Disturb) -> Disturb:
    """Have the NIC be another station while it is disturbed, and assert that it is the same one afterwards."""

    def disturbed(bed: Testbed) -> None:
        bed.guest.set_mac(ANOTHER_MAC)
        disturb(bed)
        answer = bed.wire.resolve(DUT.ip, ANSWER_DEADLINE_S)
        seen = (bed.guest.mac(), answer and answer[ARP].hwsrc)
        bed.guest.set_mac(DUT.mac)
        assert seen == (ANOTHER_MAC,) * 2, f"expected the address {ANOTHER_MAC} told and answered with, seen {seen}"

    return disturbed


def _assert_answers(wire: Wire, when: str) -> None:
    """Assert that the DUT answers before the deadline."""
    assert answers(wire), f"expected an answer within {ANSWER_DEADLINE_S:g} s {when}, none"


@contextmanager
def _as_before(bed: Testbed, when: str) -> Iterator[None]:
    """Assert that after a block, as far as anybody can see, the DUT works and is what it was before.

    It answers, frames of all sizes cross both ways, vectors and configuration are as before, and no warning is logged.
    """
    before = condition(bed)
    with bed.new_warnings() as warnings:
        yield
        problem = what_fails_as_seen(bed)
        assert not problem, f"{when}, {problem}"
        changes = before.changes(condition(bed))
    assert not changes, f"{when}, {changes}"
    assert not warnings, f"expected no new warning about the DUT in the kernel log {when}, seen: {warnings[0]}"


def _configure(guest: Guest, *, rings: bool = True) -> None:
    """Give the DUT a configuration of the user's own, with its rings or without, and assert that it has it."""
    problem = configure_unusually(guest, rings=rings)
    assert not problem, problem


def _assert_flooded(flood: Flood) -> None:
    """Assert that frames had reached the DUT when it was disturbed."""
    assert flood.answered, "expected requests answered before the disturbance, none was"


def _assert_no_more_held(guest: Guest, before_kib: int, rounds: int) -> None:
    """Assert that in some rounds the kernel's memory has grown by no more than a page in each, or than it varies."""
    bound = max(rounds, LEAST_PAGES) * PAGE_KIB
    grown = held_kib(guest, before_kib + bound) - before_kib
    assert grown <= bound, (
        f"expected the kernel's memory to grow by {bound} KiB at most in {rounds} rounds, seen {grown}"
    )


disturbances = pytest.mark.parametrize(
    "disturb",
    [_down_and_up, _reset_nic, _reload, _rebind, _suspend, _stop_the_clock],
    ids=["down-and-up", "reset", "reload", "rebind", "suspend", "stop"],
)
lasting = pytest.mark.parametrize(
    "disturb",
    [_down_and_up, _as_another(_reset_nic), _as_another(_suspend), _stop_the_clock],
    ids=["down-and-up", "reset", "suspend", "stop"],
)

again_and_again = pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(_reset_nic, id="reset"),
        pytest.param(_reset_function_and_open, id="function-reset", marks=applies_to(_is_set_up_when_opened)),
        pytest.param(_suspend, id="suspend"),
        pytest.param(_replug, id="replug", marks=applies_to(_can_be_unplugged)),
    ],
)


@requirement(
    "82540EM 14.3",
    "82574L 4.6",
    "82576 4.5",
    "virtio 1.2 3.1.1",
    "PCI 3.0 6.8.2",
    "PCI 3.0 6.8.2.9",
    "82574L 7.4.2",
    "82576 7.3",
    "virtio 1.2 4.1.5.1.2",
    "profile",
    "NDIS OID_PNP_SET_POWER",
)
@disturbances
def test_nic_is_as_before(testbed: Testbed, disturb: Disturb) -> None:
    """After the disturbance frames cross, and vectors, configuration and log are as before."""
    with _as_before(testbed, "after the disturbance"):
        disturb(testbed)


@requirement("82540EM 5.6.1", "82574L 6.1.1.1", "82576 6.2.1", "virtio 1.2 5.1.4", "RFC 826 packet reception")
@lasting
def test_configuration_survives(testbed: Testbed, guest: Guest, disturb: Disturb) -> None:
    """A configuration of the user's own, with the MAC and IP addresses, outlasts the disturbance."""
    _configure(guest)
    with _as_before(testbed, "after the disturbance"):
        disturb(testbed)


@requirement(
    "PCI 3.0 6.8.2", "82540EM 14.3", "82574L 4.6", "82574L 7.4.2", "82576 4.5", "82576 7.3", "virtio 1.2 3.1.1"
)
def test_down_and_up_under_traffic(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """An interface that is closed and opened 100 times under traffic is as before, and so is the kernel's memory."""
    _configure(guest)
    with _as_before(testbed, f"after {MANY_ROUNDS} rounds of down and up under traffic"):
        with flood_in_background(wire):
            guest.bounce(WARM_UP_ROUNDS)
        before, under_traffic = held_kib(guest), 0
        with flood_in_background(wire) as flood:
            for _ in range(ROUNDS_WITH_LINK):
                under_traffic += flood.goes_on()
                guest.bounce(MANY_ROUNDS // ROUNDS_WITH_LINK)
        _assert_no_more_held(guest, before, MANY_ROUNDS)
    assert under_traffic == ROUNDS_WITH_LINK, (
        f"expected requests answered before each of {ROUNDS_WITH_LINK} times, seen before {under_traffic}"
    )


@requirement("82540EM 14.3", "82574L 4.6", "82576 4.5", "virtio 1.2 3.1.1")
@pytest.mark.parametrize("disturb", [_reload, _rebind], ids=["reload", "rebind"])
def test_traffic_does_no_harm(testbed: Testbed, wire: Wire, disturb: Disturb) -> None:
    """A disturbance while frames pour in leaves a NIC that is as before."""
    with _as_before(testbed, "after the disturbance under traffic"), flood_in_background(wire) as flood:
        disturb(testbed)
    _assert_flooded(flood)


@requirement("82540EM 14.3", "82574L 4.6", "82576 4.5", "virtio 1.2 3.1.1", "NDIS OID_PNP_SET_POWER")
def test_frames_that_come_while_the_system_sleeps_do_no_harm(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """A system that falls asleep while frames pour in, a thousand a second, has a NIC as before when it wakes."""
    _configure(guest, rings=False)
    with _as_before(testbed, "after sleep under traffic"), flood_in_background(wire, interval_s=0.001) as flood:
        guest.suspend(seconds=1)
    _assert_flooded(flood)


@requirement("PCI 3.0 6.2.2", "82540EM 14.3", "82574L 4.6", "82576 4.5", "virtio 1.2 3.1.1", "NDIS MiniportHalt")
def test_unloaded_driver_leaves_a_silent_device(testbed: Testbed, guest: Guest, wire: Wire, cell: Cell) -> None:
    """Without its driver the NIC answers nothing and may not write to memory; with it again, it answers.

    A virtio function stays with the driver of its transport, which keeps the bus: there the silence alone is judged.
    """
    with _as_before(testbed, "after the driver was loaded again"):
        guest.unload_driver()
        answered = wire.resolve(DUT.ip, SILENCE_S) is not None
        masters = testbed.function().bus_mastering and cell.nic.family != "virtio"
        guest.load_driver()
    seen = (answered, masters)
    assert seen == (False, False), f"expected (answered, bus master) (False, False) without a driver, seen {seen}"


@requirement("PCI 3.0 6.8.2", "82574L 7.4.2", "82576 7.3", "profile")
@pytest.mark.parametrize("again", [_bind_again, _load_again], ids=["bound", "loaded"])
def test_driver_that_comes_again_leaves_nothing_behind(testbed: Testbed, guest: Guest, again: Rounds) -> None:
    """After rounds of unbinding and binding, or unloading, loading and opening, the kernel holds no more memory."""
    again(guest, WARM_UP_ROUNDS)
    before = guest.kernel_memory_kib()
    guest.set_up_again()
    with _as_before(testbed, f"after {ROUNDS} rounds more"):
        again(guest, ROUNDS)
        _assert_no_more_held(guest, before, ROUNDS)
        guest.set_up_again()


@applies_to(stands_for_its_driver)
@requirement(
    "82540EM 14.3", "82574L 4.6", "82576 4.5", "82576 4.2 FLR", "virtio 1.2 3.1.1", "ACPI 6.5 6.3.3", "PCI 3.0 6.8.2"
)
@again_and_again
def test_what_is_done_again_and_again_leaves_nothing_behind(testbed: Testbed, guest: Guest, disturb: Disturb) -> None:
    """After rounds of resetting the NIC, of sleep, or of plugging it in anew the kernel holds no more memory."""
    for _ in range(WARM_UP_ROUNDS):
        disturb(testbed)
    before = guest.kernel_memory_kib()
    with _as_before(testbed, f"after {ROUNDS} rounds more"):
        for _ in range(ROUNDS):
            disturb(testbed)
        _assert_no_more_held(guest, before, ROUNDS)


@requirement("82576 4.2 FLR", "virtio 1.2 2.4", "Linux pci reset")
def test_running_interface_recovers_from_a_function_reset(testbed: Testbed, guest: Guest) -> None:
    """A function that the system resets while its interface is up is set up again as before, without anybody's help."""
    _configure(guest)
    with _as_before(testbed, "after the function was reset"):
        assert guest.reset_function(), "expected the reset of the function to end, it did not"


@applies_to(_is_set_up_when_opened)
@requirement("82576 4.2 FLR", "82540EM 14.3", "82574L 4.6", "82576 4.5")
def test_interface_works_when_opened_after_a_function_reset(testbed: Testbed, guest: Guest) -> None:
    """A function that was reset while its interface was closed is as before when it is opened."""
    _configure(guest)
    with _as_before(testbed, "after the function was reset and the interface opened"):
        _reset_function_and_open(testbed)


@applies_to(_can_be_unplugged)
@requirement("ACPI 6.5 6.3.3", "82540EM 14.3", "82574L 4.6", "82576 4.5", "virtio 1.2 3.1.1")
def test_unplugged_nic_is_gone_and_works_when_plugged_again(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """A NIC that is taken out is gone for the system; put back, it is as before."""
    with _as_before(testbed, "after the NIC was plugged in again"):
        testbed.plug.remove()
        gone, answered = not guest.is_present(), wire.resolve(DUT.ip, SILENCE_S) is not None
        testbed.plug.insert()
        guest.set_up_again()
    assert (gone, answered) == (True, False), f"expected (gone, answered) (True, False), seen {(gone, answered)}"


@applies_to(_can_be_unplugged)
@requirement("ACPI 6.5 6.3.3", "PCI 3.0 6.8.2", "82574L 7.4.2", "82576 7.3", "virtio 1.2 4.1.5.1.2", "profile")
def test_replugged_nic_is_as_before_under_traffic(testbed: Testbed, wire: Wire) -> None:
    """A NIC that is taken out and put back while frames pour in is as before: its vectors are there, none is new."""
    with _as_before(testbed, "after the NIC was plugged in again"), flood_in_background(wire) as flood:
        _replug(testbed)
    _assert_flooded(flood)


@applies_to(_can_be_unplugged)
@requirement("ACPI 6.5 6.3.3", "PCI 3.0 6.2.2")
def test_driver_takes_a_nic_that_is_plugged_in(testbed: Testbed, wire: Wire) -> None:
    """A NIC that is taken out is silent; one that is put in is found, and its driver switches its bus mastering on."""
    _assert_answers(wire, "before the NIC was taken out")
    testbed.plug.remove()
    answered = wire.resolve(DUT.ip, SILENCE_S) is not None
    testbed.plug.insert()
    taken = testbed.await_bus_mastering(ANSWER_DEADLINE_S)
    assert (answered, taken) == (False, True), (
        f"expected (answered while out, taken by a driver when in) (False, True), seen {(answered, taken)}"
    )


@applies_to(_is_made_by_the_machine)
@requirement("82540EM 14.3", "82574L 4.6", "82576 4.5", "virtio 1.2 3.1.1", "RFC 2131 4.4.1")
def test_machine_that_is_reset_boots_and_asks_for_its_address(testbed: Testbed, wire: Wire) -> None:
    """After a reset of the whole machine the driver sets the NIC up anew: it asks for an address, and all crosses."""
    with (
        _as_before(testbed, "after the machine was reset"),
        wire.capture(asks_for_a_lease) as asked,
    ):
        _boot_again(testbed)
        requests = asked.wait(1)
    assert requests, "expected a DHCP request after the machine was reset, seen none"
    expected = LeaseRequest(sender=DUT.mac, client=DUT.mac, source="0.0.0.0"), list[str]()
    seen = lease_request(requests[0]), wrong_checksums(requests[0])
    assert seen == expected, f"expected (who asks, wrong checksums) {expected}, seen {seen}"


@requirement("RFC 826 packet reception")
def test_requests_that_come_while_the_clock_stands_are_answered(testbed: Testbed, wire: Wire) -> None:
    """Frames that wait on the cable while the machine stands still are taken when it goes on: not one is lost."""
    asker = "52:54:00:00:77:01"
    requests = [arp_frame(1, asker, f"192.0.2.{100 + n}", DUT.mac, "00:00:00:00:00:00", DUT.ip) for n in range(8)]
    due = [arp_frame(2, DUT.mac, DUT.ip, asker, asker, f"192.0.2.{100 + n}")[:ARP_OCTETS] for n in range(8)]
    with wire.capture(lambda seen: seen[:6] == due[0][:6]) as replies:
        with testbed.stopped():
            wire.send(*requests)
            early = len(replies.wait(1, SILENCE_S))
        came = [reply[:ARP_OCTETS] for reply in replies.wait(len(due), ANSWER_DEADLINE_S)]
    assert (early, came) == (0, due), (
        f"expected no answer while the machine stands and {len(due)} in order when it goes on, "
        f"seen {early} and {len(came)}"
    )


@requirement("82540EM 14.3", "82574L 4.6", "82576 4.5", "virtio 1.2 3.1.1")
def test_stopping_and_going_on_under_traffic(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """A machine that is stopped again and again while frames cross goes on each time where it was: none is lost."""
    frames = [frame(Direction.TO_DUT, LOCAL_EXPERIMENT, payload) for payload in random_payloads([46] * IN_RING)]
    with _as_before(testbed, "after the machine was stopped"), guest.endpoint().capture(frames[0][6:14]) as seen:
        for number, one in enumerate(frames):
            if number % 10 == 5:
                _stop_the_clock(testbed)
            wire.send(one)
        received = seen.wait(len(frames), ANSWER_DEADLINE_S)
    assert not (problem := difference(frames, received)), f"stopped and gone on {len(frames) // 10} times: {problem}"


@applies_to(_holds_a_backlog)
@requirement("82540EM 14.3", "82574L 4.6", "82576 4.5", "virtio 1.2 3.1.1")
def test_conversation_outlasts_stops(testbed: Testbed, wire: Wire) -> None:
    """A machine that stands still again and again while it is spoken to answers everything, and each request once."""
    with _as_before(testbed, "after the machine was stopped"), conversation(wire) as talk:
        for _ in range(STOPS):
            talk.go_on()
            with testbed.stopped():
                testbed.idle(SILENCE_S)
    assert not (problem := talk.what_fails()), f"stopped and gone on {STOPS} times: {problem}"


@applies_to(_is_made_by_the_machine)
@requirement("82540EM 14.3", "82574L 4.6", "82576 4.5", "virtio 1.2 3.1.1")
def test_saved_machine_goes_on_under_traffic(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """A machine that is saved to a file while it is spoken to, and restored from there, answers each request once.

    Only what comes while there is no machine may be lost: all that came before is answered, and all that comes after.
    """
    _configure(guest)
    with _as_before(testbed, "after the machine was saved and restored"), conversation(wire) as talk:
        before = talk.go_on()
        save_and_restore(testbed)
        after = talk.asked
        talk.go_on()
    assert not (problem := talk.what_fails(before, after)), f"saved and restored: {problem}"
