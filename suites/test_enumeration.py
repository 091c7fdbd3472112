"""Enumeration: the guest finds the NIC that is there, binds the right driver to it, and the two agree on what it is.

Asserted exactly, without tolerance: identity is a fixed property of the hardware. What the device says of itself is
read from QEMU; what the guest says is read from the guest, where it can be asked.
"""

from harness.cell import Cell
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.station import DUT
from harness.suite import applies_to, requirement
from harness.testbed import Testbed


@requirement("PCI 3.0 6.2.1", "82540EM 5.2", "82574L 9.1", "82576 9.4", "virtio 1.2 4.1.2")
def test_vendor_and_device_id_are_the_models(testbed: Testbed, cell: Cell) -> None:
    """The function carries the vendor and device ID of its model."""
    function, nic = testbed.function(), cell.nic
    seen = f"{function.vendor_id:04x}:{function.device_id:04x}"
    expected = f"{nic.vendor_id:04x}:{nic.device_id:04x}"
    assert seen == expected, f"expected vendor and device ID {expected} of {nic.name}, seen {seen}"


@requirement("PCI 3.0 6.2.4")
def test_subsystem_ids_are_the_models(testbed: Testbed, cell: Cell) -> None:
    """The function carries the subsystem vendor and subsystem ID of its model."""
    function, nic = testbed.function(), cell.nic
    seen = f"{function.subsystem_vendor_id:04x}:{function.subsystem_id:04x}"
    expected = f"{nic.subsystem_vendor_id:04x}:{nic.subsystem_id:04x}"
    assert seen == expected, f"expected subsystem {expected} of {nic.name}, seen {seen}"


@requirement("PCI 3.0 6.2.1", "PCI 3.0 appendix D")
def test_class_is_ethernet_controller(testbed: Testbed) -> None:
    """The function's class code says Ethernet controller."""
    seen = testbed.function().class_code
    assert seen == 0x020000, f"expected class code 020000 (Ethernet), seen {seen:06x}"


@requirement("PCI 3.0 6.2.1")
def test_guest_reads_the_same_identity(testbed: Testbed, guest: Guest) -> None:
    """The identity that the guest enumerated is the one that the device has."""
    device, claimed = testbed.function(), guest.identity()
    expected = (
        device.vendor_id,
        device.device_id,
        device.subsystem_vendor_id,
        device.subsystem_id,
        device.class_code,
    )
    seen = (
        claimed.vendor_id,
        claimed.device_id,
        claimed.subsystem_vendor_id,
        claimed.subsystem_id,
        claimed.class_code,
    )
    assert seen == expected, f"expected the guest to read the device's identity {expected}, it read {seen}"


@requirement("PCI 3.0 6.2.2")
def test_memory_decoding_is_on(testbed: Testbed) -> None:
    """A driver that uses memory BARs has switched memory decoding on."""
    function = testbed.function()
    assert function.memory_decoding, f"expected COMMAND bit 1 set by the driver, COMMAND is {function.command:#06x}"


@requirement("PCI 3.0 6.2.2")
def test_bus_mastering_is_on(testbed: Testbed) -> None:
    """A driver whose NIC fetches descriptors itself has switched bus mastering on."""
    function = testbed.function()
    assert function.bus_mastering, f"expected COMMAND bit 2 set by the driver, COMMAND is {function.command:#06x}"


@requirement("PCI 3.0 6.2.2")
def test_guest_agrees_on_decoding_and_mastering(testbed: Testbed, guest: Guest) -> None:
    """What the guest reads back from the command register is what the device holds."""
    device, claimed = testbed.function(), guest.access()
    expected = (device.memory_decoding, device.bus_mastering)
    seen = (claimed.memory_decoding, claimed.bus_mastering)
    assert seen == expected, f"expected the guest to read (memory, bus master) {expected}, it read {seen}"


@requirement("profile")
def test_expected_driver_is_bound(guest: Guest, cell: Cell) -> None:
    """The driver that the profile names for this model is the one that is bound."""
    bound = guest.driver().name
    wanted = cell.nic_profile.drivers
    said = "" if bound in wanted else "; the kernel says: " + ("; ".join(guest.warnings(wanted)[-3:]) or "nothing")
    assert bound in wanted, f"expected a driver of {wanted}, bound is {bound or 'none'}{said}"


@requirement("profile")
def test_function_has_exactly_one_interface(guest: Guest) -> None:
    """One function is one network interface."""
    interfaces = guest.identity().interfaces
    assert len(interfaces) == 1, f"expected one interface of the function, seen {len(interfaces)}: {interfaces}"


@requirement("82540EM 5.6.1", "82574L 6.1.1.1", "82576 6.2.1", "virtio 1.2 5.1.4", "NDIS OID_802_3_PERMANENT_ADDRESS")
def test_guest_reads_the_configured_mac_address(guest: Guest) -> None:
    """The interface's address is the one that is configured in the NIC."""
    seen = guest.mac()
    assert seen == DUT.mac, f"expected MAC address {DUT.mac}, the guest says {seen}"


@requirement("IEEE 802.3-2022 3.2.5", "82540EM 5.6.1", "82574L 6.1.1.1", "82576 6.2.1", "virtio 1.2 5.1.4")
def test_frames_come_from_the_configured_mac_address(wire: Wire) -> None:
    """The source address of what the driver sends is the one that is configured in the NIC."""
    answer = wire.resolve(DUT.ip)
    assert answer is not None, f"expected an ARP answer from {DUT.ip}, none came"
    assert answer.src == DUT.mac, f"expected frames from {DUT.mac}, one came from {answer.src}"


@requirement("IEEE 802.3-2022 22.2.4.2.13")
def test_link_is_up(guest: Guest) -> None:
    """With the cable plugged, the guest sees the link."""
    assert guest.link().up, "expected the link up, the guest says it is down"


@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "virtio 1.2 5.1.4")
def test_speed_is_the_models(guest: Guest, cell: Cell) -> None:
    """The guest reports the speed that the model reports, and none where it reports none."""
    seen = guest.link().speed_mbps
    assert seen == cell.nic.speed_mbps, f"expected speed {cell.nic.speed_mbps} Mb/s of {cell.nic.name}, seen {seen}"


@applies_to(lambda cell: cell.nic.speed_mbps is not None)
@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2")
def test_duplex_is_full(guest: Guest) -> None:
    """A gigabit link is full duplex."""
    seen = guest.full_duplex()
    assert seen is True, f"expected full duplex, the guest says {seen}"


@requirement("profile")
def test_probe_leaves_no_warning(guest: Guest, cell: Cell) -> None:
    """The kernel log holds no warning about the NIC or its driver."""
    warnings = guest.warnings(cell.nic_profile.drivers)
    assert not warnings, f"expected no warning about the DUT in the kernel log, seen: {warnings[0]}"
