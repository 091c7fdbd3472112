"""What a stack that aggregates makes of the TCP segments that come: which it may merge, and which it must not."""

from collections.abc import Sequence

from harness.endpoint.base import Capture
from harness.endpoint.headers import IPV6_TYPE, transport_of
from harness.traffic.exchange import DEADLINE_S
from harness.traffic.segmentation import END_FLAGS, flags_of, reassembled, sequence_of
from harness.traffic.transmission import data_of

_TCP = 6


def delivered(capture: Capture, octets: int) -> list[bytes]:
    """Return the captured segments with data, once they hold so many octets of one stream, or nothing more comes."""
    count, before = 1, -1
    while True:
        frames = capture.wait(count, DEADLINE_S)
        with_data = [frame for frame in frames if transport_of(frame)[0] == _TCP and data_of(frame)]
        complete = len(reassembled(sorted(with_data, key=sequence_of))) >= octets
        if complete or len(frames) == before:
            return with_data
        count, before = len(frames) + 1, len(frames)


def wrongly_merged(seen: Sequence[bytes], sent: Sequence[bytes]) -> list[str]:
    """Say which of the frames seen are neither one of those sent nor a merger that is permitted.

    Permitted is to join the data of segments that follow one another in one connection, with the same flags and the
    same type of service. Only the last of them may say that its sender has no more for now.
    """
    whole = set(sent)
    by_place = {_place(frame): frame for frame in sent}
    return [wrong for frame in seen if frame not in whole and (wrong := _wrong_in(frame, by_place))]


def _wrong_in(frame: bytes, by_place: dict[tuple[bytes, int], bytes]) -> str:
    ports, sequence = _place(frame)
    joined: list[bytes] = []
    octets = 0
    while octets < len(data_of(frame)) and (found := by_place.get((ports, (sequence + octets) % (1 << 32)))):
        joined.append(found)
        octets += len(data_of(found))
    what = f"{len(data_of(frame))} octets at sequence number {sequence}"
    if b"".join(map(data_of, joined)) != data_of(frame):
        return f"{what} that were not sent there"
    if any(flags_of(one) & END_FLAGS for one in joined[:-1]):
        return f"{what}, across the end of a push"
    if len({flags_of(one) & ~END_FLAGS for one in joined}) > 1:
        return f"{what}, of segments with different flags"
    if {_type_of_service(one) for one in joined} != {_type_of_service(frame)}:
        return f"{what}, of segments with different types of service"
    return ""


def _place(frame: bytes) -> tuple[bytes, int]:
    at = transport_of(frame)[1]
    return frame[at : at + 4], sequence_of(frame)


def _type_of_service(frame: bytes) -> int:
    return (frame[14] & 15) << 4 | frame[15] >> 4 if frame[12:14] == IPV6_TYPE else frame[15]
