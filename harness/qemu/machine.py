"""The one place that knows how a cell becomes a QEMU command line.

Slots are chosen so that the DUT's INTx line (PIRQ) is its own, but for one companion that shares it on purpose:

    addr  device                       q35 line   pc line (PIIX3 PIRQ)
    2     display adapter, if any      none       none
    4     DUT, or its PCIe root port   GSI 20     D
    5     control NIC                  GSI 21     A
    6     root disk                    GSI 22     B
    8     companion on the DUT's line  GSI 20     D
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cell import Cell
from harness.image import BootImage
from harness.nic import InterruptMode, NicModel
from harness.profile import BuiltImage, DiskImage, Machine, family_of
from harness.qemu.accel import Accel
from harness.station import DUT

FUNCTION_MAC = "52:54:00:6e:70:03"
"""The physical function's address where the DUT is its virtual function."""
CONTROL_MAC = "52:54:00:6e:70:02"
CONTROL_NETDEV = "control"
DUT_DEVICE_ID = "dut"
MEMORY_ID = "memory"
DISPLAY_SLOT = 2
DUT_SLOT = 4
COMPANION_SLOT = 8


@dataclass(frozen=True)
class Hardware:
    """A cell's machine as arguments for QEMU, all but its memory; equal arguments mean the same machine."""

    arguments: tuple[str, ...]
    memory_mib: int
    has_control: bool


def _properties(device: str, properties: Mapping[str, object]) -> str:
    def value(given: object) -> str:
        if isinstance(given, bool):
            return "on" if given else "off"
        return str(given)

    return ",".join((device, *(f"{name}={value(given)}" for name, given in properties.items())))


def _root_bus(machine: Machine) -> str:
    return "pcie.0" if machine == "q35" else "pci.0"


def _bus(cell: Cell) -> str:
    return _root_bus(cell.machine)


def _has_port(cell: Cell) -> bool:
    """Whether the DUT is behind a PCIe root port; on the pc machine, which has none, all models are conventional."""
    return cell.nic.bus == "pcie" and cell.machine == "q35"


def dut_device(cell: Cell) -> str:
    """Return the DUT as an option of `-device`; it can be taken out and put back."""
    properties: dict[str, object] = {
        "id": DUT_DEVICE_ID,
        "netdev": "dut",
        "mac": FUNCTION_MAC if cell.nic.virtual_function else DUT.mac,
        "romfile": "",
        **cell.nic.properties,
        **cell.mode_profile.device,
    }
    place = {"bus": "rootport"} if _has_port(cell) else {"bus": _bus(cell), "addr": hex(DUT_SLOT)}
    return _properties(cell.nic.device, {**properties, **place})


def _dut(cell: Cell) -> list[str]:
    # Behind a root port, as silicon is: SR-IOV and hot-plug need one.
    port = {"id": "rootport", "bus": _bus(cell), "addr": hex(DUT_SLOT), "chassis": 1, "slot": 1}
    root = ["-device", _properties("pcie-root-port", port)] if _has_port(cell) else []
    return [*root, "-device", dut_device(cell)]


def _control(cell: Cell) -> list[str]:
    """The NIC that carries SSH: never of the DUT's family, on a network without any route."""
    usual = ("virtio-net-pci", "e1000")
    allowed = cell.profile.machine.control_nic or usual
    device = next(device for device in allowed if family_of(device) != cell.nic.family)
    properties = {"netdev": CONTROL_NETDEV, "mac": CONTROL_MAC, "romfile": "", "bus": _bus(cell), "addr": "0x5"}
    return [
        *("-netdev", f"user,id={CONTROL_NETDEV},restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:0-:22"),
        *("-device", _properties(device, properties)),
    ]


def _display(cell: Cell) -> list[str]:
    """The display adapter, which nobody looks at but the harness; it has no interrupt."""
    if (kind := cell.profile.machine.display) is None:
        return []
    device = {"std": "VGA", "cirrus": "cirrus-vga"}[kind]
    return ["-device", _properties(device, {"bus": _bus(cell), "addr": hex(DISPLAY_SLOT)})]


def _boot(cell: Cell, image: BootImage, accel: Accel) -> list[str]:
    arguments: list[str] = [] if image.rom is None else ["-bios", str(image.rom)]
    if image.kernel is not None:
        arguments += ["-kernel", str(image.kernel)]
        if image.initrd is not None:
            arguments += ["-initrd", str(image.initrd)]
        if cell.profile.os == "linux":
            arguments += ["-append", kernel_command_line(cell, image, accel)]
    if image.disk is not None:
        shared = isinstance(cell.profile.image, BuiltImage)
        drive = f"if=none,id=root,format={image.disk_format},file={image.disk}" + (",readonly=on" if shared else "")
        bus = cell.profile.image.bus if isinstance(cell.profile.image, DiskImage) else "virtio"
        arguments += ["-drive", drive, *_disk(cell, bus)]
    return [*arguments, *_medium(cell, image), *_uefi(image)]


