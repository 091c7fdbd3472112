"""Queues: their rings have the length, there are as many, and each gets the frames, that the driver was asked for.

Asserted exactly, without tolerance. What the driver says of its rings, queues and tables is compared with what it has
programmed into the device; what receive-side scaling does, with the Toeplitz hash of each packet under the key that the
device holds. A ring may be longer than asked where the device takes multiples of 8 descriptors only, or the driver none
so short. While rings are resized or channels come and go frames may be lost, for the NIC is stopped; never may one be
altered. Which queue took a frame is what the driver counts for each queue. A table that nobody has set spreads the
flows over all queues that there are. The flows belong to nobody, so that no answer of the stack mixes in.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import pytest

from harness.cell import Cell
from harness.endpoint.cable import Direction
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.guest.queues import Rings
from harness.nic import vectors_needed
from harness.registers import hash_key, indirection_table, rings_programmed
from harness.suite import Disturb, after_down_and_up_and_reset, applies_to, requirement
from harness.testbed import Testbed
from harness.traffic.exchange import carry, ends
from harness.traffic.flows import (
    ADDRESSES,
    ADDRESSES_AND_PORTS,
    FLOW_MARKER,
    Flow,
    FlowKind,
    HashField,
    Transport,
    random_flows,
)
from harness.traffic.frames import BACKGROUND, HEADER, LOCAL_EXPERIMENT, difference, frame, random_payloads
from harness.traffic.stimulus import frames_by_queue, load, resolve_repeatedly

MULTIPLE = 8
"""Descriptors: the length of a ring in octets is a multiple of 128."""
FLOWS = 32
KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
"""The one of the RSS specification's examples."""

both_directions = pytest.mark.parametrize("direction", list(Direction), ids=["to-dut", "from-dut"])
both_rings = pytest.mark.parametrize("ring", ["rx", "tx"])
both_versions = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
RingName = Literal["rx", "tx"]


def _has_descriptor_rings(cell: Cell) -> bool:
    """Whether the rings are of Intel's descriptors: a virtqueue has a power of two of them, or in packed form any."""
    return cell.nic.family != "virtio"


def _has_several_queues(cell: Cell) -> bool:
    """Whether there is something to choose for receive-side scaling."""
    return cell.has_several_queues and cell.mode.is_msix


def _shortest(guest: Guest, ring: RingName) -> int:
    """Set the shortest ring that the driver takes, the first of 1, 2, 4... or what it makes of that; return it."""
    lengths = (1 << power for power in range(getattr(guest.ring_limits(), ring).bit_length()))
    assert any(not guest.set_rings(**{ring: length}) for length in lengths), f"no length of the {ring} ring is taken"
    return int(getattr(guest.rings(), ring))


def _assert_rings(testbed: Testbed, guest: Guest, expected: Rings) -> None:
    """Assert the rings' lengths, as the driver says them and as the device has them."""
    seen = guest.rings(), rings_programmed(testbed)
    assert seen == (expected, expected), f"expected {expected} of the driver and of the device, seen {seen}"


def _assert_crosses(guest: Guest, wire: Wire, direction: Direction, in_ring: int) -> None:
    """Assert that frames of many lengths cross whole and in order; `in_ring` are on their way to the DUT at a time."""
    frames = [frame(direction, LOCAL_EXPERIMENT, payload) for payload in random_payloads(range(46, 1501, 12))]
    wrong = difference(frames, carry(direction, frames, guest, wire, in_ring=in_ring))
    assert not wrong, f"with {guest.rings()}, {wrong}"


@contextmanager
def _none_altered(guest: Guest, wire: Wire, direction: Direction) -> Iterator[None]:
    """Assert that of the frames that flow while a block changes the queues some cross, and none is altered."""
    frames = [frame(direction, BACKGROUND, payload) for payload in random_payloads(range(46, 1501, 97))]
    sender, receiver = ends(direction, guest, wire)
    with receiver.capture(frames[0][6:HEADER]) as seen:
        with load(sender, frames):
            yield
        came = seen.wait(1)
    altered = set(came) - set(frames)
    assert came, "expected frames to cross while the queues were changed, none did"
    assert not altered, f"expected no frame altered among {len(came)}, altered: {len(altered)}"


