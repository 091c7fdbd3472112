"""Which interrupts a function really had delivered: QEMU's trace, read against what the driver has programmed.

Nothing here needs the guest's help, and no event is a device's own: what the device has programmed says which of the
traced interrupts are its (MSI and MSI-X by address and data, a line by its pin), so one mechanism serves every NIC
model and two NICs of one family cannot be confused. How far the trace follows an interrupt depends on where the
interrupt controllers are:

                 emulation (TCG)                            KVM, kernel-irqchip=split
    message      at the local APIC: apic_deliver_irq,       on its way into the local APICs' window, as the device
                 and vtd_ir_remap_msi if remapped           wrote it: memory_region_ops_write
    IO-APIC      at the local APIC: apic_deliver_irq        at the IO-APIC: ioapic_set_remote_irr
    8259 pair    at the processor: pic_interrupt            at the processor: pic_interrupt

Under KVM the local APICs are the kernel's and trace nothing, and QEMU 8 and newer refuse to have them in QEMU. Both
kinds of evidence count the same: each message once, merged with a pending one or not; a level once, and not again
before the guest has acknowledged it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import Unsupported
from harness.nic import InterruptMode
from harness.qemu.line import LineState
from harness.qemu.monitor import CommandRefused
from harness.qemu.pci import Message, PciFunction
from harness.qemu.process import QemuProcess


@dataclass(frozen=True)
class Delivery:
    """The interrupts of one function that were delivered during a window."""

    messages: Mapping[int, int] = field(default_factory=dict)
    """Vector (MSI-X table entry; 0 for MSI) -> times; a vector that had none is absent."""
    through_msi: bool = False
    """Whether the messages are the MSI capability's, not MSI-X table entries'."""
    remapped: int = 0
    """How many of the messages VT-d remapped."""
    ioapic: int = 0
    """Times its line reached a local APIC through the IO-APIC."""
    pic: int = 0
    """Times its line reached the processor through the 8259 pair."""

    @property
    def total(self) -> int:
        """All deliveries, whatever their way."""
        return sum(self.messages.values()) + self.ioapic + self.pic

    @property
    def ways(self) -> frozenset[InterruptMode]:
        """Every way on which at least one interrupt came; MSIX stands for shared vectors too."""
        found = set()
        if self.messages and self.through_msi:
            found.add(InterruptMode.MSI)
        elif self.messages:
            found.add(InterruptMode.MSIX_REMAPPED if self.remapped else InterruptMode.MSIX)
        if self.ioapic:
            found.add(InterruptMode.INTX)
        if self.pic:
            found.add(InterruptMode.INTX_PIC)
        return frozenset(found)

    def __str__(self) -> str:
        parts = [f"vector {number}: {count}" for number, count in sorted(self.messages.items())]
        parts += [f"IO-APIC: {self.ioapic}"] if self.ioapic else []
        parts += [f"8259: {self.pic}"] if self.pic else []
        return ", ".join(parts) or "none"


@dataclass(frozen=True)
class Programmed:
    """What the device and the controllers had programmed at one moment."""

    function: PciFunction
    line: LineState | None


@dataclass(frozen=True)
class Own:
    """What in a trace belongs to one function, by all that was programmed during the window."""

    messages: Mapping[tuple[int, int], int]
    """(address, data) -> vector."""
    through_msi: bool
    targets: frozenset[tuple[int, int]]
    """(destination, vector) of the redirection entries of its line's pin, while open."""
    pins: Mapping[int, bool]
    """IO-APIC pin of its line, while open -> whether a delivery was unacknowledged when the window began."""
    irqs: frozenset[int]
    """8259 input of its line, while open."""


def own(programmed: list[Programmed]) -> Own:
    """Gather what belongs to the function as it was `programmed`: at the start, at the end, and between if known."""
    messages: dict[tuple[int, int], int] = {}
    targets: set[tuple[int, int]] = set()
    pins: dict[int, bool] = {}
    irqs: set[int] = set()
    through_msi = False
    for state in programmed:
        function, line = state.function, state.line
        table: tuple[Message, ...] = function.msix if function.msix_enabled else ()
        if function.msi_enabled and function.msi is not None and not function.msix_enabled:
            table, through_msi = (function.msi,), True
        for number, message in enumerate(table):
            if message.granted:
                messages[message.address, message.data] = number
        if line is not None and function.intx_enabled and not table:
            if line.ioapic_open:
                targets.add(line.ioapic_target)
                pins.setdefault(line.line.ioapic_pin, line.ioapic_busy)
            if line.pic_open and line.line.pic_irq is not None:
                irqs.add(line.line.pic_irq)
    return Own(messages, through_msi, frozenset(targets), pins, frozenset(irqs))


_PIC = re.compile(r"pic_interrupt irq (\d+) ")

_APIC = re.compile(r"apic_deliver_irq dest (\d+) dest_mode \d+ delivery_mode \d+ vector (\d+) ")
_VTD = re.compile(r"vtd_ir_remap_msi \(addr 0x([0-9a-f]+), data 0x([0-9a-f]+)\) ->")


