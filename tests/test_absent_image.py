"""A guest whose image the user has yet to bring: exit status 3 and one paragraph, and all else goes on."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import doctor
from harness.cli import app
from harness.errors import ImageAbsent, InputError
from harness.image import build_image
from harness.profile import AbsentImage, DiskImage
from harness.profile_file import load_profile
from tests.conftest import Start

GUESTS = {
    "winxp": ("NICPROOF_WINXP_IMAGE", "nicproof image build winxp --iso FILE"),
    "win10": ("NICPROOF_WIN10_IMAGE", "nicproof image build win10 --iso FILE"),
    "reactos": ("NICPROOF_REACTOS_ISO", "unzip ReactOS"),
}


@pytest.fixture(autouse=True)
def nothing_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, _ in GUESTS.values():
        monkeypatch.delenv(variable, raising=False)


def said_of(name: str) -> str:
    with pytest.raises(ImageAbsent) as absent:
        build_image(load_profile(name))
    return str(absent.value)


@pytest.mark.parametrize("name", GUESTS)
def test_a_run_without_the_image_is_exit_status_3_one_paragraph_and_one_error_in_the_report(
    name: str, start: Start
) -> None:
    ended = start("def test_it(guest): ...", "--profile", name, "-n", "2").ended()
    assert ended.status == 3, ended.output
    variable, command = GUESTS[name]
    (line,) = [line for line in ended.output.splitlines() if line.strip()]
    assert line == f"Exit: {said_of(name)}"
    for part in (f"profile {name} has no image: it needs ", f" {variable} says, which is not set", command):
        assert part in line
    ((case, found),) = ended.cases.items()
    assert (case, found.outcome, found.message) == ("start", "error", said_of(name))


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NICPROOF_WINXP_IMAGE", str(tmp_path / "gone.qcow2"))
    assert f"NICPROOF_WINXP_IMAGE says, which is {tmp_path}/gone.qcow2, where no file is. " in said_of("winxp")
    monkeypatch.setenv("NICPROOF_WINXP_IMAGE", "")
    assert "NICPROOF_WINXP_IMAGE says, which is not set. " in said_of("winxp")


def test_with_the_file_only_what_else_is_missing_is_a_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "xp.qcow2").touch()
    monkeypatch.setenv("NICPROOF_WINXP_IMAGE", str(tmp_path / "xp.qcow2"))
    monkeypatch.delenv("NICPROOF_WINXP_KEY", raising=False)
    with pytest.raises(InputError, match=r"image\.key: environment variable NICPROOF_WINXP_KEY is not set; set it"):
        load_profile("winxp")


def test_a_profile_with_a_disk_of_its_own_needs_no_variable(tmp_path: Path) -> None:
    for name in ("xp.qcow2", "key"):
        (tmp_path / name).touch()
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: winxp\nimage: {disk: xp.qcow2, key: key}\n")
    image = load_profile(str(mine)).image
    assert isinstance(image, DiskImage)
    assert image.disk == tmp_path / "xp.qcow2"


def test_a_profile_of_the_users_own_that_names_the_same_variable_is_absent_too(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "extends: winxp\ncontrol: serial\nimage: {user:, key:}\nready: {ssh:, dhcp: true, deadline_s: 900}\n"
    )
    profile = load_profile(str(mine))
    assert isinstance(profile.image, AbsentImage)
    assert (profile.control, profile.image.absent.partition(" has ")[0]) == ("serial", "profile mine")


@pytest.mark.parametrize(
    ("arguments", "name"), [(["image", "build", "reactos"], "reactos"), (["shell", "winxp/e1000/intx"], "winxp")]
)
def test_the_command_says_the_same_with_the_same_status(arguments: list[str], name: str) -> None:
    ran = CliRunner().invoke(app, arguments)
    assert (ran.exit_code, ran.stderr.splitlines()[-1]) == (3, f"nicproof: {said_of(name)}")


def test_doctor_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor._profile("win10", (), ())
    assert not found.good
    assert "has no image: it needs a disk" in found.seen
    assert found.cure == "nicproof image build win10 --iso FILE; then set NICPROOF_WIN10_IMAGE to the file"


def test_lists_of_cells_and_images_go_on() -> None:
    listed = CliRunner().invoke(app, ["matrix", "--profile", "win10"])
    assert listed.exit_code == 0
    assert "win10/e1000e/msix" in listed.stdout.splitlines()
    assert CliRunner().invoke(app, ["image", "list"]).exit_code == 0


def test_the_real_tox_hands_the_status_through(tmp_path: Path) -> None:
    environment = "[testenv:winxp]\nskip_install = true\ncommands = python -c 'raise SystemExit(3)'\n"
    (tmp_path / "tox.ini").write_text(environment)
    command = [sys.executable, "-m", "tox", "run", "-q", "-c", str(tmp_path / "tox.ini"), "-e", "winxp"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 3, ran.stdout
