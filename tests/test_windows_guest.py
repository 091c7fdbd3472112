"""The operations that are cmd.exe's and reg.exe's, on those of Wine: real programs, with a real driver's settings.

What only Windows has is not here: the device tree, and what a driver does with its settings. So the device is given,
switching it only notes that it was switched, and its adapter is always up.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from harness.cell import find_cell
from harness.errors import InputError, NicproofError, Unsupported
from harness.guest.mtu import MtuRange
from harness.guest.offloads import Offload, OffloadState
from harness.guest.packages import PackageRefused
from harness.guest.queues import Rings
from harness.guest.settings import PAUSE_AUTONEGOTIATION, RECEIVE_PAUSE, TRANSMIT_PAUSE, SettingKind
from harness.guest.transport import CommandFailed, Completed
from harness.guest.windows_services import ServiceState
from harness.guest.windows_system import Adapter
from harness.guest.winxp import WinXpGuest, hardware_id
from harness.guest.wmic import Wmic
from harness.guest_facts import Facts
from harness.guest_questions import OF_NIC, OF_SYSTEM
from harness.testbed import Testbed
from tests.wine import PROGRAM, Wine, windows

SETTINGS = Path(__file__).parent / "recordings" / "windows-8.1-german" / "intel-i217-settings.reg"
OF_THE_MACHINE = {"interrupts that the device has", "ECAM base", "SSH server"}
INSTANCE = r"PCI\VEN_8086&DEV_10D3&SUBSYS_00008086&REV_00\3&13C0B0C5&0&20"

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Wine is not installed: its cmd.exe stands for Windows'")


class OnWine(WinXpGuest):
    """The guest without a device tree."""

    def __init__(self, wine: Wine) -> None:
        super().__init__(wine, hardware_id(0x8086, 0x10D3))
        self.switched: list[str] = []

    def _find_instance(self) -> str | None:
        return INSTANCE

    def _adapter(self) -> Adapter:
        return Adapter(up=True, mac="52:54:00:6e:70:01")

    def _switch(self, action: str) -> None:
        self.switched.append(action)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wine]:
    with windows(tmp_path_factory.mktemp("wine") / "prefix") as made, made.logged_in():
        yield Wine(made)


def _await_service(guest: OnWine) -> None:
    """Have a service run that Wine starts in its own time, and on a busy host not always."""
    end = time.monotonic() + 60
    while guest.service_state() is not ServiceState.RUNNING and time.monotonic() < end:
        guest.command("sc start PlugPlay")


@pytest.fixture
def guest(prefix: Wine) -> OnWine:
    prefix.run(r'reg delete "HKLM\SYSTEM\CurrentControlSet\Control\Class\{4D36E972-E325-11CE-BFC1-08002BE10318}" /f')
    (prefix.drive / "settings.reg").write_text(SETTINGS.read_text(), encoding="utf-16")
    prefix.check(r"reg import C:\settings.reg")
    return OnWine(prefix)


def test_the_device_and_its_driver_are_read_from_the_registry(guest: OnWine) -> None:
    assert (guest.driver().name, guest.driver().version) == ("PlugPlay", "12.12.80.1950")
    identity = guest.identity()
    assert (identity.vendor_id, identity.device_id, identity.class_code) == (0x8086, 0x10D3, 0x020000)
    assert (identity.subsystem_vendor_id, identity.subsystem_id) == (0x8086, 0x0000)
    assert identity.interfaces == ("LAN-Verbindung",)


def test_the_version_is_read(guest: OnWine) -> None:
    assert guest.release().count(".") >= 2


def test_settings_have_their_values_choices_and_bounds(guest: OnWine) -> None:
    settings = guest.driver_settings()
    jumbo, buffers = settings["*jumbopacket"], settings["*receivebuffers"]
    assert (jumbo.number, jumbo.choices) == (1514, ("1514", "4088", "9014"))
    assert (buffers.number, buffers.bounds(), buffers.step) == (256, (80, 2048), 8)
    assert "characteristics" not in settings, "what is no setting of the driver's is none"


def test_the_mtu_is_changed_to_what_the_driver_offers(guest: OnWine) -> None:
    assert (guest.mtu(), guest.mtu_range()) == (1500, MtuRange(1500, 9000))
    assert guest.set_mtu(9000)
    assert (guest.mtu(), guest.switched) == (9000, ["restart"])
    assert not guest.set_mtu(9001), "beyond what the driver offers"
    with pytest.raises(Unsupported, match="offers 1500, 4074, 9000 alone"):
        guest.set_mtu(2000)
    assert guest.mtu() == 9000


def test_checksum_offloads_are_switched_each_way_apart(guest: OnWine) -> None:
    guest.set_offload(Offload.TX_CHECKSUM, False)
    assert guest.driver_settings()["*tcpchecksumoffloadipv4"].value == "2", "the receiver's bit stays"
    states = guest.offloads()
    assert states[Offload.TX_CHECKSUM] == OffloadState(on=False, fixed=False)
    assert states[Offload.RX_CHECKSUM] == OffloadState(on=True, fixed=False)
    guest.set_offload(Offload.TX_CHECKSUM, True)
    assert guest.driver_settings()["*ipchecksumoffloadipv4"].value == "3"
    assert guest.switched == ["restart", "restart"]


def test_an_offload_that_the_driver_has_no_setting_for_is_lacking(guest: OnWine) -> None:
    assert Offload.UDP_SEGMENTATION not in guest.offloads()
    with pytest.raises(Unsupported, match="no setting that switches it on"):
        guest.set_offload(Offload.UDP_SEGMENTATION, True)


def test_segmentation_is_switched(guest: OnWine) -> None:
    guest.set_offload(Offload.TCP_SEGMENTATION, False)
    assert not guest.offloads()[Offload.TCP_SEGMENTATION].on
    assert guest.offloads()[Offload.TCP6_SEGMENTATION].on, "the other version is another setting"


def _offer(prefix: Wine, keyword: str, **fields: str) -> None:
    key = r"HKLM\SYSTEM\CurrentControlSet\Control\Class\{4D36E972-E325-11CE-BFC1-08002BE10318}\0007\Ndi\params"
    for name, value in fields.items():
        prefix.check(rf'reg add "{key}\{keyword}" /v {name} /t REG_SZ /d {value} /f')


def test_the_adapter_is_moved_into_a_vlan_that_its_driver_offers(guest: OnWine, prefix: Wine) -> None:
    with pytest.raises(Unsupported, match=r"no setting for it \(VlanID\)"):
        guest.move_into_vlan(5)
    # netkvm.inx
    _offer(prefix, "VlanID", type="long", default="0", min="0", max="4095", step="1")
    _offer(prefix, "*PriorityVLANTag", default="1")
    guest.move_into_vlan(5)
    settings = guest.driver_settings()
    assert (settings["vlanid"].value, settings["*priorityvlantag"].number) == ("5", 3)
    assert guest.switched == ["restart"]
    with pytest.raises(Unsupported, match="VLAN 4096"):
        guest.move_into_vlan(4096)


def test_rings_are_refused_beyond_the_bounds_and_between_the_steps(guest: OnWine) -> None:
    assert (guest.rings(), guest.ring_limits()) == (Rings(256, 512), Rings(2048, 2048))
    assert guest.set_rings(rx=512) == ""
    assert guest.rings() == Rings(512, 512)
    assert "does not offer *receivebuffers = 2056" in guest.set_rings(rx=2056)
    assert "does not offer *receivebuffers = 81" in guest.set_rings(rx=81)
    assert guest.rings() == Rings(512, 512)


def test_queues_follow_rss(guest: OnWine, prefix: Wine) -> None:
    assert (guest.channels(), guest.channel_limit()) == (2, 2)
    assert guest.set_channels(1) == ""
    assert guest.channels() == 1
    assert "does not offer" in guest.set_channels(3)


def test_pause_is_one_setting_for_both_ways(guest: OnWine) -> None:
    off = {PAUSE_AUTONEGOTIATION: 0, RECEIVE_PAUSE: 0, TRANSMIT_PAUSE: 1}
    assert guest.settings(SettingKind.PAUSE) == {PAUSE_AUTONEGOTIATION: 0, RECEIVE_PAUSE: 1, TRANSMIT_PAUSE: 1}
    assert guest.change_settings(SettingKind.PAUSE, off) == ""
    assert guest.settings(SettingKind.PAUSE) == off
    refused = guest.change_settings(SettingKind.PAUSE, {PAUSE_AUTONEGOTIATION: 1, RECEIVE_PAUSE: 1, TRANSMIT_PAUSE: 1})
    assert "does not offer *flowcontrol = 4" in refused, "this driver has no negotiated pause"


def test_features_are_changed_all_at_once(guest: OnWine) -> None:
    wish = {Offload.TX_CHECKSUM.value: 0, Offload.RX_CHECKSUM.value: 0}
    assert guest.change_settings(SettingKind.FEATURES, wish) == ""
    assert guest.driver_settings()["*tcpchecksumoffloadipv4"].value == "0"
    assert guest.switched == ["restart"]


def test_moderation_is_switched_off_and_has_no_interval(guest: OnWine) -> None:
    guest.set_throttle(0)
    assert guest.driver_settings()["*interruptmoderation"].value == "0"
    with pytest.raises(Unsupported, match="named levels, not intervals"):
        guest.set_throttle(8000)


def test_a_mac_address_is_the_drivers_to_take(guest: OnWine) -> None:
    assert guest.permanent_mac() == "52:54:00:6e:70:01"
    assert guest.set_mac("52:54:00:6e:70:01")
    assert guest._values(guest._class_key)["NetworkAddress"] == "5254006E7001"
    assert not guest.set_mac("52:54:00:6e:70:77"), "the adapter's address has not changed"
    with pytest.raises(Unsupported, match="and that was set"):
        guest.permanent_mac()


def test_a_services_state_is_read(guest: OnWine) -> None:
    _await_service(guest)
    assert guest.service_state() is ServiceState.RUNNING


def test_a_driver_that_stays_loaded_is_not_called_unloaded(guest: OnWine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.guest.windows_lifecycle.LINK_DEADLINE_S", 0.0)
    _await_service(guest)
    with pytest.raises(Unsupported, match="PlugPlay stays RUNNING without the device"):
        guest.unload_driver()
    assert guest.switched == ["disable"]


def test_ping_is_believed_by_the_hosts_own_answer(guest: OnWine) -> None:
    assert guest.ping("127.0.0.1", 100)
    with pytest.raises(Unsupported, match="no IPv6"):
        guest.ping("fe80::1", 100)


def test_devcon_that_is_not_there_is_a_tool_that_is_lacking(prefix: Wine) -> None:
    with pytest.raises(Unsupported, match=r"devcon\.exe is not in its path"):
        WinXpGuest(prefix, hardware_id(0x8086, 0x10D3)).is_present()


def test_what_wmic_writes_as_utf_16_is_read(prefix: Wine) -> None:
    """Wine's wmic has no /value, but its output is UTF-16 with a byte order mark, as that of some Windows."""
    said = prefix.run("wmic os get Version").stdout
    assert "\0" in said, "this Wine writes another encoding: the test proves nothing any more"
    assert Wmic(prefix).get("os", "Version") == []


