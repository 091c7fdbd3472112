"""The pytest plugin: options, one test for every cell, and a pristine fork of the cell's guest for each."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness import rundir
from harness.cell import Cell, emulated_by, select_cells
from harness.endpoint.place import parse_place
from harness.endpoint.wire import Wire
from harness.errors import ImageAbsent, InputError, NicproofError
from harness.guest.base import Guest
from harness.lab import LabSupply
from harness.launcher import Launcher
from harness.lending import cell_of
from harness.own import refuse_untested, with_own
from harness.profile import AbsentImage, Profile
from harness.profile_file import load_profile
from harness.qemu.accel import choose_accel
from harness.qemu.binary import find_qemu
from harness.report.examiner import MEASUREMENTS, Examiner
from harness.report.messages import show_messages
from harness.report.performance import Measure, Measurement
from harness.report.recorder import Recorder
from harness.supply import ForkSupply, Supply, TwoGuestSupply
from harness.testbed import Testbed


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add nicproof's options."""
    group = parser.getgroup("nicproof")
    group.addoption("--profile", metavar="NAME|FILE", help="the guest to test: a name from profiles/ or a YAML file")
    group.addoption("--nic", action="append", default=[], metavar="MODEL", help="only this NIC model (repeatable)")
    group.addoption("--irq", action="append", default=[], metavar="MODE", help="only this interrupt mode (repeatable)")
    group.addoption("--qemu", metavar="PATH|debian:SUITE", help="which QEMU (default: PATH's if it is new enough)")
    group.addoption("--kernel", metavar="FILE", help="a kernel of your own (vmlinux or bzImage) in the guest's image")
    group.addoption("--modules", metavar="DIR", help="that kernel's lib/modules/RELEASE")
    group.addoption(
        "--driver",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a driver of your own (repeatable): NAME=FILE.ko, a module in the place of the guest kernel's NAME; for a "
        "Windows NAME=FILE.inf, a package for the NIC model NAME, or for those that the profile's driver NAME drives",
    )
    group.addoption(
        "--endpoint",
        default="wire",
        metavar="wire|guest|ssh://...",
        help="who is at the far end of the cable: the harness (default), a second guest, or "
        "ssh://USER@HOST?interface=NAME, an interface of another host (with --dut)",
    )
    group.addoption("--dut", metavar="ssh://...", help="a DUT that is no guest of nicproof's, as with --endpoint")
    group.addoption("--accel", choices=("auto", "kvm", "tcg"), default="auto", help="auto: KVM if it is proved to work")
    group.addoption(
        "--isolation",
        choices=("fork", "rule", "cell"),
        default="rule",
        help="what has a guest to itself: fork, each case; rule (default), the cases of one test function, and what "
        "comes after them as long as the guest is as it was or could be put back; cell, all tests of a cell, for speed "
        "while developing",
    )
    group.addoption("--keep", action="store_true", help="leave a failed test's guest running and say how to get in")
    group.addoption("--reports", default="reports", metavar="DIR", help="where reports go (default: reports)")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return two workers for each processor, as half of its time one waits for its guest; each has a GiB of memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(2 * len(os.sched_getaffinity(0)), memory >> 30))


@dataclass
class Bench:
    """What all cells of this process share."""

    cells: tuple[Cell, ...]
    supply: Supply


BENCH = pytest.StashKey[Bench]()
EXAMINER = pytest.StashKey[Examiner]()


def pytest_configure(config: pytest.Config) -> None:
    """Settle profile, cells and QEMU before anything else; a mistake is one line, and a report that says so."""
    config.addinivalue_line("markers", "requirement(*clauses): what a test checks")
    config.addinivalue_line("markers", "own_guest: each case of a test has a guest to itself")
    config.addinivalue_line("markers", "own_settings: each case of a test finds the settings that a guest starts with")
    config.addinivalue_line("markers", "applies_to(predicate): the cells that a test is about")
    wish: str | None = config.getoption("profile")
    if wish is None or config.getoption("help") or config.getoption("version"):
        return
    is_worker = hasattr(config, "workerinput")
    if not is_worker:
        show_messages()
    recorder = None
    if not is_worker:
        recorder = Recorder(config, Path(config.getoption("reports")), wish)
    try:
        profile = _profile(config, wish)
        cells = select_cells(profile, config.getoption("nic"), config.getoption("irq"))
        supply = _supply(config, cells)
        if supply.qemu_version is not None:
            cells = emulated_by(supply.qemu_version, cells)
        bench = Bench(cells, supply)
        if recorder is not None:
            recorder.begin(bench.cells, bench.supply)
            config.pluginmanager.register(recorder, "nicproof-recorder")
    except NicproofError as error:
        if recorder is not None:
            recorder.cannot_start(str(error))
        if isinstance(error, ImageAbsent):
            pytest.exit(str(error), 3)
        raise pytest.UsageError(str(error)) from None
    show_messages()  # a worker's from now on: up to here, the controller has said the same
    config.stash[BENCH] = bench
    examiner = Examiner(config, bench.supply.qemu_version)
    config.stash[EXAMINER] = examiner
    config.pluginmanager.register(examiner, "nicproof-examiner")


