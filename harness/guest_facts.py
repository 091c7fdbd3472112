"""`nicproof doctor --guest`: a checklist on a live guest, whose answers are facts instead of suppositions.

One cell of each NIC model that the profile has is booted. What is a matter of the system is asked on the first of them,
after all else, for a question may cost the shell that answers. An item that fails is recorded with its reason, and the
next one is asked.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten

import yaml

from harness.cell import Cell, select_cells
from harness.errors import InputError, NicproofError
from harness.guest_questions import OF_NIC, OF_SYSTEM, OUTPUTS, Question
from harness.image import BootImage, build_image
from harness.launcher import Launcher
from harness.profile import DiskImage, Profile
from harness.readiness import make_function
from harness.recorded import recorded_file
from harness.testbed import Testbed

Say = Callable[[str], None]

_SHOWN = 160
"""Characters of an answer that are shown; the file has all of it."""


@dataclass
class Facts:
    """What a guest has answered: item -> value, and item -> why there is none."""

    known: dict[str, object] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """How long the answer took."""

    def ask(self, questions: Iterable[Question], bed: Testbed, say: Say) -> None:
        """Ask one after the other, as long as the machine lives."""
        for question in questions:
            if (death := bed.death()) is not None:
                self.unknown[question.name] = death
                continue
            began = time.monotonic()
            try:
                answer = question.ask(bed)
                yaml.safe_dump(answer)
                self.known[question.name] = answer
                say(f"{bed.cell.id}: {question.name}: {shorten(str(answer), _SHOWN)}")
            except Exception as error:  # an answer that nobody has foreseen is a finding about our reading of it
                why = str(error) if isinstance(error, NicproofError) else f"{type(error).__name__}: {error}"
                self.unknown[question.name] = why
                say(f"{bed.cell.id}: {question.name}: not known: {why}")
            self.seconds[question.name] = round(time.monotonic() - began, 2)

    def as_block(self) -> dict[str, object]:
        """Return it as it is written; what went well is not explained."""
        return {"known": self.known, "unknown": self.unknown, "seconds": self.seconds}


def facts_file(profile: Profile, image: BootImage) -> Path:
    """Return where a guest's facts are written: beside its disk, or here for an image that nicproof makes itself."""
    if isinstance(profile.image, DiskImage) and image.disk is not None:
        return recorded_file(image.disk)
    return Path.cwd() / f"{profile.name}.facts.yaml"


def examine_guest(launcher: Launcher, profile: Profile, record: Path | None, say: Say) -> Path:
    """Run the checklist and write the answers.

    Args:
        launcher: boots the cells.
        profile: the guest.
        record: a folder for the raw outputs, for tests to learn from; None for none.
        say: is told each answer.

    Returns:
        The file with the answers.

    Raises:
        InputError: the guest cannot be asked.
        NicproofError: the guest did not boot with any NIC.
    """
    if profile.control == "none":
        raise InputError(f"--guest {profile.name}: nobody can log in to this guest (control: none)")
    image = build_image(profile)
    system, of_nic, failed = Facts(), dict[str, dict[str, object]](), list[str]()
    content = {"profile": profile.name, "qemu": str(launcher.qemu.version), "acceleration": launcher.accel.reason}
    file = facts_file(profile, image)
    for cell in _one_of_each_nic(profile):
        try:
            bed = _boot(launcher, cell, image)
        except NicproofError as error:
            of_nic[cell.id] = {"unknown": {"boot": str(error)}}
            failed.append(str(error) if str(error).startswith(cell.id) else f"{cell.id}: {error}")
            say(failed[-1])
            continue
        try:
            facts = Facts()
            facts.ask(OF_NIC.get(profile.os, ()), bed, say)
            of_nic[cell.id] = facts.as_block()
            if record is not None:
                _record(record, profile, bed, say)
            if not system.known:
                system.ask(OF_SYSTEM.get(profile.os, ()), bed, say)
            _write(file, {**content, "system": system.as_block(), "nics": of_nic})  # a later one may never end
        finally:
            bed.close()
    if len(failed) == len(of_nic):
        raise NicproofError("\n".join(failed))
    _write(file, {**content, "system": system.as_block(), "nics": of_nic})  # with those that did not boot
    return file


def _boot(launcher: Launcher, cell: Cell, image: BootImage) -> Testbed:
    bed = launcher.boot(cell, image)
    try:
        if cell.nic.virtual_function:
            make_function(bed)
    except BaseException:
        bed.close()
        raise
    return bed


def _one_of_each_nic(profile: Profile) -> Iterable[Cell]:
    """Return the first cell of each NIC model: in the mode that its driver chooses, if the profile has no setting."""
    chosen: dict[str, Cell] = {}
    for cell in select_cells(profile):
        free = not (cell.mode_profile.append or cell.mode_profile.device)
        if cell.nic.name not in chosen or free:
            chosen[cell.nic.name] = cell
    return chosen.values()


def _write(file: Path, content: Mapping[str, object]) -> None:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    partial = file.with_name(f".{file.name}.part")
    try:
        partial.write_text(f"# Written by nicproof doctor --guest {content['profile']}\n{text}", encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"cannot write the guest's facts to {file}: {error.strerror}") from None


def _record(folder: Path, profile: Profile, bed: Testbed, say: Say) -> None:
    """Write each program's raw output into a file of its own, which begins with its source."""
    try:
        release = bed.guest.release()
    except NicproofError:
        release = "unknown"
    into = folder / f"{profile.os}-{re.sub(r'[^0-9A-Za-z.-]', '_', release)}"
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--record {folder}: cannot be made: {error.strerror}") from None
    for name, line in OUTPUTS.get(profile.os, {}).items():
        file = into / f"{bed.cell.nic.name}-{name}.txt"
        try:
            command = line(bed)
            done = bed.guest.command(command, deadline_s=120)
        except NicproofError as error:
            say(f"{bed.cell.id}: {file.name}: not recorded: {error}")
            if bed.death() is not None:
                return
            continue
        source = f"# {profile.name} {release}, {bed.cell.id}: {command}\n# status {done.status}\n"
        parts = (source, done.stdout, "# standard error:\n" if done.stderr else "", done.stderr)
        file.write_text("".join(parts), encoding="utf-8")
