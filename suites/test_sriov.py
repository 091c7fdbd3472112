"""SR-IOV: a NIC becomes several, each of which is a NIC of its own, and the physical function decides what it may do.

Asserted exactly, without tolerance: how many virtual functions there are, by the guest and by the device's own
configuration space; which frames reach whom, octet for octet. The NIC's functions and its cable are the ports of a
switch. Frames are sent at one port and followed, in the same window, by one to all stations, so that the silence of a
port is never taken for a rule that was kept. When a function has to work again is asserted as a deadline only.

The functions are driven in the same guest as the physical one. A virtual function cannot do without MSI-X, so cells
that use something else are none of this suite's. Where the DUT is itself a virtual function, what two functions are
enough for is asked of it and of its physical function.
"""

from collections.abc import Mapping, Sequence

import pytest

from harness.cell import Cell
from harness.endpoint.vlan import Tag, tagged
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.registers import frames_given, queues_enabled
from harness.station import BROADCAST_MAC, STRANGER_MAC, WIRE
from harness.suite import Disturb, after_down_and_up_and_reset, applies_to, own_settings, requirement
from harness.testbed import Testbed
from harness.traffic.frames import difference
from harness.traffic.liveness import ANSWER_DEADLINE_S, answers
from harness.traffic.multicast import apart_from
from harness.traffic.stimulus import flood_in_background, load, unasked
from harness.traffic.switching import (
    Port,
    cable_port,
    closing,
    exchanges_within,
    frames_between,
    function_port,
    hears,
    overheard,
    received,
    switched,
)

MACS = tuple(f"52:54:00:6e:71:{number:02x}" for number in range(7))
"""The virtual functions' addresses."""
OTHER_MAC = "52:54:00:6e:72:01"
GROUP = "01:00:5e:40:12:34"
VID, OTHER_VID = 5, 1000
VECTORS = 3
"""Of an 82576's virtual function: one to receive, one to send, one for the mailbox."""
ROUNDS = 2
BURSTS = 4
RECOVERY_DEADLINE_S = 60.0
"""Linux's igbvf asks its physical function again 10 s after its last reset at the earliest (igbvf_has_link)."""


def _can_make_functions(cell: Cell) -> bool:
    return bool(cell.nic.virtual_functions) and cell.mode.is_msix


def _is_a_pair(cell: Cell) -> bool:
    return _can_make_functions(cell) or cell.nic.virtual_function


makes_functions = applies_to(_can_make_functions)
is_a_pair = applies_to(_is_a_pair)


def _start(guest: Guest, count: int) -> list[Guest]:
    """Have so many virtual functions, driven and up; return the guest with each of them as its DUT."""
    guest.start_functions(MACS[:count])
    return [guest.virtual_function(number) for number in range(count)]


def _enable(guest: Guest, count: int) -> None:
    """Have so many virtual functions, or none, without a driver for them; assert that the guest does it."""
    taken = guest.enable_functions(count)
    assert taken, f"expected the guest to have {count} virtual functions when asked for, it refused"


def _ports(guest: Guest, wire: Wire, count: int = 2) -> tuple[Port, ...]:
    """Have so many virtual functions; return the ports of the switch: cable, physical function, virtual ones."""
    functions = [function_port(f"VF {number}", vf) for number, vf in enumerate(_start(guest, count))]
    return (cable_port(wire), function_port("the PF", guest), *functions)


def _pair(guest: Guest, cell: Cell) -> tuple[Guest, Guest]:
    """Return the guest with a physical function as its DUT, and with its only virtual function."""
    return (guest.physical_function(), guest) if cell.nic.virtual_function else (guest, _start(guest, 1)[0])


def _one_frame(source: str, target: str) -> bytes:
    return frames_between(source, target)[-1]


def _assert_recovers(cable: Port, function: Port, when: str) -> None:
    """Assert that a function exchanges frames with the cable again before the deadline."""
    assert exchanges_within(cable, function, RECOVERY_DEADLINE_S), (
        f"expected {function} to exchange frames with the cable within {RECOVERY_DEADLINE_S:g} s {when}, it did not"
    )
    _assert_work((cable, function), when)


