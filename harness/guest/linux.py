"""The guest operations on Linux, over one SSH connection."""

import re
from collections.abc import Collection, Mapping
from typing import Literal

from harness.endpoint.far import FarStation, far_station
from harness.endpoint.remote import RemoteEndpoint
from harness.errors import NicproofError, Unsupported
from harness.guest.base import Access, Driver, Guest, Identity, InterruptClaim, Link, Vector
from harness.guest.configuration import Configuration
from harness.guest.linux_addresses import LinuxAddresses
from harness.guest.linux_checksums import LinuxChecksums
from harness.guest.linux_filters import LinuxFilters
from harness.guest.linux_generator import LinuxGenerator
from harness.guest.linux_lifecycle import LinuxLifecycle
from harness.guest.linux_links import LinuxLinks, parse_link
from harness.guest.linux_memory import LinuxMemory
from harness.guest.linux_mtu import LinuxMtu, parse_attributes
from harness.guest.linux_queues import LinuxQueues, parse_rings
from harness.guest.linux_selftest import LinuxSelfTest
from harness.guest.linux_settings import LinuxSettings, parse_settings
from harness.guest.linux_sriov import LinuxSriov
from harness.guest.linux_state import LinuxState
from harness.guest.linux_statistics import LinuxStatistics
from harness.guest.linux_vlans import LinuxVlans
from harness.guest.settings import SettingKind
from harness.guest.transport import CommandFailed, Completed, stdout_of
from harness.nic import InterruptMode

_WARNING = 4
"""Kernel log level (include/linux/kern_levels.h); smaller is worse."""


_NO_FAULTS = ("module taints kernel", "Reset adapter")
"""Who built a driver, and that Intel's drivers drop what was still to be sent when the link went (e1000_watchdog): a
transmitter that hangs has a line of its own, "Detected Tx Unit Hang"."""


def parse_interrupts(text: str, kinds: Mapping[int, str], line_names: Collection[str] = ()) -> InterruptClaim:
    """Read /proc/interrupts for the interrupts in `kinds`: irq number -> "msi", "msix" or "" for a line.

    A line may have handlers of several devices; it is the DUT's only with a handler in `line_names`.

    Real lines, 6.12, 6.1, with VT-d, and noapic:
               CPU0       CPU1
     22:          0         13   IO-APIC  22-fasteoi   eth1
     25:         61          0  PCI-MSIX-0000:01:00.0   1-edge      eth1-tx-0
     25:         61          0   PCI-MSI 524289-edge      eth1-tx-0
     27:          3          0  IR-PCI-MSIX-0000:01:00.0   0-edge      eth1-rx-0
     11:         41    XT-PIC      eth1

    Whole fields are compared, never substrings: eth1 is a prefix of eth10. An interrupt without a name has no handler:
    the vector exists, but no driver has asked for it.
    """
    lines = text.splitlines()
    cpus = len(lines[0].split())
    ways: set[InterruptMode] = set()
    vectors: list[Vector] = []
    for line in lines[1:]:
        number, _, rest = line.partition(":")
        if not number.strip().isdigit() or (irq := int(number)) not in kinds:
            continue
        fields = rest.split()
        counts, chip = fields[:cpus], fields[cpus]
        source = re.match(r"(\d+)-", fields[cpus + 1]) if len(fields) > cpus + 1 else None
        names = sorted(name.rstrip(",") for name in fields[cpus + (2 if source else 1) :])
        if not names or (not kinds[irq] and not set(line_names) & set(names)):
            continue
        # The low 11 bits of an MSI source number are the table entry (kernel/irq/msi.c, pci_msi_domain_calc_hwirq).
        index = int(source[1]) & 0x7FF if source and kinds[irq] else 0
        vectors.append(Vector(irq, index, ", ".join(names), tuple(int(count) for count in counts)))
        match kinds[irq], chip:
            case "msix", _ if chip.startswith("IR-"):
                ways.add(InterruptMode.MSIX_REMAPPED)
            case "msix", _:
                ways.add(InterruptMode.MSIX)
            case "msi", _:
                ways.add(InterruptMode.MSI)
            case _, "XT-PIC":
                ways.add(InterruptMode.INTX_PIC)
            case _:
                ways.add(InterruptMode.INTX)
    if len(ways) > 1:
        raise NicproofError(f"/proc/interrupts claims several ways for one function: {', '.join(sorted(ways))}")
    return InterruptClaim(ways.pop() if ways else InterruptMode.POLLED, tuple(sorted(vectors, key=lambda v: v.index)))