def _assert_received_on(testbed: Testbed, guest: Guest, queued: Sequence[tuple[bytes, int]]) -> None:
    """Assert that each frame is received on its queue: those of one queue are sent together, and no other may count."""
    for queue in sorted({wanted for _, wanted in queued}):
        own = [octets for octets, wanted in queued if wanted == queue]
        seen = frames_by_queue(testbed, guest, own, FLOW_MARKER)
        assert seen == {queue: len(own)}, (
            f"expected {len(own)} of {len(queued)} frames on queue {queue} by their hash, received by queue: {seen}"
        )


def _queued(
    testbed: Testbed, flows: Sequence[Flow], fields: Collection[HashField] = ADDRESSES
) -> list[tuple[bytes, int]]:
    """Return a frame of each flow and its queue, by the key and the table that the device holds."""
    key, table = hash_key(testbed), indirection_table(testbed)
    return [(flow.frame(), flow.queue(key, table, fields)) for flow in flows]


@requirement("82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 2.6", "ethtool-netlink RINGS_GET")
def test_rings_in_use_are_offered_and_are_the_devices(testbed: Testbed, guest: Guest) -> None:
    """The rings in use are no longer than the longest that are offered, and as long as the device was told."""
    limits, rings = guest.ring_limits(), guest.rings()
    assert 0 < rings.rx <= limits.rx, f"expected a receive ring of 1 to {limits.rx} descriptors, seen {rings.rx}"
    assert 0 < rings.tx <= limits.tx, f"expected a transmit ring of 1 to {limits.tx} descriptors, seen {rings.tx}"
    _assert_rings(testbed, guest, rings)


@requirement(
    "82540EM 13.4.27",
    "82574L 10.2.5 RDLEN",
    "82576 8.10 RDLEN",
    "virtio 1.2 2.6",
    "ethtool-netlink RINGS_SET",
    "NDIS 6 Ring Buffers",
)
def test_rings_are_as_long_as_asked(testbed: Testbed, guest: Guest) -> None:
    """Each ring gets the length that it was asked to have, and the other keeps its own."""
    guest.set_rings(rx=512, tx=512)
    refused = guest.set_rings(rx=128) or guest.set_rings(tx=256)
    assert not refused, f"expected rings of 128 and 256 descriptors taken, refused: {refused}"
    _assert_rings(testbed, guest, Rings(rx=128, tx=256))


@applies_to(_has_descriptor_rings)
@requirement("82540EM 13.4.27", "82574L 10.2.5 RDLEN", "82576 8.10 RDLEN")
@both_rings
def test_length_of_a_ring_is_rounded_up_to_a_multiple(testbed: Testbed, guest: Guest, ring: RingName) -> None:
    """A ring of a length that the device cannot have gets the next multiple of 8 descriptors."""
    before = guest.rings()
    refused = guest.set_rings(**{ring: 1000 - MULTIPLE + 1})
    assert not refused, f"expected a ring of {1000 - MULTIPLE + 1} descriptors rounded up, refused: {refused}"
    _assert_rings(testbed, guest, replace(before, **{ring: 1000}))


@requirement("ethtool-netlink RINGS_SET")
@both_rings
def test_ring_beyond_the_limit_is_refused_and_changes_nothing(testbed: Testbed, guest: Guest, ring: RingName) -> None:
    """A ring longer than the longest that is offered is refused; both stay as they are and work."""
    before, beyond = guest.rings(), getattr(guest.ring_limits(), ring) + MULTIPLE
    assert guest.set_rings(**{ring: beyond}), f"expected a {ring} ring of {beyond} descriptors refused, it was taken"
    _assert_rings(testbed, guest, before)
    assert resolve_repeatedly(testbed.wire, 3) == 3, "expected answers after a refused change, none came"


