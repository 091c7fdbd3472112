"""What the driver has programmed into the DUT's own registers, read from QEMU without the guest's help.

Offsets in BAR 0 and layouts: 82540EM chapter 13, 82574L chapter 10, 82576 chapter 8; of a virtio device its link and
the size of its queues. Only registers that read without effect are here.
"""

import time
from collections.abc import Mapping
from enum import StrEnum

from harness.errors import Unsupported
from harness.guest.queues import Rings
from harness.qemu.machine import DUT_DEVICE_ID
from harness.qemu.pci import read_memory
from harness.testbed import Testbed

CHANGE_DEADLINE_S = 10.0
"""For a guest to begin what it was asked for; each reading of a register takes its time at the monitor."""
_DESCRIPTOR = 16
"""Octets."""


class Register(StrEnum):
    """A register, or the first of an array."""

    CTRL = "CTRL"
    STATUS = "STATUS"
    RCTL = "RCTL"
    TCTL = "TCTL"
    LEDCTL = "LEDCTL"
    RDLEN = "RDLEN"
    TDLEN = "TDLEN"
    RETA = "RETA"
    """The indirection table, a queue an octet."""
    RSSRK = "RSSRK"
    """The hash key."""
    ITR = "ITR"
    EITR = "EITR"
    """The interval of each MSI-X vector."""
    RXDCTL = "RXDCTL"
    """What each receive queue is told."""
    TXDCTL = "TXDCTL"
    """What each transmit queue is told."""
    VFGPRC = "VFGPRC"
    """How many frames the device has given to each virtual function."""
    RLPML = "RLPML"
    """The longest frame that is taken where long ones are."""


_GIGABIT = {
    Register.CTRL: 0x0000,
    Register.STATUS: 0x0008,
    Register.RCTL: 0x0100,
    Register.TCTL: 0x0400,
    Register.RDLEN: 0x2808,
    Register.TDLEN: 0x3808,
    Register.LEDCTL: 0x0E00,
}
_OFFSETS: Mapping[str, Mapping[Register, int]] = {
    "e1000": _GIGABIT,
    "e1000e": {**_GIGABIT, Register.ITR: 0x00C4, Register.EITR: 0x00E8},
    "igb": {
        **_GIGABIT,
        Register.RDLEN: 0xC008,
        Register.TDLEN: 0xE008,
        Register.RETA: 0x5C00,
        Register.RSSRK: 0x5C80,
        Register.EITR: 0x1680,
        Register.RXDCTL: 0xC028,
        Register.TXDCTL: 0xE028,
        Register.VFGPRC: 0x10010,
        Register.RLPML: 0x5004,
    },
    "igbvf": {Register.STATUS: 0x0008, Register.RDLEN: 0x2808, Register.TDLEN: 0x3808, Register.EITR: 0x1680},
}
_STRIDES = {Register.RXDCTL: 0x40, Register.TXDCTL: 0x40, Register.VFGPRC: 0x100}
"""Octets from one to the next, of those between which others lie."""
_FCS = 4
"""Octets."""
_RCTL_LPE = 1 << 5
_KEY_WORDS = 10
_TABLE_WORDS = 32
_POOLS = 8
_QUEUE_ENABLE = 1 << 25
_LINK_UP = 1 << 1
"""STATUS.LU."""
_VIRTIO_CONFIGURATION = (4, 0x2000)
"""BAR and offset at which each of QEMU's virtio devices has its own configuration (hw/virtio/virtio-pci.c)."""


def read_register(testbed: Testbed, register: Register, words: int = 1, *, number: int = 0) -> bytes:
    """Return the octets of a register, or of the first words of an array, as they lie in memory.

    Args:
        testbed: whose DUT is asked.
        register: which one.
        words: how many, of an array without gaps.
        number: which one of an array with gaps.

    Raises:
        Unsupported: the model has no such register.
    """
    offset = _OFFSETS.get(testbed.cell.nic.name, {}).get(register)
    if offset is None:
        raise Unsupported(f"{testbed.cell.nic.name} has no register {register}")
    place = testbed.bar(0) + offset + number * _STRIDES.get(register, 0)
    found = read_memory(testbed.vm.monitor, place, words)
    return b"".join(word.to_bytes(4, "little") for word in found)


def _value(testbed: Testbed, register: Register, *, number: int = 0) -> int:
    return int.from_bytes(read_register(testbed, register, number=number), "little")


