"""Linux's statistics are read from what its tools really print."""

from harness.guest import netdev_statistics
from harness.guest.linux_memory import without_memory
from harness.guest.linux_statistics import (
    by_queue,
    errors_among,
    of_intel_device,
    parse_named,
    parse_netlink,
    parse_procfs,
)
from harness.guest.statistics import Counts, Statistics

NETLINK = """[{"ifindex":3,"ifname":"eth1","mtu":1500,"stats64":{"rx":{"bytes":802,"packets":4,"errors":3,"dropped":2,
"over_errors":0,"multicast":1,"length_errors":0},"tx":{"bytes":992,"packets":6,"errors":0,"dropped":1,
"carrier_errors":0,"collisions":0,"carrier_changes":2}}}]"""
PROCFS = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
 eth10:    8494      49    0    0    0     0          0         0     8334      41    0    0    0     0       0          0
  eth1:     802       4    3    2    0     0          0         1      992       6    0    1    0     0       0          0
"""  # noqa: E501
ETHTOOL = """NIC statistics:
     rx_packets: 4
     tx_packets: 6
     rx_bytes: 818
     tx_bytes: 1016
     rx_broadcast: 1
     tx_broadcast: 2
     rx_multicast: 1
     tx_multicast: 2
     multicast: 1
     rx_long_length_errors: 7
     rx_short_length_errors: 5
     tx_queue_0_packets: 3
     tx_queue_0_bytes: 770
     rx_queue_0_packets: 4
     rx_queue_0_bytes: 802
     rx_queue_1_packets: 9
     rx_queue_1_bytes: 900
"""
NETDEV = bytes.fromhex(
    "3c0000001500000000000000c20000000c01000008000100020000000800020000000000080003000000000008000800040000000800090022030000"
    "4c0000001500000000000000c20000000c01000008000100020000000800020001000000080003000000000008000a000600000008000b00e0030000"
    "08002100000000000800220000000000"
    "140000000300020000000000c200000000000000"
)
"""Of virtio_net, 6.12: a message for each queue, with its frames and octets, and for the one that sends how often it
stopped and was woken; and the end."""
EXPECTED = Statistics(Counts(4, 802, 1, errors=3, dropped=2), Counts(6, 992, errors=0, dropped=1))


def test_netlink_and_procfs_say_the_same() -> None:
    assert parse_netlink(NETLINK) == EXPECTED
    assert parse_procfs(PROCFS, "eth1") == EXPECTED


def test_registers_are_read_by_the_drivers_names() -> None:
    told = of_intel_device(parse_named(ETHTOOL))
    assert told is not None
    assert told.received == Counts(4, 818, 1, 1, too_short=5, too_long=7)
    assert told.sent == Counts(6, 1016, 2, 2)
    assert of_intel_device({"rx0_kicks": 1}) is None


def test_queues_are_told_apart() -> None:
    queues = by_queue(parse_named(ETHTOOL))
    assert queues == {
        0: Statistics(Counts(4, 802), Counts(3, 770)),
        1: Statistics(Counts(9, 900), Counts(0, 0)),
    }
    assert sum(queues.values(), Statistics()).received == Counts(13, 1702)


def test_queues_are_told_apart_by_netdev() -> None:
    *told, done = netdev_statistics.messages(NETDEV)
    lines = [line for _, content in told for line in netdev_statistics.lines(netdev_statistics.attributes(content[4:]))]
    assert by_queue(parse_named("\n".join(lines))) == {0: Statistics(Counts(4, 802), Counts(6, 992))}
    assert done == (netdev_statistics.DONE, bytes(4))


def test_what_one_of_two_does_not_tell_is_not_told_of_both() -> None:
    assert Counts(3, 30, errors=1) - Counts(1, 10) == Counts(2, 20)


def test_counters_of_errors_are_told_by_their_names() -> None:
    driver = """
     rx_packets: 4
     rx_no_buffer_count: 1
     rx_missed_errors: 2
     tx_restart_queue: 9
     tx_abort_late_coll: 3
     tx_deferred_ok: 9
     tx_timeout_count: 4
     rx_csum_offload_good: 9
     rx_csum_offload_errors: 5
     alloc_rx_buff_failed: 6
     dropped_smbus: 7
     rx_queue_0_csum_err: 8
     rx_queue_0_drops: 10
     rx_queue_0_packets: 9
     tx0_tx_timeouts: 11
     tx0_kicks: 9
"""
    found = errors_among(NETLINK, parse_named(driver))
    assert sorted(count for name, count in found.items() if name.endswith(" of the driver")) == [
        *range(1, 9),
        10,
        11,
    ]
    assert {name: count for name, count in found.items() if not name.endswith(" of the driver")} == {
        "rx errors": 3,
        "rx dropped": 2,
        "rx over_errors": 0,
        "rx length_errors": 0,
        "tx errors": 0,
        "tx dropped": 1,
        "tx carrier_errors": 0,
        "tx collisions": 0,
    }


WITHOUT_MEMORY = """NIC statistics:
     rx_packets: 4
     alloc_rx_buff_failed: 21
     rx_queue_0_drops: 7
     rx_queue_0_alloc_failed: 3
     rx0_drops: 5860
     rx0_xdp_drops: 9
"""


def test_receptions_without_memory_are_those_that_drivers_count() -> None:
    assert without_memory(parse_named(WITHOUT_MEMORY)) == 21 + 7 + 3 + 5860
    assert without_memory(parse_named(ETHTOOL)) is None
