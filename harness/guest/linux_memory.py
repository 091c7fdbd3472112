"""Little memory on Linux, by a file in memory, and none, by a reserve that is larger than all there is."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from harness.errors import Unsupported
from harness.guest.linux_statistics import parse_named
from harness.guest.linux_system import LinuxSystem
from harness.guest.memory import MemoryOperations

_LEFT_KIB = 32 << 10
"""What the programs in the guest get along with, though all of it is in use."""
_PLACE = "/run/nicproof-memory"
_STARVE = """
import ctypes, fcntl, os, socket, time
FREEZE, UNFREEZE = 0x3301, 0x3302  # SNAPSHOT_FREEZE and SNAPSHOT_UNFREEZE, include/uapi/linux/suspend_ioctls.h
with open("/proc/meminfo") as file:
    total = int(file.readline().split()[1])
reserve = os.open("/proc/sys/vm/min_free_kbytes", os.O_RDWR)
before, all_and_more = os.read(reserve, 32), b"%d" % (4 * total)
one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
large = bytes(100000)
snapshot = os.open("/dev/snapshot", os.O_RDONLY)
if ctypes.CDLL(None).mlockall(3):  # MCL_CURRENT | MCL_FUTURE: from here on nothing is left to be fetched
    raise SystemExit("mlockall failed")
refused = False
fcntl.ioctl(snapshot, FREEZE)
try:
    os.pwrite(reserve, all_and_more, 0)
    time.sleep(1)
    try:
        one.send(large)
    except OSError:
        refused = True
finally:
    os.pwrite(reserve, before, 0)
    fcntl.ioctl(snapshot, UNFREEZE)
print("refused" if refused else "granted")
"""
"""A request fails while a zone has less free than its share of the reserve, of which an atomic one may still take five
eighths (mm/page_alloc.c, __zone_watermark_ok). Programs would not live through that: they are frozen meanwhile, all but
this one, as they are before a snapshot of the system; that also keeps the kernel from killing one for its memory
(kernel/power/process.c, freeze_processes). What the kernel does in interrupts goes on."""


_WITHOUT_MEMORY = re.compile(r"\w*alloc\w*_failed|rx(?:_queue_)?\d+_drops")


def without_memory(values: Mapping[str, int]) -> int | None:
    """Add up what `ethtool -S` says of buffers that could not be had, and of frames dropped for want of one; or None.

    From e1000, e1000e and igbvf; igb; virtio_net of 6.12 and of 6.1:
             alloc_rx_buff_failed: 21
             rx_queue_0_alloc_failed: 3
             rx0_drops: 5860
             rx_queue_0_drops: 7
    """
    found = [value for name, value in values.items() if _WITHOUT_MEMORY.fullmatch(name)]
    return sum(found) if found else None


class LinuxMemory(LinuxSystem, MemoryOperations):
    """The kernel's memory: that of a guest which is the tests' own, for a host in a lab may have more to do."""

    def _needs_own_system(self, operation: str) -> None:
        if self._named is not None:
            raise Unsupported(f"{operation}: this host is not the tests' own")

    @contextmanager
    def scarce_memory(self) -> Iterator[None]:
        """Fill a file in a tmpfs of its own, and what is left with copies of files that the kernel may drop."""
        self._needs_own_system("taking the system's memory")
        # MemAvailable:     125552 kB
        self._ssh.check(
            f"mkdir -p {_PLACE} && $(command -v mount || echo busybox mount) -t tmpfs -o size=100% tmpfs {_PLACE} && "
            "available=$(sed -n 's/MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) && "
            f"dd if=/dev/zero of={_PLACE}/file bs=1024 count=$((available - {_LEFT_KIB})) 2>/dev/null && "
            f"find /usr -xdev -type f -exec cat {{}} + | head -c {_LEFT_KIB}k >/dev/null"
        )
        try:
            yield
        finally:
            self._ssh.check(f"$(command -v umount || echo busybox umount) {_PLACE}")

    def receptions_without_memory(self) -> int:
        """Ask ethtool."""
        told = without_memory(parse_named(self._ssh.run(f"ethtool -S {self.interface}").stdout))
        if told is None:
            raise Unsupported("how often a driver got no memory: this one does not tell")
        return told

    def starve(self) -> bool:
        """Raise the kernel's reserve above all memory there is, while all programs are frozen."""
        self._needs_own_system("failing requests for memory")
        if self._ssh.run("test -c /dev/snapshot").status:
            raise Unsupported("failing requests for memory: this kernel was built without CONFIG_HIBERNATION")
        return self._ssh.check("python3 -", stdin=_STARVE.encode(), deadline_s=90).strip() == "refused"
