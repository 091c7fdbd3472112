"""Guests that were tampered with over SSH, after the fork and before the test."""

from collections.abc import Callable

from harness.fault import Fault
from harness.station import DUT
from harness.testbed import Testbed

PRELUDE = """
set -e
nic=$(grep -l {mac} /sys/class/net/*/address); nic=${{nic#/sys/class/net/}}; nic=${{nic%/address}}
address={address}; device=/sys/bus/pci/devices/0000:$address
pretend() {{ # FILE: reads as standard input does now; what is written to it has no effect
    copy=$(mktemp); cat >$copy; mount --bind $copy $1
}}
instead() {{ # COMMAND: becomes the script on standard input, which finds the real one as /real/COMMAND
    mkdir -p /real; at=$(command -v $1); (echo '#!/bin/sh'; cat) >/real/new; chmod +x /real/new
    mv $at /real/$1; mv /real/new $at
}}
forever() {{ # COMMAND
    setsid sh -c "while :; do $1; done" </dev/null >/dev/null 2>&1 &
}}
"""


def in_guest(script: str) -> Callable[[Testbed], None]:
    """Have the guest's shell run a script; $nic, $address and $device are the DUT's."""

    def tamper(bed: Testbed) -> None:
        ssh = bed.connect()
        try:
            ssh.check(PRELUDE.format(mac=DUT.mac, address=bed.bdf) + script)
        finally:
            ssh.close()

    return tamper


def rewritten(command: str, which: str, change: str) -> str:
    """Return a script after which a command prints something else, by sed, for arguments that match a shell pattern."""
    return f"""instead {command} <<'SCRIPT'
case $* in
{which}) /real/{command} "$@" | sed '{change}' ;;
*) exec /real/{command} "$@" ;;
esac
SCRIPT
"""


def without(tool: str, arguments: str) -> str:
    """Return a script after which a tool only claims to do what it is asked with arguments that match a pattern."""
    return f"""echo 'case $* in {arguments}) ;; *) exec /real/{tool} "$@" ;; esac' | instead {tool}"""


LISTENER = """
import os, socket
udp, tcp = (socket.socket(socket.AF_INET6, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
for service in udp, tcp:
    service.bind(("::", 9))
    os.set_inheritable(service.fileno(), True)
tcp.listen()
os.fork() or os.execvp("sleep", ["sleep", "600"])
"""
"""Listens on port 9 by UDP and TCP over both families; the ports are open when it returns."""

