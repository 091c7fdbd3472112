"""Receive filters: a NIC takes the frames for its own station, for all stations and for the groups it has joined.

Asserted exactly, without tolerance: each frame that is sent is delivered or it is not. Every frame to another station
or group is followed, in the same window, by one to the DUT itself, so that silence is never taken for a filter. What
is delivered is what the driver hands to the system: a capture in the guest that leaves the filters as they are. Groups
that must not come are chosen outside the buckets of all that are joined: the multicast filters of Intel's NICs may
mistake one group for another, but only within a bucket.
"""

import pytest
from scapy.layers.l2 import ARP, Ether

from harness.cell import Cell
from harness.endpoint.base import padded
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.station import BROADCAST_MAC, DUT, STRANGER_MAC, WIRE, almost
from harness.suite import Disturb, after_down_and_up_and_reset, after_sleep_as_well, applies_to, requirement
from harness.traffic.exchange import stations_reached
from harness.traffic.multicast import apart_from, ipv4_groups

GROUPS = ("01:00:5e:40:12:34", "33:33:00:01:56:78", "01:80:c2:00:00:0e", "03:00:00:20:9a:bc")
"""Of IPv4, of IPv6, of LLDP, and one that a local administrator made."""
OTHER_GROUPS = apart_from(GROUPS, 4)
MANY_GROUPS = ipv4_groups(72)
"""More than the exact filters of any model hold: 16 (82540EM, 82574L), 24 (82576), 64 (QEMU's virtio-net)."""


def _has_promiscuous_mode(cell: Cell) -> bool:
    """Whether the function's driver can open the filters: a virtual function's are its physical function's to open."""
    return not cell.nic.virtual_function


