"""The table of a study: a row a setting, a column a measure, each with the mean over seeds and how sure it is.

    mean +- t(0.975, n - 1) s / sqrt(n)     n seeds, s their standard deviation

The t interval is the one for few numbers: with 3 seeds it is 4.3 standard errors wide, with 5 it is 2.8. It speaks of
what the seeds change (the draw of clips, the start, the order), not of other data. One seed has no interval.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import SeehearError
from seehear.evaluation.report import provenance
from seehear.progress import counted
from seehear.studies.grid import Result, Value
from seehear.train.files import write_text

LEVEL = 0.95
_SENTENCES = 3  # of a summary


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its t interval."""

    mean: float
    low: float
    """nan with one seed, as is `high`."""
    high: float
    count: int
    """Seeds."""

    def within(self, least: float, most: float) -> Estimate:
        """The interval cut to what a measure can be: the t interval of a share may reach beyond 0 and 1."""
        return self if math.isnan(self.low) else replace(self, low=max(self.low, least), high=min(self.high, most))

    def shown(self, scale: float = 1.0, digits: int = 3) -> str:
        """'0.312 [0.290, 0.334]'"""
        text = f"{scale * self.mean:.{digits}f}"
        if not math.isfinite(self.low):
            return text
        return f"{text} [{scale * self.low:.{digits}f}, {scale * self.high:.{digits}f}]"


@dataclass(frozen=True)
class Row:
    settings: dict[str, Value]
    estimates: dict[str, Estimate]
    """By measure."""
    failed: int = 0
    """Cells of this row that could not be measured."""


@dataclass(frozen=True)
class Table:
    rows: tuple[Row, ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    """Notes for the reader, a sentence each."""
    percent: bool = False
    """Measures are shares, shown in percent."""
    interval: str = "95 % t interval over seeds"
    """Definition of the intervals."""

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row.estimates))

    def find(self, **settings: Value) -> Row:
        """The row with these settings."""
        for row in self.rows:
            if all(row.settings.get(name) == value for name, value in settings.items()):
                return row
        raise KeyError(f"no row has {settings}")

    @property
    def settings(self) -> list[str]:
        """Their columns come before those of the measures."""
        return list(dict.fromkeys(name for row in self.rows for name in row.settings))

    def lines(self) -> list[list[str]]:
        """What it says, its head first."""
        scale, digits = (100.0, 1) if self.percent else (1.0, 3)
        lines = [[*self.settings, *(f"{c}, %" if self.percent else c for c in self.columns)]]
        for row in self.rows:
            own = {c: e.within(0.0, 1.0) if self.percent else e for c, e in row.estimates.items()}
            cells = [own[c].shown(scale, digits) if c in own else "" for c in self.columns]
            lines.append([*(in_words(row.settings.get(name)) for name in self.settings), *cells])
        return lines

    @property
    def sentences(self) -> list[str]:
        """Its notes, and what its intervals and gaps are."""
        counts = sorted({e.count for row in self.rows for e in row.estimates.values()})
        failed = sum(row.failed for row in self.rows)
        seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}" if counts else "no"
        said = [f"Mean over {seeds} seeds [{self.interval}]."] if counts and counts[-1] > 1 else []
        said += [f"Left out because they could not be measured: {counted(failed, 'cell')}."] if failed else []
        return [*self.notes, *said]

    def markdown(self) -> str:
        table = ["| " + " | ".join(line) + " |" for line in self.lines()]
        table.insert(1, "|" + "---|" * len(self.settings) + "---:|" * len(self.columns))
        parts = [f"# {self.title}"] if self.title else []
        return "\n\n".join([*parts, "\n".join(table), *self.sentences]) + "\n"

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON: numbers that are not finite are null."""
        plain = {**asdict(self), "level": LEVEL, "notes": self.sentences}
        return json.loads(json.dumps(plain), parse_constant=lambda _: None)


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and t interval. Equal values have an interval of width zero; no value at all is nan."""
    x = np.asarray(values, np.float64)
    if not len(x):
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = float(x.mean())
    if len(x) < 2:
        return Estimate(mean, math.nan, math.nan, 1)
    from scipy import stats

    half = float(stats.t.ppf((1 + LEVEL) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return Estimate(mean, mean - half, mean + half, len(x))


def tabulate(
    results: Sequence[Result],
    *,
    measures: Sequence[str] = (),
    over: Sequence[str] = ("seed",),
    title: str = "",
    notes: Sequence[str] = (),
    percent: bool = False,
) -> Table:
    """One row for all cells that differ only in the settings `over`, in the order of the cells; a measure is left out
    of a row where no cell has it. Without `measures`, all there are."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        settings = {name: value for name, value in result.cell.items() if name not in over}
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(result)
    rows = []
    for key, own in groups.items():
        names = measures or list(dict.fromkeys(name for r in own for name in r.values))
        values = {name: [r.values[name] for r in own if math.isfinite(r.values.get(name, math.nan))] for name in names}
        estimates = {name: estimate(found) for name, found in values.items() if found}
        order = [name for name in own[0].cell if name in json.loads(key)]
        settings = {name: own[0].cell[name] for name in order}
        rows.append(Row(settings, estimates, sum(bool(r.error) for r in own)))
    return Table(tuple(rows), title, tuple(notes), percent)


@dataclass(frozen=True)
class Study:
    """Results of a study."""

    folder: Path
    tables: tuple[Table, ...]
    said: tuple[str, ...]
    """The outcome in plain words."""
    results: tuple[Result, ...]
    about: dict[str, Any]
    """Facts that all cells share."""
    details: dict[str, Any] = field(default_factory=dict)
    """More for `study.json`."""

    def save(self) -> None:
        """Writes `study.json`: tables, cells, what they share and the versions; and `table.md`: the tables to read,
        and what is said of them."""
        if all(result.error for result in self.results):
            first = self.results[0].error if self.results else "none"
            raise SeehearError(f"{self.folder}: no cell could be measured, the first: {first}")
        plain = {"said": list(self.said), "about": self.about, **provenance(str(self.about.get("command", "")))}
        plain |= {"tables": [table.plain() for table in self.tables], **self.details}
        plain |= {"cells": [asdict(result) for result in self.results]}
        finite = json.loads(json.dumps(plain), parse_constant=lambda _: None)
        write_text(self.folder / "study.json", json.dumps(finite, indent=1, ensure_ascii=False) + "\n")
        write_text(self.folder / "table.md", self.markdown())

    def markdown(self) -> str:
        return "\n".join([*(table.markdown() for table in self.tables), *(f"{line}\n" for line in self.said)])

    def summary(self) -> str:
        """The first of what is said; the tables where nothing is."""
        if not self.said:
            return str(self)
        more = len(self.said) - _SENTENCES
        return "\n".join(
            [line.removeprefix("- ") for line in self.said[:_SENTENCES]]
            + ([f"({counted(more, 'more sentence')} in the report.)"] if more > 0 else [])
        )

    def __str__(self) -> str:
        return f"{self.markdown()}\ntables and figures: {self.folder}"


def in_words(value: Value) -> str:
    """A setting as tables show it."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
