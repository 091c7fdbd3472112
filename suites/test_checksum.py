"""Checksums: each one that leaves is right, whoever computes it, and nothing whose checksum is wrong is delivered.

A NIC may compute the checksums of TCP and UDP and check those of what it receives; if it does not, the stack does. The
rules are the same, so each is checked with the offload on and off: where the driver has it fixed one way, the other is
skipped. That on and off are not the same is seen in captures in the guest: the stack says beside each frame that it
hands to the driver whether the checksum is still to be computed, and beside each that it gets whether the driver has
vouched for it. Asserted exactly, without tolerance. What leaves is
computed anew at the wire, pseudo header, options and extension headers taken into account. What arrives is believed
delivered when the service in the guest that it was for sends it back. Each damaged packet differs in one bit and is
followed, in the same window and to the same service, by a sound one; the stack must count exactly as many errors as
were sent.

VLAN tags are the VLAN suite's matter.
"""

from collections.abc import Sequence

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.l2 import Ether

from harness.cell import Cell
from harness.endpoint.base import padded
from harness.endpoint.checksum import checksum_states, is_open, wrong_checksums
from harness.endpoint.remote import ExtraHeader
from harness.endpoint.stack import framed
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.guest.checksums import Checksum
from harness.guest.offloads import Offload
from harness.station import DUT, WIRE
from harness.suite import applies_to, requirement
from harness.traffic.damage import (
    SOUND,
    SOURCE_PORT,
    SPOILT,
    answered,
    damaged,
    damaged_anywhere,
    damaged_header,
    datagrams,
    from_port,
    stream_answered,
)
from harness.traffic.exchange import DEADLINE_S, make_known
from harness.traffic.frames import IPV4, IPV6, Family, difference, echo_frame, random_payloads, summing_to_zero
from harness.traffic.handing import outside_vlans, send_payloads, watched
from harness.traffic.transmission import (
    CARRIERS,
    DISCARD,
    EXTRA_HEADERS,
    UDP_AND_TCP,
    Carrier,
    data_of,
    extra_octets,
    is_left,
    payloads_of,
    transmitted,
)

PAYLOADS = random_payloads([1, 2, 17, 18, 1000, 1001, 1400])
"""Odd and even lengths, in padded frames and in long ones."""
SEGMENTS = (UDP(sport=SOURCE_PORT, dport=DISCARD), TCP(sport=SOURCE_PORT, dport=DISCARD, flags="A"))

both_families = pytest.mark.parametrize("family", [IPV4, IPV6], ids=str)
with_and_without = pytest.mark.parametrize("offload", [True, False], ids=["on", "off"])


def _must_check(cell: Cell) -> bool:
    """Whether the NIC has to check what it receives: a virtio device may vouch for a packet or not (1.2, 5.1.6.4)."""
    return cell.nic.family != "virtio"


@requirement(
    "RFC 768",
    "RFC 9293 3.1",
    "RFC 4443 2.3",
    "82540EM 3.6",
    "82574L 7.2 POPTS",
    "82576 7.2.5",
    "virtio 1.2 5.1.6.2",
    "NDIS 6 Task Offload",
)
@with_and_without
@pytest.mark.parametrize("carrier", CARRIERS, ids=str)
def test_packet_leaves_with_right_checksums(guest: Guest, wire: Wire, carrier: Carrier, offload: bool) -> None:
    """Whatever the stack sends, of odd or even length, leaves with right checksums."""
    guest.set_offload(Offload.TX_CHECKSUM, offload)
    _assert_right(transmitted(guest, wire, carrier, PAYLOADS), carrier, 0)


@requirement(
    "82540EM 3.6", "82574L 7.2 POPTS", "82576 7.2.5", "virtio 1.2 5.1.6.2", "RFC 768", "RFC 9293 3.1", "RFC 8200 8.1"
)
@with_and_without
@pytest.mark.parametrize("carrier", UDP_AND_TCP, ids=str)
def test_checksum_is_computed_by_whom_it_is_left_to(guest: Guest, wire: Wire, carrier: Carrier, offload: bool) -> None:
    """With the offload a driver is handed open checksums, without it finished ones; on the cable all are right."""
    guest.set_offload(Offload.TX_CHECKSUM, offload)
    sent = send_payloads(outside_vlans(guest, wire), carrier, PAYLOADS)
    wrong = sent.wrongly_left(offload)
    assert not wrong, f"of {carrier} packets, {wrong}"
    _assert_right([*sent.seen], carrier, 0)


