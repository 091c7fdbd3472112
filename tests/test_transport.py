"""Both ways into a Windows guest, with Wine's real cmd.exe at the far end."""

import os
import re
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from harness.errors import Unsupported
from harness.guest.cygwin import CygwinShell, is_cygwin
from harness.guest.serial import LONGEST_LINE, SerialError, SerialShell, escaped
from harness.guest.ssh import Ssh
from harness.guest.transport import CommandFailed, Transport, TransportError
from harness.qemu.binary import find_qemu
from harness.qemu.process import QemuProcess
from harness.shell import _serial
from tests.windows import Server
from tests.wine import PROGRAM, WHY_NOT, Prefix, windows

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=WHY_NOT)


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefix]:
    with windows(tmp_path_factory.mktemp("wine") / "prefix") as made:
        yield made


@pytest.fixture(scope="module")
def user_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "key"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(file))
    return file


@pytest.fixture(scope="module")
def server(wine: Prefix, user_key: Path) -> Iterator[Server]:
    serving = Server(wine, paramiko.RSAKey(filename=str(user_key)), paramiko.RSAKey.generate(2048)).start()
    yield serving
    serving.close()


@pytest.fixture
def serial(wine: Prefix) -> Iterator[SerialShell]:
    with wine.shell() as port:
        yield SerialShell(port)


@pytest.fixture
def ssh(server: Server, user_key: Path) -> Iterator[Ssh]:
    connection = Ssh(server.address, user="Administrator", key=user_key, host_key=None, encoding="cp437")
    yield connection
    connection.close()


@pytest.fixture
def cygwin(wine: Prefix, user_key: Path) -> Iterator[CygwinShell]:
    key = paramiko.RSAKey(filename=str(user_key))
    serving = Server(wine, key, paramiko.RSAKey.generate(2048), bash=True).start()
    connection = Ssh(serving.address, user="Administrator", key=user_key, host_key=None, encoding="cp437")
    assert is_cygwin(connection.server)
    yield CygwinShell(connection)
    connection.close()
    serving.close()


@pytest.fixture(params=["serial", "ssh", "cygwin"])
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.getfixturevalue(request.param)
    return chosen


# What is said reaches the command as it was said


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("echo hello", "hello"),
        ('echo "a & b" ^& c', '"a & b" & c'),
        ("echo one^|two^>three^<four", "one|two>three<four"),
        ("echo two  spaces, a; semicolon = (and) more)", "two  spaces, a; semicolon = (and) more)"),
        ("echo %OS% 100% %NOT_SET% %%", "Windows_NT 100% %NOT_SET% %%"),
        ("echo ^^ ! ' ` ~ # $ @ [ ] { } \\ / ? *", "^ ! ' ` ~ # $ @ [ ] { } \\ / ? *"),
        ("for %i in (1 2) do @echo item %i", "item 1\nitem 2"),
        ('set "x=a b" && echo done', "done"),
        ("echo first& echo second", "first\nsecond"),
    ],
)
def test_a_command_line_means_what_it_means_at_a_prompt(transport: Transport, command: str, printed: str) -> None:
    assert transport.check(command) == f"{printed}\n"


@pytest.mark.parametrize("code", [0, 1, 7, 42, 255])
def test_the_exit_code_is_the_commands_own(transport: Transport, code: int) -> None:
    assert transport.run(f"exit {code}").status == code


def test_a_negative_exit_code_is_kept(serial: SerialShell) -> None:
    assert serial.run("exit -1073741819").status == -1073741819  # an access violation, 0xC0000005


def test_a_failed_command_is_an_error_with_its_last_words(transport: Transport) -> None:
    with pytest.raises(CommandFailed, match=r"^in the guest, 'cmd .* exit 3' ended with status 3: no medium *$"):
        transport.check('cmd /c "echo no medium 1>&2"& exit 3')


def test_output_and_errors_are_told_apart(transport: Transport) -> None:
    done = transport.run('echo out& cmd /c "echo err 1>&2"& echo more')
    assert (done.stdout, done.stderr.strip()) == ("out\nmore\n", "err")


def test_one_command_knows_nothing_of_the_other(transport: Transport) -> None:
    transport.check("set NICPROOF_X=1& cd windows")
    assert transport.check("if defined NICPROOF_X (echo known) else echo fresh") == "fresh\n"
    assert transport.check("cd").strip() == transport.check("cd & cd windows").strip()


def test_a_missing_tool_is_a_skip_over_the_serial_shell(serial: SerialShell) -> None:
    with pytest.raises(Unsupported, match=r"^the guest lacks a tool: .*nosuchtool"):
        serial.run("nosuchtool")


