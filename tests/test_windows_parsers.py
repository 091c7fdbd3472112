"""What Windows' programs print is read: real outputs where someone has published one, each with its source.

Those that stand above a parser are not repeated here without need; nothing here is from a guest of our own.
"""

import json

import pytest

from harness.cell import find_cell
from harness.errors import NicproofError
from harness.guest.base import InterruptClaim
from harness.guest.win10 import instance_at, parse_adapter, parse_events
from harness.guest.windows import parse_ids, parse_ping, parse_version
from harness.guest.windows_interrupts import claim_of, parse_devcon_irqs, signed
from harness.guest.windows_packages import package_of
from harness.guest.windows_registry import Keyword, parse_reg_query
from harness.guest.windows_services import ServiceState, parse_sc_query
from harness.guest.windows_system import mac_of
from harness.guest.winxp import hardware_id, parse_devcon_find, row_of_nic
from harness.guest.wmic import parse_values
from harness.nic import InterruptMode
from harness.witness import claimed_mode

# Windows XP: Microsoft, DevCon examples, 12.
DEVCON_RESOURCES = r"""PCI\VEN_8086&DEV_244B&SUBSYS_00000000&REV_02\3&29E81982&0&F9
    Name: Intel(r) 82801BA Bus Master IDE Controller
    Device is currently using the following resources:
        IO  : ffa0-ffaf
PCIIDE\IDECHANNEL\4&37E53584&0&0
    Name: Primary IDE Channel
    Device is currently using the following resources:
        IO  : 01f0-01f7
        IO  : 03f6-03f6
        IRQ : 14
PCIIDE\IDECHANNEL\4&37E53584&0&1
    Name: Secondary IDE Channel
    Device is currently using the following resources:
        IO  : 0170-0177
        IRQ : 15
3 matching device(s) found.
"""


def test_lines_are_read_from_devcon() -> None:
    assert parse_devcon_irqs(DEVCON_RESOURCES) == [14, 15]
    assert parse_devcon_irqs(DEVCON_RESOURCES.replace("\n", "\r\n")) == [14, 15]


def test_what_the_firmware_had_given_a_device_is_not_in_use() -> None:
    # DevCon's messages file for a device that is not started; the rest as above.
    text = DEVCON_RESOURCES.replace(
        "is currently using the following resources", "has the following reserved resources"
    )
    assert parse_devcon_irqs(text) == []


def test_a_message_is_a_negative_number_however_it_is_printed() -> None:
    # Windows Server, Intel E810: intel/mfd-network-adapter, tests; the others: -2 as Device Manager shows it.
    assert parse_devcon_irqs("        IRQ : 4294966818\n        IRQ : -2\n") == [-478, -2]
    # Windows Server 2016 on VMware, WMI: a public dump of CIM_AllocatedResource.
    assert signed(4294967293) == -3
    assert signed(16) == 16


def test_messages_are_claimed_in_the_order_of_the_table() -> None:
    claim = claim_of([4294967292, 4294967294, 4294967293])
    assert [(vector.irq, vector.index) for vector in claim.vectors] == [(-2, 0), (-3, 1), (-4, 2)]
    assert str(claim) == "one of msi, msix, msix-remapped, msix-shared"


def test_one_message_is_no_line() -> None:
    """One message is what Windows grants where it cannot grant all: QEMU's own test takes it for a line."""
    assert InterruptMode.INTX not in claim_of([4294967294]).alike
    assert claim_of([4294967294]).alike == claim_of([4294967294, 4294967293]).alike


def test_a_line_is_claimed_as_a_line_of_either_controller() -> None:
    claim = claim_of([16])
    assert claim.alike == {InterruptMode.INTX, InterruptMode.INTX_PIC}
    assert len(claim.vectors) == 1


def test_a_disabled_device_has_no_interrupt() -> None:
    assert claim_of([]) == InterruptClaim(InterruptMode.POLLED, ())


@pytest.mark.parametrize(
    ("irqs", "device", "claimed"),
    [
        ([4294967294, 4294967293, 4294967292], "msix", "msix"),
        ([4294967294], "msi", "msi"),
        ([11], "intx-pic", "intx-pic"),
        ([11], "msix", "intx"),
        ([4294967294, 4294967293, 4294967292], "intx", "msix"),
        ([], "intx", "polled"),
    ],
    ids=lambda value: str(value),
)
def test_a_claim_agrees_with_what_it_leaves_open_and_with_nothing_else(
    irqs: list[int], device: str, claimed: str
) -> None:
    cell = find_cell("linux/e1000e/msix")
    assert claimed_mode(claim_of(irqs), InterruptMode(device), cell) == claimed


# Windows Server 2003 R2: `wmic os get /value` in a public repository, shortened; \r\r\n as wmic writes.
WMIC_OS = (
    "\r\r\n\r\r\nLastBootUpTime=20171019094424.510250+000\r\r\nLocale=0409\r\r\n"
    "Name=Microsoft Windows Server 2003 R2 Datacenter x64 Edition|C:\\WINDOWS|\\Device\\\r\r\n"
    "Harddisk0\\Partition1\r\r\nNumberOfLicensedUsers=5\r\r\n\r\r\n"
)


