"""What ethtool prints is read as it was meant, in its newer and its older form."""

import pytest

from harness.guest.links import LinkSettings
from harness.guest.linux_links import parse_link
from harness.guest.linux_offloads import parse_features
from harness.guest.linux_queues import parse_indirection, parse_maximum_and_current, parse_rings, parse_rule_refusal
from harness.guest.linux_selftest import parse_octets, parse_registers, parse_self_test
from harness.guest.linux_settings import (
    parse_coalescing,
    parse_message_level,
    parse_pause,
    parse_private_flags,
)
from harness.guest.offloads import OffloadState
from harness.guest.queues import Rings
from harness.guest.selftest import Eeprom, SelfTestPart
from harness.guest.settings import (
    MESSAGES,
    PAUSE_AUTONEGOTIATION,
    RECEIVE_INTERVAL,
    RECEIVE_PAUSE,
    TRANSMIT_INTERVAL,
    TRANSMIT_PAUSE,
)
from harness.guest.transport import Completed
from harness.traffic.flows import ADDRESSES, ADDRESSES_AND_PORTS, Flow, FlowKind, Transport, random_flows

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
RINGS = """Ring parameters for eth1:
Pre-set maximums:
RX:\t\t4096
RX Mini:\t{none}
TX:\t\t2048
Current hardware settings:
RX:\t\t256
RX Mini:\t{none}
TX:\t\t128
"""


def test_rings_of_new_and_old_ethtool() -> None:
    for none in ("n/a", "0"):
        text = RINGS.format(none=none)
        assert parse_rings(text) == (Rings(4096, 2048), Rings(256, 128))
        assert parse_maximum_and_current(text, "RX Mini") is None
    assert parse_rings("netlink error: Operation not supported\n") is None


def test_link_that_is_known_or_not() -> None:
    known = "\tSpeed: 1000Mb/s\n\tDuplex: Full\n\tAuto-negotiation: on\n"
    unknown = "\tSpeed: Unknown!\n\tDuplex: Unknown! (255)\n\tAuto-negotiation: off\n"
    assert parse_link(known, "Autonegotiate:\ton\nRX:\t\ton\nTX:\t\toff\n") == LinkSettings(
        1000, True, True, (True, False)
    )
    assert parse_link(unknown, "netlink error: Operation not supported\n") == LinkSettings(None, None, False, None)


def test_indirection_table() -> None:
    text = """
RX flow hash indirection table for eth1 with 2 RX ring(s):
    0:      0     0     0     0     0     0     0     0
    8:      1     1     1     1     1     1     1     1
RSS hash key:
6d:5a:56
RSS hash function:
    toeplitz: on
"""
    assert parse_indirection(text) == (0,) * 8 + (1,) * 8
    assert (
        parse_indirection("RX flow hash indirection table for eth0 with 1 RX ring(s):\nOperation not supported") == ()
    )


@pytest.mark.parametrize("status", [0, 1], ids=["ethtool 6.1", "ethtool 6.14"])
def test_rule_that_the_driver_refused_is_refused_whatever_the_status(status: int) -> None:
    said = "rmgr: Cannot insert RX class rule: Operation not supported"
    assert parse_rule_refusal(Completed("ethtool -N", status, "", f"{said}\n")) == said
    assert parse_rule_refusal(Completed("ethtool -N", 0, "Added rule with ID 15\n", "")) == ""


def test_flow_goes_to_the_queue_of_its_published_hash() -> None:
    flow = Flow(FlowKind(4, Transport.TCP), "66.9.149.187", "161.142.100.80", (2794, 1766))
    table = tuple(range(128))
    assert flow.queue(KEY, table, ADDRESSES) == 0x323E8FC2 & 127
    assert flow.queue(KEY, table, ADDRESSES_AND_PORTS) == 0x51CCC178 & 127


