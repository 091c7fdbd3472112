"""A DUT that is no virtual machine of ours: an interface of a real host, and another host at the cable's far end."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.endpoint.place import parse_place
from harness.errors import InputError
from tests.conftest import PROJECT, clean_environment
from tests.lab import Host, connect, needs_root, unpack_debian

CELL = ("--profile", "linux", "--nic", "virtio-net", "--irq", "msix")
RULES = {
    "test_arp_request_is_answered_with_the_duts_addresses": "passed",
    "test_neighbour_solicitation_is_answered_with_the_duts_address": "passed",
    "test_frame_of_every_length_crosses": "passed",
    "test_order_is_kept": "passed",
    "test_guest_answers_over_its_stack": "passed",
    "test_guest_asks_over_its_stack": "passed",
    "test_vendor_and_device_id_are_the_models": "the device's witness: dut of root@127.0.0.1 is no virtual machine",
    "test_guest_reads_the_same_identity": "the device's witness: dut of root@127.0.0.1 is no virtual machine",
    "test_guest_claims_the_vectors_that_the_device_has": "what belongs to a PCI function: the interface dut is none",
}
"""Whether a rule can be judged here, or the reason why not: a veth pair is a cable, and no PCI function."""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    root = unpack_debian(tmp_path_factory.mktemp("debian"))
    dut, far = Host.start(root, "dut"), Host.start(root, "far")
    try:
        connect(dut, far)
        yield dut, far
    finally:
        dut.close()
        far.close()


def run(reports: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "suites", *options),
            *("--reports", str(reports), "-p", "no:cacheprovider", "-n", "0"),
        ],
        cwd=PROJECT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )


@needs_root
def test_the_suites_judge_a_real_interface_by_what_can_be_seen_of_it(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    dut, far = hosts
    ends = ("--dut", dut.place(), "--endpoint", far.place())
    ended = run(tmp_path, *CELL, *ends, "-k", " or ".join(RULES))
    assert ended.returncode == 0, ended.stdout
    suite = ET.parse(tmp_path / "linux" / "junit.xml").getroot()[0]
    seen: dict[str, set[str]] = {}
    for case in suite.iter("testcase"):
        skipped = case.find("skipped")
        said = "passed" if skipped is None else str(skipped.get("message"))
        seen.setdefault(case.get("name", "").partition("[")[0], set()).add(said)
    assert seen.keys() == RULES.keys(), ended.stdout
    for rule, expected in RULES.items():
        assert all(said.startswith(expected) for said in seen[rule]), seen[rule]
    facts = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert facts["DUT"] == "dut of root@127.0.0.1"
    assert facts["endpoint"] == "far of root@127.0.0.1"
    assert facts["driver"] == "veth"
    assert "QEMU" not in facts


@needs_root
def test_an_interface_that_is_not_there_is_an_error_that_says_so(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    dut, far = hosts
    ended = run(tmp_path, *CELL, "--dut", dut.place(interface="dut0"), "--endpoint", far.place(), "-k", "order_is_kept")
    assert ended.returncode == 1
    assert "dut0 cannot be set up as DUT: there is no such interface" in ended.stdout
    assert "Traceback" not in ended.stdout


@needs_root
def test_another_host_key_than_the_pinned_one_is_refused(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    dut, far = hosts
    forged = far.place(host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
    ended = run(tmp_path, *CELL, "--dut", dut.place(), "--endpoint", forged, "-k", "order_is_kept")
    assert ended.returncode == 1
    assert "showed another host key" in ended.stdout


MISTAKES = {
    "one end only": (("--dut", "ssh://lab?interface=eth1"), "--dut: is one end of a real cable; add --endpoint"),
    "the other end only": (("--endpoint", "ssh://lab?interface=eth1"), "is one end of a real cable; add --dut"),
    "no endpoint at all": (("--endpoint", "lab7"), "--endpoint lab7: is none; allowed: wire, guest, ssh://"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_options_is_one_line(mistake: str, tmp_path: Path) -> None:
    options, said = MISTAKES[mistake]
    ended = run(tmp_path, *CELL, *options)
    assert ended.returncode == 4
    assert said in ended.stdout
    assert "Traceback" not in ended.stdout


def test_a_dut_is_one_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key"
    key.touch()
    place = f"ssh://root@127.0.0.1?interface=eth1&key={key}&host_key=ssh-ed25519 AAAA"
    ended = run(tmp_path, "--profile", "linux", "--nic", "igb", "--dut", place, "--endpoint", place)
    assert ended.returncode == 4
    assert "--dut eth1 of root@127.0.0.1: is one NIC in one mode, not 3 cells: add --nic and --irq" in ended.stdout


def test_a_place_is_read_whole(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch()
    read = parse_place("--dut", f"ssh://me@lab7:2222?interface=eth1&key={key}&host_key=ssh-ed25519 AA+/BB==")
    assert (read.user, read.host, read.port, read.interface, read.key) == ("me", "lab7", 2222, "eth1", key)
    assert read.host_key == "ssh-ed25519 AA+/BB=="
    assert str(read) == "eth1 of me@lab7"


def test_a_host_key_comes_from_known_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519").touch()
    with pytest.raises(InputError, match="known_hosts has no key of lab7: connect once with ssh"):
        parse_place("--dut", "ssh://me@lab7?interface=eth1")
    known = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    (tmp_path / ".ssh/known_hosts").write_text(f"lab7 {known}\n")
    assert parse_place("--dut", "ssh://me@lab7?interface=eth1").host_key == known


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("ssh://lab7", "is no such place; allowed: ssh://USER@HOST"),
        ("http://lab7?interface=eth1", "is no such place; allowed: ssh://USER@HOST"),
        ("ssh://lab7?interface=eth1&speed=1", "unknown field 'speed'; allowed: ssh://USER@HOST"),
        ("ssh://lab7:99999?interface=eth1", "the port is no number from 1 to 65535"),
        ("ssh://lab7?interface=eth1&key=/nowhere/key", r"no private key \(/nowhere/key\); make one with ssh-keygen"),
    ],
)
def test_a_place_that_is_none_is_one_clear_line(wish: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        parse_place("--dut", wish)
    assert "\n" not in str(caught.value)
