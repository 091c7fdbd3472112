"""Virtual functions that are more, fewer or others than asked for, and a switch that alters what it carries."""

from collections.abc import Iterator
from contextlib import contextmanager

from harness.endpoint.remote import RemoteCapture, RemoteEndpoint
from harness.fault import Fault
from harness.guest.linux import LinuxGuest
from harness.station import STRANGER_MAC
from harness.testbed import Testbed
from harness.traffic.frames import mac_octets
from harness.traffic.multicast import apart_from
from tests.faults.cable import EXPERIMENT, FROM, TO, changes, garble, lose, repeat
from tests.faults.filters import readdress
from tests.faults.guest import in_guest, without
from tests.faults.link import LATE_WARNING, Stuck, with_plug

STRANGER = mac_octets(STRANGER_MAC)
VIRTUAL = bytes.fromhex("5254006e71")
"""What the addresses of virtual functions begin with."""
(FOREIGN_GROUP,) = apart_from(["01:00:5e:40:12:34"], 1)


def sriov(*names: str) -> tuple[str, ...]:
    return tuple(f"test_sriov.py::test_{name}" for name in names)


def is_long(frame: bytes) -> bool:
    return frame[12:14] == EXPERIMENT and len(frame) > 1000


def to_a_stranger(frame: bytes) -> bool:
    return frame[:6] == STRANGER


def to_a_virtual_function(frame: bytes) -> bool:
    return frame.startswith(VIRTUAL)


def from_a_stranger(frame: bytes) -> bool:
    return frame[6:12] == STRANGER


def when_up(script: str) -> str:
    """Return a script after which another runs as soon as a virtual function's interface is up; $up is its name."""
    over = "over() { copy=$(mktemp); cat >$copy; mount --bind $copy $1; }"
    return (
        f"""echo '{over}\n/real/ip "$@" || exit\ncase $* in "link set "*" up") up=$3; {script} ;; esac' | instead ip"""
    )


class _Deaf(RemoteEndpoint):
    """An endpoint that does not hear what comes from its own address."""

    def __init__(self, whole: RemoteEndpoint, own: str) -> None:
        super().__init__(whole.worker, whole.interface)
        self._own = mac_octets(own)

    @contextmanager
    def capture(self, contains: bytes) -> Iterator[RemoteCapture]:
        seen = _WithoutOwn(self.worker, self.interface, contains)
        seen.own = self._own
        try:
            yield seen
        finally:
            seen.end()


class _WithoutOwn(RemoteCapture):
    own = b""

    def wait(self, count: int, deadline_s: float = 5.0) -> list[bytes]:
        wanted, before = count, -1
        while True:
            frames = super().wait(wanted, deadline_s)
            others = [frame for frame in frames if frame[6:12] != self.own]
            if len(others) >= count or len(frames) == before:
                return others
            wanted, before = len(frames) + 1, len(frames)


class _DeafGuest(LinuxGuest):
    def endpoint(self) -> RemoteEndpoint:
        return _Deaf(super().endpoint(), self.mac())


def deafen(bed: Testbed) -> None:
    bed.__dict__["guest"] = _DeafGuest(bed.connect(), str(bed.bdf))


