"""The MAC address: a station that is given another one uses it, and nothing else, until it is given one again.

Asserted exactly, without tolerance: a frame is delivered or it is not, and the address is read octet for octet where a
frame names it. What is delivered is what the unicast filter lets through: a capture in the guest that leaves the
filters as they are. Every frame to an address that is not in use is followed, in the same window, by one to that in
use. The new address differs from the old one in each of its octets.

A virtual function asks its physical function for another address. It gets it where that trusts it, as the guest's start
has it, and not where its address was fixed: two rules, of which the second is about virtual functions alone.
"""

from collections.abc import Callable

import pytest
from scapy.layers.l2 import ARP, Ether

from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.station import BROADCAST_MAC, DUT, STRANGER_MAC, WIRE, almost
from harness.suite import Disturb, after_sleep_as_well, applies_to, own_settings, requirement
from harness.traffic.exchange import stations_reached
from harness.traffic.frames import IPV4

NEW_MAC = "00:00:5e:00:53:a1"
"""Of the range for documentation (RFC 7042, 2.1.1)."""
INVALID = ("01:00:5e:00:00:05", BROADCAST_MAC, "00:00:00:00:00:00")
"""A group's, that of all stations, nobody's."""
ONE_BY_ONE = tuple(f"00:00:5e:00:53:{number:02x}" for number in range(0xB0, 0xC4))
"""More addresses, one after the other, than the exact filters of an 82540EM or 82574L hold at once (16)."""
GROUP = "01:00:5e:40:12:34"


def _while_up(guest: Guest, mac: str) -> bool:
    return guest.set_mac(mac)


def _while_down(guest: Guest, mac: str) -> bool:
    guest.set_up(False)
    taken = guest.set_mac(mac)
    guest.set_up(True)
    return taken


Change = Callable[[Guest, str], bool]
while_up_and_while_down = pytest.mark.parametrize("change", [_while_up, _while_down], ids=["while-up", "while-down"])


def _assert_taken(taken: bool, mac: str) -> None:
    assert taken, f"expected the guest to take the MAC address {mac}, seen a refusal"


def _assert_reached(guest: Guest, wire: Wire, stations: tuple[str, ...], own: str) -> None:
    """Assert that of frames to these stations and then one to the DUT's own address, that alone is delivered."""
    seen = stations_reached(wire, guest, stations, own)
    assert seen == [own], f"of frames to {', '.join((*stations, own))}, expected that to {own} delivered, seen {seen}"


def _assert_named(wire: Wire, mac: str) -> None:
    """Assert that the DUT answers ARP from `mac`, and names it."""
    answer = wire.resolve(DUT.ip)
    assert answer is not None, f"expected an ARP reply from {mac}, seen none"
    seen = (answer.src, answer[ARP].hwsrc)
    assert seen == (mac, mac), (
        f"expected an ARP reply from {mac} that names it, seen one from {seen[0]} naming {seen[1]}"
    )


@requirement(
    "IEEE 802.3-2022 4A.2.4.1.1",
    "82540EM 13.5.2",
    "82574L 10.2.5 RAL",
    "82576 8.10 RAL",
    "virtio 1.2 5.1.6.5.2",
    "NDIS NdisReadNetworkAddress",
)
@while_up_and_while_down
def test_new_address_receives(guest: Guest, wire: Wire, change: Change) -> None:
    """A frame to the new address is delivered, and none to one that differs from it in one bit."""
    _assert_taken(change(guest, NEW_MAC), NEW_MAC)
    _assert_reached(guest, wire, (STRANGER_MAC, almost(NEW_MAC, 5)), NEW_MAC)


@requirement(
    "IEEE 802.3-2022 4A.2.4.1.1",
    "82540EM 13.5.2",
    "82574L 10.2.5 RAL",
    "82576 8.10 RAL",
    "virtio 1.2 5.1.6.5.2",
    "NDIS NdisReadNetworkAddress",
)
@while_up_and_while_down
def test_former_address_is_dead(guest: Guest, wire: Wire, change: Change) -> None:
    """A frame to the address that the station had before is not delivered."""
    _assert_taken(change(guest, NEW_MAC), NEW_MAC)
    _assert_reached(guest, wire, (DUT.mac,), NEW_MAC)


@requirement("RFC 826 packet reception", "IEEE 802.3-2022 3.2.5", "NDIS NdisReadNetworkAddress")
@while_up_and_while_down
def test_arp_names_the_new_address(guest: Guest, wire: Wire, change: Change) -> None:
    """Who asks for the station's IPv4 address is told the new address, from the new address."""
    _assert_taken(change(guest, NEW_MAC), NEW_MAC)
    _assert_named(wire, NEW_MAC)


@requirement("IEEE 802.3-2022 3.2.5", "NDIS NdisReadNetworkAddress")
def test_guest_sends_from_the_new_address(guest: Guest, wire: Wire) -> None:
    """What the guest's stack sends by itself has the new source address, and the answer to it comes back there."""
    _assert_taken(guest.set_mac(NEW_MAC), NEW_MAC)
    with wire.capture(IPV4.is_icmp(IPV4.request)) as seen:
        answered = guest.ping(WIRE.ip, 18)
    assert answered, f"expected the guest to take the answer to its ping from {NEW_MAC}, it took none"
    sources = {Ether(sent).src for sent in seen.wait(1)}
    assert sources == {NEW_MAC}, f"expected the guest's ping from {NEW_MAC}, seen from {sources}"


