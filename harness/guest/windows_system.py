"""What every operation on a Windows guest stands on: the DUT's device, its keys in the registry, its state, a restart.

The two generations differ in how the device is found and switched; the registry and its program are the same.
"""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.errors import NicproofError
from harness.guest.operations import Operations
from harness.guest.transport import Transport
from harness.guest.windows_registry import DEVICES, Keyword, keywords, parse_reg_query

LINK_DEADLINE_S = 60.0
"""For the link to come up after the device was started: Windows also sets up its protocols."""
RESTART_DEADLINE_S = 120.0
"""For the device to be switched off and on."""


@dataclass(frozen=True)
class Adapter:
    """What Windows says of the DUT's network adapter now; None where this generation does not tell."""

    up: bool
    mac: str
    """In lower case with colons; "" while the device is off."""
    permanent_mac: str | None = None
    speed_mbps: int | None = None
    full_duplex: bool | None = None
    mtu: int | None = None


@dataclass(frozen=True)
class Device:
    """The DUT as Windows' device tree has it."""

    instance: str
    r"""Such as PCI\VEN_8086&DEV_100E&SUBSYS_11001AF4&REV_03\3&13C0B0C5&0&18."""
    service: str
    """The driver's service; "" without a driver."""
    class_key: str
    """The key of its settings; "" without a driver."""
    ids: tuple[str, ...]
    """Hardware and compatible ids."""


def mac_of(text: str) -> str:
    """Return a MAC address in lower case with colons, of 52-54-00-6E-70-01, 52:54:00:6E:70:01 or 5254006E7001."""
    digits = re.sub(r"[^0-9a-f]", "", text.lower())
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def device_of(instance: str, values: Mapping[str, str]) -> Device:
    r"""Return the device whose key below `Enum` holds these values.

    From Microsoft's "Registry Trees and Keys for Devices and Drivers" and ReactOS, which has the same (not recorded);
    reg.exe shows the end of each text of a REG_MULTI_SZ as \0:
        HardwareID    REG_MULTI_SZ    PCI\VEN_8086&DEV_100E&SUBSYS_11001AF4&REV_03\0PCI\VEN_8086&DEV_100E&CC_020000
        Driver    REG_SZ    {4D36E972-E325-11CE-BFC1-08002BE10318}\0001
        Service    REG_SZ    E1G60
    """
    named = {name.lower(): value for name, value in values.items()}
    driver = named.get("driver", "")
    ids = [one for field in ("hardwareid", "compatibleids") for one in named.get(field, "").split(r"\0") if one]
    key = rf"HKLM\SYSTEM\CurrentControlSet\Control\Class\{driver}" if driver else ""
    return Device(instance, named.get("service", ""), key, tuple(ids))


class WindowsSystem(Operations, ABC):
    """A Windows guest behind one transport."""

    lacks = "nicproof has no way to do this on Windows"

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @abstractmethod
    def _find_instance(self) -> str | None:
        """Return the device instance of the DUT, if it is there."""

    @abstractmethod
    def _adapter(self) -> Adapter:
        """Return the adapter's state."""

    @abstractmethod
    def _switch(self, action: str) -> None:
        """Have the device tree do something with the DUT: "disable", "enable" or "restart"."""

    @cached_property
    def _device(self) -> Device:
        instance = self._find_instance()
        if instance is None:
            raise NicproofError("Windows has no device at the DUT's place")
        return device_of(instance, self._values(rf"{DEVICES}\{instance}"))

    def _forget(self) -> None:
        """Forget which device the DUT is: another driver may have given it another key."""
        self.__dict__.pop("_device", None)

    def _values(self, key: str) -> dict[str, str]:
        """Return the values in one key of the registry."""
        keys = parse_reg_query(self._transport.check(f'reg query "{key}"'))
        return keys[min(keys, key=len)] if keys else {}

    @property
    def _class_key(self) -> str:
        if not self._device.class_key:
            raise NicproofError(f"Windows has no driver for {self._device.instance}")
        return self._device.class_key

    def _settings(self) -> dict[str, Keyword]:
        """Return the driver's settings by keyword in lower case."""
        return keywords(parse_reg_query(self._transport.check(f'reg query "{self._class_key}" /s')))

    def _connection(self) -> str:
        """Return the connection's name, which a user may have changed and every language has its own for."""
        guid = self._values(self._class_key)["NetCfgInstanceId"]
        network = self._class_key.rpartition("\\")[0].replace(r"\Class", r"\Network")
        return self._values(rf"{network}\{guid}\Connection")["Name"]

    def _write(self, values: Mapping[str, str | None]) -> None:
        """Write settings, or with None delete them, and restart the device, for which drivers read them."""
        for name, value in values.items():
            if value is None:
                self._transport.run(f'reg delete "{self._class_key}" /v "{name}" /f')
            else:
                self._transport.check(f'reg add "{self._class_key}" /v "{name}" /t REG_SZ /d "{value}" /f')
        self._switch("restart")
        self._await_link(True)

    def _await_link(self, up: bool, deadline_s: float = LINK_DEADLINE_S) -> None:
        if not self._link_comes(up, deadline_s):
            raise NicproofError(f"Windows did not see the link {'up' if up else 'down'} within {deadline_s:g} s")

    def _link_comes(self, up: bool, deadline_s: float = LINK_DEADLINE_S) -> bool:
        """Ask again and again, for which no event reaches a command line; a question takes long enough in itself."""
        end = time.monotonic() + deadline_s
        while (now := self._adapter().up) != up and time.monotonic() < end:
            pass
        return now == up

    def close(self) -> None:
        """End the connection."""
        self._transport.close()
