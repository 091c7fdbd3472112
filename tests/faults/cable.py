"""Faulty cables: they lose, repeat, swap, cut, pad or garble frames."""

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from itertools import count

from harness.endpoint.cable import Direction, Impairment
from harness.fault import Fault
from harness.station import DUT, WIRE
from harness.traffic.frames import mac_octets

FROM, TO = Direction.FROM_DUT, Direction.TO_DUT
Frames = Callable[[bytes], bool]
Change = Callable[[bytes], Iterable[bytes]]
"""What becomes of a frame: none, one or several."""
MakeImpairment = Callable[[], Impairment]

ARP, IPV4, IPV6, EXPERIMENT = b"\x08\x06", b"\x08\x00", b"\x86\xdd", b"\x88\xb5"


def changes(which: Frames, change: Change, *ways: Direction, every: int = 1) -> MakeImpairment:
    """Change each, or every so manieth, frame for which `which` holds and that goes one of `ways`."""

    def make() -> Impairment:
        numbers = {way: count(1) for way in ways}

        def impair(way: Direction, frame: bytes) -> Iterable[bytes]:
            hit = way in ways and which(frame) and next(numbers[way]) % every == 0
            return change(frame) if hit else (frame,)

        return impair

    return make


def swaps(which: Frames, *ways: Direction, every: int) -> MakeImpairment:
    """Let the frame that follows overtake every so manieth."""

    def make() -> Impairment:
        held: dict[Direction, bytes] = {}
        numbers = {way: count(1) for way in ways}

        def impair(way: Direction, frame: bytes) -> Iterable[bytes]:
            if way not in ways or not which(frame):
                return (frame,)
            if way in held:
                return (frame, held.pop(way))
            if next(numbers[way]) % every == 0:
                held[way] = frame
                return ()
            return (frame,)

        return impair

    return make


def typed(*types: bytes) -> Frames:
    return lambda frame: frame[12:14] in types


def longer_than(octets: int) -> Frames:
    return lambda frame: len(frame) > octets


def neighbour_advertisement(frame: bytes) -> bool:
    return frame[12:14] == IPV6 and frame[20] == 58 and frame[54] == 136


def echo_request(frame: bytes) -> bool:
    return (frame[12:14] == IPV4 and frame[23] == 1 and frame[34] == 8) or (
        frame[12:14] == IPV6 and frame[20] == 58 and frame[54] == 128
    )


def unreachable(frame: bytes) -> bool:
    return (frame[12:14] == IPV4 and frame[23] == 1 and frame[34] == 3) or (
        frame[12:14] == IPV6 and frame[20] == 58 and frame[54] == 1
    )


def datagram(frame: bytes) -> bool:
    return (frame[12:14] == IPV4 and frame[23] == 17) or (frame[12:14] == IPV6 and frame[20] == 17)


def is_of_a_flood(frame: bytes) -> bool:
    """Whether it asks for the DUT's address as floods do: the DUT itself, and from the wire's own address."""
    seen = (frame[:6], frame[12:14], frame[20:22], frame[28:32])
    return seen == (mac_octets(DUT.mac), ARP, b"\0\1", ip_address(WIRE.ip).packed)


def is_short(frame: bytes) -> bool:
    return len(frame) < 60


def is_shortest(frame: bytes) -> bool:
    return len(frame) == 60 and b"the last one" not in frame


def lose(frame: bytes) -> Iterable[bytes]:
    return ()


def repeat(frame: bytes) -> Iterable[bytes]:
    return (frame, frame)


def cut_last(frame: bytes) -> Iterable[bytes]:
    return (frame[:-1],)


def cut_zeros(frame: bytes) -> Iterable[bytes]:
    return (frame.rstrip(b"\0"),)


def pad(frame: bytes) -> Iterable[bytes]:
    return (frame.ljust(60, b"\0"),)


def garble(octet: int) -> Change:
    """Flip a bit of an octet, counted from the end if negative."""

    def change(frame: bytes) -> Iterable[bytes]:
        octets = bytearray(frame)
        octets[octet] ^= 0x10
        return (bytes(octets),)

    return change


def exchange_words(frame: bytes) -> Iterable[bytes]:
    """Exchange two 16-bit words of the payload: no checksum can tell."""
    return (frame[:100] + frame[102:104] + frame[100:102] + frame[104:],)


def zero_checksum(frame: bytes) -> Iterable[bytes]:
    """Let a UDP checksum of ffff be zero."""
    at = 40 if frame[12:14] == IPV4 else 60
    return (frame[:at] + b"\0\0" + frame[at + 2 :] if frame[at : at + 2] == b"\xff\xff" else frame,)


def traffic(*names: str) -> tuple[str, ...]:
    return tuple(f"test_traffic.py::test_{name}" for name in names)


def is_fragment(frame: bytes) -> bool:
    return (frame[12:14] == IPV4 and frame[20:22] not in (b"\0\0", b"\x40\0")) or (
        frame[12:14] == IPV6 and frame[20] == 44
    )