def _disk(cell: Cell, bus: str) -> list[str]:
    """The disk on its bus, and the bus's controller where the machine does not have it."""
    slot = {"bus": _bus(cell), "addr": "0x6"}
    if bus == "ahci" and cell.machine == "q35":
        bus = "ide"  # its own controller is one
    controller, device, place = {
        "virtio": (None, "virtio-blk-pci", slot),
        "ide": (None, "ide-hd", {}),
        "ahci": ("ich9-ahci", "ide-hd", {"bus": "disks.0"}),
        "lsi53c895a": ("lsi53c895a", "scsi-hd", {"bus": "disks.0"}),
    }[bus]
    adapter = ["-device", _properties(controller, {"id": "disks", **slot})] if controller else []
    return [*adapter, "-device", _properties(device, {"drive": "root", **place})]


def _medium(cell: Cell, image: BootImage) -> list[str]:
    """A CD or a floppy, in a drive of the machine's own; q35 has no controller for floppies by itself."""
    drive = "if=none,id=medium,format=raw,readonly=on"
    if image.iso is not None:
        return ["-drive", f"{drive},file={_quoted(image.iso)}", "-device", "ide-cd,drive=medium"]
    if image.floppy is not None:
        controller = ["-device", "isa-fdc"] if cell.machine == "q35" else []
        return ["-drive", f"{drive},file={_quoted(image.floppy)}", *controller, "-device", "floppy,drive=medium"]
    return []


def _uefi(image: BootImage) -> list[str]:
    """UEFI firmware in two flash chips: the program, and its variables."""
    if image.uefi_code is None or image.uefi_variables is None:
        return []
    return [
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_quoted(image.uefi_code)}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={_quoted(image.uefi_variables)}"),
    ]


def _quoted(path: Path) -> str:
    return str(path).replace(",", ",,")


def kernel_command_line(cell: Cell, image: BootImage, accel: Accel) -> str:
    """Return the Linux command line of a cell: how its mode is reached, and who is who for the guest's init."""
    words = [image.append, accel.kernel_parameters, cell.profile.machine.append, cell.mode_profile.append]
    if cell.profile.control == "ssh":
        words.append(f"nicproof.control={CONTROL_MAC}")
    words.append(f"nicproof.dut={FUNCTION_MAC if cell.nic.virtual_function else DUT.mac}")
    if cell.nic.virtual_function:
        words.append(f"nicproof.vf={DUT.mac}")
    return " ".join(word for word in words if word)


def hardware(cell: Cell, image: BootImage, accel: Accel) -> Hardware:
    """Return the machine of `cell`, booting `image`, without the parts that differ from run to run."""
    profile = cell.profile
    remapped = cell.mode is InterruptMode.MSIX_REMAPPED
    companion = {"bus": _bus(cell), "addr": hex(COMPANION_SLOT), "max-bytes": 65536, "period": 1000}
    if cell.mode.is_line:
        companion["vectors"] = 0
    cpu = profile.machine.cpu or accel.cpu
    acpi = {} if profile.machine.acpi else {"acpi": False}
    arguments = [
        "-no-user-config",
        "-nodefaults",
        *("-display", "none"),
        *("-machine", _properties(cell.machine, {**accel.machine_options, **acpi, "memory-backend": MEMORY_ID})),
        *("-accel", accel.option),
        *("-cpu", cpu if profile.machine.apic else f"{cpu},-apic"),
        *("-smp", str(profile.machine.cpus)),
        *("-m", str(profile.machine.memory_mib)),
        # A guest that resets itself has crashed, or a test asked for it: the harness decides, QEMU stays.
        *("-action", "reboot=reset,shutdown=pause,panic=pause"),
        # Snapshots are loaded without announcements (see snapshot.load). QEMU's virtio-net then has no timer for them
        # and dies of that (virtio_net_reset, QEMU 10.0) when the guest resets it: at driver unload, unplug or suspend.
        *("-global", "virtio-net-device.guest_announce=off"),
        *(("-device", "intel-iommu,intremap=on") if remapped else ()),
        *_dut(cell),
        *(_control(cell) if profile.control == "ssh" else ()),
        *(("-device", _properties("virtio-rng-pci", companion)) if profile.os == "linux" else ()),
        *_display(cell),
        *_boot(cell, image, accel),
    ]
    return Hardware(tuple(arguments), profile.machine.memory_mib, profile.control == "ssh")


