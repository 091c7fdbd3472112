"""Profiles: what a guest OS is, how it boots, and which interrupt modes its drivers reach on which NIC."""

import codecs
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from harness import yaml_source
from harness.nic import CATALOGUE, InterruptMode, NicModel
from harness.profile_image import (
    AbsentImage,
    BuiltImage,
    DiskImage,
    Image,
    KernelImage,
    MediumImage,
    RomImage,
    Suite,
)
from harness.supplied_image import Supplied
from harness.yaml_source import Facts, Text, nearest

__all__ = [
    "AbsentImage",
    "BuiltImage",
    "DiskImage",
    "GuestOS",
    "Image",
    "KernelImage",
    "MachineProfile",
    "MediumImage",
    "ModeProfile",
    "NicProfile",
    "Profile",
    "Queues",
    "Ready",
    "RomImage",
    "Suite",
    "Typed",
    "hardware_cannot",
    "machine_of",
]

Machine = Literal["pc", "q35"]
GuestOS = Literal["linux", "firmware", "winxp", "win10"]
"""winxp: Windows XP and its like without PowerShell; win10: Windows 10, 11 and the servers of their kind."""
ControlNic = Literal["e1000", "e1000e", "igb", "pcnet", "rtl8139", "virtio-net-pci", "vmxnet3"]
"""QEMU's devices that a guest may have a driver for out of the box."""


def machine_of(nic: NicModel) -> Machine:
    """Return the QEMU machine that a NIC model is tested on: the one whose bus is the model's own."""
    return "pc" if nic.bus == "pci" else "q35"


def hardware_cannot(nic: NicModel, mode: InterruptMode, machine: Machine | None = None) -> str | None:
    """Return why no guest can use `nic` in `mode` on a machine (by default the model's own), or None if it can."""
    if reason := nic.cannot(mode):
        return reason
    machine = machine or machine_of(nic)
    if machine == "pc" and nic.virtual_functions + nic.virtual_function:
        return f"{nic.name} needs PCI Express, which QEMU's pc machine does not have"
    if mode is InterruptMode.MSIX_REMAPPED and machine == "pc":
        return f"{nic.name} is on QEMU's pc machine, whose 440FX chipset has no VT-d to remap interrupts"
    return None


class Typed(Facts):
    """What is typed on the serial console once the guest has said something."""

    expect: Text
    """What the guest says, after what was typed before."""
    send: Text
    """What is typed then, with its line end."""


class Ready(Facts):
    """What shows that the guest is ready: the first of the named events, once everything is typed."""

    dialogue: tuple[Typed, ...] = ()
    """What is typed on the serial console while the guest boots, in this order."""

    console: Text | None = None
    """Text on the serial console."""
    ssh: bool = False
    """The SSH server answers."""
    dhcp: bool = False
    """The first DHCP request on the DUT's cable."""
    arp: bool = False
    """The first answer to an ARP request on the DUT's cable."""
    quiet_screen_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """And then, or alone: the screen shows something and stands still for so long; a blinking cursor is no change."""
    quiet_cable_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """And then, or alone: the DUT has sent something, and for so long nothing more."""
    deadline_s: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _names_an_event(self) -> "Ready":
        if not any((self.console, self.ssh, self.dhcp, self.arp, self.quiet_screen_s, self.quiet_cable_s)):
            events = "console, ssh, dhcp, arp, quiet_screen_s, quiet_cable_s"
            yaml_source.refuse("ready", [((), f"names no event; allowed: {events}")])
        return self


class MachineProfile(Facts):
    """The virtual machine around the NIC."""

    memory_mib: int = Field(ge=16)
    cpus: int = Field(ge=1, le=255)
    append: str = ""
    """Kernel command line."""
    display: Literal["std", "cirrus"] | None = None
    """Its display adapter: QEMU's own, whose modes are VESA's, or a Cirrus Logic GD5446."""
    firmware: Literal["bios", "uefi"] = "bios"
    """SeaBIOS, or OVMF with variables of this guest's own."""
    acpi: bool = True
    """Whether the firmware describes the machine by ACPI; else by the older tables alone."""
    apic: bool = True
    """Whether the processor has a local APIC; without one, interrupts come through the 8259 pair alone."""
    type: Machine | None = None
    """For all NIC models, where one image cannot boot on both; else each is on the machine whose bus is its own."""
    cpu: Text | None = None
    """QEMU's -cpu; else what runs best on the host."""
    control_nic: tuple[ControlNic, ...] = ()
    """The NIC that carries SSH: the first of these that is not of the DUT's family; else virtio or e1000."""


