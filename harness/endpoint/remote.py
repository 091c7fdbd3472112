"""The ssh endpoint: a scapy worker on a host reached over SSH, one process for as long as the connection lives."""

import errno
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, cast

import paramiko
from scapy.packet import Packet

from harness.endpoint.base import Capture, Endpoint
from harness.endpoint.cable import CableStuck
from harness.endpoint.headers import transport_of
from harness.endpoint.worker import join_frames, message, read_message, split_frames
from harness.errors import NicproofError, Unsupported

_log = logging.getLogger(__name__)

WORKER_ADDRESS = ("127.0.0.1", 7000)
"""Where the worker of a guest built by nicproof listens, inside the guest."""


class EndpointError(NicproofError):
    """The worker is gone, silent, or could not do what it was asked."""


class WorkerConnection:
    """Requests and answers over one channel, one at a time."""

    def __init__(self, channel: paramiko.Channel, deadline_s: float = 30.0) -> None:
        channel.settimeout(deadline_s)
        self._channel = channel
        self._stream = cast(BinaryIO, channel.makefile("rb", 65536))
        self._deadline_s = deadline_s
        self._turn = threading.Lock()

    def ask(
        self, do: str, blob: bytes = b"", *, patience_s: float = 0.0, **arguments: object
    ) -> tuple[dict[str, Any], bytes]:
        """Make one request and return its answer.

        Args:
            do: the worker's operation.
            blob: octets that go with it.
            patience_s: how long the operation itself may take, on top of the connection's own deadline.
            arguments: the operation's.

        Raises:
            EndpointError: the worker refused, died or did not answer in time.
        """
        with self._turn:
            deadline_s = self._deadline_s + patience_s
            self._channel.settimeout(deadline_s)
            try:
                self._channel.sendall(message({"do": do, **arguments}, blob))
                answer = read_message(self._stream)
            except TimeoutError:
                raise EndpointError(f"the endpoint did not answer {do!r} within {deadline_s:g} s") from None
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise EndpointError(f"the endpoint broke during {do!r}: {error or type(error).__name__}") from None
        if answer is None:
            raise EndpointError(f"the endpoint ended during {do!r}")
        header, octets = answer
        if "error" in header:
            raise EndpointError(f"the endpoint could not {do!r}: {header['error']}")
        return header, octets

    def close(self) -> None:
        """End the worker."""
        self._channel.close()


class RemoteCapture(Capture):
    """A capture that runs on the far side."""

    def __init__(self, worker: WorkerConnection, interface: str, contains: bytes, *, outgoing: bool = False) -> None:
        self._worker = worker
        self._number = worker.ask("capture", contains, interface=interface, outgoing=outgoing)[0]["capture"]

    def wait(self, count: int, deadline_s: float = 5.0) -> list[bytes]:
        """Return the frames so far as soon as there are `count`, or at the deadline."""
        return self._collect(count, deadline_s, marked=False)[1]

    def wait_marked(self, count: int, deadline_s: float = 5.0) -> list[tuple[bytes, bool]]:
        """Return the frames as `wait` does, each with what the host's system says beside it of its checksum.

        Of one that goes out: whether it was left to the driver. Of one that came in: whether somebody has vouched for
        it, so that the stack need not verify it.
        """
        header, frames = self._collect(count, deadline_s, marked=True)
        return list(zip(frames, header["marks"], strict=True))

    def _collect(self, count: int, deadline_s: float, *, marked: bool) -> tuple[dict[str, Any], list[bytes]]:
        request = {"capture": self._number, "count": count, "deadline_s": deadline_s, "marked": marked}
        header, blob = self._worker.ask("collect", patience_s=deadline_s, **request)
        return header, split_frames(blob)

    def end(self) -> None:
        """End the capture on the far side."""
        self._worker.ask("end_capture", capture=self._number)


@dataclass(frozen=True)
class ExtraHeader:
    """What a stack is told to put between an IP header and what it carries.

    Attributes:
        kind: IPv4's options (RFC 791, 3.1), or IPv6's extension header (RFC 8200, 4.3 and 4.6).
        octets: of it, whole; a stack sets an extension header's first by itself.
    """

    kind: Literal["options", "hop-by-hop", "destination"]
    octets: bytes

    def __str__(self) -> str:
        """Return the kind."""
        return self.kind


