"""Cells: each profile, NIC model and interrupt mode that can exist together, and why the others cannot."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from packaging.version import Version

from harness.errors import InputError, Unsupported
from harness.nic import CATALOGUE, InterruptMode, NicModel, vectors_needed
from harness.profile import (
    Answer,
    BuiltImage,
    DiskImage,
    Machine,
    ModeProfile,
    NicProfile,
    Profile,
    Queues,
    hardware_cannot,
    machine_of,
)
from harness.profile_file import load_profile
from harness.yaml_source import nearest

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """A profile's guest with one NIC model in one interrupt mode."""

    profile: Profile
    nic: NicModel
    mode: InterruptMode

    def __hash__(self) -> int:
        """Hash by id: profiles and models hold mappings."""
        return hash(self.id)

    def __str__(self) -> str:
        """Return the id."""
        return self.id

    @property
    def id(self) -> str:
        """Such as `linux/e1000e/msix`."""
        return _id(self.profile, self.nic, self.mode)

    @property
    def nic_profile(self) -> NicProfile:
        """What the profile says of the NIC model."""
        return self.profile.nics[self.nic.name]

    @property
    def mode_profile(self) -> ModeProfile:
        """How the guest is brought to use the mode."""
        return self.nic_profile.modes[self.mode]

    @property
    def machine(self) -> Machine:
        """The QEMU machine type."""
        return self.profile.machine.type or machine_of(self.nic)

    @property
    def queues(self) -> Queues | None:
        """Queues that the driver uses by default; None: nobody knows."""
        return self.nic_profile.queues

    def known_queues(self) -> Queues:
        """Return the queues that the driver uses by default.

        Raises:
            Unsupported: nobody knows.
        """
        if self.queues is None:
            raise Unsupported(f"queues: profile {self.profile.name} does not know how many the driver uses")
        return self.queues

    @property
    def has_several_queues(self) -> bool:
        """Whether the driver is known to use more than one receive queue."""
        return self.queues is not None and self.queues.rx > 1

    @property
    def vectors(self) -> int | None:
        """Message vectors that the driver needs; 0 for a line or a polled NIC, None if nobody knows its queues."""
        if self.queues is None:
            return None if self.mode.has_vector_per_queue else vectors_needed(self.mode, 1, 1)
        return vectors_needed(self.mode, self.queues.rx, self.queues.tx)

    def needs(self, *answers: Answer) -> None:
        """Say that a test relies on what the guest's network stack answers of its own accord.

        Raises:
            Unsupported: the profile says that it does not.
        """
        for answer in answers:
            if reason := self.profile.lacks.get(answer):
                raise Unsupported(f"{answer}: {reason}")


@dataclass(frozen=True)
class Exclusion:
    """A combination that is no cell."""

    id: str
    reason: str


def _id(profile: Profile, nic: NicModel, mode: InterruptMode) -> str:
    return f"{profile.name}/{nic.name}/{mode}"


def all_cells(profile: Profile) -> tuple[Cell | Exclusion, ...]:
    """Return every NIC model in every mode, in the catalogue's order: as a cell, or excluded with the reason."""
    return tuple(_cell(profile, nic, mode) for nic in CATALOGUE.values() for mode in InterruptMode)


def _cell(profile: Profile, nic: NicModel, mode: InterruptMode) -> Cell | Exclusion:
    here = profile.nics.get(nic.name)
    out_of_reach = _out_of_reach(profile, nic, here.modes[mode]) if here and mode in here.modes else None
    if here and mode in here.modes and out_of_reach is None:
        return Cell(profile, nic, mode)
    own = here.excluded.get(mode) if here else None
    reason = (
        nic.cannot(mode)
        or profile.absent.get(nic.name)
        or hardware_cannot(nic, mode, profile.machine.type)
        or out_of_reach
        or own
        or profile.excluded.get(mode)
        or f"profile {profile.name} names no way to it"
    )
    return Exclusion(_id(profile, nic, mode), reason)


