"""Queues: how long their rings are, how many there are, and which of them a received frame goes to."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.guest.operations import Operations
from harness.traffic.flows import Flow, FlowKind, HashField


@dataclass(frozen=True)
class Rings:
    """Descriptors in one receive and in one transmit ring."""

    rx: int
    tx: int


class QueueOperations(Operations):
    """What a guest may be asked of the DUT's queues. What changes something returns why the driver refused, or ""."""

    def ring_limits(self) -> Rings:
        """Return the longest rings that the driver offers."""
        self._unsupported("ring sizes")

    def rings(self) -> Rings:
        """Return the rings in use."""
        self._unsupported("ring sizes")

    def receive_ring(self) -> int:
        """Return the number of descriptors in one receive ring, of which some guests tell that alone."""
        self._unsupported("the receive ring's size")

    def set_rings(self, *, rx: int | None = None, tx: int | None = None) -> str:
        """Change the length of the rings; returns when the link is up."""
        self._unsupported("ring sizes")

    def channel_limit(self) -> int:
        """Return how many pairs of a receive and a transmit queue the driver offers."""
        self._unsupported("the number of queues")

    def channels(self) -> int:
        """Return how many pairs of queues are in use."""
        self._unsupported("the number of queues")

    def set_channels(self, count: int) -> str:
        """Change the number of pairs of queues; returns when the link is up."""
        self._unsupported("the number of queues")

    def indirection_table(self) -> tuple[int, ...]:
        """Return the receive queue for each value of a hash's low bits."""
        self._unsupported("the indirection table")

    def spread(self, weights: Sequence[int]) -> str:
        """Have each receive queue, from 0 on, take a share of the indirection table in proportion to its weight."""
        self._unsupported("the indirection table")

    def set_hash_key(self, key: bytes) -> str:
        """Change the key of the receive hash."""
        self._unsupported("the hash key")

    def hash_fields(self, kind: FlowKind) -> frozenset[HashField]:
        """Return what is hashed of a packet of such a flow."""
        self._unsupported("the fields that are hashed")

    def set_hash_fields(self, kind: FlowKind, fields: Collection[HashField]) -> str:
        """Change what is hashed of a packet of such a flow."""
        self._unsupported("the fields that are hashed")

    def offers_rules(self) -> bool:
        """Return whether the driver says that single flows can have rules."""
        self._unsupported("queues for single flows")

    def steer(self, flow: Flow, queue: int) -> str:
        """Have the packets of a flow received on one queue, whatever their hash."""
        self._unsupported("queues for single flows")