FAULTS = (
    Fault(
        "the driver offers a virtual function too many",
        cell="igb/msix",
        tests=sriov("all_pools_but_one_are_offered"),
        tampered=in_guest("echo 8 | pretend $device/sriov_totalvfs"),
    ),
    Fault(
        "the system takes any number of virtual functions and makes none",
        cell="igb/msix",
        tests=sriov(
            "enabled_functions_are_in_the_device",
            "disabled_functions_are_gone",
            "more_functions_than_offered_are_refused",
            "number_is_not_changed_while_functions_are_enabled",
            "functions_come_and_go_under_traffic",
        ),
        tampered=in_guest("echo 0 | pretend $device/sriov_numvfs"),
    ),
    Fault(
        "the system refuses any virtual function",
        cell="igb/msix",
        tests=sriov("functions_come_and_go_under_traffic", "physical_function_works_beside_all_functions"),
        tampered=in_guest("at=$device/sriov_numvfs; echo 0 | pretend $at; mount -o remount,bind,ro $at"),
    ),
    Fault(
        "the kernel warns of the NIC after virtual functions came and went",
        cell="igb/msix",
        tests=sriov("functions_come_and_go_under_traffic"),
        tampered=in_guest(LATE_WARNING),
    ),
    Fault(
        "virtual functions cannot be disabled once one is up",
        cell="igb/msix",
        tests=sriov("functions_in_use_can_be_disabled"),
        tampered=in_guest(when_up("echo 2 | over '$device'/sriov_numvfs")),
    ),
    Fault(
        "frames to virtual functions are lost on the cable",
        cell="igb/msix",
        tests=sriov("functions_in_use_can_be_disabled"),
        cable=changes(to_a_virtual_function, lose, TO),
    ),
    Fault(
        "no function's interface goes down",
        cell="igb/msix",
        tests=sriov("links_of_functions_go_with_the_physical_function", "closed_function_leaves_the_others_alone"),
        tampered=in_guest(without("ip", "*down")),
    ),
    Fault(
        "a bit flips in every long frame on the cable",
        cell="igb/msix",
        tests=sriov(
            "physical_function_works_beside_all_functions",
            "all_functions_work_at_once",
            "function_that_left_its_vlan_exchanges_untagged_frames",
            "foreign_source_address_is_sent_without_the_check",
            "frames_cross_the_switch_whole[cable-to-vf]",
            "frames_cross_the_switch_whole[vf-to-cable]",
            "broadcast_reaches_every_other_port",
            "functions_work_after_replugging",
            "links_of_functions_go_with_the_physical_function",
            "functions_recover_from_the_physical_functions_reset",
            "function_recovers_from_its_own_reset",
            "closed_function_leaves_the_others_alone",
            "functions_work_when_their_driver_is_loaded_again",
        ),
        cable=changes(is_long, garble(-1), FROM, TO),
    ),
    Fault(
        "the system names other MAC addresses than the functions have",
        cell="igb/msix",
        tests=sriov(
            "function_has_the_address_that_it_was_given",
            "frame_reaches_the_function_that_it_is_sent_to_alone",
            "function_has_another_address_when_it_is_driven_anew",
            "frames_cross_the_switch_whole[pf-to-vf]",
            "frames_cross_the_switch_whole[vf-to-pf]",
            "frames_cross_the_switch_whole[vf-to-vf]",
            "frames_between_functions_reach_nobody_else",
        ),
        tampered=in_guest(
            "echo 52:54:00:6e:73:02 | pretend /sys/class/net/$nic/address\n"
            + when_up("echo 52:54:00:6e:73:0${up#eth} | over /sys/class/net/$up/address")
        ),
    ),
    Fault(
        "the switch gives a foreign station's frames to the physical function, as QEMU's does",
        cell="igb/msix",
        tests=sriov("frame_to_a_foreign_station_reaches_no_function"),
        cable=changes(to_a_stranger, readdress, TO),
        mended=changes(to_a_stranger, lose, TO),
    ),
    Fault(
        "a virtual function is trusted to take any address",
        cell="igb/msix",
        tests=sriov("function_cannot_change_a_given_address"),
        tampered=in_guest(
            """echo 'case $* in *\\ mac\\ *) set -- "$@" trust on ;; esac; /real/ip "$@"' | instead ip"""
        ),
    ),
    Fault(
        "virtual functions are in no VLAN, whatever is asked for",
        cell="igb/msix",
        tests=sriov(
            "frames_of_a_function_in_a_vlan_leave_with_its_tag",
            "frames_of_its_vlan_alone_reach_a_function",
            "functions_in_different_vlans_are_apart",
        ),
        tampered=in_guest(without("ip", "*\\ vlan\\ *")),
    ),
    Fault(
        "the physical function gives no virtual one a VLAN",
        cell="igb/msix",
        tests=sriov("function_gets_no_vlan_beside_its_own", "function_cannot_send_into_another_vlan"),
        tampered=in_guest(without("ip", "*\\ vf\\ *\\ vlan\\ *")),
    ),
    Fault(
        "virtual functions have joined a group that they should not have",
        cell="igb/msix",
        tests=sriov("group_without_a_member_reaches_no_function"),
        tampered=in_guest(when_up(f"ip maddress add {FOREIGN_GROUP} dev $up")),
    ),
    Fault(
        "a virtual function's frames leave twice from a foreign source address",
        cell="igb/msix",
        tests=sriov("foreign_source_address_is_not_sent"),
        cable=changes(from_a_stranger, repeat, FROM),
        mended=changes(from_a_stranger, lose, FROM),
    ),
    Fault(
        "a function hears what it sends to all stations, as it does of QEMU's switch",
        cell="igb/msix",
        tests=sriov("broadcast_does_not_return_to_its_sender"),
        healed=deafen,
    ),
    Fault(
        "no group can be joined by any function",
        cell="igb/msix",
        tests=sriov("group_reaches_every_member"),
        tampered=in_guest(without("ip", "*maddress\\ add*")),
    ),
    Fault(
        "the cable of all functions cannot be pulled",
        cell="igb/msix",
        tests=sriov("links_of_functions_go_with_the_cable"),
        tampered=lambda bed: with_plug(Stuck, bed),
        healed=in_guest(
            "cat /sys/class/net/$nic/carrier >/tmp/carrier\n"
            'forever "cat /sys/class/net/$nic/carrier >/tmp/carrier; sleep 0.1"\n'
            + when_up("mount --bind /tmp/carrier /sys/class/net/$up/carrier")
        ),
    ),
    Fault(
        "the guest's list of interrupts has none of a virtual function",
        cell="igb/msix",
        tests=sriov("each_function_has_its_vectors"),
        tampered=in_guest("cat /proc/interrupts | pretend /proc/interrupts"),
    ),
    Fault(
        "the counts of handled interrupts stand still once the virtual functions are up",
        cell="igb/msix",
        tests=sriov("function_interrupts_when_its_frames_come"),
        tampered=in_guest(when_up("[ $up != eth3 ] || cat /proc/interrupts | over /proc/interrupts")),
    ),
    Fault(
        "a virtual function's receive queue has no vector",
        cell="igb/msix",
        tests=sriov("function_has_one_pair_of_queues"),
        tampered=in_guest(when_up("sed s/-rx-0/-rx-A/ /proc/interrupts | over /proc/interrupts")),
    ),
    Fault(
        "a virtual function has vectors, and none of its queues is on",
        cell="igb/msix",
        tests=sriov("function_has_one_pair_of_queues"),
        tampered=in_guest(
            when_up(
                "cat /proc/interrupts | over /proc/interrupts; echo 1 | over /sys/class/net/$up/carrier; "
                "/real/ip link set $up down"
            )
        ),
    ),
    Fault(
        "the virtual functions' driver stays",
        cell="igb/msix",
        tests=sriov("functions_without_a_driver_are_silent"),
        tampered=in_guest(without("modprobe", "-r*")),
    ),
)
