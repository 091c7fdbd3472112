"""VLANs on the DUT's cable: tags, and the far end of one VLAN, where every frame has one and none is seen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from harness.endpoint.cable import CableEnd, Record
from harness.endpoint.neighbour import Neighbour
from harness.endpoint.wire import Wire
from harness.station import TAGGED_WIRE

CUSTOMER_TAG = 0x8100
"""EtherType of a C-tag (IEEE 802.1Q-2022, table 9-1)."""
SERVICE_TAG = 0x88A8
"""EtherType of an S-tag (IEEE 802.1Q-2022, table 9-1)."""
_TYPES = {CUSTOMER_TAG.to_bytes(2, "big"), SERVICE_TAG.to_bytes(2, "big")}
_ADDRESSES = 12
"""Octets before the first tag."""
_TAG = 4
"""Octets of a tag."""


@dataclass(frozen=True)
class Tag:
    """A VLAN tag (IEEE 802.1Q-2022, 9.6)."""

    vid: int
    priority: int = 0
    drop_eligible: bool = False
    type: int = CUSTOMER_TAG

    def __bytes__(self) -> bytes:
        """Return the tag as it stands in a frame."""
        control = self.priority << 13 | self.drop_eligible << 12 | self.vid
        return self.type.to_bytes(2, "big") + control.to_bytes(2, "big")


def tagged(frame: bytes, *tags: Tag) -> bytes:
    """Return the frame with these tags, the outermost first."""
    return frame[:_ADDRESSES] + b"".join(map(bytes, tags)) + frame[_ADDRESSES:]


def untagged(frame: bytes) -> bytes:
    """Return the frame without its outermost tag, if it has one."""
    has_tag = frame[_ADDRESSES : _ADDRESSES + 2] in _TYPES
    return frame[:_ADDRESSES] + frame[_ADDRESSES + _TAG :] if has_tag else frame


def header_octets(frame: bytes) -> int:
    """Return how many octets the addresses, the tags and the type have."""
    at = _ADDRESSES
    while frame[at : at + 2] in _TYPES:
        at += _TAG
    return at + 2


def outermost_vid(frame: bytes) -> int | None:
    """Return the VID in a frame's first tag, or None without a tag."""
    if frame[_ADDRESSES : _ADDRESSES + 2] not in _TYPES:
        return None
    return int.from_bytes(frame[_ADDRESSES + 2 : _ADDRESSES + _TAG], "big") & 0xFFF


class VlanCable:
    """One VLAN of a cable: only its frames are heard, without their tag; what is sent gets it."""

    def __init__(self, cable: CableEnd, tag: Tag) -> None:
        self._cable = cable
        self._tag = tag
        self._watchers: dict[Callable[[Record], None], Callable[[Record], None]] = {}

    @property
    def records(self) -> list[Record]:
        """Every frame of the VLAN so far, both ways."""
        return [self._untagged(record) for record in list(self._cable.records) if self._is_ours(record.frame)]

    def watch(self, watcher: Callable[[Record], None]) -> None:
        """Call `watcher` with each frame of the VLAN from the DUT."""

        def hear(record: Record) -> None:
            if self._is_ours(record.frame):
                watcher(self._untagged(record))

        self._watchers[watcher] = hear
        self._cable.watch(hear)

    def unwatch(self, watcher: Callable[[Record], None]) -> None:
        """Stop calling `watcher`."""
        self._cable.unwatch(self._watchers.pop(watcher))

    def send(self, frame: bytes) -> None:
        """Put one frame on the cable, with the tag."""
        self._cable.send(tagged(frame, self._tag))

    def close(self) -> None:
        """Stop listening; the cable stays."""
        for hear in self._watchers.values():
            self._cable.unwatch(hear)
        self._watchers.clear()

    def _is_ours(self, frame: bytes) -> bool:
        return bytes(self._tag)[:2] == frame[_ADDRESSES : _ADDRESSES + 2] and outermost_vid(frame) == self._tag.vid

    def _untagged(self, record: Record) -> Record:
        return replace(record, frame=untagged(record.frame))


@contextmanager
def far_end(wire: Wire, vid: int) -> Iterator[Wire]:
    """Be the station at the far end of a VLAN, in a `with` block; gives its wire, on which no frame shows a tag."""
    inside = Wire(VlanCable(wire.cable, Tag(vid)))
    Neighbour(inside, TAGGED_WIRE)
    try:
        yield inside
    finally:
        inside.cable.close()
