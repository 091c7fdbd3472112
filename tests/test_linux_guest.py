"""/proc/interrupts as real kernels print it: who handles what, on which way."""

import pytest

from harness.errors import NicproofError
from harness.guest.linux import parse_interrupts
from harness.guest.linux_lifecycle import parse_held
from harness.guest.linux_links import parse_link_events
from harness.nic import InterruptMode

# Debian 11, Linux 5.10: igb with its vectors and virtio companions.
PCI_MSI_5_10 = """\
           CPU0       CPU1       
 24:          0          0   PCI-MSI 65536-edge      PCIe PME
 31:          0          0   PCI-MSI 131072-edge      virtio2-config
 32:          2          0   PCI-MSI 131073-edge      virtio2-input
 33:          0         18   PCI-MSI 524288-edge      eth1-rx-0
 34:          9          0   PCI-MSI 524289-edge      eth1-tx-0
 35:          0          4   PCI-MSI 524290-edge      eth1
NMI:          0          0   Non-maskable interrupts
LOC:       1880        948   Local timer interrupts
ERR:          0
MIS:          0
"""
# Debian 12, Linux 6.1: igb behind VT-d; the first vector is the link's.
REMAPPED_6_1 = """\
           CPU0       CPU1       
 33:          0          4  IR-PCI-MSI 131073-edge      virtio2-input
 34:          1          0  IR-PCI-MSI 524288-edge      eth1
 35:          0         15  IR-PCI-MSI 524289-edge      eth1-rx-0
 36:          7          0  IR-PCI-MSI 524290-edge      eth1-rx-1
 37:          0          5  IR-PCI-MSI 524291-edge      eth1-tx-0
 38:          9          0  IR-PCI-MSI 524292-edge      eth1-tx-1
"""
# Debian 13, Linux 6.12.
MSIX_6_12 = """\
           CPU0       CPU1       
 10:         24          0   IO-APIC  10-fasteoi   eth1
 26:          0        200  PCI-MSIX-0000:00:06.0   2-edge      virtio1-req.1
 27:          0          0  PCI-MSIX-0000:00:04.0   0-edge      virtio0-config
 28:          3          0  PCI-MSIX-0000:00:04.0   1-edge      virtio0-input.0
 29:          0          5  PCI-MSIX-0000:00:04.0   2-edge      virtio0-output.0
"""
REMAPPED_6_12 = """\
           CPU0       CPU1       
 34:          1          0  IR-PCI-MSIX-0000:01:00.0   0-edge      eth1
 35:          0         13  IR-PCI-MSIX-0000:01:00.0   1-edge      eth1-rx-0
 36:          7          0  IR-PCI-MSIX-0000:01:00.0   2-edge      eth1-rx-1
"""
# Debian sid, Linux 7: wider numbers and names.
MSIX_SID = """\
            CPU0       CPU1       
  10:          0         23  IO-APIC                 10-fasteoi   eth1
  27:          0          0  PCI-MSIX-0000:00:04.0    0-edge      virtio0-config
  28:          6          0  PCI-MSIX-0000:00:04.0    1-edge      virtio0-virtqueues
"""
SHARED_LINE_5_10 = """\
           CPU0       CPU1       
  9:          0          0   IO-APIC   9-fasteoi   acpi
 11:         22          0   IO-APIC  11-fasteoi   eth0, virtio2
 24:          0          0   PCI-MSI 98304-edge      virtio1-config
"""
SHARED_LINE_SID = """\
            CPU0       CPU1       
  11:         13          0  IO-APIC                 11-fasteoi   eth0, virtio2
  24:          0          0  PCI-MSIX-0000:00:06.0    0-edge      virtio1-config
"""
# noapic
PIC_6_1 = """\
           CPU0       CPU1       
  2:          0          0    XT-PIC      cascade
 11:         24          0    XT-PIC      eth0, virtio2
 12:          3          0    XT-PIC      i8042
"""
PIC_SID = """\
            CPU0       CPU1       
   2:          0          0  XT-PIC                       cascade
  11:         22          0  XT-PIC                       eth0, virtio2
"""
LINE_6_12 = """\
           CPU0       CPU1       
 20:          0         17   IO-APIC  20-fasteoi   eth1
 25:          0          0  PCI-MSIX-0000:00:06.0   0-edge      virtio1-config
"""

