"""The media for Windows' Setup: which ISO is which, what is written, and that other programs read the same from it."""

import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.errors import InputError
from harness.image.keys import guest_keys
from harness.image.windows.autounattend import autounattend
from harness.image.windows.build import Order, dry_run
from harness.image.windows.compact_disc import DriverDisc, write_cd
from harness.image.windows.drivers import collect
from harness.image.windows.inf import Inf, Windows
from harness.image.windows.media import new_password
from harness.image.windows.medium import Family, Medium, identify, volume_id
from harness.image.windows.recipe import RECIPES
from tests.windows_media import AMD64, E1000_XP, KEY, WIN10_ID, X86, XP_ID, intel, virtio_win, write_iso

NS = {"u": "urn:schemas-microsoft-com:unattend"}
XP, WIN10 = Windows((5, 1), "x86"), Windows((10, 0), "amd64")


def tool(name: str, package: str) -> str:
    """Return a program that is not the project's, or skip."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed, which would read the media back: apt-get install {package}")
    return found


def run(*command: object) -> bytes:
    return subprocess.run([str(word) for word in command], capture_output=True, check=True, timeout=60).stdout


# Which medium


@pytest.mark.parametrize(
    ("name", "family", "title"),
    [
        (XP_ID, "winxp", "Windows XP, 32 bits"),
        ("WXPFPP_EN", "winxp", "Windows XP, 32 bits"),
        ("VRMPVOL_DE", "winxp", "Windows XP, 32 bits"),
        ("GRTMPOEM_EN", "winxp", "Windows XP, 32 bits"),
        (WIN10_ID, "win10", "Windows 10 or 11, 64 bits"),
        ("CCSA_X64FRE_DE-DE_DV5", "win10", "Windows 10 or 11, 64 bits"),
        ("CENA_X64FREV_EN-US_DV5", "win10", "Windows 10 or 11, 64 bits"),
        ("CESE_X64FREE_EN-US_DV5", "win10", "Windows 10 or 11, 64 bits"),
        ("J_CCSA_X64FRE_EN-US_DV5", "win10", "Windows 10 or 11, 64 bits"),
        ("SSS_X64FREE_EN-US_DV9", "win10", "Windows Server 2016, 2019, 2022 or 2025"),
    ],
)
def test_a_medium_is_known_by_its_volume_id(name: str, family: Family, title: str, tmp_path: Path) -> None:
    write_iso(tmp_path / "any.iso", name, {"I386/SETUPLDR.BIN": b"x"})
    medium = identify(tmp_path / "any.iso", family)
    assert (medium.volume_id, medium.title) == (name, title)


def test_the_volume_id_is_read_where_the_files_are_in_udf(tmp_path: Path) -> None:
    write_iso(tmp_path / "udf.iso", WIN10_ID, {"sources/install.wim": b"x"}, udf=True)
    assert volume_id(tmp_path / "udf.iso") == WIN10_ID
    if shutil.which("isoinfo"):
        shown = run("isoinfo", "-d", "-i", tmp_path / "udf.iso").decode()
        assert f"Volume id: {WIN10_ID}" in shown


@pytest.mark.parametrize(
    ("name", "family", "said"),
    [
        (WIN10_ID, "winxp", "which is Windows 10 or 11, 64 bits; winxp is built from Windows XP, 32 bits"),
        (XP_ID, "win10", "which is Windows XP, 32 bits; win10 is built from Windows 10, 11 or Server, 64 bits"),
        ("ARMPXVOL_EN", "winxp", "which is Windows XP, 64 bits; winxp is built from Windows XP, 32 bits"),
        ("CCSA_X86FRE_EN-US_DV5", "win10", "which is Windows 10, 32 bits; win10 is built from"),
        ("Debian 13.1.0 amd64 n", "win10", "which is no medium that is known here; win10 is built from"),
    ],
)
def test_another_medium_is_refused_with_what_was_found(name: str, family: Family, said: str, tmp_path: Path) -> None:
    write_iso(tmp_path / "any.iso", name, {"README.TXT": b"x"})
    with pytest.raises(InputError) as caught:
        identify(tmp_path / "any.iso", family)
    assert str(caught.value).startswith(f"--iso {tmp_path}/any.iso: the volume id is {name!r}, ")
    assert said in str(caught.value)


def test_what_is_no_iso_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x")
    (tmp_path / "long").write_bytes(bytes(1 << 20))
    for name, said in (("none", "No such file"), ("short", "is no ISO image"), ("long", "is no ISO image")):
        with pytest.raises(InputError, match=rf"^--iso \S+/{name}: {said}"):
            identify(tmp_path / name, "winxp")


@pytest.mark.parametrize(
    ("name", "language", "needs_no_key"),
    [
        (WIN10_ID, "en-US", False),
        ("CCCOMA_X64FRE_DE-DE_DV9", "de-DE", False),
        ("CCCOMA_X64FRE_SR-LATN-RS_DV9", "sr-Latn-RS", False),
        ("CENA_X64FREV_FR-FR_DV5", "fr-FR", True),
        ("SSS_X64FREE_EN-US_DV9", "en-US", True),
    ],
)
def test_language_and_need_of_a_key_are_the_mediums(
    name: str, language: str, needs_no_key: bool, tmp_path: Path
) -> None:
    write_iso(tmp_path / "any.iso", name, {"README.TXT": b"x"})
    medium = identify(tmp_path / "any.iso", "win10")
    assert (medium.language, medium.needs_no_key) == (language, needs_no_key)
    texts = [node.text for node in parsed(autounattend(medium, None, "secret")).iterfind(".//u:UILanguage", NS)]
    assert texts == [language] * 3


# Drivers


def inf(tmp_path: Path, text: str, encoding: str = "latin-1") -> Inf:
    (tmp_path / "one.inf").write_bytes(text.encode(encoding))
    return Inf(tmp_path / "one.inf")


def test_an_inf_tells_its_version_class_and_devices(tmp_path: Path) -> None:
    for encoding in ("latin-1", "utf-16", "utf-8-sig"):
        one = inf(tmp_path, E1000_XP.replace("\n", "\r\n"), encoding)
        assert (one.device_class, one.version) == ("Net", "8.10.3.0")
        assert one.ids(XP) == {"VEN_8086&DEV_100E"}


@pytest.mark.parametrize(
    ("decorations", "windows", "section"),
    [
        ("", XP, "Intel"),
        (", NTx86.5.1, NTx86.6.0", XP, "Intel.NTx86.5.1"),
        (", NTx86, NTx86.5.1", XP, "Intel.NTx86.5.1"),
        (", NTx86", XP, "Intel.NTx86"),
        (", NT.5.1, NTx86.5.1", XP, "Intel.NTx86.5.1"),
        (", NTamd64.5.1, NTx86.6.0", XP, "Intel"),
        (", NTamd64.6.3, NTamd64.10.0, NTx86.10.0", WIN10, "Intel.NTamd64.10.0"),
        (", NTamd64.10.0...16299", WIN10, "Intel.NTamd64.10.0...16299"),
        (", NTamd64.6.3", WIN10, "Intel.NTamd64.6.3"),
    ],
)
def test_windows_reads_the_models_that_are_nearest_to_itself(
    decorations: str, windows: Windows, section: str, tmp_path: Path
) -> None:
    others = ["Intel", *(f"Intel.{one.strip()}" for one in decorations.split(",")[1:])]
    models = "".join(
        f"[{name}]\n%D% = D, PCI\\VEN_8086&DEV_{'100E' if name == section else 'FFFF'}\n" for name in others
    )
    one = inf(tmp_path, f"[Version]\nClass=Net\n[Manufacturer]\n%I% = Intel{decorations}\n{models}")
    assert one.ids(windows) == {"VEN_8086&DEV_100E"}


def test_drivers_are_those_for_this_windows_and_processor(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    found = collect("winxp", virtio_win(tmp_path / "v.iso"), intel(tmp_path / "intel"), tmp_path / "work")
    assert {package.device: package.inf.name for package in found.packages} == {
        "e1000": "e1000325.inf",
        "virtio-disk": "viostor.inf",
        "virtio-net": "netkvm.inf",
        "virtio-net-modern": "netkvm.inf",
    }
    assert found.packages[0].inf.parent.relative_to(tmp_path) == Path("intel/PRO1000/Win32/NDIS5x")
    assert [nic.name for nic in found.nics] == ["e1000", "virtio-net", "virtio-net-modern"]
    assert found.missing["igb"] == "none was found; --intel-drivers can give one"
    assert "nicproof/drivers/virtio-net/netkvm.sys" in found.files()
    assert found.files()["nicproof/drivers/virtio-net/netkvm.sys"].read_bytes() == X86


def test_windows_10_has_drivers_for_intels_and_takes_virtio_wins(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    found = collect("win10", virtio_win(tmp_path / "v.iso"), None, tmp_path / "work")
    assert found.inbox == ("e1000", "e1000e", "igb")
    assert found.expected.keys() == {"virtio-net", "virtio-net-modern", "virtio-disk"}
    assert found.files()["nicproof/drivers/virtio-net/netkvm.sys"].read_bytes() == AMD64
    alone = collect("win10", None, None, tmp_path / "work")
    assert alone.missing.keys() == {"virtio-net", "virtio-net-modern", "igbvf"}


@pytest.mark.parametrize("options", [["-J", "-r"], ["-r"], ["-J", "-r", "-udf"]], ids=" ".join)
def test_a_drivers_disc_is_read_whoever_has_written_it(options: list[str], tmp_path: Path) -> None:
    genisoimage = tool("genisoimage", "genisoimage")
    folder = tmp_path / "disc/NetKVM/w10/amd64"
    folder.mkdir(parents=True)
    for name in ("netkvm.inf", "netkvmco-long-name.dll"):
        (folder / name).write_text(name)
    run(genisoimage, "-quiet", *options, "-V", "virtio-win-0.1.285", "-o", tmp_path / "disc.iso", tmp_path / "disc")
    disc = DriverDisc(tmp_path / "disc.iso", "--virtio-win")
    disc.copy_folder("NetKVM/w10/amd64", tmp_path / "read")
    disc.close()
    read = {path.name: path.read_text() for path in (tmp_path / "read").iterdir()}
    assert read == {name: name for name in ("netkvm.inf", "netkvmco-long-name.dll")}


def test_media_without_a_driver_for_this_windows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    intel(tmp_path / "intel")
    with pytest.raises(InputError, match=r"^--intel-drivers \S+: no INF file in it is for win10 and a NIC model"):
        collect("win10", None, tmp_path / "intel", tmp_path / "work")
    with pytest.raises(InputError, match=r"^--intel-drivers \S+: no such folder"):
        collect("win10", None, tmp_path / "nowhere", tmp_path / "work")
    write_cd(tmp_path / "new.iso", {"NetKVM/w10/amd64/netkvm.inf": b"", "NetKVM/w11/amd64/netkvm.inf": b""})
    with pytest.raises(InputError, match=r"has no folder NetKVM/xp/x86: in /NetKVM there is w10, w11$"):
        collect("winxp", tmp_path / "new.iso", None, tmp_path / "work")
    (tmp_path / "no.iso").write_bytes(bytes(100000))
    with pytest.raises(InputError, match=r"^--virtio-win \S+: cannot be read as a CD"):
        collect("winxp", tmp_path / "no.iso", None, tmp_path / "work")


# What is written


class Writer:
    """Writes the media as `--dry-run` does."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._virtio, self._intel = virtio_win(home / "virtio.iso"), intel(home / "intel")
        self.folder = home / "out" / "image.qcow2.media"
        self.plan = ""

    def __call__(
        self, family: Family, ssh: Path | None = None, key: str | None = KEY, devcon: Path | None = None
    ) -> Path:
        write_iso(self._home / "win.iso", {"winxp": XP_ID, "win10": WIN10_ID}[family], {"README.TXT": b"x"})
        key_file = self._home / "key"
        key_file.write_text(f"{key}\n")
        order = Order(
            family,
            self._home / "win.iso",
            self.folder.with_name("image.qcow2"),
            virtio_win=self._virtio,
            intel_drivers=self._intel if family == "winxp" else None,
            ssh=ssh,
            product_key=key_file if key else None,
            devcon=devcon,
        )
        self.plan = "\n".join(dry_run(order, RECIPES[family]))
        return self.folder


