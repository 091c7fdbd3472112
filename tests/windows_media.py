"""Media as users have them, in miniature: installation CDs by their volume ids, virtio-win's CD, Intel's folder."""

import io
import struct
from collections.abc import Mapping
from pathlib import Path

from pycdlib import PyCdlib

XP_ID = "GRTMPVOL_EN"
WIN10_ID = "CCCOMA_X64FRE_EN-US_DV9"
KEY = "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE"

# The heads of real files, with what does not matter here left out.
# Intel PRO/1000 for XP, e1000325.inf 8.10.3.0
E1000_XP = """\
[Version]
Signature   = "$Chicago$"
Class       = Net
ClassGUID   = {4d36e972-e325-11ce-bfc1-08002be10318}
Provider    = %Intel%
DriverVer   = 06/21/2006,8.10.3.0 ; a comment

[Manufacturer]
%Intel%     = Intel, NTx86.5.1

[Intel]
; Windows 2000 has its own
%E1000DeviceDesc% = E1000, PCI\\VEN_8086&DEV_1000

[Intel.NTx86.5.1]
%E100EDeviceDesc% = E100E, PCI\\VEN_8086&DEV_100E
%E100EDeviceDesc% = E100E, PCI\\VEN_8086&DEV_100E&SUBSYS_001E8086
"""
# The same with what is copied and started, in the form of virtio-win's netkvm.inf; files of Intel's package for XP.
E1000_PACKAGE = (
    E1000_XP.replace("DriverVer ", "CatalogFile = e1000325.cat\nDriverVer ")
    + """
[E100E]
CopyFiles   = E1000.CopyFiles, @IntelNic.dll

[E100E.NTx86.Services]
AddService  = %Service%, 2, E1000.Service, E1000.EventLog
AddService  = Helper, 0, Helper.Service

[E100E.NTamd64]
CopyFiles   = E1000.CopyFiles64

[E100E.Services]
AddService  = E1000Old, 0x00000002, E1000.Service

[E1000.CopyFiles]
E1000325.sys,,,2
e1000.dll,e1000msg.dll,,0x10
netevent.dll

[E1000.CopyFiles64]
e1000_64.sys

[SourceDisksNames]
1 = %Disk%,,,
[SourceDisksNames.x86]
2 = %Disk%,,,\\i386

[SourceDisksFiles]
E1000325.sys = 1,,
e1000msg.dll = 1,messages
e1000_64.sys = 1
unused.dll = 1
[SourceDisksFiles.x86]
IntelNic.dll = 2

[Strings]
Service = "E1000"
"""
)
# The same for Windows 7: not for XP.
E1Q_WIN7 = E1000_XP.replace("NTx86.5.1", "NTx86.6.1").replace("DEV_100E", "DEV_10D3").replace("DEV_1000", "DEV_FFFF")
# virtio-win, NetKVM/w10/amd64/netkvm.inf
NETKVM = """\
[Version]
Signature = "$Windows NT$"
Class = Net
Provider = %VENDOR%
DriverVer=08/27/2025,100.103.104.28500

[Manufacturer]
%VENDOR% = NetKVM, NT{decoration}

[NetKVM.NT{decoration}]
%kvmnet6.DeviceDesc%    = kvmnet6.ndi, PCI\\VEN_1AF4&DEV_1000&SUBSYS_00011AF4&REV_00, PCI\\VEN_1AF4&DEV_1000
%kvmnet6.DeviceDesc%    = kvmnet6.ndi, PCI\\VEN_1AF4&DEV_1041&SUBSYS_11001AF4&REV_01, PCI\\VEN_1AF4&DEV_1041
"""
VIOSTOR = """\
[Version]
Class=SCSIAdapter
DriverVer=08/27/2025,100.103.104.28500
[Manufacturer]
%VENDOR% = VirtioScsi, NT{decoration}
[VirtioScsi.NT{decoration}]
%VirtioScsi.DeviceDesc% = scsi_inst, PCI\\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00, PCI\\VEN_1AF4&DEV_1001
"""


def program(machine: int) -> bytes:
    """Return the head of a program for a processor (Microsoft, "PE Format")."""
    return b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", machine) + bytes(100)


X86, AMD64 = program(0x14C), program(0x8664)