@requirement("IEEE 802.3-2022 3.2.3", "IEEE 802.3-2022 3.2.5")
@pytest.mark.parametrize("up", [True, False], ids=["while-up", "while-down"])
def test_address_of_no_station_is_refused(guest: Guest, wire: Wire, up: bool) -> None:
    """A group's address, that of all stations and that of nobody are refused, and the station keeps what it has."""
    if not up:
        guest.set_up(False)
    taken = [mac for mac in INVALID if guest.set_mac(mac)]
    guest.set_up(True)
    assert not taken, f"expected the guest to refuse the MAC addresses {INVALID}, it took {taken}"
    assert guest.mac() == DUT.mac, f"expected the MAC address {DUT.mac} kept, the guest says {guest.mac()}"
    _assert_reached(guest, wire, (STRANGER_MAC,), DUT.mac)
    _assert_named(wire, DUT.mac)


@requirement(
    "IEEE 802.3-2022 4A.2.4.1.1", "82540EM 13.5.2", "82574L 10.2.5 RAL", "82576 8.10 RAL", "virtio 1.2 5.1.6.5.2"
)
def test_only_the_last_of_many_addresses_receives(guest: Guest, wire: Wire) -> None:
    """Of many addresses that a station had one after the other, none is left in its filters but the last."""
    for mac in ONE_BY_ONE:
        _assert_taken(guest.set_mac(mac), mac)
    _assert_reached(guest, wire, ONE_BY_ONE[:-1], ONE_BY_ONE[-1])


@requirement(
    "IEEE 802.3-2022 4A.2.4.1.1", "82540EM 3.2.1", "82574L 7.1.1", "82576 7.1 filtering", "virtio 1.2 5.1.6.5.2"
)
def test_groups_are_kept_with_the_new_address(guest: Guest, wire: Wire) -> None:
    """A station that changes its address goes on taking the frames to all stations and to the groups it has joined."""
    guest.join([GROUP])
    _assert_taken(guest.set_mac(NEW_MAC), NEW_MAC)
    seen, expected = stations_reached(wire, guest, (BROADCAST_MAC, GROUP), NEW_MAC), [BROADCAST_MAC, GROUP, NEW_MAC]
    assert seen == expected, f"expected the frames to {', '.join(expected)} delivered, seen those to {seen}"


@requirement(
    "82540EM 13.5.2", "82574L 10.2.5 RAL", "82576 8.10 RAL", "virtio 1.2 5.1.6.5.2", "NDIS NdisReadNetworkAddress"
)
@after_sleep_as_well
def test_new_address_survives(guest: Guest, wire: Wire, disturb: Disturb) -> None:
    """The new address lasts until another is given, though the NIC is closed and opened, is reset, or sleeps."""
    _assert_taken(guest.set_mac(STRANGER_MAC), STRANGER_MAC)
    _assert_taken(guest.set_mac(NEW_MAC), NEW_MAC)
    disturb(guest)
    _assert_reached(guest, wire, (STRANGER_MAC,), NEW_MAC)
    _assert_named(wire, NEW_MAC)


@own_settings
@requirement("82540EM 5.6.1", "82574L 6.1.1.1", "82576 6.2.1", "virtio 1.2 5.1.4", "NDIS OID_802_3_PERMANENT_ADDRESS")
@while_up_and_while_down
def test_permanent_address_stays(guest: Guest, change: Change) -> None:
    """The address that the NIC was made with is still told while another one is in use."""
    _assert_taken(change(guest, NEW_MAC), NEW_MAC)
    _assert_permanent(guest)


@requirement("82540EM 5.6.1", "82574L 6.1.1.1", "82576 6.2.1", "virtio 1.2 5.1.4", "NDIS OID_802_3_PERMANENT_ADDRESS")
def test_permanent_address_survives_down_and_up(guest: Guest) -> None:
    """It is still told after the interface was closed and opened with the other one."""
    _assert_taken(guest.set_mac(NEW_MAC), NEW_MAC)
    guest.bounce(1)
    _assert_permanent(guest)


def _assert_permanent(guest: Guest) -> None:
    """Assert that the guest tells the new address as the one in use, and the first one as the NIC's own."""
    seen, expected = (guest.mac(), guest.permanent_mac()), (NEW_MAC, DUT.mac)
    assert seen == expected, f"expected (in use, permanent) {expected}, the guest says {seen}"


@requirement(
    "IEEE 802.3-2022 4A.2.4.1.1", "82540EM 13.5.2", "82574L 10.2.5 RAL", "82576 8.10 RAL", "virtio 1.2 5.1.6.5.2"
)
def test_original_address_restores_all(guest: Guest, wire: Wire) -> None:
    """A station that is given its first address again is what it was before."""
    for mac in (NEW_MAC, DUT.mac):
        _assert_taken(guest.set_mac(mac), mac)
    _assert_reached(guest, wire, (NEW_MAC, STRANGER_MAC), DUT.mac)
    _assert_named(wire, DUT.mac)


@applies_to(lambda cell: cell.nic.virtual_function)
@requirement("82576 7.10.2")
def test_fixed_address_is_kept(guest: Guest, wire: Wire) -> None:
    """A virtual function whose physical function has fixed its address is refused another, and keeps what it has."""
    guest.fix_mac()
    taken = guest.set_mac(NEW_MAC)
    assert not taken, f"expected the guest to refuse the MAC address {NEW_MAC}, it took it"
    _assert_reached(guest, wire, (NEW_MAC,), DUT.mac)
    _assert_named(wire, DUT.mac)
