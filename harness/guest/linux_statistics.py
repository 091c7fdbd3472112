"""Statistics on Linux: struct rtnl_link_stats64 by netlink, sysfs and procfs, the driver's own by ethtool or netdev."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from importlib import resources

from harness.errors import Unsupported
from harness.guest.linux_system import LinuxSystem
from harness.guest.statistics import Counts, Statistics, StatisticsOperations

_OF_ERRORS = re.compile(r"(?<![a-z])(no_buffer|coll|collisions|drops?|dropped|err|errors|failed|timeouts?)(?![a-z])")
"""In the name of a counter of errors, of frames dropped, or of memory that was lacking."""


def parse_netlink(text: str) -> Statistics:
    """Read what `ip -j -s -s link show eth1` prints.

    From iproute2 6.15, shortened (5.10 prints the same names):
        [{"ifindex":3,"ifname":"eth1","stats64":{"rx":{"bytes":802,"packets":4,"errors":0,"dropped":0,"multicast":1},
        "tx":{"bytes":992,"packets":6,"errors":0,"dropped":1,"carrier_errors":0,"collisions":0}}}]
    """
    told = json.loads(text)[0]["stats64"]
    rx, tx = told["rx"], told["tx"]
    return Statistics(
        Counts(rx["packets"], rx["bytes"], rx["multicast"], errors=rx["errors"], dropped=rx["dropped"]),
        Counts(tx["packets"], tx["bytes"], errors=tx["errors"], dropped=tx["dropped"]),
    )


def parse_procfs(text: str, interface: str) -> Statistics:
    """Read /proc/net/dev.

    Real lines, 6.12; "drop" of the receiver is dropped and missed together:
        Inter-|   Receive                                                |  Transmit
         face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls ...
          eth1:     802       4    0    0    0     0          0         1      992       6    0    1    0     0 ...
    """
    lines = (line.partition(":") for line in text.splitlines())
    (values,) = ([int(word) for word in rest.split()] for name, _, rest in lines if name.strip() == interface)
    rx, tx = values[:8], values[8:]
    return Statistics(
        Counts(rx[1], rx[0], rx[7], errors=rx[2], dropped=rx[3]), Counts(tx[1], tx[0], errors=tx[2], dropped=tx[3])
    )


def parse_named(text: str) -> dict[str, int]:
    """Read lines of a name and a number.

    From `ethtool -S` and `grep . *` in sysfs:
             rx_queue_0_packets: 10
        rx_packets:4
    """
    return {name: int(value) for name, value in re.findall(r"^\s*([\w.-]+):\s*(-?\d+)$", text, re.MULTILINE)}


def of_sysfs(values: Mapping[str, int]) -> Statistics:
    """Return the statistics that the files of /sys/class/net/*/statistics tell."""
    rx, tx = (
        {name: values[f"{way}_{name}"] for name in ("packets", "bytes", "errors", "dropped")} for way in ("rx", "tx")
    )
    return Statistics(
        Counts(rx["packets"], rx["bytes"], values["multicast"], errors=rx["errors"], dropped=rx["dropped"]),
        Counts(tx["packets"], tx["bytes"], errors=tx["errors"], dropped=tx["dropped"]),
    )


def of_intel_device(values: Mapping[str, int]) -> Statistics | None:
    """Return what the names that Linux's drivers of Intel NICs give the device's registers tell, or None without them.

    GPRC, GORC, MPRC, BPRC, RUC, ROC, from `ethtool -S` of e1000, e1000e, igb; igbvf has "multicast" for VFMPRC and none
    of those of broadcast and errors:
             rx_packets: 4
             rx_bytes: 818
             rx_broadcast: 1
             rx_multicast: 1
             rx_long_length_errors: 0
             rx_short_length_errors: 0
    """
    if "rx_packets" not in values:
        return None
    return Statistics(
        Counts(
            values["rx_packets"],
            values["rx_bytes"],
            multicast=values.get("rx_multicast", values.get("multicast")),
            broadcast=values.get("rx_broadcast"),
            too_short=values.get("rx_short_length_errors"),
            too_long=values.get("rx_long_length_errors"),
        ),
        Counts(
            values["tx_packets"],
            values["tx_bytes"],
            multicast=values.get("tx_multicast"),
            broadcast=values.get("tx_broadcast"),
        ),
    )


def errors_among(netlink: str, driver: Mapping[str, int]) -> dict[str, int]:
    """Return the counters of errors that `ip -j -s -s link show eth1` and `ethtool -S eth1` print.

    From iproute2 6.15, shortened:
        [{"ifindex":3,"ifname":"eth1","stats64":{"rx":{"bytes":802,"packets":4,"errors":0,"dropped":0,"over_errors":0,
        "multicast":1,"length_errors":0,"crc_errors":0,"frame_errors":0,"fifo_errors":0,"missed_errors":0},
        "tx":{"bytes":992,"packets":6,"errors":0,"dropped":0,"carrier_errors":0,"collisions":0,"aborted_errors":0,
        "fifo_errors":0,"window_errors":0,"heartbeat_errors":0,"carrier_changes":2}}}]
    From e1000e, igb (and its queues), and virtio_net of 5.10 and 6.12:
             rx_no_buffer_count: 0
             tx_abort_late_coll: 0
             tx_timeout_count: 0
             rx_csum_offload_errors: 0
             alloc_rx_buff_failed: 0
             dropped_smbus: 0
             tx_hwtstamp_timeouts: 0
             rx_queue_0_csum_err: 0
             rx_queue_0_drops: 0
             rx0_xdp_drops: 0
             tx0_tx_timeouts: 0
    """
    told = json.loads(netlink)[0]["stats64"]
    named = {f"{way} {name}": value for way in ("rx", "tx") for name, value in told[way].items()}
    named |= {f"{name} of the driver": value for name, value in driver.items()}
    return {name: value for name, value in named.items() if _OF_ERRORS.search(name)}


def by_queue(values: Mapping[str, int]) -> dict[int, Statistics]:
    """Return the statistics of each queue that `ethtool -S`, or the netdev family in its words, tells of.

    From igb, and from virtio_net of 5.10 and 6.1; of that of 6.12 tells netdev:
             tx_queue_0_packets: 3
             tx_queue_0_bytes: 770
             rx_queue_1_packets: 0
    """
    found: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, value in values.items():
        if parts := re.fullmatch(r"([rt]x)_queue_(\d+)_(packets|bytes)", name):
            found[int(parts[2])][f"{parts[1]}_{parts[3]}"] = value
    return {
        queue: Statistics(
            Counts(told["rx_packets"], told["rx_bytes"]),
            Counts(told["tx_packets"], told["tx_bytes"]),
        )
        for queue, told in found.items()
    }


class LinuxStatistics(LinuxSystem, StatisticsOperations):
    """The interface's counters."""

    @property
    def _refresh(self) -> str:
        """The command that has the driver read its device: most do it by themselves only every two seconds."""
        return f"ethtool -S {self.interface} >/dev/null 2>&1"

    def statistics(self) -> Statistics:
        """Return what netlink says."""
        return parse_netlink(self._ssh.check(f"{self._refresh}; ip -j -s -s link show {self.interface}"))

    def statistics_by_source(self) -> Mapping[str, Statistics]:
        """Return what netlink, sysfs and procfs say."""
        name = self.interface
        told = self._ssh.check(
            f"{self._refresh}; ip -j -s -s link show {name}; echo =; "
            f"cd /sys/class/net/{name}/statistics && grep . *; echo =; cat /proc/net/dev"
        )
        netlink, sysfs, procfs = told.split("\n=\n")
        return {
            "netlink": parse_netlink(netlink),
            "sysfs": of_sysfs(parse_named(sysfs)),
            "procfs": parse_procfs(procfs, name),
        }

    def device_statistics(self) -> Statistics:
        """Return the registers that the driver shows in `ethtool -S`."""
        told = of_intel_device(self._of_driver())
        if told is None:
            raise Unsupported("the device's counters: it has none that this driver shows")
        return told

    def driver_counters(self) -> Mapping[str, int]:
        """Return what `ethtool -S` shows."""
        if not (found := self._of_driver()):
            raise Unsupported("the driver's counters: it has none")
        return found

    def error_counters(self) -> Mapping[str, int]:
        """Return what netlink says, and the driver in `ethtool -S`."""
        name = self.interface
        told = self._ssh.check(f"ethtool -S {name} 2>/dev/null; echo =; ip -j -s -s link show {name}")
        driver, netlink = told.split("=\n")
        return errors_among(netlink, parse_named(driver))

    def queue_statistics(self) -> Mapping[int, Statistics]:
        """Return the queues' counters in `ethtool -S`, or else those that netdev has."""
        if not (found := by_queue(self._of_driver()) or by_queue(self._of_netdev())):
            raise Unsupported("counters by queue: this driver shows none")
        return found

    def _of_driver(self) -> dict[str, int]:
        # no stats available       (with status 94, from a driver that has none)
        return parse_named(self._ssh.run(f"ethtool -S {self.interface}").stdout)

    def _of_netdev(self) -> dict[str, int]:
        source = resources.files(__package__).joinpath("netdev_statistics.py").read_bytes()
        return parse_named(self._ssh.check(f"python3 -I -S - {self.interface}", stdin=source))