def test_wmic_values_are_read_with_all_their_line_ends() -> None:
    (row,) = parse_values(WMIC_OS, ["LastBootUpTime", "Locale", "Name", "NumberOfLicensedUsers"])
    assert row["LastBootUpTime"] == "20171019094424.510250+000"
    assert row["Name"].endswith(r"\Device\Harddisk0\Partition1"), "a value goes on in the next line"
    assert row["NumberOfLicensedUsers"] == "5"


def test_wmic_values_are_read_from_utf_16_that_was_taken_for_utf_8() -> None:
    text = ("\ufeff" + WMIC_OS).encode("utf-16-le").decode(errors="replace")
    (row,) = parse_values(text, ["LastBootUpTime", "Locale", "Name", "NumberOfLicensedUsers"])
    assert (row["LastBootUpTime"], row["Locale"]) == ("20171019094424.510250+000", "0409")


def test_wmic_instances_are_told_apart_by_their_first_property() -> None:
    rows = parse_values("\nA=1\nB=\n\n\nA=2\nB=x=y\n", ["a", "b"])
    assert rows == [{"a": "1", "b": ""}, {"a": "2", "b": "x=y"}]


def test_wmic_that_finds_nothing_gives_nothing() -> None:
    assert parse_values("No Instance(s) Available.\r\n", ["Name"]) == []


def test_performance_data_are_of_the_nic_and_not_of_its_twin() -> None:
    # Windows XP in German: Checkmk, winperf_if; its agent writes underscores for blanks.
    names = (
        "Ethernetadapter der AMD-PCNET-Familie  2 - Paketplaner-Miniport",
        "Ethernetadapter der AMD-PCNET-Familie - Paketplaner-Miniport",
        "MS TCP Loopback interface",
    )
    rows = [{"Name": name} for name in names]
    assert row_of_nic(rows, "Ethernetadapter der AMD-PCNET-Familie") == rows[1]
    assert row_of_nic(rows, "Ethernetadapter der AMD-PCNET-Familie #2") == rows[0]
    assert row_of_nic(rows, "Realtek RTL8139") is None


def test_performance_data_name_a_nic_with_other_brackets() -> None:
    # Checkmk, winperf_if: the counter's name and wmic's name of one NIC.
    rows = [{"Name": "Intel[R] PRO 1000 MT-Desktopadapter  3"}]
    assert row_of_nic(rows, "Intel(R) PRO/1000 MT-Desktopadapter 3") == rows[0]


def test_devcon_lists_instances() -> None:
    # In the form of DevCon's documentation (not recorded): the instance, blanks, a colon, the name.
    text = (
        "ROOT\\FTDISK\\0000                                            : Volume Manager\r\n"
        "PCI\\VEN_8086&DEV_1229&SUBSYS_00021179&REV_08\\4&39A85202&0&40F0: "
        "Intel 8255x-based PCI Ethernet Adapter (10/100)\r\n"
        "2 matching device(s) found.\r\n"
    )
    assert parse_devcon_find(text) == [
        "ROOT\\FTDISK\\0000",
        "PCI\\VEN_8086&DEV_1229&SUBSYS_00021179&REV_08\\4&39A85202&0&40F0",
    ]
    assert parse_devcon_find("No matching devices found.\r\n") == []


def test_registry_values_of_windows_xp_are_read() -> None:
    # Windows XP, reg.exe 3.0: Microsoft, "Working with Registry Entries" (tabs; the page shows them as blanks).
    text = (
        "\r\n! REG.EXE VERSION 3.0\r\n\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\r\n"
        "    DevicePath\tREG_EXPAND_SZ\t%SystemRoot%\\inf\r\n    Flags\tREG_DWORD\t0x84\r\n    Empty\tREG_SZ\t\r\n"
    )
    (values,) = parse_reg_query(text).values()
    assert values == {"DevicePath": r"%SystemRoot%\inf", "Flags": "132", "Empty": ""}


def test_a_setting_offers_its_choices_or_what_is_on_its_steps() -> None:
    buffers = Keyword("256", least=80, most=2048, step=8)
    assert [buffers.offers(value) for value in ("80", "88", "81", "2056", "72")] == [True, True, False, False, False]
    assert [Keyword("3", ("0", "3")).offers(value) for value in ("0", "1")] == [True, False]


@pytest.mark.parametrize("state", ["STATE              : 4  RUNNING", "ÉTAT               : 4  RUNNING"])
def test_a_services_state_is_its_number_in_every_language(state: str) -> None:
    # Windows 10: Microsoft's HAXM page.
    text = f"""
SERVICE_NAME: intelhaxm
    TYPE               : 1  KERNEL_DRIVER
    {state}
                            (STOPPABLE, NOT_PAUSABLE, IGNORES_SHUTDOWN)
    WIN32_EXIT_CODE    : 0  (0x0)
"""
    assert parse_sc_query(text) is ServiceState.RUNNING


