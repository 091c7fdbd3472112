"""NICs that do not come back as they were, and guests in which something stays behind."""

from harness.fault import Fault
from tests.faults.cable import (
    ARP,
    EXPERIMENT,
    FROM,
    IPV4,
    TO,
    Frames,
    changes,
    garble,
    is_of_a_flood,
    lose,
    repeat,
    typed,
)
from tests.faults.guest import in_guest, without
from tests.faults.link import LATE_WARNING

CLIENT_ADDRESS = 14 + 20 + 8 + 28
"""Where chaddr begins (RFC 2131, 2)."""


SENDER = 14 + 8
"""Where the sender's address begins (RFC 826)."""


def is_answer_of_another(frame: bytes) -> bool:
    return frame[12:14] == ARP and frame[SENDER : SENDER + 3] == b"\0\0\x5e"


def is_dhcp_request(frame: bytes) -> bool:
    return frame[12:14] == IPV4 and frame[23] == 17 and frame[36:38] == b"\0\x43"


def echo_number(number: int, kind: int) -> Frames:
    """Which IPv4 echo it is; one that is beyond those by which a test sees at its end whether all is well."""
    wanted = (IPV4, 1, kind, number.to_bytes(2, "big"))
    return lambda frame: (frame[12:14], *frame[23:24], *frame[34:35], frame[40:42]) == wanted


LATER_MTU = """echo 'case $* in
    *show*) echo >>/tmp/asked; [ $(wc -l </tmp/asked) -gt 2 ] && to=1500 || to=2000
        /real/ip "$@" | sed s/:2000,/:$to,/ ;;
    *) exec /real/ip "$@" ;;
esac' | instead ip"""
LATER_VECTOR = """echo '>/tmp/asked; exec /real/dmesg "$@"' | instead dmesg
echo 'case $* in
    /proc/interrupts) if [ -e /tmp/asked ]; then grep -v '$nic'-rx-0 $1; else /real/cat $1; fi ;;
    *) exec /real/cat "$@" ;;
esac' | instead cat"""
"""Scripts after which the MTU is seen only twice, and a vector's handler until somebody has read the log."""


PIPES = """
import fcntl, os, time
while True:
    _, end = os.pipe()
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 1 << 20)
    for _ in range(16):
        os.write(end, bytes(1 << 16))
        time.sleep(0.1)
"""
"""What waits in a pipe is in pages that the kernel counts nowhere, as those of rings are."""


def lifecycle(*names: str) -> tuple[str, ...]:
    return tuple(f"test_lifecycle.py::test_{name}" for name in names)