def at_processors(trace: str, mine: Own) -> Delivery:
    """Count what reached the processors' local APICs, which are QEMU's.

    Args:
        trace: lines such as
            apic_deliver_irq dest 1 dest_mode 0 delivery_mode 0 vector 37 trigger_mode 0
            pic_interrupt irq 11 intno 59
            vtd_ir_remap_msi (addr 0xfee00398, data 0x0) -> (addr 0xfee02004, data 0x25)
        mine: what of it belongs to the function.
    """
    # An address in VT-d's remappable format (VT-d 5.1.2.2: bit 4) names no destination.
    plain = {
        (address >> 12 & 0xFF, data & 0xFF): number
        for (address, data), number in mine.messages.items()
        if not address & 0x10
    }
    messages: Counter[int] = Counter()
    remapped = ioapic = pic = 0
    for line in trace.splitlines():
        if found := _APIC.search(line):
            target = int(found[1]), int(found[2])
            if target in plain:
                messages[plain[target]] += 1
            elif target in mine.targets:
                ioapic += 1
        elif found := _VTD.search(line):
            source = int(found[1], 16), int(found[2], 16)
            if source[0] & 0x10 and source in mine.messages:
                messages[mine.messages[source]] += 1
                remapped += 1
        elif (found := _PIC.search(line)) and int(found[1]) in mine.irqs:
            pic += 1
    return Delivery(dict(messages), mine.through_msi, remapped, ioapic, pic)


_WRITE = re.compile(
    r"memory_region_ops_write cpu -?\d+ mr \w+ addr 0x([0-9a-f]+) value 0x([0-9a-f]+) size 4 "
    r"name '(?:kvm-apic-msi|apic-msi|vtd-ir)'"
)
_PASSED_ON = re.compile(r"ioapic_set_remote_irr set remote irr for pin (\d+)")
_ACKNOWLEDGED = re.compile(r"ioapic_clear_remote_irr clear remote irr for pin (\d+) vector")


def on_the_way(trace: str, mine: Own) -> Delivery:
    """Count what the device and the IO-APIC handed to the local APICs, which are the kernel's.

    Args:
        trace: lines such as
            memory_region_ops_write cpu -1 mr 0x55557abff610 addr 0xfee01000 value 0x41 size 4 name 'kvm-apic-msi'
            ioapic_set_remote_irr set remote irr for pin 20
            ioapic_clear_remote_irr clear remote irr for pin 20 vector 33
            pic_interrupt irq 11 intno 59
            The first is also traced of every other register in the machine. The second is repeated whenever the line is
            raised though the guest has not acknowledged the last time: then nothing is passed on.
        mine: what of it belongs to the function.
    """
    busy = dict(mine.pins)
    messages: Counter[int] = Counter()
    remapped = ioapic = pic = 0
    for line in trace.splitlines():
        if found := _WRITE.search(line):
            message = int(found[1], 16), int(found[2], 16)
            if message in mine.messages:
                messages[mine.messages[message]] += 1
                remapped += bool(message[0] & 0x10)
        elif found := _PASSED_ON.search(line):
            if (pin := int(found[1])) in busy:
                ioapic += not busy[pin]
                busy[pin] = True
        elif found := _ACKNOWLEDGED.search(line):
            if (pin := int(found[1])) in busy:
                busy[pin] = False
        elif (found := _PIC.search(line)) and int(found[1]) in mine.irqs:
            pic += 1
    return Delivery(dict(messages), mine.through_msi, remapped, ioapic, pic)


@dataclass(frozen=True)
class Evidence:
    """A kind of evidence: the events to be traced, and how they are read."""

    events: tuple[str, ...]
    count: Callable[[str, Own], Delivery]


AT_PROCESSORS = Evidence(("apic_deliver_irq", "pic_interrupt", "vtd_ir_remap_msi"), at_processors)
ON_THE_WAY = Evidence(
    ("memory_region_ops_write", "ioapic_set_remote_irr", "ioapic_clear_remote_irr", "pic_interrupt"), on_the_way
)


class Trace:
    """The trace log of one QEMU, switched on only while a window is open."""

    def __init__(self, vm: QemuProcess) -> None:
        self._vm = vm
        self._log: Path = vm.directory / "trace.log"

    def evidence(self) -> Evidence:
        """Return the strongest evidence that this QEMU can give."""
        return ON_THE_WAY if self._vm.monitor.execute("query-kvm")["enabled"] else AT_PROCESSORS

    def _switch(self, events: tuple[str, ...], on: bool) -> None:
        for event in events:
            try:
                self._vm.monitor.execute("trace-event-set-state", name=event, enable=on)
            except CommandRefused as refused:
                reason = f"delivered interrupts cannot be seen: this QEMU does not trace {event} ({refused})"
                raise Unsupported(reason) from None

    @contextmanager
    def window(self, *kinds: Evidence) -> Iterator["Window"]:
        """Trace what the `kinds` of evidence need, from here to the end of the block.

        Raises:
            Unsupported: this QEMU was built without one of the events.
        """
        events = tuple(dict.fromkeys(event for kind in kinds for event in kind.events))
        window = Window(self._log, self._log.stat().st_size if self._log.exists() else 0)
        self._switch(events, True)
        try:
            yield window
        finally:
            self._switch(events, False)


@dataclass(frozen=True)
class Window:
    """A stretch of the trace log."""

    log: Path
    start: int

    def text(self) -> str:
        """What has been traced since the window opened."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self.start)
            return log.read().decode(errors="replace")
