"""The endpoint's far side as a program of its own: what it answers, refuses and echoes."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from harness.endpoint import worker
from harness.endpoint.cable import CableStuck
from harness.endpoint.remote import RemoteEndpoint, WorkerConnection
from harness.endpoint.worker import join_frames, message, read_message, split_frames


@pytest.fixture(scope="module")
def program() -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-I", str(Path(worker.__file__))]  # -I: with nothing of nicproof on its path
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0, "it ends with its input"


def ask(
    program: "subprocess.Popen[bytes]", do: str, blob: bytes = b"", **arguments: object
) -> tuple[dict[str, Any], bytes]:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(message({"do": do, **arguments}, blob))
    program.stdin.flush()
    answer = read_message(cast(BinaryIO, program.stdout))
    assert answer is not None
    return answer


@pytest.mark.parametrize("frames", [[], [b""], [b"x"], [b"a" * 60, b"", b"b" * 65536]])
def test_frames_come_apart_as_they_were_joined(frames: list[bytes]) -> None:
    assert split_frames(join_frames(frames)) == frames


def test_it_says_what_runs_there(program: "subprocess.Popen[bytes]") -> None:
    assert set(ask(program, "hello")[0]) == {"python", "scapy"}


@pytest.mark.parametrize(
    ("do", "said"),
    [("no_such_thing", "AttributeError"), ("collect", "TypeError"), ("serve", "TypeError")],
)
def test_what_it_cannot_do_it_says_and_goes_on(do: str, said: str, program: "subprocess.Popen[bytes]") -> None:
    assert ask(program, do)[0]["error"].startswith(said)
    assert "error" not in ask(program, "hello")[0]


def test_an_interface_that_does_not_exist_is_refused(program: "subprocess.Popen[bytes]") -> None:
    assert "error" in ask(program, "capture", interface="nosuch0")[0]


class Stuck:
    """A sender whose frames nobody takes."""

    def __init__(self) -> None:
        self.outs, self._nobody = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.outs.settimeout(0.1)

    def close(self) -> None:
        self.outs.close()
        self._nobody.close()


@dataclass(frozen=True)
class Served:
    """A worker in this process, its one connection, and what ends that."""

    worker: worker.Worker
    connection: WorkerConnection
    end: Callable[[], None]


@pytest.fixture
def served() -> Iterator[Served]:
    here, there = socket.socketpair()
    serving = worker.Worker()
    stream = there.makefile("rwb")
    thread = threading.Thread(target=serving.serve, args=(stream, stream))
    thread.start()
    connection = WorkerConnection(cast(Any, here))

    def end() -> None:
        with suppress(OSError):
            here.shutdown(socket.SHUT_RDWR)
        thread.join()

    yield Served(serving, connection, end)
    end()
    connection.close()
    for opened in (stream, there):
        opened.close()


def test_an_interface_that_takes_no_frame_is_the_duts_failure(served: Served) -> None:
    served.worker._senders["eth1"] = Stuck()
    with pytest.raises(CableStuck, match=r"^the cable is stuck: eth1 took no frame for \d+ s$"):
        RemoteEndpoint(served.connection, "eth1").send(bytes(60), repeat=10_000)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_nobody_reads_from_an_echo_that_has_ended(transport: str, served: Served) -> None:
    """What still waits in a closed socket reads, after a sleep of its system, from whatever has its number by then."""
    others = set(threading.enumerate())
    port = served.connection.ask("serve", address="127.0.0.1", transport=transport)[0]["port"]
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        client.sendall(b"x")
        assert client.recv(9) == b"x"
        assert set(threading.enumerate()) > others, "it echoes in the background"
        served.end()  # amid a conversation
    assert set(threading.enumerate()) < others


def test_a_capture_is_not_taken_for_another(served: Served) -> None:
    ask_for = served.connection.ask
    first, second = (ask_for("capture", interface="lo")[0]["capture"] for _ in range(2))
    ask_for("end_capture", capture=first)
    assert ask_for("capture", interface="lo")[0]["capture"] not in (first, second)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_it_echoes_through_the_hosts_own_stack(
    transport: str, address: str, program: "subprocess.Popen[bytes]"
) -> None:
    answer, _ = ask(program, "serve", address=address, transport=transport)
    if "Cannot assign requested address" in answer.get("error", ""):
        pytest.skip(f"this host has no {address}")
    request = {"address": address, "port": answer["port"], "transport": transport, "deadline_s": 10}
    for payload in (b"x", bytes(range(256)) * 100):
        assert ask(program, "ask", payload, **request) == ({}, payload)
