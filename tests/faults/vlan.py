"""VLANs whose tags are lost, added or altered, and filters that let in every one of them."""

from collections.abc import Iterable

from harness.endpoint.vlan import outermost_vid, untagged
from harness.fault import Fault
from tests.faults.cable import FROM, TO, changes, echo_request, exchange_words, garble, lose
from tests.faults.checksum import CHECKSUMS_LEFT, repair
from tests.faults.guest import in_guest
from tests.faults.segmentation import SEGMENTATION_LEFT

OFF_FOR_GOOD = """echo 'case $* in
*-K*" on") touch /tmp/on ;;
*-K*" off") rm -f /tmp/on; exec /real/ethtool "$@" ;;
*) /real/ethtool "$@" |
    if test -e /tmp/on; then sed "/checksumming/s/: off/: on/; /segmentation/s/: off/: on/"; else cat; fi ;;
esac' | instead ethtool"""
WITHOUT_PRIORITY = """echo 'exec /real/ip $(echo "$*" | sed "s/egress-qos-map [^ ]*//")' | instead ip"""


def vlan(*names: str) -> tuple[str, ...]:
    return tuple(f"test_vlan.py::test_{name}" for name in names)


def has_tag(frame: bytes) -> bool:
    return outermost_vid(frame) is not None


def has_priority_tag(frame: bytes) -> bool:
    return outermost_vid(frame) == 0


def is_long_with_tag(frame: bytes) -> bool:
    return has_tag(frame) and len(frame) > 1000


def is_data_with_tag(frame: bytes) -> bool:
    return has_tag(frame) and len(frame) > 200


def repeat_untagged(frame: bytes) -> Iterable[bytes]:
    return (frame, frame[:12] + frame[16:])


def is_tagged_echo(frame: bytes) -> bool:
    return has_tag(frame) and echo_request(untagged(frame))


def untag(frame: bytes) -> Iterable[bytes]:
    return (frame[:12] + frame[16:],)


FAULTS = (
    Fault(
        "a bit flips in every frame with a tag",
        cell="e1000e/msix",
        tests=vlan(
            "tag_is_inserted_into_what_a_vlan_sends",
            "tag_is_stripped_from_what_a_vlan_receives",
            "vlans_are_apart",
            "vid_is_kept_bit_for_bit",
            "vlan_survives",
            "checksums_are_right_in_a_vlan",
            "full_tagged_frame_crosses",
            "double_tags_cross",
            "service_vlan_carries_customer_tags",
        ),
        cable=changes(has_tag, garble(-1), FROM, TO),
    ),
    Fault(
        "the drop eligible indicator of every tag is turned over",
        cell="e1000e/msix",
        tests=vlan(
            "tag_is_inserted_into_what_a_vlan_sends",
            "priority_and_drop_eligible_indicator_are_kept",
            "double_tags_cross",
        ),
        cable=changes(has_tag, garble(14), FROM, TO),
    ),
    Fault(
        "what is sent in a VLAN has no priority",
        cell="igb/msix",
        tests=vlan("tag_is_inserted_into_what_a_vlan_sends"),
        tampered=in_guest(WITHOUT_PRIORITY),
    ),
    Fault(
        "long frames with a tag leave once more without it",
        cell="e1000e/msix",
        tests=vlan("stream_in_a_vlan_is_cut_into_tagged_frames"),
        cable=changes(is_long_with_tag, repeat_untagged, FROM),
    ),
    Fault(
        "words of what a VLAN sends change places",
        cell="e1000e/msix",
        tests=vlan(
            "checksum_in_a_vlan_is_computed_by_whom_it_is_left_to[on-again-tags-by-nic]",
            "large_send_in_a_vlan_is_cut_by_whom_it_is_left_to[IPv4-off-tags-by-driver]",
        ),
        cable=changes(is_data_with_tag, exchange_words, FROM),
    ),
    Fault(
        "an offload that was switched off stays so though the guest says otherwise",
        cell="e1000e/msix",
        tests=vlan(
            "checksum_in_a_vlan_is_computed_by_whom_it_is_left_to[on-again-tags-by-nic]",
            "large_send_in_a_vlan_is_cut_by_whom_it_is_left_to[IPv6-on-again-tags-by-nic]",
        ),
        tampered=in_guest(OFF_FOR_GOOD),
    ),
    Fault(
        "checksums of what arrives with a tag are repaired unasked",
        cell="igb/msix",
        tests=vlan("damaged_packet_in_a_vlan_is_not_delivered"),
        cable=changes(has_tag, repair, TO),
    ),
    Fault(
        "ICMPv6 in a VLAN leaves with a wrong checksum",
        cell="e1000e/msix",
        tests=vlan("checksum_in_a_vlan_is_computed_by_whom_it_is_left_to[off-tags-by-driver]"),
        cable=changes(is_tagged_echo, garble(60), FROM),
    ),
    Fault(
        "checksums in a VLAN are left to the NIC though the guest says that they are not",
        cell="e1000e/msix",
        tests=vlan("checksum_in_a_vlan_is_computed_by_whom_it_is_left_to[off-tags-by-nic]"),
        tampered=in_guest(CHECKSUMS_LEFT),
    ),
    Fault(
        "segmentation in a VLAN is left to the NIC though the guest says that it is not",
        cell="igb/msix",
        tests=vlan("large_send_in_a_vlan_is_cut_by_whom_it_is_left_to[IPv4-off-tags-by-driver]"),
        tampered=in_guest(SEGMENTATION_LEFT),
    ),
    Fault(
        "the filters let every VLAN in",
        cell="e1000/intx",
        tests=vlan(
            "only_the_duts_vlan_is_delivered",
            "each_of_the_duts_vlans_is_delivered",
            "vlan_is_dropped_after_it_was_left",
            "vlan_filter_survives",
        ),
        tampered=in_guest("ip link set $nic promisc on"),
    ),
    Fault(
        "the tag of every frame to the DUT is lost",
        cell="e1000e/msix",
        tests=vlan("request_in_a_foreign_vlan_is_not_answered", "station_in_a_vlan_answers_there_alone"),
        cable=changes(has_tag, untag, TO),
    ),
    Fault(
        "frames with a priority tag are lost",
        cell="e1000e/msix",
        tests=vlan("priority_tagged_request_is_answered", "priority_tagged_request_is_answered_beside_a_vlan"),
        cable=changes(has_priority_tag, lose, TO),
    ),
)
