"""The driver's life in the guest: loaded and unloaded, bound and unbound, suspended, and what it leaves behind."""

from harness.guest.operations import Operations


class LifecycleOperations(Operations):
    """What a guest may be asked to do with the DUT's driver.

    What loads a driver anew also gives the DUT again what the guest's start gave it: the interface is up, with the
    address of its lease. Both are the system's to keep, not the driver's.
    """

    def unload_driver(self) -> None:
        """Take the DUT's driver out of the system."""
        self._unsupported("unloading the driver")

    def load_driver(self, *, with_link: bool = True) -> None:
        """Load the driver that was unloaded and set the interface up; returns when the link is up, if it can be."""
        self._unsupported("loading the driver")

    def rebind_driver(self, rounds: int) -> None:
        """Take the driver off the DUT and give it back, `rounds` times; returns when the link is up."""
        self._unsupported("unbinding the driver")

    def set_up_again(self) -> None:
        """Wait for the interface of a NIC that was plugged in and set it up; returns when the link is up."""
        self._unsupported("setting up an interface")

    def is_present(self) -> bool:
        """Return whether the system sees the DUT on its bus."""
        self._unsupported("the devices on the bus")

    def reset_function(self) -> bool:
        """Reset the DUT's PCI function in its driver's back, as the system offers it; return whether that ended."""
        self._unsupported("a reset of the PCI function")

    def suspend(self, *, seconds: int = 0) -> None:
        """Have the system suspend all devices to the state in which it would sleep for some seconds, and wake them."""
        self._unsupported("suspending the system")

    def restart(self) -> None:
        """Have the system restart its machine, as its own programs do; returns as soon as it has begun to."""
        self._unsupported("restarting the system")

    def kernel_memory_kib(self, most: int | None = None) -> int:
        """Return the memory that the system's kernel holds for itself and cannot give back, in KiB.

        Args:
            most: if it is more than so many, the kernel is given some seconds to give back what it keeps in reserve.
        """
        self._unsupported("the kernel's memory")
