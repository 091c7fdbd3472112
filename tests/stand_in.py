"""A stand-in for Windows' Setup: a small Linux on a CD that does what can be seen from outside.

It starts from the CD, and reads the answers where Setup would: a floppy disk with WINNT.SIF, or a second CD with
autounattend.xml in its root. It copies itself to the disk, restarts as often as Setup does, and says what the scripts
on the media say. At the last boot it finds the NICs on the PCI bus and tells them as `reg query` would.
"""

import hashlib
import inspect
import io
import shutil
import sys
import tarfile
from pathlib import Path

from pycdlib import PyCdlib

from harness.cache import publish
from harness.debian import extract
from harness.image.initrd import initrd, load_order, module_name
from harness.image.root import debian_root
from tests.appliance import own_kernel

_MODULES = ("ata_piix", "ahci", "sd_mod", "sr_mod", "isofs", "floppy", "vfat", "nls_cp437", "nls_ascii", "nls_utf8")
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb0EkQCIJ7eXaJXlNqk4mY7XG3WvbZMVZ0e6Hn3yS1q"

_ISOLINUX_CFG = """\
DEFAULT setup
LABEL setup
  LINUX /kernel
  INITRD /initrd
  APPEND quiet console=ttyS1 nokaslr mitigations=off no_timer_check tsc=reliable
"""

# The disk: at its beginning what the CD has, at 64 MiB the number of the next boot, and what wanted.txt says.
_INIT = r"""#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs devtmpfs /dev
$b mkdir -p /sys /answers
$b mount -t sysfs sysfs /sys
while read -r module; do $b insmod "$module"; done </modules
say() { echo "nicproof: $*" >/dev/ttyS0; }
block() { say "begin $1"; $b cat >/dev/ttyS0; say "end $1"; }
off() { $b sync; $b poweroff -f; }
restart() { $b sync; $b reboot -f; }
tries=0
until [ -b /dev/sda ] || [ $tries -gt 200 ]; do $b usleep 50000; tries=$((tries + 1)); done
saved() { $b dd if=/dev/sda bs=1M skip=64 count=1 2>/dev/null | $b tr -d '\000'; }
save() {
    { $b cat; $b dd if=/dev/zero bs=4k count=1; } 2>/dev/null | $b dd of=/dev/sda bs=4k seek=16384 conv=sync 2>/dev/null
}
# As a script of Windows' on the media says it.
spoken() { $b sed -n "s/^ *echo nicproof: \(.*\)>COM1\r*$/\1/p" "$1" | $b grep "^$2" | $b head -n 1; }
answers() { # the second CD
    tries=0
    until $b mount -t iso9660 -o ro,iocharset=utf8 /dev/sr1 /answers 2>/dev/null || [ $tries -gt 200 ]; do
        $b usleep 50000; tries=$((tries + 1))
    done
    [ -f /answers/nicproof/setup.cmd ] || { say "failed no answers on the second CD"; exec $b sleep 1000; }
}
floppy() { $b mount -t vfat -o ro /dev/fd0 /answers; }
boot=$(saved | $b head -n 1)
case ${boot:-1} in
1)
    if floppy; then
        $b grep -q '^UnattendMode=FullUnattended' /answers/WINNT.SIF || say "failed WINNT.SIF does not say it all"
    else
        answers
        $b grep -q 'WillWipeDisk>true' /answers/autounattend.xml || say "failed autounattend.xml does not say it all"
        command=$($b sed -n 's/.*echo nicproof: \(phase copy\)&gt;COM1.*/\1/p' /answers/autounattend.xml)
        say "$command"
    fi
    $b dd if=/dev/sr0 of=/dev/sda bs=1M 2>/dev/null
    echo 2 | save
    restart
    ;;
2)
    saved >/dev/ttyS1
    if floppy; then
        say "$(spoken /answers/SETUP.CMD 'phase finish')"
    else
        answers
        say "$($b sed -n 's/.*echo nicproof: \(phase specialize\)&gt;COM1.*/\1/p' /answers/autounattend.xml)"
    fi
    echo 3 | save
    restart
    ;;
3)
    answers
    say "$(spoken /answers/nicproof/setup.cmd phase)"
    { echo 4; $b cat /answers/nicproof/wanted.txt; } | save
    if [ -d /answers/nicproof/ssh ]; then
        say "$(spoken /answers/nicproof/ssh.cmd 'phase ssh')"
        echo "@HOST_KEY@ system@NICPROOF" | block host-key
    fi
    say "$(spoken /answers/nicproof/setup.cmd installed)"
    off
    ;;
4)
    say phase hardware
    echo 'Microsoft Windows XP [Version 5.1.2600]' | block version
    echo Administrator | block user
    printf '! REG.EXE VERSION 3.0\r\n\r\n    HardwareID\tREG_MULTI_SZ\tacpiapic_up\\0\\0\r\n' | block hal
    number=0
    for device in /sys/bus/pci/devices/*; do
        id="VEN_$($b sed 's/0x//' $device/vendor)&DEV_$($b sed 's/0x//' $device/device)"
        saved | $b grep -i -q "^$id" || continue
        number=$((number + 1))
        printf 'HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4D36E972}\\%04d\r\n' $number
        printf '    DriverVersion\tREG_SZ\t1.2.3.%d\r\n    InfPath\tREG_SZ\toem%d.inf\r\n' $number $number
        printf '    MatchingDeviceId\tREG_SZ\tpci\\%s\r\n    ProviderName\tREG_SZ\tStand-in\r\n' "$id"
    done | block drivers
    for device in /sys/bus/pci/devices/*; do
        id="VEN_$($b sed 's/0x//' $device/vendor)&DEV_$($b sed 's/0x//' $device/device)"
        printf 'HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Enum\\PCI\\%s&REV_03\\1\r\n' "$id"
        printf '    Service\tREG_SZ\tnic\r\n'
    done | block services
    say done
    off
    ;;
esac
$b sleep 1000
""".replace("@HOST_KEY@", HOST_KEY)