@requirement(
    "82540EM 3.2.6",
    "82540EM 3.4",
    "82574L 7.1",
    "82574L 7.2",
    "82576 7.1",
    "82576 7.2",
    "virtio 1.2 5.1.6",
    "NDIS 6 Ring Buffers",
)
@both_directions
def test_frames_cross_with_the_shortest_rings(guest: Guest, wire: Wire, direction: Direction) -> None:
    """Frames cross whole and in order through the shortest rings that the driver takes, many times round them."""
    rings = Rings(rx=_shortest(guest, "rx"), tx=_shortest(guest, "tx"))
    _assert_crosses(guest, wire, direction, in_ring=max(1, rings.rx // 4))


@requirement(
    "82540EM 3.2.6",
    "82540EM 3.4",
    "82574L 7.1",
    "82574L 7.2",
    "82576 7.1",
    "82576 7.2",
    "virtio 1.2 5.1.6",
    "NDIS 6 Ring Buffers",
)
@both_directions
def test_frames_cross_with_the_longest_rings(testbed: Testbed, guest: Guest, direction: Direction) -> None:
    """The longest rings that are offered are to be had, and frames cross whole and in order through them."""
    longest = guest.ring_limits()
    refused = guest.set_rings(rx=longest.rx, tx=longest.tx)
    assert not refused, f"expected {longest} taken, refused: {refused}"
    _assert_rings(testbed, guest, longest)
    _assert_crosses(guest, testbed.wire, direction, in_ring=longest.rx // 4)


@requirement("82540EM 3.2.6", "82540EM 3.4", "82574L 7.1", "82574L 7.2", "82576 7.1", "82576 7.2", "virtio 1.2 2.6.1")
@both_directions
def test_resizing_under_load_alters_no_frame(guest: Guest, wire: Wire, direction: Direction) -> None:
    """While frames flow the rings can be resized: none is altered, and afterwards all arrive again."""
    limits = guest.ring_limits()
    with _none_altered(guest, wire, direction):
        for length in (128, min(1024, limits.rx, limits.tx), 128):
            refused = guest.set_rings(rx=length, tx=length)
            assert not refused, f"expected rings of {length} descriptors under load, refused: {refused}"
    _assert_crosses(guest, wire, direction, in_ring=64)


@requirement("82576 7.1.1.7", "virtio 1.2 5.1.5", "ethtool-netlink CHANNELS_GET")
def test_channels_in_use_are_offered(guest: Guest, cell: Cell) -> None:
    """As many channels are in use as the guest is known to use, and no more are offered than the device has."""
    queues = cell.known_queues()
    offered, used = guest.channel_limit(), guest.channels()
    wanted = max(queues.rx, queues.tx) if cell.mode.is_msix else 1
    most = 1 if cell.nic.family == "virtio" else cell.nic.msix_vectors - 1
    assert used == wanted, f"expected {wanted} channels in use, seen {used}"
    assert wanted <= offered <= most, f"expected {wanted} to {most} channels offered, seen {offered}"


@applies_to(_has_several_queues)
@requirement("82576 7.1.1.7", "82576 7.3", "ethtool-netlink CHANNELS_SET")
@pytest.mark.parametrize("count", [1, 3, None], ids=["one", "three", "most"])
def test_vectors_and_queues_follow_the_number_of_channels(testbed: Testbed, guest: Guest, count: int | None) -> None:
    """With one channel, three or all of them, each queue has a vector and a place in the table, and gets its flows.

    A pair shares a vector where the device has too few for one each.
    """
    limit = guest.channel_limit()
    count = min(count or limit, limit)
    refused = guest.set_channels(count)
    assert not refused, f"expected {count} channels taken, refused: {refused}"
    vectors = vectors_needed(testbed.cell.mode, count, count)
    wanted = vectors if vectors <= testbed.cell.nic.msix_vectors else count + 1
    seen = guest.channels(), testbed.function().vectors_granted
    assert seen == (count, wanted), f"expected {count} channels and {wanted} vectors open on the device, seen {seen}"
    named = set(indirection_table(testbed))
    assert named == set(range(count)), f"expected each of {count} queues in the device's table, seen {sorted(named)}"
    flows = random_flows(FlowKind(4, Transport.TCP), 2 * FLOWS)
    queued = _queued(testbed, flows, ADDRESSES_AND_PORTS)
    if count > 1:
        _assert_received_on(testbed, guest, queued)
    assert resolve_repeatedly(testbed.wire, 3) == 3, f"expected answers with {count} channels, none came"


@applies_to(_has_several_queues)
@requirement("82576 7.1.1.7", "82576 7.3", "ethtool-netlink CHANNELS_SET")
@both_directions
def test_changing_channels_under_load_alters_no_frame(guest: Guest, wire: Wire, direction: Direction) -> None:
    """While frames flow there can be more channels or fewer: no frame is altered, and afterwards all arrive again."""
    with _none_altered(guest, wire, direction):
        for count in (1, guest.channel_limit()):
            refused = guest.set_channels(count)
            assert not refused, f"expected {count} channels under load, refused: {refused}"
    _assert_crosses(guest, wire, direction, in_ring=64)


@requirement("ethtool-netlink CHANNELS_SET")
def test_impossible_number_of_channels_is_refused(testbed: Testbed, guest: Guest) -> None:
    """No channel at all, or one more than is offered, is refused; the number stays and the NIC works."""
    before = guest.channels()
    for count in (0, guest.channel_limit() + 1):
        assert guest.set_channels(count), f"expected {count} channels refused, they were taken"
    assert guest.channels() == before, f"expected {before} channels after a refusal, seen {guest.channels()}"
    assert resolve_repeatedly(testbed.wire, 3) == 3, "expected answers after a refused change, none came"


@applies_to(_has_several_queues)
@requirement("82576 7.1.1.7", "82576 8.10 RETA", "82576 8.10 RSSRK", "82576 8.10 MRQC", "NDIS 6 Receive Side Scaling")
@pytest.mark.parametrize(
    "kind", [FlowKind(version, transport) for version in (4, 6) for transport in Transport], ids=str
)
def test_flows_are_spread_by_their_hash(testbed: Testbed, guest: Guest, kind: FlowKind) -> None:
    """A packet goes to the queue that the hash of the fields in use picks; without ports, that of its addresses."""
    fields = guest.hash_fields(kind)
    assert fields >= ADDRESSES, f"expected both addresses hashed of {kind}, seen {fields}"
    _assert_received_on(testbed, guest, _queued(testbed, random_flows(kind, FLOWS), fields))


@applies_to(_has_several_queues)
@requirement("82576 7.1.1.7", "82576 8.10 MRQC")
@both_versions
def test_ports_of_datagrams_are_hashed_when_asked(testbed: Testbed, guest: Guest, version: int) -> None:
    """Once UDP's ports are to be hashed as well, datagrams go to the queues of that hash, and back again."""
    kind = FlowKind(version, Transport.UDP)
    flows = random_flows(kind, FLOWS)
    for fields in (ADDRESSES_AND_PORTS, ADDRESSES):
        refused = guest.set_hash_fields(kind, fields)
        assert not refused, f"expected {sorted(fields)} taken for {kind}, refused: {refused}"
        assert guest.hash_fields(kind) == fields, (
            f"expected {sorted(fields)} for {kind}, seen {guest.hash_fields(kind)}"
        )
        _assert_received_on(testbed, guest, _queued(testbed, flows, fields))


@applies_to(_has_several_queues)
@requirement("82576 7.1.1.7")
def test_fragments_are_hashed_by_their_addresses(testbed: Testbed, guest: Guest) -> None:
    """All fragments of a packet go to one queue: no ports are hashed of the first, for the others have none."""
    kind = FlowKind(4, Transport.UDP)
    refused = guest.set_hash_fields(kind, ADDRESSES_AND_PORTS)
    assert not refused, f"expected ports hashed of {kind}, refused: {refused}"
    flows = random_flows(kind, FLOWS)
    fragments = [flow.fragment() for flow in flows]
    queues = [queue for _, queue in _queued(testbed, flows, ADDRESSES)]
    _assert_received_on(testbed, guest, list(zip(fragments, queues, strict=True)))


@applies_to(_has_several_queues)
@requirement("82576 7.1.1.7", "82576 8.10 RETA", "NDIS 6 Receive Side Scaling")
@pytest.mark.parametrize("weights", [(0, 1), (3, 1)], ids=["all-to-one", "three-to-one"])
def test_indirection_table_is_obeyed(testbed: Testbed, guest: Guest, weights: tuple[int, int]) -> None:
    """Each queue has the share of the table that its weight gives it, and the flows whose hash leads there."""
    refused = guest.spread(weights)
    assert not refused, f"expected the weights {weights} taken, refused: {refused}"
    table = guest.indirection_table()
    assert table == indirection_table(testbed), f"expected the device's table to be the driver's {table}, it is not"
    shares, whole = [table.count(queue) for queue in (0, 1)], len(table)
    wanted = [whole * weight // sum(weights) for weight in weights]
    assert shares == wanted, f"expected shares {wanted} of {whole} entries by the weights {weights}, seen {shares}"
    kind = FlowKind(4, Transport.TCP)
    _assert_received_on(testbed, guest, _queued(testbed, random_flows(kind, FLOWS), ADDRESSES_AND_PORTS))


@applies_to(_has_several_queues)
@requirement("82576 7.1.1.7", "82576 8.10 MRQC")
def test_frames_without_a_hash_go_to_the_default_queue(testbed: Testbed, guest: Guest) -> None:
    """What is no IP packet has no hash: it goes to queue 0, though every entry of the table names queue 1."""
    guest.spread((0, 1))
    frames = [frame(Direction.TO_DUT, LOCAL_EXPERIMENT, FLOW_MARKER.ljust(46, b"\0"))] * FLOWS
    _assert_received_on(testbed, guest, [(octets, 0) for octets in frames])
    hashed = _queued(testbed, random_flows(FlowKind(4, Transport.TCP), FLOWS), ADDRESSES_AND_PORTS)
    assert {queue for _, queue in hashed} == {1}, "expected the table to name queue 1 alone"
    _assert_received_on(testbed, guest, hashed)


@applies_to(_has_several_queues)
@requirement("ethtool-netlink RSS_GET")
def test_table_with_a_queue_that_is_not_there_is_refused(testbed: Testbed, guest: Guest) -> None:
    """An indirection table that names a queue beyond those in use is refused, and the one in use stays."""
    before = guest.indirection_table()
    assert guest.spread((0,) * guest.channels() + (1,)), "expected a table of a queue that is not there refused"
    seen = guest.indirection_table(), indirection_table(testbed)
    assert seen == (before, before), "expected the same table of driver and device after a refusal, it has changed"


@applies_to(_has_several_queues)
@requirement("82576 8.10 RSSRK", "82576 7.1.1.7", "NDIS 6 Receive Side Scaling")
def test_hash_key_is_obeyed(testbed: Testbed, guest: Guest) -> None:
    """A key that is set is the device's, and flows are spread by it."""
    refused = guest.set_hash_key(KEY)
    assert not refused, f"expected a key of {len(KEY)} octets taken, refused: {refused}"
    assert hash_key(testbed) == KEY, f"expected the device's key {KEY.hex()}, seen {hash_key(testbed).hex()}"
    kind = FlowKind(4, Transport.TCP)
    _assert_received_on(testbed, guest, _queued(testbed, random_flows(kind, FLOWS), ADDRESSES_AND_PORTS))


@applies_to(_has_several_queues)
@requirement("82576 8.10 RSSRK")
def test_hash_key_of_wrong_length_is_refused(testbed: Testbed, guest: Guest) -> None:
    """A key that is too short or too long is refused, and the one in use stays."""
    before = hash_key(testbed)
    for key in (KEY[:-1], KEY + KEY[:1]):
        assert guest.set_hash_key(key), f"expected a key of {len(key)} octets refused, it was taken"
    assert hash_key(testbed) == before, f"expected the key {before.hex()} to stay, seen {hash_key(testbed).hex()}"


@applies_to(_has_several_queues)
@requirement("ethtool receive rules", "82576 7.1.1.7")
@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
def test_flow_leaves_its_hash_for_a_rule_that_is_taken_alone(
    testbed: Testbed, guest: Guest, transport: Transport
) -> None:
    """A driver takes a rule for a flow if it offers any: the flow goes to its queue, all others go by their hash."""
    kind = FlowKind(4, transport)
    flows = random_flows(kind, FLOWS)
    (_, queue), *others = _queued(testbed, flows, guest.hash_fields(kind))
    offered, refused = guest.offers_rules(), guest.steer(flows[0], 1 - queue)
    expected = "taken, as the driver offers rules" if offered else "refused, as the driver offers none"
    assert offered is not bool(refused), f"expected a rule {expected}, seen {refused or 'it taken'}"
    _assert_received_on(testbed, guest, [(flows[0].frame(), queue if refused else 1 - queue)])
    _assert_received_on(testbed, guest, others)


@requirement("82540EM 3.2.6", "82574L 7.1", "82576 7.1", "82576 7.1.1.7", "virtio 1.2 2.6")
@after_down_and_up_and_reset
def test_rings_and_table_survive(testbed: Testbed, guest: Guest, cell: Cell, disturb: Disturb) -> None:
    """Ring lengths, and the indirection table where there is one, are as before after the NIC was closed or reset."""
    rings = Rings(rx=min(512, guest.ring_limits().rx), tx=128)
    refused = guest.set_rings(rx=rings.rx, tx=rings.tx) or (_has_several_queues(cell) and guest.spread((0, 1)))
    assert not refused, f"expected rings and table changed, refused: {refused}"
    disturb(guest)
    _assert_rings(testbed, guest, rings)
    if _has_several_queues(cell):
        table = indirection_table(testbed)
        assert set(table) == {1}, f"expected queue 1 alone in the device's table after it, seen {set(table)}"
