"""The `nicproof` command: what this host can run, which cells there are, a shell in any of them, images, the cache."""

import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from harness import cache, rundir
from harness.cell import Cell, Exclusion, all_cells, find_cell
from harness.doctor import Finding, examine
from harness.errors import ImageAbsent, InputError, NicproofError
from harness.image import build_image
from harness.profile_file import load_profile, profile_names
from harness.qemu.accel import choose_accel
from harness.qemu.binary import find_qemu
from harness.report.messages import show_messages
from harness.requirements import Coverage, Document, load_coverage

if TYPE_CHECKING:
    from harness.image.windows.build import Order


class _Commands(TyperGroup):
    """Commands whose errors are one line on stderr and exit status 2; 3 where the user has yet to bring an image."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NicproofError as error:
            for line in str(error).splitlines():
                print(f"nicproof: {line}", file=sys.stderr)
            raise typer.Exit(3 if isinstance(error, ImageAbsent) else 2) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Proves that a guest's NIC driver does what the hardware and its standards say.",
)
images = typer.Typer(no_args_is_help=True, help="Guest images: build one, list them.")
app.add_typer(images, name="image")

ProfileWish = Annotated[str, typer.Argument(metavar="PROFILE", help="A name, or the path of a YAML file.")]


@app.callback()
def _before_each() -> None:
    show_messages()


def _console() -> Console:
    return Console(highlight=False)


@app.command()
def doctor(
    guest: Annotated[
        str | None, typer.Option(metavar="PROFILE", help="Boot this guest and ask it what no page tells for sure.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --guest: keep the raw outputs of its programs.")
    ] = None,
) -> None:
    """Say what this host can run; exit status 1 if the default job, `./run linux`, is not among it.

    With --guest, ask a guest instead and write its answers beside its image.
    """
    if guest is not None:
        _examine_guest(guest, record)
        return
    if record is not None:
        raise InputError("--record: belongs to a guest; add --guest PROFILE")
    report = examine()
    console = _console()
    console.print(_findings("This host", report.host))
    console.print(_findings("Profiles", report.profiles.values()))
    if not report.default_job_runs:
        raise typer.Exit(1)


def _examine_guest(wish: str, record: Path | None) -> None:
    from harness.guest_facts import examine_guest  # scapy and paramiko: only where they are needed
    from harness.launcher import Launcher

    profile, qemu = load_profile(wish), find_qemu()
    file = examine_guest(Launcher(qemu, choose_accel(qemu)), profile, record, lambda line: print(line, flush=True))
    print(f"written: {file}")


def _findings(title: str, findings: Iterable[Finding]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("", "ok", "seen", "cure"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        verdict = Text("yes", style="green") if finding.good else Text("no", style="bold red")
        table.add_row(Text(finding.subject), verdict, Text(finding.seen), Text(finding.cure))
    return table


@app.command()
def matrix(
    profile: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Only this profile: a name, or the path of a YAML file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """List every profile's cells, and why the other combinations are none."""
    wishes = (profile,) if profile else profile_names()
    cells = [one for wish in wishes for one in all_cells(load_profile(wish))]
    if as_json:
        print(json.dumps([_as_json(one) for one in cells], indent=1))
        return
    console = _console()
    width = max(len(one.id) for one in cells)
    for one in cells:
        if isinstance(one, Cell):
            line = Text(one.id, style="bold")
        else:
            line = Text(f"{one.id:{width}}  excluded: {one.reason}", style="dim")
        console.print(line, soft_wrap=True)


def _as_json(one: Cell | Exclusion) -> dict[str, str | None]:
    profile, nic, mode = one.id.split("/")
    reason = one.reason if isinstance(one, Exclusion) else None
    return {"id": one.id, "profile": profile, "nic": nic, "mode": mode, "excluded": reason}


