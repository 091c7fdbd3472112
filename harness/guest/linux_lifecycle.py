"""The driver's life on Linux: modules, sysfs, the kernel's test of suspending."""

import re
import time
from ipaddress import ip_network

from harness.errors import Unsupported
from harness.guest.lifecycle import LifecycleOperations
from harness.guest.linux_system import LinuxSystem
from harness.guest.transport import stdout_of
from harness.station import DUT, NETWORK

_ROUND_S = 10.0
"""For one round of unbinding and binding on a slow host."""
_GIVING_BACK_S = 10.0
_ALL = "MemTotal"
_OTHERS = frozenset({"MemFree", "Buffers", "Cached", "AnonPages", "SReclaimable"})
"""What is free, or a program's, or a file's, or can be given back."""


def parse_held(text: str, page_kib: int = 4) -> int:
    """Read /proc/zoneinfo and /proc/meminfo; return what the kernel holds, in KiB: all that is nobody else's.

    The pages of rings and of receive buffers are in no field: they are what the others leave. Those that are free in a
    processor's own list are not in MemFree.

    Real lines, 6.12, shortened:
        Node 0, zone    DMA32
          pagesets
            cpu: 0
                      count:    251
                      high:     376
            cpu: 1
                      count:    12
        MemTotal:         210308 kB
        MemFree:           92744 kB
        MemAvailable:     144572 kB
        Buffers:               0 kB
        Cached:            38716 kB
        AnonPages:         29040 kB
        SUnreclaim:        21184 kB
        SReclaimable:       5996 kB
    """
    sizes = re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)
    everything = sum(int(size) for name, size in sizes if name == _ALL)
    others = sum(int(size) for name, size in sizes if name in _OTHERS)
    free = sum(int(count) for count in re.findall(r"^\s+count:\s+(\d+)$", text, re.MULTILINE))
    return everything - others - free * page_kib


class LinuxLifecycle(LinuxSystem, LifecycleOperations):
    """The module that drives the DUT's interface."""

    _module = ""

    @property
    def _owner(self) -> str:
        """Where sysfs has the device that the interface belongs to: the PCI function, or the virtio device on it."""
        return "/".join((self._device, *self._virtio_devices))

    def unload_driver(self) -> None:
        """Remove the module."""
        # ../../../../module/igb        nothing, if the driver is part of the kernel itself
        module = self._ssh.run(f"readlink {self._owner}/driver/module").stdout.strip().rpartition("/")[2]
        if not module:
            raise Unsupported("unloading the driver: it is part of the kernel")
        self._ssh.check(f"modprobe -r {module}")
        self._module = module
        self._forget()

    def load_driver(self, *, with_link: bool = True) -> None:
        """Load the module and set its interface up."""
        self._ssh.check(f"modprobe {self._module}")
        self._configure(with_link)

    def rebind_driver(self, rounds: int) -> None:
        """Write to the driver's files `unbind` and `bind`."""
        one = "echo $device >unbind && echo $device >bind || exit"
        self._ssh.check(
            f"cd {self._owner}/driver/ && device={self._owner.rpartition('/')[2]} && "
            f"cd $(pwd -P) && for _ in $(seq {rounds}); do {one}; done",
            deadline_s=30 + rounds * _ROUND_S,
        )
        self.set_up_again()

    def set_up_again(self) -> None:
        """Configure the interface and wait for its carrier."""
        self._configure(with_link=True)

    def _configure(self, with_link: bool) -> None:
        """Do what the start script and its DHCP client did: the link up, and the address of the lease."""
        self._forget()
        self._wait(f"ls -d {self._device}/net/* {self._device}/virtio*/net/* 2>/dev/null | grep -q .")
        address = f"{DUT.ip}/{ip_network(NETWORK).prefixlen} broadcast +"
        name = self.interface
        configure = f"ip link set {name} up && ip address replace {address} dev {name}"
        stdout_of(self._run_to_link(configure) if with_link else self._ssh.run(configure))

    def is_present(self) -> bool:
        """Look for the function's folder."""
        return self._ssh.run(f"test -e {self._device}").status == 0

    def reset_function(self) -> bool:
        """Write to the function's file `reset`, which is there if the kernel knows a way to reset it alone."""
        if self._ssh.run(f"test -e {self._device}/reset").status:
            raise Unsupported("a reset of the PCI function: the kernel knows no way to reset this one alone")
        # A driver that hangs in it cannot be interrupted: who waits for the reset is left behind.
        ended = "/tmp/function-reset"
        self._ssh.check(f"rm -f {ended}; (echo 1 >{self._device}/reset && touch {ended}) </dev/null >/dev/null 2>&1 &")
        return self._wait(f"test -e {ended}").status == 0

    def suspend(self, *, seconds: int = 0) -> None:
        """Use the kernel's own test of suspending to RAM, which wakes up before the firmware would be called.

        The machine itself cannot wake: QEMU puts the kernel it was started with into memory once more when it does.
        """
        # [none] core processors platform devices freezer
        if self._ssh.run("grep -q platform /sys/power/pm_test").status:
            raise Unsupported("suspending the system: this kernel was built without its test (CONFIG_PM_SLEEP_DEBUG)")
        wait = f"echo {seconds} >/sys/module/suspend/parameters/pm_test_delay"
        sleep = f"{wait}; echo platform >/sys/power/pm_test && echo mem >/sys/power/state"
        stdout_of(self._run_to_link(sleep, deadline_s=90))

    def restart(self) -> None:
        """Have the kernel restart the machine, for which it shuts all drivers down; the answer has to leave before."""
        self._ssh.check("(sleep 0.2; busybox reboot -f) </dev/null >/dev/null 2>&1 &")

    def kernel_memory_kib(self, most: int | None = None) -> int:
        """Take what is not the kernel's from all memory, once the processors' own counts are brought together.

        A packet that lacks a fragment keeps the buffers of all others for half a minute: from now on it is given up in
        a second, and that is waited for. What each size of object has in reserve, some hundred KiB that differ from one
        moment to the next, is given back if the answer would else be too much.
        """
        # FRAG: inuse 239 memory 690616
        forget = "cd /proc/sys/net && echo 1 >ipv4/ipfrag_time && echo 1 >ipv6/ip6frag_time"
        forgotten = self._until("! grep -q 'FRAG6*: inuse [1-9]' /proc/net/sockstat /proc/net/sockstat6")
        held = self._held_kib("true" if self._named else f"{forget}; {forgotten}")
        end = time.monotonic() + _GIVING_BACK_S
        give_back = "echo 3 >/proc/sys/vm/drop_caches; for one in /sys/kernel/slab/*/shrink; do echo 1 >$one; done"
        while most is not None and held > most and time.monotonic() < end:
            held = min(held, self._held_kib(give_back))
        return held

    def _held_kib(self, first: str) -> int:
        counted = "echo 1 >/proc/sys/vm/stat_refresh; cat /proc/zoneinfo /proc/meminfo"
        return parse_held(self._ssh.check(f"{first}; {counted}"))
