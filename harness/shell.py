"""A person's session with a cell: a shell in its guest, or its console, and a scapy prompt on its cable."""

import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.cell import Cell
from harness.endpoint.jack import Jack, plug_in
from harness.endpoint.wire import Wire
from harness.errors import NicproofError
from harness.launcher import Launcher
from harness.qemu.console import Console
from harness.station import DUT, WIRE
from harness.testbed import Testbed

_LEAVE = b"\x1d"
"""Ctrl-], as telnet has it: it leaves a console that has no shell to leave."""

_ALIAS = "guest"
"""The guest's name in the file of known host keys; its port differs from run to run."""

_BANNER = f"""The DUT's cable is the default interface. The DUT is {DUT.mac} {DUT.ip} {DUT.ip6}.
>>> srp1(Ether(src=WIRE.mac, dst=DUT.mac) / IP(src=WIRE.ip, dst=DUT.ip) / ICMP(), timeout=2)
`wire` is what the suites' tests have under this name."""


def run_shell(launcher: Launcher, cell: Cell, say: Callable[[str], None]) -> int:
    """Fork the cell, give its guest to the person at the terminal, and end it when they leave.

    Args:
        launcher: with which QEMU.
        cell: the cell.
        say: shows a line to the person.

    Returns:
        The exit status of the guest's shell; 0 for a console or a shell on a serial port.

    Raises:
        NicproofError: the guest cannot be had, or ended under its user.
    """
    with _ended_by_signals():
        testbed = launcher.fork(cell, launcher.saved(cell))
        try:
            with Jack(testbed.cable, testbed.vm.directory / "wire") as _:
                say(f"{cell.id}: {launcher.accel.name}, QEMU {launcher.qemu.version}, process {testbed.vm.pid}")
                say(f"scapy on its cable: {command_line()} scapy {shlex.quote(str(testbed.vm.directory / 'wire'))}")
                status = {"none": _console, "serial": _serial, "ssh": _ssh}[cell.profile.control](testbed, say)
            if death := testbed.vm.death():
                raise NicproofError(f"{cell.id}: {death}")
            return status
        finally:
            testbed.close()


def command_line() -> str:
    """Return how a person runs this very `nicproof` from any directory."""
    program = Path(sys.argv[0]).absolute()
    if program.name == "nicproof":
        return shlex.quote(str(program))
    root = Path(__file__).resolve().parents[1]
    return f"PYTHONPATH={shlex.quote(str(root))} {shlex.quote(sys.executable)} -m harness.cli"


