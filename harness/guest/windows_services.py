"""Services on Windows, which drivers are too: `sc query`."""

import re
from enum import IntEnum

from harness.errors import NicproofError


class ServiceState(IntEnum):
    """What a service is doing (winsvc.h)."""

    STOPPED = 1
    START_PENDING = 2
    STOP_PENDING = 3
    RUNNING = 4
    CONTINUE_PENDING = 5
    PAUSE_PENDING = 6
    PAUSED = 7


def parse_sc_query(text: str) -> ServiceState:
    """Read the state of what `sc query NAME` prints: the number of the second line that has one, after its type.

    Real lines, Windows 10 (Microsoft's HAXM page; a French Windows has other words at the same places):
        SERVICE_NAME: intelhaxm
            TYPE               : 1  KERNEL_DRIVER
            STATE              : 4  RUNNING
                                    (STOPPABLE, NOT_PAUSABLE, IGNORES_SHUTDOWN)
            WIN32_EXIT_CODE    : 0  (0x0)

    Raises:
        NicproofError: there is no state.
    """
    numbers = re.findall(r"^[ \t]+[^:(\n]+:[ \t]*([0-9a-fA-F]+)(?=\s)", text, re.MULTILINE)
    if len(numbers) < 2 or not numbers[1].isdigit():
        raise NicproofError(f"sc query shows no state: {text.strip()[:80]!r}")
    return ServiceState(int(numbers[1]))