MESSAGES = {
    "5.10": (
        PCI_MSI_5_10,
        (33, 34, 35),
        InterruptMode.MSIX,
        [(0, "eth1-rx-0", 18), (1, "eth1-tx-0", 9), (2, "eth1", 4)],
    ),
    "6.1 behind VT-d": (
        REMAPPED_6_1,
        (34, 35, 36, 37, 38),
        InterruptMode.MSIX_REMAPPED,
        [(0, "eth1", 1), (1, "eth1-rx-0", 15), (2, "eth1-rx-1", 7), (3, "eth1-tx-0", 5), (4, "eth1-tx-1", 9)],
    ),
    "6.12": (
        MSIX_6_12,
        (27, 28, 29),
        InterruptMode.MSIX,
        [(0, "virtio0-config", 0), (1, "virtio0-input.0", 3), (2, "virtio0-output.0", 5)],
    ),
    "6.12 behind VT-d": (
        REMAPPED_6_12,
        (34, 35, 36),
        InterruptMode.MSIX_REMAPPED,
        [(0, "eth1", 1), (1, "eth1-rx-0", 13), (2, "eth1-rx-1", 7)],
    ),
    "sid": (MSIX_SID, (27, 28), InterruptMode.MSIX, [(0, "virtio0-config", 0), (1, "virtio0-virtqueues", 6)]),
}
LINES = {
    "5.10, shared": (SHARED_LINE_5_10, 11, InterruptMode.INTX, "eth0, virtio2", (22, 0)),
    "sid, shared": (SHARED_LINE_SID, 11, InterruptMode.INTX, "eth0, virtio2", (13, 0)),
    "6.12": (LINE_6_12, 20, InterruptMode.INTX, "eth1", (0, 17)),
    "6.1, noapic": (PIC_6_1, 11, InterruptMode.INTX_PIC, "eth0, virtio2", (24, 0)),
    "sid, noapic": (PIC_SID, 11, InterruptMode.INTX_PIC, "eth0, virtio2", (22, 0)),
}


@pytest.mark.parametrize("kernel", MESSAGES)
def test_messages_are_read_with_their_table_entry_name_and_count(kernel: str) -> None:
    text, irqs, way, expected = MESSAGES[kernel]
    claim = parse_interrupts(text, dict.fromkeys(irqs, "msix"))
    assert claim.way is way
    assert [(vector.index, vector.name, sum(vector.counts)) for vector in claim.vectors] == expected


@pytest.mark.parametrize("kernel", LINES)
def test_a_line_is_read_with_all_its_handlers_by_processor(kernel: str) -> None:
    text, irq, way, name, counts = LINES[kernel]
    claim = parse_interrupts(text, {irq: ""}, [name.partition(",")[0]])
    assert claim.way is way
    ((vector),) = claim.vectors
    assert (vector.irq, vector.index, vector.name, vector.counts) == (irq, 0, name, counts)


def test_an_msi_is_no_msix_though_old_kernels_print_them_alike() -> None:
    assert parse_interrupts(PCI_MSI_5_10, {33: "msi"}).way is InterruptMode.MSI


def test_another_interrupt_whose_number_begins_alike_is_not_claimed() -> None:
    claim = parse_interrupts(PCI_MSI_5_10.replace(" 31:", "333:"), {33: "msix"})
    assert [vector.irq for vector in claim.vectors] == [33]


@pytest.mark.parametrize("other", ["eth10", "eth", "virtio2"])
def test_a_line_that_only_others_handle_is_not_the_duts(other: str) -> None:
    text = LINE_6_12.replace("eth1", other)
    assert parse_interrupts(text, {20: ""}, ["eth1"]).way is InterruptMode.POLLED


def test_a_line_is_the_duts_beside_one_whose_name_begins_alike() -> None:
    text = LINE_6_12.replace("eth1", "eth10, eth1")
    assert parse_interrupts(text, {20: ""}, ["eth1"]).vectors[0].name == "eth1, eth10"


def test_a_vector_without_a_handler_is_not_claimed() -> None:
    text = MSIX_6_12.replace("virtio0-output.0", "")
    assert [vector.index for vector in parse_interrupts(text, dict.fromkeys((27, 28, 29), "msix")).vectors] == [0, 1]


def test_without_any_handler_the_claim_is_polled() -> None:
    claim = parse_interrupts(LINE_6_12, {21: ""}, ["eth1"])
    assert (claim.way, claim.vectors) == (InterruptMode.POLLED, ())


def test_several_ways_at_once_are_refused() -> None:
    with pytest.raises(NicproofError, match=r"claims several ways for one function: intx, msix$"):
        parse_interrupts(MSIX_6_12, {10: "", 28: "msix"}, ["eth1"])


def test_link_events_are_all_reports_of_one_interface_from_its_first_change_on() -> None:
    text = (
        "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default \\    link/loopback\n"
        "3: eth1: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc mq state DOWN group default \\    link/ether\n"
        "3: eth1: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc mq state DOWN group default \\    link/ether\n"
        "13: eth10: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP group default \\    link/ether\n"
        "3: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP group default \\    link/ether\n"
    )
    assert parse_link_events(text, "eth1") == [True]
    as_it_was = "3: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP group default \\    link/ether\n"
    late = as_it_was
    assert parse_link_events(as_it_was + late + text, "eth1") == [False, False, True]
    assert parse_link_events("", "eth1") == []


ZONES = """\
Node 0, zone    DMA32
  pages free     23186
        boost    0
      nr_free_pages 23186
  pagesets
    cpu: 0
              count:    251
              high:     376
              batch:    63
  vm stats threshold: 16
    cpu: 1
              count:    12
              high:     376
"""
MEMORY = """\
MemTotal:         210308 kB
MemFree:           92744 kB
MemAvailable:     144572 kB
Buffers:             100 kB
Cached:            38716 kB
SwapCached:            0 kB
AnonPages:         29040 kB
Mapped:            14412 kB
SReclaimable:       5996 kB
SUnreclaim:        21184 kB
DirectMap4k:       36736 kB
HugePages_Total:       0
"""


def test_what_is_nobody_elses_is_the_kernels() -> None:
    assert parse_held(ZONES + MEMORY) == 210308 - 92744 - 100 - 38716 - 29040 - 5996 - (251 + 12) * 4