FAULTS = (
    Fault(
        "a bit flips in every raw frame, whatever was done to the NIC",
        cell="e1000e/msix",
        tests=lifecycle(
            "nic_is_as_before",
            "down_and_up_under_traffic",
            "traffic_does_no_harm",
            "interface_works_when_opened_after_a_function_reset",
            "what_is_done_again_and_again_leaves_nothing_behind",
            "unplugged_nic_is_gone_and_works_when_plugged_again",
            "stopping_and_going_on_under_traffic",
            "conversation_outlasts_stops",
            "saved_machine_goes_on_under_traffic",
        ),
        cable=changes(typed(EXPERIMENT), garble(-1), FROM, TO),
    ),
    Fault(
        "a bit flips in every raw frame after sleep",
        cell="igb/msix",
        tests=lifecycle("frames_that_come_while_the_system_sleeps_do_no_harm"),
        cable=changes(typed(EXPERIMENT), garble(-1), FROM, TO),
    ),
    Fault(
        "the kernel warns of the NIC after what was done to it",
        cell="igb/msix",
        tests=lifecycle(
            "nic_is_as_before",
            "down_and_up_under_traffic",
            "traffic_does_no_harm",
            "frames_that_come_while_the_system_sleeps_do_no_harm",
            "interface_works_when_opened_after_a_function_reset",
            "unplugged_nic_is_gone_and_works_when_plugged_again",
            "replugged_nic_is_as_before_under_traffic",
            "saved_machine_goes_on_under_traffic",
        ),
        tampered=in_guest(LATE_WARNING),
    ),
    Fault(
        "a vector has lost its handler after what was done to the NIC",
        cell="igb/msix",
        tests=lifecycle(
            "nic_is_as_before", "replugged_nic_is_as_before_under_traffic", "saved_machine_goes_on_under_traffic"
        ),
        tampered=in_guest(LATER_VECTOR),
    ),
    Fault(
        "the interface goes back to its first MTU",
        cell="igb/msix",
        tests=lifecycle("configuration_survives", "saved_machine_goes_on_under_traffic"),
        tampered=in_guest(LATER_MTU),
    ),
    Fault(
        "rings stay as they are, though they are said to be changed",
        cell="igb/msix",
        tests=lifecycle("configuration_survives"),
        tampered=in_guest(without("ethtool", "-G*")),
    ),
    Fault(
        "the NIC answers with another address than it was given",
        cell="igb/msix",
        tests=lifecycle("configuration_survives[reset]", "configuration_survives[suspend]"),
        cable=changes(is_answer_of_another, garble(SENDER + 5), FROM),
    ),
    Fault(
        "an echo is answered twice",
        cell="igb/msix",
        tests=lifecycle("conversation_outlasts_stops", "saved_machine_goes_on_under_traffic"),
        cable=changes(echo_number(40, kind=0), repeat, FROM),
    ),
    Fault(
        "a request is lost while the machine is there to take it",
        cell="e1000/intx",
        tests=lifecycle("conversation_outlasts_stops", "saved_machine_goes_on_under_traffic"),
        cable=changes(echo_number(29, kind=8), lose, TO),
    ),
    Fault(
        "the driver stays where it is",
        cell="igb/msix",
        tests=lifecycle("unloaded_driver_leaves_a_silent_device"),
        tampered=in_guest("echo 'exit 0' | instead modprobe"),
    ),
    Fault(
        "the kernel's memory becomes less and less",
        cell="virtio-net/msix",
        tests=lifecycle(
            "driver_that_comes_again_leaves_nothing_behind",
            "what_is_done_again_and_again_leaves_nothing_behind[suspend]",
            "what_is_done_again_and_again_leaves_nothing_behind[replug]",
            "down_and_up_under_traffic",
        ),
        tampered=in_guest("modprobe dummy\nforever 'for _ in 1 2 3 4 5; do ip link add type dummy; done; sleep 0.1'"),
    ),
    Fault(
        "pages are held that no field of /proc/meminfo tells of",
        cell="virtio-net/msix",
        tests=lifecycle(
            "driver_that_comes_again_leaves_nothing_behind",
            "what_is_done_again_and_again_leaves_nothing_behind[suspend]",
            "what_is_done_again_and_again_leaves_nothing_behind[replug]",
            "down_and_up_under_traffic",
        ),
        tampered=in_guest(f"setsid python3 -c '{PIPES}' </dev/null >/dev/null 2>&1 &"),
    ),
    Fault(
        "requests from the wire's own address are lost",
        cell="virtio-net/msix",
        tests=lifecycle(
            "down_and_up_under_traffic",
            "traffic_does_no_harm",
            "frames_that_come_while_the_system_sleeps_do_no_harm",
            "replugged_nic_is_as_before_under_traffic",
        ),
        cable=changes(is_of_a_flood, lose, TO),
    ),
    Fault(
        "the NIC answers no more",
        cell="e1000e/msix",
        tests=lifecycle(
            "running_interface_recovers_from_a_function_reset",
            "requests_that_come_while_the_clock_stands_are_answered",
        ),
        cable=changes(typed(ARP), lose, FROM),
    ),
    Fault(
        "requests for a lease name another station",
        cell="e1000/intx",
        tests=lifecycle("machine_that_is_reset_boots_and_asks_for_its_address"),
        cable=changes(is_dhcp_request, garble(CLIENT_ADDRESS), FROM),
    ),
    Fault(
        "the driver goes with the NIC",
        cell="e1000/intx",
        tests=lifecycle("driver_takes_a_nic_that_is_plugged_in"),
        tampered=in_guest(
            "setsid sh -c 'while test -e '$device'; do sleep 0.05; done; rmmod e1000' </dev/null >/dev/null 2>&1 &"
        ),
    ),
)