def test_a_service_of_another_type_has_its_state() -> None:
    # As Wine 8.0 prints it, with a type whose digits are no decimal ones.
    text = (
        "SERVICE_NAME: RpcSs\n    TYPE               : 2a  WIN32_SHARE_PROCESS\n    STATE              : 1  STOPPED\n"
    )
    assert parse_sc_query(text) is ServiceState.STOPPED
    with pytest.raises(NicproofError, match="shows no state"):
        parse_sc_query("[SC] EnumQueryServicesStatus:OpenService FAILED 1060:")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("\r\nMicrosoft Windows XP [Version 5.1.2600]\r\n", "5.1.2600"),
        ("\r\nMicrosoft Windows [Versión 10.0.19045.3803]\r\n", "10.0.19045.3803"),
    ],
)
def test_the_version_is_a_number_in_every_language(text: str, version: str) -> None:
    assert parse_version(text) == version


def test_a_router_that_answers_is_no_answer() -> None:
    # Wine 8.0; a German Windows, from a public note on a home network, where 10.1.0.22 had been asked.
    assert parse_ping("Reply from 127.0.0.1: bytes=32 time=1ms TTL=64\r\n", "127.0.0.1", 0)
    assert not parse_ping("Antwort von 10.1.0.210: Zielhost nicht erreichbar.\r\n", "10.1.0.22", 0)
    assert not parse_ping("", "10.1.0.22", 1)


def test_the_identity_is_read_from_the_ids() -> None:
    # QEMU's e1000 (a public set of .bat files for its guests has this instance), and the class code's id.
    ids = (r"PCI\VEN_8086&DEV_100E&SUBSYS_11001AF4&REV_03", r"PCI\VEN_8086&DEV_100E&CC_020000")
    assert parse_ids(ids) == (0x8086, 0x100E, 0x1AF4, 0x1100, 0x020000)
    with pytest.raises(NicproofError, match="lack CC"):
        parse_ids(ids[:1])


def test_the_hardware_id_of_a_model_is_what_windows_calls_it() -> None:
    assert hardware_id(0x8086, 0x10D3) == r"PCI\VEN_8086&DEV_10D3"


def test_mac_addresses_are_read_in_each_of_windows_spellings() -> None:
    assert {mac_of(text) for text in ("52-54-00-6E-70-01", "52:54:00:6e:70:01", "5254006E7001")} == {
        "52:54:00:6e:70:01"
    }
    assert mac_of("") == ""


# From the documentation of Get-PnpDeviceProperty, not recorded; the instance is QEMU's 82574L on a Windows 11.
PLACES = json.loads(r"""[
{"InstanceId":"PCI\\VEN_8086&DEV_10D3&SUBSYS_00008086&REV_00\\4&12829b10&0&0014","KeyName":"DEVPKEY_Device_BusNumber","Data":1},
{"InstanceId":"PCI\\VEN_8086&DEV_10D3&SUBSYS_00008086&REV_00\\4&12829b10&0&0014","KeyName":"DEVPKEY_Device_Address","Data":0},
{"InstanceId":"PCI\\VEN_8086&DEV_100E&SUBSYS_11001AF4&REV_03\\3&13c0b0c5&0&18","KeyName":"DEVPKEY_Device_BusNumber","Data":0},
{"InstanceId":"PCI\\VEN_8086&DEV_100E&SUBSYS_11001AF4&REV_03\\3&13c0b0c5&0&18","KeyName":"DEVPKEY_Device_Address","Data":196609}
]""")


def test_the_device_is_found_by_bus_device_and_function() -> None:
    assert str(instance_at(PLACES, "01:00.0")).endswith("4&12829b10&0&0014")
    assert str(instance_at(PLACES, "00:03.1")).endswith("3&13c0b0c5&0&18")
    assert instance_at(PLACES, "00:03.0") is None


def test_an_adapters_state_is_read() -> None:
    # From the documentation of MSFT_NetAdapter, not recorded.
    told = {"MediaConnectState": 1, "MacAddress": "52-54-00-6E-70-01", "PermanentAddress": "5254006E7001"}
    adapter = parse_adapter([{**told, "ReceiveLinkSpeed": 1_000_000_000, "FullDuplex": True, "MtuSize": 1500}])
    assert (adapter.up, adapter.speed_mbps, adapter.full_duplex, adapter.mtu) == (True, 1000, True, 1500)
    assert adapter.permanent_mac == "52:54:00:6e:70:01"
    assert not parse_adapter([]).up, "a disabled device has none"


def test_an_event_is_one_line() -> None:
    event = {"TimeCreated": "2026-01-01T00:00:00", "ProviderName": "e1i65x64", "Id": 27, "Message": "Link is\r\n down"}
    assert parse_events([event]) == ["2026-01-01T00:00:00 e1i65x64 27 Link is down"]


def test_an_unsigned_package_is_told_from_one_that_says_nothing() -> None:
    row = {"InfName": "oem3.inf", "DriverVersion": "1.0", "DriverProviderName": "Intel", "Signer": ""}
    assert package_of({**row, "IsSigned": "FALSE"}).signed is False
    assert package_of({**row, "IsSigned": True}).signed is True
    assert package_of({**row, "IsSigned": ""}).signed is None
