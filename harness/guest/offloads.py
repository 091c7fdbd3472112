"""Offloads: work on frames that a driver may leave to the NIC, or a stack do in its place."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.guest.operations import Operations


class Offload(StrEnum):
    """One kind of work, whichever system names it how."""

    RX_CHECKSUM = "receive checksum"
    TX_CHECKSUM = "transmit checksum"
    TCP_SEGMENTATION = "TCP segmentation"
    TCP6_SEGMENTATION = "TCP segmentation over IPv6"
    UDP_SEGMENTATION = "UDP segmentation"
    RECEIVE_AGGREGATION = "receive aggregation by the stack"
    VLAN_STRIPPING = "VLAN tag stripping"
    VLAN_INSERTION = "VLAN tag insertion"
    VLAN_FILTER = "VLAN filter"
    RECEIVED_FCS = "FCS of received frames"
    """No work taken over, but asked for in the same way: each received frame is handed on with its FCS."""


@dataclass(frozen=True)
class OffloadState:
    """What the driver says of an offload."""

    on: bool
    fixed: bool
    """Whether it cannot be changed."""
    overruled: bool = False
    """Whether it is other than it was asked to be, because of another's state."""


class OffloadOperations(Operations):
    """What a guest may be asked of the DUT's offloads."""

    def offloads(self) -> Mapping[Offload, OffloadState]:
        """Return the state of every offload that the system knows."""
        self._unsupported("offloads")

    def set_offload(self, offload: Offload, on: bool) -> None:
        """Switch an offload; returns when the link is up.

        Raises:
            Unsupported: this driver has it fixed the other way.
        """
        self._unsupported(f"the offload {offload}")
