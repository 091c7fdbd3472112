"""When a guest is ready: the event that its profile names has come, and its DUT answers."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from harness.endpoint.bootstrap import START_DEADLINE_S
from harness.endpoint.cable import Direction
from harness.errors import InputError, NicproofError
from harness.fate import BLUE_SCREEN, told_machine
from harness.profile import BuiltImage, Typed
from harness.qemu.console import Console
from harness.qemu.monitor import MonitorLost
from harness.qemu.process import QemuDied
from harness.qemu.screen import StillScreen
from harness.station import DUT
from harness.testbed import Testbed

FUNCTION_READY = "nicproof: function ready"
FAILED = "nicproof: failed: (.*)"
FUNCTION_DEADLINE_S = 60.0
"""For a virtual function, which takes 2 to 4 s; a guest that cannot make it says so itself, and sooner."""
SETTLE_DEADLINE_S = 15.0
FUNCTION_SETTLES_S = 30.0
"""For a virtual function's first answer: igbvf that has missed a message of its physical function's resets itself after
10 s without a link (igbvf_has_link in drivers/net/ethernet/intel/igbvf/netdev.c)."""
ENDPOINT_READY = "nicproof: endpoint ready"


class BootFailure(NicproofError):
    """A guest did not become ready."""

    def __init__(self, message: str, papers: Mapping[str, str | bytes]) -> None:
        """Say why, and take along what explains it: files by name."""
        super().__init__(message)
        self.papers = papers


def wait_ready(bed: Testbed, heard: int = 0) -> None:
    """Wait for the event that the profile names, and then for screen and cable to be quiet if it names that too.

    Args:
        bed: whose guest boots.
        heard: how much its console had said before that, in characters.

    Raises:
        BootFailure: the guest broke, or was not ready within the profile's deadline.
        InputError: the profile has a mistake that lets nobody in.
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
        except InputError:  # no waiting heals it
            raise
        except NicproofError as error:
            refusal = f" ({error})"
            return False
        return True

    if (text := ready.console) is not None:
        wanted.append((f"console text {text!r}", lambda: text in console.text[heard:]))
    if ready.ssh:
        wanted.append(("SSH", ssh_answers))
    if ready.dhcp:
        wanted.append(("a DHCP request", bed.neighbour.dhcp_asked.is_set))
    if ready.arp:
        wanted.append(("an ARP answer", lambda: _answers_arp(bed)))
    dialogue = _Dialogue(console, ready.dialogue, heard)
    screen = StillScreen(bed.screen, ready.quiet_screen_s or 0.0) if bed.screen else None
    end = time.monotonic() + ready.deadline_s

    def awaited() -> str:
        """Say what has yet to come; nothing once the guest is ready."""
        if left := dialogue.go_on():
            return f"console text {left[0].expect!r}"
        if wanted and not any(came() for _, came in wanted):
            return " or ".join(name for name, _ in wanted) + refusal
        still = _stands_still(screen)
        if ready.quiet_screen_s and not still:
            return f"a screen that stands still for {ready.quiet_screen_s:g} s"
        if ready.quiet_cable_s and not _is_quiet(bed, ready.quiet_cable_s):
            return f"a first frame from the DUT and then none for {ready.quiet_cable_s:g} s"
        return ""

    while what := awaited():
        if (death := bed.vm.death()) is not None:
            raise QemuDied(f"{cell.id}: {death} while the guest booted")
        if (crash := _crash(bed, screen)) is not None:
            raise BootFailure(f"{cell.id}: the guest broke while it booted: {crash}", bed.papers())
        if time.monotonic() > end:
            lines = console.text.strip().splitlines()
            last = f"the console's last line: {lines[-1].strip()!r}" if lines else "its console is silent"
            with suppress(NicproofError):
                if resets := sum(event["event"] == "RESET" for event in bed.vm.monitor.fate()):
                    last += f"; it reset its machine {resets} times"
            waited = f"not ready within {ready.deadline_s:g} s, waiting for {what}"
            raise BootFailure(f"{cell.id}: {waited}; {last}", bed.papers())
        console.wait_for_more(0.05)


def _crash(bed: Testbed, screen: StillScreen | None) -> str | None:
    """Return how a guest broke while it boots, or None; resetting its machine is no crash then."""
    if (crash := bed.crash_on_console()) is not None:
        return crash
    _stands_still(screen)
    if screen is not None and screen.is_blue:
        return BLUE_SCREEN
    with suppress(NicproofError):  # that QEMU is gone is found elsewhere
        return told_machine(bed.vm.monitor, may_reset=True)
    return None


