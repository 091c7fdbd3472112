"""The table of results: each measurement, each bound on it, and whether the bound holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Bound:
    """What a median must keep."""

    limit: float
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` keeps it."""
        return value >= self.limit if self.at_least else value <= self.limit

    def text(self, unit: str) -> str:
        """Return such as "at most 0.6 s"."""
        return f"{'at least' if self.at_least else 'at most'} {number(self.limit, unit)}"


@dataclass(frozen=True)
class Row:
    """One line of the table: a measurement, or the ratio of two from the same round."""

    name: str
    unit: str
    what: str
    bound: Bound | None = None


def number(value: float, unit: str) -> str:
    """Return a value with its unit, in as many digits as mean something."""
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {unit}".rstrip()


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return the ratio of two measurements, round by round."""
    return [value / other for value, other in zip(values, others, strict=False)]


def lines(rows: Sequence[Row], results: Mapping[str, Sequence[float]]) -> list[str]:
    """Return the table as Markdown; rows without results are left out."""
    table = [
        "| | what | median | min | max | runs | bound | holds |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        values = results.get(row.name)
        if not values:
            continue
        shown = [number(value, row.unit) for value in (median(values), min(values), max(values))]
        bound, holds = "", ""
        if row.bound is not None:
            bound, holds = row.bound.text(row.unit), "yes" if row.bound.holds(median(values)) else "**no**"
        table.append(f"| {' | '.join((row.name, row.what, *shown, str(len(values)), bound, holds))} |")
    return table