@pytest.fixture
def written(tmp_path: Path) -> Writer:
    return Writer(tmp_path)


def on_cd(cd: Path, into: Path) -> dict[str, bytes]:
    """Return the files of a CD as 7z reads them: by Joliet, as Windows does."""
    run(tool("7z", "p7zip-full"), "x", f"-o{into}", cd)
    return {str(path.relative_to(into)): path.read_bytes() for path in into.rglob("*") if path.is_file()}


def parsed(xml: bytes) -> ET.Element:
    return ET.fromstring(xml)


def password_in(text: str) -> str:
    found = re.search(r'AdminPassword="(\w+)"|<Value>(\w{16})</Value>', text)
    assert found
    return found[1] or found[2]


def test_the_plan_says_what_would_be_done_and_the_media_are_written(written: Writer) -> None:
    folder = written("winxp")
    assert sorted(path.name for path in folder.iterdir()) == ["answers.img", "answers.iso"]
    assert folder.stat().st_mode & 0o777 == 0o700
    for part in (
        XP_ID,
        "e1000: e1000325.inf 8.10.3.0",
        "no driver igb: none was found; --intel-drivers can give one",
        "phase     text",
    ):
        assert part in written.plan
    assert KEY not in written.plan


@pytest.mark.parametrize("reader", ["isoinfo", "7z"])
def test_other_programs_read_the_cd(reader: str, written: Writer, tmp_path: Path) -> None:
    cd = written("win10") / "answers.iso"
    wanted = {"autounattend.xml", "nicproof/setup.cmd", "nicproof/drivers/virtio-net/netkvm.inf", "nicproof/ssh.cmd"}
    if reader == "isoinfo":
        isoinfo = tool("isoinfo", "genisoimage")
        listed = run(isoinfo, "-J", "-f", "-i", cd).decode().splitlines()
        assert wanted <= {line.removeprefix("/") for line in listed}
        assert "Volume id: NICPROOF" in run(isoinfo, "-d", "-i", cd).decode()
        assert run(isoinfo, "-J", "-i", cd, "-x", "/autounattend.xml").startswith(b"<?xml")
    else:
        assert wanted <= on_cd(cd, tmp_path / "read").keys()


