"""One end of a TCP connection, for a cable that loses nothing (RFC 9293).

It never sends a segment twice: a segment that the other end did not get is a finding, not something to recover from.
"""

import threading
from collections.abc import Callable

from scapy.layers.inet import TCP
from scapy.packet import Packet

_FIRST = 1000
"""Our initial sequence number: far from where numbers wrap round."""
_WINDOW = 65535
_MODULUS = 1 << 32
_DEFAULT_MSS = 536
"""Octets; of one who does not say how long a segment it accepts (RFC 9293, 3.7.1)."""


class TcpConnection:
    """A connection: give it the segments that come; it gives those to send.

    Attributes:
        received: the octets so far, in order.
        established: both ends have synchronized.
        finished: the other end has sent all it had.
        closed: both ends have, and know it of each other.
        reset: the other end has refused or aborted.
    """

    def __init__(self, ports: tuple[int, int], mss: int, send: Callable[[Packet], None], *, echo: bool = False) -> None:
        """Make one end.

        Args:
            ports: ours and the other's.
            mss: the longest segment to send and to accept, octets; the other end may accept only shorter ones.
            send: takes each segment (scapy's TCP layer and data).
            echo: send back what comes.
        """
        self._ports = ports
        self._mss = self._longest = mss
        self._send = send
        self._echo = echo
        self._changed = threading.Condition()
        self._pending = bytearray()
        self._next_out = _FIRST
        self._acknowledged = _FIRST
        self._window = 0
        self._next_in = 0
        self._closing = self._fin_sent = self._asked = False
        self.received = bytearray()
        self.established = self.finished = self.reset = False

    @property
    def closed(self) -> bool:
        """Whether both ends have sent all, and know it."""
        return self.finished and self._fin_sent and self._acknowledged == self._next_out

    def open(self) -> None:
        """Ask for the connection; an end that did not ask closes when the other does."""
        with self._changed:
            self._asked = True
            self._emit("S")

    def write(self, data: bytes) -> None:
        """Send data, as fast as the other end's window lets us."""
        with self._changed:
            self._pending += data
            self._push()

    def segment(self, at: int, data: bytes, flags: str = "A") -> Packet:
        """Return a segment for the caller to send, whose data lies `at` octets behind the first of the stream.

        So what an ordinary end never does can be sent: out of order, twice, damaged, with any flags.
        """
        with self._changed:
            first = (_FIRST + 1 + at) % _MODULUS
            self._next_out = max(self._next_out, first + len(data))
            return self._made(flags, first) / data

    def close(self) -> None:
        """Say, after all data, that there is no more."""
        with self._changed:
            self._closing = True
            self._push()

    def wait(self, until: Callable[[], bool], deadline_s: float) -> bool:
        """Wait until a condition on our attributes holds; return whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: until() or self.reset, deadline_s) and until()

    def hear(self, segment: Packet) -> None:
        """Take a segment from the other end."""
        flags, data = segment.flags, bytes(segment.payload)
        with self._changed:
            if flags.R:
                self.reset = True
            elif flags.S:
                self._synchronize(segment)
            elif self.established or flags.A:
                self._take(segment, data)
            self._changed.notify_all()

    def _synchronize(self, segment: Packet) -> None:
        if self.established:  # our acknowledgment is on its way
            return
        self._next_in = (segment.seq + 1) % _MODULUS
        self._window = segment.window
        self._longest = min(self._mss, dict(segment.options).get("MSS", _DEFAULT_MSS))
        if segment.flags.A:
            self._acknowledged = segment.ack
            self.established = True
            self._emit("A")
            self._push()
        else:
            self._next_out = _FIRST
            self._emit("SA")

    def _take(self, segment: Packet, data: bytes) -> None:
        self.established = True
        self._window = segment.window
        self._acknowledged = max(self._acknowledged, segment.ack)
        old = (self._next_in - segment.seq) % _MODULUS
        if old <= len(data):  # what is sent again may have more at its end, be it a FIN
            new = data[old:]
            self.received += new
            self.finished = self.finished or bool(segment.flags.F)
            self._next_in = (self._next_in + len(new) + segment.flags.F) % _MODULUS
            if self._echo:
                self._pending += new
            self._closing = self._closing or (self.finished and not self._asked)
        if data or segment.flags.F:  # also what came twice, or too early: say what we wait for
            self._emit("A")
        self._push()

    def _push(self) -> None:
        if not self.established:
            return
        while self._pending:
            room = self._acknowledged + self._window - self._next_out
            chunk = bytes(self._pending[: min(self._longest, room)]) if room > 0 else b""
            if not chunk:
                return
            del self._pending[: len(chunk)]
            self._emit("PA", chunk)
        if self._closing and not self._fin_sent:
            self._fin_sent = True
            self._emit("FA")

    def _emit(self, flags: str, data: bytes = b"") -> None:
        segment = self._made(flags, self._next_out)
        self._next_out += len(data) + ("S" in flags or "F" in flags)
        self._send(segment / data if data else segment)

    def _made(self, flags: str, sequence: int) -> Packet:
        own, other = self._ports
        options = [("MSS", self._mss)] if "S" in flags else []
        return TCP(
            sport=own,
            dport=other,
            flags=flags,
            seq=sequence,
            ack=self._next_in,
            window=_WINDOW,
            options=options,
        )