def _assert_reached(guest: Guest, wire: Wire, stations: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Assert which of the frames to these stations are delivered, in their order and before one to the DUT itself."""
    seen, wanted = stations_reached(wire, guest, stations), [*expected, DUT.mac]
    lost, not_dropped = (
        [one for one in these if one not in others] for these, others in ((wanted, seen), (seen, wanted))
    )
    assert seen == wanted, (
        f"of frames to {len(stations)} stations and the DUT, expected {len(wanted)} delivered in their order, seen "
        f"{len(seen)}; lost: those to {lost or 'none'}; not dropped: those to {not_dropped or 'none'}"
    )


@requirement(
    "IEEE 802.3-2022 4A.2.4.1.1",
    "82540EM 3.2.1",
    "82574L 7.1.1",
    "82576 7.1 filtering",
    "virtio 1.2 5.1.6.5.1",
    "NDIS OID_GEN_CURRENT_PACKET_FILTER",
)
def test_foreign_unicast_is_dropped(guest: Guest, wire: Wire) -> None:
    """A frame to another station is not delivered, though its address differs from the DUT's in one bit only."""
    _assert_reached(guest, wire, (STRANGER_MAC, almost(DUT.mac, 5)), ())


@requirement("82540EM 3.2.1", "82574L 7.1.1", "82576 7.1 filtering", "virtio 1.2 5.1.6.5.1")
def test_foreign_unicast_is_not_taken_for_a_group(guest: Guest, wire: Wire) -> None:
    """A frame to another station is not delivered, though its address has the hash of a group that is joined.

    The DUT's IPv6 group ends in the octets of its MAC address, and so do these stations' addresses.
    """
    _assert_reached(guest, wire, tuple(almost(DUT.mac, octet) for octet in range(4)), ())


@requirement("RFC 826 packet reception", "IEEE 802.3-2022 4A.2.4.1.1", "NDIS OID_GEN_CURRENT_PACKET_FILTER")
def test_request_to_a_foreign_station_is_not_answered(wire: Wire) -> None:
    """An ARP request for the DUT's IP address that is sent to another station goes unanswered."""
    _assert_only_own_answered(wire, STRANGER_MAC)


@requirement("RFC 826 packet reception", "IEEE 802.3-2022 4A.2.4.1.1", "NDIS OID_GEN_CURRENT_PACKET_FILTER")
def test_request_to_a_foreign_group_is_not_answered(wire: Wire) -> None:
    """An ARP request that is sent to a group which the DUT has not joined goes unanswered."""
    _assert_only_own_answered(wire, OTHER_GROUPS[0])


def _assert_only_own_answered(wire: Wire, foreign: str) -> None:
    """Assert that of a request for the DUT's IP address to `foreign` and one to the DUT only the latter is answered."""
    requests = [
        padded(Ether(src=WIRE.mac, dst=target) / ARP(hwsrc=WIRE.mac, psrc=asker, pdst=DUT.ip))
        for target, asker in ((foreign, "192.0.2.77"), (DUT.mac, WIRE.ip))
    ]
    with wire.capture(lambda seen: seen[12:14] == b"\x08\x06" and seen[21] == 2) as replies:
        wire.send(*requests)
        answered = [Ether(reply)[ARP].pdst for reply in replies.wait(1)]
    assert answered == [WIRE.ip], f"expected the request to {DUT.mac} alone answered, answered are those of {answered}"


@applies_to(_has_promiscuous_mode)
@requirement(
    "82540EM 13.4.22", "82574L 10.2.5.1", "82576 8.10.1", "virtio 1.2 5.1.6.5.1", "NDIS OID_GEN_CURRENT_PACKET_FILTER"
)
def test_promiscuous_interface_receives_foreign_unicast(guest: Guest, wire: Wire) -> None:
    """In promiscuous mode every frame on the cable is delivered, to whomever it is sent."""
    foreign = (STRANGER_MAC, *(almost(DUT.mac, octet) for octet in range(6)))
    guest.set_promiscuous(True)
    _assert_reached(guest, wire, foreign, foreign)


@applies_to(_has_promiscuous_mode)
@requirement(
    "82540EM 13.4.22", "82574L 10.2.5.1", "82576 8.10.1", "virtio 1.2 5.1.6.5.1", "NDIS OID_GEN_CURRENT_PACKET_FILTER"
)
def test_promiscuous_interface_receives_every_group(guest: Guest, wire: Wire) -> None:
    """Promiscuous mode delivers the frames to groups that nobody has joined as well."""
    guest.set_promiscuous(True)
    _assert_reached(guest, wire, OTHER_GROUPS, OTHER_GROUPS)


@applies_to(_has_promiscuous_mode)
@requirement(
    "82540EM 13.4.22", "82574L 10.2.5.1", "82576 8.10.1", "virtio 1.2 5.1.6.5.1", "NDIS OID_GEN_CURRENT_PACKET_FILTER"
)
def test_foreign_frames_are_dropped_again_after_promiscuous_mode(guest: Guest, wire: Wire) -> None:
    """When promiscuous mode ends, foreign stations' and groups' frames are no longer delivered."""
    guest.set_promiscuous(True)
    guest.set_promiscuous(False)
    _assert_reached(guest, wire, (STRANGER_MAC, *OTHER_GROUPS), ())


@requirement(
    "IEEE 802.3-2022 4A.2.4.1.1",
    "82540EM 13.4.22",
    "82574L 10.2.5.1",
    "82576 8.10.1",
    "NDIS OID_GEN_CURRENT_PACKET_FILTER",
)
def test_broadcast_is_delivered(guest: Guest, wire: Wire) -> None:
    """A frame to all stations is delivered."""
    _assert_reached(guest, wire, (BROADCAST_MAC,), (BROADCAST_MAC,))


@requirement(
    "IEEE 802.3-2022 4A.2.4.1.1",
    "82540EM 13.5.1",
    "82574L 10.2.5 MTA",
    "82576 8.10 MTA",
    "virtio 1.2 5.1.6.5.2",
    "NDIS OID_802_3_MULTICAST_LIST",
)
@pytest.mark.parametrize("group", GROUPS)
def test_joined_group_is_delivered(guest: Guest, wire: Wire, group: str) -> None:
    """A frame to a group that the station has joined is delivered, whatever the group belongs to."""
    guest.join([group])
    _assert_reached(guest, wire, (group,), (group,))


@requirement(
    "IEEE 802.3-2022 4A.2.4.1.1",
    "82540EM 13.5.1",
    "82574L 10.2.5 MTA",
    "82576 8.10 MTA",
    "virtio 1.2 5.1.6.5.2",
    "NDIS OID_802_3_MULTICAST_LIST",
)
def test_group_that_nobody_joined_is_dropped(guest: Guest, wire: Wire) -> None:
    """Frames to groups outside the buckets of all joined ones are not delivered, those to the joined ones are."""
    guest.join(GROUPS)
    mixed = tuple(group for pair in zip(OTHER_GROUPS, GROUPS, strict=True) for group in pair)
    _assert_reached(guest, wire, mixed, GROUPS)


@requirement(
    "82540EM 13.5.1", "82574L 10.2.5 MTA", "82576 8.10 MTA", "virtio 1.2 5.1.6.5.2", "NDIS OID_802_3_MULTICAST_LIST"
)
def test_group_is_dropped_after_it_was_left(guest: Guest, wire: Wire) -> None:
    """Once a station has left a group, its frames are no longer delivered; those of the groups that remain are."""
    left = OTHER_GROUPS[:1]
    guest.join([*left, *GROUPS])
    guest.leave(left)
    _assert_reached(guest, wire, (*left, *GROUPS), GROUPS)


@requirement(
    "82540EM 13.5.1", "82574L 10.2.5 MTA", "82576 8.10 MTA", "virtio 1.2 5.1.6.5.2", "NDIS OID_802_3_MULTICAST_LIST"
)
def test_more_groups_than_the_filters_hold_are_all_delivered(guest: Guest, wire: Wire) -> None:
    """A station that joins more groups than the NIC can tell apart gets the frames to every one of them."""
    guest.join(MANY_GROUPS)
    _assert_reached(guest, wire, MANY_GROUPS, MANY_GROUPS)


@requirement("82540EM 13.5.1", "82574L 10.2.5 MTA", "82576 8.10 MTA", "virtio 1.2 5.1.6.5.2")
def test_filters_are_exact_again_when_most_groups_are_left(guest: Guest, wire: Wire) -> None:
    """When a station leaves all groups but one, the filters that had overflowed drop the others again."""
    guest.join(MANY_GROUPS)
    guest.leave(MANY_GROUPS[1:])
    kept = MANY_GROUPS[:1]
    _assert_reached(guest, wire, (*kept, *apart_from(kept, 4)), kept)


@applies_to(_has_promiscuous_mode)
@requirement(
    "82540EM 13.4.22", "82574L 10.2.5.1", "82576 8.10.1", "virtio 1.2 5.1.6.5.1", "NDIS OID_GEN_CURRENT_PACKET_FILTER"
)
def test_all_multicast_receives_every_group_and_no_foreign_unicast(guest: Guest, wire: Wire) -> None:
    """In all-multicast mode the frames to every group are delivered, and still none to another station."""
    guest.set_all_multicast(True)
    _assert_reached(guest, wire, (STRANGER_MAC, *OTHER_GROUPS), OTHER_GROUPS)


@applies_to(_has_promiscuous_mode)
@requirement(
    "82540EM 13.4.22", "82574L 10.2.5.1", "82576 8.10.1", "virtio 1.2 5.1.6.5.1", "NDIS OID_GEN_CURRENT_PACKET_FILTER"
)
def test_groups_are_dropped_again_after_all_multicast_mode(guest: Guest, wire: Wire) -> None:
    """When all-multicast mode ends, only the frames to joined groups are delivered."""
    guest.join(GROUPS[:1])
    guest.set_all_multicast(True)
    guest.set_all_multicast(False)
    _assert_reached(guest, wire, (*OTHER_GROUPS, *GROUPS[:1]), GROUPS[:1])


@requirement("82540EM 3.2.1", "82574L 7.1.1", "82576 7.1 filtering", "virtio 1.2 5.1.6.5.2")
@after_sleep_as_well
def test_station_and_group_filters_survive(guest: Guest, wire: Wire, disturb: Disturb) -> None:
    """What a station takes and what it drops is the same after its NIC was closed and opened, was reset, or slept."""
    guest.join(GROUPS)
    disturb(guest)
    _assert_reached(guest, wire, (STRANGER_MAC, *OTHER_GROUPS, BROADCAST_MAC, *GROUPS), (BROADCAST_MAC, *GROUPS))


@applies_to(_has_promiscuous_mode)
@requirement("82540EM 13.4.22", "82574L 10.2.5.1", "82576 8.10.1", "virtio 1.2 5.1.6.5.1")
@after_down_and_up_and_reset
def test_promiscuous_mode_survives(guest: Guest, wire: Wire, disturb: Disturb) -> None:
    """Promiscuous mode lasts until it is ended, though the NIC is closed and opened, or reset."""
    guest.set_promiscuous(True)
    disturb(guest)
    _assert_reached(guest, wire, (STRANGER_MAC, *OTHER_GROUPS), (STRANGER_MAC, *OTHER_GROUPS))


@applies_to(_has_promiscuous_mode)
@requirement("82540EM 13.4.22", "82574L 10.2.5.1", "82576 8.10.1", "virtio 1.2 5.1.6.5.1")
@after_down_and_up_and_reset
def test_all_multicast_mode_survives(guest: Guest, wire: Wire, disturb: Disturb) -> None:
    """All-multicast mode lasts until it is ended, though the NIC is closed and opened, or reset."""
    guest.set_all_multicast(True)
    disturb(guest)
    _assert_reached(guest, wire, (STRANGER_MAC, *OTHER_GROUPS), OTHER_GROUPS)
