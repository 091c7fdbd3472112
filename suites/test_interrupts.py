"""Interrupts: they come in the cell's mode, on the right vectors, when they should and only then.

Asserted by three witnesses: what the guest claims, what the device has programmed, and what was delivered at the
interrupt controllers while frames flowed. Where a guest cannot be asked, the other two decide. Counts of delivered
interrupts are compared with zero, with each other or with the intervals that were asked for, never with a rate: how
many frames one interrupt serves is the driver's choice. The one tolerance is for Intel's Linux drivers, which raise
each vector of theirs by software every 2 seconds (watchdog): a window may hold that many for each vector that no frame
asked for, twice where the emulated device repeats them.
"""

from collections.abc import Callable

import pytest

from harness.cell import Cell
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.suite import applies_to, requirement
from harness.testbed import Testbed
from harness.traffic.stimulus import (
    RAISED_AT_ONCE,
    broadcast_frames,
    flow_to_queue,
    requests_in_background,
    resolve_repeatedly,
    unasked,
)
from harness.witness import ask_witnesses, device_witness

IDLE_WINDOW_S = 1.0
BURSTS = 4


def _has_messages(cell: Cell) -> bool:
    return not cell.mode.is_line and cell.mode != "polled"


def _has_vector_per_queue(cell: Cell) -> bool:
    return cell.queues is not None and cell.mode.has_vector_per_queue


@requirement(
    "PCI 3.0 6.8", "PCI 3.0 2.2.6", "82540EM 13.4.17", "82574L 7.4", "82576 7.3", "virtio 1.2 4.1.4.5", "NDIS 6 MSI"
)
def test_mode_is_the_cells_by_all_witnesses(
    testbed: Testbed, cell: Cell, record_cell: Callable[[str, str], None]
) -> None:
    """Claim, device and wire agree that interrupts come in the mode that the cell is about."""
    seen = ask_witnesses(testbed, lambda: resolve_repeatedly(testbed.wire, 10))
    for who, said in seen.said().items():
        record_cell(f"interrupt mode by {who}", said)
    assert set(seen.modes().values()) == {cell.mode}, f"expected {cell.mode} of every witness, seen {seen}"


@applies_to(lambda cell: cell.mode.is_line)
@requirement("PCI 3.0 6.2.2", "PCI 3.0 6.8.1.3", "NDIS 6 MSI")
def test_line_mode_leaves_messages_off(testbed: Testbed) -> None:
    """A function that uses its line has neither MSI nor MSI-X enabled, and may raise the line."""
    function = testbed.function()
    seen = (function.msi_enabled, function.msix_enabled, function.intx_enabled)
    assert seen == (False, False, True), f"expected (MSI, MSI-X, INTx) (off, off, on), seen {seen}"


@applies_to(_has_messages)
@requirement("PCI 3.0 6.8.3.3", "PCI 3.0 6.2.2", "NDIS 6 MSI")
def test_message_mode_never_raises_the_line(testbed: Testbed) -> None:
    """While a function sends messages, it does not use its line."""
    with testbed.deliveries() as observed:
        resolve_repeatedly(testbed.wire, 10)
    delivery = observed.delivery
    assert delivery.messages, f"expected messages while frames flowed, delivered: {delivery}"
    assert delivery.ioapic == delivery.pic == 0, f"expected nothing on the line, delivered: {delivery}"


@requirement("PCI 3.0 6.8.2", "82574L 7.4.2", "82576 7.3", "virtio 1.2 4.1.5.1.2")
def test_vectors_granted_are_what_the_queues_need(
    testbed: Testbed, cell: Cell, record_cell: Callable[[str, str], None]
) -> None:
    """The driver has opened as many vectors as its queue count needs in this mode: no fewer, no more.

    Where nobody knows how many queues it uses, at least one vector is open, and the report says how many.
    """
    granted = testbed.function().vectors_granted
    record_cell("vectors", str(granted))
    if cell.vectors is None:
        assert granted > 0, "expected a vector opened on the device, seen none"
    else:
        assert granted == cell.vectors, f"expected {cell.vectors} vectors opened on the device, seen {granted}"


