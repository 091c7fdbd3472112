"""The device's witness: configuration space, capabilities and lines of real models that only firmware has set up."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from harness.errors import NicproofError
from harness.nic import CATALOGUE, NicModel
from harness.qemu.binary import Qemu, find_qemu
from harness.qemu.line import find_line, line_state
from harness.qemu.pci import (
    CAPABILITY_MSI,
    Bdf,
    Ecam,
    PciFunction,
    PciView,
    PortPair,
    capabilities_of,
    read_memory,
)
from harness.qemu.process import QemuProcess
from tests.conftest import wait_until

MODELS = [nic for nic in CATALOGUE.values() if not nic.virtual_function]
MSIX_ENTRIES = {"e1000e": 5, "igb": 10, "virtio-net": 4, "virtio-net-modern": 4}
"""82574L 7.1.2; 82576 7.3.2; two queues, a control queue and the configuration (hw/net/virtio-net.c)."""


@dataclass(frozen=True)
class Machine:
    vm: QemuProcess
    view: PciView
    nic: NicModel
    kind: Literal["pc", "q35"]

    @property
    def bdf(self) -> Bdf:
        return self.view.find("dut")

    def function(self) -> PciFunction:
        return self.view.function(self.bdf)

    def write(self, offset: int, value: int) -> None:
        """Write a word of the DUT's configuration space through the ports, as a driver may."""
        bdf = self.bdf
        self.vm.monitor.human(
            f"o /w 0xcf8 {1 << 31 | bdf.bus << 16 | bdf.device << 11 | bdf.function << 8 | offset:#x}"
        )
        self.vm.monitor.human(f"o /w 0xcfc {value:#x}")

    def capability(self, wanted: int) -> int:
        space, at = self.view.space, self.view.space.read(self.bdf, 0x34) & 0xFF
        while space.read(self.bdf, at) & 0xFF != wanted:
            at = space.read(self.bdf, at) >> 8 & 0xFF
        return at


@pytest.fixture(scope="module")
def qemu() -> Qemu:
    return find_qemu()


