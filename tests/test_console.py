"""The serial console: nothing is lost, every wait ends, and what was said last is told."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.qemu.console import Console, ConsoleTimeout

Ends = tuple[Console, socket.socket]


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    here, there = socket.socketpair()
    console = Console(here, tmp_path / "console.log")
    yield console, there
    console.close()
    there.close()


def test_what_was_said_before_and_after_the_wait_began_is_found(ends: Ends) -> None:
    console, guest = ends
    guest.sendall(b"early\r\n")
    console.wait_for("early", 10)
    threading.Timer(0.1, guest.sendall, (b"nicproof: ready\r\n",)).start()
    assert console.wait_for(r"nicproof: (\w+)", 10)[1] == "ready"


def test_a_wait_may_begin_behind_what_was_said(ends: Ends) -> None:
    console, guest = ends
    guest.sendall(b"login: ")
    console.wait_for("login", 10)
    with pytest.raises(ConsoleTimeout):
        console.wait_for("login", 0.1, start=len(console.text))


def test_the_end_of_patience_names_the_text_the_time_and_the_last_line(ends: Ends) -> None:
    console, guest = ends
    guest.sendall(b"one\r\nKernel panic\r\n\r\n")
    console.wait_for("panic\n", 10)
    with pytest.raises(ConsoleTimeout) as caught:
        console.wait_for("ready", 0.2)
    expected = "the guest's console did not say 'ready' within 0.2 s; its last line: 'Kernel panic'"
    assert str(caught.value) == expected


def test_a_console_that_closes_ends_the_wait_at_once(ends: Ends) -> None:
    console, guest = ends
    guest.close()
    with pytest.raises(ConsoleTimeout, match="closed before it said 'ready'; it said nothing at all"):
        console.wait_for("ready", 60)


def test_characters_and_line_ends_that_come_in_two_parts_stay_whole(ends: Ends) -> None:
    console, guest = ends
    for octet in "gr\u00fc\u00df\r\nnext".encode():
        guest.sendall(bytes([octet]))
        console.wait_for_more(0.01)  # so that the octets come one by one
    console.wait_for("next", 10)
    assert console.text == "gr\u00fc\u00df\nnext"


def test_the_log_keeps_every_octet_as_it_came(ends: Ends, tmp_path: Path) -> None:
    console, guest = ends
    guest.sendall(b"\xff\x00\r\nend")
    console.wait_for("end", 10)
    assert (tmp_path / "console.log").read_bytes() == b"\xff\x00\r\nend"


def test_what_is_still_on_its_way_at_the_end_is_read(ends: Ends) -> None:
    console, guest = ends
    guest.sendall(b"x" * 100_000 + b"the end")
    guest.close()
    console.close()
    assert console.text.endswith("the end")


def test_typed_text_reaches_the_guest(ends: Ends) -> None:
    console, guest = ends
    console.send("reboot\n")
    assert guest.recv(100) == b"reboot\n"
