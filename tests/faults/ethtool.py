"""Drivers that do not do, or do not tell, what ethtool is asked for."""

from collections.abc import Iterable

from harness.fault import Fault
from harness.traffic.frames import BACKGROUND, with_fcs
from tests.faults.cable import EXPERIMENT, FROM, IPV4, TO, changes, garble, typed
from tests.faults.guest import in_guest, rewritten, without


def queues(*names: str) -> tuple[str, ...]:
    return tuple(f"test_queues.py::test_{name}" for name in names)


def settings(*names: str) -> tuple[str, ...]:
    return tuple(f"test_settings.py::test_{name}" for name in names)


def selftest(*names: str) -> tuple[str, ...]:
    return tuple(f"test_selftest.py::test_{name}" for name in names)


def edited(option: str, sed: str) -> str:
    """Return a script after which sed changes what ethtool shows with an option."""
    return rewritten("ethtool", f"{option}*", sed)


def followed_by(option: str, command: str) -> str:
    """Return a script after which ethtool runs a command when it has done what it is asked with an option."""
    return f"""echo '/real/ethtool "$@"; at=$?; case $1 in {option}) {command} ;; esac; exit $at' | instead ethtool"""


KEY_BY_REGISTER = """
cat >/tmp/key.py <<END
import os, sys
nic, _, key = sys.argv[1:4]
octets = bytes.fromhex(key.replace(":", ""))
if len(octets) != 40:
    sys.exit("the key has another length")
ports = os.open("/sys/class/net/" + nic + "/device/resource2", os.O_RDWR)
for at in range(0, 40, 4):
    os.pwrite(ports, (0x5C80 + at).to_bytes(4, "little"), 0)
    os.pwrite(ports, octets[at : at + 4], 4)
END
echo 'case $1 in -X) shift; exec python3 /tmp/key.py "$@" ;; *) exec /real/ethtool "$@" ;; esac' | instead ethtool
"""
"""Sets the key in the registers RSSRK, by IOADDR and IODATA (82576 8.2): no kernel's igb takes one."""

NO_TFCE = """
cat >/tmp/control.py <<END
import os, sys
ports = os.open("/sys/class/net/" + sys.argv[1] + "/device/resource2", os.O_RDWR)
os.pwrite(ports, bytes(4), 0)
control = int.from_bytes(os.pread(ports, 4, 4), "little")
os.pwrite(ports, (control & ~(1 << 28)).to_bytes(4, "little"), 4)
END
""" + followed_by("-A", "python3 /tmp/control.py $2")
"""Clears CTRL.TFCE whenever pause was set, by IOADDR and IODATA."""


def same_flow(frame: bytes) -> Iterable[bytes]:
    """Give every packet the same addresses and ports."""
    if frame[12:14] == IPV4:
        return (frame[:26] + bytes([192, 0, 2, 8, 192, 0, 2, 9, 0, 9, 0, 9]) + frame[38:],)
    return (frame[:22] + bytes(15) + b"\1" + bytes(15) + b"\2" + b"\0\t\0\t" + frame[58:],)


def of_many_flows(frame: bytes) -> bool:
    return b"one of many flows" in frame and frame[12:14] != EXPERIMENT


