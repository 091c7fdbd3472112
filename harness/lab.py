"""A DUT in a lab: an interface of a real host, with an interface of another host at the far end of its cable.

Nothing forks here. Each test finds the DUT's interface set up anew, as a guest's start leaves it: other settings of the
host are its owner's. There is no virtual machine to look into, so the device's witness is absent and says so.
"""

import re
import shlex
import threading
from contextlib import ExitStack
from functools import cached_property
from typing import ClassVar, NoReturn

from harness.cell import Cell
from harness.endpoint.bootstrap import start_worker
from harness.endpoint.far import far_station
from harness.endpoint.place import SshPlace
from harness.errors import InputError, NicproofError, Unsupported
from harness.fate import first_crash
from harness.guest.base import Guest
from harness.guest.linux import LinuxGuest
from harness.guest.ssh import Ssh
from harness.readiness import settle
from harness.station import DUT, NETWORK
from harness.supply import Supply
from harness.testbed import Testbed

_SET_UP = """
nic={interface}; ip6=/proc/sys/net/ipv6/conf/$nic; functions=/sys/class/net/$nic/device/sriov_numvfs
test -e /sys/class/net/$nic || {{ echo "there is no such interface" >&2; exit 1; }}
if test -e $functions; then echo 0 >$functions; fi &&
ip link set $nic down && ip address flush dev $nic &&
ip link set $nic address {mac} promisc off allmulticast off mtu 1500 &&
if test -e $ip6; then
    echo 0 >$ip6/disable_ipv6 && echo 0 >$ip6/addr_gen_mode && echo 0 >$ip6/accept_dad &&
    echo 0 >$ip6/router_solicitations && echo 0 >$ip6/accept_ra
fi &&
ip link set $nic up && ip address add {ip}/{prefix} dev $nic
"""
"""What harness/image/init does for a guest's DUT, on a host that is in use: only on the interface itself."""


def _set_up(ssh: Ssh, interface: str) -> None:
    prefix = NETWORK.rpartition("/")[2]
    script = _SET_UP.format(interface=shlex.quote(interface), mac=DUT.mac, ip=DUT.ip, prefix=prefix)
    done = ssh.run(script)
    if done.status:
        said = (done.stderr.strip() or "no word").splitlines()
        raise NicproofError(f"{interface} cannot be set up as DUT: {said[-1]}")


class LabTestbed(Testbed):
    """A DUT that is no virtual machine of ours."""

    def __init__(self, cell: Cell, dut: SshPlace, far: SshPlace) -> None:
        """Set the DUT's interface up and stand at the far end of its cable.

        Raises:
            NicproofError: a host cannot be reached, or has no such interface.
        """
        self.cell = cell
        self._dut = dut
        self._endings = ExitStack()
        try:
            self._ssh = dut.connect()
            self._endings.callback(self._ssh.close)
            _set_up(self._ssh, dut.interface)
            self._endings.callback(self.guest.close)
            far_host = far.connect()
            self._endings.callback(far_host.close)
            self.cable = self.move_wire(far_station(far_host, far.interface, lambda: start_worker(far_host)))
            self._log_before = len(self.guest.log())
            settle(self)
        except BaseException:
            self._endings.close()
            raise

    @property
    def vm(self) -> NoReturn:
        """There is none."""
        raise Unsupported(f"the device's witness: {self._dut} is no virtual machine of nicproof's")

    @cached_property
    def guest(self) -> Guest:
        """The DUT's host."""
        # ../../../0000:01:00.0            a PCI function; a virtual interface has no such link
        link = self._ssh.run(f"readlink /sys/class/net/{self._dut.interface}/device").stdout.strip()
        found = re.search(r"/0000:([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$", link)
        return LinuxGuest(self._ssh, found[1] if found else None, self._dut.interface)

    def kernel(self) -> str | None:
        """Return the host's kernel."""
        return self.guest.release()

    def place(self) -> str:
        """Say which host the DUT is a part of."""
        return str(self._dut)

    @property
    def lasting(self) -> bool:
        """It does not: it is set up anew for each test, for nobody knows what else goes on there."""
        return False

    @property
    def changed(self) -> bool:
        """Nobody can tell."""
        return True

    def take_as_pristine(self) -> None:
        """It is what it is."""

    def death(self) -> str | None:
        """No machine of ours can end."""
        return None

    @property
    def device_crashed(self) -> bool:
        """Whether the device broke: nobody can tell."""
        return False

    @property
    def panicked(self) -> bool:
        """Whether the host's kernel has stopped: then it answers no more anyhow."""
        return False

    def papers(self) -> dict[str, str | bytes]:
        """Return nothing: all that explains a failure here needs an answer of the host."""
        return {}

    def crash(self) -> str | None:
        """Return the first line since the test began in which the host's kernel said that it broke."""
        try:
            return first_crash(self.guest.log()[self._log_before :])
        except NicproofError:
            return None

    def idle(self, seconds: float) -> None:
        """Let time pass."""
        threading.Event().wait(seconds)

    def close(self) -> None:
        """Leave both hosts."""
        self._endings.close()


class LabSupply(Supply):
    """The one DUT of a lab, for one cell."""

    one_at_a_time: ClassVar[bool] = True

    def __init__(self, cells: tuple[Cell, ...], dut: SshPlace, far: SshPlace) -> None:
        """Take two interfaces that a cable connects.

        Raises:
            InputError: the DUT is to be several cells.
        """
        if len(cells) != 1:
            raise InputError(f"--dut {dut}: is one NIC in one mode, not {len(cells)} cells: add --nic and --irq")
        self._dut, self._far = dut, far
        self._found = False

    @property
    def qemu_version(self) -> None:
        """None: nothing is emulated."""

    def describe(self) -> dict[str, str]:
        """Return who the two are."""
        return {"DUT": str(self._dut), "endpoint": str(self._far)}

    def remarks(self) -> list[str]:
        """Return what a person should know."""
        return ["the device's witness is absent: the DUT is no virtual machine of nicproof's"]

    def prepare(self, cell: Cell) -> None:
        """Look once whether both are there and the cable between them."""
        if not self._found:
            LabTestbed(cell, self._dut, self._far).close()
            self._found = True

    def testbed(self, cell: Cell) -> Testbed:
        """Return the DUT, set up anew."""
        return LabTestbed(cell, self._dut, self._far)
