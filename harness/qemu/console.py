"""The guest's serial console: everything it says, kept in a file and waited on."""

import codecs
import io
import re
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from harness.errors import NicproofError


class ConsoleTimeout(NicproofError):
    """The text that was waited for did not come."""


class Console:
    """Reads one end of a socket pair whose other end is QEMU's serial port."""

    def __init__(self, connection: socket.socket, log: Path) -> None:
        self._connection = connection
        self._log = log
        self._text = ""
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name=f"console {log}", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        # A character of several octets, or a line end of two, may come in two parts.
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        with self._log.open("ab", buffering=0) as log:
            while True:
                try:
                    data = self._connection.recv(65536)
                except OSError:
                    data = b""
                if data:
                    log.write(data)
                with self._changed:
                    self._text += decoder.decode(data, final=not data)
                    self._closed = not data
                    self._changed.notify_all()
                if not data:
                    return

    @property
    def text(self) -> str:
        """All that the guest has said so far."""
        with self._changed:
            return self._text

    def wait_for(self, pattern: str, deadline_s: float, start: int = 0) -> re.Match[str]:
        """Wait until the console, from character `start` on, holds the regular expression `pattern`.

        Raises:
            ConsoleTimeout: it did not come in time, or the console closed first; the message ends with the last line.
        """
        wanted = re.compile(pattern)
        end = time.monotonic() + deadline_s
        with self._changed:
            while not (match := wanted.search(self._text, start)):
                if self._closed:
                    raise ConsoleTimeout(f"the guest's console closed before it said {pattern!r}{self._last_line()}")
                if not self._changed.wait(end - time.monotonic()) and time.monotonic() >= end:
                    raise ConsoleTimeout(
                        f"the guest's console did not say {pattern!r} within {deadline_s:g} s{self._last_line()}"
                    )
            return match

    def wait_for_more(self, at_most_s: float) -> None:
        """Wait until the guest says anything, or for `at_most_s` seconds."""
        with self._changed:
            self._changed.wait(at_most_s)

    def _last_line(self) -> str:
        lines = [line.strip() for line in self._text.splitlines() if line.strip()]
        return f"; its last line: {lines[-1]!r}" if lines else "; it said nothing at all"

    def send(self, text: str) -> None:
        """Type `text` on the console."""
        self._connection.sendall(text.encode())

    def close(self) -> None:
        """Stop reading; the log file stays."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)  # it reads what has come so far, and then finds the end
        self._connection.close()
