"""Which traced interrupts are the DUT's: told by address and data, or by the line's pin, never by a device's name."""

from dataclasses import replace

import pytest

from harness.nic import InterruptMode
from harness.qemu.interrupts import Programmed, at_processors, on_the_way, own
from harness.qemu.line import Line, LineState
from harness.qemu.pci import Bdf, Message, PciFunction

PLAIN = PciFunction(
    bdf=Bdf(1, 0, 0),
    vendor_id=0x8086,
    device_id=0x10C9,
    subsystem_vendor_id=0x1AF4,
    subsystem_id=0x1100,
    class_code=0x020000,
    command=0x0107,
    pin=1,
    msi_enabled=False,
    msi=Message(0, 0, False),
    msix_enabled=False,
    msix=(),
)
CLOSED = Message(0, 0, True)
# igb with Linux 6.1, as it was read from QEMU 10.0.13; the last table entries are closed.
MSIX = replace(
    PLAIN,
    command=0x0507,
    msix_enabled=True,
    msix=(
        Message(0xFEE02004, 40, False),
        Message(0xFEE01004, 40, False),
        Message(0xFEE02004, 41, False),
        Message(0xFEE01004, 41, False),
        CLOSED,
    ),
)
REMAPPED = replace(MSIX, msix=tuple(Message(0xFEE00378 + 32 * number, 0, False) for number in range(5)))
MSI = replace(PLAIN, command=0x0507, msi_enabled=True, msi=Message(0xFEE01004, 40, False))
LINE = LineState(Line(11, 11), ioapic_open=True, ioapic_target=(1, 38), ioapic_busy=False, pic_open=False)
PIC = replace(LINE, ioapic_open=False, ioapic_target=(0, 0), pic_open=True)

# Real traces: process id and time stand before each event.
TRACE = """\
4711@1795377600.123456:apic_deliver_irq dest 1 dest_mode 0 delivery_mode 0 vector 40 trigger_mode 0
4711@1795377600.123457:apic_deliver_irq dest 2 dest_mode 0 delivery_mode 0 vector 40 trigger_mode 0
4711@1795377600.123458:apic_deliver_irq dest 1 dest_mode 0 delivery_mode 0 vector 40 trigger_mode 0
4711@1795377600.123459:apic_deliver_irq dest 1 dest_mode 0 delivery_mode 0 vector 38 trigger_mode 1
4711@1795377600.123460:apic_deliver_irq dest 0 dest_mode 0 delivery_mode 0 vector 35 trigger_mode 0
4711@1795377600.123461:apic_deliver_irq dest 18 dest_mode 0 delivery_mode 0 vector 40 trigger_mode 0
4711@1795377600.123462:pic_interrupt irq 11 intno 59
4711@1795377600.123463:pic_interrupt irq 0 intno 48
4711@1795377600.123464:vtd_ir_remap_msi (addr 0xfee00398, data 0x0) -> (addr 0xfee01008, data 0x4028)
4711@1795377600.123465:vtd_ir_remap_msi (addr 0xfee00338, data 0x0) -> (addr 0xfee01008, data 0x4028)
"""


@pytest.mark.parametrize(
    ("function", "line", "ways", "text"),
    [
        (MSIX, None, {InterruptMode.MSIX}, "vector 0: 1, vector 1: 2"),
        (MSI, None, {InterruptMode.MSI}, "vector 0: 2"),
        (REMAPPED, None, {InterruptMode.MSIX_REMAPPED}, "vector 1: 1"),
        (PLAIN, LINE, {InterruptMode.INTX}, "IO-APIC: 1"),
        (PLAIN, PIC, {InterruptMode.INTX_PIC}, "8259: 1"),
        (PLAIN, None, set(), "none"),
    ],
    ids=["msix", "msi", "remapped", "line", "8259", "nothing"],
)
def test_deliveries_are_the_duts_by_what_it_has_programmed(
    function: PciFunction, line: LineState | None, ways: set[InterruptMode], text: str
) -> None:
    delivery = at_processors(TRACE, own([Programmed(function, line)]))
    assert (set(delivery.ways), str(delivery)) == (ways, text)


def test_a_line_that_the_driver_has_switched_off_delivers_nothing() -> None:
    disabled = replace(PLAIN, command=0x0507)
    assert at_processors(TRACE, own([Programmed(disabled, LINE)])).total == 0


def test_a_closed_entry_delivers_nothing() -> None:
    masked = replace(MSIX, msix=(Message(0xFEE02004, 40, True), *MSIX.msix[1:]))
    assert at_processors(TRACE, own([Programmed(masked, None)])).messages == {1: 2}


def test_what_was_programmed_at_the_start_and_what_at_the_end_both_count() -> None:
    moved = replace(MSIX, msix=(Message(0xFEE12004, 40, False), *MSIX.msix[1:]))
    delivery = at_processors(TRACE, own([Programmed(MSIX, None), Programmed(moved, None)]))
    assert delivery.messages == {0: 2, 1: 2}, "vector 0 went from processor 2 to 18 in the middle of the window"


def test_several_ways_at_once_are_all_told() -> None:
    delivery = at_processors(TRACE, own([Programmed(PLAIN, LINE), Programmed(MSIX, None)]))
    assert delivery.ways == {InterruptMode.INTX, InterruptMode.MSIX}


def test_messages_on_their_way_are_told_apart_by_address_and_data() -> None:
    write = "memory_region_ops_write cpu -1 mr 0x55557abff610 addr 0x{:x} value 0x{:x} size 4 name '{}'"
    trace = "\n".join(
        [
            write.format(0xFEE01004, 40, "kvm-apic-msi"),
            write.format(0xFEE01004, 42, "kvm-apic-msi"),
            write.format(0xFEE02004, 40, "e1000e-mmio"),
        ]
    )
    assert on_the_way(trace, own([Programmed(MSIX, None)])).messages == {1: 1}
