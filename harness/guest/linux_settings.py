"""Settings on Linux: ethtool's coalescing, message level, private flags, pause, and the features that are offloads."""

import re
import shlex
from collections.abc import Callable, Mapping

from harness.errors import Unsupported
from harness.guest.linux_offloads import FEATURES, LinuxOffloads
from harness.guest.settings import (
    MESSAGES,
    PAUSE_AUTONEGOTIATION,
    RECEIVE_INTERVAL,
    RECEIVE_PAUSE,
    TRANSMIT_PAUSE,
    SettingKind,
    SettingOperations,
)

_PAUSE = {
    PAUSE_AUTONEGOTIATION: ("Autonegotiate", "autoneg"),
    RECEIVE_PAUSE: ("RX", "rx"),
    TRANSMIT_PAUSE: ("TX", "tx"),
}
_SHOWN_BY = {
    SettingKind.COALESCING: "-c",
    SettingKind.MESSAGE_LEVEL: "",
    SettingKind.PRIVATE_FLAGS: "--show-priv-flags",
    SettingKind.PAUSE: "-a",
    SettingKind.FEATURES: "-k",
}


def parse_coalescing(text: str) -> dict[str, int]:
    """Read the receive interval of what `ethtool -c` prints.

    Real lines, ethtool 6.14 and 5.9 (which prints 0 for n/a, but for no driver's receive interval):
        rx-usecs:       3
        rx-frames:      n/a
    """
    found = re.search(r"^rx-usecs:\s+(\d+)", text, re.MULTILINE)
    return {RECEIVE_INTERVAL: int(found[1])} if found else {}


def parse_message_level(text: str) -> dict[str, int]:
    """Read the level of what `ethtool` prints.

    Real lines, ethtool 6.14 and 5.9:
            Current message level: 0x00000007 (7)
                                   drv probe link
    """
    found = re.search(r"Current message level: 0x([0-9a-f]+)", text)
    return {MESSAGES: int(found[1], 16)} if found else {}


def parse_private_flags(text: str) -> dict[str, int]:
    """Read what `ethtool --show-priv-flags` prints.

    Real lines, ethtool 6.14 and 5.9:
        Private flags for eth1:
        legacy-rx: off                      legacy-rx   : off
    """
    return {name: int(state == "on") for name, state in re.findall(r"^(\S+)\s*: (on|off)$", text, re.MULTILINE)}


def parse_pause(text: str) -> dict[str, int]:
    """Read what `ethtool -a` prints.

    Real lines, ethtool 6.14; those of 5.9 are the same but for the negotiated ones:
        Pause parameters for eth1:
        Autonegotiate:  on
        RX:             on
        TX:             off
        RX negotiated: on
    """
    shown = dict(re.findall(r"^(\w+):\s+(on|off)$", text, re.MULTILINE))
    return {name: int(shown[word] == "on") for name, (word, _) in _PAUSE.items() if word in shown}


def _parse_features(text: str) -> dict[str, int]:
    shown = re.findall(r"^\s*([\w-]+): (on|off)(?: \[requested \w+\])?$", text, re.MULTILINE)  # without the fixed ones
    states = dict(shown)
    return {offload.value: int(states[name] == "on") for offload, name in FEATURES.items() if name in states}


_PARSERS: Mapping[SettingKind, Callable[[str], dict[str, int]]] = {
    SettingKind.COALESCING: parse_coalescing,
    SettingKind.MESSAGE_LEVEL: parse_message_level,
    SettingKind.PRIVATE_FLAGS: parse_private_flags,
    SettingKind.PAUSE: parse_pause,
    SettingKind.FEATURES: _parse_features,
}


class LinuxSettings(LinuxOffloads, SettingOperations):
    """The interface's settings."""

    def settings(self, kind: SettingKind) -> Mapping[str, int]:
        """Return what ethtool shows of a kind."""
        found = _PARSERS[kind](self._ssh.run(f"ethtool {_SHOWN_BY[kind]} {self.interface}").stdout)
        if not found:
            raise Unsupported(f"{kind}: the driver has no such setting")
        return found

    def change_settings(self, kind: SettingKind, values: Mapping[str, int]) -> str:
        """Have ethtool change settings of a kind, all at once."""
        name = self.interface
        match kind:
            case SettingKind.COALESCING:
                command = f"ethtool -C {name} rx-usecs {values[RECEIVE_INTERVAL]}"
            case SettingKind.MESSAGE_LEVEL:
                command = f"ethtool -s {name} msglvl {values[MESSAGES]:#x}"
            case SettingKind.PRIVATE_FLAGS:
                flags = " ".join(f"{shlex.quote(flag)} {_on(value)}" for flag, value in values.items())
                command = f"ethtool --set-priv-flags {name} {flags}"
            case SettingKind.PAUSE:
                command = f"ethtool -A {name} " + " ".join(f"{_PAUSE[one][1]} {_on(on)}" for one, on in values.items())
            case SettingKind.FEATURES:
                words = {offload.value: word for offload, word in FEATURES.items()}
                command = f"ethtool -K {name} " + " ".join(f"{words[one]} {_on(on)}" for one, on in values.items())
        return self._change(str(kind), command)


def _on(value: int) -> str:
    return "on" if value else "off"
