"""A driver of the user's own in the place of the guest kernel's: what is accepted, and what becomes of it."""

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.image.driver import module_facts, replacements
from harness.own import with_own
from harness.profile_file import load_profile
from tests.conftest import PROJECT, Start
from tests.own_driver import MODULE

HERE = ("--accel", "tcg", "-n", "0")


def test_a_module_says_its_name_its_kernel_and_what_it_needs(guest_kernel: tuple[str, list[str], Path]) -> None:
    release, _, file = guest_kernel
    facts = module_facts(file.read_bytes())
    assert (facts["name"], facts["vermagic"].split()[0], facts["depends"]) == ("e1000e", release, "")


def test_a_fitting_module_takes_the_place_of_the_kernels_own(guest_kernel: tuple[str, list[str], Path]) -> None:
    release, dependencies, file = guest_kernel
    assert replacements({"e1000e": file}, release, dependencies) == {MODULE: file.read_bytes()}


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("e100e", b"", b"", "has no module e100e; nearest: e1000e"),
        ("igb", b"", b"", "the module's name is e1000e; give it as e1000e="),
        ("e1000e", b"vermagic=", b"varmagic=", "is no kernel module; allowed: a .ko file"),
        (
            "e1000e",
            b"vermagic=6.",
            b"vermagic=5.",
            "is built for kernel 5.*, the guest's is 6.*; build it for that one",
        ),
        (
            "e1000e",
            b"\0depends=\0",
            b"\0depends=no_such\0",
            "needs no_such, which the module that it replaces does not",
        ),
    ],
)
def test_a_module_that_does_not_fit_is_refused_with_the_reason(
    guest_kernel: tuple[str, list[str], Path], tmp_path: Path, name: str, old: bytes, new: bytes, says: str
) -> None:
    release, dependencies, file = guest_kernel
    assert old in file.read_bytes()
    other = tmp_path / "other.ko"
    other.write_bytes(file.read_bytes().replace(old, new) if old else file.read_bytes())
    with pytest.raises(InputError, match=says):
        replacements({name: other}, release, dependencies)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--driver", "e1000e"], "--driver e1000e: is no NAME=FILE, such as e1000e=build/e1000e.ko"),
        (["--driver", "e1000e=/no/such.ko"], "--driver e1000e=/no/such.ko: no such file"),
        (
            ["--nic", "e1000", "--driver", "igb=/no/such.ko"],
            "--driver igb=/no/such.ko: is for igb, of which --nic and --irq choose no cell",
        ),
        (["--kernel", "/no/such"], "--kernel /no/such: no such file"),
        (["--modules", "/no/such"], "--modules /no/such: no such folder"),
        (["--modules", str(PROJECT)], "--modules: belongs to a kernel; add --kernel FILE"),
    ],
)
def test_a_wrong_option_is_one_line(start: Start, options: list[str], says: str) -> None:
    ended = start("def test_it(guest): ...", *HERE, "--profile", "linux", *options).ended()
    assert ended.status == 4
    (line,) = (line for line in ended.output.splitlines() if line.startswith("ERROR: "))
    assert says in line


def test_only_an_image_that_nicproof_builds_takes_a_driver(guest_kernel: tuple[str, list[str], Path]) -> None:
    with pytest.raises(InputError, match="--driver: profile ipxe boots from an image of its own"):
        with_own(load_profile("ipxe"), drivers={"e1000e": guest_kernel[2]})
    with pytest.raises(InputError, match="--modules: profile ipxe boots from an image of its own"):
        with_own(load_profile("ipxe"), modules=PROJECT)


SUITE = (PROJECT / "suites/test_enumeration.py").read_text()
ONE_CELL = ("--profile", "linux", "--nic", "e1000e", "--irq", "msix")


def test_a_module_that_the_kernel_rejects_is_a_failed_test_with_the_reason(
    guest_kernel: tuple[str, list[str], Path], start: Start, tmp_path: Path
) -> None:
    altered = tmp_path / "e1000e.ko"
    # A text inside is altered, so that the signature no longer fits.
    altered.write_bytes(guest_kernel[2].read_bytes().replace(b"Network Driver", b"Network Draver"))
    ended = start(SUITE, *HERE, *ONE_CELL, "--driver", f"e1000e={altered}", "-k", "expected_driver").ended()
    (case,) = ended.cases.values()
    assert case.outcome == "failure", ended.output
    assert "expected a driver of ('e1000e',), bound is none; the kernel says: " in case.message
    assert case.message.endswith("Key was rejected by service")
