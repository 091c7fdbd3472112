"""Acceleration is believed only after a guest ran under it."""

import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from harness.cell import find_cell
from harness.errors import InputError
from harness.launcher import Launcher
from harness.qemu import accel
from harness.qemu.binary import Qemu, find_qemu

HANGS = bytes.fromhex("fa f4 eb fd")  # cli; stop: hlt; jmp stop
RESETS = bytes.fromhex("b0fe e664 f4")  # mov al, 0xfe; out 0x64, al; hlt
CRAWLS = bytes.fromhex("b0a5 e6f4 f4")  # mov al, 0xa5; out 0xf4, al: another answer than the one agreed


@pytest.fixture(scope="module")
def qemu() -> Qemu:
    return find_qemu()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NICPROOF_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def kvm_opens(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = own_cache / "kvm"
    device.touch()
    monkeypatch.setattr(accel, "_DEVICE", device)


def test_the_test_guest_runs_under_tcg(qemu: Qemu) -> None:
    assert accel.boot_failure(qemu, "tcg", deadline_s=60) is None


def test_a_guest_that_hangs_is_reported_in_time(qemu: Qemu) -> None:
    found = accel.boot_failure(qemu, "tcg", sector=HANGS, deadline_s=2)
    assert found == "the test guest had not finished after 2 s"


def test_a_guest_that_resets_is_no_success(qemu: Qemu) -> None:
    assert accel.boot_failure(qemu, "tcg", sector=RESETS, deadline_s=60) == "the test guest reset itself"


def test_another_answer_is_no_success(qemu: Qemu) -> None:
    found = accel.boot_failure(qemu, "tcg", sector=CRAWLS, deadline_s=60)
    assert found is not None
    assert found.startswith("QEMU ended with status 75")


def test_a_processor_that_does_not_start_is_no_success(qemu: Qemu) -> None:
    alone = replace(qemu, argv=("sh", "-c", 'exec "$0" "$@" -smp 1', *qemu.argv))
    found = accel.boot_failure(alone, "tcg", deadline_s=60)
    assert found == "the test guest's second processor did not start"


def test_timer_interrupts_must_be_delivered(qemu: Qemu) -> None:
    masked = accel._SECTOR.replace(bytes.fromhex("b0fe e621"), bytes.fromhex("b0ff e621"))
    assert masked != accel._SECTOR
    assert accel.boot_failure(qemu, "tcg", sector=masked, deadline_s=3) == "the test guest had not finished after 3 s"


def test_what_qemu_complains_of_is_the_reason(qemu: Qemu) -> None:
    broken = replace(qemu, argv=(*qemu.argv, "-device", "no-such-device"))
    found = accel.boot_failure(broken, "tcg")
    assert found is not None
    assert "status 1: -device no-such-device" in found


def test_warnings_of_qemu_are_no_reason() -> None:
    said = (
        "qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]\n"
        "qemu-system-x86_64: error: failed to set MSR 0x10a to 0xc000069\n"
    )
    assert accel._complaint(said) == "error: failed to set MSR 0x10a to 0xc000069"


def test_auto_without_kvm_is_tcg_and_says_why(qemu: Qemu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "_DEVICE", Path("/dev/no-kvm-here"))
    chosen = accel.choose_accel(qemu)
    assert chosen.name == "tcg"
    assert chosen.reason == "TCG: KVM cannot be used here: there is no /dev/no-kvm-here"


@pytest.mark.usefixtures("kvm_opens")
def test_kvm_that_opens_and_then_fails_guests_ends_in_tcg(qemu: Qemu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "boot_failure", lambda qemu, name: "the test guest had not finished after 10 s")
    assert accel.choose_accel(qemu).reason.startswith(
        "TCG: KVM cannot be used here: the test guest had not finished after 10 s"
    )
    with pytest.raises(InputError, match=r"^--accel kvm: KVM cannot be used here: the test guest had not finished"):
        accel.choose_accel(qemu, "kvm")


@pytest.mark.usefixtures("kvm_opens")
@pytest.mark.parametrize(("failure", "name"), [(None, "kvm"), ("it hung", "tcg")])
def test_the_answer_is_remembered_for_this_host_and_build(
    qemu: Qemu, monkeypatch: pytest.MonkeyPatch, failure: str | None, name: str
) -> None:
    proofs = []

    def proof(qemu: Qemu, accelerator: str) -> str | None:
        proofs.append(qemu.build_id)
        return failure

    monkeypatch.setattr(accel, "boot_failure", proof)
    assert accel.choose_accel(qemu).name == name
    assert accel.choose_accel(qemu).name == name
    accel.choose_accel(replace(qemu, build_id="another"))
    assert proofs == [qemu.build_id, "another"]


@pytest.mark.usefixtures("own_cache")
def test_this_host_gets_an_answer_that_holds(qemu: Qemu) -> None:
    chosen = accel.choose_accel(qemu)
    assert accel.boot_failure(qemu, chosen.name, deadline_s=60) is None
    assert "\n" not in chosen.reason


def test_asking_for_tcg_proves_nothing(qemu: Qemu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "boot_failure", lambda *_: pytest.fail("tried KVM"))
    assert accel.choose_accel(qemu, "tcg") == accel.Accel("tcg", "TCG: asked for", MappingProxyType({}))


def test_an_unknown_acceleration_names_the_known(qemu: Qemu) -> None:
    with pytest.raises(InputError, match=r"--accel kvn: unknown \(one of auto, kvm, tcg\)"):
        accel.choose_accel(qemu, "kvn")


FLAGS = "flags\t\t: fpu vme tsc msr nx {} rep_good nopl tsc_known_freq hypervisor\n"


def test_rate_of_the_time_stamp_counter_is_half_of_bogomips() -> None:
    assert accel.counter_mhz(FLAGS.format("constant_tsc") + "bogomips\t: 5192.24\nclflush size\t: 64\n") == 2596


@pytest.mark.parametrize(
    "told",
    [FLAGS.format("rdtscp") + "bogomips\t: 5192.24\n", "Features\t: fp asimd\nBogoMIPS\t: 50.00\n"],
    ids=["not constant", "aarch64"],
)
def test_guest_measures_a_counter_whose_rate_the_host_does_not_tell(told: str) -> None:
    assert accel.counter_mhz(told) is None


def test_clock_of_linux_does_not_run_ahead(qemu: Qemu) -> None:
    tcg = accel.choose_accel(qemu, "tcg")
    launcher, cell = Launcher(qemu, tcg), find_cell("linux/virtio-net/msix")
    bed = launcher.fork(cell, launcher.saved(cell))
    try:
        ssh = bed.connect()
        said = ssh.check("dmesg")
        began = time.monotonic()
        ssh.check("sleep 1")
        slept_s = time.monotonic() - began
    finally:
        bed.close()
    assert slept_s >= 0.99  # TCG's clock is the host's; a processor that waits for one makes it later, never sooner
    if told := tcg.kernel_parameters:
        assert f"tsc: Detected {int(told.removeprefix('tsc_early_khz=')) / 1000:.3f} MHz" in said