def stand_in(volume_id: str) -> Path:
    """Return an ISO that starts from CD and disk, under a name of Microsoft's."""
    kernel = own_kernel()
    root = debian_root("trixie", with_kernel=False)

    def build(into: Path) -> None:
        extract("trixie", ["isolinux", "syslinux-common"], into / "tools")
        with tarfile.open(root) as tar:
            busybox = tar.extractfile("./usr/bin/busybox")
            assert busybox
            _write(into / "setup.iso", volume_id, into / "tools", kernel.bzimage, _initrd(busybox.read()))
        shutil.rmtree(into / "tools")

    source = inspect.getsource(sys.modules[__name__])
    key = hashlib.sha256(f"{source}{volume_id}{root.parent.name}".encode()).hexdigest()[:24]
    return publish("own-guest", key, build, what="a stand-in for Setup") / "setup.iso"


def _initrd(busybox: bytes) -> bytes:
    kernel = own_kernel()
    needs, builtin = ((kernel.modules / f"modules.{name}").read_text().splitlines() for name in ("dep", "builtin"))
    order = load_order(_MODULES, needs, builtin, kernel.release)
    archive = initrd(busybox, {f"{module_name(path)}.ko": (kernel.modules / path).read_bytes() for path in order})
    return archive + b"\0" * (-len(archive) % 4) + _archive("init", _INIT.encode())


def _archive(name: str, content: bytes) -> bytes:
    """Return a cpio archive of one program: it takes the place of an earlier archive's."""

    def member(name: str, mode: int, content: bytes) -> bytes:
        fields = (1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        return head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)

    return member(name, 0o100755, content) + member("TRAILER!!!", 0, b"")


def _write(path: Path, volume_id: str, tools: Path, kernel: Path, ramdisk: bytes) -> None:
    cd = PyCdlib()
    cd.new(interchange_level=3, vol_ident=volume_id)
    for name, content in {
        "ISOLINUX.BIN": (tools / "usr/lib/ISOLINUX/isolinux.bin").read_bytes(),
        "LDLINUX.C32": (tools / "usr/lib/syslinux/modules/bios/ldlinux.c32").read_bytes(),
        "ISOLINUX.CFG": _ISOLINUX_CFG.encode(),
        "KERNEL.": kernel.read_bytes(),
        "INITRD.": ramdisk,
    }.items():
        cd.add_fp(io.BytesIO(content), len(content), f"/{name};1")
    cd.add_eltorito("/ISOLINUX.BIN;1", boot_load_size=4, boot_info_table=True)
    cd.add_isohybrid()
    cd.write(str(path))
    cd.close()
