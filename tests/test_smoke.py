"""The real suites on real guests: a few rules on one cell of each family, in parallel, as the nightly job runs them."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.conftest import PROJECT, clean_environment

CELLS = ("linux/e1000/intx", "linux/igb/msix", "linux/virtio-net/msix")
RULES = (
    "test_vendor_and_device_id_are_the_models",
    "test_expected_driver_is_bound",
    "test_link_is_up",
    "test_received_frames_interrupt",
)
DEADLINE_S = 900
"""With a guest image to be built first, on a busy machine."""


FIRMWARE = ("ipxe/e1000/polled", "uboot/e1000e/polled")
RULES_FOR_FIRMWARE = (
    "test_frames_come_from_the_configured_mac_address",
    "test_polled_driver_gets_not_one_interrupt",
    "test_more_requests_than_the_ring_holds_are_answered",
)

Run = tuple["subprocess.CompletedProcess[str]", ET.Element]


def run_suites(reports: Path, profile: str, cells: tuple[str, ...], rules: tuple[str, ...]) -> Run:
    """Run rules on cells of a profile, and return how pytest ended and the report."""
    parts = [sorted({cell.split("/")[place] for cell in cells}) for place in (1, 2)]
    chosen = [
        word
        for option, names in zip(("--nic", "--irq"), parts, strict=True)
        for name in names
        for word in (option, name)
    ]
    which = f"({' or '.join(rules)}) and ({' or '.join(f'{cell}]' for cell in cells)})"
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "suites", "--profile", profile, *chosen, "-k", which, "-n", "2"),
            *("--reports", str(reports), "-p", "no:cacheprovider"),
        ],
        cwd=PROJECT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return ended, ET.parse(reports / profile / "junit.xml").getroot()


def passed(report: ET.Element) -> set[tuple[str | None, str | None]]:
    """Return cell and name of every case that passed."""
    return {
        (suite.get("name"), case.get("name"))
        for suite in report
        for case in suite.iter("testcase")
        if not {"failure", "error", "skipped"} & {part.tag for part in case}
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_suites(tmp_path_factory.mktemp("reports"), "linux", CELLS, RULES)


@pytest.mark.parametrize("chosen", FIRMWARE)
def test_what_device_and_wire_decide_holds_on_firmware(chosen: str, tmp_path: Path) -> None:
    ended, report = run_suites(tmp_path, chosen.split("/")[0], (chosen,), RULES_FOR_FIRMWARE)
    assert ended.returncode == 0, ended.stdout
    assert passed(report) == {(chosen, rule) for rule in RULES_FOR_FIRMWARE}, ended.stdout


def test_every_chosen_rule_holds_on_a_cell_of_each_family(run: Run) -> None:
    ended, report = run
    assert ended.returncode == 0, ended.stdout
    assert passed(report) == {(cell, rule) for cell in CELLS for rule in RULES}, ended.stdout


def test_the_report_says_on_what_each_cell_ran(run: Run) -> None:
    for suite in run[1]:
        said = {one.get("name"): one.get("value") for one in suite.iter("property")}
        assert (
            said["driver"]
            == {"e1000": "e1000", "igb": "igb", "virtio-net": "virtio_net"}[suite.get("name", "").split("/")[1]]
        )
        assert str(said["kernel"]).startswith("6.12.")
        assert said["machine"] == ("q35" if "/igb/" in suite.get("name", "") else "pc")
        assert said.keys() >= {"QEMU", "QEMU origin", "acceleration"}


def test_progress_names_every_cell_and_the_place_of_the_report(run: Run) -> None:
    for cell in CELLS:
        assert f"{cell}: done, {len(RULES)} tests, 0 failed" in run[0].stdout
    assert "nicproof: report in " in run[0].stdout
