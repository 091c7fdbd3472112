"""Large sends cut by hand, segments put together, mergers judged, and headers found behind options and extensions."""

import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, PadN
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import checksum

from harness.endpoint.checksum import checksum_states, is_open, open_checksum, with_open_checksum, wrong_checksums
from harness.endpoint.headers import transport_of, unpadded
from harness.traffic.aggregation import wrongly_merged
from harness.traffic.damage import damaged, damaged_header
from harness.traffic.handing import Sent
from harness.traffic.segmentation import cut, reassembled, wrongly_cut
from harness.traffic.transmission import data_of

ETHER = Ether(src="52:54:00:00:00:01", dst="52:54:00:00:00:02")
V4, V6 = IP(src="192.0.2.2", dst="192.0.2.1", id=0xFFFF), IPv6(src="fe80::2", dst="fe80::1")
DATA = bytes(range(256)) * 5


def segment(network: Packet, at: int = 0, data: bytes = DATA, flags: str = "A", sport: int = 7) -> bytes:
    return bytes(ETHER / network / TCP(sport=sport, dport=8, seq=1000 + at, flags=flags) / data)


@pytest.mark.parametrize("network", [V4, V6], ids=["IPv4", "IPv6"])
def test_large_send_is_cut_into_sound_segments(network: Packet) -> None:
    parts = cut(segment(network, flags="FPAEC"), 500)
    assert [len(data_of(part)) for part in parts] == [500, 500, 280]
    assert [str(Ether(part)[TCP].flags) for part in parts] == ["AEC", "AE", "FPAE"]
    assert [Ether(part)[TCP].seq for part in parts] == [1000, 1500, 2000]
    assert [one for part in parts for one in wrong_checksums(part)] == []
    assert reassembled(parts) == DATA
    if network is V4:
        assert [Ether(part)[IP].id for part in parts] == [0xFFFF, 0, 1]


def test_udp_payload_is_cut_into_sound_datagrams() -> None:
    parts = cut(bytes(ETHER / V6 / UDP(sport=7, dport=8) / DATA), 1000)
    assert [(data_of(part), Ether(part)[UDP].len) for part in parts] == [(DATA[:1000], 1008), (DATA[1000:], 288)]
    assert [one for part in parts for one in wrong_checksums(part)] == []


@pytest.mark.parametrize("data", [b"", DATA[:500]], ids=["FIN alone", "one segment"])
def test_what_needs_no_cutting_stays_as_it_is(data: bytes) -> None:
    whole = segment(V4, data=data, flags="FPA")
    assert cut(whole, 500) == [whole]


def test_stream_ends_at_a_gap_and_takes_what_comes_twice_once() -> None:
    pieces = [segment(V4, at, DATA[at : at + 100]) for at in (0, 100, 0, 200, 400)]
    assert reassembled(pieces) == DATA[:300]


def test_headers_are_found_behind_options_and_extensions() -> None:
    options = IP(src=V4.src, dst=V4.dst, options=[IPOption_NOP()] * 8)
    extensions = V6 / IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]) / IPv6ExtHdrDestOpt()
    for network, at in ((options, 14 + 28), (extensions, 14 + 40 + 16)):
        frame = bytes(ETHER / network / UDP(sport=7, dport=8) / b"odd")
        assert transport_of(frame + bytes(9)) == (17, at)
        assert unpadded(frame + bytes(9)) == frame
        assert wrong_checksums(frame + bytes(9)) == []
        assert all(wrong_checksums(bad) for bad in damaged(frame))
    assert all(wrong_checksums(bad) for bad in damaged_header(bytes(ETHER / options / UDP() / b"odd")))


@pytest.mark.parametrize("network", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("transport", [TCP(sport=7, dport=8), UDP(sport=7, dport=8)], ids=["TCP", "UDP"])
def test_open_checksum_is_what_the_rest_of_the_sum_completes(network: Packet, transport: Packet) -> None:
    sound = bytes(ETHER / network / transport / b"odd")
    left_open = with_open_checksum(sound + bytes(9))
    assert (is_open(left_open), is_open(sound)) == (True, False)
    _, at = transport_of(left_open)
    blank = Ether(sound)
    blank[type(transport)].chksum = checksum(left_open[at : len(sound)])
    assert bytes(blank) == sound
    assert (checksum_states([left_open]), checksum_states([sound])) == ({"left open"}, {"right"})


@pytest.mark.parametrize("network", [V4, V6], ids=["IPv4", "IPv6"])
def test_right_checksum_that_looks_open_is_right(network: Packet) -> None:
    blank = ETHER / network / TCP(sport=7, dport=8) / bytes(2)
    finished = Ether(bytes(blank))[TCP].chksum
    word = (finished - int.from_bytes(open_checksum(bytes(blank)), "big")) % 0xFFFF
    frame = bytes(ETHER / network / TCP(sport=7, dport=8) / word.to_bytes(2, "big"))
    assert is_open(frame)
    assert checksum_states([frame]) == {"right"}


def test_either_zero_is_a_tcp_checksum_but_no_other_octet_may_differ() -> None:
    word = Ether(bytes(ETHER / V4 / TCP(sport=7, dport=8) / bytes(2)))[TCP].chksum
    handed = bytes(ETHER / V4 / TCP(sport=7, dport=8) / word.to_bytes(2, "big"))
    assert handed[50:52] == bytes(2)
    zero, other = (
        Sent((handed,), (False,), (handed[:50] + field + handed[52:],)) for field in (b"\xff\xff", b"\xff\xfe")
    )
    assert wrongly_cut(zero, 500) == ""
    assert "octet 50" in wrongly_cut(other, 500)


PIECES = [segment(V4, at, DATA[at : at + 100]) for at in range(0, 400, 100)]


def test_segments_of_one_kind_may_be_merged() -> None:
    assert wrongly_merged([segment(V4, 0, DATA[:300]), PIECES[3]], PIECES) == []
    pushed = [*PIECES[:2], segment(V4, 200, DATA[200:300], flags="PA")]
    assert wrongly_merged([segment(V4, 0, DATA[:300], flags="PA")], pushed) == []


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (segment(V4, 100, DATA[100:200], flags="EA"), "different flags"),
        (segment(IP(src=V4.src, dst=V4.dst, tos=3), 100, DATA[100:200]), "different types of service"),
        (segment(V4, 100, DATA[:100]), "not sent there"),
        (segment(V4, 100, DATA[100:200], sport=9), "not sent there"),
    ],
)
def test_segments_that_differ_may_not_be_merged(second: bytes, reason: str) -> None:
    (wrong,) = wrongly_merged([segment(V4, 0, DATA[:200])], [PIECES[0], second])
    assert reason in wrong


def test_nothing_may_be_merged_behind_a_push() -> None:
    pushed = segment(V4, 0, DATA[:100], flags="PA")
    (wrong,) = wrongly_merged([segment(V4, 0, DATA[:200], flags="PA")], [pushed, PIECES[1]])
    assert "push" in wrong