class LinuxGuest(
    LinuxAddresses,
    LinuxChecksums,
    LinuxFilters,
    LinuxGenerator,
    LinuxLifecycle,
    LinuxLinks,
    LinuxMemory,
    LinuxMtu,
    LinuxQueues,
    LinuxSelfTest,
    LinuxSettings,
    LinuxSriov,
    LinuxState,
    LinuxStatistics,
    LinuxVlans,
    Guest,
):
    """A Linux guest, asked through its own tools and file systems."""

    @property
    def claims(self) -> bool:
        """A Linux guest can be asked."""
        return True

    def command(self, line: str, *, deadline_s: float = 60.0) -> Completed:
        """Run it."""
        return self._ssh.run(line, deadline_s=deadline_s)

    def release(self) -> str:
        """Return `uname -r`."""
        return self._ssh.check("uname -r").strip()

    def driver(self) -> Driver:
        """Return the bound driver and its version; in-tree drivers carry the kernel's."""
        # driver: e1000e
        # version: 6.12.48+deb13-amd64
        if not self._interfaces:
            return Driver("", "unknown")
        said = self._ssh.run(f"ethtool -i {self.interface}").stdout
        fields = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
        return Driver(fields.get("driver", ""), fields.get("version", "unknown"))

    def identity(self) -> Identity:
        """Return what sysfs says of the function."""
        names = ("vendor", "device", "subsystem_vendor", "subsystem_device", "class")
        vendor, device, subsystem_vendor, subsystem, class_code = (
            int(text, 16) for text in self._read(*(f"{self._device}/{name}" for name in names))
        )
        return Identity(
            vendor_id=vendor,
            device_id=device,
            subsystem_vendor_id=subsystem_vendor,
            subsystem_id=subsystem,
            class_code=class_code,
            interfaces=self._interfaces,
        )

    def access(self) -> Access:
        """Read the command register as lspci does."""
        # setpci prints four hexadecimal digits: 0506
        command = int(self._ssh.check(f"setpci -s {self._address} COMMAND"), 16)
        return Access(memory_decoding=bool(command & 2), bus_mastering=bool(command & 4))

    def link(self) -> Link:
        """Return carrier and speed; a model that reports none has -1."""
        at = f"/sys/class/net/{self.interface}"
        carrier, speed = self._read(f"{at}/carrier", f"{at}/speed")
        known = speed.isdigit() and speed != "0"
        return Link(carrier == "1", int(speed) if known else None)

    def full_duplex(self) -> bool | None:
        """Return the duplex; a model that reports none has "unknown"."""
        (duplex,) = self._read(f"/sys/class/net/{self.interface}/duplex")
        return {"full": True, "half": False}.get(duplex)

    def interrupts(self) -> InterruptClaim:
        """Return the interrupts with a handler, from /proc/interrupts and the function's own list of its messages."""
        own_list = f"cat {self._device}/irq; cd {self._device}/msi_irqs 2>/dev/null && grep . *; true"
        listed = self._ssh.check(f"cat /proc/interrupts; echo =; {own_list}")
        table, _, own = listed.partition("=\n")
        line, *messages = own.split()
        # msi_irqs: "25:msix"; with one file only, grep leaves its name out
        kinds = dict(message.split(":") for message in messages if ":" in message)
        if messages and not kinds:
            kinds = {line: messages[0]}
        by_number = {int(irq): kind for irq, kind in kinds.items()} or {int(line): ""}
        # A virtio driver's handler is named by the virtio device, any other by the interface.
        return parse_interrupts(table, by_number, (self.interface, *self._virtio_devices))

    def handled(self) -> Mapping[int, int]:
        """Add up the processors' counts."""
        return {vector.index: sum(vector.counts) for vector in self.interrupts().vectors}

    def queue_vectors(self, direction: Literal["rx", "tx"]) -> dict[int, int]:
        """Return the queues' vectors by the names that the drivers give them.

        eth1-rx-0, eth1-tx-1 (e1000e, igb, igbvf), eth1-TxRx-0 (igb in pairs), virtio1-input.0, virtio1-output.0
        """
        words = {"rx": "rx-|TxRx-|input[.]", "tx": "tx-|TxRx-|output[.]"}[direction]
        named = re.compile(rf".*-(?:{words})(\d+)")
        return {int(found[1]): one.index for one in self.interrupts().vectors if (found := named.fullmatch(one.name))}

    def frames_by_receive_queue(self) -> dict[int, int]:
        """Return the driver's own counters; a driver with one queue counts no queues."""
        # rx_queue_0_packets: 10 (igb)
        found = {
            int(name.split("_")[2]): value
            for name, value in self.counters().items()
            if re.fullmatch(r"driver\.rx_queue_\d+_packets", name)
        }
        return found or {0: self.counters()["rx_packets"]}

    def warnings(self, drivers: Collection[str]) -> list[str]:
        """Return the kernel's lines at warning level or worse that name the DUT's address, interface or `drivers`."""
        # <4>[    2.345678] e1000e 0000:01:00.0: MSI interrupt test failed, using legacy interrupt.
        # <3>[    2.345678] e1000e: disagrees about version of symbol module_layout
        # <4>[    2.345678] e1000e: loading out-of-tree module taints kernel.
        # <3>[   16.729861] e1000 0000:00:04.0 eth0: Reset adapter
        words = (self._address, *drivers, *self._interfaces)
        found = []
        for line in self._ssh.check("dmesg -r").splitlines():
            if (
                (parts := re.match(r"<(\d+)>(.*)", line))
                and int(parts[1]) & 7 <= _WARNING
                and not any(phrase in line for phrase in _NO_FAULTS)
            ):
                text = parts[2]
                if any(re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text) for word in words):
                    found.append(text)
        return found

    def log(self) -> str:
        """Return the kernel's log."""
        return self._ssh.check("dmesg")

    def configuration(self) -> Configuration:
        """Return what ip and ethtool show of it, asked for in one request."""
        link, rings, *shown = self._said(
            f"{self._shows_link} || exit", self._shows_rings, *map(self._shows, SettingKind)
        )
        attributes, lengths = parse_attributes(link), parse_rings(rings)
        by_kind = dict(zip(SettingKind, shown, strict=True))
        return Configuration(
            mtu=int(attributes["mtu"]),
            mac=attributes["address"],
            link=parse_link(by_kind[SettingKind.MESSAGE_LEVEL], by_kind[SettingKind.PAUSE]),
            rings=lengths and lengths[1],
            settings=parse_settings(by_kind),
        )

    def set_up(self, up: bool) -> None:
        """Take the interface down or up; up waits for the carrier."""
        if up:
            stdout_of(self._run_to_link(f"ip link set {self.interface} up"))
        else:
            self._ssh.check(f"ip link set {self.interface} down")

    def bounce(self, rounds: int) -> None:
        """Take the interface down and up without waiting for the carrier between."""
        name = self.interface
        one = f"ip link set {name} down; ip link set {name} up"
        stdout_of(self._run_to_link(f"for _ in $(seq {rounds}); do {one}; done", deadline_s=60 + 3 * rounds))

    def reset_nic(self) -> None:
        """Restart autonegotiation, for which the Intel drivers set up the whole NIC anew (their reinit_locked)."""
        # Cannot restart autonegotiation: Operation not supported        (virtio_net)
        restarted = self._run_to_link(f"ethtool -r {self.interface}")
        if restarted.status and "not supported" in restarted.stderr:
            raise Unsupported("a reset of the NIC: this driver offers none but those of the whole function")
        stdout_of(restarted)

    def set_affinity(self, vector: Vector, cpu: int) -> None:
        """Write the interrupt's affinity."""
        self._ssh.check(f"echo {cpu} > /proc/irq/{vector.irq}/smp_affinity_list")

    def set_throttle(self, interval_us: int) -> None:
        """Set rx-usecs."""
        # rx-usecs:       3          or, where the driver has no such setting, n/a or a refusal; virtio_net shows 0 and
        # refuses to change it (netlink error: Operation not supported) where the device does not offer the feature.
        offered = re.search(r"^rx-usecs:\s+(\d+)", self._ssh.run(f"ethtool -c {self.interface}").stdout, re.MULTILINE)
        if offered is not None and int(offered[1]) == interval_us:
            return
        change = self._ssh.run(f"ethtool -C {self.interface} rx-usecs {interval_us}") if offered else None
        if change is None or "not supported" in change.stderr:
            raise Unsupported("interrupt throttling: the driver has no such setting with this device")
        if change.status:
            raise CommandFailed(change)

    def counters(self) -> Mapping[str, int]:
        """Return `ethtool -S` and the standard statistics, the latter as "rx_packets" and so on from sysfs."""
        name = self.interface
        driver = f"ethtool -S {name} 2>/dev/null | sed 's/^ */driver./; s/: /:/'"
        listed = self._ssh.check(f"cd /sys/class/net/{name}/statistics && grep . *; {driver}")
        # rx_packets:12                      driver.rx_queue_0_packets:12
        pairs = (line.rsplit(":", 1) for line in listed.splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].strip().lstrip("-").isdigit()}

    def steer_transmission(self) -> None:
        """Bind transmit queue n to processor n (XPS)."""
        at = f"/sys/class/net/{self.interface}/queues"
        self._ssh.check(f"n=1; for q in {at}/tx-*; do printf %x $n > $q/xps_cpus; n=$((n * 2)); done")

    def _forget(self) -> None:
        """Let go of the worker too: it keeps a socket on the interface that was."""
        super()._forget()
        if "_worker" in self.__dict__:
            self._worker.close()
            del self._worker

    def endpoint(self) -> RemoteEndpoint:
        """Return the endpoint on the DUT: the worker that was imported before the snapshot, or one started now."""
        return RemoteEndpoint(self._worker, self.interface)

    def forget_addresses(self) -> None:
        """Flush the interface's IPv4 addresses."""
        self._ssh.check(f"ip -4 address flush dev {self.interface}")

    def stand_at_cable(self) -> FarStation:
        """Take the interface for the harness's own."""
        return far_station(self._ssh, self.interface, self._connect_worker)

    def ping(self, address: str, octets: int) -> bool:
        """Ping once through the DUT."""
        target = f"{address}%{self.interface}" if address.startswith("fe80:") else address
        return self._ssh.run(f"ping -c 1 -W 5 -s {octets} {target}").status == 0

    def start_companion(self) -> None:
        """Load the driver of the random number device, which the kernel then also reads by itself from time to time."""
        self._ssh.check("modprobe virtio_rng")

    def use_companion(self) -> None:
        """Read the random number device that shares the line."""
        self._ssh.check("head -c 64 /dev/hwrng > /dev/null")

    def close(self) -> None:
        """End the worker and the connection."""
        if "_worker" in self.__dict__:
            self._worker.close()
        self._ssh.close()
