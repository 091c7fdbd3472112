"""What all operations on a guest have in common.

A guest overrides what it can do. What it leaves alone raises `Unsupported`, which is a skip with its reason: so a test
asks for operations, never for an operating system.
"""

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from typing import Any, NoReturn, TypeVar, cast

from harness.errors import Unsupported

_LOOKING = """
access all_settings carrier_changes channel_limit channels checksum_errors close configuration counters
device_statistics driver driver_counters driver_information driver_package eeprom endpoint error_counters
features_overruled frames_by_receive_queue full_duplex function_interfaces functions_enabled functions_offered handled
hash_fields identity indirection_table installation_log interrupts is_present link link_settings log mac mtu mtu_range
offers_rules offloads permanent_mac ping put_back queue_statistics queue_vectors receive_ring
receptions_without_memory register_dump release ring_limits rings settings settings_lacking state statistics
statistics_by_source wait_link wake_events warnings
"""
LOOKING = frozenset(_LOOKING.split())
"""The operations that leave a guest as it is; any other may leave it another."""
_SETTING = """
add_vlan ask_for_vlan bounce change_at_once change_settings generate identify join leave light_blinking open_interface
remove_vlan reset_nic set_affinity set_all_multicast set_mac set_mtu set_offload set_promiscuous set_rings
set_throttle set_up set_vlan_offload set_wake_events steer_transmission
"""
SETTING = frozenset(_SETTING.split())
"""Those others that leave nothing but settings, which can be put back. What a driver goes through when it is loaded, or
its device is reset or sleeps, may leave what no setting shows."""

Operation = TypeVar("Operation", bound=Callable[..., Any])


def _changing(operation: Operation) -> Operation:
    @wraps(operation)
    def noted(self: "Operations", *arguments: Any, **named: Any) -> Any:
        self.changes = self.changes | {operation.__name__}
        return operation(self, *arguments, **named)

    return cast(Operation, noted)


class Operations:
    """Operations on a guest, each of which may be lacking.

    Attributes:
        changes: the names of those asked for that may have left the guest another than it was.
    """

    changes: frozenset[str] = frozenset()
    lacks = "nobody can log in to this guest (profile: control: none)"
    """Why an operation is lacking."""

    def __init_subclass__(cls) -> None:
        """Have every operation note that it was asked for, except those that only look and those that are lacking."""
        super().__init_subclass__()
        for name, operation in list(vars(cls).items()):
            if not isfunction(operation) or name.startswith("_") or name in LOOKING:
                continue
            if cls._unsupported.__name__ not in operation.__code__.co_names:
                setattr(cls, name, _changing(operation))

    def _unsupported(self, operation: str) -> NoReturn:
        raise Unsupported(f"{operation}: {self.lacks}")
