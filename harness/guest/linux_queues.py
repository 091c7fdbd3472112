"""Queues on Linux: ethtool's rings, channels, and receive flow hash."""

import re
from collections.abc import Collection, Sequence

from harness.errors import NicproofError, Unsupported
from harness.guest.linux_offloads import parse_features
from harness.guest.linux_system import LinuxSystem, first_words
from harness.guest.queues import QueueOperations, Rings
from harness.guest.transport import Completed
from harness.traffic.flows import Flow, FlowKind, HashField, Transport

_FIELDS = {
    HashField.SOURCE_ADDRESS: ("IP SA", "s"),
    HashField.TARGET_ADDRESS: ("IP DA", "d"),
    HashField.SOURCE_PORT: ("L4 bytes 0 & 1 [TCP/UDP src port]", "f"),
    HashField.TARGET_PORT: ("L4 bytes 2 & 3 [TCP/UDP dst port]", "n"),
}
"""What ethtool prints of a field, and the letter by which it is told of it."""


def parse_maximum_and_current(text: str, name: str) -> tuple[int, int] | None:
    """Read one value of what `ethtool -g` or `ethtool -l` prints; None where the driver has no such value.

    Real lines, ethtool 6.14 and 5.9 (which prints 0 where there is none):
        Pre-set maximums:
        RX:                     4096                    RX:             4096
        RX Mini:                n/a                     RX Mini:        0
        Current hardware settings:
        RX:                     256                     RX:             256
    """
    found = re.findall(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    if len(found) != 2 or found[0] == "0":
        return None
    return int(found[0]), int(found[1])


def parse_rings(text: str) -> tuple[Rings, Rings] | None:
    """Read the longest rings and those in use of what `ethtool -g` prints; None where the driver does not tell."""
    rx, tx = (parse_maximum_and_current(text, name) for name in ("RX", "TX"))
    if rx is None or tx is None:
        return None
    return Rings(rx[0], tx[0]), Rings(rx[1], tx[1])


def parse_indirection(text: str) -> tuple[int, ...]:
    """Read the table of what `ethtool -x` prints; empty where the driver shows none.

    Real lines, ethtool 6.14 and 5.9:
        RX flow hash indirection table for eth1 with 2 RX ring(s):
            0:      0     0     0     0     0     0     0     0
          120:      1     1     1     1     1     1     1     1
        RSS hash key:
        Operation not supported
    """
    rows = re.findall(r"^\s*\d+:((?:\s+\d+)+)$", text, re.MULTILINE)
    return tuple(int(queue) for row in rows for queue in row.split())


def parse_rule_refusal(done: Completed) -> str:
    """Return why `ethtool -N` added no flow rule, in its own words, or "" if it did.

    Its status says nothing: ethtool 6.1 ends with 0 when the driver has refused. Real lines, ethtool 6.14 and 6.1:
        Added rule with ID 15
        rmgr: Cannot insert RX class rule: Operation not supported
    """
    return "" if done.stdout.startswith("Added rule with ID ") else first_words(done)


class LinuxQueues(LinuxSystem, QueueOperations):
    """The interface's queues."""

    def ring_limits(self) -> Rings:
        """Return the maxima of `ethtool -g`."""
        return self._rings()[0]

    def rings(self) -> Rings:
        """Return the settings of `ethtool -g`."""
        return self._rings()[1]

    def receive_ring(self) -> int:
        """Return the receive ring in use."""
        return self.rings().rx

    def set_rings(self, *, rx: int | None = None, tx: int | None = None) -> str:
        """Use `ethtool -G`."""
        wishes = " ".join(f"{name} {size}" for name, size in (("rx", rx), ("tx", tx)) if size is not None)
        return self._change("other ring sizes", f"ethtool -G {self.interface} {wishes}")

    def channel_limit(self) -> int:
        """Return the maximum of `ethtool -l`."""
        return self._channels()[0]

    def channels(self) -> int:
        """Return the setting of `ethtool -l`."""
        return self._channels()[1]

    def set_channels(self, count: int) -> str:
        """Use `ethtool -L`."""
        return self._change("another number of queues", f"ethtool -L {self.interface} combined {count}")

    def indirection_table(self) -> tuple[int, ...]:
        """Return the table of `ethtool -x`."""
        table = parse_indirection(self._ssh.run(f"ethtool -x {self.interface}").stdout)
        if not table:
            raise Unsupported("the indirection table: the driver shows none")
        return table

    def spread(self, weights: Sequence[int]) -> str:
        """Use the weights of `ethtool -X`."""
        listed = " ".join(map(str, weights))
        return self._change("another indirection table", f"ethtool -X {self.interface} weight {listed}")

    def set_hash_key(self, key: bytes) -> str:
        """Use the key of `ethtool -X`."""
        return self._change("another hash key", f"ethtool -X {self.interface} hkey {key.hex(':')}")

    def hash_fields(self, kind: FlowKind) -> frozenset[HashField]:
        """Return the fields of `ethtool -n rx-flow-hash`."""
        # TCP over IPV4 flows use these fields for computing Hash flow key:
        # IP SA
        # L4 bytes 0 & 1 [TCP/UDP src port]
        said = self._ssh.run(f"ethtool -n {self.interface} rx-flow-hash {_flow_type(kind)}")
        if said.status:
            raise Unsupported("the fields that are hashed: the driver does not tell")
        return frozenset(field for field, (words, _) in _FIELDS.items() if words in said.stdout.splitlines())

    def set_hash_fields(self, kind: FlowKind, fields: Collection[HashField]) -> str:
        """Use `ethtool -N rx-flow-hash`."""
        letters = "".join(letter for field, (_, letter) in _FIELDS.items() if field in fields)
        command = f"ethtool -N {self.interface} rx-flow-hash {_flow_type(kind)} {letters}"
        return self._change("other fields for the hash", command)

    def offers_rules(self) -> bool:
        """Return whether `ethtool -k` shows the feature as on, or as one that can be switched on."""
        # ntuple-filters: off [fixed]
        shown = parse_features(self._ssh.check(f"ethtool -k {self.interface}"))["ntuple-filters"]
        return shown.on or not shown.fixed

    def steer(self, flow: Flow, queue: int) -> str:
        """Use `ethtool -N flow-type`, with the feature on."""
        source, target = flow.ports
        match = f"src-ip {flow.source} dst-ip {flow.target} src-port {source} dst-port {target}"
        command = f"ethtool -N {self.interface} flow-type {_flow_type(flow.kind)} {match} action {queue}"
        switch = f"ethtool -K {self.interface} ntuple on >/dev/null 2>&1"
        return parse_rule_refusal(self._ssh.run(f"{switch}; {command}"))

    @property
    def _shows_rings(self) -> str:
        return f"ethtool -g {self.interface}"

    def _rings(self) -> tuple[Rings, Rings]:
        lengths = parse_rings(self._ssh.run(self._shows_rings).stdout)
        if lengths is None:
            raise Unsupported("ring sizes: the driver does not tell")
        return lengths

    def _channels(self) -> tuple[int, int]:
        said = self._ssh.run(f"ethtool -l {self.interface}")
        found = parse_maximum_and_current(said.stdout, "Combined")
        if found is None:
            if said.status == 0:
                raise NicproofError(f"ethtool -l shows no combined channels: {said.stdout!r}")
            raise Unsupported("the number of queues: the driver has no such setting")
        return found


def _flow_type(kind: FlowKind) -> str:
    return {Transport.TCP: "tcp", Transport.UDP: "udp", Transport.ESP: "esp"}[kind.transport] + str(kind.version)
