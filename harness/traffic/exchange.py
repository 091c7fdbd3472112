"""Sending the traffic tests' frames in step with whoever has to take them, and waiting for what becomes of them."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from harness.endpoint.base import SHORTEST_FRAME, Capture, Endpoint, padded
from harness.endpoint.cable import Direction
from harness.endpoint.vlan import Tag, header_octets, outermost_vid, tagged
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.station import DUT, WIRE
from harness.traffic.frames import (
    HEADER,
    IPV6,
    LOCAL_EXPERIMENT,
    Family,
    arp_frame,
    blanked,
    echo_frame,
    echoes,
    frame,
    mac_octets,
    mac_text,
)

DEADLINE_S = 20.0
"""For all frames of a test together: a loss shows as a count, never as a deadline that a slow host missed."""
IN_FLIGHT = 8
"""Requests. Stacks limit how many replies may wait to leave: iPXE to 15; Linux to 132,224 octets with overhead,
which are 57 full frames (net/ipv4/icmp.c), counted until the driver has seen that they left."""
UNANSWERED_S = 10.0
"""When a stack is taken to have left an echo request unanswered, and is asked again."""
REQUESTS_PER_LAPSE = 320
"""It may do that once, and once more for so many: a NIC that loses frames does it more often."""
IN_RING = 100
"""Frames; well below any driver's default receive ring, for a NIC may drop what comes when a queue has no descriptor
(82576 7.1.10: the other queues go on)."""
_ARP_REPLY = 42
"""Octets of an Ethernet frame with ARP for IPv4."""
_LAST = 0xFFFF
_ASKER_IP = "192.0.2.99"


def make_known(wire: Wire, family: Family) -> None:
    """Ask for the DUT's address, by which it learns the wire's: answers that wait for that overtake each other.

    Linux forgets its neighbours when the link goes. Then what waited and what comes next leave by two processors.
    """
    if family is IPV6:
        wire.solicit(DUT.ip6, DEADLINE_S)
    else:
        wire.resolve(DUT.ip, DEADLINE_S)


def carry(
    direction: Direction,
    frames: Sequence[bytes],
    guest: Guest,
    wire: Wire,
    *,
    delivered: int | None = None,
    at_once: bool = False,
    in_ring: int = IN_RING,
) -> list[bytes]:
    """Send frames of one type at one end of the cable and return those of that type that the other end received.

    Args:
        direction: which end sends.
        frames: all with the same type.
        guest: its raw endpoint is on the DUT.
        wire: the other end.
        delivered: how many should come, if not all. A last frame, not returned, shows that nothing follows them.
        at_once: send to the DUT without regard to its ring, which may drop any number.
        in_ring: how many frames its ring has room for.
    """
    sender, receiver = ends(direction, guest, wire)
    last = _last_one(frames[0])
    with receiver.capture(frames[0][6:HEADER]) as seen:
        if direction is Direction.FROM_DUT or at_once:
            sender.send(*frames)
        else:
            send_in_step(wire, frames, in_ring=in_ring)
        if at_once:
            _has_taken_all(wire)
        sender.send(last)
        if at_once:
            received = up_to(last, seen)
        else:
            received = seen.wait(1 + (len(frames) if delivered is None else delivered), DEADLINE_S)
    return received[:-1] if received[-1:] == [last] else received


def ends(direction: Direction, guest: Guest, wire: Wire) -> tuple[Endpoint, Endpoint]:
    """Return who sends in this direction, and who receives."""
    inside = guest.endpoint()
    return (wire, inside) if direction is Direction.TO_DUT else (inside, wire)


def stations_reached(wire: Wire, guest: Guest, stations: Sequence[str], own: str = DUT.mac) -> list[str]:
    """Send a frame to each MAC address and then one to the DUT's own; return whose frames the DUT delivered, in order.

    Args:
        wire: where they are sent.
        guest: its raw endpoint is on the DUT.
        stations: MAC addresses, no more than any receive ring has room for.
        own: the DUT's address; last in what is returned, it shows that the path was open and that nothing follows.
    """
    like = frame(Direction.TO_DUT, LOCAL_EXPERIMENT, b"")
    frames = [mac_octets(station) + like[6:] for station in (*stations, own)]
    return [mac_text(received[:6]) for received in _delivered(wire, guest, frames)]


def vlans_reached(wire: Wire, guest: Guest, vids: Sequence[int], own: int) -> list[int | None]:
    """Send the DUT a frame in each VLAN and then one in its own; return in which VLANs it delivered one, in order.

    Args:
        wire: where they are sent.
        guest: its raw endpoint is on the DUT.
        vids: no more than any receive ring has room for.
        own: a VLAN of the DUT; last in what is returned, it shows that the path was open and that nothing follows.
    """
    like = padded(frame(Direction.TO_DUT, LOCAL_EXPERIMENT, b""))
    frames = [tagged(like, Tag(vid)) for vid in (*vids, own)]
    return [outermost_vid(received) for received in _delivered(wire, guest, frames)]


def _delivered(wire: Wire, guest: Guest, frames: Sequence[bytes]) -> list[bytes]:
    """Send frames that differ in their headers; return those that the DUT delivered, up to the last one."""
    last = _last_one(frames[-1])
    with guest.endpoint().capture(mac_octets(WIRE.mac) + last[12:14]) as seen:
        wire.send(*map(padded, frames[:-1]), last)
        return up_to(last, seen)


def _last_one(like: bytes) -> bytes:
    """Return the frame that shows that nothing follows: with the addresses, the tags and the type of another."""
    return like[: header_octets(like)] + b"the last one".ljust(SHORTEST_FRAME - HEADER, b"\0")


def comes(seen: Capture, wanted: Callable[[bytes], bool]) -> bool:
    """Wait for a frame that is wanted; return whether it comes before nothing comes any more."""
    looked_at = 0
    while len(came := seen.wait(looked_at + 1, DEADLINE_S)) > looked_at:
        if any(wanted(one) for one in came[looked_at:]):
            return True
        looked_at = len(came)
    return False


def up_to(last: bytes, seen: Capture) -> list[bytes]:
    """Return what was captured once `last` is there, or nothing more comes."""
    received = seen.wait(1, DEADLINE_S)
    while received and received[-1] != last:
        before, received = received, seen.wait(len(received) + 1, DEADLINE_S)
        if received == before:
            break
    return received


def send_in_step(
    wire: Wire, frames: Iterable[bytes], go_on: Callable[[], bool] = lambda: True, *, in_ring: int = IN_RING
) -> list[bytes]:
    """Send frames to the DUT, never more than `in_ring` ahead of what it has taken from its ring; stop if it is silent.

    Args:
        wire: where to send.
        frames: what to send.
        go_on: asked from time to time; once it says no, no more are sent.
        in_ring: how many frames the ring has room for.

    Returns:
        The frames that were sent.
    """
    sent: list[bytes] = []
    source = iter(frames)
    while go_on() and (some := list(islice(source, in_ring))):
        wire.send(*some)
        sent += some
        if not _has_taken_all(wire):
            break
    return sent


def _has_taken_all(wire: Wire) -> bool:
    """Ask the DUT for its address: with the answer it has taken all that was sent before, by the same queue."""
    reply = arp_frame(2, DUT.mac, DUT.ip, WIRE.mac, WIRE.mac, WIRE.ip)
    with wire.capture(reply.rstrip(b"\0")) as answers:
        wire.send(arp_frame(1, WIRE.mac, WIRE.ip, DUT.mac, "00:00:00:00:00:00", DUT.ip))
        return bool(answers.wait(1, DEADLINE_S))


def exchange_echoes(
    wire: Wire, family: Family, data: Sequence[bytes], *, delivered: int | None = None
) -> tuple[list[bytes], list[bytes]]:
    """Send a few echo requests with each of `data`; return the reply that is due to each, and the replies that came.

    As in `carry`, a last request shows that nothing follows the `delivered` ones. What a replier is free to choose
    (RFC 791: type of service, identification, time to live) is blanked in both.
    """
    requests, due = _requests_and_replies(family, data)
    last_request = padded(echo_frame(family, family.request, WIRE, DUT, _LAST, bytes(18)))
    last_reply = blanked(padded(echo_frame(family, family.reply, DUT, WIRE, _LAST, bytes(18))))
    wanted = 1 + (len(requests) if delivered is None else delivered)
    with wire.capture(family.is_echo(family.reply)) as replies:
        for first in range(0, len(requests), IN_FLIGHT):
            some = requests[first : first + IN_FLIGHT]
            wire.send(*some)
            so_far = first + len(some)
            if delivered is None and (count := len(replies.wait(so_far, DEADLINE_S))) < so_far:
                wanted = count + 1
                break
        wire.send(last_request)
        came = [blanked(reply) for reply in replies.wait(wanted, DEADLINE_S)]
    return due, came[:-1] if came[-1:] == [last_reply] else came


def exchange_every_echo(wire: Wire, family: Family, data: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Send any number of echo requests; return the reply that is due to each, and the replies that came, sorted.

    A stack may leave a request unanswered while too many of its replies wait to leave (see `IN_FLIGHT`), which says
    nothing of the NIC: it is asked once more when the others are done.
    """
    requests, due = _requests_and_replies(family, data)
    patience = 1 + len(requests) // REQUESTS_PER_LAPSE
    # Whatever identifier a reply to us has: one that is asked for again because its own came garbled would hide that.
    is_reply, is_echo, us = family.is_icmp(family.reply), family.is_echo(family.reply), mac_octets(WIRE.mac)
    with wire.capture(lambda seen: is_echo(seen) or (is_reply(seen) and seen[:6] == us)) as replies:
        unanswered = count = 0
        for first in range(0, len(requests), IN_FLIGHT):
            some = requests[first : first + IN_FLIGHT]
            wire.send(*some)
            expected, count = count + len(some), len(replies.wait(count + len(some), UNANSWERED_S))
            unanswered += count < expected
            if unanswered > patience:
                break
        came = {blanked(reply) for reply in replies.wait(count)}
        for request, reply in zip(requests, due, strict=True):
            if unanswered and unanswered <= patience and reply not in came:
                wire.send(request)
                count, before = len(replies.wait(count + 1, DEADLINE_S)), count
                if count == before:
                    break
        number = slice(family.headers + 6, family.headers + 8)
        return due, sorted((blanked(reply) for reply in replies.wait(count)), key=lambda reply: reply[number])


