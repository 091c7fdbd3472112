"""MAC addresses on Linux."""

import re

from harness.errors import NicproofError
from harness.guest.addresses import AddressOperations
from harness.guest.linux_system import LinuxSystem


class LinuxAddresses(LinuxSystem, AddressOperations):
    """The interface's address, and what its driver found in the device."""

    def mac(self) -> str:
        """Return the interface's address."""
        return self._read(f"/sys/class/net/{self.interface}/address")[0]

    def permanent_mac(self) -> str:
        """Return what `ethtool -P` says."""
        # Permanent address: 52:54:00:6e:70:01
        said = self._ssh.check(f"ethtool -P {self.interface}")
        found = re.search(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", said)
        if found is None:
            raise NicproofError(f"ethtool -P shows no address: {said.strip()}")
        return found[0]

    def set_mac(self, mac: str) -> bool:
        """Set the interface's address; the drivers for all models can while it is up."""
        # RTNETLINK answers: Cannot assign requested address
        return self._ssh.run(f"ip link set {self.interface} address {mac}").status == 0

    def fix_mac(self) -> None:
        """Take back the trust that the guest's start gave to the virtual function beside its address."""
        physical = self._ssh.check(f"ls {self._device}/physfn/net").strip()
        self._ssh.check(f"ip link set {physical} vf 0 trust off")
