"""A Linux guest's state, asked of the endpoint that runs in it (endpoint/nic_state.py)."""

from harness.guest.linux_system import LinuxSystem
from harness.guest.state import State, StateOperations

_DEADLINE_S = 2.0
"""For the link to come back: a guest of one's own would be there sooner."""


class LinuxState(LinuxSystem, StateOperations):
    """What the DUT's interface is set to."""

    def state(self) -> State:
        """Return it, if the endpoint is one of a guest that nicproof built."""
        return dict(self._worker.ask("state", interface=self.interface)[0])

    def put_back(self, before: State) -> list[str]:
        """Have the endpoint undo what is another."""
        answer, _ = self._worker.ask(
            "put_back",
            interface=self.interface,
            before=dict(before),
            deadline_s=_DEADLINE_S,
            patience_s=_DEADLINE_S,
        )
        return list(answer["changed"])
