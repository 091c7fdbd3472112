"""What the user puts in the place of a guest's own: a kernel, its modules, or a driver."""

from collections.abc import Collection, Mapping
from pathlib import Path

from harness.errors import InputError
from harness.image.windows.inf import WINDOWS, Inf, Windows
from harness.image.windows.own_package import OwnPackage, matching, read_inf, read_package, with_files
from harness.nic import CATALOGUE
from harness.profile import BuiltImage, Profile, family_of
from harness.yaml_source import nearest


def with_own(
    profile: Profile, kernel: Path | None = None, modules: Path | None = None, drivers: Mapping[str, Path] | None = None
) -> Profile:
    """Return the profile with a kernel, its modules or single drivers of the user's own.

    Args:
        profile: Of a built Linux image, or for drivers of a Windows as well.
        kernel: vmlinux or bzImage.
        modules: The kernel's `lib/modules/RELEASE`.
        drivers: Linux: modules (.ko) by the name of the one that each replaces. Windows: INF files of packages by the
            name of the NIC model, or of a driver that the profile names.

    Raises:
        InputError: A file is not there or cannot be used, or the profile's guest takes none.
    """
    own: dict[str, object] = {"kernel": kernel, "modules": modules, "drivers": drivers}
    given = {name: value for name, value in own.items() if value}
    if not given:
        return profile
    if profile.os in WINDOWS and not kernel and not modules:
        return _with_packages(profile, drivers or {})
    if not isinstance(profile.image, BuiltImage):
        option = {"drivers": "driver"}.get(first := next(iter(given)), first)
        raise InputError(f"--{option}: profile {profile.name} boots from an image of its own")
    if kernel and not kernel.is_file():
        raise InputError(f"--kernel {kernel}: no such file; give a vmlinux or bzImage")
    if modules and not modules.is_dir():
        raise InputError(f"--modules {modules}: no such folder; give the kernel's lib/modules/RELEASE")
    if modules and not (kernel or profile.image.kernel):
        raise InputError("--modules: belongs to a kernel; add --kernel FILE")
    for name, file in (drivers or {}).items():
        if file.suffix.lower() == ".inf":
            raise InputError(
                f"--driver {name}={file}: is a driver of a Windows; profile {profile.name} takes a module (.ko)"
            )
        if not file.is_file():
            raise InputError(f"--driver {name}={file}: no such file; give a module (.ko)")
    if kernel and not modules:
        given["modules"] = None  # those of the profile are another kernel's
    return profile.model_copy(update={"image": profile.image.model_copy(update=given)})


def refuse_untested(profile: Profile, drivers: Mapping[str, Path], chosen: Collection[str]) -> None:
    """Refuse a driver of which nothing would be tested.

    Args:
        profile: as it is without the drivers.
        drivers: as in `with_own`.
        chosen: the NIC models that are tested.

    Raises:
        InputError: all NIC models that a driver is known to be for are left out.
    """
    for name, file in drivers.items():
        meant = _known_for(profile, name)
        if meant and not set(meant) & set(chosen):
            raise InputError(
                f"--driver {name}={file}: is for {' and '.join(meant)}, of which --nic and --irq choose no cell"
            )


def own_package(profile: Profile, nic: str) -> OwnPackage | None:
    """Return the driver package that a guest of this profile is to be given for a NIC model, if any.

    Raises:
        InputError: it cannot be used any more.
    """
    file = profile.packages.get(nic)
    return read_package(file, WINDOWS[profile.os], f"--driver {nic}={file}") if file else None


def _with_packages(profile: Profile, drivers: Mapping[str, Path]) -> Profile:
    """Return a Windows' profile in which NICs have packages, and are expected to be driven by their services."""
    if profile.control == "none":
        raise InputError(f"--driver: nobody can log in to a guest of profile {profile.name} to install it")
    windows, nics, packages = WINDOWS[profile.os], dict(profile.nics), dict[str, Path]()
    infs: dict[str, tuple[str, Inf]] = {}
    for name, file in drivers.items():
        who = f"--driver {name}={file}"
        meant = _meant(profile, name, who)
        inf = read_inf(file, windows, who)
        with_files(inf, windows, who)
        fitting = [nic for nic in meant if matching(inf, windows, CATALOGUE[nic])]
        if not fitting:
            raise InputError(f"{who}: {_why_not(inf, windows, meant)}")
        for nic in fitting:
            if nic in infs:
                raise InputError(
                    f"{who}: is a second driver for {nic}, after --driver {infs[nic][0]}; give one of them"
                )
            infs[nic] = name, inf
            services = inf.services(windows, matching(inf, windows, CATALOGUE[nic]))
            nics[nic] = nics[nic].model_copy(update={"drivers": services or nics[nic].drivers})
            packages[nic] = file
    machine = profile.machine.model_copy(update={"control_nic": _control_nic(profile, infs)})
    return profile.model_copy(update={"nics": nics, "packages": packages, "machine": machine})


def _meant(profile: Profile, name: str, who: str) -> list[str]:
    """Return the NIC models that a name means: a model's own, or those whose driver may have this name."""
    if meant := _known_for(profile, name):
        return meant
    if reason := profile.absent.get(name):
        raise InputError(f"{who}: profile {profile.name} has no {name}: {reason}")
    known = sorted({*profile.nics, *(driver for of_nic in profile.nics.values() for driver in of_nic.drivers)})
    raise InputError(f"{who}: profile {profile.name} has no NIC and no driver of this name; {nearest(name, known)}")


def _known_for(profile: Profile, name: str) -> list[str]:
    if name in profile.nics:
        return [name]
    named = {nic: [driver.lower() for driver in of_nic.drivers] for nic, of_nic in profile.nics.items()}
    return [nic for nic, known in named.items() if name.lower() in known]


def _why_not(inf: Inf, windows: Windows, meant: list[str]) -> str:
    models = [CATALOGUE[name] for name in meant]
    ids = " or ".join(nic.windows_id for nic in models)
    listed = sorted(inf.hardware_ids(windows))
    if boards := [one for one in listed if any(one.startswith(nic.windows_id) for nic in models)]:
        own = " or ".join(nic.windows_subsystem for nic in models)
        return f"lists {ids} for other boards alone ({_some(boards)}); the guest's NIC is {own}"
    return f"does not list {ids} of {' or '.join(meant)} for {windows}; it lists {_some(listed)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _control_nic(profile: Profile, infs: Mapping[str, tuple[str, Inf]]) -> tuple[str, ...]:
    """Return the NICs that may carry SSH: none that another NIC's package drives too, for Windows would restart it.

    Raises:
        InputError: none is left.
    """
    windows, usual = WINDOWS[profile.os], profile.machine.control_nic
    left = usual
    for nic, (name, inf) in infs.items():
        driven = {one.device for one in CATALOGUE.values() if matching(inf, windows, one)}
        own = CATALOGUE[nic].family  # never carries this NIC's SSH
        left = tuple(device for device in left if device not in driven or family_of(device) == own)
        if profile.control == "ssh" and any(
            all(family_of(device) == CATALOGUE[one].family for device in left) for one in profile.nics if usual
        ):
            raise InputError(
                f"--driver {name}: drives the NIC that carries SSH as well, which is to stay ({', '.join(usual)}); "
                "add rtl8139 to the profile's machine.control_nic"
            )
    return left
