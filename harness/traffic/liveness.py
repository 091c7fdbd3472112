"""Whether a DUT is still what it has to be: it answers, and frames of all sizes cross both ways.

What it fails to do is said in words; none, if all is well. It is given time for all that came before, since a NIC may
drop what comes while one of its queues is full.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count

from harness.endpoint.cable import Direction
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.station import DUT, WIRE
from harness.testbed import Testbed
from harness.traffic.exchange import carry, exchange_every_echo
from harness.traffic.frames import (
    IPV4,
    IPV6,
    LOCAL_EXPERIMENT,
    Family,
    arp_frame,
    blanked,
    difference,
    echo_frame,
    frame,
    random_payloads,
)

ANSWER_DEADLINE_S = 30.0
_NO_ANSWER = f"expected an answer within {ANSWER_DEADLINE_S:g} s, none came"
_SIZES, _SIZES_OF_ECHOES = range(46, 1501, 50), range(18, 1453, 50)
"""Octets of payload, and of what is echoed."""
_PATIENCE_S, _MOST_PATIENCE_S = 0.2, 2.0
"""For the first answer, and for one of many."""
_FIRST_NUMBER = 0x8000
"""Of an echo: no other has it."""
ARP_OCTETS = 42
"""Of an ARP frame without padding."""

Question = Callable[[int], tuple[bytes, bytes]]
"""Makes the frame with a number that asks, and what the answer begins with."""


def what_fails(guest: Guest, wire: Wire) -> str:
    """Say what the DUT fails to do: answer, or carry frames of all sizes both ways, whole and in order."""
    if not answers(wire):
        return _NO_ANSWER
    for direction in Direction:
        frames = [frame(direction, LOCAL_EXPERIMENT, payload) for payload in random_payloads(_SIZES)]
        if wrong := difference(frames, carry(direction, frames, guest, wire)):
            return f"{direction.value}: {wrong}"
    return ""


def what_fails_as_seen(bed: Testbed) -> str:
    """Say what the DUT fails to do, as far as anybody can see: its answers, and frames both ways if it can be asked."""
    families = [family for family in (IPV4, IPV6) if family.echo not in bed.cell.profile.lacks]
    problem = what_fails_of_echoes(bed.wire, families)
    return problem or (what_fails(bed.guest, bed.wire) if bed.guest.claims else "")


def what_fails_of_echoes(wire: Wire, families: Iterable[Family]) -> str:
    """Say what the DUT fails to do that needs nobody inside it: answer, or return echoes of all sizes.

    What it owes others may still wait to leave: one request may have to be asked again for that.
    """
    if not answers(wire):
        return _NO_ANSWER
    for family in families:
        if not _answers(wire, _echo(family)):
            return f"expected an echo over {family} within {ANSWER_DEADLINE_S:g} s, none came"
        if wrong := difference(*exchange_every_echo(wire, family, random_payloads(_SIZES_OF_ECHOES))):
            return f"of echoes over {family}, {wrong}"
    return ""


def answers(wire: Wire, deadline_s: float = ANSWER_DEADLINE_S) -> bool:
    """Ask the DUT for its address until it answers the last question: whether it did, and in time."""
    return _answers(wire, _who_has_it, deadline_s)


def _answers(wire: Wire, question: Question, deadline_s: float = ANSWER_DEADLINE_S) -> bool:
    """Ask until the last question is answered: all that came before it, by the same queue, is dealt with then."""
    end = time.monotonic() + deadline_s
    for number in count():
        asked, due = question(number)
        with wire.capture(partial(_begins_with, due)) as answers:
            wire.send(asked)
            if answers.wait(1, min(_MOST_PATIENCE_S, _PATIENCE_S * (number + 1))):
                return True
        if time.monotonic() > end:
            break
    return False


def _begins_with(due: bytes, seen: bytes) -> bool:
    return blanked(seen).startswith(due)


def _who_has_it(number: int) -> tuple[bytes, bytes]:
    asker = f"192.0.2.{10 + number % 100}"
    answer = arp_frame(2, DUT.mac, DUT.ip, WIRE.mac, WIRE.mac, asker)
    return arp_frame(1, WIRE.mac, asker, DUT.mac, "00:00:00:00:00:00", DUT.ip), answer[:ARP_OCTETS]


def _echo(family: Family) -> Question:
    def question(number: int) -> tuple[bytes, bytes]:
        numbered = (_FIRST_NUMBER + number, bytes(18))
        request = echo_frame(family, family.request, WIRE, DUT, *numbered)
        return request, blanked(echo_frame(family, family.reply, DUT, WIRE, *numbered))

    return question
