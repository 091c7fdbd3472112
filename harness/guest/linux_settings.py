"""Settings on Linux: ethtool's coalescing, message level, private flags, pause, and the features that are offloads."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from harness.errors import Unsupported
from harness.guest.linux_offloads import FEATURES, LinuxOffloads, parse_features
from harness.guest.settings import (
    COALESCING_SWITCHES,
    MESSAGES,
    PAUSE_AUTONEGOTIATION,
    RECEIVE_INTERVAL,
    RECEIVE_PAUSE,
    TRANSMIT_INTERVAL,
    TRANSMIT_PAUSE,
    SettingKind,
    SettingOperations,
)

_PAUSE = {
    PAUSE_AUTONEGOTIATION: ("Autonegotiate", "autoneg"),
    RECEIVE_PAUSE: ("RX", "rx"),
    TRANSMIT_PAUSE: ("TX", "tx"),
}
_WORDS = {RECEIVE_INTERVAL: "rx-usecs", TRANSMIT_INTERVAL: "tx-usecs"}
_NAMES = {word: name for name, word in _WORDS.items()}
_FEATURE_NAMES = {word: offload.value for offload, word in FEATURES.items()}
_SHOWN_BY = {
    SettingKind.COALESCING: "-c",
    SettingKind.MESSAGE_LEVEL: "",
    SettingKind.PRIVATE_FLAGS: "--show-priv-flags",
    SettingKind.PAUSE: "-a",
    SettingKind.FEATURES: "-k",
}


def parse_coalescing(text: str) -> tuple[dict[str, int], dict[str, int]]:
    """Read what `ethtool -c` prints; return what the driver offers, and what it does not offer with 0 for each.

    Real lines, ethtool 6.14 and 5.9 (which prints 0 for n/a, but for no driver's receive interval):
        Adaptive RX: n/a  TX: n/a               Adaptive RX: off  TX: off
        rx-usecs:       3                       rx-usecs: 3
        rx-frame-low:   n/a                     rx-frame-low: 0
    """
    values = dict(re.findall(r"^([a-z-]+):\s+(\d+|n/a)$", text, re.MULTILINE))
    for name, rx, tx in re.findall(r"^(Adaptive|CQE mode) RX: (\S+)\s+TX: (\S+)$", text, re.MULTILINE):
        word = name.lower().replace(" ", "-")
        values |= {
            f"{word}-{way}": {"on": "1", "off": "0"}.get(state, state) for way, state in (("rx", rx), ("tx", tx))
        }
    nothing = {"n/a"} if "n/a" in values.values() else {"0"}
    offered, lacking = {}, {}
    for word, value in values.items():
        name = _NAMES.get(word, word.replace("-frame-", "-frames-"))
        if value in nothing and (value, name) != ("0", RECEIVE_INTERVAL):
            lacking[name] = 0
        else:
            offered[name] = int(value)
    return offered, lacking


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


def _features(text: str, *, fixed: bool) -> dict[str, int]:
    """Return the features that are fixed, or those that can be changed."""
    found = parse_features(text, groups=False).items()
    return {_FEATURE_NAMES.get(name, name): int(state.on) for name, state in found if state.fixed == fixed}


_PARSERS: Mapping[SettingKind, Callable[[str], dict[str, int]]] = {
    SettingKind.COALESCING: lambda text: parse_coalescing(text)[0],
    SettingKind.MESSAGE_LEVEL: parse_message_level,
    SettingKind.PRIVATE_FLAGS: parse_private_flags,
    SettingKind.PAUSE: parse_pause,
    SettingKind.FEATURES: partial(_features, fixed=False),
}
_LACKING: Mapping[SettingKind, Callable[[str], dict[str, int]]] = {
    SettingKind.COALESCING: lambda text: parse_coalescing(text)[1],
    SettingKind.FEATURES: partial(_features, fixed=True),
}


def parse_settings(shown: Mapping[SettingKind, str]) -> dict[SettingKind, dict[str, int]]:
    """Return the settings of each kind of which what ethtool has shown tells any."""
    return {kind: found for kind, text in shown.items() if (found := _PARSERS[kind](text))}


class LinuxSettings(LinuxOffloads, SettingOperations):
    """The interface's settings."""

    def settings(self, kind: SettingKind) -> Mapping[str, int]:
        """Return what ethtool shows of a kind."""
        found = _PARSERS[kind](self._shown(kind))
        if not found:
            raise Unsupported(f"{kind}: the driver has no such setting")
        return found

    def all_settings(self) -> Mapping[SettingKind, Mapping[str, int]]:
        """Return what ethtool shows of every kind."""
        return parse_settings(dict(zip(SettingKind, self._said(*map(self._shows, SettingKind)), strict=True)))

    def settings_lacking(self, kind: SettingKind) -> Mapping[str, int]:
        """Return the parameters of coalescing that ethtool shows as n/a, or the features that it shows as fixed."""
        if kind not in _LACKING:
            raise Unsupported(f"settings that are lacking ({kind}): ethtool tells only of those that there are")
        return _LACKING[kind](self._shown(kind))

    def features_overruled(self) -> frozenset[str]:
        """Return those of which ethtool shows that another state was requested."""
        shown = parse_features(self._shown(SettingKind.FEATURES), groups=False)
        return frozenset(_FEATURE_NAMES.get(name, name) for name, state in shown.items() if state.overruled)

    def _shows(self, kind: SettingKind) -> str:
        """Return the command that shows the settings of a kind."""
        return f"ethtool {_SHOWN_BY[kind]} {self.interface}"

    def _shown(self, kind: SettingKind) -> str:
        return self._ssh.run(self._shows(kind)).stdout

    @contextmanager
    def change_at_once(self) -> Iterator[None]:
        """Let no change wait for the carrier, for which a reset of some NICs takes two seconds."""
        self._hurries = True
        try:
            yield
        finally:
            self._hurries = False
        self._wait_carrier()

    def change_settings(self, kind: SettingKind, values: Mapping[str, int]) -> str:
        """Have ethtool change settings of a kind, all at once."""
        name = self.interface
        match kind:
            case SettingKind.COALESCING:
                command = f"ethtool -C {name} " + " ".join(_parameter(one, value) for one, value in values.items())
            case SettingKind.MESSAGE_LEVEL:
                command = f"ethtool -s {name} msglvl {values[MESSAGES]:#x}"
            case SettingKind.PRIVATE_FLAGS:
                flags = " ".join(f"{shlex.quote(flag)} {_on(value)}" for flag, value in values.items())
                command = f"ethtool --set-priv-flags {name} {flags}"
            case SettingKind.PAUSE:
                command = f"ethtool -A {name} " + " ".join(f"{_PAUSE[one][1]} {_on(on)}" for one, on in values.items())
            case SettingKind.FEATURES:
                words = {offload.value: word for offload, word in FEATURES.items()}
                wishes = " ".join(f"{words.get(one, one)} {_on(on)}" for one, on in values.items())
                command = f"ethtool -K {name} {wishes}"
        return self._change(str(kind), command)


def _parameter(name: str, value: int) -> str:
    return f"{_WORDS.get(name, name)} {_on(value) if name in COALESCING_SWITCHES else value}"


def _on(value: int) -> str:
    return "on" if value else "off"
