"""The DUT's configuration, as far as its guest tells: what a disturbance may not change."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from harness.errors import Unsupported
from harness.guest.links import LinkSettings
from harness.guest.queues import Rings
from harness.guest.settings import SettingKind

Told = TypeVar("Told")


@dataclass(frozen=True)
class Configuration:
    """What a user may have set the DUT to; None is what the guest does not tell."""

    mtu: int | None
    mac: str | None
    link: LinkSettings | None
    rings: Rings | None
    settings: Mapping[SettingKind, Mapping[str, int]]
    """Of every kind of which the driver offers any."""

    def by_name(self) -> dict[str, object]:
        """Return its parts by the names that they have in messages, without what is not told."""
        settings = {str(kind): values for kind, values in self.settings.items()}
        parts = {"MTU": self.mtu, "MAC address": self.mac, "link": self.link, "rings": self.rings, **settings}
        return {name: part for name, part in parts.items() if part is not None}


def told(ask: Callable[[], Told]) -> Told | None:
    """Return the answer; None where the guest has none."""
    with suppress(Unsupported):
        return ask()
    return None
