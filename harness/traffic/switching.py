"""Frames through the switch between a NIC's functions and its cable: who sends them, and who gets them."""

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from harness.endpoint.base import Endpoint
from harness.endpoint.vlan import Tag, tagged
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.station import BROADCAST_MAC, WIRE
from harness.traffic.exchange import DEADLINE_S, up_to
from harness.traffic.frames import BACKGROUND, LOCAL_EXPERIMENT, mac_octets, random_payloads

LENGTHS = (46, 47, 100, 600, 1499, 1500)
"""Octets behind the type, from the shortest frame to the longest."""
_TYPE = LOCAL_EXPERIMENT.to_bytes(2, "big")
_MARK = _TYPE + b"switched"
"""In every frame, behind its addresses and any tag."""


@dataclass(frozen=True)
class Port:
    """One of those that the switch connects: a function with its own address, or the cable's far end."""

    name: str
    mac: str
    endpoint: Endpoint

    def __str__(self) -> str:
        """Return the name."""
        return self.name


def cable_port(wire: Wire) -> Port:
    """Return the far end of the cable."""
    return Port("the cable", WIRE.mac, wire)


def function_port(name: str, guest: Guest) -> Port:
    """Return the function that is this guest's DUT."""
    return Port(name, guest.mac(), guest.endpoint())


def frames_between(source: str, target: str) -> list[bytes]:
    """Return frames of many lengths from one MAC address to another."""
    header = mac_octets(target) + mac_octets(source) + _MARK
    return [header + octets for octets in random_payloads(length - len(_MARK) + len(_TYPE) for length in LENGTHS)]


def closing(sender: Port) -> bytes:
    """Return the frame to all stations with which `switched` closes what it sends."""
    return mac_octets(BROADCAST_MAC) + mac_octets(sender.mac) + _MARK + b" the last one".ljust(LENGTHS[0])


def switched(sender: Port, frames: Iterable[bytes], others: Sequence[Port]) -> dict[str, list[bytes]]:
    """Send frames at one port and then one to all stations; return what each of the others got, up to that last one.

    It shows that the port was open, and that it got all that it gets: the switch keeps the order of one sender.
    """
    last = closing(sender)
    with ExitStack() as captures:
        seen = {port.name: captures.enter_context(port.endpoint.capture(_MARK)) for port in others}
        sender.endpoint.send(*frames, last)
        return {name: up_to(last, capture) for name, capture in seen.items()}


def received(sender: Port, frames: Sequence[bytes], receiver: Port, last: bytes) -> list[bytes]:
    """Send frames at one port; return what another got up to `last`, as it sees the last one that has to come."""
    with receiver.endpoint.capture(_MARK) as seen:
        sender.endpoint.send(*frames)
        return up_to(last, seen)


def hears(port: Port, frame: bytes) -> bool:
    """Return whether a port gets a frame that somebody sends over and over."""
    with port.endpoint.capture(frame) as seen:
        return bool(seen.wait(1, DEADLINE_S))


def overheard(
    port: Port, sender: Port, frames: Sequence[bytes], cable: Port, last: bytes, tag: Tag | None
) -> list[bytes]:
    """Send frames at one port that pass on the cable; return what came to a port that should get none of them.

    Args:
        port: who should get none; it may be the sender.
        sender: who sends.
        frames: what is sent.
        cable: where all of them are seen.
        last: sent from there when they have passed, with `tag`, and the last in what is returned.
        tag: of the VLAN that the port is in.
    """
    with port.endpoint.capture(_MARK) as heard, cable.endpoint.capture(_MARK) as passed:
        sender.endpoint.send(*frames)
        passed.wait(len(frames), DEADLINE_S)
        cable.endpoint.send(tagged(last, tag) if tag else last)
        return up_to(last, heard)


def exchanges_within(cable: Port, function: Port, deadline_s: float) -> bool:
    """Send frames from the cable to a function until one comes, and then back; return whether both came in time."""
    end = time.monotonic() + deadline_s
    for sender, receiver in ((cable, function), (function, cable)):
        frame = mac_octets(receiver.mac) + mac_octets(sender.mac) + BACKGROUND.to_bytes(2, "big") + bytes(LENGTHS[0])
        with receiver.endpoint.capture(frame) as seen:
            while not seen.wait(1, 0.2):
                if time.monotonic() > end:
                    return False
                sender.endpoint.send(frame)
    return True