# Input


@pytest.mark.parametrize("command", ["set /p answer=Name?& echo went on", "pause& echo went on", "more& echo went on"])
def test_a_program_that_asks_finds_the_end_of_its_input(transport: Transport, command: str) -> None:
    assert "went on" in transport.check(command, deadline_s=30)
    assert transport.check("echo usable") == "usable\n"


def test_what_is_given_is_the_input(transport: Transport) -> None:
    assert transport.check("more", stdin=b"one\r\ntwo\r\n") == "one\ntwo\n"
    assert transport.check("echo nothing is left& more") == "nothing is left\n"


# Output


def test_a_mebibyte_comes_whole(transport: Transport, wine: Prefix) -> None:
    lines = "".join(f"{number:07} {'x' * 54}\r\n" for number in range(1 << 14))
    assert len(lines) == 1 << 20
    (wine.drive / "long.txt").write_text(lines, newline="")
    assert transport.check(r"type C:\long.txt", deadline_s=120) == lines.replace("\r\n", "\n")


def test_output_without_a_line_end_is_not_given_one(transport: Transport, wine: Prefix) -> None:
    (wine.drive / "short.txt").write_bytes(b"no end")
    assert transport.check(r"type C:\short.txt") == "no end"


@pytest.mark.parametrize(("octets", "text"), [(b"\x84\x94\x81 \xe1\r\n", "äöü ß\n"), (b"a\r\r\nb\r\r\n", "a\nb\n")])
def test_octets_are_read_in_the_guests_code_page_with_plain_line_ends(
    transport: Transport, wine: Prefix, octets: bytes, text: str
) -> None:
    (wine.drive / "oem.txt").write_bytes(octets)
    assert transport.check(r"type C:\oem.txt") == text


def test_another_code_page_reads_the_same_octets_otherwise(wine: Prefix) -> None:
    (wine.drive / "oem.txt").write_bytes(b"\x9d\r\n")
    with wine.shell() as port:
        assert SerialShell(port, encoding="cp850").check(r"type C:\oem.txt") == "Ø\n"
    with wine.shell() as port:
        assert SerialShell(port, encoding="cp437").check(r"type C:\oem.txt") == "¥\n"


def test_what_a_command_leaves_running_does_not_disturb_the_next_one(serial: SerialShell, wine: Prefix) -> None:
    serial.upload(asleep(5), r"C:\behind.vbs")
    assert serial.run(r"start /b cscript //nologo C:\behind.vbs", deadline_s=60).status == 0
    done = serial.run('echo next& cmd /c "echo word 1>&2"')
    assert (done.status, done.stdout, done.stderr.strip()) == (0, "next\n", "word")


def test_files_of_errors_do_not_pile_up(serial: SerialShell) -> None:
    """One may stay where a process that ends has it open for a moment longer; without removal all would."""
    listing = r"dir /b %TEMP%\nicproof-*.err"
    before = serial.check(listing).split()
    for _ in range(6):
        serial.check("echo done")
    assert len(serial.check(listing).split()) < len(before) + 6


def test_what_looks_like_a_marker_is_output(serial: SerialShell) -> None:
    text = "0123456789abcdefE0E"
    assert serial.check(f"echo {text}& echo 0123456789abcdefZ") == f"{text}\n0123456789abcdefZ\n"


# Upload