@app.command()
def requirements(as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False) -> None:
    """List the clauses that the suites check, with the tests that do; exit status 1 if one has no counterpart."""
    coverage = load_coverage()
    problems = coverage.problems()
    if as_json:
        print(json.dumps(_clauses_as_json(coverage), indent=1))
    else:
        console = _console()
        for document in coverage.documents:
            console.print(_clauses(document, coverage), "")
        print(coverage.summary())
    for problem in problems:
        print(f"nicproof: {problem}", file=sys.stderr)
    if problems:
        raise typer.Exit(1)


def _clauses(document: Document, coverage: Coverage) -> Table:
    table = Table(title=f"{document.title}, {document.edition}", title_justify="left", box=None)
    table.add_column("clause", style="bold")
    table.add_column("what it demands, and what checks it", overflow="fold")
    for clause in document.clauses:
        table.add_row(Text(clause.id), Text(f"{clause.title}: {clause.says}"))
        for test in coverage.tests_of(clause):
            table.add_row("", Text(test, style="green"))
        if clause.not_testable:
            table.add_row("", Text(f"not testable here: {clause.not_testable}", style="yellow"))
    return table


def _clauses_as_json(coverage: Coverage) -> list[dict[str, str | list[str] | None]]:
    return [
        {"document": document.title, **clause.model_dump(), "tests": list(coverage.tests_of(clause))}
        for document in coverage.documents
        for clause in document.clauses
    ]


@app.command()
def shell(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="Such as linux/e1000e/msix, or ./mine.yaml/igb/msix.")],
    qemu: Annotated[str | None, typer.Option(metavar="PATH|debian:SUITE", help="Which QEMU.")] = None,
    accel: Annotated[str, typer.Option(metavar="auto|kvm|tcg", help="auto: KVM if it is proved to work.")] = "auto",
) -> None:
    """Start a cell and open a shell in its guest; says how to open scapy on its cable.

    A guest that nobody can log in to gives its serial console instead. The guest ends with the shell.
    """
    from harness.launcher import Launcher
    from harness.shell import run_shell  # scapy and paramiko: only where they are needed

    wanted = find_cell(cell)
    chosen = find_qemu(qemu)
    launcher = Launcher(chosen, choose_accel(chosen, accel))
    raise typer.Exit(run_shell(launcher, wanted, lambda line: print(f"nicproof: {line}", file=sys.stderr, flush=True)))


@app.command(hidden=True)
def scapy(path: Annotated[Path, typer.Argument(metavar="SOCKET", help="As `nicproof shell` prints it.")]) -> None:
    """Open scapy's prompt on the cable of a running `nicproof shell`."""
    from harness.shell import run_scapy

    run_scapy(path)


