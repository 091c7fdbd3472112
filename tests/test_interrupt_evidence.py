"""Both kinds of evidence of delivered interrupts: they agree where both can be had, and KVM really gives its own."""

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from harness.cell import Cell, find_cell
from harness.errors import Unsupported
from harness.launcher import Launcher
from harness.nic import InterruptMode
from harness.qemu.accel import choose_accel
from harness.qemu.binary import Qemu, find_qemu
from harness.qemu.interrupts import AT_PROCESSORS, ON_THE_WAY, Evidence, Own, on_the_way, own
from harness.station import DUT, WIRE
from harness.testbed import Testbed

# One cell for each way that an interrupt can take.
CELLS = {
    "linux/e1000/intx-pic": InterruptMode.INTX_PIC,
    "linux/e1000e/intx": InterruptMode.INTX,
    "linux/igb/msix": InterruptMode.MSIX,
    "linux/igbvf/msix": InterruptMode.MSIX,
    "linux/igb/msix-remapped": InterruptMode.MSIX_REMAPPED,
    "linux/virtio-net/msix": InterruptMode.MSIX,
}


@pytest.fixture(scope="module")
def qemu() -> Qemu:
    return find_qemu(None)


@pytest.fixture(scope="module")
def fork(qemu: Qemu) -> Callable[[Cell], Testbed]:
    launcher = Launcher(qemu, choose_accel(qemu, "tcg"))
    return lambda cell: launcher.fork(cell, launcher.saved(cell))


def ping(testbed: Testbed, number: int) -> bool:
    request = Ether(src=WIRE.mac, dst=DUT.mac) / IP(src=WIRE.ip, dst=DUT.ip) / ICMP(id=7, seq=number)
    answer = testbed.wire.ask(
        Ether(bytes(request).ljust(60, b"\0")),
        lambda packet: ICMP in packet and (packet[ICMP].type, packet[ICMP].seq) == (0, number),
    )
    return answer is not None


@pytest.mark.parametrize("name", CELLS)
def test_both_kinds_count_the_same_interrupts(name: str, fork: Callable[[Cell], Testbed]) -> None:
    testbed = fork(find_cell(name))
    try:
        monitor = testbed.vm.monitor
        monitor.execute("stop")  # the events are switched one by one: not while some of them already happen
        before = testbed.programmed()
        with testbed.trace.window(AT_PROCESSORS, ON_THE_WAY) as window:
            monitor.execute("cont")
            answered = [ping(testbed, number) for number in range(20)]
            monitor.execute("stop")
            trace, mine = window.text(), own([before, testbed.programmed()])
    finally:
        testbed.close()
    assert all(answered), "no traffic, nothing to count"
    strong, weak = AT_PROCESSORS.count(trace, mine), ON_THE_WAY.count(trace, mine)
    assert strong.total >= 20
    assert strong.ways == {CELLS[name]}
    assert weak == strong


def test_the_evidence_is_the_strongest_that_the_acceleration_allows(fork: Callable[[Cell], Testbed]) -> None:
    testbed = fork(find_cell("linux/virtio-net/msix"))
    try:
        assert testbed.trace.evidence() is AT_PROCESSORS
        unknown = Evidence(("no_such_event",), AT_PROCESSORS.count)
        with pytest.raises(Unsupported, match="does not trace no_such_event"), testbed.trace.window(unknown):
            pass
    finally:
        testbed.close()


def test_a_level_counts_again_only_after_the_guest_acknowledged_it() -> None:
    mine = Own(messages={}, through_msi=False, targets=frozenset(), pins={20: True}, irqs=frozenset())
    passed_on = "ioapic_set_remote_irr set remote irr for pin 20\n"
    acknowledged = "ioapic_clear_remote_irr clear remote irr for pin 20 vector 33\n"
    other = passed_on.replace("20", "21")
    assert on_the_way(passed_on * 2, mine).ioapic == 0
    assert on_the_way(passed_on + acknowledged + passed_on * 3 + other + acknowledged + passed_on, mine).ioapic == 2


