"""Acceleration: KVM if a guest really runs under it on this host, else emulation (TCG).

/dev/kvm may be there, open and answer, and its guests hang, die, or crawl because the host emulates what they do. So
KVM is believed only after a tiny guest did what every guest needs, in time.
"""

import contextlib
import hashlib
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from harness.cache import publish
from harness.errors import InputError
from harness.qemu.binary import Qemu

_DEVICE = Path("/dev/kvm")
_DEADLINE_S = 10.0
"""KVM on hardware needs less than one second, TCG about half a second."""


@dataclass(frozen=True)
class Accel:
    """How QEMU runs a guest's instructions."""

    name: Literal["kvm", "tcg"]
    reason: str
    """Why this one was chosen: one line."""
    machine_options: Mapping[str, str]
    """Properties of -machine that go with it."""
    cpu: str = "qemu64,+rdrand"
    """QEMU's -cpu: the same under KVM and TCG, so that verdicts compare. Without a source of randomness a guest's SSH
    server waits for most of a second."""

    @property
    def option(self) -> str:
        """QEMU's -accel. Emulated processors take turns in one thread.

        With a thread for each, and more of them than the host has processors, one waits in a loop for another that the
        host does not run: a fifth of a job's processor time.
        """
        return f"tcg,thread=single,tb-size={_TRANSLATED_MIB}" if self.name == "tcg" else self.name

    @property
    def kernel_parameters(self) -> str:
        """What Linux as a guest is to be told: how fast its time stamp counter is, which TCG takes from the host's.

        A kernel that has to measure it on a busy host can miss all but a fraction of the time in which it counts: its
        clock then runs many times too fast. KVM tells it.
        """
        mhz = _host_counter_mhz() if self.name == "tcg" else None
        return f"tsc_early_khz={mhz}000" if mhz else ""


@cache
def _host_counter_mhz() -> int | None:
    """Read it once: every fork's command line has it, and a host with many processors is slow to tell of all."""
    return counter_mhz(Path("/proc/cpuinfo").read_text())


def counter_mhz(cpuinfo: str) -> int | None:
    """Return how fast an x86 host's time stamp counter is, or None where /proc/cpuinfo does not tell.

    "bogomips" is twice the rate of a counter that is constant: Linux waits by it. Real lines:
        flags           : fpu vme de pse tsc msr pae mce cx8 apic sep mtrr [...] constant_tsc rep_good nopl [...]
        bogomips        : 5192.24
    """
    constant = re.search(r"^flags\s*:.* constant_tsc\b", cpuinfo, re.MULTILINE)
    rate = re.search(r"^bogomips\s*: (\d+\.\d+)$", cpuinfo, re.MULTILINE)
    return round(float(rate[1]) / 2) if constant and rate else None


_TRANSLATED_MIB = 96
"""How much translated code TCG keeps: a Linux guest's boot makes 110 MiB, most of which never runs again."""

# QEMU 8.0 and newer refuse kernel-irqchip=off under KVM ("KVM does not support userspace APIC"). "split" leaves the
# 8259 pair and the IO-APIC in QEMU, only the local APICs are in the kernel; VT-d interrupt remapping needs it as well.
_MACHINE_OPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"kvm": MappingProxyType({"kernel-irqchip": "split"}), "tcg": MappingProxyType({})}
)


_REDUCED = "delivered interrupts are seen as they leave the device or the IO-APIC, not at the processors' local APICs"
"""What KVM takes from the witnesses (harness/qemu/interrupts.py)."""


def choose_accel(qemu: Qemu, wish: str = "auto") -> Accel:
    """Return the acceleration to use. What a proof of KVM found is remembered until this host boots again.

    Args:
        qemu: The QEMU that will run the guests.
        wish: "auto", "kvm" or "tcg".

    Raises:
        InputError: KVM was asked for and does not work here, or the wish is none of the three.
    """
    if wish not in ("auto", "kvm", "tcg"):
        raise InputError(f"--accel {wish}: unknown (one of auto, kvm, tcg)")
    if wish == "tcg":
        return Accel("tcg", "TCG: asked for", _MACHINE_OPTIONS["tcg"])
    failure = _kvm_failure(qemu)
    if failure is None:
        return Accel("kvm", f"KVM: a test guest ran under it on this host; {_REDUCED}", _MACHINE_OPTIONS["kvm"])
    if wish == "kvm":
        raise InputError(f"--accel kvm: KVM cannot be used here: {failure}: use --accel tcg or auto")
    return Accel("tcg", f"TCG: KVM cannot be used here: {failure}", _MACHINE_OPTIONS["tcg"])


