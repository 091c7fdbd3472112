"""Virtual functions: what the DUT's physical function makes of itself, and what it allows each of them."""

from collections.abc import Sequence
from typing import Self

from harness.guest.operations import Operations


class SriovOperations(Operations):
    """What a guest may be asked to do with the virtual functions of the DUT, which is their physical function."""

    def functions_offered(self) -> int:
        """Return how many virtual functions the DUT's driver offers."""
        self._unsupported("virtual functions")

    def functions_enabled(self) -> int:
        """Return how many virtual functions the system says that there are."""
        self._unsupported("virtual functions")

    def enable_functions(self, count: int) -> bool:
        """Have so many virtual functions; return whether the system did it, once the physical one has its link."""
        self._unsupported("virtual functions")

    def start_functions(self, macs: Sequence[str]) -> None:
        """Have a virtual function with each of these MAC addresses, and a driver for them with every interface up."""
        self._unsupported("virtual functions")

    def drive_functions(self) -> None:
        """Have every virtual function driven anew, with its interface up; returns when all have their link."""
        self._unsupported("virtual functions")

    def function_interfaces(self) -> int:
        """Return how many of the virtual functions have a network interface."""
        self._unsupported("virtual functions")

    def virtual_function(self, number: int) -> Self:
        """Return what may be asked of the guest with this virtual function, driven in the same guest, as the DUT."""
        self._unsupported("virtual functions")

    def physical_function(self) -> Self:
        """Return what may be asked of the guest with the physical function of the DUT, a virtual one, as the DUT."""
        self._unsupported("the physical function")

    def set_function_mac(self, number: int, mac: str) -> None:
        """Give a virtual function this MAC address and allow it no other; it uses it when it is next driven."""
        self._unsupported("a virtual function's MAC address")

    def set_function_vlan(self, number: int, vid: int | None) -> None:
        """Have a virtual function be in one VLAN, without seeing a tag, or in none."""
        self._unsupported("a virtual function's VLAN")

    def set_function_spoof_check(self, number: int, on: bool) -> None:
        """Let a virtual function send from its own MAC address alone, or from any."""
        self._unsupported("checking a virtual function's source addresses")