FAULTS = (
    Fault(
        "the guest reads another subsystem than the device has",
        cell="e1000e/msix",
        tests=("test_enumeration.py::test_guest_reads_the_same_identity",),
        tampered=in_guest("echo 0xbeef | pretend $device/subsystem_device"),
    ),
    Fault(
        "memory decoding is off",
        cell="e1000e/msix",
        tests=("test_enumeration.py::test_memory_decoding_is_on",),
        tampered=in_guest("setpci -s $address COMMAND=0:2"),
    ),
    Fault(
        "bus mastering is off",
        cell="e1000e/msix",
        tests=("test_enumeration.py::test_bus_mastering_is_on",),
        tampered=in_guest("setpci -s $address COMMAND=0:4"),
    ),
    Fault(
        "the guest reads a command register of zero",
        cell="e1000e/msix",
        tests=("test_enumeration.py::test_guest_agrees_on_decoding_and_mastering",),
        tampered=in_guest("echo 'echo 0000' | instead setpci"),
    ),
    Fault(
        "no driver is bound",
        cell="e1000e/msix",
        tests=("test_enumeration.py::test_function_has_exactly_one_interface",),
        tampered=in_guest("echo 0000:$address >$device/driver/unbind"),
    ),
    Fault(
        "the interface has another MAC address",
        cell="e1000e/msix",
        tests=(
            "test_enumeration.py::test_guest_reads_the_configured_mac_address",
            "test_enumeration.py::test_frames_come_from_the_configured_mac_address",
        ),
        tampered=in_guest("ip link set $nic address 52:54:00:6e:70:77"),
    ),
    Fault(
        "the interface is down",
        cell="e1000e/msix",
        tests=("test_enumeration.py::test_link_is_up",),
        tampered=in_guest("ip link set $nic down"),
    ),
    Fault(
        "the kernel warns of the NIC",
        cell="e1000e/msix",
        tests=("test_enumeration.py::test_probe_leaves_no_warning",),
        tampered=in_guest('echo "<4>e1000e 0000:$address: The NVM Checksum Is Not Valid" >/dev/kmsg'),
    ),
    Fault(
        "one vector has no handler",
        cell="e1000e/msix",
        tests=("test_interrupts.py::test_guest_claims_the_vectors_that_the_device_has",),
        tampered=in_guest("grep -v $nic-rx-0 /proc/interrupts | pretend /proc/interrupts"),
    ),
    Fault(
        "no interrupt reaches its handler",
        cell="e1000e/msix",
        tests=("test_interrupts.py::test_every_interrupt_delivered_is_handled",),
        tampered=in_guest("pretend /proc/interrupts </proc/interrupts"),
    ),
    Fault(
        "two receive queues have each other's vector",
        cell="igb/msix",
        tests=("test_interrupts.py::test_receive_vector_rises_when_its_queue_is_used_and_only_then",),
        tampered=in_guest("sed 's/rx-0/rx-A/; s/rx-1/rx-0/; s/rx-A/rx-1/' /proc/interrupts | pretend /proc/interrupts"),
    ),
    Fault(
        "every frame is sent through queue 0",
        cell="igb/msix",
        tests=("test_interrupts.py::test_transmit_vector_rises_when_its_queue_is_used_and_only_then",),
        tampered=in_guest(
            "at=/sys/class/net/$nic/queues\n"
            "echo 3 >$at/tx-0/xps_cpus\n"
            "echo 0 >$at/tx-1/xps_cpus\n"
            "for queue in $at/tx-*; do pretend $queue/xps_cpus </dev/null; done"
        ),
    ),
    Fault(
        "the guest never stops talking",
        cell="e1000e/msix",
        tests=("test_interrupts.py::test_idle_link_interrupts_at_most_once_per_vector",),
        tampered=in_guest("forever 'busybox ping -c 1 -W 1 192.0.2.1'"),
    ),
    Fault(
        "the interface does not go down",
        cell="e1000e/msix",
        tests=(
            "test_interrupts.py::test_interrupts_stop_when_the_interface_goes_down",
            "test_interrupts.py::test_vectors_are_freed_when_the_interface_goes_down",
        ),
        tampered=in_guest(without("ip", "*down")),
    ),
    Fault(
        "the interface comes up with fewer vectors",
        cell="igb/msix",
        tests=("test_lifecycle.py::test_down_and_up_under_traffic",),
        tampered=in_guest(
            """echo '/real/ip "$@"; case $* in *up) ethtool -L '$nic' combined 1 ;; esac' | instead ip"""
        ),
    ),
    Fault(
        "interrupts stay on both processors",
        cell="e1000e/msix",
        tests=("test_interrupts.py::test_affinity_is_obeyed",),
        tampered=in_guest(
            "cpu=0\n"
            "for irq in $(ls $device/msi_irqs); do\n"
            "    echo $cpu >/proc/irq/$irq/smp_affinity_list\n"
            "    pretend /proc/irq/$irq/smp_affinity_list </dev/null\n"
            "    cpu=$((1 - cpu))\n"
            "done"
        ),
    ),
    Fault(
        "the interval between interrupts stays as it is",
        cell="e1000e/msix",
        tests=("test_interrupts.py::test_throttling_lowers_interrupts_per_frame",),
        tampered=in_guest(without("ethtool", "-C*")),
    ),
    Fault(
        "no other device is on the line",
        cell="e1000/intx",
        tests=("test_interrupts.py::test_shared_line_serves_two_devices_at_once",),
        tampered=in_guest(
            "modprobe virtio_rng; at=/sys/bus/virtio/drivers/virtio_rng\n"
            "for companion in $at/virtio*; do echo ${companion##*/} >$at/unbind; done"
        ),
    ),
    Fault(
        "somebody listens on the port that should be closed",
        cell="e1000e/msix",
        tests=(
            "test_traffic.py::test_connection_to_closed_port_is_reset",
            "test_traffic.py::test_datagram_to_closed_port_is_refused",
        ),
        tampered=in_guest(f"python3 -c '{LISTENER}' </dev/null >/dev/null 2>&1"),
    ),
    Fault(
        "the interface takes jumbo frames",
        cell="e1000e/msix",
        tests=(
            "test_traffic.py::test_oversize_frames_are_not_delivered",
            "test_traffic.py::test_frame_longer_than_a_tagged_one_is_not_delivered",
            "test_traffic.py::test_oversize_echo_is_not_answered",
        ),
        tampered=in_guest("ip link set $nic mtu 9000; until grep -q 1 $device/net/$nic/carrier; do sleep 0.02; done"),
    ),
)