@requirement("Linux dma-api DMA_TO_DEVICE", "virtio 1.2 2.7.5.1")
@pytest.mark.parametrize("carrier", UDP_AND_TCP, ids=str)
def test_nic_writes_nothing_into_what_it_sends(guest: Guest, wire: Wire, carrier: Carrier) -> None:
    """A packet whose checksum the NIC computed lies in the guest's memory with that checksum open as before."""
    guest.set_offload(Offload.TX_CHECKSUM, True)
    sent = send_payloads(outside_vlans(guest, wire), carrier, PAYLOADS)
    states = sorted(checksum_states(sent.handed))
    assert {is_open(frame) for frame in sent.handed} == {True}, (
        f"expected {carrier} checksums left open in the guest's memory, seen {states}"
    )


@requirement(
    "RFC 791 3.1", "RFC 8200 4.3", "RFC 8200 4.6", "RFC 8200 8.1", "82540EM 3.6", "82574L 7.2 POPTS", "82576 7.2.5"
)
@with_and_without
@pytest.mark.parametrize("header", EXTRA_HEADERS, ids=str)
def test_packet_with_more_headers_leaves_with_right_checksums(
    guest: Guest, wire: Wire, header: ExtraHeader, offload: bool
) -> None:
    """IPv4 options and IPv6 extension headers lead no one astray: the checksums of what follows them are right.

    With the offload TCP's are left open behind both kinds, UDP's behind options: the others a stack keeps to itself.
    """
    guest.set_offload(Offload.TX_CHECKSUM, offload)
    family = IPV4 if header.kind == "options" else IPV6
    for carrier in (one for one in CARRIERS if one.family is family):
        sent = send_payloads(outside_vlans(guest, wire), carrier, PAYLOADS, header)
        wrong = sent.wrongly_left(offload and is_left(carrier, header))
        assert not wrong, f"of {carrier} packets with {header}, {wrong}"
        _assert_right([*sent.seen], carrier, len(header.octets))


def _assert_right(seen: list[bytes], carrier: Carrier, extra: int) -> None:
    wrong = difference(PAYLOADS, payloads_of(seen))
    assert not wrong, f"of {carrier} payloads from the guest, {wrong}"
    lengths = {extra_octets(frame, carrier.family) for frame in seen}
    assert lengths == {extra}, f"expected {extra} octets of further headers in each {carrier} packet, seen {lengths}"
    checksums = {one for frame in seen for one in wrong_checksums(frame)}
    assert not checksums, f"expected right checksums in {len(seen)} {carrier} packets, seen {sorted(checksums)}"


@requirement("RFC 768", "RFC 8200 8.1", "82540EM 3.6", "82574L 7.2 POPTS", "82576 7.2.5", "virtio 1.2 5.1.6.2")
@with_and_without
@both_families
def test_udp_checksum_of_zero_is_sent_as_ones(guest: Guest, wire: Wire, family: Family, offload: bool) -> None:
    """A UDP checksum that comes out as zero is sent as ffff by whoever computes it: zero says that there is none."""
    guest.set_offload(Offload.TX_CHECKSUM, offload)
    port = guest.endpoint().serve("udp", family.dut)
    probe = summing_to_zero(family.to_dut() / UDP(sport=SOURCE_PORT, dport=port))
    with watched(outside_vlans(guest, wire), family, from_port(port)) as watch:
        wire.send(padded(probe))
        sent = watch.sent(lambda frames: len(frames) == 1)
    wrong = sent.wrongly_left(offload)
    assert not wrong, f"of the service's answer over {family}, {wrong}"
    checksums = [f"{Ether(frame)[UDP].chksum:04x}" for frame in sent.seen]
    assert checksums == ["ffff"], f"expected one answer over {family}, with UDP checksum ffff, seen {checksums}"