@pytest.fixture(scope="module", params=MODELS, ids=lambda nic: nic.name)
def machine(request: pytest.FixtureRequest, qemu: Qemu, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with one NIC, whose firmware has numbered the buses and given every function its addresses."""
    nic: NicModel = request.param
    kind: Literal["pc", "q35"] = "q35" if nic.bus == "pcie" else "pc"
    properties = "".join(f",{name}={value}" for name, value in nic.properties.items())
    where = ",bus=rootport" if nic.bus == "pcie" else ",addr=4"
    arguments = [
        *("-no-user-config", "-nodefaults", "-display", "none", "-accel", "tcg", "-m", "64", "-machine", kind),
        *(("-device", "pcie-root-port,id=rootport,addr=4,chassis=1") if nic.bus == "pcie" else ()),
        *("-device", f"{nic.device},id=dut,netdev=dut,romfile={where}{properties}"),
    ]
    with QemuProcess(qemu, arguments, tmp_path_factory.mktemp("vm"), memory_mib=64) as vm:

        def decoded() -> bool:
            try:
                return PciView(vm.monitor).function(PciView(vm.monitor).find("dut")).memory_decoding
            except NicproofError:
                return False

        wait_until("the firmware's set-up of the NIC", decoded)
        vm.monitor.execute("stop")
        yield Machine(vm, PciView(vm.monitor), nic, kind)


def listed(machine: Machine) -> dict[str, Any]:
    """QEMU's own list of PCI functions, which is another way than the configuration space that we read."""
    buses = machine.vm.monitor.execute("query-pci")
    devices = [device for bus in buses for device in bus["devices"]]
    devices += [below for device in devices for below in device.get("pci_bridge", {}).get("devices", [])]
    return next(dict(device) for device in devices if device["qdev_id"] == "dut")


def test_identity_and_addresses_are_what_qemu_itself_lists(machine: Machine) -> None:
    function, own = machine.function(), listed(machine)
    assert (function.vendor_id, function.device_id) == (own["id"]["vendor"], own["id"]["device"])
    assert (function.subsystem_vendor_id, function.subsystem_id) == (
        own["id"]["subsystem-vendor"],
        own["id"]["subsystem"],
    )
    assert function.class_code >> 8 == own["class_info"]["class"]
    assert (str(function.bdf), function.pin) == (f"{own['bus']:02x}:{own['slot']:02x}.0", own["irq_pin"])
    memory = {region["bar"]: region["address"] for region in own["regions"] if region["type"] == "memory"}
    assert memory
    assert {number: machine.view.bar(function.bdf, number) for number in memory} == memory


def test_capabilities_are_read_and_nothing_is_enabled_before_a_driver_came(machine: Machine) -> None:
    function = machine.function()
    assert len(function.msix) == MSIX_ENTRIES.get(machine.nic.name, 0)
    assert (function.msi_enabled, function.msix_enabled, function.vectors_granted) == (False, False, 0)
    assert function.intx_enabled == (function.pin != 0)


def test_what_a_driver_enables_is_seen_at_once(machine: Machine) -> None:
    before = machine.function()
    machine.write(0x04, before.command | 1 << 10)
    assert not machine.function().intx_enabled
    machine.write(0x04, before.command & ~(1 << 10) | 1 << 2)
    assert machine.function().intx_enabled
    assert machine.function().bus_mastering
    if before.msix:
        at = machine.capability(0x11)
        word = machine.view.space.read(machine.bdf, at)
        machine.write(at, word | 1 << 31)
        assert machine.function().msix_enabled
        assert machine.function().vectors_granted == 0, "every table entry is still masked"
        machine.write(at, word | 1 << 31 | 1 << 30)
        assert not machine.function().msix_enabled, "the whole function is masked: nothing is delivered"
        machine.write(at, word)
    if before.msi is not None:
        at = machine.capability(0x05)
        word = machine.view.space.read(machine.bdf, at)
        machine.write(at, word | 1 << 16)
        assert machine.function().msi_enabled
        machine.write(at, word)
    machine.write(0x04, before.command)
    assert machine.function() == before


def test_virtual_functions_are_offered_and_none_is_there_before_a_driver_came(machine: Machine) -> None:
    if not machine.nic.virtual_functions:
        with pytest.raises(NicproofError, match=r"has no SR-IOV capability$"):
            machine.view.sriov(machine.bdf)
        return
    capability = machine.view.sriov(machine.bdf)
    assert (capability.enabled, capability.count) == (False, 0)
    assert capability.total >= machine.nic.virtual_functions
    # SR-IOV 1.1 3.3.9 and 3.3.10: of an 82576, 128 from the physical function, and 2 from one to the next.
    assert [str(capability.place(Bdf(1, 0, 0), index)) for index in (0, 1, 7)] == ["01:10.0", "01:10.2", "01:11.6"]
    assert machine.view.virtual_functions_present(machine.bdf) == ()


def test_each_bus_is_read_in_its_own_way_and_the_address_port_stays_as_it_was(machine: Machine) -> None:
    assert type(machine.view.space) is (Ecam if machine.kind == "q35" else PortPair)
    machine.vm.monitor.human("o /w 0xcf8 0x80002080")
    machine.function()
    assert machine.vm.monitor.human("i /w 0xcf8").split("=")[1].strip() == "0x80002080"
    assert machine.vm.monitor.execute("query-status")["running"] is False, "a stopped guest is not started"


def test_a_line_ends_at_an_input_that_the_firmware_routed_and_is_closed_without_a_driver(machine: Machine) -> None:
    monitor, function = machine.vm.monitor, machine.function()
    line = find_line(monitor, machine.view.space, machine.kind, function.bdf, 1)
    if machine.kind == "pc":
        # The firmware writes the routed IRQ into the function's interrupt line register (PCI 3.0 6.2.4).
        assert line.pic_irq == line.ioapic_pin == machine.view.space.read(function.bdf, 0x3C) & 0xFF
    else:
        assert 20 <= line.ioapic_pin <= 23
    state = line_state(monitor, line)
    assert (state.ioapic_open, state.ioapic_busy) == (False, False)


def test_what_is_not_there_is_said(machine: Machine) -> None:
    with pytest.raises(NicproofError, match=r"^QEMU has no PCI device 'nobody' on a configured bus$"):
        machine.view.find("nobody")
    with pytest.raises(NicproofError, match=r"^QEMU cannot read 2 words at 0xfffffffff000: "):
        read_memory(machine.vm.monitor, 0xFFFF_FFFF_F000, 2)
    with pytest.raises(NicproofError, match=r"^QEMU has no PCI bus 99$"):
        find_line(machine.vm.monitor, machine.view.space, machine.kind, Bdf(99, 0, 0), 1)
    with pytest.raises(NicproofError, match=r"has no SR-IOV capability$|has 0 virtual functions, not 1$"):
        machine.view.virtual_function(machine.bdf)


class Words:
    """A configuration space with the same words in every function."""

    def __init__(self, words: Mapping[int, int], otherwise: int) -> None:
        self._words = words
        self._otherwise = otherwise

    def read(self, bdf: Bdf, offset: int) -> int:
        return self._words.get(offset, self._otherwise)

    def undisturbed(self) -> AbstractContextManager[None]:
        return nullcontext()


def test_a_function_that_does_not_answer_is_said_to_be_none() -> None:
    with pytest.raises(NicproofError, match=r"^no PCI function answers at 01:00\.0$"):
        capabilities_of(Words({}, otherwise=0xFFFF_FFFF), Bdf(1, 0, 0))


def test_a_list_of_capabilities_that_leads_back_into_itself_ends() -> None:
    words = Words({0x04: 0x00100006, 0x34: 0x40, 0x40: 0x5001, 0x50: 0x4005}, otherwise=0)
    assert capabilities_of(words, Bdf(1, 0, 0)) == {0x01: 0x40, CAPABILITY_MSI: 0x50}
