"""Counters that count the wrong things, in the wrong direction or not at all."""

from harness.fault import Fault
from tests.faults.ethtool import edited
from tests.faults.guest import in_guest, rewritten


def statistics(*names: str) -> tuple[str, ...]:
    return tuple(f"test_statistics.py::test_{name}" for name in names)


def in_netlink(change: str) -> str:
    return rewritten("ip", '*" -s "*', change)


def in_ethtool(change: str) -> str:
    return edited("-S", change)


NUMBER = r"\([0-9]*\)"
EXCHANGED = (
    rf's/"rx":{{"bytes":{NUMBER},"packets":{NUMBER},\(.*\)"tx":{{"bytes":{NUMBER},"packets":{NUMBER},'
    r'/"rx":{"bytes":\4,"packets":\5,\3"tx":{"bytes":\1,"packets":\2,/'
)
"""The frames and octets that were received become those that were sent."""

FAULTS = (
    Fault(
        "the system takes what is received for what is sent",
        cell="igb/msix",
        tests=statistics(
            "one_frame_is_counted_once",
            "octets_are_counted_without_fcs",
            "frames_of_every_length_are_counted",
            "directions_are_not_exchanged",
            "segments_of_a_stream_are_counted_one_by_one",
            "every_source_says_the_same",
            "counters_survive",
        ),
        tampered=in_guest(in_netlink(EXCHANGED)),
    ),
    Fault(
        "the device takes what is received for what is sent",
        cell="e1000e/msix",
        tests=statistics(
            "device_counts_good_frames",
            "device_counts_octets_with_fcs",
            "device_counts_groups_and_broadcasts",
            "good_frames_have_no_bad_length",
            "frames_of_bad_length_are_counted",
        ),
        tampered=in_guest(in_ethtool("s/ rx_/ xx_/; s/ tx_/ rx_/; s/ xx_/ tx_/")),
    ),
    Fault(
        "what the device counts of sent frames is forgotten",
        cell="igb/msix",
        tests=statistics("system_and_device_have_counted_the_same"),
        tampered=in_guest(in_ethtool("s/ tx_packets: .*/ tx_packets: 0/")),
    ),
    Fault(
        "the device takes the segments that are received for those that are sent",
        cell="e1000/intx",
        tests=statistics("device_counts_segments_one_by_one"),
        tampered=in_guest(in_ethtool("s/ rx_/ xx_/; s/ tx_/ rx_/; s/ xx_/ tx_/")),
    ),
    Fault(
        "no error is counted",
        cell="e1000e/msix",
        tests=statistics("frames_of_bad_length_are_errors"),
        tampered=in_guest(in_netlink('s/"errors":[0-9]*/"errors":0/g')),
    ),
    Fault(
        "every frame is counted as an error",
        cell="igb/msix",
        tests=statistics("good_frames_are_no_errors"),
        tampered=in_guest(in_netlink(rf's/"packets":{NUMBER},"errors":[0-9]*/"packets":\1,"errors":\1/g')),
    ),
    Fault(
        "every frame that the device receives is one that it missed as well",
        cell="igb/msix",
        tests=statistics("good_frames_are_no_errors[to-dut]"),
        tampered=in_guest(in_ethtool("/ rx_packets:/h; / rx_missed_errors:/{g; s/rx_packets/rx_missed_errors/}")),
    ),
    Fault(
        "no frame to a group is counted as such",
        cell="igb/msix",
        tests=statistics("received_groups_are_counted_as_multicast"),
        tampered=in_guest(in_netlink('s/"multicast":[0-9]*/"multicast":0/')),
    ),
    Fault(
        "the interface also takes what is for others",
        cell="igb/msix",
        tests=statistics("filtered_frames_are_not_counted"),
        tampered=in_guest("ip link set $nic promisc on"),
    ),
    Fault(
        "one queue is not counted",
        cell="igb/msix",
        tests=statistics("queues_add_up"),
        tampered=in_guest(in_ethtool("s/_queue_1_packets: [0-9]*/_queue_1_packets: 0/")),
    ),
    Fault(
        "the driver's counters start again when the interface has been closed",
        cell="igb/msix",
        tests=statistics("counters_survive[down-and-up]"),
        tampered=in_guest(
            """echo 'case $1 in -S) ;; *) exec /real/ethtool "$@" ;; esac
            grep -q down /sys/class/net/'$nic'/operstate && change="s/ rx_bytes: .*/ rx_bytes: 0/"
            /real/ethtool "$@" | sed "$change"' | instead ethtool"""
        ),
    ),
    Fault(
        "one queue receives nothing",
        cell="igb/msix",
        tests=statistics("queues_add_up"),
        tampered=in_guest("ethtool -X $nic weight 1 0"),
    ),
    Fault(
        "the one queue is not counted",
        cell="virtio-net/msix",
        tests=statistics("queues_add_up"),
        tampered=in_guest(
            "at=$(command -v python3); real=$(readlink -f $at); rm $at\n"
            """(echo '#!/bin/sh'; echo "$real" '"$@" | sed "s/_packets: .*/_packets: 0/"') >$at; chmod +x $at"""
        ),
    ),
)
