"""The DUT's cable: the harness holds its other end, records every frame, and lets many listen at once.

Nothing is lost here: the socket pair makes the sender wait when the receiver is slow, in both directions.
"""

import fcntl
import logging
import os
import socket
import struct
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from scapy.layers.l2 import Ether
from scapy.utils import PcapNgWriter

from harness.errors import NicproofError

_log = logging.getLogger(__name__)

SEND_DEADLINE_S = 10
LONGEST_FRAME = 65536 + 64
"""Octets; the longest frame a virtio device with segmentation offload can hand over, and its headers."""


class Direction(Enum):
    """Seen from the DUT."""

    TO_DUT = "to DUT"
    FROM_DUT = "from DUT"


@dataclass(frozen=True, slots=True)
class Record:
    """A frame on the cable: when (seconds since the epoch), whither, and its octets without FCS."""

    time: float
    direction: Direction
    frame: bytes


Impairment = Callable[[Direction, bytes], Iterable[bytes]]
"""What a faulty cable makes of a frame: none, one or several frames."""


class _Captured(bytes):
    """A record in the form in which scapy's writer takes one without dissecting it."""

    time: float
    direction: int
    """1 for inbound, 2 for outbound (pcapng, epb_flags), seen from the harness."""

    def __new__(cls, record: Record) -> "_Captured":
        captured = super().__new__(cls, record.frame)
        captured.time = record.time
        captured.direction = 2 if record.direction is Direction.TO_DUT else 1
        return captured


class CableStuck(NicproofError):
    """A DUT that takes no frame, from either side: its QEMU reads none, or its driver has its system send none."""


class CableEnd(Protocol):
    """What sends and hears frames: a cable, or a part of what passes on it."""

    @property
    def records(self) -> list[Record]:
        """Every frame so far, both ways."""

    def watch(self, watcher: Callable[[Record], None]) -> None:
        """Call `watcher` with each frame from the DUT."""

    def unwatch(self, watcher: Callable[[Record], None]) -> None:
        """Stop calling `watcher`."""

    def send(self, frame: bytes) -> None:
        """Put one frame on the cable."""

    def close(self) -> None:
        """Stop listening."""


class Tap:
    """One listener's queue of the frames from the DUT; readable through select while it holds any."""

    def __init__(self) -> None:
        self._frames: deque[Record] = deque()
        self._lock = threading.Lock()
        self._ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def put(self, record: Record) -> None:
        """Add a frame."""
        with self._lock:
            self._frames.append(record)
            if len(self._frames) == 1 and self._ready >= 0:
                os.eventfd_write(self._ready, 1)

    def get(self) -> Record | None:
        """Take the oldest frame, or None."""
        with self._lock:
            record = self._frames.popleft() if self._frames else None
            if record is not None and not self._frames:
                os.eventfd_read(self._ready)
            return record

    def fileno(self) -> int:
        """A descriptor that select finds readable while there are frames."""
        return self._ready

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock:
            os.close(self._ready)
            self._ready = -1


class Cable:
    """The harness's end of the cable, with a permanent listener that never misses the start of anything."""

    def __init__(self, connection: socket.socket, impairment: Impairment | None = None) -> None:
        self._impairment = impairment
        self.records: list[Record] = []
        """Every frame so far, both ways, in the order in which it passed."""
        self._watchers: tuple[Callable[[Record], None], ...] = ()
        self._lock = threading.Lock()
        self._connect(connection, None)

    def _connect(self, connection: socket.socket, former: threading.Thread | None) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_DEADLINE_S, 0))
        self._socket = connection
        self._thread = threading.Thread(target=self._receive, args=(connection, former), name="cable", daemon=True)
        self._thread.start()

    def lead_to(self, connection: socket.socket) -> None:
        """Lead to another socket from now on, for the DUT is in another QEMU now, the former one standing still.

        All that the DUT has sent arrives, in its order. What the former QEMU has not read is lost; a frame that waits
        for it to read goes to the other one.
        """
        former, thread = self._socket, self._thread
        self._connect(connection, thread)
        former.shutdown(socket.SHUT_RDWR)

    def _receive(self, connection: socket.socket, former: threading.Thread | None) -> None:
        if former is not None:
            former.join()
        receive, record_all, clock = connection.recv, self.records.append, time.time
        while True:
            try:
                frame = receive(LONGEST_FRAME)
            except OSError:
                return
            if not frame:
                return
            frames = (frame,) if self._impairment is None else self._impairment(Direction.FROM_DUT, frame)
            for passed in frames:
                record = Record(clock(), Direction.FROM_DUT, passed)
                record_all(record)
                for watch in self._watchers:
                    try:
                        watch(record)
                    except NicproofError:
                        pass  # it answered on a cable that has just been cut
                    except Exception as error:
                        _log.warning("a listener cannot read a frame from the DUT (%s): %s", repr(error), passed.hex())

    def watch(self, watcher: Callable[[Record], None]) -> None:
        """Call `watcher` with each frame from the DUT, on the cable's thread, until `unwatch`."""
        with self._lock:
            self._watchers = (*self._watchers, watcher)

    def unwatch(self, watcher: Callable[[Record], None]) -> None:
        """Stop calling `watcher`."""
        with self._lock:
            self._watchers = tuple(other for other in self._watchers if other != watcher)

    def send(self, frame: bytes) -> None:
        """Put one frame on the cable, exactly as given: no padding, no FCS.

        Raises:
            CableStuck: QEMU took no frame for `SEND_DEADLINE_S` seconds.
            NicproofError: QEMU is gone.
        """
        frames = (frame,) if self._impairment is None else self._impairment(Direction.TO_DUT, frame)
        for passed in frames:
            self.records.append(Record(time.time(), Direction.TO_DUT, passed))
            self._put(passed)

    def _put(self, frame: bytes) -> None:
        while True:
            connection = self._socket
            try:
                connection.send(frame)
                return
            except BlockingIOError:
                raise CableStuck(f"the cable is stuck: QEMU took no frame for {SEND_DEADLINE_S} s") from None
            except OSError as error:
                if connection is self._socket:
                    raise NicproofError(f"the cable is cut: {error.strerror}") from None

    def wait_taken(self) -> None:
        """Wait until QEMU has read every frame that was sent: what becomes of one is decided when it is read.

        Raises:
            CableStuck: it did not within `SEND_DEADLINE_S` seconds.
        """
        end = time.monotonic() + SEND_DEADLINE_S
        while int.from_bytes(fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder):
            if time.monotonic() > end:
                raise CableStuck(f"the cable is stuck: QEMU left a frame unread for {SEND_DEADLINE_S} s")
            time.sleep(0.002)  # a socket has no event for it

    def save(self, path: Path) -> None:
        """Write everything that has passed so far to `path` as pcapng, with each frame's direction."""
        writer = PcapNgWriter(str(path))
        try:
            writer.write_header(Ether())
            for record in list(self.records):
                writer.write_packet(_Captured(record))
        finally:
            writer.close()

    def close(self) -> None:
        """Stop listening. The socket stays its owner's."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