def test_other_programs_read_the_floppy(written: Writer) -> None:
    floppy = written("winxp") / "answers.img"
    assert floppy.stat().st_size == 1474560
    listed = run(tool("mdir", "mtools"), "-b", "-i", floppy, "::").decode().split()
    assert listed == ["::/WINNT.SIF", "::/SETUP.CMD", "::/LOGON.CMD"]
    sif = run(tool("mtype", "mtools"), "-i", floppy, "::WINNT.SIF")
    assert sif.startswith(b"[Data]\r\n")
    assert sif.endswith(b"Mode=0\r\n")
    if fsck := shutil.which("fsck.fat"):
        run(fsck, "-n", floppy)


def sif_of(folder: Path) -> dict[str, dict[str, str]]:
    """Return WINNT.SIF as a reader of such files takes it."""
    text = run(tool("mtype", "mtools"), "-i", folder / "answers.img", "::WINNT.SIF").decode("ascii")
    sections: dict[str, dict[str, str]] = {}
    for line in text.split("\r\n"):
        if named := re.fullmatch(r"\[(.+)\]", line):
            assert named[1] not in sections, f"section {named[1]} twice"
            section = sections[named[1]] = {}
        elif line:
            name, equals, value = line.partition("=")
            assert equals, line
            assert name not in section, line
            section[name] = value
    return sections