@pytest.mark.parametrize("octets", [0, 1, 899, 900, 901, 20_000])
def test_a_file_arrives_octet_for_octet(transport: Transport, wine: Prefix, octets: int) -> None:
    content = (bytes(range(256)) * (octets // 256 + 1))[:octets]
    transport.upload(content, r"C:\a file.bin")
    assert (wine.drive / "a file.bin").read_bytes() == content


def test_an_upload_replaces_what_is_there(transport: Transport, wine: Prefix) -> None:
    (wine.drive / "there.txt").write_bytes(b"a longer text that was there before")
    transport.upload(b"new", r"C:\there.txt")
    assert (wine.drive / "there.txt").read_bytes() == b"new"


def test_an_upload_to_nowhere_is_said(transport: Transport) -> None:
    with pytest.raises(TransportError, match=r"^cannot upload C:\\nowhere\\file into the guest"):
        transport.upload(b"x", r"C:\nowhere\file")
    assert transport.check("echo usable") == "usable\n"


def test_an_uploaded_program_runs(transport: Transport) -> None:
    transport.upload(b'WScript.Echo "sum " & (40 + 2)\r\n', r"C:\sum.vbs")
    assert transport.check(r"cscript //nologo C:\sum.vbs") == "sum 42\n"


def test_a_server_without_sftp_takes_no_files(wine: Prefix, user_key: Path) -> None:
    key = paramiko.RSAKey(filename=str(user_key))
    server = Server(wine, key, paramiko.RSAKey.generate(2048), sftp=False).start()
    connection = Ssh(server.address, user="Administrator", key=user_key, host_key=None)
    try:
        with pytest.raises(Unsupported, match=r"^upload of a file: the guest's SSH server has no SFTP"):
            connection.upload(b"x", r"C:\x")
    finally:
        connection.close()
        server.close()


# Time


def asleep(seconds: int) -> bytes:
    """Return a script that takes so long; Wine's WScript.Sleep does not wait."""
    return f"since = Timer\r\nDo While Timer - since < {seconds}\r\nLoop\r\n".encode()


def test_a_command_that_takes_too_long_is_said_by_ssh_which_stays_usable(ssh: Ssh) -> None:
    ssh.upload(asleep(20), r"C:\sleep.vbs")
    with pytest.raises(TransportError, match=r"did not end within 1 s$"):
        ssh.run(r"cscript //nologo C:\sleep.vbs", deadline_s=1)
    assert ssh.check("echo usable") == "usable\n"


def test_a_serial_shell_is_lost_until_the_command_ends(serial: SerialShell) -> None:
    serial.upload(asleep(10), r"C:\sleep.vbs")
    with pytest.raises(SerialError, match=r"did not end within 1 s and goes on: until it ends, the shell .* is lost$"):
        serial.run(r"cscript //nologo C:\sleep.vbs", deadline_s=1)
    with pytest.raises(SerialError, match=r"^the shell on the serial port is lost: 'cscript .*' has not ended"):
        serial.run("echo too early", deadline_s=1)
    assert serial.check("echo usable", deadline_s=60) == "usable\n"


def test_a_command_that_ends_soon_after_its_time_leaves_the_shell_usable(serial: SerialShell) -> None:
    serial.upload(asleep(3), r"C:\nap.vbs")
    with pytest.raises(SerialError, match=r"did not end within 1 s; it got a Ctrl-C and has ended since$"):
        serial.run(r"cscript //nologo C:\nap.vbs", deadline_s=1)
    assert serial.check("echo usable") == "usable\n"


# What is no shell, or no line


def test_a_port_where_nobody_answers_is_said() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(SerialError, match=r"^no cmd.exe answers .* within 2 s: start one on COM2"):
        SerialShell(ours, deadline_s=2)


def test_a_shell_that_starts_late_is_found(wine: Prefix) -> None:
    ours, theirs = socket.socketpair()
    found: list[str] = []
    with ours, theirs:
        waiting = threading.Thread(target=lambda: found.append(SerialShell(ours).check("echo here")))
        waiting.start()
        assert theirs.recv(1)  # the first question is lost: nobody was there
        process = wine.cmd(stdin=theirs, stdout=theirs, stderr=theirs)
        try:
            waiting.join(60)
        finally:
            process.kill()
            process.wait(30)
    assert found == ["here\n"]


def test_a_port_that_closes_is_said(wine: Prefix) -> None:
    with wine.shell() as port:
        shell = SerialShell(port)
        port.shutdown(socket.SHUT_RDWR)
        with pytest.raises(SerialError, match=r"^the guest's serial port"):
            shell.run("echo hello")


def test_what_cannot_be_typed_is_refused_and_the_shell_stays_usable(serial: SerialShell) -> None:
    with pytest.raises(SerialError, match=rf"takes one line of at most {LONGEST_LINE} characters"):
        serial.run("echo " + "x" * LONGEST_LINE)
    with pytest.raises(SerialError, match=r"takes one line"):
        serial.run("echo one\necho two")
    with pytest.raises(SerialError, match=r"^'€' is not in the guest's code page, cp437$"):
        serial.run("echo 5 €")
    assert serial.check("echo " + "x" * 7000) == "x" * 7000 + "\n"


def test_an_echo_on_the_line_is_not_taken_for_output(wine: Prefix) -> None:
    """A terminal or a modem may send back what is typed: here, all of it, before the shell has read it."""
    with wine.shell() as port:
        ours, theirs = socket.socketpair()

        def type_and_echo() -> None:
            while typed := theirs.recv(65536):
                theirs.sendall(typed)
                port.sendall(typed)

        def print_on() -> None:
            while said := port.recv(65536):
                theirs.sendall(said)

        threads = [threading.Thread(target=work, daemon=True) for work in (type_and_echo, print_on)]
        for thread in threads:
            thread.start()
        with ours:
            shell = SerialShell(ours)
            done = shell.run('echo "a & b"& exit 5')
            assert (done.status, done.stdout) == (5, '"a & b"\n')
        for end in (theirs, port):
            end.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)


def relay(source: int, sink: int) -> bytes:
    """Return code for a processor in real mode: an octet that has come at one serial port leaves by the other."""
    # mov dx,LSR; in al,dx; test al,1; jz to the end; mov dx,RBR; in al,dx; mov bl,al;
    # mov dx,LSR; in al,dx; test al,0x20; jz -5; mov al,bl; mov dx,THR; out dx,al
    at = {"a": source + 5, "b": source, "c": sink + 5, "d": sink}
    code = "ba{a} ec a801 7414 ba{b} ec 88c3 ba{c} ec a820 74fb 88d8 ba{d} ee"
    return bytes.fromhex(code.format(**{name: port.to_bytes(2, "little").hex() for name, port in at.items()}))


@pytest.fixture
def behind_qemu(wine: Prefix, tmp_path: Path) -> Iterator[QemuProcess]:
    """A guest whose second serial port has Wine's cmd.exe at its far end: the guest carries between COM2 and COM3."""
    code = relay(0x2F8, 0x3E8) + relay(0x3E8, 0x2F8)
    code += b"\xeb" + (-len(code) - 2 & 0xFF).to_bytes(1, "little")  # jmp to the start
    (tmp_path / "disk").write_bytes((code.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    machine = ("-no-user-config", "-nodefaults", "-display", "none", "-machine", "pc", "-accel", "tcg", "-m", "32")
    disk = ("-drive", f"file={tmp_path / 'disk'},format=raw,if=ide")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "com3"))
        listener.listen()
        far = ("-chardev", f"socket,id=far,path={tmp_path / 'com3'}", "-device", "isa-serial,chardev=far,index=2")
        with QemuProcess(find_qemu(), (*machine, *disk, *far), tmp_path, memory_mib=32, second_serial=True) as vm:
            theirs, _ = listener.accept()
            process = wine.cmd(stdin=subprocess.PIPE, stdout=theirs, stderr=theirs)

            def hand_over() -> None:  # whole lines: Wine's cmd.exe takes what one read gives for a line
                assert process.stdin
                with theirs, theirs.makefile("rb") as typed, suppress(OSError):
                    for line in typed:
                        process.stdin.write(line)
                        process.stdin.flush()

            threading.Thread(target=hand_over, daemon=True).start()
            try:
                yield vm
            finally:
                process.kill()
                process.communicate(timeout=30)


def test_the_shell_is_reached_through_the_emulated_serial_ports_of_qemu(behind_qemu: QemuProcess, wine: Prefix) -> None:
    assert behind_qemu.serial is not None
    shell = SerialShell(behind_qemu.serial)
    done = shell.run('echo "a & b" %OS%& exit 5')
    assert (done.status, done.stdout) == (5, '"a & b" Windows_NT\n')
    content = bytes(range(256)) * 20
    shell.upload(content, r"C:\through.bin")
    assert (wine.drive / "through.bin").read_bytes() == content
    lines = "".join(f"{number:07} {'x' * 54}\r\n" for number in range(1 << 10))
    (wine.drive / "long.txt").write_text(lines, newline="")
    assert shell.check(r"type C:\long.txt", deadline_s=300) == lines.replace("\r\n", "\n")


def test_a_person_has_the_shell_a_line_at_a_time(wine: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, keys = os.pipe()
    screen, drawn = os.pipe()
    with wine.shell() as port, open(keyboard) as stdin, open(drawn, "w") as stdout:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        bed: Any = SimpleNamespace(vm=SimpleNamespace(serial=port))
        said: list[str] = []
        person = threading.Thread(target=lambda: _serial(bed, said.append))
        person.start()
        shown = b""
        for typed, awaited in ((b"", b">C:\\>"), (b"echo typed ^& answered\n", b"typed & answered\r\n")):
            os.write(keys, typed)
            while awaited not in shown:
                assert select.select([screen], [], [], 60)[0], shown
                shown += os.read(screen, 4096)
        os.close(keys)
        person.join(30)
        assert not person.is_alive()
    os.close(screen)
    assert said == ["this is the shell on COM2, a line at a time. Leave with Ctrl-D; the guest ends then"]


def test_all_that_means_something_to_a_shell_is_escaped() -> None:
    assert escaped('a "b" & c | d < e > f (g) 100% ^h') == 'a ^"b^" ^& c ^| d ^< e ^> f ^(g^) 100^% ^^h'
    assert not re.search(r"[&|<>()%\"^]", escaped("plain text, with; no = meaning!"))