def test_random_flows_are_the_same_in_every_run() -> None:
    kind = FlowKind(6, Transport.UDP)
    assert random_flows(kind, 8) == random_flows(kind, 8)
    assert len({flow.frame() for flow in random_flows(kind, 8)}) == 8


def test_self_test_that_fails_names_its_parts() -> None:
    seen = parse_self_test(
        "The test result is FAIL\nThe test extra info:\nRegister test  (offline)\t 376\nLink test   (on/offline)\t 0\n"
    )
    assert (seen.passed, seen.results) == (False, {SelfTestPart.REGISTERS: 376, SelfTestPart.LINK: 0})


def test_octets_of_a_dump() -> None:
    text = "Offset\t\tValues\n------\t\t------\n0x0000:\t\t52 54 00 6e \n0x0010:\t\tff 10 \n"
    assert parse_octets(text) == bytes.fromhex("5254006eff10")


def test_eeprom_of_an_82574l() -> None:
    words = Eeprom((0x5452, 0x6E00, 0x0170, 0x0D34, 0xFFFF, 0x2010, *(0xFFFF,) * 57, 0xC9EE))
    assert words.mac.hex(":") == "52:54:00:6e:70:01"
    assert words.image_version == "2.1"
    assert words.sum == 0xBABA


def test_registers_of_each_driver() -> None:
    text = (
        "0x00000: CTRL (Device control register)  0x58140241\n      Endian mode (buffers):             little\n"
        "0x02808: RDLEN  (Receive desc length)                 0x00001000\n"
        "0x00400: TCTL (Transmit ctrl register)                0xA503F0FA\n"
    )
    assert parse_registers(text) == {"CTRL": 0x58140241, "RDLEN": 0x1000, "TCTL": 0xA503F0FA}


def test_settings_of_new_and_old_ethtool() -> None:
    new = "Adaptive RX: n/a  TX: n/a\nrx-usecs:\t0\ntx-usecs:\t3\nrx-frame-low:\tn/a\n"
    old = "Adaptive RX: off  TX: off\nrx-usecs: 0\ntx-usecs: 3\nrx-frame-low: 0\n"
    for text in (new, old):
        assert parse_coalescing(text) == (
            {RECEIVE_INTERVAL: 0, TRANSMIT_INTERVAL: 3},
            {"rx-frames-low": 0, "adaptive-rx": 0, "adaptive-tx": 0},
        )
    assert parse_message_level("\tCurrent message level: 0x000000ff (255)\n\t\t drv probe link\n") == {MESSAGES: 255}
    for line in ("legacy-rx: off", "legacy-rx   : off"):
        assert parse_private_flags(f"Private flags for eth1:\n{line}\n") == {"legacy-rx": 0}
    pause = "Pause parameters for eth1:\nAutonegotiate:\ton\nRX:\t\ton\nTX:\t\toff\nRX negotiated: on\n"
    assert parse_pause(pause) == {PAUSE_AUTONEGOTIATION: 1, RECEIVE_PAUSE: 1, TRANSMIT_PAUSE: 0}


def test_features_that_are_fixed_summed_up_or_overruled() -> None:
    text = (
        "Features for eth1:\nrx-checksumming: on\ntx-checksumming: on\n\ttx-checksum-ipv4: off [fixed]\n"
        "\ttx-checksum-ip-generic: on\ntcp-segmentation-offload: off\n\ttx-tcp-segmentation: off [requested on]\n"
        "receive-hashing: on\n"
    )
    whole, members = parse_features(text), parse_features(text, groups=False)
    assert whole.keys() - members.keys() == {"tx-checksumming", "tcp-segmentation-offload"}
    assert members == {
        "rx-checksumming": OffloadState(on=True, fixed=False),
        "tx-checksum-ipv4": OffloadState(on=False, fixed=True),
        "tx-checksum-ip-generic": OffloadState(on=True, fixed=False),
        "tx-tcp-segmentation": OffloadState(on=False, fixed=False, overruled=True),
        "receive-hashing": OffloadState(on=True, fixed=False),
    }