def test_winnt_sif_asks_nothing_and_partitions_the_disk(written: Writer) -> None:
    sif = sif_of(written("winxp"))
    assert (
        sif["Unattended"].items()
        >= {
            "UnattendMode": "FullUnattended",
            "OemSkipEula": "Yes",
            "TargetPath": r"\WINDOWS",
            "Repartition": "Yes",
            "DriverSigningPolicy": "Ignore",
        }.items()
    )
    assert sif["Data"] == {"AutoPartition": "1", "MsDosInitiated": '"0"', "UnattendedInstall": '"Yes"'}
    assert sif["UserData"]["ProductKey"] == f'"{KEY}"'
    assert sif["GuiUnattended"]["AutoLogon"] == "Yes"
    assert re.fullmatch(r'"\w{16}"', sif["GuiUnattended"]["AdminPassword"])
    assert (sif["SetupParams"]["UserExecute"], sif["GuiRunOnce"]["Command0"]) == (
        r'"A:\SETUP.CMD"',
        r'"A:\LOGON.CMD"',
    )


@pytest.mark.parametrize("family", ["winxp", "win10"])
def test_scripts_and_answers_have_the_line_ends_of_dos(family: Family, written: Writer, tmp_path: Path) -> None:
    files = on_cd(written(family) / "answers.iso", tmp_path / "read")
    checked = [name for name in files if name.endswith((".cmd", ".ps1", ".txt", ".xml"))]
    assert len(checked) > 7
    for name in checked:
        data = files[name]
        assert data.isascii(), name
        assert b"\n" not in data.replace(b"\r\n", b""), name
        assert data.count(b"\r") == data.count(b"\r\n"), name
        assert data.endswith(b"\r\n"), name
    assert all(b"\r" not in data for name, data in files.items() if name.endswith(".sh"))


