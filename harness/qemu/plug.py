"""What hands do to the NIC of a running machine: pull its cable and plug it, take it out of its slot and back."""

from harness.errors import NicproofError
from harness.qemu.monitor import Monitor

PULL_OR_PLUG = "set_link"
"""QMP's command for both."""
REMOVAL_DEADLINE_S = 30.0
"""For the guest to let go of the device: it is asked by ACPI, takes the driver off and switches the slot off."""


class Plug:
    """One NIC with its slot and its cable."""

    def __init__(self, monitor: Monitor, device: str) -> None:
        """Reach the NIC that was made by QEMU's option `-device DEVICE`, which gives it an id."""
        self._monitor = monitor
        self._device = device
        (self._id,) = (word.removeprefix("id=") for word in device.split(",") if word.startswith("id="))

    def pull_cable(self) -> None:
        """Pull the cable: from now on no frame passes, and the NIC has no link."""
        self._monitor.execute(PULL_OR_PLUG, name=self._id, up=False)

    def plug_cable(self) -> None:
        """Plug the cable in again."""
        self._monitor.execute(PULL_OR_PLUG, name=self._id, up=True)

    def remove(self) -> None:
        """Ask the guest to let go of the NIC, and take it out of its slot.

        Raises:
            MonitorLost: the guest did not let go of it.
        """
        self._monitor.forget_events()
        self._monitor.execute("device_del", id=self._id)
        self._monitor.wait_event(
            "the guest letting go of its NIC",
            lambda event: event["event"] == "DEVICE_DELETED" and event["data"].get("device") == self._id,
            REMOVAL_DEADLINE_S,
        )

    def insert(self) -> None:
        """Put the same NIC into the same slot, on the same cable.

        Raises:
            NicproofError: QEMU refused it.
        """
        # The human monitor takes the option as it stands on the command line, and says nothing if all is well.
        if said := self._monitor.human(f"device_add {self._device}").strip():
            raise NicproofError(f"QEMU did not take the NIC back: {said}")
