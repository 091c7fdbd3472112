"""Guest images: what goes in, what a real boot makes of it, and what is said when one cannot be built."""

import base64
import bz2
import gzip
import json
import lzma
import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import paramiko
import pytest
import zstandard
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether

from harness.cache import cache_root, entries
from harness.endpoint.cable import Cable
from harness.endpoint.neighbour import Neighbour
from harness.endpoint.wire import Wire
from harness.errors import InputError, NicproofError
from harness.image import BootImage
from harness.image.disk import disk_image
from harness.image.firmware import firmware_image
from harness.image.initrd import load_order
from harness.image.kernel import kernel_release, uncompressed_kernel
from harness.image.keys import guest_keys
from harness.image.linux import build_linux, linux_image
from harness.image.root import debian_root
from harness.profile import BuiltImage, DiskImage, KernelImage, RomImage
from harness.qemu.binary import find_qemu
from harness.qemu.process import QemuProcess
from harness.station import DUT, WIRE

CONTROL_MAC, DUT_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"
BOOT_DEADLINE_S = 120.0
BANNER = b"Linux version 6.12.107+deb13-amd64 (debian-kernel@lists.debian.org) (x86_64-linux-gnu-gcc-14 ..."


def elf_kernel(note: int = 18) -> bytes:
    """A 64-bit ELF with one PT_NOTE segment that holds one note, and a kernel's banner."""
    text = struct.pack("<III4sQ", 4, 8, note, b"Xen\0", 0x1000000)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(text), len(text), 4)
    return head + segment + text + BANNER


def bz_image(payload: bytes) -> bytes:
    setup = bytearray(1024)
    setup[0x1F1] = 1
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", setup, 0x248, 16, len(payload))
    return bytes(setup) + bytes(16) + payload + b"tail"


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_kernel_inside_a_bzimage_is_found_whatever_compressed_it(name: str) -> None:
    size = struct.pack("<I", len(elf_kernel()))  # the kernel's build puts it behind the payload
    image = bz_image(COMPRESSIONS[name](elf_kernel()) + size)
    assert uncompressed_kernel(image, "bzImage") == elf_kernel()


def test_vmlinux_is_taken_as_it_is() -> None:
    assert uncompressed_kernel(elf_kernel(), "vmlinux") == elf_kernel()


