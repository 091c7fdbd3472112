"""MAC addresses that cannot be changed, are changed too easily, or live on after they were changed."""

from harness.fault import Fault
from tests.faults.guest import in_guest, without


def mac(*names: str) -> tuple[str, ...]:
    return tuple(f"test_mac.py::test_{name}" for name in names)


FAULTS = (
    Fault(
        "the unicast filter is open",
        cell="e1000/intx",
        tests=mac(
            "new_address_receives",
            "former_address_is_dead",
            "address_of_no_station_is_refused",
            "only_the_last_of_many_addresses_receives",
            "new_address_survives",
            "original_address_restores_all",
        ),
        tampered=in_guest("ip link set $nic promisc on"),
    ),
    Fault(
        "the MAC address stays as it is, though the system says that it took another",
        cell="virtio-net/msix",
        tests=mac(
            "arp_names_the_new_address",
            "guest_sends_from_the_new_address",
            "address_of_no_station_is_refused",
            "groups_are_kept_with_the_new_address",
            "permanent_address_stays",
        ),
        tampered=in_guest(without("ip", "*\\ address\\ *")),
    ),
    Fault(
        "the system takes the MAC address in use for the permanent one",
        cell="e1000/intx",
        tests=mac("permanent_address_stays", "permanent_address_survives_down_and_up"),
        tampered=in_guest(
            """echo 'case $1 in -P) cat /sys/class/net/$2/address ;; *) exec /real/ethtool "$@" ;; esac' """
            "| instead ethtool"
        ),
    ),
    Fault(
        "the physical function fixes no address",
        cell="igbvf/msix",
        tests=mac("fixed_address_is_kept"),
        tampered=in_guest(without("ip", "*trust\\ off")),
    ),
)
