"""MTU: an interface carries packets up to the length that it was told, sends none that is longer, and stays whole.

Asserted exactly, without tolerance: a packet as long as the MTU crosses octet for octet in both directions, and no
frame leaves that is longer than the MTU and its header of 14 octets. Receiving is another matter, for the MTU binds the
sender: a NIC may deliver more than its own MTU, such as a tagged frame, but then whole. What it must drop is what its
datasheet says: for the 82540EM and the 82574L more than 1522 octets with FCS unless long packets are enabled, for the
82576 more than RLPML, and for all of them more than 16384. virtio 1.2 knows no limit without VIRTIO_NET_F_MTU.

The longest MTU is the one that the driver offers, and no shorter than the one that the NIC's maker promises.
"""

import pytest

from harness.cell import Cell
from harness.endpoint.cable import Direction
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.registers import longest_frame_programmed
from harness.station import DUT
from harness.suite import Disturb, after_down_and_up_and_reset, applies_to, requirement
from harness.testbed import Testbed
from harness.traffic.exchange import carry, stations_reached
from harness.traffic.fragments import exchange_long_echo
from harness.traffic.frames import (
    HEADER,
    IPV4,
    IPV6,
    LOCAL_EXPERIMENT,
    Family,
    difference,
    frame,
    random_payloads,
)
from harness.traffic.handing import outside_vlans
from harness.traffic.segmentation import longest_segment, reassembled, send_stream
from harness.traffic.streams import streams

MTUS = (68, 576, 1280, 1499, 1500, 1501, 4000, 9000)
"""The least of IPv4, its usual least, that of IPv6, about Ethernet's own, and what needs several buffers."""
LONGEST = "longest"
STANDARD, JUMBO = 1500, 9000
LEAST_OF_IPV4, LEAST_OF_IPV6 = 68, 1280
LONGEST_TAGGED_FRAME, LONGEST_ENVELOPE_FRAME = 1518, 1996
"""Octets without FCS (IEEE 802.3-2022, 4A.4.2)."""
LONGEST_LONG_FRAME = 16384 - 4
"""Octets without FCS, with long packets enabled (82540EM 13.7.15)."""
SEVERAL_BUFFERS = 16384
SILENT_S = 1.0
"""For an answer that must not come; something else that must come shows that the DUT had got so far."""

both_directions = pytest.mark.parametrize("direction", list(Direction), ids=["to-dut", "from-dut"])


def _has_limit(cell: Cell) -> bool:
    """Whether the model drops what is too long: virtio 1.2 sets no limit without VIRTIO_NET_F_MTU."""
    return cell.nic.family != "virtio"


def _packets(direction: Direction, *lengths: int) -> list[bytes]:
    """Return frames with packets of these lengths and random octets."""
    return [frame(direction, LOCAL_EXPERIMENT, payload) for payload in random_payloads(lengths)]


def _set_mtu(guest: Guest, mtu: int | str) -> int:
    octets = guest.mtu_range().longest if mtu == LONGEST else int(mtu)
    assert guest.set_mtu(octets), f"expected an MTU of {octets} to be taken, it was refused"
    return octets


def _assert_cross(direction: Direction, frames: list[bytes], guest: Guest, wire: Wire, when: str) -> None:
    wrong = difference(frames, carry(direction, frames, guest, wire))
    assert not wrong, f"{when}, {direction.value}: {wrong}"


@requirement(
    "IEEE 802.3-2022 3.2.7",
    "82540EM 13.4.22",
    "82574L 10.2.5.1",
    "82576 8.10.1",
    "virtio 1.2 5.1.6.3",
    "NDIS 6 Jumbo Packet",
)
@pytest.mark.parametrize("mtu", [*MTUS, LONGEST])
def test_packet_as_long_as_the_mtu_crosses(guest: Guest, wire: Wire, mtu: int | str) -> None:
    """Packets of exactly the MTU, and of one octet less, cross both ways octet for octet."""
    octets = _set_mtu(guest, mtu)
    for direction in Direction:
        _assert_cross(
            direction, _packets(direction, *[octets, octets - 1] * 5), guest, wire, f"with an MTU of {octets}"
        )


