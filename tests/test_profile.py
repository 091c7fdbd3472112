"""Profiles: what a file means, and what each mistake in one is answered with."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import harness.shipped
from harness.errors import InputError
from harness.nic import CATALOGUE, InterruptMode
from harness.profile import BuiltImage, DiskImage, KernelImage, Profile, RomImage, hardware_cannot
from harness.profile_file import load_profile, profile_names
from harness.shipped import shipped
from harness.station import DUT

GOOD = """\
description: A guest
os: linux
control: none
image:
  suite: trixie
ready:
  console: hello
  deadline_s: 60
machine:
  memory_mib: 256
  cpus: 2
nics:
  e1000e:
    drivers: [e1000e]
    queues: {rx: 1, tx: 1}
    modes:
      msix: {}
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write `text`, with each (old, new) replaced once, to a file."""

    def write(*changes: tuple[str, str], text: str = GOOD, name: str = "mine.yaml") -> Path:
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} must stand once in the text that the test changes"
            text = text.replace(old, new)
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


def problems(file: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_profile(str(file))
    return str(caught.value).splitlines()


# What a good file means


def test_file_becomes_profile_named_after_it(write: Write) -> None:
    file = write()
    profile = load_profile(str(file))
    assert (profile.name, profile.path, profile.control) == ("mine", file, "none")
    assert profile.image == BuiltImage(suite="trixie")
    assert profile.nics["e1000e"].modes.keys() == {InterruptMode.MSIX}
    assert profile.ready.console == "hello"


def test_relative_path_given_by_the_user_is_relative_to_the_working_directory(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write()
    monkeypatch.chdir(file.parent)
    assert load_profile("mine.yaml").path == file
    assert load_profile("./mine.yaml").path == file


def test_profile_survives_pickling_for_worker_processes() -> None:
    profile = load_profile("linux")
    assert pickle.loads(pickle.dumps(profile)) == profile
    assert type(profile.description) is str


def test_profile_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_profile("linux").description = "other"


def test_extends_merges_field_by_field(write: Write) -> None:
    write(name="base.yaml")
    child = write(text="extends: base.yaml\nmachine: {cpus: 4}\n", name="child.yaml")
    profile = load_profile(str(child))
    assert (profile.name, profile.machine.cpus, profile.machine.memory_mib) == ("child", 4, 256)
    assert profile.description == "A guest"


def test_extends_takes_the_name_of_a_profile_that_comes_with_nicproof(write: Write) -> None:
    child = write(text="extends: linux\nimage: {suite: sid}\n")
    assert load_profile(str(child)).nics == load_profile("linux").nics


def test_empty_value_takes_an_inherited_field_away(write: Write) -> None:
    child = write(text="extends: linux\nnics:\n  igb:\n  e1000e:\n    modes:\n      msi:\n")
    nics = load_profile(str(child)).nics
    assert "igb" not in nics
    assert set(nics["e1000e"].modes) == {InterruptMode.INTX, InterruptMode.MSIX, InterruptMode.MSIX_REMAPPED}


def test_own_kernel_is_added_to_the_inherited_image(write: Write, tmp_path: Path) -> None:
    (tmp_path / "vmlinux").touch()
    (tmp_path / "6.99").mkdir()
    child = write(text="extends: linux\nimage: {kernel: vmlinux, modules: ./6.99}\n")
    expected = BuiltImage(suite="trixie", kernel=tmp_path / "vmlinux", modules=tmp_path / "6.99")
    assert load_profile(str(child)).image == expected


def test_image_of_another_kind_replaces_the_inherited_one(write: Write, tmp_path: Path) -> None:
    (tmp_path / "bzImage").touch()
    child = write(text='extends: linux-agentless\nimage: {kernel: bzImage, script: "#!"}\n')
    assert load_profile(str(child)).image == KernelImage(kernel=tmp_path / "bzImage", script="#!")


def test_disk_image_with_ssh_needs_no_code(write: Write, tmp_path: Path) -> None:
    for name in ("disk.qcow2", "key"):
        (tmp_path / name).touch()
    disk = "image: {disk: disk.qcow2, format: qcow2, bus: virtio, user: root, key: key}"
    file = write(("image:\n  suite: trixie", disk), ("control: none", "control: ssh"))
    image = load_profile(str(file)).image
    assert isinstance(image, DiskImage)
    assert (image.disk, image.key) == (tmp_path / "disk.qcow2", tmp_path / "key")


def test_inherited_path_stays_relative_to_the_file_that_names_it(write: Write, tmp_path: Path) -> None:
    (tmp_path / "vmlinux").touch()
    write(("suite: trixie", "suite: trixie\n  kernel: vmlinux"), name="base.yaml")
    (tmp_path / "below").mkdir()
    child = write(text="extends: ../base.yaml\n", name="below/child.yaml")
    image = load_profile(str(child)).image
    assert isinstance(image, BuiltImage)
    assert image.kernel is not None
    assert image.kernel.samefile(tmp_path / "vmlinux")


def test_environment_variables_are_filled_in(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_SUITE", "sid")
    monkeypatch.delenv("SITE_MEMORY", raising=False)
    file = write(("suite: trixie", "suite: ${SITE_SUITE}"), ("mib: 256", "mib: ${SITE_MEMORY:-512}"))
    profile = load_profile(str(file))
    assert profile.image == BuiltImage(suite="sid")
    assert profile.machine.memory_mib == 512


def test_overridden_environment_variable_need_not_be_set(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SITE_SUITE", raising=False)
    write(("suite: trixie", "suite: ${SITE_SUITE}"), name="base.yaml")
    child = write(text="extends: base.yaml\nimage: {suite: sid}\n", name="child.yaml")
    assert load_profile(str(child)).image == BuiltImage(suite="sid")


def test_doubled_dollar_keeps_the_text_that_firmware_expands_itself(write: Write) -> None:
    image = 'image:\n  package: ipxe\n  kernel: usr/lib/ipxe/ipxe.lkrn\n  script: "echo $${net0/mac}"'
    image_of = load_profile(str(write(("image:\n  suite: trixie", image)))).image
    assert isinstance(image_of, KernelImage)
    assert image_of.script == "echo ${net0/mac}"


# Mistakes


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("  memory_mib: 256", "  memroy_mib: 256", 10, "machine.memroy_mib: unknown field; nearest: memory_mib; "),
        ("os: linux", "os: linux\nnic: {}", 3, "nic: unknown field; nearest: nics; allowed: absent, control, "),
        ("msix: {}", "msix: {devices: {}}", 17, "nics.e1000e.modes.msix.devices: unknown field; nearest: device"),
        ("os: linux", "os: linus", 2, "os: is 'linus'; nearest: linux; allowed: linux, firmware"),
        ("suite: trixie", "suite: trixy", 5, "image.suite: is 'trixy'; nearest: trixie; allowed: bullseye, bookworm, "),
        ("cpus: 2", "cpus: two", 11, "machine.cpus: is 'two'; allowed: a whole number"),
        ("cpus: 2", "cpus: 0", 11, "machine.cpus: is 0; allowed: greater than or equal to 1"),
        ("deadline_s: 60", "deadline_s: .inf", 8, "ready.deadline_s: is inf; allowed: a finite number"),
        ("deadline_s: 60", "deadline_s: soon", 8, "ready.deadline_s: is 'soon'; allowed: a number"),
        ("description: A guest", "description: [a]", 1, "description: is a list; allowed: text"),
        ("description: A guest", "description:", 1, "description: is empty; allowed: text"),
        ("drivers: [e1000e]", "drivers: e1000e", 14, "nics.e1000e.drivers: is 'e1000e'; allowed: a list"),
        ("drivers: [e1000e]", "drivers: [e1000e, 5]", 14, "nics.e1000e.drivers[1]: is 5; allowed: text"),
        ("drivers: [e1000e]", "drivers: []", 14, "nics.e1000e.drivers: is empty"),
        ("queues: {rx: 1, tx: 1}", "queues: {rx: 1}", 15, "nics.e1000e.queues.tx: is missing"),
        ("  cpus: 2\n", "", 9, "machine.cpus: is missing"),
        ("  e1000e:\n", "  e100:\n", 13, "nics.e100: is no NIC model; nearest: e1000, e1000e; allowed: "),
        ("msix: {}", "msi-x: {}", 17, "nics.e1000e.modes.msi-x: is 'msi-x'; nearest: msix, "),
        ("msix: {}", "msix: {device: {vectors: [1]}}", 17, "nics.e1000e.modes.msix.device.vectors: is no property"),
        ("  console: hello\n", "", 6, "ready: names no event; allowed: console, ssh, dhcp, arp"),
        ("console: hello", "ssh: true", 7, "ready.ssh: is true, but control is none; allowed: console, dhcp, arp"),
        ("suite: trixie", "suite: trixie\n  kernel: gone", 6, "image.kernel: no such file: {here}/gone"),
        ("suite: trixie", "suite: trixie\n  modules: .", 6, "image.modules: belongs to a kernel; add image.kernel"),
        ("suite: trixie", "kernel: gone", 5, "image.kernel: no such file: {here}/gone"),
        ("suite: trixie", "kernel: .", 5, "image.kernel: is not a file: {here}"),
        ("suite: trixie", "kernel: /x\n  package: p", 5, "image.kernel: is '/x'; allowed: a relative path inside"),
        ("suite: trixie", "rom: gone", 5, "image.rom: no such file: {here}/gone"),
        ("suite: trixie", "rom: ../x\n  package: p", 5, "image.rom: is '../x'; allowed: a relative path inside"),
        ("  suite: trixie", "  rom: .\n  initrd: .", 6, "image.initrd: unknown field; allowed: package, rom, suite"),
        ("suite: trixie", "iso: gone", 5, "image.iso: no such file: {here}/gone"),
        ("suite: trixie", "iso: mine.yaml\n  floppy: mine.yaml", 6, "image.floppy: is another medium than iso"),
        ("console: hello", "quiet_screen_s: 5", 7, "ready.quiet_screen_s: needs a screen; add machine.display"),
        ("cpus: 2", "cpus: 2\n  display: vga", 12, "machine.display: is 'vga'; allowed: std, cirrus"),
        ("cpus: 2", "cpus: 2\n  firmware: uefi", 12, "machine.firmware: is uefi, but its kernel is no EFI program; "),
        ("cpus: 2", "cpus: 2\n  apic: false", 12, "machine.apic: is false, but without a local APIC there"),
        ("cpus: 2", "cpus: 1\n  apic: false", 18, "nics.e1000e.modes.msix: needs a local APIC, which machine"),
        ("console: hello", "arp: true\n  dialogue: [{expect: x}]", 8, "ready.dialogue[0].send: is missing"),
        ("suite: trixie", "disk: gone\n  format: raw\n  bus: ide", 5, "image.disk: no such file: {here}/gone"),
        ("suite: trixie", "disk: gone\n  format: raw\n  suite: sid", 7, "image.suite: unknown field; allowed: "),
        ("image:\n  suite: trixie", "image: trixie", 4, "image: is 'trixie'; allowed: a block of fields"),
        ("msix: {}", "msix: {}\nexcluded: {msi: ''}", 18, "excluded.msi: is empty"),
        ("os: linux", "os: linux\nname: other", 3, "name: unknown field; a profile is named after its file"),
        ("control: none", "control: serial", 3, "control: is 'serial', which is a shell of Windows, but os is linux; "),
        ("control: none", "control: com2", 3, "control: is 'com2'; allowed: ssh, serial, none"),
        ("cpus: 2", "cpus: 2\n  type: isa", 12, "machine.type: is 'isa'; allowed: pc, q35"),
        ("cpus: 2", "cpus: 2\n  control_nic: [rtl8193]", 12, "machine.control_nic[0]: is 'rtl8193'; nearest: rtl8139"),
        ("os: linux", "os: linux\nencoding: cp9", 3, "encoding: is 'cp9'; allowed: utf-8, cp437, cp850 or another"),
        ("os: linux", "os: linux\nssh: {disabled_algorithms: {macs: [a]}}", 3, "ssh: is given, but control is none; "),
        ("os: linux", "os: linux\nssh: {algorithms: {}}", 3, "ssh.algorithms: unknown field; nearest: disabled_"),
        ("os: linux", "os: linux\nabsent: {e1000e: broken}", 3, "absent.e1000e: is listed in nics too; "),
    ],
)  # fmt: skip
def test_mistake_is_answered_with_file_line_field_and_what_is_allowed(
    write: Write, old: str, new: str, line: int, message: str
) -> None:
    file = write((old, new))
    said = problems(file)
    expected = f"{file}:{line}: {message.replace('{here}', str(file.parent))}"
    assert [one[: len(expected)] for one in said if one.startswith(expected)] == [expected], said


def test_every_mistake_is_named_at_once_in_one_line_each(write: Write) -> None:
    file = write(("cpus: 2", "cpus: two"), ("os: linux", "os: dos"), ("tx: 1}", "tx: 1, zx: 1}"))
    assert [line.removeprefix(f"{file}:").split(" is ")[0] for line in problems(file)] == [
        "2: os:",
        "11: machine.cpus:",
        "15: nics.e1000e.queues.zx: unknown field; nearest: tx, rx; allowed: rx, tx",
    ]


def test_mode_that_the_hardware_cannot_do_is_refused_with_the_hardware_s_reason(write: Write) -> None:
    file = write(("  e1000e:", "  igbvf:"), ("msix: {}", "msix: {}\n      msi: {}\n      intx: {}"))
    assert problems(file) == [
        f"{file}:18: nics.igbvf.modes.msi: the hardware cannot: igbvf has no MSI capability; remove this mode",
        f"{file}:19: nics.igbvf.modes.intx: the hardware cannot: igbvf is a virtual function: it has no interrupt pin "
        "(SR-IOV 1.1, 3.4.1.18); remove this mode",
    ]


def test_interrupt_remapping_is_refused_on_a_machine_without_vt_d(write: Write) -> None:
    file = write(("  e1000e:", "  virtio-net:"), ("msix: {}", "msix-remapped: {}"))
    assert problems(file) == [
        f"{file}:17: nics.virtio-net.modes.msix-remapped: the hardware cannot: virtio-net is on QEMU's pc machine, "
        "whose 440FX chipset has no VT-d to remap interrupts; remove this mode"
    ]


def test_reason_for_what_is_listed_or_impossible_anyway_is_refused(write: Write) -> None:
    file = write(("  e1000e:", "  e1000:"), ("msix: {}", "intx: {}\n    excluded: {intx: why, msi: why}"))
    assert problems(file) == [
        f"{file}:18: nics.e1000.excluded.intx: is listed in modes too; allowed: one of the two",
        f"{file}:18: nics.e1000.excluded.msi: needs no reason here: e1000 has no MSI capability; remove this line",
    ]


def test_ssh_is_refused_where_nobody_could_log_in(write: Write, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kernel = write(("suite: trixie", "kernel: file"), ("control: none", "control: ssh"))
    assert problems(kernel) == [
        f"{kernel}:3: control: is 'ssh', but only a built image or a disk with its key has an SSH server; allowed: none"
    ]
    disk = write(("suite: trixie", "disk: file\n  format: raw\n  bus: ide"), ("control: none", "control: ssh"))
    assert problems(disk) == [f"{disk}:4: image.{field}: is missing: control is ssh" for field in ("user", "key")]


def test_ssh_is_no_sign_of_a_guest_that_is_controlled_by_its_serial_port(write: Write) -> None:
    file = write(("os: linux", "os: winxp"), ("control: none", "control: serial"), ("console: hello", "ssh: true"))
    assert problems(file) == [f"{file}:7: ready.ssh: is true, but control is serial; allowed: console, dhcp, arp"]


def test_kind_of_algorithm_that_is_none_is_refused(write: Write) -> None:
    file = write(("control: none", "control: ssh\nssh: {disabled_algorithms: {cipher: [aes128-ctr]}}"))
    (line,) = problems(file)
    assert line.startswith(f"{file}:4: ssh.disabled_algorithms.cipher: is 'cipher'; nearest: ciphers; allowed: ")


def test_control_nic_must_be_another_than_the_dut(write: Write) -> None:
    control = ("control: none", "control: ssh")
    file = write(control, ("cpus: 2", "cpus: 2\n  control_nic: [e1000e]"))
    assert problems(file) == [
        f"{file}:12: machine.control_nic: has no NIC beside e1000e that is not of its family; add rtl8139"
    ]
    file = write(control, ("cpus: 2", "cpus: 2\n  control_nic: [e1000e, rtl8139]"))
    assert load_profile(str(file)).machine.control_nic == ("e1000e", "rtl8139")


def test_a_machine_without_pci_express_has_no_model_that_needs_it(write: Write) -> None:
    file = write(("  e1000e:", "  igb:"), ("cpus: 2", "cpus: 2\n  type: pc"))
    why = "the hardware cannot: igb needs PCI Express, which QEMU's pc machine does not have; remove this mode"
    assert problems(file) == [f"{file}:18: nics.igb.modes.msix: {why}"]


def test_kernel_command_line_is_refused_for_a_disk(write: Write, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    disk = ("suite: trixie", "disk: file\n  format: raw\n  bus: ide")
    file = write(disk, ("cpus: 2", "cpus: 2\n  append: quiet"))
    why = "a disk boots by its own loader, which takes no kernel command line; remove this"
    assert problems(file) == [f"{file}:14: machine.append: {why}"]


def test_unset_environment_variables_are_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SITE_A", raising=False)
    file = write(("console: hello", "console: ${SITE_A}"), ("suite: trixie", "suite: ${1}"))
    assert problems(file) == [
        f"{file}:5: image.suite: a ${{ that is no ${{NAME}} or ${{NAME:-default}}; write $${{ for a plain ${{",
        f"{file}:7: ready.console: environment variable SITE_A is not set; set it or write ${{SITE_A:-default}}",
    ]


def test_unknown_profile_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(InputError) as caught:
        load_profile("linux-6.2")
    assert str(caught.value) == (
        "profile 'linux-6.2': no such profile; nearest: linux-6.1, linux-5.10, linux; allowed: "
        "ipxe, linux, linux-5.10, linux-6.1, linux-agentless, linux-sid, reactos, uboot, win10, winxp, "
        "or the path of a YAML file"
    )


def test_missing_profile_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^profile '.*/none\.yaml': no such file: .*/none\.yaml$"):
        load_profile(str(tmp_path / "none.yaml"))
    with pytest.raises(InputError, match=r"^profile '.*': is not a file: "):
        load_profile(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", ":3: is not YAML: "),
        ("a: 1\n\tb: 2\n", ":2: is not YAML: "),
        ("a: 1\na: 2\n", ":2: key 'a' stands twice; first on line 1"),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", ":4: key 'b' stands twice; first on line 2"),
        ("", ": is empty; allowed: a YAML document"),
        ("- a\n", ":1: is no profile; allowed: a block of fields"),
        ("a: 1\n---\nb: 2\n", ":2: is not YAML: "),
        ("a: 1\nb: \x07\n", ":2: is not YAML: a control character is not allowed"),
        ("a: 1\nb: !!python/name:os.system x\n", ":2: is not YAML: could not determine a constructor"),
        ("a: 1\nb: &b [*b]\n", ":2: the anchor contains itself"),
        ("a: 1\n[x]: 2\n", ":2: a key is a list or a block; allowed: text"),
        ("a: 1\nb: 2030-13-45\n", ":2: '2030-13-45' is not a value: "),
        ("extends: [linux]\n", ":1: extends: is no name; allowed: a profile's name or the path of a YAML file"),
        ("os: linux\nextends: linus\n", ":2: extends: 'linus': no such profile; nearest: linux"),
        ("os: linux\nextends: gone.yaml\n", ":2: extends: 'gone.yaml': no such file: "),
        ("extends: ${SITE_UNSET}\n", ":1: extends: environment variable SITE_UNSET is not set"),
    ],
)
def test_what_is_no_yaml_or_no_profile_is_refused_with_its_line(write: Write, text: str, message: str) -> None:
    file = write(text=text)
    [line] = problems(file)
    assert line.startswith(f"{file}{message}")


def test_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"description: \xff\n")
    assert problems(file) == [f"{file}: is not UTF-8 text (byte 13)"]


def test_extends_loop_is_shown(write: Write) -> None:
    write(text="extends: c.yaml\n", name="b.yaml")
    last = write(text="os: linux\nextends: ./b.yaml\n", name="c.yaml")
    first = write(text="extends: b.yaml\n", name="a.yaml")
    assert problems(first) == [f"{last}:2: extends: goes round in a loop: b.yaml -> c.yaml -> b.yaml"]


def test_mistake_in_an_inherited_file_names_that_file(write: Write) -> None:
    base = write(("cpus: 2", "cpus: two"), name="base.yaml")
    child = write(text="extends: base.yaml\n", name="child.yaml")
    assert problems(child) == [f"{base}:11: machine.cpus: is 'two'; allowed: a whole number"]


def test_file_name_that_makes_no_profile_name_is_refused(write: Write) -> None:
    file = write(name="my guest.yaml")
    assert problems(file) == [
        f"{file}:1: name: is 'my guest', the file's name; allowed: letters, digits, '.', '_' and '-'"
    ]


# The profiles that come with nicproof


@pytest.mark.parametrize(
    ("name", "suite"),
    [("linux", "trixie"), ("linux-6.1", "bookworm"), ("linux-5.10", "bullseye"), ("linux-sid", "sid")],
)
def test_linux_profiles_differ_in_their_suite_alone(name: str, suite: str) -> None:
    profile, linux = load_profile(name), load_profile("linux")
    assert profile.image == BuiltImage.model_validate({"suite": suite})
    same = {"image", "name", "path", "description"}
    assert profile.model_dump(exclude=same) == linux.model_dump(exclude=same)


def test_agentless_profile_is_the_linux_guest_without_control() -> None:
    agentless, linux = load_profile("linux-agentless"), load_profile("linux")
    assert (agentless.image, agentless.nics) == (linux.image, linux.nics)
    assert (agentless.control, agentless.ready.ssh, agentless.ready.dhcp) == ("none", False, True)
    assert agentless.ready.console == linux.ready.console == "nicproof: ready"


def test_ipxe_profile_polls_every_nic_that_it_drives() -> None:
    ipxe = load_profile("ipxe")
    assert isinstance(ipxe.image, KernelImage)
    assert ipxe.image.package == "ipxe"
    assert (ipxe.image.script or "").startswith("#!ipxe\n")
    assert {mode for nic in ipxe.nics.values() for mode in nic.modes} == {InterruptMode.POLLED}
    assert ipxe.nics.keys() | ipxe.absent.keys() == CATALOGUE.keys()


def test_uboot_profile_polls_every_nic_that_it_drives_and_is_told_the_duts_address() -> None:
    uboot = load_profile("uboot")
    assert isinstance(uboot.image, RomImage)
    assert uboot.image.package == "u-boot-qemu"
    assert {mode for nic in uboot.nics.values() for mode in nic.modes} == {InterruptMode.POLLED}
    assert uboot.nics.keys() | uboot.absent.keys() == CATALOGUE.keys()
    assert f"setenv ethaddr {DUT.mac};" in uboot.ready.dialogue[-1].send


def test_installed_package_finds_the_profiles_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "harness"
    shutil.copytree(shipped("profiles"), package / "_data" / "profiles")
    monkeypatch.setattr(harness.shipped, "__file__", str(package / "shipped.py"))
    assert shipped("profiles") == package / "_data" / "profiles"
    assert load_profile(profile_names()[0]).path.is_relative_to(package)


def test_hardware_reasons_agree_with_the_catalogue() -> None:
    reasons = {(nic.name, mode): hardware_cannot(nic, mode) for nic in CATALOGUE.values() for mode in InterruptMode}
    assert reasons["e1000", InterruptMode.MSI] == "e1000 has no MSI capability"
    assert reasons["igb", InterruptMode.MSI] is None
    assert reasons["virtio-net-modern", InterruptMode.MSIX_REMAPPED] is None


def test_profile_built_by_code_is_checked_like_a_file() -> None:
    good = load_profile("linux").model_dump()
    good["nics"]["e1000"]["modes"]["msi"] = {}
    with pytest.raises(ValueError, match="e1000 has no MSI capability"):
        Profile.model_validate(good)
