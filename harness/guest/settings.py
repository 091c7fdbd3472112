"""Settings: what a driver lets its user choose, by kind and name."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum

from harness.guest.operations import Operations


class SettingKind(StrEnum):
    """Settings that belong together."""

    COALESCING = "coalescing"
    MESSAGE_LEVEL = "message level"
    PRIVATE_FLAGS = "private flags"
    PAUSE = "pause"
    FEATURES = "features"


RECEIVE_INTERVAL, TRANSMIT_INTERVAL = "receive interval", "transmit interval"
"""Of coalescing: microseconds between interrupts."""
COALESCING_SWITCHES = frozenset({"adaptive-rx", "adaptive-tx", "cqe-mode-rx", "cqe-mode-tx"})
"""Of coalescing: what is on or off."""
MESSAGES = "messages"
"""The message level: a bit for each kind of message that the driver may log."""
PAUSE_AUTONEGOTIATION, RECEIVE_PAUSE, TRANSMIT_PAUSE = "autonegotiation", "receive", "transmit"


class SettingOperations(Operations):
    """What a guest may be asked of its driver's settings."""

    def settings(self, kind: SettingKind) -> Mapping[str, int]:
        """Return the settings of a kind that the driver offers; what is on or off is 1 or 0.

        What the harness has no name for has the guest's own.
        """
        self._unsupported(f"settings ({kind})")

    def all_settings(self) -> Mapping[SettingKind, Mapping[str, int]]:
        """Return the settings of every kind of which the driver offers any."""
        self._unsupported("settings")

    def settings_lacking(self, kind: SettingKind) -> Mapping[str, int]:
        """Return the settings of a kind that the system knows and this driver does not let anybody change."""
        self._unsupported(f"settings that are lacking ({kind})")

    def features_overruled(self) -> frozenset[str]:
        """Return the features that are other than they were asked to be, because of another's state."""
        self._unsupported("features that depend on others")

    def change_at_once(self) -> AbstractContextManager[None]:
        """Wait for the link at the end of a block alone, and not after each change of a setting in it.

        A guest that waits for it after each all the same is as good, only slower.
        """
        return nullcontext()

    def change_settings(self, kind: SettingKind, values: Mapping[str, int]) -> str:
        """Change settings of a kind; return why the driver refused, or "" once the link is up."""
        self._unsupported(f"settings ({kind})")