def run_scapy(path: Path) -> None:
    """Open scapy's prompt on the cable behind a jack.

    Raises:
        InputError: there is no such jack.
    """
    wire = Wire(plug_in(path))
    import scapy.all  # a second and more: only where it is needed
    from scapy.main import interact

    scapy.all.conf.iface = wire.interface
    print(_BANNER)  # scapy shows a banner of ours in some of its shells only
    interact({"wire": wire, "DUT": DUT, "WIRE": WIRE}, argv=["scapy", "-H"])  # -H: without its logo


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Turn the signals that end a process into an exception, so that the guest ends as after any session."""

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ssh(testbed: Testbed, say: Callable[[str], None]) -> int:
    say("ssh: leave with exit or Ctrl-D; the guest ends then")
    program = shutil.which("ssh")
    if program is None:
        return _paramiko(testbed)
    image = testbed.image
    if image.host_key is None:
        trust = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
    else:
        known = testbed.vm.directory / "known_hosts"
        known.write_text(f"{_ALIAS} {image.host_key}\n")
        trust = ["StrictHostKeyChecking=yes", f'UserKnownHostsFile="{known}"', f"HostKeyAlias={_ALIAS}"]
    options = [*trust, "IdentitiesOnly=yes", "BatchMode=yes", "LogLevel=ERROR"]
    command = [program, "-F", "none", "-i", str(image.ssh_key), "-p", str(testbed.ssh_port())]
    command += [f"-o{option}" for option in options]
    return subprocess.call([*command, f"{image.user}@127.0.0.1"])


def _paramiko(testbed: Testbed) -> int:
    ssh = testbed.connect()
    try:
        size = shutil.get_terminal_size()
        with _raw_terminal() as is_terminal:
            terminal = (os.environ.get("TERM", "vt100"), size.columns, size.lines) if is_terminal else None
            channel = ssh.shell(terminal)
            _relay(lambda: channel.recv(65536), channel.sendall, at_end=channel.shutdown_write)
        return channel.recv_exit_status()
    finally:
        ssh.close()


def _console(testbed: Testbed, say: Callable[[str], None]) -> int:
    say("nobody can log in to this guest: this is its serial console. Leave with Ctrl-]; the guest ends then")
    left = threading.Event()
    heard = _heard(testbed, left)
    with _raw_terminal() as is_terminal:
        end_of_line = b"\r\n" if is_terminal else b"\n"
        try:
            _relay(
                lambda: next(heard, b"").replace(b"\n", end_of_line),
                lambda typed: testbed.vm.console.send(typed.decode(errors="replace")),
                leave=_LEAVE,
            )
        finally:
            left.set()
    return 0


def _serial(testbed: Testbed, say: Callable[[str], None]) -> int:
    """Give the shell on the second serial port, a line at a time: it has no terminal that could edit one."""
    say("this is the shell on COM2, a line at a time. Leave with Ctrl-D; the guest ends then")
    port = testbed.vm.serial
    if port is None:
        raise NicproofError(f"{testbed.cell.id}: the guest has no second serial port")
    port.settimeout(None)
    port.sendall(b"\r\n")  # it shows where it is
    _relay(lambda: port.recv(65536), lambda typed: port.sendall(typed.replace(b"\n", b"\r\n")))
    return 0


def _heard(testbed: Testbed, left: threading.Event) -> Iterator[bytes]:
    """Return what the guest says from now on, piece by piece, until it has ended or the person has left."""
    console: Console = testbed.vm.console
    seen = len(console.text)
    while not left.is_set() and testbed.vm.death() is None:
        console.wait_for_more(0.5)
        text = console.text
        if len(text) > seen:
            yield text[seen:].encode()
            seen = len(text)


@contextmanager
def _raw_terminal() -> Iterator[bool]:
    """Pass on each key as it is pressed, also Ctrl-C; says whether there is a terminal at all."""
    keyboard = sys.stdin.fileno()
    if not os.isatty(keyboard):
        yield False
        return
    before = termios.tcgetattr(keyboard)
    tty.setraw(keyboard)
    try:
        yield True
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _relay(
    receive: Callable[[], bytes],
    send: Callable[[bytes], object],
    *,
    at_end: Callable[[], object] | None = None,
    leave: bytes | None = None,
) -> None:
    """Connect the terminal to the guest until one of the two ends.

    Args:
        receive: waits for what the guest says; empty: it says no more.
        send: takes what the person types.
        at_end: called when there is no more input; then the guest is heard to its end. None: the end of input ends all.
        leave: the key that ends all.
    """
    over_here, over_there = os.pipe()

    def listen() -> None:
        with open(over_there, "wb", 0) as heard, suppress(OSError):  # the person has left, or the guest has ended
            while said := receive():
                heard.write(said)

    threading.Thread(target=listen, name="listener", daemon=True).start()
    keyboard, watched = sys.stdin.fileno(), [sys.stdin.fileno(), over_here]
    try:
        while True:
            ready, _, _ = select.select(watched, [], [])
            if over_here in ready:
                if not (said := os.read(over_here, 65536)):
                    return
                os.write(sys.stdout.fileno(), said)
            if keyboard not in ready:
                continue
            typed = os.read(keyboard, 4096)
            if typed and not (leave and leave in typed):
                send(typed)
            elif typed or at_end is None:
                return
            else:
                at_end()
                watched.remove(keyboard)
    finally:
        os.close(over_here)