@images.command("build")
def image_build(
    profile: ProfileWish,
    iso: Annotated[Path | None, typer.Option(metavar="FILE", help="winxp, win10: the installation medium.")] = None,
    virtio_win: Annotated[Path | None, typer.Option(metavar="ISO", help="winxp, win10: virtio-win's drivers.")] = None,
    intel_drivers: Annotated[Path | None, typer.Option(metavar="DIR", help="winxp, win10: Intel's, unpacked.")] = None,
    ssh: Annotated[Path | None, typer.Option(metavar="FILE", help="winxp, win10: the SSH server to install.")] = None,
    product_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="winxp, win10: holds the key; else NICPROOF_PRODUCT_KEY.")
    ] = None,
    devcon: Annotated[
        Path | None, typer.Option(metavar="FILE", help="winxp: devcon.exe, to ask about devices.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="winxp, win10: else PROFILE.qcow2.")] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="winxp, win10: write the media and print the plan.")] = False,
) -> None:
    """Build what the profile's guest boots from, if the cache does not have it; a Windows from its user's medium."""
    # pycdlib, QEMU's monitor and scapy: only where they are needed.
    from harness.image.windows.build import Order
    from harness.image.windows.recipe import RECIPES

    own = {
        "virtio-win": virtio_win,
        "intel-drivers": intel_drivers,
        "ssh": ssh,
        "product-key": product_key,
        "devcon": devcon,
    }
    family = next((family for family in RECIPES if family == profile), None)
    if family is None:
        for name, value in {"iso": iso, **own, "output": output, "dry-run": dry or None}.items():
            if value is not None:
                raise InputError(f"--{name}: is for winxp and win10; {profile} is built from what its profile says")
    elif iso is None:
        raise InputError(f"{family} is built from an installation medium of yours: --iso FILE (docs/{family}.md)")
    else:
        place = (output or Path(f"{family}.qcow2")).absolute()
        _build_windows(Order(family, iso, place, virtio_win, intel_drivers, ssh, product_key, devcon), dry)
        return
    loaded = load_profile(profile)
    image = build_image(loaded)
    release = f", kernel {image.kernel_release}" if image.kernel_release else ""
    boots = next(file for file in (image.kernel, image.rom, image.disk, image.iso, image.floppy) if file)
    print(f"{loaded.name}: {image.key}{release}, in {boots.parent}")


def _build_windows(order: "Order", dry: bool) -> None:
    from harness.image.windows.build import build, dry_run, exports
    from harness.image.windows.recipe import RECIPES

    family, recipe = order.family, RECIPES[order.family]
    if dry:
        print("\n".join(dry_run(order, recipe)))
        return
    qemu = find_qemu()
    image = build(order, recipe, qemu, choose_accel(qemu), lambda line: print(f"{family}: {line}", flush=True))
    print(f"{family}: {image}; what is inside: {image}.json")
    for variable, value in exports(family, image).items():
        print(f"export {variable}={shlex.quote(value)}")


@images.command("list")
def image_list() -> None:
    """List the images in the cache and the profiles that boot from them."""
    users: dict[str, list[str]] = {}
    releases: dict[str, str | None] = {}
    with cache.only_cached():
        for name in profile_names():
            try:
                image = build_image(load_profile(name))
            except NicproofError:
                continue  # not built, or cannot be: `doctor` says why
            users.setdefault(image.key, []).append(name)
            releases[image.key] = image.kernel_release
    table = Table("profiles", "kernel", "size", "made", "image")
    for entry in (*cache.entries("image"), *cache.entries("firmware")):
        profiles = ", ".join(users.get(entry.key, ())) or "(older, or of a profile elsewhere)"
        made = entry.made.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(profiles, releases.get(entry.key) or "", _mib(entry.size), made, str(entry.path))
    _console().print(table if table.row_count else "no image yet: `nicproof image build linux` makes one")


def _mib(octets: int) -> str:
    return f"{octets / (1 << 20):.0f} MiB"


@app.command()
def clean() -> None:
    """Empty the cache, and remove what ended runs left; what a live run uses stays."""
    before = rundir.directories()
    rundir.sweep()
    left = rundir.directories()
    cleared = cache.clear()
    freed = _mib(sum(entry.size for entry in cleared.removed))
    print(f"freed {freed} in {cache.cache_root()}: {_kinds(cleared.removed)}")
    if gone := len(before) - len(left):
        print(f"removed {gone} run {'directory' if gone == 1 else 'directories'}")
    if cleared.kept:
        print(f"kept, because a run uses or makes it: {_kinds(cleared.kept)}")
    for directory in left:
        print(f"kept, because process {rundir.user_of(directory)} uses it: {directory}")


def _kinds(entries: tuple[cache.CacheEntry, ...]) -> str:
    """Return such as "2 image, 14 snapshots"."""
    kinds = sorted({entry.kind for entry in entries})
    return ", ".join(f"{sum(entry.kind == kind for entry in entries)} {kind}" for kind in kinds) or "nothing"


def main() -> None:
    """Run the command line."""
    app(prog_name="nicproof")


if __name__ == "__main__":
    main()
