"""A driver built from Debian's source: it runs as it is, and where it has a defect the suites find it.

Each defect is one that a driver could have: a line forgotten, a mask too wide, two counters exchanged. Whatever is red
with it is green with the same source as it is.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Ended, Start
from tests.own_driver import built

pytestmark = pytest.mark.nightly

ONE_CELL = ("--accel", "tcg", "-n", "0", "--profile", "linux", "--nic", "e1000e", "--irq", "msix")
UNALTERED = "unaltered"


@dataclass(frozen=True)
class Defect:
    """What is wrong with a driver, and the rule that it breaks.

    Attributes:
        name: a file name.
        edit: makes it so: a script for sed, for netdev.c of Linux 6.12.
        suite: a file of `suites/`.
        rule: a test there; all its cases must fail.
    """

    name: str
    edit: str
    suite: str
    rule: str


DEFECTS = (
    Defect(
        "priority-of-a-tag-is-lost",
        r"s/\(__vlan_hwaccel_put_tag(skb, htons(ETH_P_8021Q), \)tag/\1tag \& VLAN_VID_MASK/",
        "test_vlan",
        "test_priority_and_drop_eligible_indicator_are_kept and to-dut",
    ),
    Defect(
        "every-checksum-is-vouched-for",
        r"s/^\tskb_checksum_none_assert(skb);$/\tskb->ip_summed = CHECKSUM_UNNECESSARY; return;/",
        "test_checksum",
        "test_segment_with_a_wrong_checksum_is_dropped",
    ),
    Defect(
        "segments-are-four-octets-too-long",
        r"s/tcp_seg_setup.fields.mss = cpu_to_le16(mss)/tcp_seg_setup.fields.mss = cpu_to_le16(mss + 4)/",
        "test_segmentation",
        "test_large_send_leaves_as_the_segments_that_it_is_made_of",
    ),
    Defect(
        "received-frames-are-counted-as-those-sent",
        r"s/stats->rx_packets = adapter->stats.gprc;/stats->rx_packets = adapter->stats.gptc;/",
        "test_statistics",
        "test_directions_are_not_exchanged",
    ),
    Defect(
        "groups-are-not-told-to-the-nic",
        r"s/^\thw->mac.ops.update_mc_addr_list(hw, mta_list, i);$//",
        "test_filters",
        "test_joined_group_is_delivered",
    ),
    Defect(
        "promiscuous-mode-never-ends",
        r"s/^\trctl &= ~(E1000_RCTL_UPE | E1000_RCTL_MPE);$/\trctl \&= ~E1000_RCTL_MPE;/",
        "test_filters",
        "test_foreign_frames_are_dropped_again_after_promiscuous_mode",
    ),
    Defect(
        "new-address-is-not-told-to-the-nic",
        r"s/^\thw->mac.ops.rar_set(&adapter->hw, adapter->hw.mac.addr, 0);$//",
        "test_mac",
        "test_new_address_receives and while-up",
    ),
    Defect(
        "long-frames-are-not-let-in",
        r"s/^\t\trctl |= E1000_RCTL_LPE;$/\t\trctl |= 0;/",
        "test_mtu",
        "test_packet_as_long_as_the_mtu_crosses and 9000",
    ),
    Defect(
        "change-of-the-link-is-not-noticed",
        r"s/^\tif (icr & E1000_ICR_LSC) {$/\tif (0) {/",
        "test_link",
        "test_carrier_goes_when_the_cable_is_pulled",
    ),
    Defect(
        "ring-is-never-freed",
        r"s/^\tvfree(rx_ring->buffer_info);$//",
        "test_lifecycle",
        "test_down_and_up_under_traffic",
    ),
)


@pytest.fixture(scope="module")
def modules(guest_kernel: tuple[str, list[str], Path]) -> Path:
    """The folder of the modules, with each defect and with none."""
    return built(guest_kernel[0], {UNALTERED: "", **{defect.name: defect.edit for defect in DEFECTS}})


def test_driver_built_from_source_runs(guest_kernel: tuple[str, list[str], Path], modules: Path, start: Start) -> None:
    module = modules / f"{UNALTERED}.ko"
    assert module.read_bytes() != guest_kernel[2].read_bytes(), "a build of one's own carries no signature of Debian's"
    suite = (PROJECT / "suites/test_enumeration.py").read_text()
    ended = start(suite, *ONE_CELL, "--driver", f"e1000e={module}").ended()
    assert {case.outcome for case in ended.cases.values()} == {"passed"}, ended.output


def _judged(start: Start, defect: Defect, module: Path) -> Ended:
    suite = (PROJECT / "suites" / f"{defect.suite}.py").read_text()
    ended = start(suite, *ONE_CELL, "--driver", f"e1000e={module}", "-k", defect.rule).ended()
    assert ended.cases, ended.output
    return ended


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_rule_is_red_with_the_defect_and_green_without(modules: Path, start: Start, defect: Defect) -> None:
    for name, expected in ((UNALTERED, "passed"), (defect.name, "failure")):
        ended = _judged(start, defect, modules / f"{name}.ko")
        outcomes = {case: seen.outcome for case, seen in ended.cases.items()}
        assert set(outcomes.values()) == {expected}, f"with the driver {name}: {outcomes}\n{ended.output}"
