"""Settings: what a driver lets its user choose, by kind and name."""

from collections.abc import Mapping
from enum import StrEnum

from harness.guest.operations import Operations


class SettingKind(StrEnum):
    """Settings that belong together."""

    COALESCING = "coalescing"
    MESSAGE_LEVEL = "message level"
    PRIVATE_FLAGS = "private flags"
    PAUSE = "pause"
    FEATURES = "features"


RECEIVE_INTERVAL = "receive interval"
"""Of coalescing: microseconds between interrupts."""
MESSAGES = "messages"
"""The message level: a bit for each kind of message that the driver may log."""
PAUSE_AUTONEGOTIATION, RECEIVE_PAUSE, TRANSMIT_PAUSE = "autonegotiation", "receive", "transmit"


class SettingOperations(Operations):
    """What a guest may be asked of its driver's settings."""

    def settings(self, kind: SettingKind) -> Mapping[str, int]:
        """Return the settings of a kind that the driver offers; what is on or off is 1 or 0."""
        self._unsupported(f"settings ({kind})")

    def change_settings(self, kind: SettingKind, values: Mapping[str, int]) -> str:
        """Change settings of a kind; return why the driver refused, or "" once the link is up."""
        self._unsupported(f"settings ({kind})")