BARS = {0: 0xFE000000, 3: 0xFE040000}


class PausedKvm:
    """A QEMU under KVM whose processors never run: its devices are driven by QEMU's own test protocol."""

    def __init__(self, qemu: Qemu, folder: Path) -> None:
        self.log = folder / "trace.log"
        events = [word for event in ON_THE_WAY.events for word in ("-trace", event)]
        self.process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "--"),
                *qemu.argv,
                *("-accel", "kvm", "-machine", "q35,kernel-irqchip=split", "-smp", "2", "-m", "32", "-S"),
                *("-no-user-config", "-nodefaults", "-display", "none", "-D", str(self.log), *events),
                *("-device", "e1000e,addr=4,romfile=", "-qtest", "stdio", "-qtest-log", "none"),
            ],
            env={**os.environ, **qemu.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.answers = selectors.DefaultSelector()
        assert self.process.stdout is not None
        self.answers.register(self.process.stdout, selectors.EVENT_READ)

    def do(self, command: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        assert self.answers.select(30), f"QEMU does not answer {command}"
        answer = self.process.stdout.readline()
        assert answer.startswith("OK"), f"{command}: {answer!r}"
        return answer

    def write(self, address: int, value: int) -> None:
        self.do(f"writel {address:#x} {value:#x}")

    def configure(self, offset: int, value: int) -> None:
        self.do(f"outl 0xcf8 {1 << 31 | 4 << 11 | offset:#x}")
        self.do(f"outl 0xcfc {value:#x}")

    def trace(self, wanted: str) -> str:
        end = time.monotonic() + 10
        while wanted not in (text := self.log.read_text()):
            assert time.monotonic() < end, f"no {wanted} in the trace"
        return text

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def paused_kvm(qemu: Qemu, tmp_path: Path) -> Iterator[PausedKvm]:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be opened on this host")
    machine = PausedKvm(qemu, tmp_path)
    try:
        yield machine
    finally:
        machine.end()


def test_under_kvm_a_message_and_a_line_of_a_real_device_are_seen(paused_kvm: PausedKvm) -> None:
    registers, table = BARS[0], BARS[3]
    for bar, address in BARS.items():
        paused_kvm.configure(0x10 + 4 * bar, address)
    paused_kvm.configure(0x04, 0x6)  # memory decoding, bus mastering
    paused_kvm.configure(0xA0, 1 << 31 | 0x11)  # MSI-X enabled
    for offset, value in enumerate((0xFEE01000, 0, 0x41, 0)):  # entry 1: to processor 1, vector 0x41
        paused_kvm.write(table + 16 + 4 * offset, value)
    paused_kvm.write(registers + 0xE4, 0x9)  # IVAR (82574L 10.2.4.8): receive queue 0 has vector 1
    for register in (0xD0, 0xC8):  # IMS, ICS: allow and raise the cause of receive queue 0
        paused_kvm.write(registers + register, 1 << 20)
    paused_kvm.configure(0xA0, 0x11)  # MSI-X off: the line, which is pin 20 in slot 4
    for redirection, value in ((2 * 20 + 1, 1 << 24), (2 * 20, 0xA055)):
        paused_kvm.write(0xFEC00000, 0x10 + redirection)
        paused_kvm.write(0xFEC00010, value)
    paused_kvm.write(registers + 0xD8, 0xFFFFFFFF)  # IMC
    for register in (0xD0, 0xC8):  # a change of the link
        paused_kvm.write(registers + register, 1 << 2)
    mine = Own({(0xFEE01000, 0x41): 1}, False, frozenset(), {20: False}, frozenset())
    seen = on_the_way(paused_kvm.trace("ioapic_set_remote_irr"), mine)
    assert (seen.messages, seen.ioapic) == ({1: 1}, 1)
