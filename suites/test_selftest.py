"""Self test: a driver's own tests pass, and what it shows of its NIC is what the NIC holds.

Asserted exactly, without tolerance. EEPROM, registers and bus address are compared with the datasheet's rules, with the
station's address and with the device itself. Frames are answered after whatever the NIC was asked for: to look at it
must not disturb it. The offline test takes the NIC out of service for some seconds, so it runs as seldom as may be.
"""

from collections.abc import Callable

from harness.cell import Cell
from harness.endpoint.wire import Wire
from harness.errors import Unsupported
from harness.guest.base import Guest
from harness.guest.selftest import Ability, SelfTestPart, WakeEvent
from harness.guest.settings import SettingKind
from harness.registers import Register, await_change, dumpable_registers, read_register, rings_programmed
from harness.station import DUT
from harness.suite import applies_to, requirement
from harness.testbed import Testbed
from harness.traffic.frames import mac_octets
from harness.traffic.stimulus import resolve_repeatedly

EEPROM_SUM = 0xBABA
TIMED_PART = SelfTestPart.INTERRUPTS
UNICAST_PROMISCUOUS = 1 << 3
"""RCTL.UPE"""
WAKE_EVENTS = frozenset({WakeEvent.MAGIC_PACKET, WakeEvent.UNICAST, WakeEvent.MULTICAST, WakeEvent.BROADCAST})
"""What WUFC can filter for in each of the three chips; that it wakes nobody sees: QEMU's models do not."""


def _has_eeprom(cell: Cell) -> bool:
    """Whether the function has an EEPROM of its own: a virtual function has its physical function's."""
    return cell.nic.family != "virtio" and not cell.nic.virtual_function


def _has_self_test(cell: Cell) -> bool:
    """Whether the driver can test the NIC: virtio has nothing that a driver could test."""
    return cell.nic.family != "virtio"


def _tells_firmware(cell: Cell) -> bool:
    """Whether the driver tells the version of the EEPROM's image: Linux's e1000 does not."""
    return _has_eeprom(cell) and cell.nic.family != "e1000"


def _assert_answers(wire: Wire, when: str) -> None:
    """Assert that the DUT works as before."""
    assert resolve_repeatedly(wire, 3) == 3, f"expected answers after {when}, none came"


@applies_to(_has_self_test)
@requirement("82540EM 13.4.2", "82574L 10.2.2.2", "82576 8.2.2", "ethtool self test", "ethtool driver information")
def test_online_self_test_passes(guest: Guest, wire: Wire) -> None:
    """The self test of a NIC that is at work finds nothing wrong, and leaves it at work."""
    seen = guest.self_test(offline=False)
    assert seen.results, "expected the online test to name what it has tested, it names nothing"
    failed = {part: code for part, code in seen.results.items() if code}
    assert (seen.passed, failed) == (True, {}), f"expected the online test to pass, its codes are {seen.results}"
    told = guest.driver_information().abilities
    assert Ability.SELF_TEST in told, (
        f"expected the driver to say that it has a self test, seen {', '.join(sorted(told))}"
    )
    _assert_answers(wire, "the online self test")


@applies_to(_has_self_test)
@requirement("ethtool self test", "82540EM 13.4", "82574L 10.2", "82576 8.1")
def test_offline_self_test_passes(guest: Guest, cell: Cell) -> None:
    """The self test of registers, EEPROM, loopback and link finds nothing wrong; a virtual function's is of the link.

    That of interrupts is left to test_interrupts: the driver gives each only 10 ms, which is a matter of the host.
    """
    seen = guest.self_test(offline=True)
    missing = (set(SelfTestPart) if _has_eeprom(cell) else {SelfTestPart.LINK}) - seen.results.keys()
    assert not missing, (
        f"expected the offline test to be of {', '.join(sorted(missing))} too, seen {', '.join(seen.results)}"
    )
    failed = {part: code for part, code in seen.results.items() if code and part != TIMED_PART}
    assert not failed, f"expected all of {sorted(seen.results)} to pass, the codes of those that failed: {failed}"