def await_change(testbed: Testbed, register: Register, before: bytes) -> bytes:
    """Return what a register holds as soon as that is not what it held before, or at the deadline."""
    end = time.monotonic() + CHANGE_DEADLINE_S
    while (now := read_register(testbed, register)) == before and time.monotonic() < end:
        pass
    return now


def dumpable_registers(testbed: Testbed) -> dict[str, int]:
    """Return those of the DUT's single registers of 32 bits that stay as they are while nothing is changed."""
    names = (Register.CTRL, Register.STATUS, Register.RCTL, Register.TCTL, Register.RDLEN, Register.TDLEN)
    known = [name for name in names if name in _OFFSETS.get(testbed.cell.nic.name, {})]
    return {name: _value(testbed, name) for name in known}


def interrupt_interval_us(testbed: Testbed, vector: int) -> float:
    """Return the shortest time between two interrupts of a vector, or of the one interrupt there is."""
    if testbed.cell.nic.family == "igb":
        word = read_register(testbed, Register.EITR, vector + 1)[4 * vector :]
        return int.from_bytes(word, "little") >> 2 & 0x1FFF
    register = Register.EITR if testbed.cell.mode.is_msix else Register.ITR
    word = read_register(testbed, register, vector + 1)[4 * vector :]
    return (int.from_bytes(word, "little") & 0xFFFF) * 0.256


def shows_link(testbed: Testbed) -> bool:
    """Return whether the DUT itself says that it has a link."""
    if testbed.cell.nic.family == "virtio":
        # The last two octets of the MAC address, and the status: bit 0 is VIRTIO_NET_S_LINK_UP (virtio 1.2, 5.1.4).
        bar, offset = _VIRTIO_CONFIGURATION
        (word,) = read_memory(testbed.vm.monitor, testbed.bar(bar) + offset + 4, 1)
        return bool(word >> 16 & 1)
    return bool(_value(testbed, Register.STATUS) & _LINK_UP)


def pause_programmed(testbed: Testbed) -> tuple[bool, bool]:
    """Return whether the MAC obeys pause frames, and whether it sends them: CTRL.RFCE and CTRL.TFCE."""
    control = _value(testbed, Register.CTRL)
    return bool(control & 1 << 27), bool(control & 1 << 28)


def longest_frame_programmed(testbed: Testbed) -> int:
    """Return the octets of the longest frame that the MAC takes, without FCS: RLPML, with long packets enabled."""
    if not _value(testbed, Register.RCTL) & _RCTL_LPE:
        raise Unsupported("a limit in RLPML: this driver does not enable long packets")
    return (_value(testbed, Register.RLPML) & 0x3FFF) - _FCS


def rings_programmed(testbed: Testbed) -> Rings:
    """Return the length of the DUT's first receive and first transmit ring."""
    if testbed.cell.nic.family == "virtio":
        # receiveq1 and transmitq1 (virtio 1.2, 5.1.2)
        path = f"/machine/peripheral/{DUT_DEVICE_ID}/virtio-backend"
        sizes = (
            testbed.vm.monitor.execute("x-query-virtio-queue-status", path=path, queue=queue)["vring-num"]
            for queue in (0, 1)
        )
    else:
        sizes = (_value(testbed, register) // _DESCRIPTOR for register in (Register.RDLEN, Register.TDLEN))
    return Rings(*sizes)


def hash_key(testbed: Testbed) -> bytes:
    """Return the key of the receive hash."""
    return read_register(testbed, Register.RSSRK, _KEY_WORDS)


def indirection_table(testbed: Testbed) -> tuple[int, ...]:
    """Return the receive queue for each value of a hash's low bits."""
    return tuple(read_register(testbed, Register.RETA, _TABLE_WORDS))


def queues_enabled(testbed: Testbed, vf: int) -> tuple[list[int], list[int]]:
    """Return which of the two receive queues, and of the two transmit queues, of a virtual function's pool are on."""

    def enabled(register: Register) -> list[int]:
        return [queue for queue in (0, 1) if _value(testbed, register, number=vf + queue * _POOLS) & _QUEUE_ENABLE]

    return enabled(Register.RXDCTL), enabled(Register.TXDCTL)


def frames_given(testbed: Testbed, vf: int) -> int:
    """Return how many frames the device has given to a virtual function so far."""
    return _value(testbed, Register.VFGPRC, number=vf)
