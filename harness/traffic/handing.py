"""What a guest's stack hands to its driver, beside what comes of it on the cable: on the DUT itself, or in a VLAN."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from harness.endpoint.base import Capture
from harness.endpoint.checksum import RIGHT, checksum_states
from harness.endpoint.headers import IPV4_TYPE, IPV6_TYPE, unpadded
from harness.endpoint.remote import ExtraHeader, RemoteCapture, RemoteEndpoint
from harness.endpoint.stack import Stack
from harness.endpoint.vlan import Tag, far_end, untagged
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.station import DUT, TAGGED_DUT, TAGGED_WIRE, WIRE, Station
from harness.traffic.exchange import DEADLINE_S
from harness.traffic.frames import IPV4, Family, difference, mac_octets
from harness.traffic.transmission import DISCARD, Carrier, data_of, payloads_of


@dataclass(frozen=True)
class Path:
    """From a guest's stack, by the DUT's driver, to the far end of the cable.

    Attributes:
        stack: the interface that the stack sends by.
        driver: the DUT's, where it is seen what the driver is given.
        far: the far end, where no frame shows the path's own tag.
        station: who is there.
        dut: who the DUT is to it.
        tag: what every frame has between the stack and the far end.
    """

    stack: RemoteEndpoint
    driver: RemoteEndpoint
    far: Wire
    station: Station = WIRE
    dut: Station = DUT
    tag: Tag | None = None

    def address(self, family: Family) -> str:
        """Return the far station's address."""
        return self.station.ip if family is IPV4 else self.station.ip6

    def dut_address(self, family: Family) -> str:
        """Return the DUT's address."""
        return self.dut.ip if family is IPV4 else self.dut.ip6


def outside_vlans(guest: Guest, wire: Wire) -> Path:
    """Return the path of what is sent without a tag."""
    return Path(guest.endpoint(), guest.endpoint(), wire)


@contextmanager
def in_vlan(guest: Guest, wire: Wire, vid: int) -> Iterator[Path]:
    """Have the DUT take part in a VLAN, and be its far end in a `with` block; gives the path of what is sent there."""
    stack = guest.add_vlan(vid)
    with far_end(wire, vid) as far:
        yield Path(stack, guest.endpoint(), far, TAGGED_WIRE, TAGGED_DUT, Tag(vid))


@dataclass(frozen=True)
class Sent:
    """What the guest's stack gave to its driver, and what came of it on the cable: the frames that carry data.

    The tag of the path, which every one of them had, is left out.
    """

    handed: tuple[bytes, ...]
    left_open: tuple[bool, ...]
    """Of each frame handed, whether its checksum was still to be computed, as the stack said beside it."""
    seen: tuple[bytes, ...]

    @property
    def largest_handed(self) -> int:
        """Octets of the longest frame that the driver was given."""
        return max(map(len, self.handed), default=0)

    def wrongly_left(self, to_the_driver: bool) -> str:
        """Say why the driver was not handed open checksums, or (False) not finished and right ones; empty if it was."""
        if set(self.left_open) != {to_the_driver}:
            return f"expected checksums left to the driver: {to_the_driver}, said of them {sorted(set(self.left_open))}"
        states = checksum_states(self.handed)
        wrong = not to_the_driver and states != {RIGHT}
        return f"expected right checksums handed to the driver, seen {sorted(states)}" if wrong else ""

    def altered(self, payloads: Sequence[bytes]) -> str:
        """Say which payload the driver was not handed, or which it did not send as and when it was handed it.

        In what order it is handed them is not the driver's matter: about once in a hundred times Linux exchanges some
        that were sent just after a feature had changed.
        """
        handed = payloads_of(self.handed)
        return difference(sorted(payloads), sorted(handed)) or difference(handed, payloads_of(self.seen))


@dataclass(frozen=True)
class Watch:
    """Captures of the same frames at both ends of a path."""

    is_ours: Callable[[bytes], bool]
    handed: RemoteCapture
    seen: Capture

    def sent(self, is_all: Callable[[Sequence[bytes]], bool]) -> Sent:
        """Return of either end the frames with data up to the one that makes them all, or all that come."""
        handed = self._up_to_the_end(self.handed.wait_marked, is_all)
        seen = self._up_to_the_end(self._wait_seen, is_all)
        return Sent(
            handed=tuple(frame for frame, _ in handed),
            left_open=tuple(left_open for _, left_open in handed),
            seen=tuple(frame for frame, _ in seen),
        )

    def _wait_seen(self, count: int, deadline_s: float) -> list[tuple[bytes, bool]]:
        return [(frame, False) for frame in self.seen.wait(count, deadline_s)]

    def _up_to_the_end(
        self, wait: Callable[[int, float], list[tuple[bytes, bool]]], is_all: Callable[[Sequence[bytes]], bool]
    ) -> list[tuple[bytes, bool]]:
        count, before = 1, -1
        while True:
            captured = wait(count, DEADLINE_S)
            inner = [(unpadded(untagged(frame)), left_open) for frame, left_open in captured]
            ours = [one for one in inner if self.is_ours(one[0]) and data_of(one[0])]
            frames = [frame for frame, _ in ours]
            enough = next((number for number in range(1, len(frames) + 1) if is_all(frames[:number])), None)
            if enough or len(captured) == before:
                return ours[:enough]
            count, before = len(captured) + 1, len(captured)


@contextmanager
def watched(path: Path, family: Family, is_ours: Callable[[bytes], bool]) -> Iterator[Watch]:
    """Watch both ends of a path for frames from the DUT, in a `with` block."""
    kind = IPV4_TYPE if family is IPV4 else IPV6_TYPE
    begins = mac_octets(DUT.mac) + (bytes(path.tag) if path.tag else b"") + kind
    with path.far.capture(is_ours) as seen, path.driver.capture_outgoing(begins) as handed:
        yield Watch(is_ours, handed, seen)


def send_payloads(path: Path, carrier: Carrier, payloads: Sequence[bytes], header: ExtraHeader | None = None) -> Sent:
    """Have the guest's stack send each payload in a packet of its own (TCP: over a connection of its own)."""
    family, address = carrier.family, path.address(carrier.family)
    is_all = lambda frames: len(payloads_of(frames)) == len(payloads)  # noqa: E731
    if carrier.transport != "tcp":
        with watched(path, family, carrier.carries(DISCARD)) as watch:
            path.stack.transmit(carrier.transport, address, DISCARD, payloads, header=header)
            return watch.sent(is_all)
    with (
        Stack(path.far, path.station).serve("tcp", address, echo=False) as port,
        watched(path, family, carrier.carries(port)) as watch,
    ):
        for payload in payloads:
            path.stack.transmit("tcp", address, port, [payload], header=header)
        return watch.sent(is_all)