def _kvm_failure(qemu: Qemu) -> str | None:
    """Return why KVM cannot be used, or None."""
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return f"there is no {_DEVICE}"
    except PermissionError:
        return f"you may not open {_DEVICE} (sudo adduser {_user()} kvm, then log in again)"
    except OSError as error:
        return f"{_DEVICE} cannot be opened ({error.strerror})"
    found = publish(
        "kvm-proof",
        _host_key(qemu),
        lambda folder: _save(folder, boot_failure(qemu, "kvm")),
        what="the proof that KVM works on this host",
        valid=_load,
    )
    failure = _load(found)
    return f"{failure} (`nicproof clean` makes it be tried again)" if failure else None


def boot_failure(
    qemu: Qemu, name: Literal["kvm", "tcg"], *, sector: bytes | None = None, deadline_s: float = _DEADLINE_S
) -> str | None:
    """Boot the test guest with two processors and return what went wrong, or None.

    Args:
        qemu: The QEMU to boot it under.
        name: The acceleration.
        sector: Boot sector to use instead of the test guest's.
        deadline_s: Longest time that it may take, in seconds.
    """
    with tempfile.TemporaryDirectory(prefix="nicproof-") as folder:
        disk = Path(folder, "disk")
        filename = str(disk).replace(",", ",,")
        disk.write_bytes((_SECTOR if sector is None else sector).ljust(510, b"\0") + b"\x55\xaa")
        os.truncate(disk, 1 << 20)  # SeaBIOS boots no disk that is smaller than a cylinder
        machine = ",".join(["q35", *(f"{key}={value}" for key, value in _MACHINE_OPTIONS[name].items())])
        command = [
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *qemu.argv,
            *("-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
            *("-machine", machine, "-accel", name, "-cpu", Accel.cpu, "-smp", "2", "-m", "32"),
            *("-drive", f"if=none,id=disk,format=raw,readonly=on,file.filename={filename}"),
            *("-device", "virtio-blk-pci,drive=disk"),
            *("-device", "isa-debug-exit,iobase=0xf4,iosize=1"),
        ]
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            env={**os.environ, **qemu.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            _, said = process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired as error:
            said = (error.stderr or b"").decode(errors="replace") if isinstance(error.stderr, bytes) else ""
            hint = f" ({_complaint(said)})" if _complaint(said) else ""
            return f"the test guest had not finished after {time.monotonic() - started:.0f} s{hint}"
        finally:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a broken KVM can keep it in the kernel for a while
                process.communicate(timeout=5)
    match process.returncode:
        case code if code == _exit_status(_DONE):
            return None
        case code if code == _exit_status(_ALONE):
            return "the test guest's second processor did not start"
        case 0:
            return "the test guest reset itself"
        case code:
            return f"QEMU ended with status {code}: {_complaint(said) or 'without a word'}"


# What QEMU says, of which the warnings are no reason:
#   qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]
#   qemu-system-x86_64: error: failed to set MSR 0x10a to 0xc000069
#   qemu-system-x86_64: target/i386/kvm/kvm.c:3877: kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed.
#   KVM internal error. Suberror: 1
def _complaint(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip() and ": warning: " not in line]
    return re.sub(r"^\S*qemu\S*: ", "", lines[0]) if lines else ""


def _host_key(qemu: Qemu) -> str:
    """Return what the answer depends on: this boot, its kernel, its processor, the QEMU and the question."""
    processor = re.search(r"^model name\s*:.*", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    facts = (
        Path("/proc/sys/kernel/random/boot_id").read_text(),
        platform.release(),
        processor[0] if processor else "",
        qemu.build_id,
        repr(sorted(_MACHINE_OPTIONS["kvm"].items())),
        _SECTOR.hex(),
    )
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]


def _save(folder: Path, failure: str | None) -> None:
    (folder / "failure.json").write_text(json.dumps(failure))


def _load(folder: Path) -> str | None:
    failure = json.loads((folder / "failure.json").read_text())
    if failure is not None and not isinstance(failure, str):
        raise ValueError("neither a reason nor null")
    return failure


def _user() -> str:
    return os.environ.get("USER", "$USER")


_DONE = 0x31
_ALONE = 0x02


def _exit_status(value: int) -> int:
    """Return QEMU's exit status when the guest writes `value` to isa-debug-exit."""
    return value << 1 | 1


# The test guest: 16-bit code at 0x7c00. Bytes at 0x600: timer ticks, 0x601: set by the second processor.
# Its hundred million instructions tell a processor, or TCG, from a host that emulates each one.
_SECTOR = bytes.fromhex(
    "fa fc"  #                      cli; cld
    "31c0 8ed8 8ec0 8ed0"  #        xor ax, ax; mov ds, ax; mov es, ax; mov ss, ax
    "bc007c"  #                     mov sp, 0x7c00
    "a30006"  #                     mov [0x600], ax
    "c7062000af7c a32200"  #        mov word [8*4], tick; mov [8*4+2], ax       (interrupt 8 is IRQ 0)
    "b0fe e621 b0ff e6a1"  #        mov al, 0xfe; out 0x21, al; mov al, 0xff; out 0xa1, al      (8259: IRQ 0 only)
    "b034 e643"  #                  mov al, 0x34; out 0x43, al                  (8254 channel 0: rate generator)
    "b89c2e e640 88e0 e640"  #      mov ax, 11932; out 0x40, al; mov al, ah; out 0x40, al       (100 Hz)
    "be ba7c bf0080 b90d00 f3a4"  # mov si, second; mov di, 0x8000; mov cx, 13; rep movsb
    "0f0116e77c"  #                 lgdt [gdtr]
    "0f20c0 0c01 0f22c0"  #         mov eax, cr0; or al, 1; mov cr0, eax        (protected mode)
    "ea4b7c1000"  #                 jmp 0x10:wide
    "66bb0800 8ee3"  #        wide: mov bx, 8; mov fs, bx                       (32-bit; fs reaches all 4 GiB)
    "b980f0fa02 49 75fd"  #         mov ecx, 50000000; count: dec ecx; jnz count
    "ea607c00001800"  #             jmp 0x18:narrow
    "0f20c0 24fe 0f22c0"  # narrow: mov eax, cr0; and al, 0xfe; mov cr0, eax    (16-bit; back to real mode)
    "ea6d7c0000"  #                 jmp 0:real
    "66bb0003e0fe"  #         real: mov ebx, 0xfee00300                         (local APIC: interrupt command)
    "646766c70300450c00"  #         mov dword fs:[ebx], 0xc4500                 (INIT to all others)
    "fb f4 803e000603 72f8"  #      sti; init: hlt; cmp byte [0x600], 3; jb init
    "646766c70308460c00"  #         mov dword fs:[ebx], 0xc4608                 (start-up at 0x8000)
    "f4 803e0006c8"  #        wait: hlt; cmp byte [0x600], 200
    "b002 7311"  #                  mov al, 0x02; jae report                    (no second processor in 2 s)
    "803e010601 75ef"  #            cmp byte [0x601], 1; jne wait
    "f4 803e000614 72f8"  #   more: hlt; cmp byte [0x600], 20; jb more          (20 timer interrupts)
    "b031 e6f4"  #                  mov al, 0x31; report: out 0xf4, al
    "fa f4 ebfc"  #           stop: cli; hlt; jmp stop
    "50 fe060006"  #          tick: push ax; inc byte [0x600]
    "b020 e620 58 cf"  #            mov al, 0x20; out 0x20, al; pop ax; iret    (8259: end of interrupt)
    "31c0 8ed8 f0fe060106"  # second: xor ax, ax; mov ds, ax; lock inc byte [0x601]
    "fa f4 ebfc"  #           halt: cli; hlt; jmp halt
    "0000000000000000"  #      gdt: none
    "ffff00000092cf00"  #           0x08: data, 4 GiB
    "ffff0000009acf00"  #           0x10: 32-bit code, 4 GiB
    "ffff0000009a0000"  #           0x18: 16-bit code, 64 KiB
    "1f00c77c0000"  #         gdtr: 31, gdt
)