class RemoteEndpoint(Endpoint):
    """One interface of a host that runs the worker."""

    def __init__(self, worker: WorkerConnection, interface: str) -> None:
        self.worker = worker
        self.interface = interface

    def send(self, *frames: Packet | bytes, repeat: int = 1, cpu: int | None = None) -> None:
        """Send frames in order, `repeat` times, from processor `cpu` if given.

        Raises:
            CableStuck: the interface took no frame for a long time.
        """
        blob = join_frames(bytes(frame) for frame in frames)
        answer, _ = self.worker.ask("send", blob, patience_s=60.0, interface=self.interface, repeat=repeat, cpu=cpu)
        if "stuck" in answer:
            raise CableStuck(f"the cable is stuck: {answer['stuck']}")

    def send_large(self, frame: bytes, segment: int, *, with_cwr: bool) -> None:
        """Hand over a frame as the host's stack does a large send: for whoever can to cut it and to put checksums in.

        Args:
            frame: a TCP segment of any length, its checksum left open.
            segment: how many octets of data a segment is to have.
            with_cwr: say beside the frame that it has CWR, so that a driver gets it only if its NIC minds that flag.
        """
        _, transport = transport_of(frame)
        self.worker.ask(
            "send_large",
            frame,
            interface=self.interface,
            headers=transport + 4 * (frame[transport + 12] >> 4),
            transport=transport,
            segment=segment,
            with_cwr=with_cwr,
        )

    def refuses(self, frame: bytes) -> bool:
        """Send a frame; return whether the host's system refuses it as too long."""
        # OSError: [Errno 90] Message too long
        try:
            self.send(frame)
        except EndpointError as error:
            if "Message too long" in str(error):
                return True
            raise
        return False

    @contextmanager
    def capture(self, contains: bytes) -> Iterator[RemoteCapture]:
        """Capture the frames that the interface receives and that hold `contains`."""
        seen = RemoteCapture(self.worker, self.interface, contains)
        try:
            yield seen
        finally:
            seen.end()

    @contextmanager
    def capture_outgoing(self, contains: bytes) -> Iterator[RemoteCapture]:
        """Capture the frames that hold `contains` as the host's stack hands them to the driver: large sends whole.

        They are read when they are asked for, from the memory from which the NIC sends them.
        """
        handed = RemoteCapture(self.worker, self.interface, contains, outgoing=True)
        try:
            yield handed
        finally:
            handed.end()

    def serve(self, transport: str, address: str) -> int:
        """Echo what comes to a UDP or TCP port of the host's own stack on `address`; return the port."""
        return int(self.worker.ask("serve", address=self._scoped(address), transport=transport)[0]["port"])

    def exchange(self, transport: str, address: str, port: int, payload: bytes, deadline_s: float = 10.0) -> bytes:
        """Send `payload` to a port through the host's own stack and return what came back, at most as many octets.

        A network that fails gives fewer, and the log says how.
        """
        request = {"address": self._scoped(address), "port": port, "transport": transport, "deadline_s": deadline_s}
        header, answer = self.worker.ask("ask", payload, patience_s=deadline_s, **request)
        if "ended" in header:
            _log.warning("%s to %s port %d from the guest: %s", transport, address, port, header["ended"])
        return answer

    def transmit(
        self,
        transport: Literal["udp", "tcp", "icmpv6"],
        address: str,
        port: int,
        payloads: Sequence[bytes],
        *,
        header: ExtraHeader | None = None,
        segment: int | None = None,
        deadline_s: float = 20.0,
    ) -> None:
        """Send payloads through the host's own stack; whether they came is for the other end to say.

        Args:
            transport: a datagram or an echo request each, or one TCP connection, which both ends then close.
            address: where to.
            port: without a meaning for echo requests.
            payloads: in their order.
            header: what each packet has behind its IP header.
            segment: how many octets of a UDP payload make a datagram.
            deadline_s: for each step.

        Raises:
            Unsupported: the stack does not cut UDP payloads for this NIC.
        """
        request = {"address": self._scoped(address), "port": port, "transport": transport, "deadline_s": deadline_s}
        extra = (header.kind, header.octets.hex()) if header else None
        blob = join_frames(payloads)
        answer, _ = self.worker.ask("transmit", blob, patience_s=deadline_s, header=extra, segment=segment, **request)
        if segment is not None and answer.get("errno") == errno.EIO:
            # Linux before 6.11 without transmit checksum offload (net/ipv4/udp.c, udp_send_skb)
            raise Unsupported("UDP segmentation: the guest's stack refuses it on a NIC that computes no checksums")
        if "ended" in answer:
            _log.warning("%s to %s port %d from the guest: %s", transport, address, port, answer["ended"])

    def _scoped(self, address: str) -> str:
        """Return a link-local address with its link, for an address alone says not where (RFC 4007, 11)."""
        return f"{address}%{self.interface}" if address.startswith("fe80:") else address
