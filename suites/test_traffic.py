"""Traffic: every frame crosses the NIC both ways, whole, once, in order, and only frames that are frames.

Asserted exactly, without tolerance: a cable that loses nothing and two ends that count every frame leave the NIC and
its driver as the only place where one can be lost, altered, repeated or overtaken. IEEE 802.3 permits a MAC to lose
frames on a noisy medium; this one has no noise. Comparisons are octet for octet; only what the sender of a reply is
free to choose (time to live, identification) is left out. No test measures time: deadlines only end the wait for what
is lost.

What the guest's own stack answers (ARP, ICMP, refusals) needs nobody inside the guest; raw frames and sockets do.
"""

import threading

import pytest
from scapy.layers.inet import ICMP, TCP, UDP, UDPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether

from harness.cell import Cell
from harness.endpoint.base import SHORTEST_FRAME, padded
from harness.endpoint.cable import Direction
from harness.endpoint.checksum import wrong_checksums
from harness.endpoint.stack import Stack
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.station import BROADCAST_MAC, DUT, WIRE, solicited_node
from harness.suite import applies_to, requirement
from harness.traffic.exchange import (
    DEADLINE_S,
    IN_RING,
    carry,
    exchange_arp,
    exchange_echoes,
    exchange_every_echo,
    make_known,
    send_in_step,
)
from harness.traffic.fragments import fragments
from harness.traffic.frames import (
    HEADER,
    IPV4,
    IPV6,
    LENGTHS,
    LOCAL_EXPERIMENT,
    LONGEST_FRAME,
    Family,
    blanked,
    difference,
    echo_frame,
    frame,
    random_payloads,
)

PATTERNS = {
    "zeros": b"\x00",
    "ones": b"\xff",
    "alternating": b"\x55\xaa",
    "preamble": b"\x55\x55\x55\x55\x55\x55\x55\xd5",  # IEEE 802.3-2022, 3.2.1 and 3.2.2
}
CLOSED_PORT = 9
FRAGMENTED, SHORT_MTU = 1400, 576
"""Octets of an echo that is no longer than a full frame, and of the packets in which it comes."""
DATAGRAMS = (1, 17, 18, 1000, 1452)
STREAM_OCTETS = 40_000
LONGEST_TAGGED_FRAME = LONGEST_FRAME + 4
LONGEST_ENVELOPE_FRAME = 1996
"""Octets without FCS (IEEE 802.3-2022, 4A.4.2: maxEnvelopeFrameSize is 2000 with it)."""
LARGEST_DEFAULT_RING = 1024
"""Descriptors: what Linux's igbvf and virtio_net use; its other drivers for these models use 256."""

both_families = pytest.mark.parametrize("family", [IPV4, IPV6], ids=str)
both_directions = pytest.mark.parametrize("direction", list(Direction), ids=["to-dut", "from-dut"])
both_transports = pytest.mark.parametrize("transport", ["udp", "tcp"])


def _has_mac(cell: Cell) -> bool:
    """Whether the model is an IEEE 802.3 MAC: virtio 1.2, 5.1 sets no shortest frame, and no longest without F_MTU."""
    return cell.nic.family != "virtio"


def _has_fixed_limit(cell: Cell) -> bool:
    """Whether 1522 octets are the limit: the 82576's is RLPML, which Linux sets to what its buffers hold."""
    return cell.nic.family in ("e1000", "e1000e")


def _shares_its_buffer(cell: Cell) -> bool:
    """Whether the device has further receive queues, its own or its physical function's, for which frames may wait."""
    return cell.has_several_queues or cell.nic.virtual_function


def _filler(length: int, pattern: bytes = b"\x5a") -> bytes:
    return (pattern * length)[:length]


