"""Virtual functions on Linux: sysfs makes them, iproute2 says what each may do."""

from collections.abc import Sequence
from typing import Self

from harness.errors import NicproofError
from harness.guest.linux_system import LinuxSystem
from harness.guest.sriov import SriovOperations
from harness.guest.transport import CommandFailed

_DRIVE_DEADLINE_S = 120.0
"""For the driver to take every virtual function, under emulation."""


class LinuxSriov(LinuxSystem, SriovOperations):
    """The function's files in sysfs, and the interface's `vf` attributes."""

    def functions_offered(self) -> int:
        """Return what the driver has left of the device's own number."""
        return int(self._read(f"{self._device}/sriov_totalvfs")[0])

    def functions_enabled(self) -> int:
        """Return the kernel's number."""
        return int(self._read(f"{self._device}/sriov_numvfs")[0])

    def enable_functions(self, count: int) -> bool:
        """Write the number."""
        # echo: I/O error        (what dash says of EBUSY, ERANGE and all others)
        done = self._ssh.run(f"echo {count} >{self._device}/sriov_numvfs", deadline_s=_DRIVE_DEADLINE_S)
        self._wait_carrier()
        return done.status == 0

    def start_functions(self, macs: Sequence[str]) -> None:
        """Make them and give each its address before a driver reads it."""
        if not self.enable_functions(len(macs)):
            raise NicproofError(f"the guest made no {len(macs)} virtual functions")
        self._ssh.check("; ".join(f"ip link set {self.interface} vf {n} mac {mac}" for n, mac in enumerate(macs)))
        self.drive_functions()

    def drive_functions(self) -> None:
        """Load their driver, or bind it anew, and set every interface up; none of them says anything by itself."""
        bind = (
            "for one in virtfn*/driver; do [ -e $one ] || continue; driver=$(readlink -f $one); "
            "name=$(basename $(readlink ${one%/driver})); "
            "echo $name >$driver/unbind && echo $name >$driver/bind || exit; done; "
            "modprobe $(cat virtfn0/modalias)"
        )
        each = "for one in virtfn*/net/*; do nic=${one##*/}"
        quiet = "echo 1 >/proc/sys/net/ipv6/conf/$nic/disable_ipv6"
        self._ssh.check(
            f"cd {self._device} && {bind} && {each}; {quiet}; ip link set $nic up || exit; done",
            deadline_s=_DRIVE_DEADLINE_S,
        )
        links = f"cat {self._device}/virtfn*/net/*/carrier 2>/dev/null"
        waited = self._wait(f"[ $({links} | grep -c 1) -eq {self.functions_enabled()} ]")
        if waited.status:
            raise CommandFailed(waited)

    def function_interfaces(self) -> int:
        """Count them."""
        return int(self._ssh.check(f"ls -d {self._device}/virtfn*/net/* 2>/dev/null | wc -l"))

    def virtual_function(self, number: int) -> Self:
        """Follow the physical function's link to it."""
        return self._function(f"virtfn{number}")

    def physical_function(self) -> Self:
        """Follow the virtual function's link to it."""
        return self._function("physfn")

    def _function(self, link: str) -> Self:
        # ../0000:01:10.0
        place = self._ssh.check(f"readlink {self._device}/{link}").strip()
        return type(self)(self._ssh, place.rpartition("/")[2].partition(":")[2])

    def set_function_mac(self, number: int, mac: str) -> None:
        """Set the attribute `mac`."""
        self._set_function(number, f"mac {mac}")

    def set_function_vlan(self, number: int, vid: int | None) -> None:
        """Set the attribute `vlan`, of which 0 is none."""
        self._set_function(number, f"vlan {vid or 0}")

    def set_function_spoof_check(self, number: int, on: bool) -> None:
        """Set the attribute `spoofchk`."""
        self._set_function(number, f"spoofchk {'on' if on else 'off'}")

    def _set_function(self, number: int, attribute: str) -> None:
        self._ssh.check(f"ip link set {self.interface} vf {number} {attribute}")