FAULTS = (
    Fault(
        "a driver tells rings that it does not have",
        cell="e1000e/msix",
        tests=queues("rings_in_use_are_offered_and_are_the_devices"),
        tampered=in_guest(edited("-g", "s/256/128/")),
    ),
    Fault(
        "rings stay as they are",
        cell="e1000e/msix",
        tests=queues(
            "rings_are_as_long_as_asked",
            "length_of_a_ring_is_rounded_up_to_a_multiple",
            "ring_beyond_the_limit_is_refused_and_changes_nothing",
            "frames_cross_with_the_longest_rings",
            "rings_and_table_survive",
        ),
        tampered=in_guest(without("ethtool", "-G*")),
    ),
    Fault(
        "a bit flips in every 50th frame of an experiment",
        cell="e1000e/msix",
        tests=queues(
            "frames_cross_with_the_shortest_rings",
            "frames_cross_with_the_longest_rings",
            "resizing_under_load_alters_no_frame",
        ),
        cable=changes(typed(EXPERIMENT), garble(40), FROM, TO, every=50),
    ),
    Fault(
        "the driver uses one channel",
        cell="igb/msix",
        tests=queues("channels_in_use_are_offered"),
        tampered=in_guest("ethtool -L $nic combined 1"),
    ),
    Fault(
        "the number of channels stays as it is",
        cell="igb/msix",
        tests=queues("vectors_and_queues_follow_the_number_of_channels", "impossible_number_of_channels_is_refused"),
        tampered=in_guest(without("ethtool", "-L*")),
    ),
    Fault(
        "all flows become one on the cable",
        cell="igb/msix",
        tests=queues(
            "vectors_and_queues_follow_the_number_of_channels[most]",
            "flows_are_spread_by_their_hash",
            "ports_of_datagrams_are_hashed_when_asked",
            "fragments_are_hashed_by_their_addresses",
            "indirection_table_is_obeyed[three-to-one]",
        ),
        cable=changes(of_many_flows, same_flow, TO),
    ),
    Fault(
        "indirection table and hash fields stay as they are",
        cell="igb/msix",
        tests=queues(
            "ports_of_datagrams_are_hashed_when_asked",
            "indirection_table_is_obeyed",
            "frames_without_a_hash_go_to_the_default_queue",
            "table_with_a_queue_that_is_not_there_is_refused",
            "rings_and_table_survive",
        ),
        tampered=in_guest(without("ethtool", "-X*|-N*")),
    ),
    Fault(
        "no flow goes to the queues that were added",
        cell="igb/msix",
        tests=queues(
            "vectors_and_queues_follow_the_number_of_channels[three]",
            "vectors_and_queues_follow_the_number_of_channels[most]",
        ),
        tampered=in_guest(followed_by("-L", "/real/ethtool -X $2 weight 1 1")),
    ),
    Fault(
        "a bit flips in every 50th frame of the load",
        cell="igb/msix",
        tests=queues("resizing_under_load_alters_no_frame", "changing_channels_under_load_alters_no_frame"),
        cable=changes(typed(BACKGROUND.to_bytes(2, "big")), garble(40), FROM, TO, every=50),
    ),
    Fault(
        "rules for flows are refused though they are offered",
        cell="igb/msix",
        tests=queues("flow_leaves_its_hash_for_a_rule_that_is_taken_alone"),
        tampered=in_guest(edited("-k", "s/\\(ntuple-filters: off\\) .*/\\1/")),
    ),
    Fault(
        "rules for flows are taken and forgotten",
        cell="igb/msix",
        tests=queues("flow_leaves_its_hash_for_a_rule_that_is_taken_alone"),
        tampered=in_guest(
            """echo 'case $1 in
            -N) echo "Added rule with ID 15" ;;
            -k) /real/ethtool "$@" | sed "s/ntuple-filters: off.*/ntuple-filters: on/" ;;
            *) exec /real/ethtool "$@" ;;
            esac' | instead ethtool"""
        ),
    ),
    Fault(
        "the hash key stays as it is",
        cell="igb/msix",
        tests=queues("hash_key_is_obeyed", "hash_key_of_wrong_length_is_refused"),
        tampered=in_guest(without("ethtool", "-X*")),
        healed=in_guest(KEY_BY_REGISTER),
    ),
    Fault(
        "settings stay as they are",
        cell="e1000e/msix",
        tests=settings(
            "each_setting_is_taken_alone",
            "setting_that_is_not_offered_is_refused_and_changes_nothing",
            "interval_out_of_range_is_refused_and_changes_nothing",
            "unknown_flag_is_refused_and_changes_nothing",
            "interval_is_the_devices",
            "pause_is_the_devices",
            "settings_survive",
        ),
        tampered=in_guest(without("ethtool", "-C*|-s*|--set-priv-flags*|-A*|-K*")),
    ),
    Fault(
        "the message level is forgotten when the interface goes down",
        cell="igb/msix",
        tests=settings("settings_survive[down-and-up]"),
        tampered=in_guest(
            """echo '/real/ip "$@"; case $* in *down) ethtool -s '$nic' msglvl 7 ;; esac' | instead ip"""
        ),
    ),
    Fault(
        "another setting changes along with those of a kind",
        cell="igb/msix",
        tests=settings("each_setting_is_taken_alone"),
        tampered=in_guest(
            """echo '/real/ethtool "$@" || exit; case $1 in
            -s) /real/ethtool -C '$nic' rx-usecs 50 ;;
            -C|-A|-K|--set-priv-flags) /real/ethtool -s '$nic' msglvl 3 ;;
            esac' | instead ethtool"""
        ),
    ),
    Fault(
        "the transmit queues' interval stays as it is",
        cell="igb/msix",
        tests=settings("transmit_interval_is_the_devices[10]", "transmit_interval_is_the_devices[100]"),
        tampered=in_guest(without("ethtool", "-C*tx-usecs*")),
    ),
    Fault(
        "the driver refuses its own flag",
        cell="igb/msix",
        tests=settings("each_setting_is_taken_alone[private-flags]"),
        tampered=in_guest(
            """echo 'case $1 in --set*) echo >&2 "netlink error: Invalid argument"; exit 75 ;;
            *) exec /real/ethtool "$@" ;; esac' | instead ethtool"""
        ),
    ),
    Fault(
        "the MAC is not told to send pause frames",
        cell="igb/msix",
        tests=settings("pause_is_the_devices[transmit-only]", "pause_is_the_devices[both]"),
        tampered=in_guest(NO_TFCE),
    ),
    Fault(
        "what is offered of pause stays as it is",
        cell="e1000/intx",
        tests=settings("pause_is_negotiated_as_asked[neither]"),
        tampered=in_guest(without("ethtool", "-A*")),
    ),
    Fault(
        "frames come with zeros for their FCS, as from QEMU's e1000",
        cell="e1000/intx",
        tests=settings("frames_come_with_their_fcs_when_asked"),
        mended=changes(typed(EXPERIMENT), lambda frame: (with_fcs(frame),), TO),
        healed=in_guest(edited("-k", "s/rx-fcs: off/rx-fcs: on/")),
    ),
    Fault(
        "the interval between interrupts is no default",
        cell="e1000e/msix",
        tests=settings("settings_have_their_documented_defaults"),
        tampered=in_guest("ethtool -C $nic rx-usecs 50"),
    ),
    Fault(
        "the driver is loaded again with a parameter",
        cell="igb/msix",
        tests=settings("settings_are_at_their_defaults_after_a_reload"),
        tampered=in_guest("mkdir -p /etc/modprobe.d; echo options igb debug=16 >/etc/modprobe.d/debug.conf"),
    ),
    Fault(
        "the self test fails",
        cell="igb/msix",
        tests=selftest("online_self_test_passes", "offline_self_test_passes"),
        tampered=in_guest(edited("-t", "s/PASS/FAIL/; s/0$/9/")),
    ),
    Fault(
        "the self test passes and names nothing that it has tested",
        cell="igb/msix",
        tests=selftest("online_self_test_passes", "offline_self_test_passes"),
        tampered=in_guest(edited("-t", "/line)/d")),
    ),
    Fault(
        "the light stays as it is",
        cell="igb/msix",
        tests=selftest("light_blinks_as_long_as_it_is_asked_to"),
        tampered=in_guest(without("ethtool", "-p*")),
    ),
    Fault(
        "the self test leaves a shorter ring behind",
        cell="igb/msix",
        tests=selftest("offline_self_test_leaves_the_nic_as_it_was"),
        tampered=in_guest(followed_by("-t", "/real/ethtool -G $2 rx 128")),
    ),
    Fault(
        "the EEPROM reads as another",
        cell="igb/msix",
        tests=selftest("eeprom_holds_the_mac_address", "eeprom_sums_to_baba"),
        tampered=in_guest(edited("-e", "s/52 54 00/52 54 01/")),
    ),
    Fault(
        "the register dump shows other lengths",
        cell="igb/msix",
        tests=selftest("register_dump_is_the_devices"),
        tampered=in_guest(edited("-d", "s/0x00001000/0x00002000/")),
    ),
    Fault(
        "the register dump is an old one",
        cell="igb/msix",
        tests=selftest("register_dump_follows_a_change"),
        tampered=in_guest(
            "ethtool -d $nic >/run/dump\n"
            """echo 'case $1 in -d) cat /run/dump ;; *) exec /real/ethtool "$@" ;; esac' | instead ethtool"""
        ),
    ),
    Fault(
        "the interface has lost its addresses when its light has blinked",
        cell="igb/msix",
        tests=selftest("light_blinks_and_is_given_back"),
        tampered=in_guest(followed_by("-p", "ip address flush dev $2")),
    ),
    Fault(
        "nothing can wake the system",
        cell="igb/msix",
        tests=selftest("wake_events_offered_are_the_devices"),
        tampered=in_guest(edited("eth*", "s/pumbg/d/")),
    ),
    Fault(
        "what may wake the system stays as it is",
        cell="igb/msix",
        tests=selftest("wake_events_read_back_and_survive", "wake_event_that_is_not_offered_is_refused"),
        tampered=in_guest(without("ethtool", "-s*")),
    ),
    Fault(
        "the driver says that it has private flags and no EEPROM",
        cell="e1000/intx",
        tests=selftest("driver_does_what_it_says_it_can"),
        tampered=in_guest(edited("-i", "s/\\(eeprom-access: \\).*/\\1no/; s/\\(priv-flags: \\).*/\\1yes/")),
    ),
    Fault(
        "the driver says that it has no self test",
        cell="igb/msix",
        tests=selftest("online_self_test_passes"),
        tampered=in_guest(edited("-i", "s/supports-test: yes/supports-test: no/")),
    ),
    Fault(
        "the driver tells another place and another version",
        cell="igb/msix",
        tests=selftest("driver_tells_its_name_and_place", "driver_tells_the_version_of_the_eeproms_image"),
        tampered=in_guest(edited("-i", "s/0000:01/0000:09/; s/2[.]1/3.5/")),
    ),
)
