"""VLANs: tags cross bit for bit, each VLAN gets its own frames and no others, and no offload is confused by a tag.

Asserted exactly, without tolerance: a frame is compared octet for octet with its tags, on the cable as well as in the
guest. A capture on the DUT shows a frame as it was on the cable, whoever has taken its tag off; one in a VLAN shows it
without. Frames of a VLAN that must not come are followed, in the same window, by one of a VLAN that must. The cable
must not show whether a tag is the NIC's work or the driver's: what an offload may do is tested with the offload on and
off, where the driver has that choice.

In a VLAN the two stations have addresses of their own (`TAGGED_DUT` and `TAGGED_WIRE`), and speak UDP and TCP there.
"""

from collections.abc import Sequence

import pytest
from scapy.layers.l2 import ARP, Ether

from harness.endpoint.base import padded
from harness.endpoint.cable import Direction
from harness.endpoint.checksum import RIGHT, checksum_states
from harness.endpoint.remote import RemoteEndpoint
from harness.endpoint.stack import Stack
from harness.endpoint.vlan import SERVICE_TAG, Tag, far_end, outermost_vid, tagged
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.guest.offloads import Offload
from harness.station import DUT, TAGGED_WIRE, WIRE
from harness.suite import Disturb, after_down_and_up_and_reset, after_sleep_as_well, own_settings, requirement
from harness.traffic.damage import SOUND, SPOILT, answered, damaged_anywhere, datagrams, stream_answered
from harness.traffic.exchange import DEADLINE_S, vlans_reached
from harness.traffic.frames import (
    IPV4,
    IPV6,
    LOCAL_EXPERIMENT,
    LONGEST_FRAME,
    Family,
    difference,
    frame,
    random_payloads,
)
from harness.traffic.handing import in_vlan, send_payloads
from harness.traffic.segmentation import offload_of, parts_of, reassembled, send_stream, without_end_flags
from harness.traffic.transmission import CARRIERS, data_of, is_left

pytestmark = own_settings

VID = 5
OTHER_VID = 1000
NEAR_VIDS = (1, 4, 7, 37, 2053, 4094)
"""Not `VID`, though some differ from it in one bit, share its word of a filter's table or its place in another word."""
FLOW = b"one flow"
"""Begins each payload: Linux takes what follows the tag of a raw frame for a flow's (packet_parse_headers in
net/packet/af_packet.c), and frames of different flows may leave by different queues, in any order."""
LENGTHS = (46, 47, 100, 600, 1499, 1500)
DOUBLE_TAGGED_LENGTHS = (46, 47, 100, 600, 1000, 1492)
"""With two tags the last makes 1514 octets: more than that, not every MAC takes with a tag that it does not know."""
DATAGRAMS = (1, 17, 18, 1000, 1452)
STREAM_OCTETS = 200_000
PAYLOADS = random_payloads([1, 17, 18, 1001, 1400])
"""In padded frames and in long ones."""
SEGMENT = 500
STREAM = random_payloads([40 * SEGMENT + 1])[0]
LONGEST_TAGGED = LONGEST_FRAME + 4
"""Octets without FCS (IEEE 802.3-2022, 4A.4.2: maxBasicFrameSize and a tag)."""

both_directions = pytest.mark.parametrize("direction", list(Direction), ids=["to-dut", "from-dut"])
both_families = pytest.mark.parametrize("family", [IPV4, IPV6], ids=str)
tags_by_whom = pytest.mark.parametrize("by_nic", [True, False], ids=["tags-by-nic", "tags-by-driver"])
switched = pytest.mark.parametrize("states", [(False,), (False, True)], ids=["off", "on-again"])
"""An offload is switched while there is a VLAN, which has to follow."""
checked_by_whom = pytest.mark.parametrize(
    ("by_nic", "checked"),
    [(True, True), (False, True), (False, False)],
    ids=["tags-and-checksums-by-nic", "checksums-by-nic", "neither-by-nic"],
)
"""Who takes tags off what is received, and who checks what stands behind them."""
with_and_without_offload = pytest.mark.parametrize("offload", [True, False], ids=["offload-on", "offload-off"])


def _leave_tags_to_the_nic(guest: Guest, on: bool) -> None:
    # In this order: some drivers have one switch for both, and it is that of the receiver.
    guest.set_offload(Offload.VLAN_STRIPPING, on)
    guest.set_offload(Offload.VLAN_INSERTION, on)


