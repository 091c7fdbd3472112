"""Queues on Windows: the driver's settings for buffers and for queues of receive side scaling (RSS)."""

from collections.abc import Mapping

from harness.errors import Unsupported
from harness.guest.queues import QueueOperations, Rings
from harness.guest.windows_registry import Keyword
from harness.guest.windows_system import WindowsSystem

_RECEIVE = ("*receivebuffers", "rxcapacity")
_TRANSMIT = ("*transmitbuffers", "txcapacity")
"""Microsoft's keywords and virtio's (netkvm.inx); Intel's drivers have a descriptor for each buffer."""
_QUEUES = ("*numrssqueues",)


class WindowsQueues(WindowsSystem, QueueOperations):
    """The driver's buffers and queues."""

    def ring_limits(self) -> Rings:
        """Return the most buffers that the INF offers."""
        settings = self._settings()
        return Rings(_most(settings, _RECEIVE), _most(settings, _TRANSMIT))

    def rings(self) -> Rings:
        """Return the buffers that the driver is set to."""
        settings = self._settings()
        return Rings(_number(settings, _RECEIVE), _number(settings, _TRANSMIT))

    def receive_ring(self) -> int:
        """Return the receive buffers that the driver is set to."""
        return _number(self._settings(), _RECEIVE)

    def set_rings(self, *, rx: int | None = None, tx: int | None = None) -> str:
        """Change the buffers and restart the device."""
        settings = self._settings()
        wishes = {_find(settings, names): size for names, size in ((_RECEIVE, rx), (_TRANSMIT, tx)) if size is not None}
        return self._change(settings, wishes)

    def channel_limit(self) -> int:
        """Return the most queues that the INF offers."""
        return _most(self._settings(), _QUEUES)

    def channels(self) -> int:
        """Return the queues that the driver is set to; without RSS it is one."""
        settings = self._settings()
        number = _number(settings, _QUEUES)
        return 1 if settings.get("*rss", Keyword("1")).value == "0" else number

    def set_channels(self, count: int) -> str:
        """Change the number of queues and restart the device."""
        settings = self._settings()
        return self._change(settings, {_find(settings, _QUEUES): count})

    def _change(self, settings: Mapping[str, Keyword], values: Mapping[str, int]) -> str:
        for name, value in values.items():
            if not settings[name].offers(str(value)):
                return f"the driver's INF does not offer {name} = {value}"
        self._write({name: str(value) for name, value in values.items()})
        return ""


def _find(settings: Mapping[str, Keyword], names: tuple[str, ...]) -> str:
    for name in names:
        if name in settings:
            return name
    raise Unsupported(f"{names[0]}: this driver has no such setting")


def _number(settings: Mapping[str, Keyword], names: tuple[str, ...]) -> int:
    name = _find(settings, names)
    number = settings[name].number
    if number is None:
        raise Unsupported(f"{name}: the driver's setting is no number")
    return number


def _most(settings: Mapping[str, Keyword], names: tuple[str, ...]) -> int:
    name = _find(settings, names)
    bounds = settings[name].bounds()
    if bounds is None:
        raise Unsupported(f"{name}: the driver's INF names no largest value")
    return bounds[1]
