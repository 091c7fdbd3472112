"""Cells: every combination is a cell or excluded with its true reason, and a wish that has none is told why."""

from itertools import product
from pathlib import Path

import pytest
from packaging.version import Version

from harness.cell import Cell, Exclusion, all_cells, emulated_by, find_cell, select_cells
from harness.errors import InputError
from harness.nic import CATALOGUE, InterruptMode
from harness.profile_file import load_profile, profile_names

NIGHTLY = {
    "e1000": {"intx-pic", "intx"},
    "e1000e": {"intx", "msi", "msix", "msix-remapped"},
    "igb": {"intx", "msix", "msix-remapped"},
    "igbvf": {"msix"},
    "virtio-net": {"intx", "msix-shared", "msix"},
    "virtio-net-modern": {"msix"},
}


def refusal(nics: list[str], modes: list[str]) -> str:
    with pytest.raises(InputError) as caught:
        select_cells(load_profile("linux"), nics, modes)
    return str(caught.value)


@pytest.mark.parametrize("name", profile_names())
def test_every_model_in_every_mode_is_a_cell_or_excluded_with_a_reason_of_its_own(name: str) -> None:
    cells = all_cells(load_profile(name))
    assert [one.id for one in cells] == [f"{name}/{nic}/{mode}" for nic, mode in product(CATALOGUE, InterruptMode)]
    reasons = {one.id: one.reason for one in cells if isinstance(one, Exclusion)}
    assert not [cell for cell, reason in reasons.items() if not reason or "names no way" in reason]


@pytest.mark.parametrize("name", [name for name in profile_names() if name.startswith("linux")])
def test_linux_cells_are_the_nightly_matrix(name: str) -> None:
    cells: dict[str, set[str]] = {}
    for cell in select_cells(load_profile(name)):
        cells.setdefault(cell.nic.name, set()).add(cell.mode)
    assert cells == NIGHTLY


def test_hardware_reason_goes_before_the_guest_s() -> None:
    reasons = {one.id: one.reason for one in all_cells(load_profile("ipxe")) if isinstance(one, Exclusion)}
    assert reasons["ipxe/e1000/msi"] == "e1000 has no MSI capability"
    assert reasons["ipxe/igbvf/polled"].startswith("a VF exists only after the PF's driver has enabled SR-IOV")
    assert reasons["ipxe/e1000/intx"].startswith("iPXE polls; ")