@dataclass(frozen=True)
class InstallMachine:
    """A machine that an operating system is installed on from its own medium; it starts from a BIOS."""

    machine: Machine
    cpu: str
    cpus: int
    memory_mib: int
    display: str
    """The graphics device: an installer wants one, and a failure is seen on it."""
    network: str
    """A NIC that is never under test."""


def install_hardware(
    machine: InstallMachine,
    accel: Accel,
    *,
    disk: Path,
    cds: Sequence[Path] = (),
    floppy: Path | None = None,
    boot_cd: bool = False,
    nics: Sequence[NicModel] = (),
    spare_disk: Path | None = None,
) -> Hardware:
    """Return a machine that an operating system is installed on, or is shown its devices on.

    A restart ends it: what boots next is a new machine, with the disk that this one has left.

    Args:
        machine: what kind.
        accel: how it runs.
        disk: a qcow2 file, which is written to.
        cds: images, which are not; the first is the installation medium.
        floppy: an image, which is not.
        boot_cd: start from the first CD; else from the disk.
        nics: models to be present, each without a cable.
        spare_disk: an empty raw file, to be seen as a virtio disk.
    """
    bus = _root_bus(machine.machine)

    def drive(name: str, file: Path, form: str, writable: bool = False) -> tuple[str, str]:
        return "-drive", f"if=none,id={name},format={form},file={_quoted(file)}" + ("" if writable else ",readonly=on")

    arguments = [
        "-no-user-config",
        "-nodefaults",
        *("-display", "none"),
        *("-machine", _properties(machine.machine, {**accel.machine_options, "memory-backend": MEMORY_ID})),
        *("-accel", accel.option, "-cpu", machine.cpu, "-smp", str(machine.cpus), "-m", str(machine.memory_mib)),
        *("-rtc", "base=utc", "-action", "reboot=shutdown,shutdown=pause,panic=pause"),
        *("-device", machine.display),
        *("-netdev", f"user,id={CONTROL_NETDEV},restrict=on,ipv6=off"),
        *("-device", _properties(machine.network, {"netdev": CONTROL_NETDEV, "mac": CONTROL_MAC, "romfile": ""})),
        *drive("root", disk, "qcow2", writable=True),
        *("-device", _properties("ide-hd", {"drive": "root", "bus": "ide.0", "bootindex": 1 if boot_cd else 0})),
    ]
    for number, cd in enumerate(cds):
        # PIIX has two channels with two drives each, AHCI six ports with one.
        slot = {"bus": f"ide.{number + 1}"} if machine.machine == "q35" else {"bus": "ide.1", "unit": number}
        first = {"bootindex": 0 if boot_cd else 1} if number == 0 else {}
        arguments += [*drive(f"cd{number}", cd, "raw")]
        arguments += ["-device", _properties("ide-cd", {"drive": f"cd{number}", **slot, **first})]
    if floppy:
        arguments += [*drive("floppy", floppy, "raw"), "-device", "floppy,drive=floppy"]
    for number, nic in enumerate(nics):
        place: dict[str, object] = {"bus": bus}
        if nic.bus == "pcie" and machine.machine == "q35":
            port = {"id": f"port{number}", "bus": bus, "chassis": number + 1, "slot": number + 1}
            arguments += ["-device", _properties("pcie-root-port", port)]
            place = {"bus": f"port{number}"}
        arguments += ["-device", _properties(nic.device, {"romfile": "", **nic.properties, **place})]
    if spare_disk:
        arguments += [*drive("spare", spare_disk, "raw", writable=True)]
        arguments += ["-device", _properties("virtio-blk-pci", {"drive": "spare", "bus": bus})]
    return Hardware(tuple(arguments), machine.memory_mib, has_control=True)


def memory(hardware: Hardware, file: Path | None, *, copy_on_write: bool) -> tuple[str, ...]:
    """Return the arguments for the guest's memory.

    Args:
        hardware: whose.
        file: where it lies; None: nowhere but in the process.
        copy_on_write: the file is only read: pages that the guest writes are its own.
    """
    size = f"id={MEMORY_ID},size={hardware.memory_mib}M"
    if file is None:
        return ("-object", f"memory-backend-ram,{size}")
    return ("-object", f"memory-backend-file,{size},mem-path={_quoted(file)},share={'off' if copy_on_write else 'on'}")
