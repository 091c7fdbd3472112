"""`python -m benchmarks [NAME ...] [--runs N]`: measure and print the table; docs/benchmarks.md if all was measured."""

import argparse
import datetime
import os
import platform
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import boots, endpoints, job, shares, virtme, wire
from benchmarks.setting import CELL, WIRE_CELL, Setting, here
from benchmarks.table import Bound, Row, lines, ratios
from harness import rundir
from harness.errors import NicproofError

TABLE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Benchmark:
    """A function that measures once, and how its results are shown."""

    row: Row
    measure: Callable[[Setting], float]
    once: bool = False
    """Too long to be repeated."""


# In this order in every round, so that what is compared is measured within a minute of each other.
BENCHMARKS = (
    Benchmark(Row("bare-boot", "s", "bare QEMU, same kernel, to init"), boots.bare_boot),
    Benchmark(Row("cold-boot", "s", "cold boot to the first SSH answer"), boots.cold_boot),
    Benchmark(
        Row("virtme-ng", "s", f"virtme-ng {virtme.VERSION}, one command, same kernel as packaged"), virtme.virtme_ng
    ),
    Benchmark(Row("fork", "s", "fork to the first SSH answer", Bound(0.6)), boots.fork),
    Benchmark(
        Row("wire-to-dut", "frames/s", "wire to guest, none lost", Bound(50_000, at_least=True)), wire.wire_to_dut
    ),
    Benchmark(
        Row("wire-from-dut", "frames/s", "guest to wire, none lost", Bound(50_000, at_least=True)), wire.wire_from_dut
    ),
    Benchmark(
        Row("guest-to-dut", "frames/s", "second guest to DUT, none lost", Bound(4_000, at_least=True)),
        endpoints.guest_to_dut,
    ),
    Benchmark(
        Row("guest-from-dut", "frames/s", "DUT to second guest, none lost", Bound(4_000, at_least=True)),
        endpoints.guest_from_dut,
    ),
    Benchmark(
        Row("host-to-dut", "frames/s", "lab host to DUT, none lost", Bound(4_000, at_least=True)), endpoints.host_to_dut
    ),
    Benchmark(
        Row("host-from-dut", "frames/s", "DUT to lab host, none lost", Bound(4_000, at_least=True)),
        endpoints.host_from_dut,
    ),
    Benchmark(Row("memory-fork", "MB", "QEMU of a fork after a test's work", Bound(400)), boots.memory_of_fork),
    Benchmark(Row("memory-boot", "MB", "QEMU of a booted guest before it is saved", Bound(400)), boots.memory_of_boot),
    Benchmark(Row("share-forks", "%", "of a test's time, it waits for its fork"), shares.forks, once=True),
    Benchmark(Row("share-guests", "%", "of a test's time, the guest works or is waited for"), shares.guests, once=True),
    Benchmark(
        Row("share-harness", "%", "of a test's time, the harness's own process works", Bound(15)),
        shares.harness,
        once=True,
    ),
    Benchmark(Row("nightly-job", "min", "`./run linux`, warm caches", Bound(45)), job.nightly_job, once=True),
)
RATIOS = (
    (Row("cold-boot / bare-boot", "", "", Bound(2.5)), "cold-boot", "bare-boot"),
    (Row("cold-boot / virtme-ng", "", "", Bound(0.5)), "cold-boot", "virtme-ng"),
    (Row("fork / virtme-ng", "", "", Bound(0.1)), "fork", "virtme-ng"),
)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast nicproof is, against what.")
    names = [benchmark.row.name for benchmark in BENCHMARKS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(names)}")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="rounds (default: 5)")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in names:
            parser.error(f"{name}: no such benchmark; one of {', '.join(names)}")
    if arguments.runs < 1:
        parser.error(f"--runs {arguments.runs}: at least 1")
    return arguments


def _say(text: str) -> None:
    print(text, flush=True)


def _measure(chosen: list[Benchmark], setting: Setting, runs: int) -> dict[str, list[float]]:
    results: dict[str, list[float]] = {benchmark.row.name: [] for benchmark in chosen}
    for number in range(1, runs + 1):
        for benchmark in chosen:
            if benchmark.once and number > 1:
                continue
            value = benchmark.measure(setting)
            results[benchmark.row.name].append(value)
            _say(f"round {number}/{runs}: {benchmark.row.name}: {value:.3f} {benchmark.row.unit}")
    return results


def _prepare(chosen: list[Benchmark], setting: Setting) -> None:
    """Make image and snapshots, and run each short benchmark once: what is only ever slow once is not timed."""
    _say("making image and snapshots ready")
    for benchmark in chosen:
        if not benchmark.once:
            benchmark.measure(setting)


def _host(setting: Setting) -> str:
    processor = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    qemu = setting.launcher.qemu
    return (
        f"{processor[1] if processor else platform.machine()}, {os.cpu_count()} processors, QEMU {qemu.version} "
        f"({qemu.origin}), emulation (TCG), kernel {setting.image.kernel_release}"
    )


def main() -> int:
    """Run the benchmarks."""
    arguments = _parse()
    chosen = [each for each in BENCHMARKS if not arguments.names or each.row.name in arguments.names]
    try:
        setting = here()
        _prepare(chosen, setting)
        results = _measure(chosen, setting, arguments.runs)
    except NicproofError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        rundir.sweep()
    for row, one, other in RATIOS:
        results[row.name] = ratios(results.get(one, []), results.get(other, []))
    table = lines([*(benchmark.row for benchmark in BENCHMARKS), *(row for row, _, _ in RATIOS)], results)
    if len(chosen) == len(BENCHMARKS):
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text("\n".join([*_preface(setting), "", *table, ""]))
        _say(f"written: {TABLE}")
    _say("\n".join(["", *table]))
    return 0


def _preface(setting: Setting) -> list[str]:
    return [
        "# Benchmarks",
        "",
        f"Written by `./run bench` on {datetime.date.today()}: {_host(setting)}.",
        f"Boots, forks and memory: `{CELL}`; the wire: `{WIRE_CELL}`; shares: all tests of `{shares.CELL}`.",
        "The measurements take turns, round by round, after one round that does not count; a ratio is taken within",
        "each round. Bounds are for medians, on two processors that do nothing else. Memory is QEMU's, a shared page",
        "divided among those that share it. Where the nightly job's time goes: [speed.md](speed.md).",
    ]


if __name__ == "__main__":
    sys.exit(main())
