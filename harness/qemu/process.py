"""One QEMU process: started, spoken to, and ended without remains.

Monitor, console and cable are socket pairs that QEMU inherits, so there is no socket file for anyone else to open and
none to leave behind. The kernel ends QEMU when the harness dies, whatever kills it (`setpriv --pdeathsig`).
"""

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import NicproofError
from harness.qemu.binary import Qemu
from harness.qemu.console import Console
from harness.qemu.monitor import Monitor, MonitorLost

HEADROOM_MIB = 192
"""What a QEMU needs beyond its guest's memory: its own code and caches, measured under TCG."""


class QemuDied(NicproofError):
    """The process ended though nobody asked it to."""


def available_mib() -> int:
    """Return the host's memory, in MiB, that can be had without swapping."""
    # MemAvailable:   23873092 kB
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise NicproofError("/proc/meminfo has no MemAvailable: cannot tell whether another guest fits")


class QemuProcess:
    """A running QEMU, its monitor, its console and the harness's end of the DUT's cable.

    Attributes:
        monitor: the QMP session.
        console: the guest's first serial port.
        serial: the harness's end of the guest's second serial port, if it has one.
        cable: a datagram socket; each datagram is one Ethernet frame without FCS.
        argv: the whole command line, to be shown to people.
        version: QEMU's.
        directory: where the console log, the trace log and QEMU's own messages lie.
    """

    def __init__(
        self,
        qemu: Qemu,
        hardware: Sequence[str],
        directory: Path,
        *,
        memory_mib: int,
        cable_id: str = "dut",
        second_serial: bool = False,
        paused: bool = False,
        incoming: bool = False,
        outlive_harness: bool = False,
    ) -> None:
        """Start QEMU.

        Args:
            qemu: which build.
            hardware: the machine's part of the command line, without monitor, console and cable.
            directory: an existing private directory for its logs.
            memory_mib: guest memory in MiB; refused beforehand if the host has no room for it.
            cable_id: the netdev id by which `hardware` refers to the cable.
            second_serial: give the guest a second serial port.
            paused: wait for `cont` before the first instruction.
            incoming: wait for a snapshot to be loaded.
            outlive_harness: keep running when the harness ends.

        Raises:
            NicproofError: no memory, or QEMU did not start (with QEMU's own words).
        """
        needed = memory_mib + HEADROOM_MIB
        if (available := available_mib()) < needed:
            raise NicproofError(
                f"not enough memory for another guest: it needs {needed} MiB, the host has {available} MiB available; "
                "run fewer workers (-n 1) or lower machine.memory_mib in the profile"
            )
        self.directory = directory
        self.version = qemu.version
        self._twin = partial(
            QemuProcess,
            qemu,
            hardware,
            memory_mib=memory_mib,
            cable_id=cable_id,
            second_serial=second_serial,
            incoming=True,
            outlive_harness=outlive_harness,
        )
        self._ended_on_purpose = False
        self._last_words: str | None = None
        monitor_here, monitor_there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        console_here, console_there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.cable, cable_there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        theirs = [monitor_there, console_there, cable_there]
        self.serial: socket.socket | None = None
        port: tuple[str, ...] = ()
        if second_serial:
            self.serial, serial_there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            theirs.append(serial_there)
            port = ("-chardev", f"socket,id=serial,fd={serial_there.fileno()}", "-serial", "chardev:serial")
        self.argv: tuple[str, ...] = (
            *qemu.argv,
            *hardware,
            *("-chardev", f"socket,id=monitor,fd={monitor_there.fileno()}", "-mon", "chardev=monitor,mode=control"),
            *("-chardev", f"socket,id=console,fd={console_there.fileno()}", "-serial", "chardev:console"),
            *port,
            *("-netdev", f"dgram,id={cable_id},local.type=fd,local.str={cable_there.fileno()}"),
            *("-D", str(directory / "trace.log")),
            *(("-S",) if paused else ()),
            *(("-incoming", "defer") if incoming else ()),
        )
        guard = () if outlive_harness else ("setpriv", "--pdeathsig", "KILL", "--")
        with (directory / "qemu.log").open("wb") as messages:
            try:
                self._process = subprocess.Popen(
                    [*guard, *self.argv],
                    stdin=subprocess.DEVNULL,
                    stdout=messages,
                    stderr=messages,
                    env={**os.environ, **qemu.env},
                    pass_fds=[end.fileno() for end in theirs],
                    start_new_session=True,  # Ctrl-C is for the harness, which then ends QEMU itself
                )
            except OSError as error:
                raise NicproofError(f"cannot start QEMU ({self.argv[0]}): {error.strerror}") from None
            finally:
                for end in theirs:
                    end.close()
        self.console = Console(console_here, directory / "console.log")
        try:
            self.monitor = Monitor(monitor_here)
        except MonitorLost as lost:
            self.kill()
            raise NicproofError(f"QEMU did not start: {self.messages() or lost}") from None
        except BaseException:
            self.kill()
            raise

    def twin(self, directory: Path) -> "QemuProcess":
        """Start the same machine once more, to go on from this one's state; `directory` is its own.

        Raises:
            NicproofError: as at the first start.
        """
        return self._twin(directory)

    @property
    def pid(self) -> int:
        """Process id of QEMU itself."""
        return self._process.pid

    def messages(self) -> str:
        """What QEMU itself printed, on one line; after `kill` too, when its folder may be gone."""
        if self._last_words is not None:
            return self._last_words
        text = (self.directory / "qemu.log").read_text(errors="replace")
        return "; ".join(line for line in text.splitlines() if line.strip())

    def command_line(self) -> str:
        """The command line, quoted for a shell."""
        return shlex.join(self.argv)

    def _status(self) -> int | None:
        """How it ended; a QEMU that has closed its monitor is waited for, because that is the first thing to end."""
        if hasattr(self, "monitor") and self.monitor.closed:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        return self._process.poll()

    def death(self) -> str | None:
        """How QEMU ended, if it ended though nobody asked it to; else None."""
        if self._ended_on_purpose or (status := self._status()) is None:
            return None
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        messages = self.messages()
        return f"QEMU {how}" + (f": {messages}" if messages else "")

    @property
    def killed(self) -> bool:
        """Whether it was ended by `kill`, and has no monitor any more."""
        return not hasattr(self, "monitor")

    @property
    def crashed(self) -> bool:
        """Whether QEMU ended by a fault of its own (abort, segmentation fault): a finding about the device model."""
        status = self._status()
        faults = (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGILL, -signal.SIGFPE)
        return not self._ended_on_purpose and status in faults

    def kill(self) -> None:
        """End QEMU at once and close everything that belonged to it. May be called twice."""
        self._ended_on_purpose = self._ended_on_purpose or self._status() is None
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait(30)
        self._last_words = self.messages()
        if hasattr(self, "monitor"):
            self.monitor.close()
            del self.monitor
        self.console.close()
        self.cable.close()
        if self.serial is not None:
            self.serial.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