@requirement("PCI 3.0 6.8.2", "NDIS 6 MSI")
def test_guest_claims_the_vectors_that_the_device_has(testbed: Testbed, guest: Guest, cell: Cell) -> None:
    """Every vector that the device has open has a handler in the guest, and no other has."""
    claimed = [vector.index for vector in guest.interrupts().vectors]
    function = testbed.function()
    opened = [number for number, message in enumerate(function.msix) if message.granted]
    expected = opened if function.msix_enabled else [0]
    assert claimed == expected, f"expected handlers for the device's vectors {expected}, the guest claims {claimed}"


@applies_to(lambda cell: cell.mode != "polled")
@requirement("82540EM 3.2.7", "82574L 7.1.9", "82576 7.3", "virtio 1.2 5.1.6.4")
def test_received_frames_interrupt(testbed: Testbed) -> None:
    """A frame for the station that nobody polls for interrupts the guest, in the time of an answer."""
    with testbed.deliveries() as observed:
        answered = resolve_repeatedly(testbed.wire, 10)
    assert answered == 10, f"expected 10 answers to 10 requests, seen {answered}"
    assert observed.delivery.total > 0, "expected interrupts while 10 requests were answered, none was delivered"


@applies_to(lambda cell: cell.mode != "polled")
@requirement("82540EM 13.4.17", "82574L 7.4.5", "82576 7.3", "virtio 1.2 2.7.7.2")
def test_every_interrupt_delivered_is_handled(testbed: Testbed, guest: Guest) -> None:
    """The guest's handlers run when interrupts are delivered: its own counts rise on the vectors that were used."""
    before = guest.handled()
    with testbed.deliveries() as observed:
        resolve_repeatedly(testbed.wire, 10)
    after = guest.handled()
    rose = {index for index, count in after.items() if count > before[index]}
    used = set(observed.delivery.messages) or {0}
    assert used <= rose, f"expected handled counts to rise on the vectors delivered {used}, they rose on {rose}"


@applies_to(_has_vector_per_queue)
@requirement("82574L 7.4.2", "82576 7.3", "82576 7.1.1.7", "virtio 1.2 5.1.6.4")
def test_receive_vector_rises_when_its_queue_is_used_and_only_then(testbed: Testbed, guest: Guest, cell: Cell) -> None:
    """Frames steered to one receive queue interrupt on that queue's vector and on no other receive vector."""
    receive = guest.queue_vectors("rx")
    assert len(receive) == cell.known_queues().rx, f"expected a vector for each receive queue, seen {receive}"
    for queue, vector in receive.items():
        frame = flow_to_queue(testbed, guest, queue, b"to one queue")
        with testbed.deliveries() as observed:
            for _ in range(BURSTS):
                with guest.endpoint().capture(b"to one queue") as seen:
                    testbed.wire.send(*[frame] * 16)
                    assert len(seen.wait(16)) == 16, f"expected 16 frames on receive queue {queue}"
        counts = {other: observed.delivery.messages.get(other, 0) for other in receive.values()}
        assert counts.pop(vector) >= BURSTS, f"expected vector {vector} for each burst, delivered: {observed.delivery}"
        assert all(count <= unasked(observed) for count in counts.values()), (
            f"expected receive queue {queue} to use vector {vector} alone, delivered: {observed.delivery}"
        )


