"""What a guest's NIC is set to, all of it at once: to put it back for the next test."""

from collections.abc import Mapping

from harness.guest.operations import Operations

State = Mapping[str, str]
"""What is set, by name, as the system tells it: to be compared, not to be read."""


class StateOperations(Operations):
    """What a guest may be asked of its own settings."""

    def state(self) -> State:
        """Return what the DUT is set to and what the system has beside it."""
        self._unsupported("all settings at once")

    def put_back(self, before: State) -> list[str]:
        """Undo what is another than before; return the names of what still is after a while."""
        self._unsupported("putting settings back")