def test_kernel_release_is_read_from_the_banner() -> None:
    assert kernel_release(elf_kernel()) == "6.12.107+deb13-amd64"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"#!/bin/sh\n", "neither a bzImage nor a 64-bit vmlinux"),
        (b"", "neither a bzImage nor a 64-bit vmlinux"),
        (elf_kernel(note=17), "no PVH entry; build it with CONFIG_PVH=y"),
        (elf_kernel()[:70], "cut short"),
        (bz_image(b"\x04\x22\x4d\x18rest"), "compressed in an unknown way (starts 04224d18)"),
        (bz_image(lzma.compress(elf_kernel())[:-30] + bytes(30)), "damaged"),
        (bz_image(lzma.compress(b"no kernel at all")), "neither a bzImage nor a 64-bit vmlinux"),
    ],
)
def test_kernel_that_cannot_boot_is_refused_with_file_and_reason(data: bytes, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        uncompressed_kernel(data, "image kernel /boot/mine")
    assert str(caught.value).startswith("image kernel /boot/mine: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_modules_are_loaded_after_those_they_need_and_built_in_ones_not_at_all() -> None:
    dependencies = [
        "kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko",
        "kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko",
        "kernel/net/core/failover.ko:",
        "kernel/drivers/block/virtio-blk.ko.xz:",
    ]
    order = load_order(
        ["virtio_pci", "virtio_net", "virtio_blk"], dependencies, ["kernel/drivers/virtio/virtio_pci.ko"], "6"
    )
    assert order == [
        "kernel/net/core/failover.ko",
        "kernel/drivers/net/net_failover.ko",
        "kernel/drivers/net/virtio_net.ko",
        "kernel/drivers/block/virtio-blk.ko.xz",
    ]


def test_kernel_without_what_the_root_needs_is_refused_by_name() -> None:
    with pytest.raises(NicproofError, match=r"kernel 6\.1\.0-mine: squashfs is neither built in nor a module"):
        load_order(["squashfs"], [], [], "6.1.0-mine")


@dataclass
class Booted:
    """A real guest and its two channels."""

    process: QemuProcess
    wire: Wire
    neighbour: Neighbour
    image: BootImage
    port: int | None

    def connect(self, **options: object) -> paramiko.SSHClient:
        assert self.image.host_key is not None
        assert self.port is not None
        client = paramiko.SSHClient()
        kind, text = self.image.host_key.split()
        host_key = paramiko.Ed25519Key(data=base64.b64decode(text))
        client.get_host_keys().add(f"[127.0.0.1]:{self.port}", kind, host_key)
        arguments: dict[str, object] = {"key_filename": str(self.image.ssh_key), **options}
        client.connect("127.0.0.1", self.port, "root", timeout=30, allow_agent=False, look_for_keys=False, **arguments)  # type: ignore[arg-type]
        return client

    def run(self, command: str) -> str:
        client = self.connect()
        try:
            _, output, errors = client.exec_command(command, timeout=60)
            text, complaint = output.read().decode(), errors.read().decode()
            assert output.channel.recv_exit_status() == 0, complaint
            return text
        finally:
            client.close()


@contextmanager
def booted(
    image: BootImage, *, control: bool = True, dut: str = "e1000e", awaited: str = "nicproof: ready"
) -> Iterator[Booted]:
    control_device = "virtio-net-pci" if dut != "virtio-net-pci" else "e1000"
    words = [f"nicproof.dut={DUT_MAC}", image.append]
    hardware = ["-nodefaults", "-display", "none", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "2"]
    hardware += ["-m", "256", "-kernel", str(image.kernel), "-initrd", str(image.initrd)]
    hardware += ["-drive", f"if=none,id=root,format={image.disk_format},readonly=on,file={image.disk}"]
    hardware += ["-device", "virtio-blk-pci,drive=root"]
    if control:
        words.append(f"nicproof.control={CONTROL_MAC}")
        hardware += ["-netdev", "user,id=control,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"]
        hardware += ["-device", f"{control_device},netdev=control,mac={CONTROL_MAC},romfile="]
    hardware += [*shlex.split(f"-device {dut},netdev=dut,mac={DUT_MAC},romfile="), "-append", " ".join(words)]
    with (
        tempfile.TemporaryDirectory() as folder,
        QemuProcess(find_qemu(None), hardware, Path(folder), memory_mib=256) as process,
    ):
        cable = Cable(process.cable)
        wire = Wire(cable)
        neighbour = Neighbour(wire)
        try:
            process.console.wait_for(awaited, BOOT_DEADLINE_S)
            port = None
            if control:
                # TCP[HOST_FORWARD]  12       127.0.0.1 39021       10.0.2.15    22     0     0
                listed = re.search(
                    r"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", process.monitor.human("info usernet")
                )
                assert listed
                port = int(listed[1])
            yield Booted(process, wire, neighbour, image, port)
        finally:
            neighbour.close()
            cable.close()


@pytest.fixture(scope="session")
def trixie() -> BootImage:
    return linux_image(BuiltImage(suite="trixie"))


@pytest.fixture(scope="module")
def guest(trixie: BootImage) -> Iterator[Booted]:
    with booted(trixie) as running:
        yield running


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = 30.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {deadline_s:g} s"
        time.sleep(0.05)


def test_guest_runs_the_kernel_that_the_image_names(guest: Booted) -> None:
    assert guest.run("uname -r").strip() == guest.image.kernel_release


@pytest.mark.parametrize(
    "tool", ["python3", "ethtool", "ip", "tc", "tcpdump", "iperf3", "lspci", "modprobe", "busybox", "ping"]
)
def test_guest_has_the_tool(guest: Booted, tool: str) -> None:
    assert guest.run(f"command -v {tool}").strip().endswith(tool)


def test_guest_has_scapy(guest: Booted) -> None:
    assert guest.run("python3 -c 'import scapy; print(scapy.__name__)'").strip() == "scapy"


@pytest.mark.parametrize(
    "driver", ["e1000", "e1000e", "igb", "igbvf", "virtio_net", "8139cp", "8021q", "dummy", "ice", "ixgbe"]
)
def test_guest_has_the_driver_and_all_it_needs(guest: Booted, driver: str) -> None:
    assert guest.run(f"modprobe {driver} && echo loaded").strip() == "loaded"


def test_what_the_start_says_comes_whole_between_the_kernels_own_lines(guest: Booted) -> None:
    said = guest.run("dmesg")  # what is written to the console itself, a warning of the kernel can cut in two
    assert re.search(r"^\[[ .\d]+\] nicproof: ready$", said, re.MULTILINE)
    wait_until(lambda: "nicproof: endpoint ready" in guest.process.console.text, "the endpoint", 180)
    assert re.search(r"^\[[ .\d]+\] nicproof: endpoint ready$", guest.run("dmesg"), re.MULTILINE)


def test_ssh_listens_on_the_control_address_only(guest: Booted) -> None:
    listening = [line.split()[3] for line in guest.run("ss -H -tln").splitlines() if not line.startswith("LISTEN 0 0")]
    assert [address for address in listening if address.endswith(":22")] == ["10.0.2.15:22"]


def test_ssh_refuses_another_key(guest: Booted) -> None:
    with pytest.raises(paramiko.AuthenticationException):
        guest.connect(key_filename=None, pkey=paramiko.RSAKey.generate(2048))


def test_ssh_offers_no_password(guest: Booted) -> None:
    with pytest.raises(paramiko.BadAuthenticationType) as caught:
        guest.connect(key_filename=None, password="")
    assert caught.value.allowed_types == ["publickey"]


def test_private_keys_are_for_the_owner_alone(guest: Booted) -> None:
    keys = guest_keys()
    assert [path.stat().st_mode & 0o777 for path in (keys.client, keys.host)] == [0o600, 0o600]
    assert guest.run("stat -c %a /nicproof/host_key /root/.ssh/authorized_keys").split() == ["600", "600"]


def test_control_nic_has_no_ipv6(guest: Booted) -> None:
    interface = guest.run(f"cd /sys/class/net; grep -l {CONTROL_MAC} */address").partition("/")[0]
    assert guest.run(f"ip -6 address show dev {interface}") == ""


def test_dut_has_its_lease_and_its_link_local_address(guest: Booted) -> None:
    wanted = f"inet {DUT.ip}/", "inet6 fe80::5054:ff:fe00:2/64"
    wait_until(lambda: all(text in guest.run("ip address") for text in wanted), f"addresses {wanted}")


def test_idle_dut_is_silent(guest: Booted) -> None:
    wait_until(lambda: DUT.ip in guest.run("ip address"), "the lease")
    wait_until(lambda: "udhcpc" not in guest.run("cat /proc/[0-9]*/comm 2>/dev/null || true"), "the DHCP client's end")
    with guest.wire.capture(lambda frame: True) as seen:
        heard = seen.wait(1, deadline_s=4.0)
        question = Ether(src=WIRE.mac, dst=DUT_MAC) / ARP(psrc="192.0.2.77", pdst=DUT.ip, hwsrc=WIRE.mac)
        before = len(heard)
        guest.wire.send(bytes(question).ljust(60, b"\0"))
        answered = seen.wait(before + 1, deadline_s=10.0)
    assert len(answered) > before, "the capture would not have heard the DUT"
    assert [Ether(frame).summary() for frame in heard] == []


def test_dut_does_not_answer_for_the_control_address(guest: Booted) -> None:
    def ask(address: str) -> bytes:
        return bytes(Ether(src=WIRE.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="192.0.2.77", pdst=address)).ljust(
            60, b"\0"
        )

    wait_until(lambda: DUT.ip in guest.run("ip address"), "the lease")
    with guest.wire.capture(b"\x08\x06") as seen:
        guest.wire.send(ask("10.0.2.15"), ask(DUT.ip))
        replies = seen.wait(1, deadline_s=10.0)
    assert [Ether(reply)[ARP].psrc for reply in replies] == [DUT.ip]


def test_root_can_be_written_and_the_image_stays_as_it_is(guest: Booted) -> None:
    assert guest.image.disk is not None
    before = guest.image.disk.stat().st_mtime_ns
    assert guest.run("echo changed >/etc/issue && cat /etc/issue") == "changed\n"
    assert guest.image.disk.stat().st_mtime_ns == before


def test_guest_fits_into_the_memory_promised(guest: Booted) -> None:
    # VmHWM:	  293460 kB
    status = Path(f"/proc/{guest.process.pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak
    assert int(peak[1]) <= 448 << 10


def test_agentless_guest_has_no_ssh_server_and_asks_for_an_address(trixie: BootImage) -> None:
    with booted(trixie, control=False) as guest:
        assert guest.neighbour.dhcp_asked.wait(30)
        assert "10.0.2.15" not in guest.process.console.text


def test_control_works_when_the_dut_is_virtio(trixie: BootImage) -> None:
    with booted(trixie, dut="virtio-net-pci") as guest:
        assert guest.run("echo here") == "here\n"


def test_nic_that_is_not_there_is_named_on_the_console(trixie: BootImage) -> None:
    missing = "52:54:00:00:00:98"
    image = replace(trixie, append=f"{trixie.append} nicproof.dut={missing}")
    with booted(image) as guest:  # ready all the same: why the NIC is not there is for the tests to find
        assert f"nicproof: no NIC has the address under test {missing}" in guest.process.console.text


def test_vf_is_made_with_its_address_and_is_the_dut(trixie: BootImage) -> None:
    function = "52:54:00:00:00:03"
    image = replace(trixie, append=f"{trixie.append} nicproof.vf={function}")
    with booted(image, dut="pcie-root-port,id=rp -device igb,bus=rp") as guest:
        guest.process.console.send("\n")  # it is made when the harness says so
        guest.process.console.wait_for("nicproof: function ready", BOOT_DEADLINE_S)
        names = guest.run(f"cd /sys/class/net; grep -l {function} */address").split()
        assert [
            guest.run(f"basename $(readlink /sys/class/net/{n.partition('/')[0]}/device/driver)") for n in names
        ] == ["igbvf\n"]
        wait_until(lambda: f"inet {DUT.ip}/" in guest.run("ip address"), "the VF's lease", 60)
        request = Ether(src=WIRE.mac, dst="ff:ff:ff:ff:ff:ff") / IP(src=WIRE.ip, dst=DUT.ip) / ICMP()
        with guest.wire.capture(lambda frame: ICMP in Ether(frame)) as seen:
            guest.wire.send(bytes(request).ljust(60, b"\0"))
            replies = seen.wait(2, deadline_s=1.0)
        assert [Ether(reply).src for reply in replies] == [function], "the physical function took it too"


@pytest.mark.nightly
@pytest.mark.parametrize("suite", ["bookworm", "bullseye", "sid"])
def test_other_suites_boot_and_answer(suite: str) -> None:
    with booted(linux_image(BuiltImage.model_validate({"suite": suite}))) as guest:
        assert guest.run("uname -r && command -v modprobe").split()[0] == guest.image.kernel_release


@pytest.fixture
def own_cache(trixie: BootImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with Debian's root in it and nothing else."""
    root = debian_root("trixie", with_kernel=True)
    copy = tmp_path / "cache" / "root" / root.parent.name
    copy.mkdir(parents=True)
    (copy / "root.tar").symlink_to(root)
    monkeypatch.setenv("NICPROOF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NICPROOF_MIRROR", "http://127.0.0.1:9/debian")
    return tmp_path / "cache"


def user_kernel(root: Path, into: Path, release: str) -> tuple[Path, Path]:
    """Debian's kernel as if the user had built it: a bzImage and its modules."""
    with tarfile.open(root) as tar:
        kernel = into / "bzImage"
        content = tar.extractfile(f"./boot/vmlinuz-{release}")
        assert content
        kernel.write_bytes(content.read())
        tar.extractall(into, [m for m in tar if m.name.startswith(f"./usr/lib/modules/{release}")])
    return kernel, into / "usr/lib/modules" / release


def test_root_holds_nothing_of_the_host_that_built_it(trixie: BootImage) -> None:
    with tarfile.open(debian_root("trixie", with_kernel=True)) as tar:
        names = {member.name for member in tar}
    assert "./etc/passwd" in names
    assert names.isdisjoint({"./etc/hostname", "./etc/resolv.conf", "./etc/apt/sources.list"})


def test_own_kernel_and_modules_take_the_place_of_debians(trixie: BootImage, tmp_path: Path) -> None:
    assert trixie.kernel_release
    kernel, modules = user_kernel(debian_root("trixie", with_kernel=True), tmp_path, trixie.kernel_release)
    (modules / "build").symlink_to("/usr/src/mine")
    image = linux_image(BuiltImage(suite="trixie", kernel=kernel, modules=modules, drivers={}))
    assert image.key != trixie.key
    assert image.kernel
    packages = json.loads((image.kernel.parent / "card.json").read_text())["packages"]
    assert [name for name in packages if name.startswith("linux-image")] == []
    with booted(image) as guest:
        assert guest.run("uname -r && modprobe igb && echo loaded").split() == [trixie.kernel_release, "loaded"]


def test_modules_of_another_kernel_are_refused(trixie: BootImage, own_cache: Path, tmp_path: Path) -> None:
    other = tmp_path / "6.99-other"
    other.mkdir()
    assert trixie.kernel
    root = debian_root("trixie", with_kernel=True)
    into = tmp_path / "image"
    into.mkdir()
    with pytest.raises(InputError, match=r"modules .*6\.99-other: they are for 6\.99-other, but the kernel says 6\."):
        build_linux(into, root, guest_keys(), endpoint={}, kernel=trixie.kernel, modules=other, drivers={})


def test_modules_without_their_index_are_refused_with_the_cure(
    trixie: BootImage, own_cache: Path, tmp_path: Path
) -> None:
    assert trixie.kernel
    assert trixie.kernel_release
    modules = tmp_path / trixie.kernel_release
    modules.mkdir()
    into = tmp_path / "image"
    into.mkdir()
    root = debian_root("trixie", with_kernel=True)
    with pytest.raises(InputError, match=r"no modules\.dep; install them with `make modules_install`"):
        build_linux(into, root, guest_keys(), endpoint={}, kernel=trixie.kernel, modules=modules, drivers={})


def test_image_comes_from_the_cache_without_network(own_cache: Path) -> None:
    image = BuiltImage(suite="trixie")
    first = linux_image(image)
    made = first.kernel.stat().st_mtime_ns  # type: ignore[union-attr]
    assert linux_image(image) == first
    assert first.kernel.stat().st_mtime_ns == made  # type: ignore[union-attr]


def test_damaged_image_in_the_cache_is_built_again(own_cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = linux_image(BuiltImage(suite="trixie"))
    assert image.disk
    size = image.disk.stat().st_size
    os.truncate(image.disk, 4096)
    assert linux_image(BuiltImage(suite="trixie")).disk == image.disk
    assert image.disk.stat().st_size == size
    assert "root.squashfs is not as it was built" in caplog.text


@pytest.fixture
def build_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where mmdebstrap of this test alone works; open to the user ids that an ordinary user's build takes on."""
    with tempfile.TemporaryDirectory(prefix="nicproof-test-") as folder:
        Path(folder).chmod(0o1777)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_mirror_that_does_not_answer_is_one_line_and_leaves_nothing(
    tmp_path: Path, build_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NICPROOF_CACHE", str(tmp_path))
    monkeypatch.setenv("NICPROOF_MIRROR", "http://127.0.0.1:9/debian")
    with pytest.raises(NicproofError) as caught:
        linux_image(BuiltImage(suite="bookworm"))
    assert "http://127.0.0.1:9/debian" in str(caught.value)
    assert "NICPROOF_MIRROR" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [entry.kind for entry in entries()] == ["keys"]
    assert list(build_folder.iterdir()) == []
    assert list((cache_root() / ".builds").iterdir()) == []


def test_disk_without_room_is_one_line_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NICPROOF_CACHE", str(tmp_path))
    guest_keys()
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100 << 20})())
    with pytest.raises(NicproofError, match=r"not enough disk for the guest image of Debian trixie: it needs \d+ MiB"):
        linux_image(BuiltImage(suite="trixie"))


def test_missing_packer_is_named_with_its_package(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NicproofError, match=r"tar2sqfs is needed .*: apt-get install squashfs-tools-ng"):
        linux_image(BuiltImage(suite="trixie"))
    assert [entry.kind for entry in entries()] == ["keys", "root"]


def alive_in_group(group: int) -> list[str]:
    """Names of the processes of a group; what has ended and waits for init to notice does not count."""
    alive = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # 30343 (http) Z 1 30264 30264 ...
            name, _, rest = path.read_text().rpartition(")")
            state, _, process_group = rest.split()[:3]
            if int(process_group) == group and state != "Z":
                alive.append(name)
    return alive


def test_interrupted_build_leaves_no_process_and_no_file(tmp_path: Path, build_folder: Path) -> None:
    """Ctrl-C while the mirror is slow: the mirror here takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        environment = {
            **os.environ,
            "NICPROOF_CACHE": str(tmp_path),
            "NICPROOF_MIRROR": f"http://127.0.0.1:{server.getsockname()[1]}/debian",
        }
        program = (
            "from harness.image.linux import linux_image; from harness.profile import BuiltImage; "
            "linux_image(BuiltImage(suite='trixie'))"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, process_group=0
        ) as build:
            try:
                server.settimeout(60)
                connection, _ = server.accept()
                os.killpg(build.pid, signal.SIGINT)
                build.wait(60)
                connection.close()
                assert alive_in_group(build.pid) == []
            finally:
                build.kill()
    assert list(build_folder.iterdir()) == []
    assert list((tmp_path / ".builds").iterdir()) == []
    assert not (tmp_path / "image").exists()


def test_firmware_is_taken_from_its_package_with_the_script_as_initrd() -> None:
    image = firmware_image(KernelImage(package="ipxe", kernel=Path("usr/lib/ipxe/ipxe.lkrn"), script="#!ipxe\nshell\n"))
    assert image.kernel
    assert image.initrd
    assert image.kernel.read_bytes()[0x202:0x206] == b"HdrS"
    assert image.initrd.read_text() == "#!ipxe\nshell\n"
    assert (image.append, image.ssh_key) == ("", None)


def test_rom_is_taken_from_its_package() -> None:
    image = firmware_image(RomImage(package="u-boot-qemu", rom=Path("usr/lib/u-boot/qemu-x86_64/u-boot.rom")))
    assert image.kernel is None
    assert image.rom
    assert image.rom.stat().st_size == 2 << 20, "a flash chip's whole content"


def test_firmware_that_the_package_lacks_is_named() -> None:
    with pytest.raises(InputError, match=r"the package ipxe of Debian trixie has no file usr/lib/none\.lkrn"):
        firmware_image(KernelImage(package="ipxe", kernel=Path("usr/lib/none.lkrn")))


def test_disk_is_passed_through_and_keyed_by_its_content(tmp_path: Path) -> None:
    disks = [tmp_path / name for name in ("a.raw", "b.raw", "c.raw")]
    for disk, content in zip(disks, (b"one", b"one", b"two"), strict=True):
        disk.write_bytes(content)
    first, same, other = (disk_image(DiskImage(disk=disk, format="raw", bus="ide")) for disk in disks)
    assert (first.disk, first.kernel) == (disks[0], None)
    assert first.key == same.key != other.key