def write_iso(
    path: Path, volume_id: str, files: Mapping[str, bytes], boot: bytes | None = None, udf: bool = False
) -> None:
    """Write a CD as Microsoft's are: short names in capitals; Windows 10's files are in UDF alone.

    Args:
        path: the image to make.
        volume_id: its name.
        files: by path, one folder deep at most.
        boot: an El Torito boot image, which needs no emulated drive.
        udf: put the files into UDF only.
    """
    cd = PyCdlib()
    cd.new(interchange_level=2, vol_ident=volume_id, udf="2.60" if udf else None)
    made = set()
    for name, content in files.items():
        folder = name.rpartition("/")[0]
        if folder and folder not in made:
            made.add(folder)
            cd.add_directory(iso_path=None if udf else f"/{folder}", udf_path=f"/{folder}" if udf else None)
        plain, in_udf = (None, f"/{name}") if udf else (f"/{name};1", None)
        cd.add_fp(io.BytesIO(content), len(content), plain, udf_path=in_udf)
    if udf:
        note = b"This disc contains a UDF file system"
        cd.add_fp(io.BytesIO(note), len(note), "/README.TXT;1", udf_path="/README.TXT")
    if boot is not None:
        cd.add_fp(io.BytesIO(boot), len(boot), "/BOOT.IMG;1")
        cd.add_eltorito("/BOOT.IMG;1", boot_load_size=-(-len(boot) // 2048) * 4)
    cd.write(str(path))
    cd.close()


def virtio_win(path: Path) -> Path:
    """Write virtio-win's CD, if it is not there: long names in Joliet."""
    if path.exists():
        return path
    cd = PyCdlib()
    cd.new(interchange_level=3, joliet=3, vol_ident="virtio-win")
    number = 0
    for part, text in (("NetKVM", NETKVM), ("viostor", VIOSTOR)):
        cd.add_directory(f"/D{part.upper()}", joliet_path=f"/{part}")
        for system, arch, decoration in (("xp", "x86", "x86.5.1"), ("w10", "amd64", "amd64.10.0...16299")):
            folder = f"/D{part.upper()}/{system.upper()}"
            cd.add_directory(folder, joliet_path=f"/{part}/{system}")
            cd.add_directory(f"{folder}/{arch.upper()}", joliet_path=f"/{part}/{system}/{arch}")
            stem = part.lower()
            inf = text.replace("{decoration}", decoration)
            # virtio-win's are in UTF-16 or not, as their folders have it
            data = inf.encode("utf-16") if system == "w10" else inf.encode()
            for suffix, content in ((".inf", data), (".sys", X86 if arch == "x86" else AMD64), (".cat", b"signed")):
                number += 1
                plain = f"{folder}/{arch.upper()}/F{number}.;1"
                joliet = f"/{part}/{system}/{arch}/{stem}{suffix}"
                cd.add_fp(io.BytesIO(content), len(content), plain, joliet_path=joliet)
    cd.write(str(path))
    cd.close()
    return path


def own_package(folder: Path) -> Path:
    """Write a package as somebody builds it who has no eye for small letters and capitals; return the INF."""
    (folder / "I386").mkdir(parents=True, exist_ok=True)
    (folder / "messages").mkdir(exist_ok=True)
    (folder / "e1000.inf").write_text(E1000_PACKAGE)
    (folder / "E1000325.SYS").write_bytes(X86)
    (folder / "e1000325.cat").write_bytes(b"signed")
    (folder / "I386" / "intelnic.DLL").write_bytes(b"MZ")
    (folder / "messages" / "e1000msg.dll").write_bytes(b"MZ messages")
    (folder / "readme.txt").write_text("not named")
    return folder / "e1000.inf"


def intel(path: Path) -> Path:
    """Write Intel's drivers as they unpack: the same names in folders for several systems and processors."""
    for folder, text, sys in (
        ("PRO1000/Win32/NDIS5x", E1000_XP, X86),
        ("PRO1000/Winx64/NDIS5x", E1000_XP, AMD64),
        ("PRO1000/Win32/NDIS61", E1Q_WIN7, X86),
    ):
        place = path / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / "e1000325.inf").write_text(text, encoding="latin-1")
        (place / "e1000325.sys").write_bytes(sys)
        (place / "e1000325.cat").write_bytes(b"signed")
    return path