FAULTS = (
    Fault(
        "every third fragment to the DUT is lost",
        cell="igb/msix",
        tests=traffic("request_in_fragments_is_answered_whole"),
        cable=changes(is_fragment, lose, TO, every=3),
    ),
    Fault(
        "every ninth frame to the DUT is lost",
        cell="e1000/intx",
        tests=(
            "test_interrupts.py::test_received_frames_interrupt",
            "test_interrupts.py::test_shared_line_serves_two_devices_at_once",
        ),
        cable=changes(longer_than(0), lose, TO, every=9),
    ),
    Fault(
        "every 1000th frame is lost",
        cell="e1000e/msix",
        tests=traffic(
            "more_requests_than_the_ring_holds_are_answered",
            "burst_longer_than_the_ring_is_received",
            "burst_longer_than_the_ring_leaves",
        ),
        cable=changes(typed(ARP, EXPERIMENT), lose, FROM, TO, every=1000),
    ),
    Fault(
        "a bit flips in every 50th frame",
        cell="igb/msix",
        tests=traffic("burst_longer_than_a_queues_ring_does_no_harm"),
        cable=changes(typed(EXPERIMENT), garble(40), TO, every=50),
    ),
    Fault(
        "every 100th frame comes twice",
        cell="e1000e/msix",
        tests=traffic("both_directions_at_once"),
        cable=changes(typed(EXPERIMENT), repeat, FROM, TO, every=100),
    ),
    Fault(
        "every 300th frame is overtaken",
        cell="e1000e/msix",
        tests=traffic("order_is_kept"),
        cable=swaps(typed(EXPERIMENT), FROM, TO, every=300),
    ),
    Fault(
        "a bit flips in every 300th echo reply",
        cell="e1000e/msix",
        tests=traffic("echo_of_every_length_is_answered"),
        cable=changes(typed(IPV4, IPV6), garble(-1), FROM, every=300),
    ),
    Fault(
        "frames of 1000 octets and more lose their last",
        cell="e1000e/msix",
        tests=traffic("frame_of_every_length_crosses"),
        cable=changes(longer_than(999), cut_last, FROM, TO),
    ),
    Fault(
        "a bit flips in every seventh full frame from the DUT",
        cell="e1000e/msix",
        tests=traffic("extreme_payload_is_echoed"),
        cable=changes(longer_than(1513), garble(700), FROM, every=7),
    ),
    Fault(
        "a bit flips in every frame",
        cell="e1000e/msix",
        tests=traffic("raw_ethertype_crosses", "length_frame_crosses"),
        cable=changes(longer_than(0), garble(-1), FROM, TO),
    ),
    Fault(
        "ARP from the DUT names another MAC address",
        cell="e1000e/msix",
        tests=traffic("arp_request_is_answered_with_the_duts_addresses"),
        cable=changes(typed(ARP), garble(27), FROM),
    ),
    Fault(
        "neighbour advertisements name another MAC address",
        cell="e1000e/msix",
        tests=traffic("neighbour_solicitation_is_answered_with_the_duts_address"),
        cable=changes(neighbour_advertisement, garble(85), FROM),
    ),
    Fault(
        "what a refusal quotes is garbled",
        cell="e1000e/msix",
        tests=traffic("datagram_to_closed_port_is_refused"),
        cable=changes(unreachable, garble(150), FROM),
    ),
    Fault(
        "echo requests are sent with a wrong checksum",
        cell="e1000e/msix",
        tests=traffic("guest_pings_the_wire"),
        cable=changes(echo_request, garble(-1), FROM),
    ),
    Fault(
        "words of what comes to the guest change places, which no checksum can tell",
        cell="e1000e/msix",
        tests=traffic("guest_answers_over_its_stack"),
        cable=changes(longer_than(104), exchange_words, TO),
    ),
    Fault(
        "words of what comes from the guest change places, which no checksum can tell",
        cell="e1000e/msix",
        tests=traffic("guest_asks_over_its_stack"),
        cable=changes(longer_than(104), exchange_words, FROM),
    ),
    Fault(
        "datagrams are sent with a wrong checksum",
        cell="e1000e/msix",
        tests=traffic("guest_answers_over_its_stack[IPv4-udp]", "guest_asks_over_its_stack[IPv6-udp]"),
        cable=changes(datagram, garble(-1), FROM),
    ),
    Fault(
        "padding is not zero",
        cell="e1000/intx",
        tests=traffic(
            "nothing_but_zeros_follows_a_short_frame",
            "nothing_but_zeros_follows_an_arp_reply",
            "short_frame_is_padded_to_the_shortest_length",
            "arp_reply_is_padded_with_zeros",
        ),
        cable=changes(is_shortest, garble(-1), FROM),
    ),
    Fault(
        "short frames are not padded",
        cell="e1000/intx",
        tests=traffic("short_frame_is_padded_to_the_shortest_length", "arp_reply_is_padded_with_zeros"),
        cable=changes(is_shortest, cut_zeros, FROM),
    ),
    Fault(
        "runts are padded on their way",
        cell="e1000e/msix",
        tests=traffic("runts_are_not_delivered", "runt_is_not_answered"),
        cable=changes(is_short, pad, TO),
        mended=changes(is_short, lose, TO),
    ),
)
