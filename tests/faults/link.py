"""Cables that stay in or out, and guests that do not tell what became of their link."""

from harness.fault import Fault
from harness.qemu.machine import dut_device
from harness.qemu.plug import Plug
from harness.testbed import Testbed
from tests.faults.cable import EXPERIMENT, FROM, TO, changes, garble, typed
from tests.faults.guest import in_guest, without

IGNORED_SPEED = without("ethtool", '"-s "*off*')
"""A script after which ethtool takes any fixed speed and does nothing."""
REFUSED_SPEED = """echo 'case $* in *half|*10000*) echo "netlink error: Invalid argument" >&2; exit 75 ;; esac
exec /real/ethtool "$@"' | instead ethtool"""
"""A script after which a speed that cannot be does not reach the driver, none of which refuses it without harm."""


class Stuck(Plug):
    """A cable that cannot be pulled."""

    def pull_cable(self) -> None:
        pass


class _Loose(Plug):
    """A cable that does not hold."""

    def plug_cable(self) -> None:
        pass


def with_plug(kind: type[Plug], bed: Testbed) -> None:
    bed.__dict__["plug"] = kind(bed.vm.monitor, dut_device(bed.cell))


def link(*names: str) -> tuple[str, ...]:
    return tuple(f"test_link.py::test_{name}" for name in names)


LATER = "echo '/real/{0} \"$@\"; if [ -e /tmp/asked-{0} ]; then {1}; fi; touch /tmp/asked-{0}' | instead {0}"
"""A script after which a command does something more from the second time on."""
LATE_WARNING = LATER.format("dmesg", 'echo "<4>[   99.000000] igb 0000:$address: lost"').replace(
    "$address", "'$address'"
)

FAULTS = (
    Fault(
        "the cable cannot be pulled",
        cell="igb/msix",
        tests=link(
            "carrier_goes_when_the_cable_is_pulled",
            "device_itself_knows_its_link",
            "each_change_is_reported_once",
            "nothing_is_answered_while_the_cable_is_out",
            "nothing_is_delivered_while_the_cable_is_out",
            "nothing_leaves_while_the_cable_is_out",
            "link_works_after_flapping",
            "flapping_leaves_no_trace",
            "cable_pulled_while_down_is_noticed_when_up",
            "driver_loaded_without_a_cable_has_no_link",
            "machine_that_starts_without_a_cable_has_no_link",
            "link_without_a_cable_survives_down_and_up",
        ),
        tampered=lambda bed: with_plug(Stuck, bed),
    ),
    Fault(
        "the cable of a virtio device cannot be pulled",
        cell="virtio-net/msix",
        tests=link(
            "device_itself_knows_its_link",
            "link_works_after_flapping",
            "flapping_leaves_no_trace",
            "cable_replugged_while_down_does_no_harm",
        ),
        tampered=lambda bed: with_plug(Stuck, bed),
    ),
    Fault(
        "the cable does not hold",
        cell="virtio-net/msix",
        tests=link(
            "carrier_comes_when_the_cable_is_plugged",
            "link_works_after_flapping",
            "cable_replugged_while_down_does_no_harm",
        ),
        tampered=lambda bed: with_plug(_Loose, bed),
    ),
    Fault(
        "the counter of the link's changes stands still",
        cell="igb/msix",
        tests=link("changes_are_counted_exactly"),
        tampered=in_guest("at=/sys/class/net/$nic/carrier_changes; cat $at | pretend $at"),
    ),
    Fault(
        "the system reports each change of the link twice",
        cell="igb/msix",
        tests=link("each_change_is_reported_once"),
        tampered=in_guest(
            """echo 'case $* in *monitor*) /real/ip "$@" | sed -u p ;; *) exec /real/ip "$@" ;; esac' | instead ip"""
        ),
    ),
    Fault(
        "a second after it was opened an interface without a cable is said to have a link",
        cell="igb/msix",
        tests=link("link_without_a_cable_survives_down_and_up"),
        tampered=in_guest(
            """echo '/real/ip "$@"; case $* in "link set '$nic' up")\n"""
            """(sleep 1; echo "3: '$nic': <UP,LOWER_UP>" >>/tmp/nicproof-links) </dev/null >/dev/null 2>&1 & ;;\n"""
            """esac' | instead ip"""
        ),
    ),
    Fault(
        "a bit flips in every raw frame",
        cell="igb/msix",
        tests=link("frames_cross_whole_after_replugging"),
        cable=changes(typed(EXPERIMENT), garble(-1), FROM, TO),
    ),
    Fault(
        "the kernel warns of the NIC when it has run for a while",
        cell="igb/msix",
        tests=link("flapping_leaves_no_trace"),
        tampered=in_guest(LATE_WARNING),
    ),
    Fault(
        "the link comes back at another speed",
        cell="igb/msix",
        tests=link("settings_are_negotiated_again"),
        tampered=in_guest(
            """echo '[ -e /tmp/later ] && to=100Mb || to=1000Mb; /real/ethtool "$@" | sed "s/1000Mb/$to/"\n"""
            """case $1 in -a) touch /tmp/later ;; esac' | instead ethtool"""
        ),
    ),
    Fault(
        "a bit flips in every raw frame after the machine has started",
        cell="e1000e/msix",
        tests=link("machine_that_starts_without_a_cable_has_no_link"),
        cable=changes(typed(EXPERIMENT), garble(-1), FROM, TO),
    ),
    Fault(
        "a fixed speed is taken and forgotten",
        cell="e1000e/msix",
        tests=link("fixed_speed_is_read_back"),
        tampered=in_guest(IGNORED_SPEED),
    ),
    Fault(
        "negotiation cannot be had again",
        cell="e1000e/msix",
        tests=link("speed_is_negotiated_again_when_wanted"),
        tampered=in_guest(without("ethtool", "'-s '*on")),
    ),
    Fault(
        "a speed that cannot be is taken without a word",
        cell="e1000e/msix",
        tests=link("impossible_speed_is_refused_and_changes_nothing"),
        tampered=in_guest(IGNORED_SPEED),
        healed=in_guest(REFUSED_SPEED),
    ),
)