def _profile(config: pytest.Config, wish: str) -> Profile:
    """Return the profile, with what the user replaces in it.

    Raises:
        InputError: the profile or an option is wrong.
    """
    drivers: dict[str, Path] = {}
    for given in config.getoption("driver"):
        name, _, file = given.partition("=")
        if not name or not file:
            raise InputError(f"--driver {given}: is no NAME=FILE, such as e1000e=build/e1000e.ko")
        drivers[name] = Path(file).absolute()
    kernel, modules = (
        Path(given).absolute() if (given := config.getoption(name)) else None for name in ("kernel", "modules")
    )
    profile = load_profile(wish)
    if drivers:
        driven = profile.model_copy(update={"undriven": {}})
        chosen = select_cells(driven, config.getoption("nic"), config.getoption("irq"))
        refuse_untested(profile, drivers, {cell.nic.name for cell in chosen})
    return with_own(profile, kernel, modules, drivers)


def _supply(config: pytest.Config, cells: tuple[Cell, ...]) -> Supply:
    """Return where testbeds come from.

    Raises:
        InputError: an option is wrong, or two do not go together.
        ImageAbsent: the user has yet to bring what the guests boot from.
        NicproofError: QEMU cannot be had.
    """
    endpoint, dut = config.getoption("endpoint"), config.getoption("dut")
    is_far = endpoint not in ("wire", "guest")
    if is_far and not endpoint.startswith("ssh:"):
        raise InputError(f"--endpoint {endpoint}: is none; allowed: wire, guest, ssh://USER@HOST?interface=NAME")
    if is_far != bool(dut):
        given, other = ("endpoint ssh://...", "dut") if is_far else ("dut", "endpoint")
        raise InputError(f"--{given}: is one end of a real cable; add --{other} ssh://USER@HOST?interface=NAME")
    if dut:
        if config.getoption("keep"):
            raise InputError("--keep: goes on with a guest of nicproof's, but --dut is none")
        return LabSupply(cells, parse_place("--dut", dut), parse_place("--endpoint", endpoint))
    image = cells[0].profile.image
    if isinstance(image, AbsentImage):
        raise ImageAbsent(image.absent, image.cure)
    qemu = find_qemu(config.getoption("qemu"))
    accel = choose_accel(qemu, config.getoption("accel"))
    launcher = Launcher(qemu, accel, outlive_harness=config.getoption("keep"))
    return TwoGuestSupply(launcher) if endpoint == "guest" else ForkSupply(launcher)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what no test has taken, and remove what killed workers left behind."""
    if BENCH in config.stash:
        config.stash[BENCH].supply.close()
        rundir.sweep()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make each test of the suites once for every cell of the run."""
    if "cell" not in metafunc.fixturenames:
        return
    if BENCH not in metafunc.config.stash:
        raise pytest.UsageError("the suites need a guest: add --profile NAME (such as linux) or --profile FILE")
    params = [pytest.param(cell, id=cell.id) for cell in metafunc.config.stash[BENCH].cells]
    metafunc.parametrize("cell", params, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the cells one after the other; a test that is not about a cell does not exist there."""
    items[:] = [item for item in items if _applies(item)]
    order: dict[Cell, int] = {}

    def place(item: pytest.Item) -> int:
        cell = cell_of(item)
        return order.setdefault(cell, len(order)) if cell is not None else -1

    items.sort(key=place)


def _applies(item: pytest.Item) -> bool:
    """Return whether a test's cell is one that it, and its parameters, are about."""
    cell = cell_of(item)
    return cell is None or all(mark.args[0](cell) for mark in item.iter_markers("applies_to"))


@pytest.fixture
def testbed(cell: Cell, pytestconfig: pytest.Config) -> Iterator[Testbed]:
    """A running guest of the cell, its DUT and both ends of its cable, as no test has changed it (--isolation)."""
    examiner = pytestconfig.stash[EXAMINER]
    bed = examiner.lender.lend(pytestconfig.stash[BENCH].supply, cell)
    try:
        examiner.attend(bed)
        yield bed
    finally:
        examiner.release(bed)


@pytest.fixture
def guest(testbed: Testbed) -> Guest:
    """The operations on the guest's system."""
    return testbed.guest


@pytest.fixture
def wire(testbed: Testbed) -> Wire:
    """The far end of the DUT's cable."""
    return testbed.wire


@pytest.fixture
def record_cell(cell: Cell, pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """Record a property of the whole cell, such as an interrupt mode by one of the witnesses."""
    facts = pytestconfig.stash[EXAMINER].facts
    return lambda name, value: facts.setdefault(cell.id, {}).update({name: value})


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Record a figure that the test has measured: in its case of the JUnit report, and in performance.json."""

    def record(name: str, value: float, unit: str, samples: int) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        measurement = Measurement(name, float(value), unit, samples, now)
        request.node.user_properties.append((name, str(measurement)))
        request.node.stash.setdefault(MEASUREMENTS, []).append(measurement)

    return record
