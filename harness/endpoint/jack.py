"""A jack on the DUT's cable: lets the user's other processes plug into it while one process holds it.

A unix socket of type SEQPACKET: one packet is one frame, both ways, and a sender waits for a slow receiver. So what
plugs in has a `Cable` of its own.
"""

import queue
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.endpoint.cable import LONGEST_FRAME, Cable, Record
from harness.errors import InputError, NicproofError
from harness.rundir import socket_name

_WAITING_TO_CONNECT = 4


class Jack:
    """Serves a cable to whoever connects to a socket; each hears every frame from the DUT since it plugged in."""

    def __init__(self, cable: Cable, path: Path) -> None:
        """Listen at `path`, which only its owner can open."""
        self._cable = cable
        self._plugs: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with socket_name(path) as name:
            self._listener.bind(name)
        path.chmod(0o600)
        self._path = path
        self._listener.listen(_WAITING_TO_CONNECT)
        self._thread = threading.Thread(target=self._accept, name="jack", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                plug, _ = self._listener.accept()
            except OSError:
                return  # closed
            with self._lock:
                self._plugs.add(plug)
            threading.Thread(target=self._from_plug, args=(plug,), name="jack plug", daemon=True).start()

    def _from_plug(self, plug: socket.socket) -> None:
        heard: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        listener = threading.Thread(target=self._to_plug, args=(plug, heard), name="jack plug", daemon=True)
        listener.start()
        self._cable.watch(heard.put)
        try:
            with suppress(OSError, NicproofError):  # either side is gone
                while frame := plug.recv(LONGEST_FRAME):
                    self._cable.send(frame)
        finally:
            self._cable.unwatch(heard.put)
            heard.put(None)
            with self._lock:
                self._plugs.discard(plug)
            _hang_up(plug)
            listener.join()
            plug.close()

    @staticmethod
    def _to_plug(plug: socket.socket, heard: "queue.SimpleQueue[Record | None]") -> None:
        with suppress(OSError):
            while (record := heard.get()) is not None:
                plug.send(record.frame)

    def close(self) -> None:
        """Unplug everybody and remove the socket."""
        _hang_up(self._listener)
        self._listener.close()
        self._thread.join(5)
        with self._lock:
            for plug in self._plugs:
                _hang_up(plug)
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def plug_in(path: Path) -> Cable:
    """Return the cable behind a jack of another process.

    Raises:
        InputError: there is none.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with socket_name(path) as name:
            connection.connect(name)
    except OSError as error:
        connection.close()
        raise InputError(
            f"no cable at {path} ({error.strerror}): `nicproof shell CELL` prints the path of its own while it runs"
        ) from None
    return Cable(connection)
