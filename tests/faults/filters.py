"""Receive filters that let in what they should drop, drop what they should let in, or cannot be changed."""

from collections.abc import Iterable

from harness.fault import Fault
from harness.station import BROADCAST_MAC, DUT, STRANGER_MAC
from harness.traffic.frames import mac_octets
from tests.faults.cable import ARP, EXPERIMENT, TO, changes, lose
from tests.faults.guest import in_guest, without

BROADCAST, STRANGER = mac_octets(BROADCAST_MAC), mac_octets(STRANGER_MAC)


def readdress(frame: bytes) -> Iterable[bytes]:
    """Do what a switch does that has learnt a wrong address, and a station that takes it for its own."""
    return (mac_octets(DUT.mac) + frame[6:],)


def to_group(frame: bytes) -> bool:
    return frame[0] % 2 == 1 and frame[:6] != BROADCAST and frame[12:14] == ARP


def filters(*names: str) -> tuple[str, ...]:
    return tuple(f"test_filters.py::test_{name}" for name in names)


FAULTS = (
    Fault(
        "the filters let everything in",
        cell="e1000/intx",
        tests=filters(
            "foreign_unicast_is_dropped",
            "foreign_unicast_is_not_taken_for_a_group",
            "group_that_nobody_joined_is_dropped",
            "group_is_dropped_after_it_was_left",
            "filters_are_exact_again_when_most_groups_are_left",
            "all_multicast_receives_every_group_and_no_foreign_unicast",
            "groups_are_dropped_again_after_all_multicast_mode",
            "station_and_group_filters_survive",
        ),
        tampered=in_guest("ip link set $nic promisc on"),
    ),
    Fault(
        "a foreign station's frames come to the DUT's address",
        cell="e1000e/msix",
        tests=filters("foreign_unicast_is_dropped", "request_to_a_foreign_station_is_not_answered"),
        cable=changes(lambda frame: frame[:6] == STRANGER, readdress, TO),
    ),
    Fault(
        "a foreign group's frames come to the DUT's address",
        cell="e1000e/msix",
        tests=filters("request_to_a_foreign_group_is_not_answered"),
        cable=changes(to_group, readdress, TO),
    ),
    Fault(
        "frames to all stations are lost",
        cell="e1000e/msix",
        tests=filters("broadcast_is_delivered"),
        cable=changes(lambda frame: frame[:6] == BROADCAST and frame[12:14] == EXPERIMENT, lose, TO),
    ),
    Fault(
        "promiscuous and all-multicast mode cannot be switched on",
        cell="igb/msix",
        tests=filters(
            "promiscuous_interface_receives_foreign_unicast",
            "promiscuous_interface_receives_every_group",
            "all_multicast_receives_every_group_and_no_foreign_unicast",
            "promiscuous_mode_survives",
            "all_multicast_mode_survives",
        ),
        tampered=in_guest(without("ip", "*promisc*|*allmulticast*")),
    ),
    Fault(
        "promiscuous and all-multicast mode do not end",
        cell="virtio-net/msix",
        tests=filters(
            "foreign_frames_are_dropped_again_after_promiscuous_mode",
            "groups_are_dropped_again_after_all_multicast_mode",
        ),
        tampered=in_guest(without("ip", "*off")),
    ),
    Fault(
        "no group can be joined",
        cell="igb/msix",
        tests=filters(
            "joined_group_is_delivered",
            "more_groups_than_the_filters_hold_are_all_delivered",
            "station_and_group_filters_survive",
        ),
        tampered=in_guest(without("ip", "*maddress\\ add*")),
    ),
    Fault(
        "no group can be left",
        cell="virtio-net/msix",
        tests=filters(
            "group_is_dropped_after_it_was_left",
            "filters_are_exact_again_when_most_groups_are_left",
        ),
        tampered=in_guest(without("ip", "*maddress\\ delete*")),
    ),
)