def _frames(direction: Direction, lengths: Sequence[int], *tags: Tag) -> list[bytes]:
    """Return frames with so many octets of data behind header and tags, all with these tags."""
    data = random_payloads(length - len(FLOW) for length in lengths)
    return [tagged(frame(direction, LOCAL_EXPERIMENT, FLOW + octets), *tags) for octets in data]


def _request(asker: str) -> bytes:
    """Return the ARP request of a station with this address, to the DUT."""
    return padded(Ether(src=WIRE.mac, dst=DUT.mac) / ARP(hwsrc=WIRE.mac, psrc=asker, pdst=DUT.ip))


def _is_reply(seen: bytes) -> bool:
    return ARP in Ether(seen) and Ether(seen)[ARP].op == 2


def _assert_cross(
    direction: Direction, endpoint: RemoteEndpoint, wire: Wire, in_guest: list[bytes], on_cable: list[bytes]
) -> None:
    """Assert that frames cross between an endpoint of the guest and the cable, as what they should be at either end."""
    if direction is Direction.FROM_DUT:
        with wire.capture(lambda seen: LOCAL_EXPERIMENT.to_bytes(2, "big") in seen[12:22]) as sent:
            endpoint.send(*in_guest)
            wrong = difference(on_cable, sent.wait(len(on_cable), DEADLINE_S))
    else:
        with endpoint.capture(in_guest[0][6:14]) as received:
            wire.send(*on_cable)
            wrong = difference(in_guest, received.wait(len(in_guest), DEADLINE_S))
    assert not wrong, f"{direction.value}, {wrong}"


