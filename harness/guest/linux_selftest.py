"""What a Linux driver shows of its NIC, through ethtool."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from harness.errors import NicproofError, Unsupported
from harness.guest.linux_system import LinuxSystem
from harness.guest.selftest import (
    Ability,
    DriverInformation,
    Eeprom,
    SelfTest,
    SelfTestOperations,
    SelfTestPart,
    WakeEvent,
    WakeEvents,
)
from harness.guest.transport import CommandFailed

_SELF_TEST_DEADLINE_S = 120.0
_EEPROM_OCTETS = 0x80
_PARTS = {
    "Register test": SelfTestPart.REGISTERS,
    "Eeprom test": SelfTestPart.EEPROM,
    "Interrupt test": SelfTestPart.INTERRUPTS,
    "Loopback test": SelfTestPart.LOOPBACK,
    "Link test": SelfTestPart.LINK,
}
"""As Intel's drivers name them."""
_ABILITIES = {
    "supports-statistics": Ability.STATISTICS,
    "supports-test": Ability.SELF_TEST,
    "supports-eeprom-access": Ability.EEPROM,
    "supports-register-dump": Ability.REGISTER_DUMP,
    "supports-priv-flags": Ability.PRIVATE_FLAGS,
}
_LETTERS = {
    WakeEvent.LINK_CHANGE: "p",
    WakeEvent.UNICAST: "u",
    WakeEvent.MULTICAST: "m",
    WakeEvent.BROADCAST: "b",
    WakeEvent.ARP: "a",
    WakeEvent.MAGIC_PACKET: "g",
}
_IGBVF_DUMP = ("CTRL", "STATUS", "RDLEN", "RDH", "RDT", "TDLEN", "TDH", "TDT")
"""The words that igbvf dumps (igbvf_get_regs), which ethtool prints without names."""


def parse_self_test(text: str) -> SelfTest:
    """Read what `ethtool -t` prints.

    Real lines, ethtool 6.14 and 5.9:
        The test result is FAIL
        The test extra info:
        Register test  (offline)         376
        Link test   (on/offline)         0

    Raises:
        NicproofError: there is no result.
    """
    result = re.search(r"^The test result is (PASS|FAIL)", text, re.MULTILINE)
    if result is None:
        raise NicproofError(f"ethtool -t names no result: {text!r}")
    parts = re.findall(r"^(\S.*?)\s+\((?:on/)?offline\)\s+(\d+)$", text, re.MULTILINE)
    return SelfTest(result[1] == "PASS", {str(_PARTS.get(name, name)): int(code) for name, code in parts})


def parse_octets(text: str) -> bytes:
    """Read the octets that `ethtool -e`, or `ethtool -d` of a driver whose registers it cannot name, prints.

    Real lines, ethtool 6.14 and 5.9:
        Offset          Values
        ------          ------
        0x0000:         52 54 00 6e 70 01 34 0d ff ff 10 20 ff ff ff ff
    """
    return bytes.fromhex("".join(re.findall(r"^0x[0-9a-f]+:\s+((?:[0-9a-f]{2} ?)+)\s*$", text, re.MULTILINE)))


def parse_registers(text: str) -> dict[str, int]:
    """Read the registers that `ethtool -d` prints with their names.

    Real lines, ethtool 6.14 and 5.9:
        0x00000: CTRL (Device control register)  0x58140241
              Endian mode (buffers):             little
        0x02808: RDLEN  (Receive desc length)                 0x00001000
    """
    found = re.findall(r"^0x[0-9A-F]+: (\w+)\s+\(.*\)\s+0x([0-9A-Fa-f]+)\s*$", text, re.MULTILINE)
    return {name: int(value, 16) for name, value in found}


