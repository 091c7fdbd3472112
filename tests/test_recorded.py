"""What was recorded of a guest beside its disk, and what becomes of its profile."""

from pathlib import Path

import pytest

from harness.cell import Exclusion, all_cells, select_cells
from harness.errors import InputError
from harness.profile import DiskImage, Profile
from harness.profile_file import load_profile
from harness.recorded import card_file, recorded_file

# Shortened, as harness/guest_facts.py writes it.
RECORD = """\
# Written by nicproof doctor --guest winxp
profile: winxp
system:
  known:
    release: 5.1.2600
    code page: '850'
  unknown: {HAL: 'status 1: no output'}
nics:
  winxp/e1000/intx:
    known:
      driver: {name: e1000nt5, version: 8.10.3.0, expected: false}
  winxp/e1000e/intx:
    known:
      driver: {name: e1qexpress, version: 11.0.5.21, expected: true}
  winxp/virtio-net/intx:
    unknown: {boot: not ready within 900 s}
"""


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "key").touch()
    file = tmp_path / "xp.qcow2"
    file.touch()
    monkeypatch.setenv("NICPROOF_WINXP_IMAGE", str(file))
    monkeypatch.setenv("NICPROOF_WINXP_KEY", str(tmp_path / "key"))
    return file


def drivers(profile: Profile) -> dict[str, tuple[str, ...]]:
    return {name: nic.drivers for name, nic in profile.nics.items()}


def test_recorded_facts_take_the_place_of_suppositions(disk: Path) -> None:
    supposed = load_profile("winxp")
    recorded_file(disk).write_text(RECORD)
    recorded = load_profile("winxp")
    assert (supposed.encoding, recorded.encoding) == ("cp437", "cp850")
    before = drivers(supposed)
    assert drivers(recorded) == {**before, "e1000": (*before["e1000"], "e1000nt5")}


@pytest.mark.parametrize("page", ["65001", "no code page", ""])
def test_a_code_page_is_an_encoding_or_changes_nothing(disk: Path, page: str) -> None:
    recorded_file(disk).write_text(f"system: {{known: {{code page: '{page}'}}}}")
    assert load_profile("winxp").encoding == {"65001": "utf-8"}.get(page, "cp437")


@pytest.mark.parametrize("text", ["nics: 5", "[", "nics: {winxp/e1000/intx: {known: {driver: [e1000]}}}"])
def test_a_file_that_is_no_record_is_refused_in_one_line(disk: Path, text: str) -> None:
    recorded_file(disk).write_text(text)
    with pytest.raises(
        InputError, match=r"xp\.qcow2\.facts\.yaml: is no record of nicproof doctor --guest .*anew$"
    ) as caught:
        load_profile("winxp")
    assert "\n" not in str(caught.value)


CARD = """{
 "version": 1, "profile": "winxp", "hal": "acpiapic_up",
 "nics_without_driver": {"e1000e": "no INF below intel-xp lists PCI\\\\VEN_8086&DEV_10D3"},
 "ssh": {"user": "Administrator", "host_key": "ssh-ed25519 AAAA"}
}
"""


def test_an_images_card_pins_its_host_key_and_leaves_out_the_nics_without_a_driver(disk: Path) -> None:
    card_file(disk).write_text(CARD)
    profile = load_profile("winxp")
    assert isinstance(profile.image, DiskImage)
    assert profile.image.host_key == "ssh-ed25519 AAAA"
    assert "e1000e" not in {cell.nic.name for cell in select_cells(profile)}
    why = {one.reason for one in all_cells(profile) if isinstance(one, Exclusion) and one.id == "winxp/e1000e/intx"}
    assert why == {"the image has no driver of it: no INF below intel-xp lists PCI\\VEN_8086&DEV_10D3"}
    given = profile.model_copy(update={"packages": {"e1000e": disk}})
    assert "e1000e" in {cell.nic.name for cell in select_cells(given)}, "the user gives it one"


def test_a_profiles_own_host_key_goes_before_the_cards(disk: Path, tmp_path: Path) -> None:
    card_file(disk).write_text(CARD)
    (tmp_path / "mine.yaml").write_text("extends: winxp\nimage: {host_key: ssh-ed25519 BBBB}\n")
    image = load_profile(str(tmp_path / "mine.yaml")).image
    assert isinstance(image, DiskImage)
    assert image.host_key == "ssh-ed25519 BBBB"


@pytest.mark.parametrize("text", ["{", "5", '{"version": 1}'])
def test_a_file_that_is_no_card_is_refused_in_one_line(disk: Path, text: str) -> None:
    card_file(disk).write_text(text)
    with pytest.raises(InputError, match=r"xp\.qcow2\.json: is no card of nicproof image build .*anew$") as caught:
        load_profile("winxp")
    assert "\n" not in str(caught.value)