@requirement("82540EM 3.6", "82574L 7.2 POPTS", "82576 7.2.5", "virtio 1.2 5.1.6.2")
def test_raw_frame_with_a_wrong_checksum_leaves_as_it_is(guest: Guest, wire: Wire) -> None:
    """A NIC puts no checksum where it was not asked to: raw frames leave octet for octet, wrong checksums and all.

    They are of different flows, which may leave by different queues: in any order.
    """
    frames = []
    for family in (IPV4, IPV6):
        for segment in SEGMENTS:
            to_wire = Ether(src=DUT.mac, dst=WIRE.mac) / family.layer(src=family.dut, dst=family.wire)
            sound = bytes(to_wire / segment / SOUND[0])
            frames += [*damaged_anywhere(sound), sound]
    with wire.capture(from_port(SOURCE_PORT)) as seen:
        guest.endpoint().send(*frames)
        wrong = difference(sorted(frames), sorted(seen.wait(len(frames), DEADLINE_S)))
    assert not wrong, f"of raw frames with wrong checksums and with right ones, {wrong}"


@applies_to(_must_check)
@requirement("82540EM 3.2.9", "82574L 10.2.5 RXCSUM", "82576 8.10 RXCSUM")
def test_sound_packets_are_vouched_for_with_the_offload(guest: Guest, wire: Wire) -> None:
    """With the offload the driver vouches for the checksum of each sound packet of UDP and TCP."""
    guest.set_offload(Offload.RX_CHECKSUM, True)
    sound = _sound_packets()
    wrong = difference(sorted(sound), sorted(_vouched_for(guest, wire, sound)))
    assert not wrong, f"of {len(sound)} sound packets, all of which the driver should vouch for, {wrong}"


@requirement("82540EM 3.2.9", "82574L 10.2.5 RXCSUM", "82576 8.10 RXCSUM", "RFC 1122 4.1.3.4", "RFC 9293 3.1")
@with_and_without
def test_nothing_is_vouched_for_that_was_not_found_right(guest: Guest, wire: Wire, offload: bool) -> None:
    """Without the offload the driver vouches for no packet, with it for none that is damaged."""
    guest.set_offload(Offload.RX_CHECKSUM, offload)
    sound = _sound_packets()
    packets = [one for frame in sound for one in damaged_anywhere(frame)] + sound * (not offload)
    vouched = _vouched_for(guest, wire, packets)
    assert not vouched, f"expected none of {len(packets)} packets vouched for, seen {len(vouched)}"


def _sound_packets() -> list[bytes]:
    return [framed(family.wire, family.dut, one / SOUND[0]) for family in (IPV4, IPV6) for one in SEGMENTS]


def _vouched_for(guest: Guest, wire: Wire, packets: list[bytes]) -> list[bytes]:
    """Return what the driver vouches for; the stack's own aggregation, which verifies and then vouches, too, is off."""
    guest.set_offload(Offload.RECEIVE_AGGREGATION, False)
    with guest.endpoint().capture(SOUND[0][:8]) as seen:
        wire.send(*packets)
        received = seen.wait_marked(len(packets), DEADLINE_S)
    assert len(received) == len(packets), f"expected {len(packets)} packets received, seen {len(received)}"
    return [frame for frame, vouched in received if vouched]


@requirement(
    "RFC 1122 4.1.3.4",
    "RFC 8200 8.1",
    "82540EM 3.2.9",
    "82574L 10.2.5 RXCSUM",
    "82576 8.10 RXCSUM",
    "NDIS 6 Task Offload",
)
@with_and_without
@both_families
def test_datagram_with_a_wrong_checksum_is_dropped(guest: Guest, wire: Wire, family: Family, offload: bool) -> None:
    """A UDP datagram with one bit wrong, in its checksum or in its data, is not delivered, and it is counted."""
    guest.set_offload(Offload.RX_CHECKSUM, offload)
    port, before = guest.endpoint().serve("udp", family.dut), guest.checksum_errors()
    bad = [damaged(frame) for frame in datagrams(outside_vlans(guest, wire), family, port, SPOILT)]
    _assert_only_sound_ones_answered(guest, wire, family, port, bad)
    checksum = Checksum.UDP_IPV4 if family is IPV4 else Checksum.UDP_IPV6
    _assert_counted(guest, checksum, before[checksum], sum(map(len, bad)))