@requirement("82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.3", "NDIS 6 Jumbo Packet")
@both_directions
def test_frames_over_several_buffers_cross(guest: Guest, wire: Wire, direction: Direction) -> None:
    """Frames that end about the end of a buffer of 2048 or 4096 octets cross, short ones between them, in order."""
    octets = _set_mtu(guest, LONGEST)
    ends = [n + d for n in range(2048, min(octets, SEVERAL_BUFFERS), 2048) for d in range(-HEADER - 4, 5, 2)]
    lengths = [length for end in ends for length in (end, 46)]
    _assert_cross(direction, _packets(direction, *lengths), guest, wire, f"with an MTU of {octets}")


@requirement("Linux intel Jumbo Frames", "virtio 1.2 5.1.3")
def test_driver_offers_the_longest_mtu_of_the_model(cell: Cell, guest: Guest) -> None:
    """The longest MTU that the driver offers is no shorter than the one that the NIC's maker promises."""
    offered = guest.mtu_range().longest
    assert offered >= cell.nic.longest_mtu, f"expected MTUs up to {cell.nic.longest_mtu} offered, seen up to {offered}"


@requirement("Linux dev_set_mtu")
@pytest.mark.parametrize("end", ["too-short", "too-long"])
def test_mtu_out_of_range_is_refused(guest: Guest, wire: Wire, end: str) -> None:
    """An MTU that the driver does not offer is refused, and everything is as before."""
    offered = guest.mtu_range()
    before = guest.mtu()
    wanted = offered.least - 1 if end == "too-short" else offered.longest + 1
    assert not guest.set_mtu(wanted), f"expected an MTU of {wanted} to be refused, it was taken"
    assert guest.mtu() == before, f"expected the MTU to stay {before} when {wanted} is refused, seen {guest.mtu()}"
    for direction in Direction:
        _assert_cross(direction, _packets(direction, before, 46), guest, wire, f"after {wanted} was refused")


@requirement("RFC 791 3.2")
def test_interface_with_an_mtu_below_68_has_no_ipv4(guest: Guest, wire: Wire) -> None:
    """An MTU of 67 is refused, or the interface no longer speaks IPv4, whose least is 68."""
    taken = guest.set_mtu(LEAST_OF_IPV4 - 1)
    answered = wire.resolve(DUT.ip, SILENT_S) is not None
    assert stations_reached(wire, guest, ()) == [DUT.mac], "expected a frame after the question to come, it did not"
    assert answered != taken, f"expected ARP answered only if 67 is refused; answered: {answered}, taken: {taken}"


@requirement("RFC 8200 5")
def test_interface_with_an_mtu_below_1280_has_no_ipv6(cell: Cell, guest: Guest, wire: Wire) -> None:
    """With an MTU of 1280 the interface speaks IPv6, with less it does not."""
    cell.needs("icmpv6")
    answered: list[bool] = []
    for mtu in (LEAST_OF_IPV6, LEAST_OF_IPV6 - 1):
        _set_mtu(guest, mtu)
        answered.append(wire.solicit(DUT.ip6, SILENT_S * (1 if answered else 20)) is not None)
    assert stations_reached(wire, guest, ()) == [DUT.mac], "expected a frame after the solicitation to come, it did not"
    assert answered == [True, False], f"expected IPv6 with an MTU of 1280 and none with 1279, seen {answered}"


