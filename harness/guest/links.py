"""The link as the guest sees it: its state, what was negotiated, and what is reported when it changes."""

from dataclasses import dataclass

from harness.guest.operations import Operations


@dataclass(frozen=True)
class LinkSettings:
    """What the two ends of a link have agreed on, as the guest says; None where it says nothing."""

    speed_mbps: int | None
    full_duplex: bool | None
    autonegotiates: bool
    pauses: tuple[bool, bool] | None
    """Whether received pause frames are obeyed, and whether some are sent."""


class LinkOperations(Operations):
    """What a guest may be asked of the DUT's link."""

    def wait_link(self, up: bool) -> bool:
        """Wait until the guest sees the link up or down; return whether it came to that before the deadline."""
        self._unsupported("the link's state")

    def open_interface(self) -> None:
        """Take the DUT's interface up without waiting for a link."""
        self._unsupported("interface down and up")

    def carrier_changes(self) -> int:
        """Return how often the link has come or gone so far."""
        self._unsupported("a counter of the link's changes")

    def link_settings(self) -> LinkSettings:
        """Return what was negotiated."""
        self._unsupported("what the link has negotiated")

    def fix_link(self, speed_mbps: int, *, full_duplex: bool) -> str:
        """Have the link run at a speed without negotiating; return why the driver refused, or "" once it is up."""
        self._unsupported("a fixed speed")

    def negotiate_link(self) -> str:
        """Have the link negotiate its speed; return why the driver refused, or "" once it is up."""
        self._unsupported("a negotiated speed")

    def watch_link(self) -> None:
        """Begin to note what the system reports of the link."""
        self._unsupported("reports of the link's changes")

    def link_events(self, count: int) -> list[bool]:
        """Return each report since `watch_link`, True for up: once they tell of `count` changes, or at a deadline."""
        self._unsupported("reports of the link's changes")