def test_the_checklist_of_windows_xp_bears_the_answers_of_real_programs(guest: OnWine) -> None:
    """What Wine has no program for is not known, with a reason; nothing else is in the way of an answer."""

    class Bed:
        cell = find_cell("linux/e1000e/msix")

        def death(self) -> None:
            return None

    bed, facts = Bed(), Facts()
    bed.guest = guest  # type: ignore[attr-defined]
    questions = [one for one in (*OF_NIC["winxp"], *OF_SYSTEM["winxp"]) if one.name not in OF_THE_MACHINE]
    facts.ask(questions, cast(Testbed, bed), lambda line: None)
    known = facts.known
    assert known["driver"] == {"name": "PlugPlay", "version": "12.12.80.1950", "expected": False}
    assert known["settings"]["*receivebuffers"] == {"value": "256", "choices": [], "bounds": [80, 2048, 8]}  # type: ignore[index]
    assert (known["MTU"], known["interfaces"]) == (1500, ["LAN-Verbindung"])
    assert facts.unknown["warnings"].startswith("Windows does not say when it was started")  # Wine has no /value
    assert str(known["code page"]).isdigit()
    assert str(known["wmic ends with its input closed"]).startswith("yes, after ")
    assert known["wmic writes UTF-16"] is True
    not_foreseen = {name: why for name, why in facts.unknown.items() if re.match(r"\w+Error: ", why)}
    assert not not_foreseen
    assert "devcon" in facts.unknown["devcon is there"]


