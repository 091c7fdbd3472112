"""What a test may ask of an endpoint, wherever it is."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from scapy.packet import Packet

SHORTEST_FRAME = 60
"""Octets without FCS (IEEE 802.3-2022, 3.2.8 and 4A.4.2): what a real sender pads to."""


class Capture(ABC):
    """Frames collected in the background from the moment the capture began."""

    @abstractmethod
    def wait(self, count: int, deadline_s: float = 5.0) -> list[bytes]:
        """Return the frames so far as soon as there are `count`, or at the deadline whatever there is."""


class Endpoint(ABC):
    """Something that sends and captures Ethernet frames without FCS."""

    @abstractmethod
    def send(self, *frames: Packet | bytes) -> None:
        """Send frames in order, exactly as given; returns when the endpoint's host has taken all of them."""

    @abstractmethod
    def capture(self, contains: bytes) -> AbstractContextManager[Capture]:
        """Capture the received frames that hold the octets `contains`, in a `with` block; none is missed in it."""


def padded(frame: Packet | bytes) -> bytes:
    """Return the frame as a real sender puts it on a cable: zeros up to the shortest length."""
    return bytes(frame).ljust(SHORTEST_FRAME, b"\x00")