@applies_to(_has_vector_per_queue)
@requirement("82574L 7.4.2", "82576 7.3", "virtio 1.2 5.1.6.2", "virtio 1.2 2.7.7.1")
def test_transmit_vector_rises_when_its_queue_is_used_and_only_then(testbed: Testbed, guest: Guest, cell: Cell) -> None:
    """Frames sent through one transmit queue interrupt on that queue's vector and on no other transmit vector.

    Each burst of them does so under Intel's drivers, which ask for it. A virtio driver may find by itself that frames
    have left, and ask to be told when most have (2.7.7.1), as Linux's does: of its bursts at least one interrupts.
    """
    least = 1 if cell.nic.family == "virtio" else BURSTS
    transmit = guest.queue_vectors("tx")
    assert len(transmit) == cell.known_queues().tx, f"expected a vector for each transmit queue, seen {transmit}"
    guest.steer_transmission()
    for queue, vector in transmit.items():
        with testbed.deliveries() as observed:
            for _ in range(BURSTS):
                with testbed.wire.capture(b"from one queue") as seen:
                    guest.endpoint().send(*broadcast_frames(b"from one queue", 16), cpu=queue)
                    assert len(seen.wait(16)) == 16, f"expected 16 frames from transmit queue {queue}"
        counts = {other: observed.delivery.messages.get(other, 0) for other in transmit.values()}
        assert counts.pop(vector) >= least, (
            f"expected vector {vector} for at least {least} of {BURSTS} bursts, delivered: {observed.delivery}"
        )
        assert all(count <= unasked(observed) for count in counts.values()), (
            f"expected transmit queue {queue} to use vector {vector} alone, delivered: {observed.delivery}"
        )


@requirement("82540EM 13.4.17", "82574L 10.2.4.1", "82576 7.3", "virtio 1.2 2.7.7.2")
def test_idle_link_interrupts_at_most_once_per_vector(testbed: Testbed, cell: Cell) -> None:
    """While nothing happens on the cable, nothing interrupts but the driver's own watchdog."""
    with testbed.deliveries() as observed:
        testbed.idle(IDLE_WINDOW_S)
    by_watchdog = unasked(observed) * max(1, testbed.function().vectors_granted)
    bound = 0 if cell.nic.family == "virtio" or cell.mode == "polled" else by_watchdog
    seen = observed.delivery.total
    assert seen <= bound, f"expected at most {bound} interrupts while idle, delivered: {observed.delivery}"


@applies_to(lambda cell: cell.mode != "polled")
@requirement(
    "82540EM 13.4.21", "82574L 10.2.4.6", "82576 8.8 IMC", "82576 8.8 EIMC", "virtio 1.2 2.7.7.2", "NDIS MiniportHalt"
)
def test_interrupts_stop_when_the_interface_goes_down(testbed: Testbed, guest: Guest, cell: Cell) -> None:
    """An interface that is down takes no interrupt, whatever is on the cable.

    A virtio driver cannot forbid the device to interrupt, only advise it not to; so there it is at most one from each
    receive queue, which tells the driver that the advice has not arrived yet.
    """
    guest.set_up(False)
    with testbed.deliveries() as observed:
        testbed.wire.send(*broadcast_frames(b"to a NIC that is down", 64))
        testbed.idle(0.2)
    queues = cell.queues.rx if cell.queues else testbed.function().vectors_granted
    bound = queues if cell.nic.family == "virtio" else 0
    seen = observed.delivery
    assert seen.total <= bound, f"expected at most {bound} interrupts while down, delivered: {seen}"
    guest.set_up(True)
    assert resolve_repeatedly(testbed.wire, 3) == 3, "expected answers after the interface came up again, none came"


@applies_to(lambda cell: cell.mode != "polled" and cell.nic.family != "virtio")
@requirement("PCI 3.0 6.8.2.9", "82574L 7.4.2", "82576 7.3")
def test_vectors_are_freed_when_the_interface_goes_down(testbed: Testbed, guest: Guest, cell: Cell) -> None:
    """A driver that asks for its interrupts when it opens gives them back when it closes, in the device as well."""
    guest.set_up(False)
    claimed, granted = guest.interrupts().vectors, testbed.function().vectors_granted
    assert not claimed, f"expected no handler of an interface that is down, the guest claims {claimed}"
    left = granted if testbed.function().msix_enabled else 0
    assert left == 0, f"expected every vector closed on the device, {left} are open"