def _requests_and_replies(family: Family, data: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    requests = [padded(request) for request in echoes(family, family.request, WIRE, DUT, data)]
    return requests, [blanked(reply) for reply in echoes(family, family.reply, DUT, WIRE, data)]


def exchange_arp(wire: Wire, count: int) -> tuple[list[bytes], list[bytes]]:
    """Ask for the DUT's address `count` times; return the replies that are due, and those that came.

    Each request has a MAC address of its own, to which the reply goes; `IN_FLIGHT` are on their way at a time. A
    reply's padding is left out.
    """
    askers = [f"52:54:01:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in range(count)]
    requests = [arp_frame(1, asker, _ASKER_IP, DUT.mac, "00:00:00:00:00:00", DUT.ip) for asker in askers]
    due = [arp_frame(2, DUT.mac, DUT.ip, asker, asker, _ASKER_IP) for asker in askers]
    with wire.capture(lambda seen: seen[:3] == due[0][:3]) as replies:
        for first in range(0, count, IN_FLIGHT):
            some = requests[first : first + IN_FLIGHT]
            wire.send(*some)
            if len(replies.wait(first + len(some), DEADLINE_S)) < first + len(some):
                break
        came = [padded(reply[:_ARP_REPLY]) for reply in replies.wait(1, 0)]
    return due, came
