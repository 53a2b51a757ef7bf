"""Table of a study, with a row per setting and a column per measure, and its figures.

    mean +- t(0.975, n - 1) s / sqrt(n)     n seeds, s their standard deviation

The interval covers the variation by seeds (draw of clips, initialisation, order), not by other data. One seed has none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import SeehearError, require
from seehear.evaluation.report import finite, provenance
from seehear.progress import counted
from seehear.studies.grid import Result, Value
from seehear.train.files import write_text

LEVEL = 0.95
# Sentences of a summary.
_SENTENCES = 3


@dataclass(frozen=True)
class SeedEstimate:
    """A mean over seeds and its t interval."""

    mean: float
    low: float
    """Bounds of the interval; nan with one seed."""
    high: float
    count: int
    """Seeds."""

    def within(self, least: float, most: float) -> SeedEstimate:
        """The interval clipped to the range of the measure: a t interval of a share may exceed 0 or 1."""
        return self if math.isnan(self.low) else replace(self, low=max(self.low, least), high=min(self.high, most))

    def shown(self, scale: float = 1.0, digits: int = 3) -> str:
        """'0.312 [0.290, 0.334]'"""
        text = f"{scale * self.mean:.{digits}f}"
        if not math.isfinite(self.low):
            return text
        return f"{text} [{scale * self.low:.{digits}f}, {scale * self.high:.{digits}f}]"


@dataclass(frozen=True)
class TableRow:
    settings: dict[str, Value]
    estimates: dict[str, SeedEstimate]
    """By measure."""
    failed: int = 0
    """Cells of this row that could not be measured."""


@dataclass(frozen=True)
class Table:
    rows: tuple[TableRow, ...]
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

    def find(self, **settings: Value) -> TableRow:
        """The row with these settings."""
        for row in self.rows:
            if all(row.settings.get(name) == value for name, value in settings.items()):
                return row
        raise KeyError(f"no row has {settings}")

    @property
    def settings(self) -> list[str]:
        """Names of the settings; their columns precede those of the measures."""
        return list(dict.fromkeys(name for row in self.rows for name in row.settings))

    def lines(self) -> list[list[str]]:
        """Cells as text, the header first."""
        scale, digits = (100.0, 1) if self.percent else (1.0, 3)
        lines = [[*self.settings, *(f"{c}, %" if self.percent else c for c in self.columns)]]
        for row in self.rows:
            # A t interval knows no bounds, a share has them.
            own = {c: e.within(0.0, 1.0) if self.percent else e for c, e in row.estimates.items()}
            cells = [own[c].shown(scale, digits) if c in own else "" for c in self.columns]
            lines.append([*(in_words(row.settings.get(name)) for name in self.settings), *cells])
        return lines

    @property
    def sentences(self) -> list[str]:
        """Notes, then the definition of the intervals and the number of failed cells."""
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
        return {**asdict(self), "level": LEVEL, "notes": self.sentences}


def estimate(values: Sequence[float]) -> SeedEstimate:
    """Mean and t interval; nan without any value."""
    x = np.asarray(values, np.float64)
    if not len(x):
        return SeedEstimate(math.nan, math.nan, math.nan, 0)
    mean = float(x.mean())
    if len(x) < 2:
        return SeedEstimate(mean, math.nan, math.nan, 1)
    # Not scipy.stats, which takes a second to import.
    from scipy.special import stdtrit

    # Student's t: three seeds say little about their own spread.
    half = float(stdtrit(len(x) - 1, (1 + LEVEL) / 2) * x.std(ddof=1) / math.sqrt(len(x)))
    return SeedEstimate(mean, mean - half, mean + half, len(x))


def tabulate(
    results: Sequence[Result],
    *,
    measures: Sequence[str] = (),
    over: Sequence[str] = ("seed",),
    title: str = "",
    notes: Sequence[str] = (),
    percent: bool = False,
) -> Table:
    """One row for all cells that differ only in the settings `over`, in order of the cells, with the `measures` (by
    default all) that some cell of it has."""
    groups: dict[frozenset[tuple[str, Value]], list[Result]] = {}
    for result in results:
        groups.setdefault(frozenset(i for i in result.cell.items() if i[0] not in over), []).append(result)
    rows = []
    for own in groups.values():
        names = measures or list(dict.fromkeys(name for r in own for name in r.values))
        values = {name: [r.values[name] for r in own if math.isfinite(r.values.get(name, math.nan))] for name in names}
        estimates = {name: estimate(found) for name, found in values.items() if found}
        settings = {name: value for name, value in own[0].cell.items() if name not in over}
        rows.append(TableRow(settings, estimates, sum(bool(r.error) for r in own)))
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
        """Writes `study.json` (tables, cells, shared facts, versions) and `table.md` (tables and sentences)."""
        # Nothing was measured: a table of nothing would look like a result.
        if all(result.error for result in self.results):
            first = self.results[0].error if self.results else "none"
            raise SeehearError(f"{self.folder}: no cell could be measured, the first: {first}")
        plain = {"said": list(self.said), "about": self.about, **provenance(str(self.about.get("command", "")))}
        plain |= {"tables": [table.plain() for table in self.tables], **self.details}
        plain |= {"cells": [asdict(result) for result in self.results]}
        write_text(self.folder / "study.json", json.dumps(finite(plain), indent=1, ensure_ascii=False) + "\n")
        write_text(self.folder / "table.md", self.markdown())

    def markdown(self) -> str:
        return "\n".join([*(table.markdown() for table in self.tables), *(f"{line}\n" for line in self.said)])

    def summary(self) -> str:
        """The first sentences, or the tables if there are none."""
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
    """Text of a setting in a table."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