class SshProfile(Facts):
    """What an SSH server of the guest's needs to be treated with."""

    disabled_algorithms: Mapping[Literal["ciphers", "kex", "keys", "macs", "pubkeys"], tuple[Text, ...]] = {}
    """What must not be used, by paramiko's kinds, though both sides have it: old servers have some that are broken."""


def _is_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(f"is '{name}'; allowed: utf-8, cp437, cp850 or another of Python's encodings") from None
    return name


def family_of(device: str) -> str:
    """Return which NICs a QEMU device shares its code with; one that is no model under test is alone."""
    return next((nic.family for nic in CATALOGUE.values() if nic.device == device), device)


class Queues(Facts):
    """Queues that the driver uses by default on a machine with the profile's number of CPUs."""

    rx: int = Field(ge=1)
    tx: int = Field(ge=1)


def _is_property(value: object) -> object:
    if not isinstance(value, str | int):
        raise ValueError("is no property of a device; allowed: text, a whole number, true or false")
    return value


class ModeProfile(Facts):
    """How the guest is brought to use one interrupt mode."""

    append: str = ""
    """Added to the kernel command line."""
    device: Mapping[str, Annotated[str | int | bool, BeforeValidator(_is_property)]] = {}
    """Added to the QEMU device's properties; true and false are QEMU's on and off."""


class NicProfile(Facts):
    """What this guest makes of one NIC model."""

    drivers: tuple[Text, ...] = Field(min_length=1)
    """Names that the guest may report for the bound driver."""
    queues: Queues | None = None
    """None: nobody knows."""
    modes: Mapping[InterruptMode, ModeProfile]
    """Modes that the guest can reach, each a cell."""
    excluded: Mapping[InterruptMode, Text] = {}
    """Modes that the hardware could do and this guest cannot or does not, with the true reason."""


def _known_nic(name: str) -> str:
    if name not in CATALOGUE:
        raise ValueError(f"is no NIC model; {nearest(name, sorted(CATALOGUE))}")
    return name


def _is_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"is '{name}', the file's name; allowed: letters, digits, '.', '_' and '-'")
    return name


Answer = Literal["icmp-echo", "icmpv6", "reassembly", "tcp-reset", "udp-unreachable"]
"""What a guest's network stack answers of its own accord, and an agentless test relies on."""
NicName = Annotated[str, AfterValidator(_known_nic)]
Loc = tuple[str, ...]


