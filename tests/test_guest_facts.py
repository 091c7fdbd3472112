"""`nicproof doctor --guest` on a real guest. Whether a Windows answers what its checklist asks is not known here."""

import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
import yaml

from harness.cell import find_cell
from harness.errors import InputError, Unsupported
from harness.guest.base import Guest
from harness.guest_facts import Facts, examine_guest, facts_file
from harness.guest_questions import OF_NIC, OF_SYSTEM, OUTPUTS, Question
from harness.image import BootImage
from harness.launcher import Launcher
from harness.profile import DiskImage
from harness.profile_file import load_profile
from harness.testbed import Testbed
from tests.conftest import PROJECT, clean_environment

COMMAND = [sys.executable, "-m", "harness.cli"]


class Bed:
    """What a question sees of a testbed, for answers that no guest here gives."""

    cell = find_cell("linux/e1000/intx")
    guest = Guest()
    end: str | None = None

    def death(self) -> str | None:
        return self.end


def _ask(*questions: Question, bed: Bed | None = None) -> Facts:
    facts = Facts()
    facts.ask(questions, cast(Testbed, bed or Bed()), lambda line: None)
    return facts


def test_a_guest_is_asked_and_its_outputs_are_kept(tmp_path: Path) -> None:
    """The machinery, on the guest that is here: one NIC model, from the command line."""
    profile = tmp_path / "small.yaml"
    others = "".join(f"  {name}:\n" for name in load_profile("linux").nics if name != "e1000e")
    profile.write_text(f"extends: linux\nnics:\n{others}")
    ended = subprocess.run(
        [*COMMAND, "doctor", "--guest", str(profile), "--record", "outputs"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    facts = yaml.safe_load((tmp_path / "small.facts.yaml").read_text())
    known = facts["nics"]["small/e1000e/msix"]["known"]
    assert known["driver"]["name"] == "e1000e"
    assert known["interrupts that the guest claims"]["mode"] == "msix"
    assert known["interrupts that the device has"]["vectors granted"] == 3
    assert known["ECAM base"] == "0xb0000000", "SeaBIOS's; other firmware puts it elsewhere"
    assert facts["system"]["known"]["release"].startswith("6.12.")
    server = facts["system"]["known"]["SSH server"]
    assert server["version"].startswith("SSH-2.0-dropbear"), server
    assert "ssh-ed25519" in server["host key"], server
    (record,) = (tmp_path / "outputs").glob("linux-6.12.*/e1000e-interrupts.txt")
    first, second, *_ = record.read_text().splitlines()
    assert first.startswith("# small 6.12.")
    assert first.endswith("small/e1000e/msix: cat /proc/interrupts")
    assert second == "# status 0"


def test_a_guest_that_never_gets_ready_is_one_line_for_each_nic(tmp_path: Path) -> None:
    profile = tmp_path / "late.yaml"
    others = "".join(f"  {name}:\n" for name in load_profile("linux").nics if name != "e1000")
    profile.write_text(f"extends: linux\nready:\n  console: never said\n  deadline_s: 1\nnics:\n{others}")
    command = [*COMMAND, "doctor", "--guest", str(profile)]
    ended = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 2
    assert "nicproof: late/e1000/intx: not ready within 1 s, waiting for console text 'never said'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.glob("*facts*"))


def test_an_item_that_fails_does_not_end_the_list() -> None:
    facts = _ask(
        Question("lacking", lambda bed: bed.guest.mtu()),
        Question("not foreseen", lambda bed: dict[str, int]()["no such key"]),
        Question("nothing that YAML can hold", lambda bed: object()),
        Question("works", lambda bed: 1),
    )
    assert facts.known == {"works": 1}
    assert facts.unknown["lacking"].startswith("the interface's MTU: ")
    assert facts.unknown["not foreseen"] == "KeyError: 'no such key'"
    assert "cannot represent" in facts.unknown["nothing that YAML can hold"]


def test_a_machine_that_ended_is_asked_nothing_more() -> None:
    bed = Bed()
    bed.end = "QEMU ended with signal 6"
    assert _ask(Question("works", lambda bed: 1), bed=bed).unknown == {"works": "QEMU ended with signal 6"}


def test_the_facts_of_a_users_disk_are_beside_it(tmp_path: Path) -> None:
    disk = tmp_path / "xp.qcow2"
    image = BootImage(key="key", disk=disk, disk_format="qcow2", user="user")
    profile = load_profile("linux")
    own = profile.model_copy(update={"image": DiskImage.model_construct(disk=disk)})
    assert facts_file(own, image) == tmp_path / "xp.qcow2.facts.yaml"
    assert facts_file(profile, image) == Path.cwd() / "linux.facts.yaml"


def test_a_guest_without_a_login_is_refused() -> None:
    with pytest.raises(InputError, match="--guest ipxe: nobody can log in"):
        examine_guest(cast(Launcher, None), load_profile("ipxe"), None, lambda line: None)


def test_record_without_a_guest_is_refused() -> None:
    command = [*COMMAND, "doctor", "--record", "x"]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (2, "nicproof: --record: belongs to a guest; add --guest PROFILE\n")


def test_every_family_has_a_checklist_without_an_item_twice() -> None:
    assert OF_NIC.keys() == OF_SYSTEM.keys() == OUTPUTS.keys()
    for family in OF_NIC:
        names = [question.name for question in (*OF_NIC[family], *OF_SYSTEM[family])]
        assert len(names) == len(set(names)), f"{family}: an answer would be lost"


@pytest.mark.parametrize("family", ["winxp", "win10"])
def test_every_question_bears_a_guest_that_cannot_answer(family: str) -> None:
    """A question that is wrong in itself, by a name that is not there, would be one that no guest answers."""
    from_outside = {"interrupts that the device has", "ECAM base", "SSH server"}
    for question in (*OF_NIC[family], *OF_SYSTEM[family]):
        if question.name not in from_outside:
            with pytest.raises(Unsupported):
                question.ask(cast(Testbed, Bed()))