def test_a_package_without_its_inf_is_refused_before_anything_is_done(guest: OnWine, prefix: Wine) -> None:
    prefix.commands.clear()
    with pytest.raises(InputError, match=r"'e1q\.inf' is no INF among its files: e1q\.sys"):
        guest.install_driver({"e1q.sys": b"MZ"}, "e1q.inf")
    assert prefix.commands == []


def test_a_device_without_a_driver_says_so(guest: OnWine, prefix: Wine) -> None:
    prefix.check(rf'reg delete "HKLM\SYSTEM\CurrentControlSet\Enum\{INSTANCE}" /v Driver /f')
    with pytest.raises(NicproofError, match="no driver for PCI"):
        guest.mtu()


class Installing(OnWine):
    """The guest with a program that installs packages, or does as if."""

    def __init__(self, wine: Wine, *, takes: bool, status: int = 0, linked: bool = True) -> None:
        super().__init__(wine)
        self._takes, self._status, self._linked, self._name = takes, status, linked, "net1ic64.inf"
        self.seen: list[str] = []

    def _signed_driver(self) -> dict[str, object]:
        return {"InfName": self._name, "DriverVersion": "1.2", "IsSigned": "TRUE", "Signer": "Nobody"}

    def _install(self, inf: str) -> tuple[str, bool]:
        folder = inf.rpartition("\\")[0]
        listed = self._transport.check(f'dir /s /b "{folder}"').splitlines()
        self.seen = sorted(line.strip().removeprefix(f"{folder}\\") for line in listed)
        if self._takes:
            self._name = "oem3.inf"
        said = "Microsoft PnP Utility\n\nFailed to add driver package: Access is denied.\nAdded driver packages: 0\n"
        if self._status:
            raise CommandFailed(Completed("pnputil", self._status, said, ""))
        return said, False

    def _link_comes(self, up: bool, deadline_s: float = 60.0) -> bool:
        return self._linked