def _assert_reached(guest: Guest, wire: Wire, vids: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Assert in which of these VLANs and then the last one expected a frame is delivered, in their order."""
    seen = vlans_reached(wire, guest, vids, expected[-1])
    assert seen == [*expected], (
        f"of frames in the VLANs {', '.join(map(str, vids))} and then {expected[-1]}, expected those in "
        f"{', '.join(map(str, expected))} delivered, seen those in {', '.join(map(str, seen)) or 'none'}"
    )


def _assert_exchanged(
    vlan: RemoteEndpoint, wire: Wire, family: Family, transport: str, lengths: tuple[int, ...]
) -> None:
    """Assert that a client in the VLAN gets back all that it sends to a service at the VLAN's far end."""
    address = TAGGED_WIRE.ip if family is IPV4 else TAGGED_WIRE.ip6
    with far_end(wire, VID) as far, Stack(far, TAGGED_WIRE).serve(transport, address) as port:
        for payload in random_payloads(lengths):
            wrong = difference([payload], [vlan.exchange(transport, address, port, payload)])
            assert not wrong, f"of {transport} over {family} in the VLAN to its far end and back, {wrong}"


@requirement(
    "IEEE 802.1Q-2022 9.5",
    "IEEE 802.1Q-2022 9.6",
    "82540EM 9.2.1",
    "82574L 7.5.2",
    "82576 7.4.3",
    "NDIS 6 Priority VLAN Tag",
)
@with_and_without_offload
def test_tag_is_inserted_into_what_a_vlan_sends(guest: Guest, wire: Wire, offload: bool) -> None:
    """What is sent in a VLAN has its VID and priority in a tag behind the addresses, and is otherwise unaltered.

    With the VID 0 it has a priority and is in no VLAN.
    """
    _leave_tags_to_the_nic(guest, offload)
    for tag in (Tag(VID, priority=5), Tag(0, priority=2)):
        vlan = guest.add_vlan(tag.vid, priority=tag.priority)
        in_vlan, on_cable = _frames(Direction.FROM_DUT, LENGTHS), _frames(Direction.FROM_DUT, LENGTHS, tag)
        _assert_cross(Direction.FROM_DUT, vlan, wire, in_vlan, on_cable)


@requirement(
    "IEEE 802.1Q-2022 9.5",
    "IEEE 802.1Q-2022 9.6",
    "82540EM 9.2.2",
    "82574L 7.5.2",
    "82576 7.4.3",
    "NDIS 6 Priority VLAN Tag",
)
@with_and_without_offload
def test_tag_is_stripped_from_what_a_vlan_receives(guest: Guest, wire: Wire, offload: bool) -> None:
    """What comes with a VLAN's tag is received in the VLAN without it, and is otherwise unaltered."""
    _leave_tags_to_the_nic(guest, offload)
    in_vlan, on_cable = _frames(Direction.TO_DUT, LENGTHS), _frames(Direction.TO_DUT, LENGTHS, Tag(VID))
    _assert_cross(Direction.TO_DUT, guest.add_vlan(VID), wire, in_vlan, on_cable)


@requirement("IEEE 802.1Q-2022 9.6", "82540EM 9.2.2")
def test_vlans_are_apart(guest: Guest, wire: Wire) -> None:
    """A frame is received in the VLAN of its tag alone, and one without a tag in none."""
    vlans = {vid: guest.add_vlan(vid) for vid in (VID, OTHER_VID)}
    sent = _frames(Direction.TO_DUT, [100] * 30)
    on_cable = [tagged(one, *[Tag(vid)] * bool(vid)) for one, vid in zip(sent, (VID, 0, OTHER_VID) * 10, strict=True)]
    with vlans[VID].capture(sent[0][6:14]) as first, vlans[OTHER_VID].capture(sent[0][6:14]) as second:
        wire.send(*on_cable)
        for vid, expected, seen in ((OTHER_VID, sent[2::3], second), (VID, sent[::3], first)):
            wrong = difference(expected, seen.wait(len(expected), DEADLINE_S))
            assert not wrong, f"of frames with the VIDs {VID} and {OTHER_VID} and none by turns, in VLAN {vid}, {wrong}"


@requirement("RFC 768", "RFC 9293 3.1", "RFC 8200 8.1", "RFC 1071", "IEEE 802.1Q-2022 9.6")
@with_and_without_offload
def test_checksums_are_right_in_a_vlan(guest: Guest, wire: Wire, offload: bool) -> None:
    """UDP and TCP cross in a VLAN both ways with right checksums, which lie behind the tag."""
    _leave_tags_to_the_nic(guest, offload)
    vlan = guest.add_vlan(VID)
    for family in (IPV4, IPV6):
        _assert_exchanged(vlan, wire, family, "udp", DATAGRAMS)
        _assert_exchanged(vlan, wire, family, "tcp", (STREAM_OCTETS // 10,))


@requirement("IEEE 802.3-2022 4A.4.2", "IEEE 802.1Q-2022 9.6", "RFC 9293 3.1")
@with_and_without_offload
@both_families
def test_stream_in_a_vlan_is_cut_into_tagged_frames(guest: Guest, wire: Wire, family: Family, offload: bool) -> None:
    """However much TCP sends at once in a VLAN, each frame of it has the tag, and none is longer than a full one."""
    _leave_tags_to_the_nic(guest, offload)
    with wire.capture(lambda seen: len(seen) > LONGEST_FRAME // 2) as seen:
        _assert_exchanged(guest.add_vlan(VID), wire, family, "tcp", (STREAM_OCTETS,))
        segments = seen.wait(STREAM_OCTETS // LONGEST_FRAME)
    vids = {outermost_vid(one) for one in segments}
    assert vids == {VID}, f"expected each frame of the stream tagged with VID {VID}, seen the VIDs {vids}"
    longest = max(map(len, segments))
    assert longest == LONGEST_TAGGED, f"expected full frames of {LONGEST_TAGGED} octets, seen one of {longest}"


@requirement("82540EM 3.6", "82574L 7.2 POPTS", "82576 7.2.5", "virtio 1.2 5.1.6.2", "IEEE 802.1Q-2022 9.6")
@tags_by_whom
@switched
def test_checksum_in_a_vlan_is_computed_by_whom_it_is_left_to(
    guest: Guest, wire: Wire, states: tuple[bool, ...], by_nic: bool
) -> None:
    """In a VLAN, too, a driver is handed open checksums with the offload, finished ones without; right ones leave.

    ICMPv6's are finished in any case.
    """
    _leave_tags_to_the_nic(guest, by_nic)
    with in_vlan(guest, wire, VID) as path:
        for on in states:
            guest.set_vlan_offload(VID, Offload.TX_CHECKSUM, on)
        for carrier in CARRIERS:
            sent = send_payloads(path, carrier, PAYLOADS)
            wrong = sent.wrongly_left(states[-1] and is_left(carrier)) or sent.altered(PAYLOADS)
            assert not wrong, f"of {carrier} packets in the VLAN, {wrong}"
            seen = checksum_states(sent.seen)
            assert seen == {RIGHT}, (
                f"expected right {carrier} checksums behind the tags on the cable, seen {sorted(seen)}"
            )


@requirement(
    "RFC 1122 3.2.1.2",
    "RFC 1122 4.1.3.4",
    "RFC 8200 8.1",
    "RFC 9293 3.1",
    "82540EM 3.2.9",
    "82574L 10.2.5 RXCSUM",
    "82576 8.10 RXCSUM",
    "IEEE 802.1Q-2022 9.6",
)
@checked_by_whom
def test_damaged_packet_in_a_vlan_is_not_delivered(guest: Guest, wire: Wire, by_nic: bool, checked: bool) -> None:
    """A packet with one bit wrong behind its tag, in its header or in what it carries, reaches no socket."""
    _leave_tags_to_the_nic(guest, by_nic)
    guest.set_offload(Offload.RX_CHECKSUM, checked)
    with in_vlan(guest, wire, VID) as path:
        for family in (IPV4, IPV6):
            tcp, udp = (path.stack.serve(transport, path.dut_address(family)) for transport in ("tcp", "udp"))
            # The connection first: by it the DUT knows the far station, for which answers would wait and change places.
            stream = stream_answered(path, family, tcp, damaged_anywhere)
            bad = [damaged_anywhere(frame) for frame in datagrams(path, family, udp, SPOILT)]
            data = answered(path, udp, datagrams(path, family, udp, SOUND), bad)
            wrong = difference([b"".join(SOUND), *SOUND], [stream, *data])
            assert not wrong, f"of a stream and of datagrams over {family} among damaged ones in the VLAN, {wrong}"


@requirement("82540EM 3.5", "82574L 7.3", "82576 7.2.4", "virtio 1.2 5.1.6.2", "IEEE 802.1Q-2022 9.6")
@tags_by_whom
@switched
@both_families
def test_large_send_in_a_vlan_is_cut_by_whom_it_is_left_to(
    guest: Guest, wire: Wire, family: Family, states: tuple[bool, ...], by_nic: bool
) -> None:
    """In a VLAN, too, a driver is handed large sends with the offload, without it segments; right segments leave.

    Right is the tag, what counts on from segment to segment, and the checksums; PSH and FIN are no matter of the VLAN.
    """
    _leave_tags_to_the_nic(guest, by_nic)
    with in_vlan(guest, wire, VID) as path:
        for on in states:
            guest.set_vlan_offload(VID, offload_of(family), on)
        sent = send_stream(path, family, STREAM, SEGMENT)
    longest = max(len(data_of(frame)) for frame in sent.handed)
    assert (longest > SEGMENT) == states[-1], (
        f"expected sends longer than {SEGMENT} octets handed to the driver: {states[-1]}, the longest has {longest}"
    )
    expected, seen = ([*map(without_end_flags, frames)] for frames in (parts_of(sent, SEGMENT), sent.seen))
    wrong = difference(expected, seen) or difference([STREAM], [reassembled(sent.seen)])
    assert not wrong, f"of segments of {len(sent.handed)} sends in the VLAN, {wrong}"
    checksums = checksum_states(sent.seen)
    assert checksums == {RIGHT}, f"expected right checksums behind the tags on the cable, seen {sorted(checksums)}"


@requirement("IEEE 802.1Q-2022 9.6", "82540EM 9.2.2", "82574L 7.5.2", "82576 7.4.3", "virtio 1.2 5.1.6")
@both_directions
def test_vid_is_kept_bit_for_bit(guest: Guest, wire: Wire, direction: Direction) -> None:
    """The VID of a tag crosses as it is, from the least to the greatest; with 0, too, a frame keeps its tag."""
    vids = (1, 2, 4094)
    for vid in vids:
        guest.add_vlan(vid)
    frames = [one for vid in (*vids, 0) for one in _frames(direction, LENGTHS, Tag(vid))]
    _assert_cross(direction, guest.endpoint(), wire, frames, frames)


@requirement("IEEE 802.1Q-2022 9.6", "82540EM 9.2.2", "82574L 7.5.2", "82576 7.4.3", "virtio 1.2 5.1.6")
@both_directions
def test_priority_and_drop_eligible_indicator_are_kept(guest: Guest, wire: Wire, direction: Direction) -> None:
    """Priority and drop eligible indicator of a tag cross as they are, in all combinations."""
    guest.add_vlan(VID)
    tags = [Tag(VID, priority, dei) for priority in range(8) for dei in (False, True)]
    frames = [one for length, tag in enumerate(tags, 60) for one in _frames(direction, [length], tag)]
    _assert_cross(direction, guest.endpoint(), wire, frames, frames)


@requirement("IEEE 802.3-2022 3.2.7", "IEEE 802.3-2022 4A.4.2", "virtio 1.2 5.1.6.3")
@both_directions
def test_full_tagged_frame_crosses(guest: Guest, wire: Wire, direction: Direction) -> None:
    """A frame with a tag may have four octets more: 1518 without FCS cross, octet for octet."""
    guest.add_vlan(VID)
    frames = _frames(direction, [1500] * 20, Tag(VID))
    _assert_cross(direction, guest.endpoint(), wire, frames, frames)


@requirement("82540EM 9.3", "82574L 7.5.3", "82576 7.4.4", "virtio 1.2 5.1.6.5.3")
def test_only_the_duts_vlan_is_delivered(guest: Guest, wire: Wire) -> None:
    """A frame with another VID than that of the DUT's VLAN is dropped, though the two differ in one bit only."""
    guest.set_offload(Offload.VLAN_FILTER, True)
    guest.add_vlan(VID)
    _assert_reached(guest, wire, NEAR_VIDS, (VID,))


@requirement("82540EM 9.3", "82574L 7.5.3", "82576 7.4.4", "virtio 1.2 5.1.6.5.3")
def test_each_of_the_duts_vlans_is_delivered(guest: Guest, wire: Wire) -> None:
    """Of frames with several VIDs, those in the DUT's VLANs are delivered and no others."""
    guest.set_offload(Offload.VLAN_FILTER, True)
    own = NEAR_VIDS[::2]
    for vid in own:
        guest.add_vlan(vid)
    _assert_reached(guest, wire, (*NEAR_VIDS, VID, OTHER_VID), (*own, own[-1]))


@requirement("82540EM 9.3", "82574L 7.5.3", "82576 7.4.4", "virtio 1.2 5.1.6.5.3")
def test_vlan_is_dropped_after_it_was_left(guest: Guest, wire: Wire) -> None:
    """Once the DUT has left a VLAN, its frames are no longer delivered; those of the VLAN that remains are."""
    guest.set_offload(Offload.VLAN_FILTER, True)
    for vid in (OTHER_VID, VID):
        guest.add_vlan(vid)
    _assert_reached(guest, wire, (OTHER_VID,), (OTHER_VID, VID))
    guest.remove_vlan(OTHER_VID)
    _assert_reached(guest, wire, (OTHER_VID,), (VID,))


@requirement("82540EM 9.3", "82574L 7.5.3", "82576 7.4.4", "virtio 1.2 5.1.6.5.3")
@after_down_and_up_and_reset
def test_vlan_filter_survives(guest: Guest, wire: Wire, disturb: Disturb) -> None:
    """The DUT's VLAN is the only one delivered also after the NIC was closed and opened, or reset."""
    guest.set_offload(Offload.VLAN_FILTER, True)
    guest.add_vlan(VID)
    disturb(guest)
    _assert_reached(guest, wire, NEAR_VIDS, (VID,))


@requirement("IEEE 802.1Q-2022 9.6", "82540EM 9.2.1", "82574L 7.5.2", "82576 7.4.3", "virtio 1.2 5.1.6")
@after_sleep_as_well
def test_vlan_survives(guest: Guest, wire: Wire, disturb: Disturb) -> None:
    """Frames cross in a VLAN, its tag on the cable, also after the NIC was closed and opened, or reset, or slept."""
    vlan = guest.add_vlan(VID)
    disturb(guest)
    for direction in Direction:
        _assert_cross(direction, vlan, wire, _frames(direction, LENGTHS), _frames(direction, LENGTHS, Tag(VID)))


@requirement("IEEE 802.1Q-2022 9.6", "RFC 826 packet reception", "NDIS 6 Priority VLAN Tag")
def test_priority_tagged_request_is_answered(wire: Wire) -> None:
    """A tag with VID 0 gives a frame a priority and no VLAN: an ARP request with one is answered like any."""
    _assert_priority_tag_is_no_vlan(wire)


@requirement("IEEE 802.1Q-2022 9.6", "RFC 826 packet reception")
def test_priority_tagged_request_is_answered_beside_a_vlan(guest: Guest, wire: Wire) -> None:
    """A frame with VID 0 belongs to no VLAN also where the DUT has one, and its filter lets it pass."""
    guest.add_vlan(VID)
    _assert_priority_tag_is_no_vlan(wire)


def _assert_priority_tag_is_no_vlan(wire: Wire) -> None:
    """Assert that an ARP request with a priority tag is answered, in no VLAN."""
    is_reply = lambda packet: ARP in packet and packet[ARP].op == 2 and packet[ARP].psrc == DUT.ip  # noqa: E731
    answer = wire.ask([tagged(_request(WIRE.ip), Tag(0, priority=5))], is_reply)
    assert answer is not None, "expected an ARP reply to a request with VID 0 and priority 5, seen none"
    vid = outermost_vid(bytes(answer))
    assert vid in (None, 0), f"expected the ARP reply in no VLAN, seen it in VLAN {vid}"


@requirement("IEEE 802.1Q-2022 9.6", "RFC 826 packet reception")
def test_request_in_a_foreign_vlan_is_not_answered(wire: Wire) -> None:
    """An ARP request in a VLAN that the DUT is not in goes unanswered, in that VLAN and outside of it."""
    with wire.capture(_is_reply) as replies:
        wire.send(tagged(_request("192.0.2.77"), Tag(VID)), _request(WIRE.ip))
        answered = [Ether(reply)[ARP].pdst for reply in replies.wait(1)]
    assert answered == [WIRE.ip], f"expected the request in no VLAN alone answered, answered are those of {answered}"


@requirement("IEEE 802.1Q-2022 9.6", "RFC 826 packet reception", "NDIS 6 Priority VLAN Tag")
def test_station_in_a_vlan_answers_there_alone(guest: Guest, wire: Wire) -> None:
    """With its own addresses in a VLAN the DUT answers, with its tag, what comes with that tag and nothing else."""
    requests = [
        tagged(_request(asker), *[Tag(vid)] * bool(vid))
        for asker, vid in (("192.0.2.77", 0), ("192.0.2.78", OTHER_VID), (WIRE.ip, VID))
    ]
    with far_end(wire, VID):
        guest.move_into_vlan(VID)
        with wire.capture(_is_reply) as replies:
            wire.send(*requests)
            answered = [(outermost_vid(reply), Ether(reply)[ARP].pdst) for reply in replies.wait(1)]
    assert answered == [(VID, WIRE.ip)], (
        f"expected the request of {WIRE.ip} alone answered, in VLAN {VID}; answered are (VID, asker) {answered}"
    )


@requirement("IEEE 802.1Q-2022 9.5", "IEEE 802.3-2022 3.2.6", "IEEE 802.3-2022 3.2.7")
@both_directions
def test_double_tags_cross(guest: Guest, wire: Wire, direction: Direction) -> None:
    """A frame with a service tag and a customer tag behind it crosses octet for octet: a NIC carries both."""
    tags = (Tag(OTHER_VID, 3, drop_eligible=True, type=SERVICE_TAG), Tag(VID, 6))
    frames = _frames(direction, DOUBLE_TAGGED_LENGTHS, *tags)
    _assert_cross(direction, guest.endpoint(), wire, frames, frames)


@requirement("IEEE 802.1Q-2022 9.5", "IEEE 802.1Q-2022 9.6")
@both_directions
def test_service_vlan_carries_customer_tags(guest: Guest, wire: Wire, direction: Direction) -> None:
    """What crosses in a service VLAN keeps the customer's tag, and has the service tag before it on the cable."""
    vlan = guest.add_vlan(OTHER_VID, SERVICE_TAG)
    customer, service = Tag(VID, 6), Tag(OTHER_VID, type=SERVICE_TAG)
    in_vlan = _frames(direction, DOUBLE_TAGGED_LENGTHS, customer)
    _assert_cross(direction, vlan, wire, in_vlan, [tagged(one, service) for one in in_vlan])