@requirement("RFC 826 packet reception")
@pytest.mark.parametrize("target", [BROADCAST_MAC, DUT.mac], ids=["broadcast", "unicast"])
def test_arp_request_is_answered_with_the_duts_addresses(wire: Wire, target: str) -> None:
    """Who asks for the DUT's IPv4 address, by broadcast or directly, is told its MAC address."""
    request = Ether(src=WIRE.mac, dst=target) / ARP(hwsrc=WIRE.mac, psrc=WIRE.ip, pdst=DUT.ip)
    answer = wire.ask([padded(request)], lambda packet: ARP in packet and packet[ARP].op == 2)
    assert answer is not None, f"expected an ARP reply to a request to {target}, seen none"
    arp = answer[ARP]
    seen = (answer.dst, answer.src, arp.hwsrc, arp.psrc, arp.hwdst, arp.pdst)
    expected = (WIRE.mac, DUT.mac, DUT.mac, DUT.ip, WIRE.mac, WIRE.ip)
    assert seen == expected, f"expected the reply's addresses {expected}, seen {seen}"


@requirement("RFC 4861 7.2.4", "RFC 4291 2.7.1", "RFC 2464 7")
@pytest.mark.parametrize("multicast", [True, False], ids=["multicast", "unicast"])
def test_neighbour_solicitation_is_answered_with_the_duts_address(cell: Cell, wire: Wire, multicast: bool) -> None:
    """Who solicits the DUT's IPv6 address, at its solicited-node group or directly, is told its MAC address."""
    cell.needs("icmpv6")
    ip, mac = solicited_node(DUT.ip6) if multicast else (DUT.ip6, DUT.mac)
    question = ICMPv6ND_NS(tgt=DUT.ip6) / ICMPv6NDOptSrcLLAddr(lladdr=WIRE.mac)
    request = Ether(src=WIRE.mac, dst=mac) / IPv6(src=WIRE.ip6, dst=ip, hlim=255) / question
    answer = wire.ask([padded(request)], lambda packet: ICMPv6ND_NA in packet)
    assert answer is not None, f"expected a neighbour advertisement for a solicitation to {mac}, seen none"
    seen = (answer.dst, answer.src, answer[IPv6].src, answer[ICMPv6ND_NA].tgt, answer[ICMPv6ND_NA].S)
    expected = (WIRE.mac, DUT.mac, DUT.ip6, DUT.ip6, 1)
    assert seen == expected, f"expected (to, from, from IP, target, solicited) {expected}, seen {seen}"
    # RFC 4861, 7.2.4: who asked the address itself knows it already, so the option may be left out.
    told = answer[ICMPv6NDOptDstLLAddr].lladdr if ICMPv6NDOptDstLLAddr in answer else None
    allowed = {DUT.mac} if multicast else {DUT.mac, None}
    assert told in allowed, f"expected the target's MAC address {DUT.mac} in the advertisement, seen {told}"


@requirement("RFC 792 echo", "RFC 4443 4.2", "IEEE 802.3-2022 3.2.7")
@both_families
@pytest.mark.parametrize("pattern", PATTERNS)
def test_extreme_payload_is_echoed(cell: Cell, wire: Wire, family: Family, pattern: str) -> None:
    """A full frame comes back unaltered, whatever its octets: none of them means anything to a NIC."""
    cell.needs(family.echo)
    data = _filler(family.echo_octets(LONGEST_FRAME), PATTERNS[pattern])
    wrong = difference(*exchange_echoes(wire, family, [data] * 20))
    assert not wrong, wrong


@requirement("RFC 792 echo", "RFC 4443 4.2", "IEEE 802.3-2022 3.2.7", "IEEE 802.3-2022 4A.4.2")
@both_families
def test_echo_of_every_length_is_answered(cell: Cell, wire: Wire, family: Family) -> None:
    """Echo requests of every frame length are answered octet for octet."""
    cell.needs(family.echo)
    shortest = family.echo_octets(max(SHORTEST_FRAME, family.headers + 8))
    data = random_payloads(range(shortest, family.echo_octets(LONGEST_FRAME) + 1))
    wrong = difference(*exchange_every_echo(wire, family, data))
    assert not wrong, wrong


