r"""Interrupts on Windows: what the system has allocated to the device, never what the registry asks for.

Windows numbers messages downwards from 0xffffffff: such a number, read as a signed one, is negative, and a line's is
not (the rule that QEMU's Windows tests use, avocado-framework/tp-qemu, win_irq_check). The registry's MSISupported is
a wish: where it cannot be granted the device gets one message, or its line.
"""

import re
from collections.abc import Collection

from harness.guest.base import InterruptClaim, Vector
from harness.nic import InterruptMode

_MESSAGES = (InterruptMode.MSI, InterruptMode.MSIX, InterruptMode.MSIX_SHARED, InterruptMode.MSIX_REMAPPED)
_LINES = (InterruptMode.INTX, InterruptMode.INTX_PIC)


def signed(irq: int) -> int:
    """Return an IRQ number as Device Manager shows it: programs print the same 32 bits with and without a sign."""
    return irq - (1 << 32) if irq >= 1 << 31 else irq


def parse_devcon_irqs(text: str) -> list[int]:
    r"""Return the IRQs of what `devcon resources` prints of one device, signed.

    Real lines, Windows XP (Microsoft, DevCon examples, 12); the words are the tool's own, in no language but English:
        PCIIDE\IDECHANNEL\4&37E53584&0&0
            Name: Primary IDE Channel
            Device is currently using the following resources:
                IO  : 01f0-01f7
                IRQ : 14

    A real line of a message, Windows Server with an Intel E810 (intel/mfd-network-adapter, its tests):
        IRQ : 4294966818

    Of a device that is not started it prints instead what the firmware had given it (DevCon's messages file):
        Device has the following reserved resources:
    """
    used = text.partition("reserved resources:")[0]
    return [signed(int(number)) for number in re.findall(r"^\s*IRQ\s*:\s*(-?\d+)\s*$", used, re.MULTILINE)]


def claim_of(irqs: Collection[int]) -> InterruptClaim:
    """Return the claim that a device's allocated IRQs are.

    Messages are numbered downwards in the order of the table's entries, so the largest is entry 0. Whether they are MSI
    or MSI-X, and whether a line goes to the 8259 or the IO-APIC, these numbers do not tell.
    """
    numbers = sorted({signed(irq) for irq in irqs}, reverse=True)
    messages = [irq for irq in numbers if irq < 0]
    if messages:
        vectors = tuple(Vector(irq, index, f"message {index}", ()) for index, irq in enumerate(messages))
        return InterruptClaim(InterruptMode.MSIX, vectors, frozenset(_MESSAGES))
    if numbers:
        return InterruptClaim(InterruptMode.INTX, (Vector(numbers[0], 0, "line", ()),), frozenset(_LINES))
    return InterruptClaim(InterruptMode.POLLED, ())