class LinuxSelfTest(LinuxSystem, SelfTestOperations):
    """The interface's driver."""

    def self_test(self, *, offline: bool) -> SelfTest:
        """Use `ethtool -t`, whose status is not 0 if the test fails."""
        command = f"ethtool -t {self.interface} {'offline' if offline else 'online'}"
        done = self._ssh.run(command, deadline_s=_SELF_TEST_DEADLINE_S)
        if "not supported" in done.stderr:
            raise Unsupported("the driver's self test: the driver has none")
        result = parse_self_test(done.stdout)
        self._wait_carrier()
        return result

    def eeprom(self) -> Eeprom:
        """Use `ethtool -e`."""
        done = self._ssh.run(f"ethtool -e {self.interface} offset 0 length {_EEPROM_OCTETS}")
        if "not supported" in done.stderr:
            raise Unsupported("the EEPROM's content: the driver does not show it")
        octets = parse_octets(done.stdout)
        return Eeprom(tuple(int.from_bytes(octets[at : at + 2], "little") for at in range(0, len(octets), 2)))

    def register_dump(self) -> Mapping[str, int]:
        """Use `ethtool -d`."""
        done = self._ssh.run(f"ethtool -d {self.interface}")
        if "not supported" in done.stderr:
            raise Unsupported("the driver's register dump: the driver has none")
        if named := parse_registers(done.stdout):
            return named
        octets = parse_octets(done.stdout)
        words = (int.from_bytes(octets[at : at + 4], "little") for at in range(0, len(octets), 4))
        return dict(zip(_IGBVF_DUMP, words, strict=True))

    def identify(self, seconds: int) -> str:
        """Use `ethtool -p`."""
        return self._change("the NIC's light", f"ethtool -p {self.interface} {seconds}")

    @contextmanager
    def light_blinking(self) -> Iterator[None]:
        """Use `ethtool -p` without an end, which a signal ends."""
        started = self._ssh.check(f"ethtool -p {self.interface} </dev/null >/dev/null 2>&1 & echo $!").strip()
        try:
            yield
        finally:
            self._ssh.run(f"kill {started} 2>/dev/null")
            waited = self._wait(f"[ ! -e /proc/{started} ]")
            if waited.status:
                raise CommandFailed(waited)

    def wake_events(self) -> WakeEvents:
        """Read what `ethtool` shows of Wake-on-LAN."""
        #         Supports Wake-on: pumbg
        #         Wake-on: g                        (d: nothing)
        shown = dict(
            re.findall(r"(Supports Wake-on|Wake-on): (\w+)", self._ssh.run(f"ethtool {self.interface}").stdout)
        )
        if not shown:
            raise Unsupported("wake-up events: the driver has no such setting")
        offered, on = (
            frozenset(event for event, letter in _LETTERS.items() if letter in shown[words])
            for words in ("Supports Wake-on", "Wake-on")
        )
        # Without MSI the kernel leaves PCI Express PME alone (drivers/acpi/pci_root.c): nothing can wake it then.
        if not offered and self._ssh.run(f"cd {self._device} && test -e power/wakeup -o -e physfn").status:
            raise Unsupported("wake-up events: the system has given this function no way to wake it (power/wakeup)")
        return WakeEvents(offered, on)

    def set_wake_events(self, events: Collection[WakeEvent]) -> str:
        """Use `ethtool -s wol`."""
        letters = "".join(letter for event, letter in _LETTERS.items() if event in events) or "d"
        return self._change("wake-up events", f"ethtool -s {self.interface} wol {letters}")

    def driver_information(self) -> DriverInformation:
        """Read `ethtool -i`."""
        # driver: e1000e
        # firmware-version: 2.1-0
        # bus-info: 0000:01:00.0
        # supports-eeprom-access: yes
        said = self._ssh.check(f"ethtool -i {self.interface}")
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in said.splitlines())}
        return DriverInformation(
            fields["driver"],
            fields["bus-info"].partition(":")[2],
            fields["firmware-version"],
            frozenset(ability for name, ability in _ABILITIES.items() if fields[name] == "yes"),
        )
