"""Deliberate faults: what proves that a check can go red.

A fault is declared in `tests/faults/`, one file for each kind. It spoils one thing between the truth and a test: the
cable, the device that is booted, the guest after its fork, or what the test is told to expect. The test itself runs
unchanged.
"""

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.cell import Cell, find_cell
from harness.endpoint.cable import Impairment
from harness.errors import InputError
from harness.launcher import Launcher, Saved
from harness.profile import Profile
from harness.testbed import Testbed


def _unchanged(cell: Cell) -> Cell:
    return cell


@dataclass(frozen=True)
class Fault:
    """One fault, and the tests that it must turn red.

    Attributes:
        name: what is wrong, in a few words; no two faults have the same.
        cell: NIC model and interrupt mode of the profile at hand, such as "e1000e/msix", or a cell of the one profile
            that will do, such as "ipxe/e1000/polled".
        tests: such as "test_traffic.py::test_order" for all its cases, or "...::test_order[udp]" for one.
        cable: makes the impairment of one guest's cable.
        booted: makes the cell that is really booted of the one that the test expects.
        tampered: does something to the guest, or to its surroundings, before the test begins.
        expected: makes the cell that the test expects of the true one.
        mended: makes a cable that keeps a fault from the test which no device is without.
        healed: the same for what no cable can keep from it: does something to the guest.
    """

    name: str
    cell: str
    tests: tuple[str, ...]
    cable: Callable[[], Impairment] | None = None
    booted: Callable[[Cell], Cell] = _unchanged
    tampered: Callable[[Testbed], None] | None = None
    expected: Callable[[Cell], Cell] = _unchanged
    mended: Callable[[], Impairment] | None = None
    healed: Callable[[Testbed], None] | None = None

    def control(self) -> "Fault":
        """Return what the same test meets to show that it is green without the fault."""
        if self.mended is not None or self.healed is not None:
            return Fault(f"{self.name}: mended", self.cell, (), cable=self.mended, tampered=self.healed)
        return Fault(f"no fault on {self.cell}", self.cell, ())

    def cell_of(self, profile: Profile) -> "FaultyCell":
        """Return the cell on which a test meets the fault.

        Raises:
            InputError: there is no such cell.
        """
        true = find_cell(self.cell if self.cell.count("/") > 1 else f"{profile.path}/{self.cell}")
        told = self.expected(true)
        return FaultyCell(told.profile, told.nic, told.mode, true, self)


@dataclass(frozen=True)
class FaultyCell(Cell):
    """What a test is told to expect, beside what there really is."""

    true: Cell
    fault: Fault

    __hash__ = Cell.__hash__

    @property
    def id(self) -> str:
        """The true cell's id and the fault's name, so that nothing remembered of one is taken for the other."""
        return f"{self.true.id}+{re.sub(r'[^a-z0-9]+', '-', self.fault.name.lower())}"


class FaultyLauncher(Launcher):
    """Boots and forks what the faults of its cells make of them."""

    def saved(self, cell: Cell, boot_cell: Cell | None = None) -> Saved:
        """Return the snapshot of what is really booted."""
        assert isinstance(cell, FaultyCell)
        return super().saved(cell, cell.fault.booted(cell.true))

    def fork(self, cell: Cell, saved: Saved, impairment: Impairment | None = None) -> Testbed:
        """Continue what was booted, on a spoilt cable or tampered with, as a testbed of what is expected."""
        assert isinstance(cell, FaultyCell)
        fault = cell.fault
        bed = super().fork(fault.booted(cell.true), saved, fault.cable() if fault.cable else None)
        bed.cell = cell
        try:
            if fault.tampered:
                fault.tampered(bed)
        except BaseException:
            bed.close()
            raise
        return bed


def load_faults(folder: Path) -> Mapping[str, Fault]:
    """Return the faults that the files of `folder` declare as FAULTS, by name.

    Raises:
        InputError: two have the same name.
    """
    faults: dict[str, Fault] = {}
    for file in sorted(folder.glob("[!_]*.py")):
        spec = importlib.util.spec_from_file_location(f"nicproof_faults_{file.stem}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for fault in module.FAULTS:
            if fault.name in faults:
                raise InputError(f"{file}: two faults are called {fault.name!r}")
            faults[fault.name] = fault
    return faults


def changed_nic(cell: Cell, **facts: object) -> Cell:
    """Return the cell with other facts about its NIC model, such as `device_id`."""
    return replace(cell, nic=replace(cell.nic, **facts))  # type: ignore[arg-type]


def changed_profile(cell: Cell, **fields: object) -> Cell:
    """Return the cell with other fields of what the profile says of its NIC, such as `queues`."""
    nics = {**cell.profile.nics, cell.nic.name: cell.nic_profile.model_copy(update=fields)}
    return replace(cell, profile=cell.profile.model_copy(update={"nics": nics}))


def changed_start(cell: Cell, **fields: object) -> Cell:
    """Return the cell with another way to its mode: `append` (kernel command line), `device` (QEMU properties)."""
    mode = cell.mode_profile.model_copy(update=fields)
    return changed_profile(cell, modes={**cell.nic_profile.modes, cell.mode: mode})
