"""Which QEMU is used, and what a person is told when it cannot be."""

import logging
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from packaging.version import Version

from harness import debian
from harness.errors import InputError, NicproofError
from harness.qemu.binary import Qemu, find_qemu

GREETING = (
    '{"QMP": {"version": {"qemu": {"micro": 19, "minor": 2, "major": 5}, "package": "Debian 1:5.2+dfsg-11+deb11u5"},'
    ' "capabilities": ["oob"]}}'
)

NO_PEER = re.compile(r"qemu\S*: warning: nic \S+ has no peer\n?")


def wrapped(qemu: Qemu, options: str = "") -> str:
    variables = " ".join(f"{name}='{value}'" for name, value in qemu.env.items())
    return f'export {variables}; exec {shlex.join(qemu.argv)} "$@" {options}'


@pytest.fixture(scope="module")
def cached() -> Qemu:
    """A real QEMU from the user's cache; unpacked now if it is not there."""
    return find_qemu("debian:trixie")


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def old_qemu(tmp_path: Path) -> Path:
    """What answers as QEMU 5.2 does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return script(folder / "qemu-system-x86_64", f"cat >/dev/null; echo '{GREETING}'")


def test_an_unpacked_qemu_is_new_enough_and_says_where_it_is_from(cached: Qemu) -> None:
    assert cached.version >= Version("10.0")
    assert cached.origin.startswith(f"debian:trixie 1:{cached.version}")
    assert len(cached.build_id) == 32


def test_an_unpacked_qemu_runs_with_nothing_of_the_host(cached: Qemu) -> None:
    listed = subprocess.run(
        [*cached.argv[:3], "--list", cached.argv[3]],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    used = [line.split("=>")[1].split()[0] for line in listed.splitlines() if "=>" in line]
    root = cached.argv[0].partition("/usr/lib64/")[0]
    assert len(used) > 20
    assert [path for path in used if not path.startswith(root)] == []


@pytest.mark.parametrize("model", ["e1000", "e1000e", "igb,bus=rp", "virtio-net-pci"])
def test_an_unpacked_qemu_has_the_model_and_its_rom(cached: Qemu, model: str) -> None:
    devices = ["-device", "pcie-root-port,id=rp", "-device", model]
    ran = subprocess.run(
        [*cached.argv, "-machine", "q35", "-nodefaults", "-display", "none", "-S", "-monitor", "stdio", *devices],
        env={**os.environ, **cached.env},
        input="quit\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, NO_PEER.sub("", ran.stderr)) == (0, "")


def test_trace_events_are_those_of_the_build(cached: Qemu) -> None:
    assert {"apic_deliver_irq", "pic_interrupt", "e1000e_irq_msix_notify_vec"} <= cached.trace_events


def test_an_unpacked_qemu_brings_its_qemu_img(cached: Qemu, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    subprocess.run([*cached.img_argv, "create", "-q", "-f", "qcow2", disk, "1M"], timeout=60, check=True)
    assert disk.read_bytes()[:4] == b"QFI\xfb"


def test_a_named_program_is_used_and_the_build_is_told_apart(cached: Qemu, tmp_path: Path) -> None:
    own = script(tmp_path / "my-qemu", wrapped(cached))
    found = find_qemu(str(own))
    assert found.origin == str(own)
    assert found.version == cached.version
    assert found.build_id != cached.build_id


def test_a_qemu_on_path_that_is_new_enough_is_used(
    cached: Qemu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = script(tmp_path / "qemu-system-x86_64", wrapped(cached))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert find_qemu().origin == str(own)


def test_an_old_qemu_on_path_is_passed_over_and_said_so(
    cached: Qemu, old_qemu: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", f"{old_qemu.parent}:/usr/bin:/bin")
    caplog.set_level(logging.INFO)
    assert find_qemu() == cached
    assert f"{old_qemu}: QEMU 5.2.19 is too old, 8.0 or newer is needed: using Debian trixie's" in caplog.text


def test_an_old_qemu_asked_for_is_refused_with_the_cure(old_qemu: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_qemu(str(old_qemu))
    assert str(caught.value) == (
        f"--qemu {old_qemu}: QEMU 5.2.19 is too old, 7.2 or newer is needed: use --qemu debian:trixie"
    )


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("/no/such/qemu", "--qemu /no/such/qemu: no such program"),
        ("no-such-qemu", "--qemu no-such-qemu: no such program"),
        ("/etc", "--qemu /etc: not an executable file"),
        ("/etc/passwd", "--qemu /etc/passwd: not an executable file"),
        ("/bin/true", r"--qemu /bin/true: not a qemu-system-x86_64 that starts \(it does not answer as a QEMU does\)"),
        ("debian:trixi", "--qemu debian:trixi: unknown Debian suite 'trixi': did you mean trixie"),
    ],
)
def test_what_is_no_qemu_is_one_line(wish: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}") as caught:
        find_qemu(wish)
    assert "\n" not in str(caught.value)


def test_a_qemu_of_another_machine_is_refused(cached: Qemu, tmp_path: Path) -> None:
    other = script(tmp_path / "qemu-system-other", wrapped(cached, "-machine none,no-such-property=on"))
    with pytest.raises(InputError, match="not a qemu-system-x86_64 that starts"):
        find_qemu(str(other))


def test_a_corrupt_unpacked_qemu_is_unpacked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NICPROOF_CACHE", str(tmp_path / "cache of a test"))
    qemu = find_qemu("debian:trixie")
    program = Path(qemu.argv[3])
    whole = program.stat().st_size
    with program.open("r+b") as file:
        file.truncate(whole // 2)
    again = find_qemu("debian:trixie")
    assert again == qemu
    assert program.stat().st_size == whole
    assert "QEMU of Debian trixie in the cache is unusable (" in caplog.text
    bios = next(program.parents[1].glob("share/seabios/bios-256k.bin"))
    bios.unlink()
    find_qemu("debian:trixie")
    assert bios.exists()


def test_no_network_is_one_line_that_names_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NICPROOF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NICPROOF_MIRROR", "http://127.0.0.1:9/debian")
    with pytest.raises(NicproofError) as caught:
        find_qemu("debian:trixie")
    assert str(caught.value) == (
        "cannot get qemu-system-x86, qemu-utils of Debian trixie from http://127.0.0.1:9/debian: no network, or the "
        "mirror does not answer (Could not connect to 127.0.0.1:9); NICPROOF_MIRROR can name another"
    )
    assert list((tmp_path / "cache" / ".builds").iterdir()) == []


def test_a_package_that_the_suite_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(NicproofError, match=r"the suite has no package no-such-package$"):
        debian.extract("trixie", ["no-such-package"], tmp_path / "root")


def test_mmdebstrap_missing_is_said_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"mmdebstrap is not installed.*sudo apt-get install mmdebstrap$"):
        debian.extract("trixie", ["hello"], tmp_path / "root")


def test_mmdebstrap_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    script(tmp_path / "mmdebstrap", f"echo $$ >'{pid}'; exec sleep 1000")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(NicproofError, match="was not there after 1 s"):
        debian.run_mmdebstrap([], [], what="a thing", deadline_s=1)
    assert not Path("/proc", pid.read_text().strip()).exists()


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (
            "W: GPG error: http://m/debian trixie InRelease: The following signatures couldn't be verified because the "
            "public key is not available: NO_PUBKEY 6ED0E7B82643E131",
            "this host lacks the keys that sign this suite: sudo apt-get install debian-archive-keyring",
        ),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "the disk is full"),
        (
            "E: Release file for http://m/debian/dists/sid/InRelease is expired (invalid since 16d 11h 6min 46s).",
            "the mirror is out of date: its Release file is expired (invalid since 16d 11h 6min 46s)",
        ),
        (
            "E: Failed to fetch http://m/debian/dists/trixie/InRelease  404  Not Found [IP: 151.101.2.132 80]\n"
            "E: The repository 'http://m/debian trixie InRelease' is not signed.",
            "the mirror does not have this suite (404  Not Found); NICPROOF_MIRROR can name another",
        ),
        ("I: running\nE: something new\nE: and more", "E: something new; E: and more"),
        ("", "mmdebstrap failed without a word"),
    ],
)
def test_what_apt_says_becomes_one_line(said: str, meaning: str) -> None:
    assert debian._reason(said) == meaning