def _assert_count(testbed: Testbed, count: int, when: str) -> None:
    """Assert how many virtual functions there are, by the guest and by the device, and that just those can be seen."""
    device = testbed.pci.sriov(testbed.physical_bdf)
    seen = (testbed.guest.functions_enabled(), device.count if device.enabled else 0)
    assert seen == (count, count), f"expected (guest, device) to have {count} virtual functions {when}, seen {seen}"
    there = testbed.pci.virtual_functions_present(testbed.physical_bdf)
    assert there == tuple(range(count)), (
        f"expected the configuration spaces of {count} virtual functions {when}, seen those of {there}"
    )


def _assert_answers(wire: Wire, when: str) -> None:
    assert answers(wire), f"expected the physical function to answer within {ANSWER_DEADLINE_S:g} s {when}, it did not"


def _assert_switched(
    sender: Port, frames: Sequence[bytes], expected: Mapping[Port, Sequence[bytes]], when: str = ""
) -> None:
    """Assert which of the frames that are sent at one port come to each of the others, before one to all stations."""
    seen, last = switched(sender, frames, [*expected]), closing(sender)
    problems = {port.name: difference([*those, last], seen[port.name]) for port, those in expected.items()}
    wrong = next((f"from {sender} to {name}, {problem}" for name, problem in problems.items() if problem), "")
    assert not wrong, f"{when}{wrong}"


def _assert_cross(sender: Port, receiver: Port, when: str = "") -> None:
    """Assert that frames of many lengths to a port's own address come to it, whole and in order."""
    frames = frames_between(sender.mac, receiver.mac)
    _assert_switched(sender, frames, {receiver: frames}, when)


def _assert_not_overheard(
    port: Port, sender: Port, frames: Sequence[bytes], cable: Port, tag: Tag | None = None
) -> None:
    """Assert that frames that are sent to all do not come to a port, but what the cable sends to it then does."""
    own = frames_between(cable.mac, port.mac)[0]
    problem = difference([own], overheard(port, sender, frames, cable, own, tag))
    assert not problem, f"of {len(frames)} frames from {sender} and then one to {port} alone, {problem}"


def _assert_work(ports: Sequence[Port], when: str) -> None:
    """Assert that each of the functions exchanges frames with the cable, both ways."""
    cable, *functions = ports
    for function in functions:
        _assert_cross(cable, function, f"{when}, ")
        _assert_cross(function, cable, f"{when}, ")


# How many


@makes_functions
@requirement("82576 7.10.2", "SR-IOV 1.1 3.3.6")
def test_all_pools_but_one_are_offered(testbed: Testbed, guest: Guest, cell: Cell) -> None:
    """The driver offers a virtual function for each pool of queues but its own, and no more than the device has."""
    offered, total = guest.functions_offered(), testbed.pci.sriov(testbed.physical_bdf).total
    expected = cell.nic.virtual_functions
    assert offered == expected <= total, (
        f"expected {expected} virtual functions offered, and as many or more by the device, seen {offered} and {total}"
    )


@own_settings
@makes_functions
@requirement("SR-IOV 1.1 3.3.3.1", "SR-IOV 1.1 3.3.7", "SR-IOV 1.1 2.1.2")
@pytest.mark.parametrize("count", [1, 2, 7])
def test_enabled_functions_are_in_the_device(testbed: Testbed, guest: Guest, wire: Wire, count: int) -> None:
    """The device has as many functions as the guest enabled, each with a configuration space at its routing id."""
    _assert_count(testbed, 0, "before any was enabled")
    _enable(guest, count)
    _assert_count(testbed, count, f"after {count} were enabled")
    _assert_answers(wire, f"with {count} virtual functions")


@makes_functions
@requirement("SR-IOV 1.1 3.3.3.1", "SR-IOV 1.1 3.3.7")
def test_disabled_functions_are_gone(testbed: Testbed, guest: Guest, wire: Wire, cell: Cell) -> None:
    """From none to as many as there are and back: each time the device has as many as the guest, in the end none."""
    for count in (cell.nic.virtual_functions, 0):
        _enable(guest, count)
        _assert_count(testbed, count, f"after {count} were asked for")
    _assert_answers(wire, "without virtual functions")