@pytest.mark.parametrize("family", ["winxp", "win10"])
def test_every_script_that_is_called_is_there(family: Family, written: Writer, tmp_path: Path) -> None:
    files = on_cd(written(family) / "answers.iso", tmp_path / "read")
    scripts = {name.rpartition("/")[2]: data.decode() for name, data in files.items() if name.endswith(".cmd")}
    called = set()
    for text in scripts.values():
        called |= set(re.findall(r"\bcall (?:C:\\nicproof\\|%%?d:\\nicproof\\)?(\w+\.cmd)", text))
        labels = set(re.findall(r"^:(\w+)", text, re.MULTILINE)) | {"eof"}
        assert set(re.findall(r"\bgoto :?(\w+)", text)) <= labels
    assert {"quiet.cmd", "devices.cmd", "ssh.cmd", "hardware.cmd", "facts.cmd"} <= called <= scripts.keys()


@pytest.mark.parametrize("family", ["winxp", "win10"])
def test_secrets_are_in_the_answers_and_nowhere_else(family: Family, written: Writer, tmp_path: Path) -> None:
    folder = written(family)
    files = on_cd(folder / "answers.iso", tmp_path / "read")
    if family == "winxp":
        answers = run(tool("mtype", "mtools"), "-i", folder / "answers.img", "::WINNT.SIF")
    else:
        answers = files.pop("autounattend.xml")
    secret = password_in(answers.decode()).encode()
    assert KEY.encode() in answers
    for name, data in files.items():
        assert secret not in data, name
        assert KEY.encode() not in data, name
        assert b"PRIVATE KEY" not in data, name
    assert files["nicproof/authorized_keys"].decode().strip() == guest_keys().authorized


def test_two_images_have_two_passwords_that_windows_takes() -> None:
    one, other = new_password(), new_password()
    assert one != other
    for wanted in (r"[a-z]", r"[A-Z]", r"[0-9]", r"^\w{16}$"):
        assert re.search(wanted, one)


PASSES = {
    "windowsPE": ["Microsoft-Windows-International-Core-WinPE", "Microsoft-Windows-Setup"],
    "specialize": ["Microsoft-Windows-Shell-Setup", "Microsoft-Windows-Deployment"],
    "oobeSystem": ["Microsoft-Windows-International-Core", "Microsoft-Windows-Shell-Setup"],
}


def test_autounattend_has_the_components_of_each_pass(written: Writer, tmp_path: Path) -> None:
    folder = written("win10")
    xml = on_cd(folder / "answers.iso", tmp_path / "read")["autounattend.xml"]
    if xmllint := shutil.which("xmllint"):
        run(xmllint, "--noout", tmp_path / "read" / "autounattend.xml")
    root = parsed(xml)
    assert root.tag == "{urn:schemas-microsoft-com:unattend}unattend"
    seen = {
        settings.get("pass"): [part.get("name") for part in settings.iterfind("u:component", NS)]
        for settings in root.iterfind("u:settings", NS)
    }
    assert seen == PASSES
    fixed = {
        "processorArchitecture": "amd64",
        "publicKeyToken": "31bf3856ad364e35",
        "language": "neutral",
        "versionScope": "nonSxS",
    }
    for part in root.iterfind("u:settings/u:component", NS):
        assert part.attrib.items() >= fixed.items()
    setup = root.find("u:settings/u:component[@name='Microsoft-Windows-Setup']", NS)
    assert setup is not None
    assert setup.findtext(".//u:Disk/u:WillWipeDisk", namespaces=NS) == "true"
    assert setup.findtext(".//u:ModifyPartition/u:Active", namespaces=NS) == "true"
    assert setup.findtext(".//u:ProductKey/u:Key", namespaces=NS) == KEY
    orders = [node.text for node in setup.iterfind("u:RunSynchronous//u:Order", NS)]
    assert orders == [str(number) for number in range(1, len(orders) + 1)]
    for path in root.iterfind(".//u:Path", NS):
        assert len(path.text or "") <= 259, "longer ones are refused by Setup"
    names = {node.text for node in root.iterfind(".//u:LocalAccount/u:Name", NS)}
    assert names == {root.findtext(".//u:AutoLogon/u:Username", namespaces=NS)}


