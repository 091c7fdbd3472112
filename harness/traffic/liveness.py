"""Whether a DUT is still what it has to be: it answers, and frames of all sizes cross both ways.

What it fails to do is said in words; none, if all is well.
"""

from collections.abc import Iterable

from harness.endpoint.cable import Direction
from harness.endpoint.wire import Wire
from harness.guest.base import Guest
from harness.traffic.exchange import carry, exchange_echoes
from harness.traffic.frames import LOCAL_EXPERIMENT, Family, difference, frame, random_payloads
from harness.traffic.stimulus import answers_within

ANSWER_DEADLINE_S = 30.0
_NO_ANSWER = f"expected an answer within {ANSWER_DEADLINE_S:g} s, none came"
_SIZES, _SIZES_OF_ECHOES = range(46, 1501, 50), range(18, 1453, 50)
"""Octets of payload, and of what is echoed."""


def what_fails(guest: Guest, wire: Wire) -> str:
    """Say what the DUT fails to do: answer, or carry frames of all sizes both ways, whole and in order."""
    if not answers_within(wire, ANSWER_DEADLINE_S):
        return _NO_ANSWER
    for direction in Direction:
        frames = [frame(direction, LOCAL_EXPERIMENT, payload) for payload in random_payloads(_SIZES)]
        if wrong := difference(frames, carry(direction, frames, guest, wire)):
            return f"{direction.value}: {wrong}"
    return ""


def what_fails_of_echoes(wire: Wire, families: Iterable[Family]) -> str:
    """Say what the DUT fails to do that needs nobody inside it: answer, or return echoes of all sizes."""
    if not answers_within(wire, ANSWER_DEADLINE_S):
        return _NO_ANSWER
    for family in families:
        if wrong := difference(*exchange_echoes(wire, family, random_payloads(_SIZES_OF_ECHOES))):
            return f"of echoes over {family}, {wrong}"
    return ""