@applies_to(lambda cell: cell.mode != "polled" and cell.mode != "intx-pic")
@requirement("PCI 3.0 6.8.2.9", "Intel SDM 3A 11.11.1", "82093AA 3.2.4")
@pytest.mark.parametrize("cpu", [0, 1])
def test_affinity_is_obeyed(testbed: Testbed, guest: Guest, cpu: int) -> None:
    """Interrupts that are given to one processor are handled by that processor only.

    A message is moved when it next comes (PCI leaves no other safe moment), so those are judged that came since.
    """
    for vector in guest.interrupts().vectors:
        guest.set_affinity(vector, cpu)
    start = guest.interrupts().vectors
    resolve_repeatedly(testbed.wire, 5)
    moved = guest.interrupts().vectors
    resolve_repeatedly(testbed.wire, 20)
    end = guest.interrupts().vectors
    handled = {
        two.name: [new - old for old, new in zip(two.counts, three.counts, strict=True)]
        for one, two, three in zip(start, moved, end, strict=True)
        if sum(two.counts) > sum(one.counts)
    }
    elsewhere = {name: counts for name, counts in handled.items() if sum(counts) > counts[cpu]}
    assert any(counts[cpu] for counts in handled.values()), f"expected handling on processor {cpu}, seen {handled}"
    assert not elsewhere, f"expected handling on processor {cpu} only, handled by each processor: {elsewhere}"


@requirement(
    "82540EM 13.4.18",
    "82574L 10.2.4.2",
    "82574L 10.2.4.3",
    "82576 8.8 EITR",
    "ethtool-netlink COALESCE_SET",
    "NDIS 6 Interrupt Moderation",
)
def test_throttling_lowers_interrupts_per_frame(testbed: Testbed, guest: Guest) -> None:
    """A vector interrupts once in an interval at most, so that the same frames cost fewer interrupts with a long one.

    Frames come 2 ms apart, so that a guest has time to go idle between two; the interval spans four of them. It is near
    the longest that the 82576 can have: 8191 us.
    """
    seen = {}
    for interval_us in (0, 8_000):
        guest.set_throttle(interval_us)
        with testbed.deliveries() as observed:
            testbed.wire.send_paced(broadcast_frames(b"throttled", 150), interval_s=0.002)
            resolve_repeatedly(testbed.wire, 1)
        delivery = observed.delivery
        seen[interval_us] = max(delivery.messages.values(), default=delivery.total)
    intervals = 1 + int(observed.seconds / 0.008)
    bound = RAISED_AT_ONCE * intervals + unasked(observed)
    assert 0 < seen[8_000] <= bound, (
        f"expected at most {bound} interrupts of a vector in {intervals} intervals, seen {seen}"
    )
    assert seen[8_000] < seen[0], f"expected fewer interrupts when throttled, by interval in us: {seen}"


@applies_to(lambda cell: cell.mode.is_line)
@requirement("PCI 3.0 2.2.6")
def test_shared_line_serves_two_devices_at_once(testbed: Testbed, guest: Guest) -> None:
    """The DUT and a companion on the same line both get their work done while both raise it."""
    guest.start_companion()
    name = guest.interrupts().vectors[0].name
    assert "," in name, f"expected another device on the DUT's line, its handlers are {name!r}"
    with requests_in_background(testbed.wire):
        for _ in range(5):
            guest.use_companion()
    answered = resolve_repeatedly(testbed.wire, 10)
    assert answered == 10, f"expected the DUT to answer 10 requests after sharing its line, seen {answered}"


@applies_to(lambda cell: cell.mode == "polled")
@requirement("82540EM 13.4.20", "82574L 10.2.4.5", "82576 8.8 IMS", "virtio 1.2 2.7.7.1")
def test_polled_driver_enables_no_interrupt_cause(testbed: Testbed) -> None:
    """A driver that polls leaves every cause masked in the device."""
    device = device_witness(testbed)
    assert not device.causes_enabled, "expected every interrupt cause masked in the device, some are enabled"


@applies_to(lambda cell: cell.mode == "polled")
@requirement("82540EM 13.4.20", "82574L 10.2.4.5", "82576 8.8 IMS", "virtio 1.2 2.7.7.2")
def test_polled_driver_gets_not_one_interrupt(testbed: Testbed, wire: Wire) -> None:
    """While a polling driver answers, not one interrupt is delivered."""
    with testbed.deliveries() as observed:
        answered = resolve_repeatedly(wire, 20)
    assert answered == 20, f"expected 20 answers to 20 requests, seen {answered}"
    assert observed.delivery.total == 0, f"expected not one interrupt, delivered: {observed.delivery}"