@applies_to(_has_self_test)
@requirement("ethtool self test")
def test_offline_self_test_leaves_the_nic_as_it_was(testbed: Testbed, guest: Guest) -> None:
    """Whatever an offline self test finds, the NIC is then set up as before, with the same vectors, and works."""
    before = rings_programmed(testbed), testbed.function().vectors_granted, guest.mac()
    guest.self_test(offline=True)
    after = rings_programmed(testbed), testbed.function().vectors_granted, guest.mac()
    assert after == before, f"expected rings, vectors and MAC address {before} after the self test, seen {after}"
    _assert_answers(testbed.wire, "the offline self test")


@applies_to(_has_eeprom)
@requirement("82540EM 5.6.1", "82574L 6.1.1.1", "82576 6.2.1")
def test_eeprom_holds_the_mac_address(guest: Guest, wire: Wire) -> None:
    """Words 0 to 2 of the EEPROM are the station's address, octet by octet."""
    seen = guest.eeprom().mac
    assert seen == mac_octets(DUT.mac), f"expected {DUT.mac} in words 0 to 2, seen {seen.hex(':')}"
    _assert_answers(wire, "the EEPROM was read")


@applies_to(_has_eeprom)
@requirement("82540EM 5.6 checksum", "82574L 6.1 checksum", "82576 6.2 checksum")
def test_eeprom_sums_to_baba(guest: Guest, wire: Wire) -> None:
    """Words 00h to 3Fh of the EEPROM, with the checksum in the last, add up to BABAh."""
    seen = guest.eeprom().sum
    assert seen == EEPROM_SUM, f"expected a sum of {EEPROM_SUM:04x}, seen {seen:04x}"
    _assert_answers(wire, "the EEPROM was read")


@applies_to(_has_self_test)
@requirement("82540EM 13.4", "82574L 10.2", "82576 8.1", "ethtool register dump")
def test_register_dump_is_the_devices(testbed: Testbed, guest: Guest) -> None:
    """The driver dumps its control, status and ring registers as the device has them."""
    device, dump = dumpable_registers(testbed), guest.register_dump()
    seen = {name: dump.get(name) for name in device}
    wrong = [f"{name} {seen[name]} instead of {value}" for name, value in device.items() if seen[name] != value]
    assert not wrong, f"expected the device's {len(device)} registers in the dump, seen {', '.join(wrong)}"
    _assert_answers(testbed.wire, "the registers were dumped")


@applies_to(_has_eeprom)
@requirement("82540EM 13.4.22", "82574L 10.2.5.1", "82576 8.10.1", "ethtool register dump")
def test_register_dump_follows_a_change(testbed: Testbed, guest: Guest) -> None:
    """When promiscuous mode begins, the dump shows it in RCTL, as the device does."""
    off = guest.register_dump()["RCTL"] & UNICAST_PROMISCUOUS
    guest.set_promiscuous(True)
    on, device = guest.register_dump()["RCTL"], dumpable_registers(testbed)[Register.RCTL]
    assert (off, on & UNICAST_PROMISCUOUS) == (0, UNICAST_PROMISCUOUS), f"expected UPE to be set in {on:08x}"
    assert on == device, f"expected the device's RCTL {device:08x} in the dump, seen {on:08x}"
    _assert_answers(testbed.wire, "the registers were dumped")


@requirement("ethtool identify")
def test_light_blinks_and_is_given_back(testbed: Testbed, guest: Guest, cell: Cell) -> None:
    """A driver that can make its light blink leaves the light as it was, and the NIC works."""
    has_light = _has_eeprom(cell)
    before = read_register(testbed, Register.LEDCTL) if has_light else b""
    refused = guest.identify(1)
    assert not refused, f"expected the light to blink for a second, refused: {refused}"
    after = read_register(testbed, Register.LEDCTL) if has_light else b""
    assert after == before, f"expected LEDCTL {before.hex()} again, seen {after.hex()}"
    _assert_answers(testbed.wire, "the light blinked")


@applies_to(_has_eeprom)
@requirement("ethtool identify")
def test_light_blinks_as_long_as_it_is_asked_to(testbed: Testbed, guest: Guest) -> None:
    """While the light is to blink, LEDCTL is another than before, and afterwards the same again."""
    before = read_register(testbed, Register.LEDCTL)
    with guest.light_blinking():
        during = await_change(testbed, Register.LEDCTL, before)
    after = read_register(testbed, Register.LEDCTL)
    assert during != before, f"expected LEDCTL {before.hex()} changed while the light was to blink, it was not"
    assert after == before, f"expected LEDCTL {before.hex()} again after {during.hex()}, seen {after.hex()}"


