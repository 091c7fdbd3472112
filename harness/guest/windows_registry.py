r"""The registry as `reg.exe` shows it: the same program on Windows XP and on every later one.

A network driver's settings are in the class key of its NIC, `...\Class\{4D36E972-E325-11CE-BFC1-08002BE10318}\NNNN`:
the values in use directly in it, what may be chosen in its subkey `Ndi\params` (Microsoft, "Specifying Configuration
Parameters for the Advanced Properties Page").
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

NETWORK_CLASS = r"HKLM\SYSTEM\CurrentControlSet\Control\Class\{4D36E972-E325-11CE-BFC1-08002BE10318}"
"""The class of network adapters; its GUID is the same on every Windows (devguid.h, GUID_DEVCLASS_NET)."""
DEVICES = r"HKLM\SYSTEM\CurrentControlSet\Enum"
"""Below it, a key for each device instance that has ever been there."""

_NUMBERS = ("min", "max", "step")

Keys = Mapping[str, Mapping[str, str]]
"""Key, without what was asked for and in lower case -> value's name -> value as text."""


@dataclass(frozen=True)
class Keyword:
    """A setting of a network driver, by the name that its INF gives it."""

    value: str
    choices: tuple[str, ...] = ()
    """All values, where it is one of a few."""
    least: int | None = None
    most: int | None = None
    """Bounds, where it is a number."""
    step: int = 1
    number: int | None = field(init=False)
    """The value, where it is a number."""

    def __post_init__(self) -> None:
        """Read the number."""
        object.__setattr__(self, "number", int(self.value) if re.fullmatch(r"-?\d+", self.value) else None)

    def offers(self, value: str) -> bool:
        """Whether the driver's INF lets a user choose this value."""
        if self.choices:
            return value in self.choices
        if self.least is not None and self.most is not None and re.fullmatch(r"\d+", value):
            return self.least <= int(value) <= self.most and (int(value) - self.least) % self.step == 0
        return True

    def bounds(self) -> tuple[int, int] | None:
        """Return the least and the largest number that may be chosen; None where the INF does not say."""
        numbers = [int(one) for one in self.choices if one.isdigit()]
        if numbers:
            return min(numbers), max(numbers)
        return None if self.least is None or self.most is None else (self.least, self.most)


def parse_reg_query(text: str) -> dict[str, dict[str, str]]:
    r"""Read what `reg query KEY /s` prints: key in lower case -> name -> value as text; numbers are decimal.

    Real lines, Windows XP (from Microsoft's about_Registry page; reg.exe 3.0 separates by tabs):
        ! REG.EXE VERSION 3.0

        HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion
            DevicePath  REG_EXPAND_SZ   %SystemRoot%\inf

    Real lines of Wine 8.0, which are those of Windows Vista and later (four blanks):
        HKEY_LOCAL_MACHINE\Software\Wine\nicproof
            *JumboPacket    REG_SZ    1514
            Characteristics    REG_DWORD    0x84
    """
    keys: dict[str, dict[str, str]] = {}
    values: dict[str, str] = {}
    for line in text.replace("\r", "").splitlines():
        if line.startswith("HKEY_"):
            values = keys.setdefault(line.strip().lower(), {})
        elif found := re.match(r"\s+(.+?)(?:\t+| {2,})(REG_[A-Z_]+)(?:(?:\t| {2,})(.*))?$", line):
            name, kind, value = found[1], found[2], (found[3] or "").strip()
            values[name] = str(int(value, 16)) if kind == "REG_DWORD" and value else value
    return keys


def keywords(keys: Keys) -> dict[str, Keyword]:
    r"""Return the settings in a NIC's class key, as `parse_reg_query` has read it with its subkeys.

    A keyword is one that has a key in `Ndi\params`; its value is in the class key, or else its default.
    """
    top = min(keys, key=len, default="")
    named = {name.lower(): value for name, value in keys.get(top, {}).items()}
    found: dict[str, Keyword] = {}
    for key, values in keys.items():
        parts = key[len(top) :].strip("\\").split("\\")
        if len(parts) != 3 or parts[:2] != ["ndi", "params"]:
            continue
        fields = {name.lower(): value for name, value in values.items()}  # INFs write both "Type" and "type"
        value = named.get(parts[2], fields.get("default", ""))
        least, most, step = (int(fields[one]) if fields.get(one, "").isdigit() else None for one in _NUMBERS)
        found[parts[2]] = Keyword(value, tuple(keys.get(f"{key}\\enum", {})), least, most, step or 1)
    return found