def test_a_packages_files_and_folders_are_there_while_it_is_installed_and_gone_afterwards(prefix: Wine) -> None:
    guest = Installing(prefix, takes=True)
    prefix.check("if not exist C:\\WINDOWS\\Temp mkdir C:\\WINDOWS\\Temp")
    before = prefix.check("dir /b C:\\WINDOWS\\Temp")
    begun = guest.install_driver({"e1q.inf": b"[Version]", "x86\\e1q.sys": b"MZ"}, "e1q.inf")
    package = guest.driver_installed(begun)
    assert guest.seen == ["e1q.inf", "x86", "x86\\e1q.sys"]
    assert (package.name, package.signature) == ("oem3.inf", "by Nobody")
    assert prefix.check("dir /b C:\\WINDOWS\\Temp") == before


SAID = "Microsoft PnP Utility; Failed to add driver package: Access is denied.; Added driver packages: 0"


@pytest.mark.parametrize(
    ("takes", "status", "linked", "says"),
    [
        (False, 5, True, f"e1q.inf: {SAID}"),
        (
            False,
            0,
            True,
            f"e1q.inf: Windows goes on using net1ic64.inf, version 1.2, and said: {SAID}; it takes",
        ),
        (True, 0, False, "e1q.inf: Windows uses it as oem3.inf, version 1.2, but sees no link within 60 s"),
    ],
    ids=["failed", "not used", "no link"],
)
def test_a_package_that_windows_refuses_is_refused_with_all_that_its_program_said(
    takes: bool, status: int, linked: bool, says: str, prefix: Wine
) -> None:
    guest = Installing(prefix, takes=takes, status=status, linked=linked)
    with pytest.raises(PackageRefused, match=f"^{re.escape(says)}"):
        guest.driver_installed(guest.install_driver({"e1q.inf": b"[V]"}, "e1q.inf"))
    assert "nicproof-" not in prefix.check("dir /b C:\\WINDOWS\\Temp")


def test_the_log_of_installations_is_read(guest: OnWine, prefix: Wine) -> None:
    (prefix.drive / "windows" / "setupapi.log").write_text("[2026/01/01 12:00:00 1.1]\n#E360 An unsigned file\n")
    assert "#E360 An unsigned file" in guest.installation_log()
