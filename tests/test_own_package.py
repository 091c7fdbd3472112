"""A Windows driver package of the user's own: what of it is read, what is refused, and whom it is for."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.image.windows.inf import WINDOWS
from harness.image.windows.own_package import read_package
from harness.own import own_package as package_of
from harness.own import with_own
from harness.profile_file import load_profile
from tests.conftest import Start
from tests.windows_media import AMD64, E1000_PACKAGE, NETKVM, X86
from tests.windows_media import own_package as write_package

XP = WINDOWS["winxp"]


@pytest.fixture(autouse=True)
def nothing_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WINXP", "WIN10"):
        monkeypatch.delenv(f"NICPROOF_{name}_IMAGE", raising=False)


@pytest.fixture
def inf(tmp_path: Path) -> Path:
    return write_package(tmp_path / "build")


def for_win10(folder: Path, ids: tuple[str, ...], service: str = "e1new") -> Path:
    """Write a package for Windows 10 that lists these ids."""
    folder.mkdir()
    models = "\n".join(f"%D% = D, PCI\\{one}" for one in ids)
    copied = "[D]\nCopyFiles=@e1new.sys\n[SourceDisksNames]\n1=%D%\n[SourceDisksFiles]\ne1new.sys=1\n"
    started = f"[D.Services]\nAddService={service},0x2,S\n"
    head = '[Version]\nSignature="$WINDOWS NT$"\nClass=Net\n[Manufacturer]\n%I%=Intel,NTamd64.10.0\n'
    (folder / "e1new.inf").write_text(f"{head}[Intel.NTamd64.10.0]\n{models}\n{copied}{started}", encoding="utf-16")
    (folder / "e1new.sys").write_bytes(AMD64)
    return folder / "e1new.inf"


def test_the_files_of_a_package_are_those_that_this_windows_copies(inf: Path) -> None:
    package = read_package(inf, XP, "here")
    content = {name.lower(): len(data) for name, data in package.files.items()}
    assert content == {
        "e1000.inf": len(E1000_PACKAGE),
        "e1000325.cat": 6,
        "e1000325.sys": len(X86),
        "i386\\intelnic.dll": 2,
        "messages\\e1000msg.dll": 11,
    }, "no other processor's, none that comes with Windows, none that nothing copies"
    assert package.inf == "e1000.inf"


def test_the_key_of_a_package_is_its_content(inf: Path) -> None:
    key = read_package(inf, XP, "here").key
    (inf.parent / "readme.txt").write_text("changed")
    assert read_package(inf, XP, "here").key == key, "what is not of the package changes nothing"
    (inf.parent / "messages" / "e1000msg.dll").write_bytes(b"MZ other")
    assert read_package(inf, XP, "here").key != key


def test_a_catalog_may_be_each_systems_own(inf: Path) -> None:
    inf.write_text(E1000_PACKAGE.replace("CatalogFile =", "CatalogFile.NTx86 = x86.cat\nCatalogFile ="))
    (inf.parent / "x86.cat").touch()
    names = {name.lower() for name in read_package(inf, XP, "here").files}
    assert ("x86.cat" in names, "e1000325.cat" in names) == (True, False)


def test_a_package_without_a_catalog_is_the_guests_to_judge(inf: Path) -> None:
    inf.write_text(E1000_PACKAGE.replace("CatalogFile", "; CatalogFile"))
    (inf.parent / "e1000325.cat").unlink()
    assert not [name for name in read_package(inf, XP, "here").files if name.endswith(".cat")]


def test_the_nic_is_expected_to_be_driven_by_the_packages_service(inf: Path) -> None:
    before = load_profile("winxp")
    profile = with_own(before, drivers={"e1000": inf})
    assert (profile.packages, profile.nics["e1000"].drivers) == ({"e1000": inf}, ("E1000",))
    assert {**profile.nics, "e1000": before.nics["e1000"]} == before.nics, "no other NIC is touched"
    package = package_of(profile, "e1000")
    assert package is not None
    assert package.inf == "e1000.inf"
    assert package_of(profile, "e1000e") is None


@pytest.mark.parametrize("name", ["e1000", "E1000", "e1000325", "E1000325.SYS"])
def test_a_name_is_a_nic_models_or_a_drivers_in_whatever_letters(name: str, inf: Path) -> None:
    assert with_own(load_profile("winxp"), drivers={name: inf}).packages == {"e1000": inf}


def test_a_driver_of_several_nics_is_given_to_those_that_it_lists(tmp_path: Path) -> None:
    file = for_win10(tmp_path / "kvm", ("VEN_1AF4&DEV_1041",), "netkvm")
    profile = with_own(load_profile("win10"), drivers={"netkvm": file})
    assert profile.packages == {"virtio-net-modern": file}


def test_the_nic_that_carries_ssh_is_none_that_the_package_drives(tmp_path: Path) -> None:
    alone, both = (
        for_win10(tmp_path / str(len(ids)), ids)
        for ids in (("VEN_8086&DEV_10C9",), ("VEN_8086&DEV_10C9", "VEN_8086&DEV_10D3"))
    )
    profile = load_profile("win10")
    assert with_own(profile, drivers={"igb": alone}).machine.control_nic == ("e1000e", "rtl8139")
    assert with_own(profile, drivers={"igb": both}).machine.control_nic == ("rtl8139",)
    other = with_own(profile, drivers={"e1000e": both}).machine.control_nic
    assert other == ("e1000e", "rtl8139"), "where it carries SSH, nothing is installed"
    fewer = profile.model_copy(update={"machine": profile.machine.model_copy(update={"control_nic": ("e1000e",)})})
    fewer = fewer.model_copy(update={"nics": {name: nic for name, nic in profile.nics.items() if name != "e1000e"}})
    with pytest.raises(InputError, match=r"^--driver igb: drives the NIC that carries SSH as well.*add rtl8139"):
        with_own(fewer, drivers={"igb": both})


# What is refused


Change = Callable[[Path], object]


def unchanged(inf: Path) -> None:
    """Leave it as it is: the mistake is in the name."""


def text(old: str, new: str) -> Change:
    """Change the INF's text."""

    def change(inf: Path) -> None:
        assert old in inf.read_text()
        inf.write_text(inf.read_text().replace(old, new))

    return change


