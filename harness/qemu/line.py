"""Where a function's INTx line ends, and how the interrupt controllers treat it: read from QEMU, not from the guest."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import NicproofError
from harness.qemu.monitor import Monitor
from harness.qemu.pci import Bdf, ConfigSpace


@dataclass(frozen=True)
class Line:
    """Where a function's INTx line ends (PCI 3.0 2.2.6; chipset datasheets for the last step)."""

    ioapic_pin: int
    pic_irq: int | None
    """None where the chipset routes the line to no input of the 8259 pair."""


@dataclass(frozen=True)
class LineState:
    """How the interrupt controllers treat a line at one moment."""

    line: Line
    ioapic_open: bool
    ioapic_target: tuple[int, int]
    """(destination, vector) of the pin's redirection entry."""
    ioapic_busy: bool
    """Whether the guest has yet to acknowledge what the pin last passed on (the entry's remote IRR)."""
    pic_open: bool


def find_line(monitor: Monitor, space: ConfigSpace, machine: Literal["pc", "q35"], bdf: Bdf, pin: int) -> Line:
    """Follow the line of `pin` (1 to 4) of the function at `bdf` to the interrupt controllers.

    Each bridge on the way swizzles (PCI-to-PCI bridge 1.2, 9.1). At the root, PIIX3 and ICH9 route PIRQs to the 8259
    pair by the registers 0x60 and 0x68 of their LPC function (PIIX3 2.2.7, ICH9 13.1.17); PIIX3's IO-APIC follows them,
    ICH9 wires PIRQ E to H to pins 20 to 23.
    """
    intx, device = pin - 1, bdf.device
    for slot in _bridges_to(monitor.execute("query-pci"), bdf.bus):
        intx, device = (intx + device) % 4, slot
    if machine == "pc":
        pirq = (device - 1 + intx) % 4
        route = space.read(Bdf(0, 1, 0), 0x60) >> 8 * pirq & 0xFF
        return Line(ioapic_pin=route & 0xF, pic_irq=None if route & 0x80 else route & 0xF)
    pirq = (device + intx) % 4
    route = space.read(Bdf(0, 31, 0), 0x68) >> 8 * pirq & 0xFF
    return Line(ioapic_pin=20 + pirq, pic_irq=None if route & 0x80 else route & 0xF)


def _bridges_to(buses: list[dict[str, Any]], wanted: int) -> list[int]:
    """Return the slots of the bridges from bus `wanted` up to the root, nearest first."""

    def search(devices: list[dict[str, Any]]) -> list[int] | None:
        for device in devices:
            if (bridge := device.get("pci_bridge")) is None:
                continue
            if bridge["bus"]["secondary"] == wanted:
                return [device["slot"]]
            if (below := search(bridge.get("devices", []))) is not None:
                return [*below, device["slot"]]
        return None

    for bus in buses:
        if bus["bus"] == wanted:
            return []
        if (found := search(bus["devices"])) is not None:
            return found
    raise NicproofError(f"QEMU has no PCI bus {wanted}")


def line_state(monitor: Monitor, line: Line) -> LineState:
    """Read how the controllers treat `line` now."""
    # pic0: irr=00 imr=b8 isr=00 hprio=0 irq_base=08 rr_sel=0 elcr=00 fnm=0
    # pic1: irr=00 imr=8e isr=00 hprio=0 irq_base=70 rr_sel=0 elcr=0c fnm=0
    # ioapic0: ver=0x20 id=0x00 sel=0x00
    #   pin 22 0x0100000000008027 dest=1 vec=39  active-hi level        fixed  physical
    text = monitor.human("info pic")
    masks = {int(number): int(mask, 16) for number, mask in re.findall(r"pic([01]): irr=\w+ imr=(\w+)", text)}
    entry = re.search(rf"^\s+pin {line.ioapic_pin}\s+0x([0-9a-f]{{16}})", text, re.MULTILINE)
    if entry is None or len(masks) != 2:
        raise NicproofError("QEMU shows no IO-APIC pin or no 8259 pair: the interrupt controllers are not QEMU's own")
    redirection = int(entry.group(1), 16)
    irq = line.pic_irq
    return LineState(
        line=line,
        ioapic_open=not redirection & 1 << 16,
        ioapic_target=(redirection >> 56, redirection & 0xFF),
        ioapic_busy=bool(redirection & 1 << 14),
        pic_open=irq is not None and not masks[irq // 8] >> irq % 8 & 1,
    )
