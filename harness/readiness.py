"""When a guest is ready: the event that its profile names has come, and its DUT answers."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from harness.errors import NicproofError
from harness.profile import Typed
from harness.qemu.console import Console
from harness.qemu.process import QemuDied
from harness.station import DUT
from harness.testbed import Testbed

FUNCTION_READY = "nicproof: function ready"
SETTLE_DEADLINE_S = 15.0


class BootFailure(NicproofError):
    """A guest did not become ready."""

    def __init__(self, message: str, console: str) -> None:
        """Say why, and take along what the guest said until then."""
        super().__init__(message)
        self.console = console


def wait_ready(bed: Testbed) -> None:
    """Wait for the event that the profile names.

    Raises:
        BootFailure: the guest panicked, or none of the events came within the profile's deadline.
        QemuDied: QEMU ended meanwhile.
    """
    cell, console = bed.cell, bed.vm.console
    ready = cell.profile.ready
    wanted: list[tuple[str, Callable[[], bool]]] = []
    refusal = ""

    def ssh_answers() -> bool:
        nonlocal refusal
        try:
            bed.connect().close()
        except NicproofError as error:
            refusal = f" ({error})"
            return False
        return True

    if (text := ready.console) is not None:
        wanted.append((f"console text {text!r}", lambda: text in console.text))
    if ready.ssh:
        wanted.append(("SSH", ssh_answers))
    if ready.dhcp:
        wanted.append(("a DHCP request", bed.neighbour.dhcp_asked.is_set))
    if ready.arp:
        wanted.append(("an ARP answer", lambda: _answers_arp(bed)))
    dialogue = _Dialogue(console, ready.dialogue)
    names = " or ".join(name for name, _ in wanted)
    end = time.monotonic() + ready.deadline_s
    while (left := dialogue.go_on()) or not any(came() for _, came in wanted):
        if (death := bed.vm.death()) is not None:
            raise QemuDied(f"{cell.id}: {death} while the guest booted")
        if (crash := bed.crash()) is not None:
            raise BootFailure(f"{cell.id}: the guest broke while it booted: {crash}", console.text)
        if time.monotonic() > end:
            lines = console.text.strip().splitlines()
            last = f"the console's last line: {lines[-1].strip()!r}" if lines else "its console is silent"
            awaited = f"console text {left[0].expect!r}" if left else names
            waited = f"not ready within {ready.deadline_s:g} s, waiting for {awaited}{refusal}"
            raise BootFailure(f"{cell.id}: {waited}; {last}", console.text)
        console.wait_for_more(0.05)


class _Dialogue:
    """Types what a guest is to be told while it boots."""

    def __init__(self, console: Console, steps: Sequence[Typed]) -> None:
        self._console = console
        self._left = deque(steps)
        self._heard = 0

    def go_on(self) -> Sequence[Typed]:
        """Type whatever the guest has asked for by now, and return what it has not asked for yet."""
        while self._left and (at := self._console.text.find(self._left[0].expect, self._heard)) >= 0:
            said = self._left.popleft()
            self._heard = at + len(said.expect)
            self._console.send(said.send)
        return self._left


def make_function(bed: Testbed) -> None:
    """Have the guest's physical function make the virtual one: QEMU's snapshots do not hold it.

    Raises:
        ConsoleTimeout: the guest did not say that it has it.
    """
    bed.vm.console.send("\n")
    bed.vm.console.wait_for(FUNCTION_READY, SETTLE_DEADLINE_S)
    settle(bed)


def settle(bed: Testbed) -> None:
    """Wait until the DUT answers: a virtual function's IPv6 address comes later than its lease.

    One that never does is let go on: that is for the tests to find.
    """
    end = time.monotonic() + SETTLE_DEADLINE_S
    answers = [_answers_arp]
    if "icmpv6" not in bed.cell.profile.lacks:
        answers.append(_answers_solicitation)
    for answer in answers:
        while not answer(bed) and time.monotonic() < end and bed.death() is None:
            pass  # each round waits for an answer itself


def _answers_solicitation(bed: Testbed) -> bool:
    return bed.wire.solicit(DUT.ip6, deadline_s=0.2) is not None


def _answers_arp(bed: Testbed) -> bool:
    return bed.wire.resolve(DUT.ip, deadline_s=0.2) is not None