@requirement("RFC 791 3.2", "RFC 8200 4.5")
@pytest.mark.parametrize("order", ["in-order", "last-first"])
@both_families
def test_request_in_fragments_is_answered_whole(cell: Cell, wire: Wire, family: Family, order: str) -> None:
    """An echo request that comes in short fragments, in whatever order, is put together and answered."""
    cell.needs(family.echo, "reassembly")
    make_known(wire, family)
    request, due = (
        echo_frame(family, kind, sender, receiver, 1, random_payloads([FRAGMENTED])[0])
        for kind, sender, receiver in ((family.request, WIRE, DUT), (family.reply, DUT, WIRE))
    )
    parts = list(fragments(family, request[family.headers :], SHORT_MTU))
    with wire.capture(family.is_echo(family.reply)) as replies:
        wire.send(*(parts if order == "in-order" else reversed(parts)))
        wrong = difference([blanked(due)], [blanked(reply) for reply in replies.wait(1, DEADLINE_S)])
    assert not wrong, f"of the answer to an echo request of {FRAGMENTED} octets in {len(parts)} fragments, {wrong}"


@requirement("82540EM 3.2.6", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6.3", "RFC 826 packet reception")
def test_more_requests_than_the_ring_holds_are_answered(wire: Wire, guest: Guest) -> None:
    """Four times as many requests as the ring has descriptors are answered in order: descriptors are used again."""
    ring = guest.receive_ring() if guest.claims else LARGEST_DEFAULT_RING
    wrong = difference(*exchange_arp(wire, 4 * ring + 1))
    assert not wrong, f"of 4 times as many requests as the ring of {ring} holds, {wrong}"


@requirement("RFC 1122 4.1.3.1", "RFC 1122 3.2.2.1", "RFC 4443 3.1", "RFC 768")
@both_families
def test_datagram_to_closed_port_is_refused(cell: Cell, wire: Wire, family: Family) -> None:
    """A UDP datagram to a port where nobody listens is answered with "port unreachable", which quotes it."""
    cell.needs("udp-unreachable", family.echo)
    probe = family.to_dut() / UDP(sport=40001, dport=CLOSED_PORT) / random_payloads([300])[0]
    refusal, types = (ICMP, (3, 3)) if family is IPV4 else (ICMPv6DestUnreach, (1, 4))
    answer = wire.ask(probe, lambda packet: refusal in packet and UDPerror in packet)
    assert answer is not None, f"expected 'port unreachable' for a datagram to port {CLOSED_PORT}, seen nothing"
    seen = (answer[refusal].type, answer[refusal].code)
    assert seen == types, f"expected ICMP type and code {types}, seen {seen}"
    quoted = bytes(answer[refusal].payload)
    shortest = family.headers - HEADER + 8
    assert len(quoted) >= shortest, f"expected at least {shortest} octets of the datagram quoted, seen {len(quoted)}"
    original = bytes(probe)[HEADER:][: len(quoted)]
    assert quoted == original, f"expected the datagram quoted octet for octet, seen {quoted.hex()} for {original.hex()}"


@requirement("RFC 9293 3.5.2", "RFC 9293 3.10.7.1")
@both_families
def test_connection_to_closed_port_is_reset(cell: Cell, wire: Wire, family: Family) -> None:
    """A TCP SYN to a port where nobody listens is answered with a reset that acknowledges it."""
    cell.needs("tcp-reset", family.echo)
    probe = family.to_dut() / TCP(sport=40002, dport=CLOSED_PORT, flags="S", seq=1_000_000)
    answer = wire.ask([padded(probe)], lambda packet: TCP in packet and packet[TCP].dport == 40002)
    assert answer is not None, f"expected a reset for a SYN to port {CLOSED_PORT}, seen nothing"
    seen = (str(answer[TCP].flags), answer[TCP].seq, answer[TCP].ack)
    assert seen == ("RA", 0, 1_000_001), f"expected (flags, seq, ack) ('RA', 0, 1000001), seen {seen}"
    wrong = wrong_checksums(bytes(answer))
    assert not wrong, f"expected right checksums in the reset, seen {wrong}"


@requirement("RFC 792 echo", "RFC 4443 4.1", "RFC 1071")
@both_families
def test_guest_pings_the_wire(guest: Guest, wire: Wire, family: Family) -> None:
    """The guest's own echo requests, short and longest, leave with right checksums, and it takes the answers."""
    for octets in (18, family.echo_octets(LONGEST_FRAME)):
        with wire.capture(family.is_icmp(family.request)) as seen:
            answered = guest.ping(family.wire, octets)
        assert answered, f"expected the guest to take the answer to its ping with {octets} octets, it took none"
        wrong = [one for sent in seen.wait(1) for one in wrong_checksums(sent)]
        assert not wrong, f"expected right checksums in the guest's ping with {octets} octets, seen {wrong}"


@requirement("RFC 768", "RFC 9293 3.1", "RFC 8200 8.1", "RFC 1071")
@both_transports
@both_families
def test_guest_answers_over_its_stack(guest: Guest, wire: Wire, family: Family, transport: str) -> None:
    """A service in the guest receives what the wire sends, and what it sends back arrives with right checksums."""
    port = guest.endpoint().serve(transport, family.dut)
    for payload in random_payloads(DATAGRAMS if transport == "udp" else (STREAM_OCTETS,)):
        answer = Stack(wire).exchange(transport, family.dut, port, payload)
        wrong = difference([payload], [answer])
        assert not wrong, f"of {transport} over {family} to the guest and back, {wrong}"


@requirement("RFC 768", "RFC 9293 3.1", "RFC 8200 8.1", "RFC 1071")
@both_transports
@both_families
def test_guest_asks_over_its_stack(guest: Guest, wire: Wire, family: Family, transport: str) -> None:
    """A client in the guest reaches a service on the wire with right checksums, and receives what it sends back."""
    with Stack(wire).serve(transport, family.wire) as port:
        for payload in random_payloads(DATAGRAMS if transport == "udp" else (STREAM_OCTETS,)):
            answer = guest.endpoint().exchange(transport, family.wire, port, payload)
            wrong = difference([payload], [answer])
            assert not wrong, f"of {transport} over {family} from the guest and back, {wrong}"


@requirement("IEEE 802.3-2022 3.1.1", "IEEE 802.3-2022 3.2.7", "IEEE 802.3-2022 4A.4.2", "virtio 1.2 5.1.6")
@both_directions
def test_frame_of_every_length_crosses(guest: Guest, wire: Wire, direction: Direction) -> None:
    """Frames of every length from 60 to 1514 octets arrive octet for octet and in order."""
    payloads = random_payloads(range(LENGTHS[0] - HEADER, LENGTHS[-1] - HEADER + 1))
    frames = [frame(direction, LOCAL_EXPERIMENT, payload) for payload in payloads]
    wrong = difference(frames, carry(direction, frames, guest, wire))
    assert not wrong, wrong


@requirement("IEEE 802.1Q-2022 6.5.3", "82574L 7.1", "82576 7.1", "virtio 1.2 5.1.6")
@both_directions
def test_order_is_kept(guest: Guest, wire: Wire, direction: Direction) -> None:
    """Numbered frames, short and long by turns, arrive in the order in which they were sent: each once."""
    lengths = (46, 1500, 47, 600, 46, 46, 1499)
    frames = [
        frame(direction, LOCAL_EXPERIMENT, n.to_bytes(4, "big") + _filler(lengths[n % 7] - 4)) for n in range(1000)
    ]
    wrong = difference(frames, carry(direction, frames, guest, wire))
    assert not wrong, wrong


@applies_to(lambda cell: not _shares_its_buffer(cell))
@requirement("82540EM 3.2.6", "82574L 7.1", "virtio 1.2 5.1.6.3")
def test_burst_longer_than_the_ring_is_received(guest: Guest, wire: Wire) -> None:
    """A burst several times as long as the only receive ring, at full speed, arrives whole: what is too much waits."""
    frames = [frame(Direction.TO_DUT, LOCAL_EXPERIMENT, payload) for payload in _burst(guest)]
    wrong = difference(frames, carry(Direction.TO_DUT, frames, guest, wire, at_once=True))
    assert not wrong, f"of a burst 4 times as long as the ring, {wrong}"


@applies_to(_shares_its_buffer)
@requirement("82576 8.10.2")
def test_burst_longer_than_a_queues_ring_does_no_harm(guest: Guest, wire: Wire) -> None:
    """Of a burst too long for one of several queues some may be dropped, but none altered, and the next all arrive."""
    frames = [frame(Direction.TO_DUT, LOCAL_EXPERIMENT, payload) for payload in _burst(guest)]
    came = carry(Direction.TO_DUT, frames, guest, wire, at_once=True)
    wrong = difference([one for one in frames if one in set(came)], came)
    assert not wrong, f"of those that were not dropped in a burst of {len(frames)}, {wrong}"
    assert len(came) >= IN_RING, f"expected room for {IN_RING} of a burst of {len(frames)} at least, seen {len(came)}"
    wrong = difference(frames, carry(Direction.TO_DUT, frames, guest, wire))
    assert not wrong, f"of the same frames once more, in step with the ring, {wrong}"


@requirement("82540EM 3.4", "82574L 7.2", "82576 7.2", "virtio 1.2 5.1.6.2")
def test_burst_longer_than_the_ring_leaves(guest: Guest, wire: Wire) -> None:
    """A burst several times as long as a ring, sent by the guest at full speed, leaves whole and in order."""
    frames = [frame(Direction.FROM_DUT, LOCAL_EXPERIMENT, payload) for payload in _burst(guest)]
    wrong = difference(frames, carry(Direction.FROM_DUT, frames, guest, wire))
    assert not wrong, f"of a burst 4 times as long as the ring, {wrong}"


def _burst(guest: Guest) -> tuple[bytes, ...]:
    return random_payloads([46] * (4 * guest.receive_ring() + 1))


@requirement("IEEE 802.3-2022 4A.1.1", "82574L 7.1", "82574L 7.2", "82576 7.1", "82576 7.2", "virtio 1.2 5.1.6")
def test_both_directions_at_once(guest: Guest, wire: Wire) -> None:
    """While the guest sends without a pause, it also receives: full duplex loses nothing in either direction."""
    outgoing = [frame(Direction.FROM_DUT, LOCAL_EXPERIMENT, payload) for payload in random_payloads([1000] * 500)]
    incoming = [frame(Direction.TO_DUT, LOCAL_EXPERIMENT, payload) for payload in random_payloads([900] * 5000)]
    with wire.capture(outgoing[0][6:HEADER]) as at_wire, guest.endpoint().capture(incoming[0][6:HEADER]) as at_guest:
        sending = threading.Thread(target=guest.endpoint().send, args=outgoing)
        sending.start()
        sent = send_in_step(wire, incoming, go_on=sending.is_alive)
        sending.join()
        wrong = difference(outgoing, at_wire.wait(len(outgoing)))
        assert not wrong, f"from the guest, while {len(sent)} frames went to it, {wrong}"
        wrong = difference(sent, at_guest.wait(len(sent)))
        assert not wrong, f"to the guest, while {len(outgoing)} frames came from it, {wrong}"


@requirement("IEEE 802.3-2022 3.2.6", "IEEE 802-2014 9.2.2")
@both_directions
@pytest.mark.parametrize("ether_type", [0x0600, 0x88B6, 0xFFFE], ids=["0600", "88b6", "fffe"])
def test_raw_ethertype_crosses(guest: Guest, wire: Wire, direction: Direction, ether_type: int) -> None:
    """A frame of any EtherType, from the lowest there is, crosses unaltered: a NIC carries what it does not know."""
    frames = [frame(direction, ether_type, payload) for payload in random_payloads([46, 47, 100, 1000, 1499, 1500])]
    wrong = difference(frames, carry(direction, frames, guest, wire))
    assert not wrong, f"of EtherType {ether_type:04x}, {wrong}"


@requirement("IEEE 802.3-2022 3.2.6", "IEEE 802.3-2022 3.2.7", "IEEE 802.2 3.2", "RFC 1042 header format")
@both_directions
@pytest.mark.parametrize("length", [3, 46, 1500])
def test_length_frame_crosses(guest: Guest, wire: Wire, direction: Direction, length: int) -> None:
    """A frame whose Length/Type field is a length, with LLC behind it, crosses with its padding."""
    llc = b"\xf0\xf0\x03" if length == 3 else b"\xaa\xaa\x03\x00\x00\x00\x88\xb5"  # unnumbered information; SNAP
    frames = [padded(frame(direction, length, llc + payload)) for payload in random_payloads([length - len(llc)] * 10)]
    wrong = difference(frames, carry(direction, frames, guest, wire))
    assert not wrong, f"of 802.3 length {length}, {wrong}"


@requirement("RFC 894 frame format", "RFC 1042 frame format")
def test_nothing_but_zeros_follows_a_short_frame(guest: Guest, wire: Wire) -> None:
    """What follows the data of a frame shorter than 60 octets is zeros: never what was in memory before."""
    long = [frame(Direction.FROM_DUT, LOCAL_EXPERIMENT, _filler(1500, b"\xa5"))] * 20
    short = [frame(Direction.FROM_DUT, LOCAL_EXPERIMENT, _filler(n, b"\x5a")) for n in range(4, 46)]
    seen = carry(Direction.FROM_DUT, long + short, guest, wire)[len(long) :]
    expected = [sent.ljust(len(came), b"\0") for sent, came in zip(short, seen, strict=False)]
    assert len(seen) == len(short), f"expected {len(short)} short frames, seen {len(seen)}"
    wrong = difference(expected, seen)
    assert not wrong, f"of frames shorter than 60 octets with nothing but zeros behind them, {wrong}"


@applies_to(_has_mac)
@requirement("IEEE 802.3-2022 3.2.8", "IEEE 802.3-2022 4A.4.2", "82540EM 13.4.33", "82574L 10.2.6.1", "82576 8.12.1")
def test_short_frame_is_padded_to_the_shortest_length(guest: Guest, wire: Wire) -> None:
    """A frame that is sent with fewer than 60 octets leaves with 60: the MAC or its driver pads it."""
    short = [frame(Direction.FROM_DUT, LOCAL_EXPERIMENT, _filler(n)) for n in range(4, 46)]
    wrong = difference([padded(sent) for sent in short], carry(Direction.FROM_DUT, short, guest, wire))
    assert not wrong, f"of frames shorter than 60 octets, padded, {wrong}"


@requirement("RFC 894 frame format", "RFC 1042 frame format")
def test_nothing_but_zeros_follows_an_arp_reply(wire: Wire) -> None:
    """What follows the 42 octets of an ARP reply is zeros: never what was in a buffer before."""
    wire.send(*[frame(Direction.TO_DUT, LOCAL_EXPERIMENT, _filler(1500, b"\xa5"))] * 20)
    answers = [wire.resolve(DUT.ip) for _ in range(20)]
    tails = [bytes(answer)[42:] for answer in answers if answer is not None]
    assert len(tails) == 20, f"expected 20 ARP replies, seen {len(tails)}"
    leaked = {tail.hex() for tail in tails if tail.strip(b"\0")}
    assert not leaked, f"expected nothing but zeros behind 42 octets of an ARP reply, seen {leaked}"


@applies_to(_has_mac)
@requirement("IEEE 802.3-2022 3.2.8", "RFC 894 frame format", "82540EM 13.4.33", "82574L 10.2.6.1", "82576 8.12.1")
def test_arp_reply_is_padded_with_zeros(wire: Wire) -> None:
    """An ARP reply, 42 octets of data, leaves as a frame of 60 whose last 18 are zero."""
    answer = wire.resolve(DUT.ip)
    assert answer is not None, "expected an ARP reply, seen none"
    octets = bytes(answer)
    assert octets[42:] == bytes(18), f"expected 18 octets of zeros behind the ARP reply, seen '{octets[42:].hex()}'"


@applies_to(_has_mac)
@requirement("IEEE 802.3-2022 3.4", "IEEE 802.3-2022 4A.4.2")
def test_runts_are_not_delivered(guest: Guest, wire: Wire) -> None:
    """Of runts and frames sent by turns, only the frames, from 60 octets on, reach the guest."""
    runts = [frame(Direction.TO_DUT, LOCAL_EXPERIMENT, _filler(n)) for n in range(0, 46)]
    good = [frame(Direction.TO_DUT, LOCAL_EXPERIMENT, payload) for payload in random_payloads([46] * len(runts))]
    mixed = [one for pair in zip(runts, good, strict=True) for one in pair]
    wrong = difference(good, carry(Direction.TO_DUT, mixed, guest, wire, delivered=len(good)))
    assert not wrong, f"of {len(runts)} runts and as many frames by turns, {wrong}"


@applies_to(_has_mac)
@requirement("IEEE 802.3-2022 3.4", "IEEE 802.3-2022 4A.4.2")
def test_runt_is_not_answered(wire: Wire) -> None:
    """An ARP request that was not padded, 42 octets long, is no frame: the padded one after it is answered first."""
    runt, good = (
        Ether(src=WIRE.mac, dst=DUT.mac) / ARP(hwsrc=WIRE.mac, psrc=asker, pdst=DUT.ip)
        for asker in ("192.0.2.77", WIRE.ip)
    )
    with wire.capture(lambda seen: seen[12:14] == b"\x08\x06" and seen[21] == 2) as seen:
        wire.send(bytes(runt), padded(good))
        answered = [Ether(reply)[ARP].pdst for reply in seen.wait(1)]
    assert answered == [WIRE.ip], f"expected the padded request of {WIRE.ip} alone answered, answered: {answered}"


@applies_to(_has_mac)
@requirement("IEEE 802.3-2022 3.2.7", "82540EM 13.4.22", "82574L 10.2.5.1", "82576 8.10.1")
@pytest.mark.parametrize("octets", [LONGEST_ENVELOPE_FRAME + 1, 4096, 9014])
def test_oversize_frames_are_not_delivered(guest: Guest, wire: Wire, octets: int) -> None:
    """Frames longer than any that there are do not reach a guest with an MTU of 1500; full ones between them do."""
    _assert_not_delivered(octets, guest, wire)


@applies_to(_has_fixed_limit)
@requirement("82540EM 13.4.22", "82574L 10.2.5.1")
def test_frame_longer_than_a_tagged_one_is_not_delivered(guest: Guest, wire: Wire) -> None:
    """With RCTL.LPE clear, 1523 octets with FCS are too long: one more than a full frame with a VLAN tag has."""
    _assert_not_delivered(LONGEST_TAGGED_FRAME + 1, guest, wire)


def _assert_not_delivered(octets: int, guest: Guest, wire: Wire) -> None:
    oversize = frame(Direction.TO_DUT, LOCAL_EXPERIMENT, _filler(octets - HEADER))
    good = [frame(Direction.TO_DUT, LOCAL_EXPERIMENT, payload) for payload in random_payloads([1500] * 10)]
    mixed = [one for full in good for one in (oversize, full)]
    wrong = difference(good, carry(Direction.TO_DUT, mixed, guest, wire, delivered=len(good)))
    assert not wrong, f"of {len(good)} frames of {octets} octets and as many of 1514 by turns, {wrong}"


@applies_to(_has_mac)
@requirement("IEEE 802.3-2022 3.2.7", "82540EM 13.4.22", "82574L 10.2.5.1", "82576 8.10.1")
@both_families
def test_oversize_echo_is_not_answered(cell: Cell, wire: Wire, family: Family) -> None:
    """An echo request in an oversize frame is dropped by the NIC: only those in full frames are answered."""
    cell.needs(family.echo)
    lengths = (LONGEST_ENVELOPE_FRAME + 1, LONGEST_FRAME)
    oversize, full = random_payloads(family.echo_octets(octets) for octets in lengths)
    due, came = exchange_echoes(wire, family, [oversize, full, oversize, full], delivered=2)
    wrong = difference(due[1::2], came)
    assert not wrong, f"of requests in frames of {lengths[0]} and {lengths[1]} octets by turns, {wrong}"