def _out_of_reach(profile: Profile, nic: NicModel, how: ModeProfile) -> str | None:
    """Return why the profile's way to a mode, made for an image that nicproof builds, is none for a user's disk."""
    if nic.name not in profile.packages and (lacking := profile.undriven.get(nic.name)):
        return lacking
    if isinstance(profile.image, BuiltImage):
        return None
    if nic.virtual_function:
        return "the virtual function is made by the start script of the images that nicproof builds"
    if isinstance(profile.image, DiskImage) and how.append:
        return (
            f"it takes the kernel parameter {how.append}, and a disk image's own loader decides its kernel's command "
            'line (where that leads to this mode by itself: append: "")'
        )
    return None


def select_cells(profile: Profile, nics: Sequence[str] = (), modes: Sequence[str] = ()) -> tuple[Cell, ...]:
    """Return the profile's cells with one of `nics` and one of `modes`; an empty sequence means all.

    Raises:
        InputError: A NIC or mode is unknown, or one that was asked for has no cell: with the reason.
    """
    for nic in nics:
        if nic not in CATALOGUE:
            raise InputError(f"--nic {nic}: no such NIC model; {nearest(nic, sorted(CATALOGUE))}")
    known_modes = [mode.value for mode in InterruptMode]
    for mode in modes:
        if mode not in known_modes:
            raise InputError(f"--irq {mode}: no such interrupt mode; {nearest(mode, known_modes)}")
    wanted = [
        _cell(profile, CATALOGUE[nic], InterruptMode(mode))
        for nic in CATALOGUE
        if not nics or nic in nics
        for mode in known_modes
        if not modes or mode in modes
    ]
    _refuse_what_has_no_cell(profile, wanted, nics, modes)
    return tuple(one for one in wanted if isinstance(one, Cell))


def emulated_by(version: Version, cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Return those of `cells` whose NIC this version of QEMU has, and say which are left out.

    Raises:
        InputError: It has none of them.
    """
    too_new = {cell: since for cell in cells if (since := cell.nic.since) is not None and since > version}
    has = tuple(cell for cell in cells if cell not in too_new)
    if too_new:
        names = " and no ".join(dict.fromkeys(cell.nic.name for cell in too_new))
        said = f"QEMU {version} has no {names}, which came with {max(too_new.values())}"
        if not has:
            raise InputError(f"--qemu: {said}")
        _log.warning("%s: %d cells are left out", said, len(too_new))
    return has


def _refuse_what_has_no_cell(
    profile: Profile, wanted: Sequence[Cell | Exclusion], nics: Sequence[str], modes: Sequence[str]
) -> None:
    """Each NIC and each mode that was asked for must give a cell, or the user would wait for tests that never run."""
    for place, asked in ((1, nics), (2, modes)):
        for name in asked:
            matching = [one for one in wanted if one.id.split("/")[place] == name]
            if not any(isinstance(one, Cell) for one in matching):
                reasons = [f"{one.id}: {one.reason}" for one in matching if isinstance(one, Exclusion)]
                raise InputError("\n".join(f"no cell {reason}" for reason in reasons))


def find_cell(wish: str) -> Cell:
    """Load the profile of a cell id such as `linux/e1000e/msix` or `./mine.yaml/igb/msix` and return the cell.

    Raises:
        InputError: There is no such cell: with the nearest ids, or the reason why it is excluded.
    """
    parts = wish.rsplit("/", 2)
    if len(parts) != 3 or not all(parts):
        raise InputError(f"cell '{wish}': is no cell; allowed: PROFILE/NIC/MODE such as linux/e1000e/msix")
    profile = load_profile(parts[0])
    found = {one.id: one for one in all_cells(profile)}
    one = found.get(f"{profile.name}/{parts[1]}/{parts[2]}")
    if isinstance(one, Cell):
        return one
    if one:
        raise InputError(f"cell '{wish}': is excluded: {one.reason}")
    raise InputError(f"cell '{wish}': no such cell; {nearest(wish, [i for i in found if isinstance(found[i], Cell)])}")