@makes_functions
@requirement("SR-IOV 1.1 3.3.6", "82576 7.10.2")
@pytest.mark.parametrize("before", [0, 2])
def test_more_functions_than_offered_are_refused(testbed: Testbed, guest: Guest, wire: Wire, before: int) -> None:
    """One virtual function more than the driver offers is refused, and those that are there stay."""
    _enable(guest, before)
    taken = guest.enable_functions(guest.functions_offered() + 1)
    assert not taken, "expected the guest to refuse one virtual function more than it offers, it took it"
    _assert_count(testbed, before, "after the refusal")
    _assert_answers(wire, "after the refusal")


@makes_functions
@requirement("SR-IOV 1.1 3.3.7")
@pytest.mark.parametrize("other", [1, 3])
def test_number_is_not_changed_while_functions_are_enabled(
    testbed: Testbed, guest: Guest, wire: Wire, other: int
) -> None:
    """While there are virtual functions another number of them than none is refused, and nothing changes."""
    _enable(guest, 2)
    taken = guest.enable_functions(other)
    assert not taken, f"expected the guest to refuse {other} virtual functions while there are 2, it took it"
    _assert_count(testbed, 2, "after the refusal")
    _assert_answers(wire, "after the refusal")


@makes_functions
@requirement("SR-IOV 1.1 3.3.3.1", "82576 7.10.2", "profile")
def test_functions_come_and_go_under_traffic(testbed: Testbed, guest: Guest, wire: Wire, cell: Cell) -> None:
    """As many functions as asked for come and go under a flood; the physical one works, and no warning is logged."""
    with testbed.new_warnings() as warnings:
        with flood_in_background(wire) as flood:
            for count in (cell.nic.virtual_functions, 0) * ROUNDS:
                _enable(guest, count)
                _assert_count(testbed, count, f"after {count} were asked for under traffic")
        assert flood.answered, "expected requests answered while functions came and went, none was"
        _assert_answers(wire, "in the end")
    assert not warnings, f"expected no new warning about the DUT in the kernel log, seen: {warnings[0]}"


@makes_functions
@requirement("82576 7.1", "82576 7.2", "82576 7.10.3 receive switching", "82576 7.10.3 transmit switching")
def test_physical_function_works_beside_all_functions(guest: Guest, wire: Wire, cell: Cell) -> None:
    """With as many virtual functions as there can be, the physical one exchanges frames with the cable both ways."""
    _enable(guest, cell.nic.virtual_functions)
    _assert_work((cable_port(wire), function_port("the PF", guest)), "with all virtual functions")


@makes_functions
@requirement("82576 7.10.2", "82576 7.10.3 receive switching", "82576 7.10.3 transmit switching")
def test_all_functions_work_at_once(guest: Guest, wire: Wire, cell: Cell) -> None:
    """As many virtual functions as there can be exchange frames with the cable, each with its own address."""
    _assert_work(_ports(guest, wire, cell.nic.virtual_functions), "with all virtual functions")