def without(name: str) -> Change:
    """Remove a file."""
    return lambda inf: (inf.parent / name).unlink()


def content(name: str, data: bytes) -> Change:
    """Change a file."""
    return lambda inf: (inf.parent / name).write_bytes(data)


REFUSED: dict[str, tuple[str, Change, str]] = {
    "no file": ("e1000", without("e1000.inf"), "No such file or directory; give the INF file of a driver package"),
    "no INF": ("e1000", content("e1000.inf", b"\xff\xfe\0"), "is no INF: its [Version] has no Signature"),
    "class": ("e1000", text("= Net", "= Display"), "is no network driver's: its class is Display; allowed: Net"),
    "another Windows": (
        "e1000",
        text("NTx86.5.1", "NTx86.6.1"),
        "does not list VEN_8086&DEV_100E of e1000 for Windows 5.1 on x86; it lists VEN_8086&DEV_1000",
    ),
    "no Windows": ("e1000", text("[Manufacturer]", "[M]"), "has no PCI device for Windows 5.1 on x86; see its [Manuf"),
    "another NIC": (
        "e1000e",
        unchanged,
        "does not list VEN_8086&DEV_10D3 of e1000e for Windows 5.1 on x86; it lists VEN_8086&DEV_100E, VEN_8086&DEV_",
    ),
    "another board": (
        "e1000",
        text("= E100E, PCI\\VEN_8086&DEV_100E\n", "= E100E, PCI\\VEN_8086&DEV_100E&SUBSYS_002E8086\n"),
        "lists VEN_8086&DEV_100E for other boards alone (VEN_8086&DEV_100E&SUBSYS_001E8086, VEN_8086&DEV_100E&SUBSYS_"
        "002E8086); the guest's NIC is SUBSYS_11001AF4",
    ),
    "no catalog": ("e1000", without("e1000325.cat"), "e1000325.cat, its CatalogFile, is not beside it; make it with"),
    "no driver": ("e1000", without("E1000325.SYS"), "e1000325.sys, copied by it, is not beside it; put it there, or"),
    "a file in a folder": ("e1000", without("I386/intelnic.DLL"), "i386\\intelnic.dll, copied by it, is not beside it"),
    "processor": (
        "e1000",
        content("E1000325.SYS", AMD64),
        "e1000325.sys is a driver for amd64, the guest's processor is x86; build it for that one",
    ),
    "no program": (
        "e1000",
        content("E1000325.SYS", b"text"),
        "e1000325.sys is no driver, the guest's processor is x86",
    ),
    "copies none": (
        "e1000",
        text("CopyFiles   = E1000", "; "),
        "copies no driver (.sys) for Windows 5.1 on x86; see its",
    ),
    "name": (
        "e100",
        unchanged,
        "profile winxp has no NIC and no driver of this name; nearest: e1000",
    ),
    "absent": ("igb", unchanged, "profile winxp has no igb: no driver of the 82576 for XP is in"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_package_that_cannot_be_used_is_refused_in_one_line(mistake: str, inf: Path) -> None:
    name, change, says = REFUSED[mistake]
    change(inf)
    with pytest.raises(InputError, match=rf"^--driver {name}={re.escape(str(inf))}: {re.escape(says)}.*$") as refused:
        with_own(load_profile("winxp"), drivers={name: inf})
    assert "\n" not in str(refused.value)


def test_a_nic_has_one_driver(inf: Path) -> None:
    with pytest.raises(InputError, match=r"^--driver e1000325=.*: is a second driver for e1000, after --driver e1000;"):
        with_own(load_profile("winxp"), drivers={"e1000": inf, "e1000325": inf})


def test_each_system_takes_its_own_kind_of_driver(inf: Path, tmp_path: Path) -> None:
    (module := tmp_path / "e1000e.ko").touch()
    with pytest.raises(InputError, match=r"e1000e\.ko: is no driver of a Windows; give the INF file of its package"):
        with_own(load_profile("winxp"), drivers={"e1000e": module})
    with pytest.raises(
        InputError, match=r"e1000\.inf: is a driver of a Windows; profile linux takes a module \(\.ko\)$"
    ):
        with_own(load_profile("linux"), drivers={"e1000": inf})
    with pytest.raises(InputError, match="--kernel: profile winxp boots from an image of its own"):
        with_own(load_profile("winxp"), kernel=module, drivers={"e1000": inf})


def test_a_guest_that_nobody_can_log_in_to_takes_none(inf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NICPROOF_REACTOS_ISO", raising=False)
    with pytest.raises(InputError, match=r"^--driver: nobody can log in to a guest of profile reactos to install it$"):
        with_own(load_profile("reactos"), drivers={"e1000": inf})


def test_a_profiles_file_names_no_package(inf: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"extends: winxp\npackages: {{e1000: {inf}}}\n")
    with pytest.raises(InputError, match=r"packages: unknown field; a driver package is given by --driver NAME="):
        load_profile(str(tmp_path / "mine.yaml"))


def test_a_wrong_package_is_one_line_and_exit_status_4_and_a_right_one_waits_for_the_image(
    start: Start, inf: Path
) -> None:
    suite, options = "def test_it(guest): ...", ("-n", "0", "--profile", "winxp", "--driver")
    wrong = start(suite, *options, f"e1000e={inf}").ended()
    assert wrong.status == 4
    (line,) = [line for line in wrong.output.splitlines() if line.strip()]
    assert re.match(rf"ERROR: --driver e1000e={re.escape(str(inf))}: does not list VEN_8086&DEV_10D3", line)
    assert start(suite, *options, f"e1000={inf}").ended().status == 3, "the profile's image is not there"


def test_windows_own_names_in_other_packages_are_read(tmp_path: Path) -> None:
    """virtio-win's excerpt, which names what it drives alone: no file, and so no driver."""
    (tmp_path / "netkvm.inf").write_text(NETKVM.replace("{decoration}", "amd64.10.0...16299"))
    with pytest.raises(InputError, match=r"^here: copies no driver \(\.sys\) for Windows 10\.0 on amd64"):
        read_package(tmp_path / "netkvm.inf", WINDOWS["win10"], "here")