@requirement("RFC 791 3.2", "RFC 8200 4.5", "RFC 8200 5")
@pytest.mark.parametrize(
    ("family", "mtu"), [(IPV4, LEAST_OF_IPV4), (IPV4, JUMBO), (IPV6, LEAST_OF_IPV6), (IPV6, JUMBO)], ids=str
)
def test_longer_packet_is_sent_in_fragments(cell: Cell, guest: Guest, wire: Wire, family: Family, mtu: int) -> None:
    """A packet longer than the MTU leaves in fragments, none longer than the MTU, that make it whole again."""
    cell.needs(family.echo)
    _set_mtu(guest, mtu)
    reply = exchange_long_echo(wire, family, random_payloads([3 * mtu])[0], mtu)
    wrong = difference([reply.expected], [reply.message])
    assert not wrong, f"of an echo of {3 * mtu} octets with an MTU of {mtu}, in {len(reply.frames)} fragments, {wrong}"
    longest = max(len(one) for one in reply.frames)
    assert longest <= max(mtu + HEADER, 60), f"expected no frame longer than {mtu} + {HEADER} octets, seen {longest}"


@requirement("RFC 9293 3.7.1")
@pytest.mark.parametrize("mtu", [576, JUMBO])
def test_segments_are_as_long_as_the_mtu(guest: Guest, wire: Wire, mtu: int) -> None:
    """A TCP stream leaves in segments that fill the MTU and are no longer, and arrives whole, whoever cuts it."""
    _set_mtu(guest, mtu)
    stream = random_payloads([40_000])[0]
    # The wire's end takes segments as long as a jumbo frame holds (RFC 9293, 3.7.1), whatever the DUT's own MTU.
    sent = send_stream(outside_vlans(guest, wire), IPV4, stream, longest_segment(IPV4, JUMBO))
    wrong = difference([stream], [reassembled(sent.seen)])
    assert not wrong, f"of a stream with an MTU of {mtu}, {wrong}"
    longest, full = max(map(len, sent.seen)), mtu + HEADER
    assert longest == full, f"expected the longest segment in a frame of {full} octets, seen {longest}"


@requirement("Linux packet(7) EMSGSIZE")
@pytest.mark.parametrize("mtu", [576, JUMBO])
def test_frame_longer_than_the_mtu_is_not_sent(guest: Guest, wire: Wire, mtu: int) -> None:
    """The system refuses to send a frame with one octet more than the MTU, and sends the one that fits after it."""
    _set_mtu(guest, mtu)
    fits, too_long = _packets(Direction.FROM_DUT, mtu, mtu + 1)
    with wire.capture(fits[6:HEADER]) as seen:
        refused = guest.endpoint().refuses(too_long)
        guest.endpoint().send(fits)
        wrong = difference([fits], seen.wait(1, 20.0))
    assert refused, f"expected {mtu + 1} octets behind the header to be refused with an MTU of {mtu}, they were taken"
    assert not wrong, f"with an MTU of {mtu}, {wrong}"


@requirement("82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.4")
@pytest.mark.parametrize("mtu", [576, JUMBO])
def test_frame_longer_than_the_mtu_comes_whole_or_not_at_all(guest: Guest, wire: Wire, mtu: int) -> None:
    """Of a frame longer than the MTU nothing comes but the whole, and those that fit between them all come."""
    _set_mtu(guest, mtu)
    fit = _packets(Direction.TO_DUT, *[mtu] * 8)
    too_long = _packets(Direction.TO_DUT, *(mtu + more for more in (1, 4, 5, 8, 9, 100, 500, 5000)))
    mixed = [one for pair in zip(too_long, fit, strict=True) for one in pair]
    came = carry(Direction.TO_DUT, mixed, guest, wire, at_once=True)
    delivered = set(came)
    wrong = difference([one for one in mixed if one in delivered or one in fit], came)
    assert not wrong, f"of frames that fit an MTU of {mtu}, and longer ones before each that came, {wrong}"