def _stands_still(screen: StillScreen | None) -> bool:
    with suppress(NicproofError):  # that QEMU is gone is found elsewhere
        return screen is not None and screen.look()
    return False


def _is_quiet(bed: Testbed, seconds: float) -> bool:
    """Whether the DUT has sent something, and nothing more for so many seconds."""
    sent = [record.time for record in list(bed.cable.records) if record.direction is Direction.FROM_DUT]
    return bool(sent) and time.time() - sent[-1] >= seconds


class _Dialogue:
    """Types what a guest is to be told while it boots."""

    def __init__(self, console: Console, steps: Sequence[Typed], heard: int) -> None:
        self._console = console
        self._left = deque(steps)
        self._heard = heard

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
        NicproofError: it said why it has not.
    """
    console = bed.vm.console
    start = len(console.text)
    console.send("\n")
    if why := console.wait_for(f"{FUNCTION_READY}|{FAILED}", FUNCTION_DEADLINE_S, start)[1]:
        raise NicproofError(f"the guest could not make the virtual function: {why}")
    settle(bed, FUNCTION_SETTLES_S)


def wait_for_endpoint(bed: Testbed, heard: int = 0) -> bool:
    """Wait until the endpoint is loaded that a guest starts by itself; return whether this one does.

    Args:
        bed: the guest's.
        heard: how much its console had said before, in characters.

    Raises:
        ConsoleTimeout: the guest did not say so.
    """
    starts = isinstance(bed.cell.profile.image, BuiltImage) and bed.cell.profile.control != "none"
    if starts:
        bed.vm.console.wait_for(ENDPOINT_READY, START_DEADLINE_S, heard)
    return starts


def reboot(bed: Testbed, *, with_link: bool = True) -> None:
    """Reset the whole machine, as its button does, and wait until its guest is ready again.

    Args:
        bed: whose machine.
        with_link: wait until the DUT answers, too, as one without a cable never does.

    Raises:
        BootFailure: it was not.
    """
    bed.log_out()
    bed.neighbour.dhcp_asked.clear()
    heard = len(bed.vm.console.text)
    bed.vm.monitor.execute("system_reset")
    wait_ready(bed, heard)
    bed.vm.monitor.forget_fate()  # SeaBIOS, which finds that it has run before, resets the machine once more
    wait_for_endpoint(bed, heard)  # who asked for it sooner would have a second one started
    if with_link:
        settle(bed)


def restart(bed: Testbed) -> None:
    """Have the guest restart itself, which leaves its disk whole, and wait until it is ready again.

    Raises:
        BootFailure: it did not within the profile's deadline, or was not ready again.
        QemuDied: QEMU ended meanwhile.
    """
    deadline_s = bed.cell.profile.ready.deadline_s
    bed.neighbour.dhcp_asked.clear()
    heard = len(bed.vm.console.text)
    bed.vm.monitor.forget_events()
    bed.guest.restart()
    try:
        bed.vm.monitor.wait_event("the guest's restart", lambda event: event["event"] == "RESET", deadline_s)
    except MonitorLost:
        if (death := bed.vm.death()) is not None:
            raise QemuDied(f"{bed.cell.id}: {death} while the guest restarted") from None
        what = f"{bed.cell.id}: the guest was told to restart and did not reset its machine within {deadline_s:g} s"
        raise BootFailure(what, bed.papers()) from None
    bed.log_out()
    wait_ready(bed, heard)
    bed.vm.monitor.forget_fate()
    wait_for_endpoint(bed, heard)


def settle(bed: Testbed, deadline_s: float = SETTLE_DEADLINE_S) -> None:
    """Wait until the DUT answers, and then for its IPv6 address, which a virtual function has later than its lease.

    One that never does is let go on: that is for the tests to find.
    """
    answers = [(_answers_arp, deadline_s)]
    if "icmpv6" not in bed.cell.profile.lacks:
        answers.append((_answers_solicitation, SETTLE_DEADLINE_S))
    for answer, patience_s in answers:
        end = time.monotonic() + patience_s
        while not answer(bed) and time.monotonic() < end and bed.death() is None:
            pass  # each round waits for an answer itself


def _answers_solicitation(bed: Testbed) -> bool:
    return bed.wire.solicit(DUT.ip6, deadline_s=0.2) is not None


def _answers_arp(bed: Testbed) -> bool:
    return bed.wire.resolve(DUT.ip, deadline_s=0.2) is not None
