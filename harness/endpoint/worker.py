"""The endpoint's far side: sends and captures raw frames with scapy on whatever host it runs.

This file runs alone (python3 >= 3.9 and scapy, nothing of nicproof): in a guest it is started at boot and listens, on
any other host it is sent over SSH and speaks on its standard input and output. Frames cross as bytes.

A message is two 32-bit big-endian lengths, a JSON header and a blob; a blob of frames is each frame behind its 32-bit
length.
Every request has one answer; a refused one has the field "error".
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

LENGTHS = struct.Struct("!II")
LENGTH = struct.Struct("!I")
RECEIVE_BUFFER = 32 << 20
SO_RCVBUFFORCE = 33
LONGEST_FRAME = 65536 + 64
"""Octets: the longest packet there is, behind an Ethernet header."""
SEND_DEADLINE_S = 30
"""For an interface to take a frame: one whose driver has stopped its queue for good would keep the sender for ever."""
BATCH = 64
"""Frames taken at once from a socket that does not block."""
UDP_SEGMENT = 103
"""Linux's socket option (include/uapi/linux/udp.h), which Python has no name for."""
ECHO_REQUEST = struct.pack("!BBHHH", 128, 0, 0, 0x4E50, 0)
"""ICMPv6 (RFC 4443, 4.1); the stack computes the checksum."""
HEADERS = {
    "options": (socket.IPPROTO_IP, getattr(socket, "IP_OPTIONS", 4)),
    "hop-by-hop": (socket.IPPROTO_IPV6, getattr(socket, "IPV6_HOPOPTS", 54)),
    "destination": (socket.IPPROTO_IPV6, getattr(socket, "IPV6_DSTOPTS", 59)),
}
"""What may stand behind the IP header, and the socket option that puts it there."""
SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR = 263, 8, 15
AUXDATA = struct.Struct("=IIIHHHH")
"""Status, lengths of the packet and of what is kept, offsets of its headers, VLAN tag and its type (packet(7))."""
CHECKSUM_NOT_READY, HAS_TAG, HAS_TAG_TYPE, CHECKSUM_VALID = 1 << 3, 1 << 4, 1 << 6, 1 << 7
CUSTOMER_TAG = 0x8100
VNET_HEADER = struct.Struct("=BBHHHH")
"""Flags, kind of segmentation, octets of headers and of a segment's data, place of the checksum: where what it covers
begins, and how far behind that it lies itself (include/uapi/linux/virtio_net.h)."""
NEEDS_CHECKSUM, CUT_TCP_IPV4, CUT_TCP_IPV6, CUT_WITH_CWR = 1, 1, 4, 0x80
TCP_CHECKSUM_AT = 16
STATE = "nic_state"
"""The module that knows what an interface is set to; it is beside this file in a guest that nicproof built."""
BESIDE = 256
"""Room for what Linux hands over beside a frame: octets."""


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Read one message; None at the end of the stream."""

    def exactly(octets: int) -> bytes:
        parts = []
        while octets:
            part = stream.read(octets)
            if not part:
                return b""
            parts.append(part)
            octets -= len(part)
        return b"".join(parts)

    lengths = exactly(LENGTHS.size)
    if not lengths:
        return None
    header, blob = LENGTHS.unpack(lengths)
    return json.loads(exactly(header)), exactly(blob) if blob else b""


def message(header: dict[str, Any], blob: bytes = b"") -> bytes:
    """Return the octets of one message."""
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), len(blob)) + text + blob


def join_frames(frames: Iterable[bytes]) -> bytes:
    """Return a blob of frames."""
    return b"".join(LENGTH.pack(len(frame)) + frame for frame in frames)


def split_frames(blob: bytes) -> list[bytes]:
    """Return the frames in a blob."""
    frames, at = [], 0
    while at < len(blob):
        (length,) = LENGTH.unpack_from(blob, at)
        frames.append(blob[at + LENGTH.size : at + LENGTH.size + length])
        at += LENGTH.size + length
    return frames


class Capture:
    """Frames that an interface receives and that hold a marker, collected in the background from now on.

    What goes out is not looked at before it is asked for: until then it lies where the NIC reads it, and a NIC that
    writes there is found out. `marks` is what Linux says beside each of its checksum: of what goes out whether it was
    left to the driver, of what comes in whether somebody has vouched for it.
    """

    def __init__(self, interface: str, contains: bytes, promiscuous: bool = False, outgoing: bool = False) -> None:
        from scapy.config import conf

        self._contains = contains
        self.frames: list[bytes] = []
        self.marks: list[bool] = []
        self._enough = 1
        self._changed = threading.Condition()
        self._stop, self._stopped = os.pipe()
        # To look must not change what a NIC under test accepts; one at the far end of the cable has to accept all.
        self._socket = conf.L2socket(iface=interface, promisc=promiscuous)
        self._outgoing = outgoing
        self._batch = 1
        if hasattr(socket, "AF_PACKET"):
            self._batch = BATCH
            self._socket.ins.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            self._socket.ins.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            self._socket.ins.setblocking(False)
        self._thread = threading.Thread(target=self._collect, daemon=True)
        if not outgoing:
            self._thread.start()

    def _collect(self) -> None:
        while True:
            ready, _, _ = select.select([self._socket.fileno(), self._stop], [], [])
            if self._stop in ready:
                return
            taken = self._take()
            with self._changed:
                self.frames += [frame for frame, _ in taken]
                self.marks += [mark for _, mark in taken]
                if len(self.frames) >= self._enough:  # to wake for each frame would cost more than to receive it
                    self._changed.notify_all()

    def _take(self) -> list[tuple[bytes, bool]]:
        taken = []
        for _ in range(self._batch):
            try:
                frame, mark = self._receive()
            except BlockingIOError:
                break
            if frame is not None and self._contains in frame:
                taken.append((bytes(frame), mark))
        return taken

    def _receive(self) -> tuple[bytes | None, bool]:
        """Return a frame as on the cable, and the mark of its checksum; None for one that goes the other way.

        Linux hands over a VLAN tag beside the frame. scapy puts it back, but before 2.5 it takes any for a customer's.
        """
        if self._batch == 1:
            frame: bytes | None = self._socket.recv_raw(LONGEST_FRAME)[1]
            return frame, False
        frame, beside, _, address = self._socket.ins.recvmsg(LONGEST_FRAME, BESIDE)
        mark = False
        if (address[2] == socket.PACKET_OUTGOING) != self._outgoing:
            return None, mark
        for level, kind, data in beside:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tag, tag_type = AUXDATA.unpack(data)
                mark = bool(status & (CHECKSUM_NOT_READY if self._outgoing else CHECKSUM_VALID))
                if status & HAS_TAG:
                    tag_type = tag_type if status & HAS_TAG_TYPE else CUSTOMER_TAG
                    frame = frame[:12] + struct.pack("!HH", tag_type, tag) + frame[12:]
        return frame, mark

    def wait(self, count: int, deadline_s: float) -> list[bytes]:
        """Return the frames so far as soon as there are `count`, or at the deadline."""
        if self._thread.ident is None:
            self._thread.start()
        with self._changed:
            self._enough = count
            self._changed.wait_for(lambda: len(self.frames) >= count, deadline_s)
            return list(self.frames)

    def take(self, deadline_s: float) -> list[bytes]:
        """Return the frames since the last time as soon as there are any, or none at the deadline."""
        with self._changed:
            self._enough = 1
            self._changed.wait_for(lambda: self.frames, deadline_s)
            taken, self.frames, self.marks = self.frames, [], []
            return taken

    def close(self) -> None:
        """Stop collecting."""
        os.write(self._stopped, b"x")
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()
        os.close(self._stop)
        os.close(self._stopped)


class Echo:
    """Sends back what comes to a socket, in the background, until it is closed.

    Its thread has ended before the socket is closed. A system call that waits there is made again after a sleep of the
    system, with the same number (Linux restarts it), and would read what another socket gets that has it by then.
    """

    def __init__(self, service: socket.socket) -> None:
        self._service = service
        service.setblocking(False)  # a datagram with a wrong checksum can be waited for, but not read
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        echo = self._echo_datagram if self._service.type == socket.SOCK_DGRAM else self._echo_stream
        while self._may_read(self._service):
            with contextlib.suppress(OSError):  # a network that fails loses an answer
                echo()

    def _may_read(self, source: socket.socket) -> bool:
        """Wait until there is something to read; false if it is time to end."""
        return self._stop not in select.select([source, self._stop], [], [])[0]

    def _echo_datagram(self) -> None:
        self._service.sendto(*self._service.recvfrom(65536))

    def _echo_stream(self) -> None:
        connection, _ = self._service.accept()
        with connection:
            connection.settimeout(SEND_DEADLINE_S)  # a peer that is gone takes nothing
            while self._may_read(connection) and (data := connection.recv(65536)):
                connection.sendall(data)

    def close(self) -> None:
        """End it, and close the socket."""
        self._stopped.close()
        self._thread.join()
        self._service.close()
        self._stop.close()


class Worker:
    """Serves the requests of one connection."""

    def __init__(self) -> None:
        self._captures: dict[int, Capture] = {}
        self._numbers = itertools.count()
        self._senders: dict[str, Any] = {}
        self._services: list[Echo] = []

    def serve(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        """Answer requests until the stream ends."""
        while (request := read_message(incoming)) is not None:
            header, blob = request
            try:
                operation: Callable[..., tuple[dict[str, Any], bytes]] = getattr(self, "do_" + header.pop("do"))
                answer = operation(blob, **header)
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}, b""
            outgoing.write(message(*answer))
            outgoing.flush()
        for capture in self._captures.values():
            capture.close()
        for opened in (*self._senders.values(), *self._services):
            opened.close()

    def do_hello(self, blob: bytes) -> tuple[dict[str, Any], bytes]:
        """Say what runs here."""
        import scapy

        return {"python": sys.version.split()[0], "scapy": scapy.VERSION}, b""

    def do_send(
        self, blob: bytes, interface: str, repeat: int = 1, cpu: int | None = None
    ) -> tuple[dict[str, Any], bytes]:
        """Send the blob's frames in order, `repeat` times, from processor `cpu` if given."""
        from scapy.config import conf

        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        if interface not in self._senders:
            self._senders[interface] = conf.L2socket(iface=interface, promisc=False)
            self._senders[interface].outs.settimeout(SEND_DEADLINE_S)
        frames = split_frames(blob)
        # A link that was down has left its error here, for whatever is sent next.
        self._senders[interface].outs.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        transmit = self._senders[interface].outs.send
        try:
            for _ in range(repeat):
                for frame in frames:
                    transmit(frame)
        except TimeoutError:
            return {"stuck": f"{interface} took no frame for {SEND_DEADLINE_S} s"}, b""
        return {"sent": repeat * len(frames)}, b""

    def do_send_large(
        self, blob: bytes, interface: str, headers: int, transport: int, segment: int, with_cwr: bool
    ) -> tuple[dict[str, Any], bytes]:
        """Hand over the blob, a TCP packet, for the NIC to cut and to put checksums in, as the host's stack would.

        `headers` are its octets before the data, `transport` those before the TCP header, `segment` those of data in
        each segment; `with_cwr` says beside the packet that it has that flag.
        """
        kind = (CUT_TCP_IPV6 if blob[12:14] == b"\x86\xdd" else CUT_TCP_IPV4) | (CUT_WITH_CWR if with_cwr else 0)
        beside = VNET_HEADER.pack(NEEDS_CHECKSUM, kind, headers, segment, transport, TCP_CHECKSUM_AT)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            sender.bind((interface, 0))
            sender.send(beside + blob)
        return {}, b""

    def do_capture(
        self, blob: bytes, interface: str, promiscuous: bool = False, outgoing: bool = False
    ) -> tuple[dict[str, Any], bytes]:
        """Begin a capture of the frames that come, or go out, and hold the blob; from the answer on none is missed."""
        number = next(self._numbers)
        self._captures[number] = Capture(interface, blob, promiscuous, outgoing)
        return {"capture": number}, b""

    def do_collect(
        self, blob: bytes, capture: int, count: int, deadline_s: float, marked: bool = False
    ) -> tuple[dict[str, Any], bytes]:
        """Return what was captured, `marked` or not, once there are `count` frames or at the deadline."""
        frames = self._captures[capture].wait(count, deadline_s)
        marks = self._captures[capture].marks[: len(frames)] if marked else []
        return {"frames": len(frames), "marks": marks}, join_frames(frames)

    def do_take(self, blob: bytes, capture: int, deadline_s: float) -> tuple[dict[str, Any], bytes]:
        """Return what was captured since the last time, as soon as there is anything or at the deadline."""
        frames = self._captures[capture].take(deadline_s)
        return {"frames": len(frames)}, join_frames(frames)

    def do_end_capture(self, blob: bytes, capture: int) -> tuple[dict[str, Any], bytes]:
        """End a capture."""
        self._captures.pop(capture).close()
        return {}, b""

    def do_state(self, blob: bytes, interface: str) -> tuple[dict[str, Any], bytes]:
        """Return what the interface is set to and what the system has beside it."""
        return importlib.import_module(STATE).read(interface), b""

    def do_put_back(
        self, blob: bytes, interface: str, before: dict[str, str], deadline_s: float
    ) -> tuple[dict[str, Any], bytes]:
        """Undo what is another than before; the answer says what still is at the deadline."""
        for sender in self._senders.values():  # whose interface may have gone, and come back as another
            sender.close()
        self._senders.clear()
        return {"changed": importlib.import_module(STATE).put_back(interface, before, deadline_s)}, b""

    def do_serve(self, blob: bytes, address: str, transport: str) -> tuple[dict[str, Any], bytes]:
        """Echo what comes to a port on `address` ("udp" or "tcp"); the answer says which port."""
        kind = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}[transport]
        family, _, _, _, where = socket.getaddrinfo(address, 0, type=kind)[0]
        service = socket.socket(family, kind)
        service.bind(where)
        if transport == "tcp":
            service.listen(8)
        self._services.append(Echo(service))
        return {"port": service.getsockname()[1]}, b""

    def do_ask(
        self, blob: bytes, address: str, port: int, transport: str, deadline_s: float
    ) -> tuple[dict[str, Any], bytes]:
        """Send the blob to a port over the host's own stack and return what comes back, up to as many octets.

        A network that fails is an answer too: the octets so far, and why there are no more.
        """
        kind = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}[transport]
        family, _, _, _, where = socket.getaddrinfo(address, port, type=kind)[0]
        answer = b""
        with socket.socket(family, kind) as client:
            client.settimeout(deadline_s)
            try:
                client.connect(where)
                client.sendall(blob)
                if transport == "udp":
                    return {}, client.recv(65536)
                while len(answer) < len(blob) and (data := client.recv(65536)):
                    answer += data
            except OSError as error:
                return {"ended": str(error)}, answer
        return {}, answer

    def do_transmit(
        self,
        blob: bytes,
        address: str,
        port: int,
        transport: str,
        deadline_s: float,
        header: tuple[str, str] | None = None,
        segment: int | None = None,
    ) -> tuple[dict[str, Any], bytes]:
        """Send each payload of the blob to a port, over the host's own stack: "udp", "tcp", "icmpv6" (echo requests).

        A TCP connection is closed from both ends behind the last. `header` is a key of HEADERS and its octets in
        hexadecimal; `segment` has the stack or the NIC cut a UDP payload into datagrams with as many octets.
        A network that fails is an answer too.
        """
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind, protocol = {
            "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
            "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
            "icmpv6": (socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
        }[transport]
        service = None if transport == "icmpv6" else port
        where = socket.getaddrinfo(address, service, family, kind, protocol)[0][4]
        with socket.socket(family, kind, protocol) as client:
            client.settimeout(deadline_s)
            if header is not None:
                client.setsockopt(*HEADERS[header[0]], bytes.fromhex(header[1]))
            if segment is not None:
                client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
            try:
                client.connect(where)
                for payload in split_frames(blob):
                    client.sendall(ECHO_REQUEST + payload if transport == "icmpv6" else payload)
                if transport == "tcp":
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(65536):
                        pass
            except OSError as error:
                return {"ended": str(error), "errno": error.errno}, b""
        return {}, b""


def main() -> None:
    """Serve standard input and output, or each connection to a listening port."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", metavar="ADDRESS:PORT", help="serve TCP connections instead of standard input")
    listen = parser.parse_args().listen
    # The slow part: done before anyone waits for it.
    import scapy.arch
    import scapy.config
    import scapy.layers.l2  # noqa: F401

    if not listen:
        Worker().serve(sys.stdin.buffer, sys.stdout.buffer)
        return
    Capture("lo", b"").close()  # what the first capture loads, too
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(STATE)
    address, port = listen.rsplit(":", 1)
    with socket.create_server((address, int(port))) as server:
        print("nicproof: endpoint ready", flush=True)
        while True:
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = connection.makefile("rwb")
            threading.Thread(target=Worker().serve, args=(stream, stream), daemon=True).start()


if __name__ == "__main__":
    main()
