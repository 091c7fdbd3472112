"""Generated traffic on Linux: the kernel's packet generator."""

from harness.errors import Unsupported
from harness.guest.generator import GeneratorOperations
from harness.guest.linux_system import LinuxSystem
from harness.guest.transport import CommandFailed
from harness.station import WIRE

_GENERATE = """
test -d /proc/net/pktgen || modprobe -q pktgen
cd /proc/net/pktgen || exit 77
set -e
test -e {interface} || echo add_device {interface} >kpktgend_0
for what in "count {count}" "clone_skb 0" "pkt_size {octets}" "delay 0" "dst_mac {mac}" "dst {ip}"; do
    echo $what >{interface}
done
echo start >pgctrl
timeout {deadline_s} sh -c 'until grep -q "^Result: OK: [0-9]*(" {interface}; do sleep 0.1; done'
"""
"""pktgen sends from port 9 to port 9 unless it is told other ones. `start` lasts until all is sent, unless the kernel's
thread did not begin within 100 ms (net/core/pktgen.c, pktgen_run_all_threads)."""
_NO_GENERATOR = 77
_DEADLINE_S = 60


class LinuxGenerator(LinuxSystem, GeneratorOperations):
    """pktgen, on one processor."""

    def generate(self, count: int, octets: int) -> None:
        """Have pktgen send.

        Raises:
            Unsupported: this kernel has no pktgen.
        """
        # Result: OK: 59121(c58307+d814) usec, 4000 (60byte,0frags)
        script = _GENERATE.format(
            interface=self.interface, count=count, octets=octets, mac=WIRE.mac, ip=WIRE.ip, deadline_s=_DEADLINE_S
        )
        done = self._ssh.run(script, deadline_s=2 * _DEADLINE_S)
        if done.status == _NO_GENERATOR:
            raise Unsupported("generated traffic: this kernel has no packet generator")
        if done.status:
            raise CommandFailed(done)
