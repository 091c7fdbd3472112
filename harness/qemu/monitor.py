"""QMP, synchronously: one monitor connection of one QEMU, used from one thread."""

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError, Runstate

from harness.errors import NicproofError

# Each failure reaches the caller as an exception; the library would also print it.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

Result = TypeVar("Result")
HUMAN = "human-monitor-command"
_SHOWING = re.compile("(x-)?query-.*|trace-event-set-state|screendump|stop|cont|info|i|o|xp")
"""Commands of both monitors that leave the machine what it is; `o` writes the address that PCI's registers are read at,
which is then put back (pci.py)."""


class MonitorLost(NicproofError):
    """QEMU closed the monitor or did not answer: it died or hangs."""


class CommandRefused(NicproofError):
    """QEMU answered a command with an error."""


class Monitor:
    """A QMP session over a connected socket.

    Commands have a deadline, because a QEMU that hangs would otherwise hang the harness with it.

    Attributes:
        closed: whether QEMU was seen to close it, which it does only when it ends.
        changes: the commands by which QEMU was told to do something to the machine, other than to show it or to let it
            stand still.
    """

    def __init__(self, connection: socket.socket, command_deadline_s: float = 30.0) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = QMPClient("nicproof")
        self._deadline_s = command_deadline_s
        self.closed = False
        self.changes: set[str] = set()
        self._heard = EventListener()
        self._client.register_listener(self._heard)
        self._fates = EventListener(names=("RESET", "SHUTDOWN", "GUEST_PANICKED"))
        self._client.register_listener(self._fates)
        self._fate: list[dict[str, Any]] = []
        self._lost = False
        self._run(self._client.connect(connection), "the QMP greeting")

    def _run(self, work: Coroutine[Any, Any, Result], what: str, deadline_s: float | None = None) -> Result:
        limit = self._deadline_s if deadline_s is None else deadline_s
        try:
            return self._loop.run_until_complete(asyncio.wait_for(work, limit))
        except TimeoutError:
            raise MonitorLost(f"QEMU gave no answer to {what} within {limit:g} s") from None
        except ExecuteError as error:
            raise CommandRefused(f"QEMU refused {what}: {error}") from None
        except (QMPError, OSError, EOFError) as error:
            self.closed = True
            raise MonitorLost(f"QEMU closed its monitor during {what}: {error}") from None

    def execute(self, command: str, **arguments: object) -> Any:
        """Run a QMP command and return its result.

        Raises:
            CommandRefused: QEMU answered with an error.
            MonitorLost: QEMU is gone or silent.
        """
        names = {name.replace("_", "-"): value for name, value in arguments.items()}
        said = str(names["command-line"]).split()[0] if command == HUMAN else command
        if not _SHOWING.fullmatch(said):
            self.changes.add(said)
        try:
            return self._run(self._client.execute(command, names), command)
        except MonitorLost:
            self._lost = True
            raise

    def hand_over(self, descriptor: int, name: str) -> None:
        """Have QEMU keep an open file under a name, for a command that takes one.

        Raises:
            MonitorLost: QEMU is gone or silent.
        """

        async def send() -> None:
            self._client.send_fd_scm(descriptor)

        self._run(send(), "an open file")
        self.execute("getfd", fdname=name)

    def human(self, command: str) -> str:
        """Run a command of the human monitor and return what it prints, with plain line ends."""
        text = self.execute(HUMAN, command_line=command)
        return str(text).replace("\r\n", "\n")

    def wait_event(self, what: str, wanted: Callable[[dict[str, Any]], bool], deadline_s: float) -> dict[str, Any]:
        """Wait for an event that `wanted` accepts; earlier events that it does not accept are dropped.

        Raises:
            MonitorLost: none came within `deadline_s` seconds, or QEMU is gone.
        """

        async def heard() -> dict[str, Any]:
            end = asyncio.ensure_future(self._client.runstate_changed())
            news = asyncio.ensure_future(self._heard.get())
            try:
                while self._client.runstate is Runstate.RUNNING or not self._heard.empty() or news.done():
                    await asyncio.wait((news, end), return_when=asyncio.FIRST_COMPLETED)
                    if news.done():
                        if wanted(event := dict(news.result())):
                            return event
                        news = asyncio.ensure_future(self._heard.get())
            finally:
                end.cancel()
                news.cancel()
            raise EOFError("it has ended")

        return self._run(heard(), what, deadline_s)

    def fate(self) -> list[dict[str, Any]]:
        """Return what the guest has done to its machine so far: reset it, switched it off, said that it is broken.

        These events are kept, whoever waits for others meanwhile.

        Raises:
            MonitorLost: QEMU is gone or silent.
        """
        if self._lost:
            raise MonitorLost("QEMU is not asked again: it gave no answer before")
        self.execute("query-status")  # events are heard while QEMU is spoken to
        heard: list[dict[str, Any]] = [dict(event) for event in self._fates.clear()]
        self._fate += [event for event in heard if event["data"].get("guest", True)]
        return list(self._fate)

    def forget_fate(self) -> None:
        """Forget what the guest has done to its machine so far, as it was asked for.

        Raises:
            MonitorLost: QEMU is gone or silent.
        """
        self.fate()
        self._fate.clear()

    def forget_events(self) -> list[dict[str, Any]]:
        """Drop the events heard so far and return them: what follows is new."""
        return [dict(event) for event in self._heard.clear()]

    def close(self) -> None:
        """End the session; a QEMU that is gone already is no error."""
        try:
            self._loop.run_until_complete(asyncio.wait_for(self._client.disconnect(), 5))
        except (QMPError, OSError, EOFError, TimeoutError):
            pass
        finally:
            self._loop.close()