@makes_functions
@requirement("SR-IOV 1.1 3.3.3.1", "82576 7.10.2")
def test_functions_in_use_can_be_disabled(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """Functions that are driven and get frames can be taken away: their interfaces go, the physical function works."""
    cable, _, *functions = _ports(guest, wire)
    before = guest.function_interfaces()
    frames = [_one_frame(cable.mac, function.mac) for function in functions]
    with flood_in_background(wire) as flood, load(wire, frames):
        deaf = [function.name for function, frame in zip(functions, frames, strict=True) if not hears(function, frame)]
        _enable(guest, 0)
    assert flood.answered, "expected requests answered beside the functions' frames, none was"
    assert not deaf, f"expected each virtual function to get the frames to its address, {', '.join(deaf)} got none"
    seen = (before, guest.function_interfaces())
    assert seen == (2, 0), f"expected 2 interfaces of virtual functions and then none, seen {seen}"
    _assert_count(testbed, 0, "after they were disabled")
    _assert_answers(wire, "after the virtual functions were disabled")


# MAC addresses


@makes_functions
@requirement("82576 7.10.2", "82576 8.10 RAL")
def test_function_has_the_address_that_it_was_given(guest: Guest) -> None:
    """Each virtual function's driver finds the MAC address that the physical function gave it."""
    seen = [vf.mac() for vf in _start(guest, 2)]
    assert seen == [*MACS[:2]], f"expected the virtual functions' MAC addresses {[*MACS[:2]]}, seen {seen}"


@makes_functions
@requirement("82576 7.10.3 receive switching", "82576 8.10 RAL", "IEEE 802.3-2022 4A.2.4.1.1")
def test_frame_reaches_the_function_that_it_is_sent_to_alone(guest: Guest, wire: Wire) -> None:
    """A frame from the cable comes to the function with its address and to no other."""
    cable, *functions = _ports(guest, wire)
    frames = [_one_frame(WIRE.mac, one.mac) for one in functions]
    _assert_switched(cable, frames, {port: [frame] for port, frame in zip(functions, frames, strict=True)})


@makes_functions
@requirement("82576 7.1 filtering", "IEEE 802.3-2022 4A.2.4.1.1")
def test_frame_to_a_foreign_station_reaches_no_function(guest: Guest, wire: Wire) -> None:
    """A frame from the cable to another station comes neither to the physical function nor to a virtual one."""
    cable, *functions = _ports(guest, wire)
    _assert_switched(cable, frames_between(WIRE.mac, STRANGER_MAC), {port: [] for port in functions})


@makes_functions
@requirement("82576 7.10.2")
def test_function_cannot_change_a_given_address(guest: Guest, wire: Wire) -> None:
    """A virtual function that was given its address is refused another, and gets what is sent to its own alone."""
    (vf,) = _start(guest, 1)
    taken = vf.set_mac(OTHER_MAC)
    assert not taken, f"expected the virtual function to be refused the MAC address {OTHER_MAC}, it got it"
    frames = [_one_frame(WIRE.mac, mac) for mac in (OTHER_MAC, MACS[0])]
    _assert_switched(cable_port(wire), frames, {function_port("VF 0", vf): frames[1:]})


@makes_functions
@requirement("82576 7.10.2", "82576 8.10 RAL")
def test_function_has_another_address_when_it_is_driven_anew(guest: Guest, wire: Wire) -> None:
    """A virtual function that is given another address has it from the next start of its driver; the former is dead."""
    _start(guest, 1)
    guest.set_function_mac(0, OTHER_MAC)
    guest.drive_functions()
    port = function_port("VF 0", guest.virtual_function(0))
    assert port.mac == OTHER_MAC, f"expected the virtual function's MAC address {OTHER_MAC}, seen {port.mac}"
    frames = [_one_frame(WIRE.mac, mac) for mac in (MACS[0], OTHER_MAC)]
    _assert_switched(cable_port(wire), frames, {port: frames[1:]})


# VLANs


@is_a_pair
@requirement("82576 7.10.3 VLAN", "82576 8.14 VMVIR", "IEEE 802.1Q-2022 9.6")
def test_frames_of_a_function_in_a_vlan_leave_with_its_tag(guest: Guest, wire: Wire, cell: Cell) -> None:
    """What a virtual function in a VLAN sends has the VLAN's tag on the cable, and is otherwise unaltered."""
    pf, vf = _pair(guest, cell)
    pf.set_function_vlan(0, VID)
    port = function_port("VF 0", vf)
    frames = frames_between(port.mac, WIRE.mac)
    on_cable = [tagged(frame, Tag(VID)) for frame in frames]
    problem = difference(on_cable, received(port, frames, cable_port(wire), on_cable[-1]))
    assert not problem, f"from a virtual function in VLAN {VID} to the cable, {problem}"


@is_a_pair
@requirement("82576 7.10.3 VLAN", "82576 7.4.4", "IEEE 802.1Q-2022 9.6")
def test_frames_of_its_vlan_alone_reach_a_function(guest: Guest, wire: Wire, cell: Cell) -> None:
    """A virtual function in a VLAN gets the VLAN's frames without their tag, none of another VLAN and none without."""
    pf, vf = _pair(guest, cell)
    pf.set_function_vlan(0, VID)
    port = function_port("VF 0", vf)
    foreign, own = _one_frame(WIRE.mac, port.mac), frames_between(WIRE.mac, port.mac)[:-1]
    sent = [foreign, tagged(foreign, Tag(OTHER_VID)), *(tagged(frame, Tag(VID)) for frame in own)]
    problem = difference(own, received(cable_port(wire), sent, port, own[-1]))
    assert not problem, f"from the cable to a virtual function in VLAN {VID}, {problem}"


@is_a_pair
@requirement("82576 7.10.3 VLAN", "82576 8.14 VMVIR")
def test_function_that_left_its_vlan_exchanges_untagged_frames(guest: Guest, wire: Wire, cell: Cell) -> None:
    """A virtual function that is taken out of its VLAN sends and gets frames without a tag again."""
    pf, vf = _pair(guest, cell)
    pf.set_function_vlan(0, VID)
    pf.set_function_vlan(0, None)
    _assert_work((cable_port(wire), function_port("VF 0", vf)), "after the VLAN was left")


@is_a_pair
@requirement("82576 7.10.3 VLAN", "82576 7.10.2")
def test_function_gets_no_vlan_beside_its_own(guest: Guest, wire: Wire, cell: Cell) -> None:
    """A virtual function in a VLAN that asks for another gets none of its frames, whether it is refused or not."""
    pf, vf = _pair(guest, cell)
    pf.set_function_vlan(0, VID)
    vf.ask_for_vlan(OTHER_VID)
    port = function_port("VF 0", vf)
    frames = frames_between(WIRE.mac, port.mac)[:-1]
    sent = [*(tagged(frame, Tag(OTHER_VID)) for frame in frames), *(tagged(frame, Tag(VID)) for frame in frames)]
    problem = difference(frames, received(cable_port(wire), sent, port, frames[-1]))
    assert not problem, f"from the cable to a virtual function in VLAN {VID} that asked for {OTHER_VID}, {problem}"


@is_a_pair
@requirement("82576 7.10.3 VLAN", "82576 8.14 VMVIR", "IEEE 802.1Q-2022 9.6")
def test_function_cannot_send_into_another_vlan(guest: Guest, wire: Wire, cell: Cell) -> None:
    """What a virtual function in a VLAN sends with another's tag leaves with its own VLAN's before it."""
    pf, vf = _pair(guest, cell)
    pf.set_function_vlan(0, VID)
    port = function_port("VF 0", vf)
    frames = [tagged(frame, Tag(OTHER_VID)) for frame in frames_between(port.mac, WIRE.mac)[:-1]]
    on_cable = [tagged(frame, Tag(VID)) for frame in frames]
    problem = difference(on_cable, received(port, frames, cable_port(wire), on_cable[-1]))
    assert not problem, f"from a virtual function in VLAN {VID} that tags its frames with {OTHER_VID}, {problem}"


@makes_functions
@requirement("82576 7.10.3 VLAN", "82576 7.10.3 transmit switching")
def test_functions_in_different_vlans_are_apart(guest: Guest, wire: Wire) -> None:
    """What a function sends to all stations reaches the functions in its VLAN, and none in another."""
    guest.start_functions(MACS[:3])
    for number, vid in enumerate((VID, VID, OTHER_VID)):
        guest.set_function_vlan(number, vid)
    first, second, other = (function_port(f"VF {n}", guest.virtual_function(n)) for n in range(3))
    frames = frames_between(first.mac, BROADCAST_MAC)
    problem = difference(frames, received(first, frames, second, frames[-1]))
    assert not problem, f"from {first} to {second} in the same VLAN, {problem}"
    _assert_not_overheard(other, first, frames, cable_port(wire), Tag(OTHER_VID))


# Source addresses


@is_a_pair
@requirement("82576 8.14 DTXSWC")
def test_foreign_source_address_is_not_sent(guest: Guest, wire: Wire, cell: Cell) -> None:
    """While source addresses are checked, a frame with another one than the virtual function's own does not leave."""
    pf, vf = _pair(guest, cell)
    pf.set_function_spoof_check(0, True)
    foreign = frames_between(STRANGER_MAC, WIRE.mac)
    _assert_switched(function_port("VF 0", vf), foreign, {cable_port(wire): []}, "from another source address, ")


@is_a_pair
@requirement("82576 8.14 DTXSWC", "82576 7.2")
def test_foreign_source_address_is_sent_without_the_check(guest: Guest, wire: Wire, cell: Cell) -> None:
    """While source addresses are not checked, frames with any of them leave, octet for octet."""
    pf, vf = _pair(guest, cell)
    pf.set_function_spoof_check(0, False)
    foreign = frames_between(STRANGER_MAC, WIRE.mac)
    _assert_switched(function_port("VF 0", vf), foreign, {cable_port(wire): foreign}, "from another source address, ")


# The switch


@makes_functions
@requirement("82576 7.1", "82576 7.2", "82576 7.10.3 receive switching", "82576 7.10.3 transmit switching")
@pytest.mark.parametrize(
    ("source", "target"),
    [(0, 2), (2, 0), (1, 2), (2, 1), (2, 3)],
    ids=["cable-to-vf", "vf-to-cable", "pf-to-vf", "vf-to-pf", "vf-to-vf"],
)
def test_frames_cross_the_switch_whole(guest: Guest, wire: Wire, source: int, target: int) -> None:
    """Frames of many lengths from one port to another's address come whole and in order."""
    ports = _ports(guest, wire)
    _assert_cross(ports[source], ports[target])


@makes_functions
@requirement("82576 7.10.3 transmit switching")
@pytest.mark.parametrize(("source", "target"), [(1, 2), (2, 1), (2, 3)], ids=["pf-to-vf", "vf-to-pf", "vf-to-vf"])
def test_frames_between_functions_reach_nobody_else(guest: Guest, wire: Wire, source: int, target: int) -> None:
    """A frame from one function to another's address is not sent on the cable, and reaches no third function."""
    ports = _ports(guest, wire)
    frames = frames_between(ports[source].mac, ports[target].mac)
    others: dict[Port, list[bytes]] = {port: [] for number, port in enumerate(ports) if number not in (source, target)}
    _assert_switched(ports[source], frames, others, f"of frames to {ports[target]}, ")


@makes_functions
@requirement("82576 7.10.3 receive switching", "82576 7.10.3 transmit switching")
@pytest.mark.parametrize("source", range(3), ids=["from-the-cable", "from-the-pf", "from-a-vf"])
def test_broadcast_reaches_every_other_port(guest: Guest, wire: Wire, source: int) -> None:
    """A frame to all stations is replicated to the physical function, every virtual one and the cable, once each."""
    ports = _ports(guest, wire)
    frames = frames_between(ports[source].mac, BROADCAST_MAC)
    _assert_switched(ports[source], frames, {port: frames for n, port in enumerate(ports) if n != source})


@is_a_pair
@requirement("82576 7.10.3 transmit switching")
@pytest.mark.parametrize("source", [0, 1], ids=["from-the-pf", "from-a-vf"])
def test_broadcast_does_not_return_to_its_sender(guest: Guest, wire: Wire, cell: Cell, source: int) -> None:
    """A frame to all stations is not given to the function that sent it."""
    sender = function_port(("the PF", "VF 0")[source], _pair(guest, cell)[source])
    _assert_not_overheard(sender, sender, frames_between(sender.mac, BROADCAST_MAC), cable_port(wire))


@makes_functions
@requirement("82576 7.10.3 receive switching", "82576 7.10.3 transmit switching", "82576 8.10 MTA")
@pytest.mark.parametrize("source", [0, 2], ids=["from-the-cable", "from-a-vf"])
def test_group_reaches_every_member(guest: Guest, wire: Wire, source: int) -> None:
    """A frame to a group is replicated to every function that has joined it, and to the cable."""
    functions = [guest, *_start(guest, 2)]
    for function in functions:
        function.join([GROUP])
    names = ("the PF", "VF 0", "VF 1")
    ports = [cable_port(wire), *map(function_port, names, functions)]
    frames = frames_between(ports[source].mac, GROUP)
    _assert_switched(ports[source], frames, {port: frames for n, port in enumerate(ports) if n != source})


@makes_functions
@requirement("82576 7.10.3 receive switching", "82576 7.10.3 transmit switching", "82576 8.10 MTA")
@pytest.mark.parametrize("source", [0, 1], ids=["from-the-cable", "from-the-pf"])
def test_group_without_a_member_reaches_no_function(guest: Guest, wire: Wire, source: int) -> None:
    """A frame to a group that no function has joined is replicated to none, while one to a joined group comes.

    Who has not joined that one may get it too: the table of groups is one for all pools.
    """
    ports = _ports(guest, wire)
    guest.virtual_function(0).join([GROUP])
    (foreign,) = apart_from([GROUP], 1)
    frames = frames_between(ports[source].mac, foreign)
    joined = frames_between(ports[source].mac, GROUP)
    _assert_switched(ports[source], [*frames, *joined], {ports[2]: joined})
    _assert_switched(ports[source], frames, {ports[2]: [], ports[3]: []}, "of frames to a group without a member, ")


# Link and resets


@makes_functions
@requirement("82576 8.2.2", "82576 7.10.2")
def test_links_of_functions_go_with_the_cable(testbed: Testbed, guest: Guest) -> None:
    """Without a cable neither the physical function nor any virtual one has a link."""
    (vf,) = _start(guest, 1)
    testbed.plug.pull_cable()
    seen = (guest.wait_link(False), vf.wait_link(False))
    assert seen == (True, True), f"expected the links of (PF, VF 0) down without a cable, seen down: {seen}"


@makes_functions
@requirement("82576 8.2.2", "82576 7.10.2")
def test_functions_work_after_replugging(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """With the cable in again every function has its link, and frames cross."""
    (vf,) = _start(guest, 1)
    testbed.plug.pull_cable()
    assert guest.wait_link(False), "expected the physical function's link down without a cable, it stayed up"
    testbed.plug.plug_cable()
    seen = (guest.wait_link(True), vf.wait_link(True))
    assert seen == (True, True), f"expected the links of (PF, VF 0) up with the cable in again, seen up: {seen}"
    _assert_recovers(cable_port(wire), function_port("VF 0", vf), "after replugging")


@makes_functions
@requirement("82576 8.2.2", "82576 4.5", "82576 7.10.2")
def test_links_of_functions_go_with_the_physical_function(guest: Guest, wire: Wire) -> None:
    """While the physical function is closed no virtual one has a link; once it is open again they exchange frames."""
    (vf,) = _start(guest, 1)
    guest.set_up(False)
    assert vf.wait_link(False), "expected the link of VF 0 down while the physical function is closed, it stayed up"
    guest.set_up(True)
    _assert_recovers(cable_port(wire), function_port("VF 0", vf), "after the physical function was opened again")


@makes_functions
@requirement("82576 4.5", "82576 7.10.2")
@after_down_and_up_and_reset
def test_functions_recover_from_the_physical_functions_reset(guest: Guest, wire: Wire, disturb: Disturb) -> None:
    """After the physical function was closed and opened, or reset, the virtual ones set themselves up again."""
    cable, _, *functions = _ports(guest, wire)
    disturb(guest)
    _assert_answers(wire, "after it was disturbed")
    for function in functions:
        _assert_recovers(cable, function, "after the physical function was disturbed")


@makes_functions
@requirement("SR-IOV 1.1 2.2.2", "82576 4.2 FLR")
def test_function_recovers_from_its_own_reset(guest: Guest, wire: Wire) -> None:
    """A virtual function that the system resets is set up again, and the other functions are left alone."""
    cable, pf, reset, other = _ports(guest, wire)
    assert guest.virtual_function(0).reset_function(), "expected the reset of VF 0 to end, it did not"
    _assert_work((cable, pf, other), "right after the reset of VF 0")
    _assert_recovers(cable, reset, "after its reset")


@makes_functions
@requirement("82576 7.10.2", "82576 7.10.3 receive switching")
def test_closed_function_leaves_the_others_alone(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """The frames to a closed virtual function come to nobody, and the others work; opened again it works, too."""
    cable, pf, closed, other = _ports(guest, wire)
    guest.virtual_function(0).set_up(False)
    counts = [frames_given(testbed, 0)]
    _assert_switched(cable, frames_between(cable.mac, closed.mac), {pf: [], other: []}, "with VF 0 closed, ")
    _assert_work((cable, pf, other), "with VF 0 closed")
    counts.append(frames_given(testbed, 0))
    guest.virtual_function(0).set_up(True)
    _assert_work((cable, pf, closed, other), "with VF 0 opened again")
    before, meanwhile, after = *counts, frames_given(testbed, 0)
    assert before == meanwhile < after, (
        f"expected the device to give no frame to VF 0 while that was closed, and those since it was opened, counted "
        f"{before} when it was closed, {meanwhile} before it was opened, {after} in the end"
    )


# Interrupts and queues


@makes_functions
@requirement("PCI 3.0 6.8.2", "82576 7.3", "SR-IOV 1.1 3.4.1.18")
def test_each_function_has_its_vectors(testbed: Testbed, guest: Guest) -> None:
    """Each virtual function has one vector to receive, one to send and one for its mailbox, in guest and device."""
    functions = _start(guest, 2)
    for number, vf in enumerate(functions):
        claimed = [vector.index for vector in vf.interrupts().vectors]
        granted = testbed.function(number).vectors_granted
        assert (claimed, granted) == ([*range(VECTORS)], VECTORS), (
            f"expected handlers for the {VECTORS} vectors of VF {number} in the guest and all of them open in the "
            f"device, seen handlers for {claimed} and {granted} open"
        )


@makes_functions
@requirement("82576 7.3", "82576 7.1.1.7")
def test_function_interrupts_when_its_frames_come(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """Frames to one virtual function raise its receive vector, are handled, and raise no receive vector of another."""
    first, second = _start(guest, 2)
    (mine,), (other,) = first.queue_vectors("rx").values(), second.queue_vectors("rx").values()
    port, frames = function_port("VF 0", first), frames_between(WIRE.mac, MACS[0])
    before = {vector.index: sum(vector.counts) for vector in first.interrupts().vectors}
    with testbed.deliveries(0) as ours, testbed.deliveries(1) as theirs:
        for _ in range(BURSTS):
            problem = difference(frames, received(cable_port(wire), frames, port, frames[-1]))
            assert not problem, f"from the cable to {port}, {problem}"
    after = {vector.index: sum(vector.counts) for vector in first.interrupts().vectors}
    seen = (ours.delivery.messages.get(mine, 0), after[mine] - before[mine])
    assert min(seen) >= BURSTS, f"expected vector {mine} (delivered, handled) {BURSTS} times or more, seen {seen}"
    stray = theirs.delivery.messages.get(other, 0)
    assert stray <= unasked(theirs), f"expected no interrupt of VF 1 for frames to VF 0, delivered: {theirs.delivery}"


@makes_functions
@requirement("82576 7.10.2", "82576 7.3")
def test_function_has_one_pair_of_queues(testbed: Testbed, guest: Guest) -> None:
    """A virtual function's driver uses the one receive and the one transmit queue of its pool's first pair alone."""
    (vf,) = _start(guest, 1)
    claimed, enabled = ([*vf.queue_vectors("rx")], [*vf.queue_vectors("tx")]), queues_enabled(testbed, 0)
    assert claimed == enabled == ([0], [0]), (
        f"expected (receive, transmit) queues ([0], [0]) of a virtual function's two pairs, with a vector in the guest "
        f"{claimed}, enabled in the device {enabled}"
    )


# The driver


@makes_functions
@requirement("82576 4.5", "82576 7.10.2")
def test_functions_without_a_driver_are_silent(testbed: Testbed, guest: Guest, wire: Wire) -> None:
    """Virtual functions whose driver goes stay in the device, master the bus no more, and the physical one works."""
    functions = _start(guest, 2)
    functions[0].unload_driver()
    _assert_count(testbed, 2, "after their driver was unloaded")
    seen = (guest.function_interfaces(), [testbed.function(number).bus_mastering for number in range(2)])
    assert seen == (0, [False, False]), f"expected (interfaces, bus masters) (0, [False, False]), seen {seen}"
    _assert_work((cable_port(wire), function_port("the PF", guest)), "with undriven virtual functions")


@makes_functions
@requirement("82576 4.5", "82576 7.10.2")
def test_functions_work_when_their_driver_is_loaded_again(guest: Guest, wire: Wire) -> None:
    """Virtual functions whose driver is loaded again have their addresses, and frames cross."""
    functions = _start(guest, 2)
    functions[0].unload_driver()
    guest.drive_functions()
    again = [guest.virtual_function(number) for number in range(2)]
    seen = [vf.mac() for vf in again]
    assert seen == [*MACS[:2]], f"expected the virtual functions' MAC addresses {[*MACS[:2]]}, seen {seen}"
    _assert_work([cable_port(wire), *map(function_port, ("VF 0", "VF 1"), again)], "after the driver was loaded again")