@pytest.mark.parametrize(
    ("name", "key", "index"),
    [
        (WIN10_ID, "VK7JG-NPHTM-C97JM-9MPGT-3V66T", None),
        ("CENA_X64FREE_EN-US_DV5", None, "1"),
        ("SSS_X64FREE_EN-US_DV9", None, "2"),
    ],
)
def test_edition_is_chosen_by_a_key_or_by_its_number(name: str, key: str | None, index: str | None) -> None:
    server = name.startswith("SSS")
    root = parsed(autounattend(Medium(Path("x"), name, "", server, "en-US"), None, "secret"))
    assert root.findtext(".//u:ProductKey/u:Key", namespaces=NS) == key
    assert root.find(".//u:ProductKey", NS) is not None, "Setup would ask for a key"
    assert root.findtext(".//u:InstallFrom/u:MetaData/u:Value", namespaces=NS) == index


# The SSH server


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name in names:
            target.writestr(name, name)
    return path


def test_the_ssh_server_goes_along(written: Writer, tmp_path: Path) -> None:
    openssh = archive(tmp_path / "OpenSSH-Win64.zip", "OpenSSH-Win64/sshd.exe", "OpenSSH-Win64/install-sshd.ps1")
    files = on_cd(written("win10", ssh=openssh) / "answers.iso", tmp_path / "read")
    assert files["nicproof/ssh/OpenSSH-Win64/sshd.exe"] == b"OpenSSH-Win64/sshd.exe"


@pytest.mark.parametrize(
    ("family", "names", "said"),
    [
        ("win10", ("readme.txt",), r"the archive has no install-sshd\.ps1"),
        ("winxp", ("cygwin/setup-x86.exe",), r"the archive has no install\.cmd, or Cygwin's setup-x86\*\.exe"),
        ("winxp", ("setup-x86.exe", "x" * 65), r"^x{65}: a name on a CD has 64 characters at most; rename it$"),
    ],
)
def test_an_ssh_server_that_cannot_be_installed_is_refused(
    family: Family, names: tuple[str, ...], said: str, written: Writer, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        written(family, ssh=archive(tmp_path / "ssh.zip", *names))
    assert not written.folder.exists(), "nothing half done is left"


def test_an_ssh_server_of_another_kind_is_refused(written: Writer, tmp_path: Path) -> None:
    (tmp_path / "ssh.msi").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"^--ssh \S+/ssh\.msi: cannot be read; allowed: a ZIP archive$"):
        written("winxp", ssh=tmp_path / "ssh.msi")


@pytest.mark.parametrize(
    ("family", "content", "said"),
    [
        ("winxp", None, r"No such file or directory; give devcon\.exe for 32 bits$"),
        ("winxp", b"no program", r"is no program of Windows; give devcon\.exe for 32 bits$"),
        ("win10", b"MZ", r"is for winxp; win10 has PowerShell$"),
    ],
)
def test_a_devcon_that_is_none_is_refused(
    family: Family, content: bytes | None, said: str, written: Writer, tmp_path: Path
) -> None:
    devcon = tmp_path / "devcon.exe"
    if content is not None:
        devcon.write_bytes(content)
    with pytest.raises(InputError, match=rf"^--devcon \S+/devcon\.exe: {said}"):
        written(family, devcon=devcon)
    assert not written.folder.exists(), "nothing half done is left"


def test_the_plan_says_that_nobody_can_ask_an_xp_without_devcon(written: Writer) -> None:
    written("winxp")
    assert "devcon    none, so nobody can ask this XP about its devices: --devcon FILE" in written.plan


# Product keys


def test_a_wrong_product_key_is_refused_without_being_told(written: Writer) -> None:
    with pytest.raises(InputError, match=r"^--product-key \S+: is no product key; allowed: ") as caught:
        written("winxp", key="AAAAA-BBBBB")
    assert "AAAAA" not in str(caught.value)


def test_a_product_key_can_come_from_the_environment(written: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^winxp needs a product key: --product-key FILE, or NICPROOF_PRODUCT_KEY"):
        written("winxp", key=None)
    monkeypatch.setenv("NICPROOF_PRODUCT_KEY", KEY.lower())
    assert sif_of(written("winxp", key=None))["UserData"]["ProductKey"] == f'"{KEY}"'
