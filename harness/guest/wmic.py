"""WMI from a line of cmd.exe: `wmic ... /value`, whose names no Windows translates."""

import re
from collections.abc import Collection

from harness.guest.transport import CommandFailed, Transport

Row = dict[str, str]
"""Property -> value, "" for none."""


def plain(text: str) -> str:
    r"""Return wmic's output as text with line feeds.

    What it writes to a file or a pipe is UTF-16 with a byte order mark in some versions, and lines end \r\r\n in
    others. A transport that took it for UTF-8 leaves a NUL after each character, and the mark as two replacements.
    """
    if "\0" in text:
        text = text.replace("\0", "").lstrip("\ufffd\ufeff")
    return re.sub(r"\r+\n", "\n", text).replace("\r", "\n")


def parse_values(text: str, properties: Collection[str]) -> list[Row]:
    r"""Read what `wmic ... get PROPERTIES /value` prints: a block of lines for each instance, by property as asked for.

    Real lines, Windows Server 2003 R2, shortened (from a public repository's recorded outputs); a long value goes on in
    the next line:
        LargeSystemCache=1
        LastBootUpTime=20171019094424.510250+000
        Name=Microsoft Windows Server 2003 R2 Datacenter x64 Edition|C:\WINDOWS|\Device\
        Harddisk0\Partition1
        NumberOfLicensedUsers=5
    """
    wanted = {name.lower(): name for name in properties}
    rows: list[Row] = []
    last = ""
    for line in plain(text).split("\n"):
        name, equals, value = line.partition("=")
        if equals and name.lower() in wanted:
            last = wanted[name.lower()]
            if not rows or last in rows[-1]:  # a block is over when its first property comes again
                rows.append({})
            rows[-1][last] = value
        elif rows:
            rows[-1][last] += line
    return rows


class Wmic:
    """wmic.exe in a guest."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, source: str, *properties: str, where: str = "", deadline_s: float = 120.0) -> list[Row]:
        """Return the properties of the instances of a WMI class.

        Args:
            source: what stands after wmic: "path Win32_NetworkAdapter".
            properties: their names.
            where: a condition in WQL, without double quotes.
            deadline_s: WMI on an emulated processor takes its time, the first question most of all.

        Raises:
            CommandFailed: wmic failed.
        """
        condition = f' where "{where}"' if where else ""
        # Its standard input is closed: over SSH it may wait for what never comes (not verified on a guest yet).
        done = self._transport.run(
            f"wmic {source}{condition} get {','.join(properties)} /value < NUL", deadline_s=deadline_s
        )
        if done.status:
            raise CommandFailed(done)
        return parse_values(done.stdout, properties)