@applies_to(_has_limit)
@requirement("IEEE 802.3-2022 3.2.7", "82540EM 13.4.22", "82574L 10.2.5.1", "82576 8.10.1", "NDIS 6 Jumbo Packet")
def test_long_frames_are_dropped_again_with_a_standard_mtu(cell: Cell, guest: Guest, wire: Wire) -> None:
    """When the MTU is 1500 again after 9000, frames that are too long for it are dropped as before."""
    _set_mtu(guest, JUMBO)
    _assert_cross(Direction.TO_DUT, _packets(Direction.TO_DUT, JUMBO), guest, wire, f"with an MTU of {JUMBO}")
    _set_mtu(guest, STANDARD)
    # The 82576 drops what is longer than RLPML, which need not be less than an envelope frame.
    limit = LONGEST_ENVELOPE_FRAME if cell.nic.family == "igb" else LONGEST_TAGGED_FRAME
    _assert_only_the_short_come(limit + 1, STANDARD, guest, wire)


@applies_to(lambda cell: cell.nic.name == "igb")
@requirement("82576 8.10.1")
@pytest.mark.parametrize("mtu", [STANDARD, JUMBO])
def test_longest_frame_is_the_registers(testbed: Testbed, guest: Guest, wire: Wire, mtu: int) -> None:
    """A frame as long as the driver has written into RLPML is delivered whole, one with an octet more is dropped."""
    _set_mtu(guest, mtu)
    longest = longest_frame_programmed(testbed)
    longest_packet = _packets(Direction.TO_DUT, longest - HEADER)
    _assert_cross(Direction.TO_DUT, longest_packet, guest, wire, f"with frames of {longest} octets taken at most")
    _assert_only_the_short_come(longest + 1, mtu, guest, wire)


@applies_to(_has_limit)
@requirement("82540EM 13.7 ROC", "82574L 10.2.7 ROC", "82576 8.10.1")
def test_no_frame_is_longer_than_16384_octets(guest: Guest, wire: Wire) -> None:
    """Frames of more than 16384 octets with FCS are dropped with the longest MTU too; full ones between them come."""
    octets = _set_mtu(guest, LONGEST)
    _assert_only_the_short_come(LONGEST_LONG_FRAME + 1, octets, guest, wire)


def _assert_only_the_short_come(too_long: int, mtu: int, guest: Guest, wire: Wire) -> None:
    good = _packets(Direction.TO_DUT, *[mtu] * 10)
    mixed = [one for full in good for one in (*_packets(Direction.TO_DUT, too_long - HEADER), full)]
    wrong = difference(good, carry(Direction.TO_DUT, mixed, guest, wire, delivered=len(good)))
    assert not wrong, f"of {len(good)} frames of {too_long} octets and as many full ones by turns, MTU {mtu}, {wrong}"


@requirement("82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.3")
def test_mtu_changes_under_traffic(guest: Guest, wire: Wire) -> None:
    """While frames cross both ways the MTU changes: some may be lost, none is altered, and each time they go on."""
    with streams(guest, wire) as both:
        for mtu in (JUMBO, STANDARD, 4000, STANDARD):
            _set_mtu(guest, mtu)
            silent = [stream.direction.value for stream in both if not stream.goes_on()]
            assert not silent, (
                f"expected frames both ways when the MTU has become {mtu}, seen none {' and '.join(silent)}"
            )
        wrong = [f"{stream.direction.value}: {found}" for stream in both if (found := stream.alterations())]
    assert not wrong, f"of those that were not lost while the MTU changed, {'; '.join(wrong)}"
    for direction in Direction:
        _assert_cross(direction, _packets(direction, *range(46, STANDARD + 1, 20)), guest, wire, "after the changes")


@requirement("82540EM 13.4.22", "82574L 10.2.5.1", "82576 8.10.1", "virtio 1.2 5.1.6.3", "NDIS 6 Jumbo Packet")
@after_down_and_up_and_reset
def test_mtu_survives(guest: Guest, wire: Wire, disturb: Disturb) -> None:
    """An MTU lasts until it is changed, though the NIC is closed and opened, or reset."""
    _set_mtu(guest, JUMBO)
    disturb(guest)
    assert guest.mtu() == JUMBO, f"expected the MTU to stay {JUMBO}, seen {guest.mtu()}"
    for direction in Direction:
        _assert_cross(direction, _packets(direction, JUMBO, 46), guest, wire, f"with an MTU of {JUMBO} that stayed")
