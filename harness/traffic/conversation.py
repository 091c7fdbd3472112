"""A conversation that goes on whatever is done to the machine meanwhile: numbered echo requests and their replies.

Each request has data of its own, of a length of its own, so that each reply is known: one that comes twice, late or
garbled is found among all the others.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness.endpoint.base import Capture
from harness.endpoint.wire import Wire
from harness.station import DUT, WIRE
from harness.traffic.exchange import DEADLINE_S, IN_FLIGHT, comes
from harness.traffic.frames import IPV4, SEED, blanked, difference, echo_frame
from harness.traffic.stimulus import LOAD_INTERVAL_S, in_background

_SHORTEST, _LONGEST = 18, 1472
"""Octets of data in an echo request that is neither padded nor in fragments."""
_ROUND = 30
"""Requests that show that the conversation goes on."""
_PATIENCE_S = 0.25
"""Between requests while none is answered."""
_NUMBER = slice(IPV4.headers + 6, IPV4.headers + 8)


class Conversation:
    """Echo requests of the wire, and the DUT's replies; complete when its block has ended."""

    def __init__(self, wire: Wire, replies: Capture) -> None:
        """Speak over IPv4, which every guest does."""
        self._wire, self._replies = wire, replies
        self._source = random.Random(SEED)
        self._due: list[bytes] = []
        self._last_asked = 0.0
        self._asked = threading.Condition()

    def ask(self) -> None:
        """Send the next request; where too many wait for their replies, only once in a while.

        A stack leaves requests unanswered that come all at once, as when they have waited for its machine.
        """
        heard = self._replies.wait(0)[-1:]
        behind = len(self._due) - sum(int.from_bytes(reply[_NUMBER], "big") + 1 for reply in heard)
        if behind >= IN_FLIGHT and time.monotonic() < self._last_asked + _PATIENCE_S:
            return
        self._last_asked = time.monotonic()
        number, data = len(self._due), self._source.randbytes(self._source.randint(_SHORTEST, _LONGEST))
        self._wire.send(echo_frame(IPV4, IPV4.request, WIRE, DUT, number, data))
        with self._asked:
            self._due.append(blanked(echo_frame(IPV4, IPV4.reply, DUT, WIRE, number, data)))
            self._asked.notify_all()

    @property
    def asked(self) -> int:
        """How many requests have been sent so far."""
        return len(self._due)

    def go_on(self) -> int:
        """Wait until some more requests have been sent and the last of them is answered, or nothing comes any more.

        Returns:
            How many had been sent then.
        """
        with self._asked:
            count = len(self._due) + _ROUND
            self._asked.wait_for(lambda: len(self._due) >= count, DEADLINE_S)
            count = len(self._due)
        self._await_reply(count - 1)
        return count

    def end(self) -> None:
        """Wait until the last request is answered, or nothing comes any more."""
        self._await_reply(len(self._due) - 1)

    def _await_reply(self, number: int) -> None:
        """Wait for a reply, or for one behind it: then it does not come any more."""
        wanted = number.to_bytes(2, "big")
        comes(self._replies, lambda reply: reply[_NUMBER] >= wanted)

    def what_fails(self, first: int = 0, last: int = 0) -> str:
        """Say what is wrong with the replies: each is due once, whole and in order.

        Args:
            first: number of the first request that may be lost.
            last: number of the first one behind that may not. Those that are lost in between follow each other, as when
                for some time there is nobody who could take them.
        """
        due, came = self._due, [blanked(reply) for reply in self._replies.wait(0)]
        lost = max(0, len(due) - len(came))
        pairs = enumerate(zip(due, came, strict=False))
        kept = next((number for number, (one, other) in pairs if one != other), min(len(due), len(came)))
        if wrong := difference([*due[:kept], *due[kept + lost :]], came):
            return wrong
        if lost and not first <= kept <= kept + lost <= last:
            bound = f"at most replies {first} to {last - 1}" if last > first else "no reply"
            return f"expected {bound} lost, lost are {kept} to {kept + lost - 1}"
        return ""


@contextmanager
def conversation(wire: Wire) -> Iterator[Conversation]:
    """Keep asking the DUT for echoes while a block runs, a hundred a second as long as they are answered."""
    with wire.capture(IPV4.is_echo(IPV4.reply)) as replies:
        talk = Conversation(wire, replies)
        with in_background(talk.ask, LOAD_INTERVAL_S):
            yield talk
        talk.end()