@applies_to(_has_self_test)
@requirement("ethtool-netlink WOL_GET", "NDIS 6 Wake on Magic Packet")
def test_wake_events_offered_are_the_devices(guest: Guest, cell: Cell) -> None:
    """A physical function can be woken by magic packets and by frames of each kind of address, a virtual by none."""
    wake = guest.wake_events()
    if cell.nic.virtual_function:
        assert not wake.offered, f"expected no wake-up event of a virtual function, seen {set(wake.offered)}"
    else:
        missing = WAKE_EVENTS - wake.offered
        assert not missing, f"expected {set(WAKE_EVENTS)} offered, missing {set(missing)}"
    assert wake.on <= wake.offered, f"expected no event on that is not offered, seen {set(wake.on - wake.offered)}"


@applies_to(_has_eeprom)
@requirement("ethtool-netlink WOL_SET", "NDIS 6 Wake on Magic Packet")
def test_wake_events_read_back_and_survive(guest: Guest, wire: Wire) -> None:
    """Each event alone, all, and none can be chosen; the choice reads back and lasts while the NIC is down and up."""
    offered = guest.wake_events().offered
    for wished in (*(frozenset({event}) for event in sorted(offered)), frozenset[WakeEvent](), offered):
        refused = guest.set_wake_events(wished)
        assert not refused, f"expected the events {set(wished)} taken, refused: {refused}"
        assert guest.wake_events().on == wished, f"expected {set(wished)} on, seen {set(guest.wake_events().on)}"
    guest.bounce(1)
    assert guest.wake_events().on == offered, f"expected {set(offered)} to last, seen {set(guest.wake_events().on)}"
    _assert_answers(wire, "wake-up events were chosen")


@applies_to(_has_self_test)
@requirement("ethtool-netlink WOL_SET")
def test_wake_event_that_is_not_offered_is_refused(guest: Guest, wire: Wire) -> None:
    """An event that the driver does not offer is refused, and the choice stays."""
    before = guest.wake_events()
    for event in set(WakeEvent) - before.offered:
        assert guest.set_wake_events({event}), f"expected the event {event} refused, it was taken"
    assert guest.wake_events() == before, f"expected {before} after refusals, seen {guest.wake_events()}"
    _assert_answers(wire, "refused changes")


@requirement("profile")
def test_driver_tells_its_name_and_place(testbed: Testbed, guest: Guest, cell: Cell) -> None:
    """The driver tells the name that the profile expects, and the bus address at which the device sits."""
    told = guest.driver_information()
    assert told.name in cell.nic_profile.drivers, f"expected one of {cell.nic_profile.drivers}, seen {told.name!r}"
    assert told.bus_address == str(testbed.bdf), f"expected the bus address {testbed.bdf}, seen {told.bus_address!r}"


def _is_done(ask: Callable[[], object]) -> bool:
    """Whether an operation is there."""
    try:
        ask()
    except Unsupported:
        return False
    return True


@requirement("ethtool driver information")
def test_driver_does_what_it_says_it_can(guest: Guest, cell: Cell) -> None:
    """What the driver says that it can show is to be had of it, and nothing else is."""
    asked: dict[Ability, Callable[[], object]] = {
        Ability.STATISTICS: guest.driver_counters,
        Ability.EEPROM: guest.eeprom,
        Ability.REGISTER_DUMP: guest.register_dump,
        Ability.PRIVATE_FLAGS: lambda: guest.settings(SettingKind.PRIVATE_FLAGS),
    }
    if not _has_self_test(cell):
        asked[Ability.SELF_TEST] = lambda: guest.self_test(offline=False)  # that of others passes in a test of its own
    told = guest.driver_information().abilities & asked.keys()
    done = {ability for ability, ask in asked.items() if _is_done(ask)}
    assert done == told, (
        f"expected of the driver, as it says, {', '.join(sorted(told))}, seen {', '.join(sorted(done))}"
    )


@applies_to(_tells_firmware)
@requirement("82574L 6.1.1 image version", "82576 6.2 image version")
def test_driver_tells_the_version_of_the_eeproms_image(guest: Guest) -> None:
    """The firmware version that the driver tells is the one in word 05h of the EEPROM."""
    version = guest.eeprom().image_version
    told = guest.driver_information().firmware
    assert told.startswith(version), f"expected the version {version} of the EEPROM's word 05h, seen {told!r}"