def test_combination_that_a_profile_does_not_mention_says_so(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: linux\nnics:\n  igb:\n")
    reasons = {one.id: one.reason for one in all_cells(load_profile(str(file))) if isinstance(one, Exclusion)}
    assert reasons["mine/igb/msix"] == "profile mine names no way to it"


@pytest.mark.parametrize(
    ("cell_id", "machine", "vectors", "append", "device"),
    [
        ("linux/e1000/intx-pic", "pc", 0, "noapic", {}),
        ("linux/e1000e/msi", "q35", 1, "e1000e.IntMode=" + ",".join(["1"] * 32), {}),
        ("linux/e1000e/msix", "q35", 3, "", {}),
        ("linux/igb/msix-remapped", "q35", 5, "intel_iommu=on", {}),
        ("linux/virtio-net/msix-shared", "pc", 2, "", {"vectors": 2}),
        ("linux/virtio-net/intx", "pc", 0, "", {"vectors": 0}),
        ("ipxe/e1000e/polled", "q35", 0, "", {}),
    ],
)
def test_cell_knows_its_machine_vectors_and_how_its_mode_is_reached(
    cell_id: str, machine: str, vectors: int, append: str, device: dict[str, int]
) -> None:
    cell = find_cell(cell_id)
    assert (cell.id, cell.machine, cell.vectors) == (cell_id, machine, vectors)
    assert (cell.mode_profile.append, cell.mode_profile.device) == (append, device)
    assert cell.nic_profile is cell.profile.nics[cell.nic.name]


def test_cells_can_key_a_dictionary() -> None:
    assert {find_cell("linux/igb/msix"): 1}[find_cell("linux/igb/msix")] == 1
    assert find_cell("linux/igb/msix") != find_cell("linux/igb/intx")


def test_selection_keeps_the_cells_that_fit_nic_and_mode() -> None:
    linux = load_profile("linux")
    assert [str(cell) for cell in select_cells(linux, ["igb"])] == [
        "linux/igb/intx",
        "linux/igb/msix",
        "linux/igb/msix-remapped",
    ]
    assert [cell.id for cell in select_cells(linux, ["e1000", "e1000e"], ["intx", "msix"])] == [
        "linux/e1000/intx",
        "linux/e1000e/intx",
        "linux/e1000e/msix",
    ]
    assert {cell.nic.name for cell in select_cells(linux, modes=["msix-remapped"])} == {"e1000e", "igb"}


def test_an_old_qemu_has_the_cells_whose_nic_it_has(caplog: pytest.LogCaptureFixture) -> None:
    cells = select_cells(load_profile("linux"))
    kept = emulated_by(Version("7.2.22"), cells)
    assert {cell.nic.name for cell in kept} == {"e1000", "e1000e", "virtio-net", "virtio-net-modern"}
    assert caplog.messages == ["QEMU 7.2.22 has no igb and no igbvf, which came with 8.0: 4 cells are left out"]
    assert emulated_by(Version("8.0"), cells) == cells


def test_a_qemu_without_any_of_the_nics_is_refused() -> None:
    with pytest.raises(InputError, match=r"^--qemu: QEMU 7.2.22 has no igb, which came with 8.0$"):
        emulated_by(Version("7.2.22"), select_cells(load_profile("linux"), ["igb"]))


def test_unknown_nic_is_answered_with_the_nearest() -> None:
    assert refusal(["e100e"], []) == (
        "--nic e100e: no such NIC model; nearest: e1000e, e1000; "
        "allowed: e1000, e1000e, igb, igbvf, virtio-net, virtio-net-modern"
    )


def test_unknown_mode_is_answered_with_the_nearest() -> None:
    assert refusal([], ["msi-x"]) == (
        "--irq msi-x: no such interrupt mode; nearest: msix, msi, msix-shared; "
        "allowed: polled, intx-pic, intx, msi, msix, msix-shared, msix-remapped"
    )


def test_selected_combination_without_a_cell_is_answered_with_its_reason() -> None:
    assert refusal(["e1000"], ["msi"]) == "no cell linux/e1000/msi: e1000 has no MSI capability"
    assert refusal(["igb", "e1000"], ["msix"]) == "no cell linux/e1000/msix: e1000 has no MSI-X capability"


def test_cell_id_of_a_profile_file_is_found(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: linux\n")
    assert find_cell(f"{file}/igb/msix").id == "mine/igb/msix"


def test_found_cell_is_one_of_all_cells() -> None:
    cell = find_cell("linux/e1000e/msix")
    assert isinstance(cell, Cell)
    assert cell in all_cells(load_profile("linux"))


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("linux/e1000e", "cell 'linux/e1000e': is no cell; allowed: PROFILE/NIC/MODE such as linux/e1000e/msix"),
        ("linux//msix", "cell 'linux//msix': is no cell; allowed: PROFILE/NIC/MODE such as linux/e1000e/msix"),
        ("linux/e1000/msi", "cell 'linux/e1000/msi': is excluded: e1000 has no MSI capability"),
        ("linux/e1000e/mxis", "cell 'linux/e1000e/mxis': no such cell; nearest: linux/e1000e/msi, linux/e1000e/msix, "),
        ("linus/e1000e/msix", "profile 'linus': no such profile; nearest: linux"),
    ],
)
def test_cell_that_is_not_there_is_answered_with_the_nearest_or_the_reason(wish: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        find_cell(wish)
    assert str(caught.value).startswith(message)