@requirement("RFC 1122 3.2.1.2", "82540EM 3.2.9", "82574L 10.2.5 RXCSUM", "82576 8.10 RXCSUM", "NDIS 6 Task Offload")
@with_and_without
def test_packet_with_a_wrong_header_checksum_is_dropped(guest: Guest, wire: Wire, offload: bool) -> None:
    """An IPv4 packet with one bit of its header wrong is not delivered, and it is counted."""
    guest.set_offload(Offload.RX_CHECKSUM, offload)
    port, before = guest.endpoint().serve("udp", IPV4.dut), guest.checksum_errors()
    bad = [damaged_header(frame) for frame in datagrams(outside_vlans(guest, wire), IPV4, port, SPOILT)]
    _assert_only_sound_ones_answered(guest, wire, IPV4, port, bad)
    _assert_counted(guest, Checksum.IPV4, before[Checksum.IPV4], sum(map(len, bad)))


@requirement("RFC 9293 3.1", "82540EM 3.2.9", "82574L 10.2.5 RXCSUM", "82576 8.10 RXCSUM", "NDIS 6 Task Offload")
@with_and_without
@both_families
def test_segment_with_a_wrong_checksum_is_dropped(guest: Guest, wire: Wire, family: Family, offload: bool) -> None:
    """A TCP segment with one bit wrong, in its checksum or in its data, is not delivered, and it is counted."""
    guest.set_offload(Offload.RX_CHECKSUM, offload)
    port, before = guest.endpoint().serve("tcp", family.dut), guest.checksum_errors()
    stream = stream_answered(outside_vlans(guest, wire), family, port, damaged)
    wrong = difference([b"".join(SOUND)], [stream])
    assert not wrong, f"of a stream whose every segment came after two with a bit wrong, {wrong}"
    _assert_counted(guest, Checksum.TCP, before[Checksum.TCP], 2 * len(SPOILT))


@requirement("RFC 768", "RFC 1122 4.1.3.4")
@with_and_without
def test_datagram_without_a_checksum_is_accepted_over_ipv4(guest: Guest, wire: Wire, offload: bool) -> None:
    """A UDP checksum of zero says over IPv4 that there is none, and the datagram is delivered."""
    guest.set_offload(Offload.RX_CHECKSUM, offload)
    port = guest.endpoint().serve("udp", IPV4.dut)
    _assert_only_sound_ones_answered(guest, wire, IPV4, port, [[]] * len(SOUND), chksum=0)


@requirement("RFC 8200 8.1")
@with_and_without
def test_datagram_without_a_checksum_is_refused_over_ipv6(guest: Guest, wire: Wire, offload: bool) -> None:
    """Over IPv6 a UDP datagram with a checksum of zero is not delivered."""
    guest.set_offload(Offload.RX_CHECKSUM, offload)
    port = guest.endpoint().serve("udp", IPV6.dut)
    bad = [[frame] for frame in datagrams(outside_vlans(guest, wire), IPV6, port, SPOILT, chksum=0)]
    _assert_only_sound_ones_answered(guest, wire, IPV6, port, bad)


@requirement("RFC 1122 3.2.1.2", "RFC 792 echo", "RFC 4443 2.3", "NDIS 6 Task Offload")
@both_families
def test_echo_request_with_a_wrong_checksum_is_not_answered(cell: Cell, wire: Wire, family: Family) -> None:
    """An echo request with one bit wrong, in its checksum, its data or its IPv4 header, goes unanswered."""
    cell.needs(family.echo)
    sound, spoilt = (echo_frame(family, family.request, WIRE, DUT, 1, data) for data in (SOUND[0], SPOILT[0]))
    bad = damaged_anywhere(spoilt)
    with wire.capture(family.is_echo(family.reply)) as replies:
        wire.send(*bad, sound)
        wrong = difference([SOUND[0]], [data_of(reply) for reply in replies.wait(1, DEADLINE_S)])
    assert not wrong, f"of the data in the answers to {len(bad)} requests with a bit wrong and a sound one, {wrong}"


def _assert_only_sound_ones_answered(
    guest: Guest, wire: Wire, family: Family, port: int, bad: Sequence[Sequence[bytes]], chksum: int | None = None
) -> None:
    make_known(wire, family)
    path = outside_vlans(guest, wire)
    wrong = difference(SOUND, answered(path, port, datagrams(path, family, port, SOUND, chksum), bad))
    assert not wrong, f"of the data of {len(SOUND)} sound datagrams and {sum(map(len, bad))} others by turns, {wrong}"


def _assert_counted(guest: Guest, checksum: Checksum, before: int, sent: int) -> None:
    counted = guest.checksum_errors()[checksum] - before
    assert counted == sent, f"expected {sent} wrong checksums of {checksum} counted, seen {counted}"
