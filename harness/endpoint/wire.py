"""The wire endpoint: the harness's end of the DUT's cable, as a scapy interface and a capture that stops on match."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from scapy.data import ETH_P_ALL
from scapy.interfaces import InterfaceProvider, NetworkInterface
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet
from scapy.supersocket import SuperSocket

from harness.endpoint.base import Capture, Endpoint, padded
from harness.endpoint.cable import CableEnd, Direction, Record, Tap
from harness.station import BROADCAST_MAC, WIRE, solicited_node


class WireSocket(SuperSocket):
    """A scapy layer-2 socket on the cable; each socket hears every frame from the DUT since it was opened."""

    desc = "the DUT's cable"

    def __init__(self, cable: CableEnd, **_: object) -> None:
        """Open a socket; scapy's own options (iface, filter, promisc, type) have no meaning on a cable."""
        self.cable = cable
        self._tap = Tap()
        self.closed = False
        cable.watch(self._tap.put)

    def fileno(self) -> int:
        """What scapy selects on."""
        return self._tap.fileno()

    def recv_raw(self, x: int = 0) -> tuple[type[Packet] | None, bytes | None, float | None]:
        """Return the next frame as (Ether, octets, seconds since the epoch), or three times None."""
        record = self._tap.get()
        return (None, None, None) if record is None else (Ether, record.frame, record.time)

    def send(self, x: Packet | bytes) -> int:
        """Put a frame on the cable."""
        frame = bytes(x)
        self.cable.send(frame)
        if isinstance(x, Packet):
            x.sent_time = time.time()
        return len(frame)

    def close(self) -> None:
        """Stop listening; the cable stays."""
        if not self.closed:
            self.closed = True
            self.cable.unwatch(self._tap.put)
            self._tap.close()


class _CableProvider(InterfaceProvider):
    """Lets scapy open `WireSocket`s wherever it takes an interface."""

    name = "cable"

    def __init__(self, cable: CableEnd) -> None:
        self._open: Any = lambda **options: WireSocket(cable, **options)

    def load(self) -> dict[str, NetworkInterface]:
        return {}

    def _l2socket(self, dev: NetworkInterface) -> Any:
        return self._open

    def _l2listen(self, dev: NetworkInterface) -> Any:
        return self._open


class WireCapture(Capture):
    """The frames from the DUT, since the capture began, that hold a marker."""

    def __init__(self, contains: bytes | Callable[[bytes], bool]) -> None:
        self._wanted = contains if callable(contains) else lambda frame: contains in frame
        self._frames: list[bytes] = []
        self._changed = threading.Condition()

    def see(self, record: Record) -> None:
        """Take note of a frame on the cable."""
        if self._wanted(record.frame):
            with self._changed:
                self._frames.append(record.frame)
                self._changed.notify_all()

    def wait(self, count: int, deadline_s: float = 5.0) -> list[bytes]:
        """Return the frames so far as soon as there are `count`, or at the deadline."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._frames) >= count, deadline_s)
            return list(self._frames)


class Wire(Endpoint):
    """The far end of the DUT's cable.

    `interface` goes wherever scapy takes an iface: `srp1(packet, iface=wire.interface)`, `sendp`, `sniff`, an
    AnsweringMachine; `socket()` goes wherever it takes a socket.
    """

    def __init__(self, cable: CableEnd) -> None:
        self.cable = cable
        self.interface = NetworkInterface(_CableProvider(cable), {"name": "cable", "mac": WIRE.mac, "type": ETH_P_ALL})

    def socket(self) -> WireSocket:
        """Open a scapy socket; close it when done."""
        return WireSocket(self.cable)

    def send(self, *frames: Packet | bytes) -> None:
        """Put frames on the cable, in order, exactly as given."""
        for frame in frames:
            self.cable.send(bytes(frame))

    @contextmanager
    def capture(self, contains: bytes | Callable[[bytes], bool]) -> Iterator[WireCapture]:
        """Capture what the DUT sends: frames that hold the octets `contains`, or that it accepts as a function."""
        seen = WireCapture(contains)
        self.cable.watch(seen.see)
        try:
            yield seen
        finally:
            self.cable.unwatch(seen.see)

    def ask(
        self, request: Packet | Iterable[Packet | bytes], is_answer: Callable[[Packet], bool], deadline_s: float = 5.0
    ) -> Packet | None:
        """Send a request (one or several frames) and return the first frame from the DUT that answers it, or None."""
        with self.capture(lambda frame: is_answer(Ether(frame))) as answers:
            self.send(*([request] if isinstance(request, Packet) else request))
            found = answers.wait(1, deadline_s)
        return Ether(found[0]) if found else None

    def send_paced(self, frames: Iterable[Packet | bytes], interval_s: float) -> None:
        """Put frames on the cable, one every `interval_s` seconds."""
        due = time.monotonic()
        for frame in frames:
            time.sleep(max(0.0, due - time.monotonic()))
            self.cable.send(bytes(frame))
            due += interval_s

    def resolve(self, ip: str, deadline_s: float = 5.0) -> Packet | None:
        """Ask who has an IPv4 address (RFC 826) and return the answer, or None."""
        request = Ether(src=WIRE.mac, dst=BROADCAST_MAC) / ARP(hwsrc=WIRE.mac, psrc=WIRE.ip, pdst=ip)
        answers = lambda packet: ARP in packet and packet[ARP].op == 2 and packet[ARP].psrc == ip  # noqa: E731
        return self.ask([padded(request)], answers, deadline_s)

    def solicit(self, ip6: str, deadline_s: float = 5.0) -> Packet | None:
        """Ask who has an IPv6 address (RFC 4861, 7.2.2) and return the answer, or None."""
        group, mac = solicited_node(ip6)
        question = ICMPv6ND_NS(tgt=ip6) / ICMPv6NDOptSrcLLAddr(lladdr=WIRE.mac)
        request = Ether(src=WIRE.mac, dst=mac) / IPv6(src=WIRE.ip6, dst=group, hlim=255) / question
        answers = lambda packet: ICMPv6ND_NA in packet and packet[ICMPv6ND_NA].tgt == ip6  # noqa: E731
        return self.ask([padded(request)], answers, deadline_s)

    def sent_by_dut(self) -> list[bytes]:
        """Every frame that the DUT has sent so far."""
        return [record.frame for record in list(self.cable.records) if record.direction is Direction.FROM_DUT]
