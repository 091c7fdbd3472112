"""The shell that stays over SSH, in a host with Debian's shell and SSH server, beside a shell for each command."""

import threading
from collections.abc import Iterator

import pytest

from harness.endpoint.place import SshPlace, parse_place
from harness.errors import Unsupported
from harness.guest.ssh import Ssh, SshError
from tests.lab import Host, needs_root, unpack_debian

pytestmark = needs_root


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    made = Host.start(unpack_debian(tmp_path_factory.mktemp("debian")), "lo")
    yield made
    made.close()


@pytest.fixture
def ssh(host: Host) -> Iterator[Ssh]:
    connection = place(host).connect()
    yield connection
    connection.close()


@pytest.fixture
def alone(host: Host) -> Iterator[Ssh]:
    at = place(host)
    connection = Ssh((at.host, at.port), user=at.user, key=at.key, host_key=at.host_key)
    yield connection
    connection.close()


def place(host: Host) -> SshPlace:
    return parse_place("--dut", host.place())


COMMANDS = {
    "both outputs and the status": "echo out; echo err >&2; exit 3",
    "no line's end": "printf out; printf err >&2; false",
    "nothing": "true",
    "no standard input": "cat; read -r line || echo none",
    "a subshell first": "(echo one); echo two",
    "a comment last": "echo one # two",
    "a document": "cat <<end\none\nend",
    "quotes": """echo "a 'b' $((1 + 1))" 'c "d" $e'""",
    "a megabyte on each": "head -c 1000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero | tr '\\0' y >&2",
    "the shell's own end": "echo before; kill -9 $$",
    "a program that a signal ends": "sh -c 'kill -9 $$'; echo $?",
    "bytes that are no text": "printf '\\377\\0\\n'",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_command_leaves_what_it_leaves_in_a_shell_of_its_own(ssh: Ssh, alone: Ssh, command: str) -> None:
    expected = alone.run(command)
    assert [ssh.run(command) for _ in range(2)] == [expected, expected]


def test_a_shell_serves_all_commands_and_none_sees_what_another_has_made_of_it(ssh: Ssh) -> None:
    first = ssh.check("echo $$")
    ssh.check("cd /tmp; mark=there; umask 0; exec >/dev/null; exit 0")
    assert ssh.check("echo $$") == first
    assert ssh.check('pwd; echo "$mark"; umask') == "/root\n\n0022\n"


def test_command_that_is_none_costs_the_shell_and_nothing_else(ssh: Ssh) -> None:
    first = ssh.check("echo $$")
    ended = ssh.run("echo one; if")
    assert (ended.status, ended.stdout) == (2, "")
    assert "unexpected" in ended.stderr
    assert ssh.check("echo $$") != first


def test_missing_tool_is_said(ssh: Ssh) -> None:
    with pytest.raises(Unsupported, match=r"the guest lacks a tool: .*nosuchtool.*not found"):
        ssh.run("nosuchtool --here")


def test_command_that_does_not_end_in_time_is_said_and_leaves_a_shell_for_the_next(ssh: Ssh) -> None:
    with pytest.raises(SshError, match=r"in the guest, 'sleep 60' did not end within 0\.2 s"):
        ssh.run("sleep 60", deadline_s=0.2)
    assert ssh.check("echo there") == "there\n"


def test_two_threads_do_not_wait_for_each_other(ssh: Ssh, host: Host) -> None:
    host.run("mkfifo", "/tmp/pipe")
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(ssh.check("cat /tmp/pipe", deadline_s=20)))
    reader.start()
    ssh.check("echo through >/tmp/pipe", deadline_s=20)
    reader.join(20)
    assert heard == ["through\n"]
