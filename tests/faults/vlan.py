"""VLANs whose tags are lost, added or altered, and filters that let in every one of them."""

from collections.abc import Iterable

from harness.endpoint.vlan import outermost_vid
from harness.fault import Fault
from tests.faults.cable import FROM, TO, changes, garble, lose
from tests.faults.guest import in_guest


def vlan(*names: str) -> tuple[str, ...]:
    return tuple(f"test_vlan.py::test_{name}" for name in names)


def has_tag(frame: bytes) -> bool:
    return outermost_vid(frame) is not None


def has_priority_tag(frame: bytes) -> bool:
    return outermost_vid(frame) == 0


def is_long_with_tag(frame: bytes) -> bool:
    return has_tag(frame) and len(frame) > 1000


def repeat_untagged(frame: bytes) -> Iterable[bytes]:
    return (frame, frame[:12] + frame[16:])


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
        tests=vlan("tag_is_inserted_into_what_a_vlan_sends", "tag_is_kept_bit_for_bit", "double_tags_cross"),
        cable=changes(has_tag, garble(14), FROM, TO),
    ),
    Fault(
        "long frames with a tag leave once more without it",
        cell="e1000e/msix",
        tests=vlan("stream_in_a_vlan_is_cut_into_tagged_frames"),
        cable=changes(is_long_with_tag, repeat_untagged, FROM),
    ),
    Fault(
        "the filters let every VLAN in",
        cell="e1000/intx",
        tests=vlan(
            "only_the_duts_vlan_is_delivered",
            "each_of_the_duts_vlans_is_delivered",
            "vlan_is_dropped_after_it_was_left",
            "vlan_survives",
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