class Profile(Facts):
    """One guest OS, as the harness must know it."""

    name: Annotated[str, AfterValidator(_is_name)]
    """The file's name without `.yaml`; not in the file."""
    path: Path
    """The file; not in the file."""
    packages: Mapping[NicName, Path] = {}
    """Windows: the INF of the driver package that --driver gives a NIC; not in the file."""
    undriven: Mapping[str, str] = {}
    """NIC models that the image has no driver of, with the reason; not in the file."""
    description: Text
    os: GuestOS
    """Whose names and files the claims are read from."""
    control: Literal["ssh", "serial", "none"]
    """How the harness reaches into the guest; serial: a cmd.exe on its second serial port; none: agentless."""
    ssh: SshProfile = SshProfile()
    encoding: Annotated[Text, AfterValidator(_is_encoding)] = "utf-8"
    """What the guest's programs print in; an old Windows in its OEM code page."""
    image: Image
    supplied: Supplied | None = None
    """Who brings the image, if it may not be fetched or built from what can be."""
    ready: Ready
    machine: MachineProfile
    nics: Mapping[NicName, NicProfile] = Field(min_length=1)
    absent: Mapping[NicName, Text] = {}
    """NIC models that this guest cannot drive at all, with the true reason."""
    excluded: Mapping[InterruptMode, Text] = {}
    """Modes that this guest uses on no NIC, with the true reason; a NIC's own reason goes first."""
    hot_plug: bool = False
    """Whether the guest finds a NIC that is put in while it runs, and has its driver take it."""
    lacks: Mapping[Answer, Text] = {}
    """What this guest's network stack does not answer, with the true reason."""

    @model_validator(mode="after")
    def _does_not_contradict_itself(self) -> "Profile":
        problems = (self._control_problems, self._nic_problems, self._append_problems, self._machine_problems)
        yaml_source.refuse("Profile", [problem for found in problems for problem in found()])
        return self

    def _control_problems(self) -> Iterator[tuple[Loc, str]]:
        if self.control != "ssh" and self.ready.ssh:
            yield ("ready", "ssh"), f"is true, but control is {self.control}; allowed: console, dhcp, arp"
        if self.control != "ssh" and self.ssh.disabled_algorithms:
            yield ("ssh",), f"is given, but control is {self.control}; remove this"
        if self.control == "serial" and self.os not in ("winxp", "win10"):
            yield ("control",), f"is 'serial', which is a shell of Windows, but os is {self.os}; allowed: ssh, none"
        if self.control != "ssh":
            return
        for name in self.nics:
            own = CATALOGUE[name].family
            if self.machine.control_nic and all(family_of(device) == own for device in self.machine.control_nic):
                yield ("machine", "control_nic"), f"has no NIC beside {name} that is not of its family; add rtl8139"
        if isinstance(self.image, KernelImage | RomImage | MediumImage):
            yield (
                ("control",),
                "is 'ssh', but only a built image or a disk with its key has an SSH server; allowed: none",
            )
        if isinstance(self.image, DiskImage):
            for field in ("user", "key"):
                if getattr(self.image, field) is None:
                    yield ("image", field), "is missing: control is ssh"

    def _nic_problems(self) -> Iterator[tuple[Loc, str]]:
        for name, nic in self.nics.items():
            for mode in nic.modes:
                if reason := hardware_cannot(CATALOGUE[name], mode, self.machine.type):
                    yield ("nics", name, "modes", mode), f"the hardware cannot: {reason}; remove this mode"
            for mode in nic.excluded:
                if reason := hardware_cannot(CATALOGUE[name], mode, self.machine.type):
                    yield ("nics", name, "excluded", mode), f"needs no reason here: {reason}; remove this line"
                elif mode in nic.modes:
                    yield ("nics", name, "excluded", mode), "is listed in modes too; allowed: one of the two"
        for name in sorted(self.absent.keys() & self.nics.keys()):
            yield ("absent", name), "is listed in nics too; allowed: one of the two"

    def _append_problems(self) -> Iterator[tuple[Loc, str]]:
        if isinstance(self.image, DiskImage | MediumImage) and self.machine.append:
            why = "a disk boots by its own loader, which takes no kernel command line; remove this"
            yield ("machine", "append"), why

    def _machine_problems(self) -> Iterator[tuple[Loc, str]]:
        if self.ready.quiet_screen_s and not self.machine.display:
            yield ("ready", "quiet_screen_s"), "needs a screen; add machine.display"
        if self.machine.firmware == "uefi" and isinstance(self.image, BuiltImage | RomImage):
            what = "a ROM takes the place of it" if isinstance(self.image, RomImage) else "its kernel is no EFI program"
            yield ("machine", "firmware"), f"is uefi, but {what}; allowed: bios"
        if not self.machine.apic:
            if self.machine.cpus > 1:
                yield ("machine", "apic"), "is false, but without a local APIC there is one processor; set cpus to 1"
            for name, nic in self.nics.items():
                for mode in nic.modes:
                    if mode not in (InterruptMode.POLLED, InterruptMode.INTX_PIC):
                        why = "needs a local APIC, which machine.apic takes away; allowed: polled, intx-pic"
                        yield ("nics", name, "modes", mode), why
