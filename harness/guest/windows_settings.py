"""Settings on Windows: pause by *FlowControl, the features that are offloads, and interrupt moderation on or off."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from harness.errors import Unsupported
from harness.guest.offloads import Offload
from harness.guest.settings import (
    PAUSE_AUTONEGOTIATION,
    RECEIVE_PAUSE,
    TRANSMIT_PAUSE,
    SettingKind,
    SettingOperations,
)
from harness.guest.windows_offloads import WindowsOffloads, offload_values

_FLOW_CONTROL = "*flowcontrol"
_TRANSMIT, _RECEIVE, _NEGOTIATED = 1, 2, 4
"""0 none, 1 transmit, 2 receive, 3 both, 4 as negotiated (Microsoft, "Enumeration Keywords")."""
_MODERATION = "*interruptmoderation"


class WindowsSettings(WindowsOffloads, SettingOperations):
    """The driver's settings of these kinds."""

    def settings(self, kind: SettingKind) -> Mapping[str, int]:
        """Return the settings of a kind."""
        match kind:
            case SettingKind.PAUSE:
                number = self._flow_control()
                return {
                    PAUSE_AUTONEGOTIATION: int(number == _NEGOTIATED),
                    RECEIVE_PAUSE: int(number == _NEGOTIATED or bool(number & _RECEIVE)),
                    TRANSMIT_PAUSE: int(number == _NEGOTIATED or bool(number & _TRANSMIT)),
                }
            case SettingKind.FEATURES:
                return {one.value: int(state.on) for one, state in self.offloads().items() if not state.fixed}
            case SettingKind.COALESCING:
                raise Unsupported(f"{kind}: Windows' drivers have named levels of moderation, not intervals")
            case _:
                raise Unsupported(f"{kind}: Windows' drivers have no such settings")

    def all_settings(self) -> Mapping[SettingKind, Mapping[str, int]]:
        """Return pause, where the driver has it, and the features."""
        found = {SettingKind.FEATURES: self.settings(SettingKind.FEATURES)}
        with suppress(Unsupported):
            found[SettingKind.PAUSE] = self.settings(SettingKind.PAUSE)
        return found

    def settings_lacking(self, kind: SettingKind) -> Mapping[str, int]:
        """Return the features that the driver has no setting for; no system tells of other kinds."""
        if kind is not SettingKind.FEATURES:
            raise Unsupported(f"settings that are lacking ({kind}): Windows tells only of those that there are")
        return {one.value: int(state.on) for one, state in self.offloads().items() if state.fixed}

    def features_overruled(self) -> frozenset[str]:
        """Return none: a keyword is what was written to it."""
        return frozenset()

    def change_settings(self, kind: SettingKind, values: Mapping[str, int]) -> str:
        """Change settings of a kind, all at once."""
        settings = self._settings()
        wanted: dict[str, str] = {}
        if kind is SettingKind.PAUSE:
            receive, transmit = values[RECEIVE_PAUSE], values[TRANSMIT_PAUSE]
            number = _RECEIVE * bool(receive) | _TRANSMIT * bool(transmit)
            if values[PAUSE_AUTONEGOTIATION]:
                if not (receive and transmit):
                    return "*FlowControl knows negotiated pause for both ways alone"
                number = _NEGOTIATED
            self._flow_control()
            wanted = {_FLOW_CONTROL: str(number)}
        elif kind is SettingKind.FEATURES:
            for name, on in values.items():
                _, switch_on, switch_off = offload_values(settings, Offload(name))
                change = switch_on if on else switch_off
                if not change:
                    return f"this driver has no setting that switches {name} {'on' if on else 'off'}"
                wanted |= change
                settings |= {name: replace(settings[name], value=value) for name, value in change.items()}
        else:
            self.settings(kind)
        for name, value in wanted.items():
            if not settings[name].offers(value):
                return f"the driver's INF does not offer {name} = {value}"
        self._write(wanted)
        return ""

    def set_throttle(self, interval_us: int) -> None:
        """Switch interrupt moderation off; an interval cannot be chosen."""
        if interval_us:
            raise Unsupported("interrupt throttling: Windows' drivers have named levels, not intervals")
        keyword = self._settings().get(_MODERATION)
        if keyword is None or not keyword.offers("0"):
            raise Unsupported("interrupt throttling: this driver cannot switch it off")
        if keyword.value != "0":
            self._write({_MODERATION: "0"})

    def _flow_control(self) -> int:
        keyword = self._settings().get(_FLOW_CONTROL)
        if keyword is None or keyword.number is None:
            raise Unsupported(f"{SettingKind.PAUSE}: this driver has no such setting")
        return keyword.number
