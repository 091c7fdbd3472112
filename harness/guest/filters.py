"""Receive filters: which stations' frames the DUT takes from the cable."""

from collections.abc import Collection

from harness.guest.operations import Operations


class FilterOperations(Operations):
    """What a guest may be asked to do with the DUT's receive filters."""

    def set_promiscuous(self, on: bool) -> None:
        """Have the DUT take every frame, or only its own again."""
        self._unsupported("promiscuous mode")

    def set_all_multicast(self, on: bool) -> None:
        """Have the DUT take every multicast frame, or only those of its groups again."""
        self._unsupported("all-multicast mode")

    def join(self, groups: Collection[str]) -> None:
        """Have the DUT take the frames to these multicast MAC addresses."""
        self._unsupported("multicast groups")

    def leave(self, groups: Collection[str]) -> None:
        """Have the DUT no longer take the frames to these multicast MAC addresses."""
        self._unsupported("multicast groups")
