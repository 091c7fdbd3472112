"""Numbered frames that cross the cable both ways without a pause, whatever is done to the DUT meanwhile.

Each has octets of its own, so that each is known: one that comes twice, late or altered is found among all the others.
Any may be lost, as where a driver closes its NIC for a change.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from harness.endpoint.base import Capture, Endpoint
from harness.endpoint.cable import Direction
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.traffic.exchange import comes, ends
from harness.traffic.frames import HEADER, LOCAL_EXPERIMENT, SEED, difference, frame
from harness.traffic.stimulus import LOAD_INTERVAL_S, in_background

_NUMBER = slice(HEADER, HEADER + 4)
_SHORTEST, _LONGEST = 46, 1400
"""Octets of a frame's random data; with its number it fits the usual MTU."""


class Stream:
    """The frames of one direction."""

    def __init__(self, direction: Direction, sender: Endpoint, seen: Capture) -> None:
        self.direction = direction
        self._sender, self._seen = sender, seen
        self._source = random.Random(SEED)
        self._sent: list[bytes] = []

    def send_one(self) -> None:
        """Send the next frame."""
        data = self._source.randbytes(self._source.randint(_SHORTEST, _LONGEST))
        self._sent.append(frame(self.direction, LOCAL_EXPERIMENT, len(self._sent).to_bytes(4, "big") + data))
        self._sender.send(self._sent[-1])

    def goes_on(self) -> bool:
        """Wait for a frame that is sent from now on; return whether it comes before nothing comes any more."""
        first = len(self._sent).to_bytes(4, "big")
        return comes(self._seen, lambda one: one[_NUMBER] >= first)

    def alterations(self) -> str:
        """Say what has come that was not sent, or not in this order, or came twice; empty if nothing has."""
        came = self._seen.wait(0)
        delivered = set(came)
        return difference([one for one in self._sent if one in delivered], came)


@contextmanager
def streams(guest: Guest, wire: Wire) -> Iterator[tuple[Stream, ...]]:
    """Have both ends of the cable send while a block runs; gives the stream of each direction."""
    with ExitStack() as stack:
        both: list[Stream] = []
        for direction in Direction:
            sender, receiver = ends(direction, guest, wire)
            seen = stack.enter_context(receiver.capture(frame(direction, LOCAL_EXPERIMENT, b"")[6:]))
            both.append(Stream(direction, sender, seen))
        for stream in both:
            stack.enter_context(in_background(stream.send_one, LOAD_INTERVAL_S))
        yield tuple(both)