# Okabe and Ito's colours, distinguishable with any kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = "osD^vPX"
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "seehear",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
Series = Mapping[str, Sequence[tuple[float, SeedEstimate]]]
"""Name -> (x, estimate) of its points."""


def require_figures() -> None:
    """Raises `SeehearError` without matplotlib; called before a study starts, not after its last cell."""
    require("matplotlib", "studies")


def save_figure(stem: str | Path, draw: Callable[[Any], None], *, size: tuple[float, float] = (5.2, 3.4)) -> list[Path]:
    """Writes `stem`.png, .svg and .pdf of what `draw(axes)` draws. The same numbers give the same files."""
    matplotlib, figures = require("matplotlib", "studies"), require("matplotlib.figure", "studies")
    paths = [Path(f"{stem}{ending}") for ending in (".png", ".svg", ".pdf")]
    with matplotlib.rc_context(_STYLE):
        # Not pyplot: it keeps figures, and needs a display on some systems.
        figure = figures.Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Without a date the same numbers give the same file.
            dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
            figure.savefig(path, dpi=200, metadata=dated)
    return paths


def dots(axes: Any, series: Series, lines: Sequence[str], *, x: str, scale: float = 1.0) -> None:
    """Draws means with intervals along the x axis, a colour per series. A point of a series is at a line, 0 the top;
    `lines` are their labels."""
    for k, (name, points) in enumerate(series.items()):
        # Series side by side, so that intervals do not overlap.
        at = np.array([line for line, _ in points]) + 0.18 * (k - (len(series) - 1) / 2)
        means, bars = _means(points, scale)
        axes.errorbar(means, at, xerr=bars, label=name, **_style(k))
    axes.set_yticks(range(len(lines)), list(lines))
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(x)


def curves(axes: Any, series: Series, *, x: str, y: str, scale: float = 1.0, lines: bool = True) -> None:
    """Draws means with intervals over a logarithmic axis, a colour per series."""
    places = sorted({at for points in series.values() for at, _ in points})
    for k, (name, points) in enumerate(series.items()):
        # Side by side, so that intervals do not overlap.
        shift = 1 + 0.025 * (k - (len(series) - 1) / 2)
        at = np.array([p[0] for p in points]) * shift
        means, bars = _means(points, scale)
        axes.errorbar(at, means, yerr=bars, ls="-" if lines else "none", label=name or None, **_style(k))
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{at:,.0f}" for at in places])
    # Ticks at the sizes that were measured, and no others.
    axes.minorticks_off()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if any(series):
        axes.legend()


def band(axes: Any, x: np.ndarray, middle: np.ndarray, low: np.ndarray, high: np.ndarray, *, name: str) -> None:
    """Draws a fitted curve with its interval."""
    axes.plot(x, middle, color=COLOURS[0], lw=1.2, ls="--")
    axes.fill_between(x, low, high, color=COLOURS[0], alpha=0.15, lw=0, label=name)


def cloud(axes: Any, points: Sequence[tuple[str, str, float, SeedEstimate]], *, x: str, y: str) -> None:
    """Draws outcome against prediction of (colour, mark, prediction, outcome). The legend names colours, then marks."""
    colours = list(dict.fromkeys(point[0] for point in points))
    marks = list(dict.fromkeys(point[1] for point in points))
    for colour, mark, at, e in points:
        means, bars = _means([(at, e)], 1.0)
        axes.errorbar([at], means, yerr=bars, **_style(colours.index(colour), marks.index(mark)))
    for k, name in enumerate(colours):
        axes.plot([], [], "s", color=COLOURS[k % len(COLOURS)], label=name)
    for k, name in enumerate(marks):
        axes.plot([], [], MARKS[k % len(MARKS)], color="#777777", label=name)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(fontsize=7)


def _means(points: Sequence[tuple[float, SeedEstimate]], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """((N,) means, (2, N) lengths of the intervals below and above them, zero without an interval)"""
    bars = [(e.mean - e.low, e.high - e.mean) if math.isfinite(e.low) else (0.0, 0.0) for _, e in points]
    # A series without the measure has no points: an empty array needs its shape.
    return scale * np.array([e.mean for _, e in points]), scale * np.array(bars).reshape(-1, 2).T


def _style(colour: int, mark: int | None = None) -> dict[str, Any]:
    mark = colour if mark is None else mark
    return {"fmt": MARKS[mark % len(MARKS)], "color": COLOURS[colour % len(COLOURS)], "ms": 4.5, "lw": 1.2}
