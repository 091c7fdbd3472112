"""The system's memory: little of it, or none at all for a while."""

from contextlib import AbstractContextManager

from harness.guest.operations import Operations


class MemoryOperations(Operations):
    """What a guest may be asked to do with its memory."""

    def scarce_memory(self) -> AbstractContextManager[None]:
        """Take nearly all memory that is free for the time of a block, as much as the system can do without."""
        self._unsupported("taking the system's memory")

    def starve(self) -> bool:
        """Let all requests for memory fail for a second, in which all programs stand still and interrupts go on.

        Returns:
            Whether one that was made at the end of it failed.
        """
        self._unsupported("failing requests for memory")

    def receptions_without_memory(self) -> int:
        """Return how often the DUT's driver has got no memory to receive into, as it counts that itself."""
        self._unsupported("how often a driver got no memory")
