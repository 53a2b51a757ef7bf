"""Figures of studies, to be put in a paper: means with their intervals, and nothing that does not say something.

Each function draws into one axis that the caller may own; `save_figure` writes PNG to look at and SVG and PDF to print.
The colours are those of Okabe and Ito, which people with any kind of colour vision tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import require
from seehear.studies.table import Estimate, Table

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
Series = Mapping[str, Sequence[tuple[float, Estimate]]]
"""Name -> (x, estimate) of its points."""


def require_figures() -> None:
    """Called before a study starts, not after its last cell."""
    require("matplotlib", "studies")


def save_figure(stem: str | Path, draw: Callable[[Any], None], *, size: tuple[float, float] = (5.2, 3.4)) -> list[Path]:
    """`stem`.png, .svg and .pdf of what `draw(axes)` draws. The same numbers give the same files."""
    matplotlib, figures = require("matplotlib", "studies"), require("matplotlib.figure", "studies")
    paths = [Path(f"{stem}{ending}") for ending in (".png", ".svg", ".pdf")]
    with matplotlib.rc_context(_STYLE):
        figure = figures.Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
            figure.savefig(path, dpi=200, metadata=dated)
    return paths


def dots(
    axes: Any,
    table: Table,
    measure: str,
    *,
    label: Callable[[dict[str, Any]], str],
    by: str = "",
    scale: float = 1.0,
    title: str = "",
    lines: Sequence[str] = (),
) -> None:
    """A line a row of the table: a dot with its interval. Rows that differ only in the setting `by` share a line, side
    by side, in colours that the legend names. `lines`: the labels from top to bottom, for panels side by side; else
    only those rows have one that have the measure."""
    names: dict[str, list[tuple[str, Estimate]]] = {line: [] for line in lines}
    for row in table.rows:
        if measure in row.estimates:
            settings = {k: v for k, v in row.settings.items() if k != by}
            kind = str(row.settings.get(by, "")) if by else ""
            names.setdefault(label(settings), []).append((kind, row.estimates[measure]))
    kinds = list(dict.fromkeys(str(row.settings.get(by, "")) if by else "" for row in table.rows))
    for k, kind in enumerate(kinds):
        points = [(y, e) for y, own in enumerate(names.values()) for name, e in own if name == kind]
        at = np.array([y for y, _ in points]) + 0.18 * (k - (len(kinds) - 1) / 2)
        means = scale * np.array([e.mean for _, e in points])
        bars = scale * np.array([_bars(e) for _, e in points]).reshape(-1, 2).T
        colour, mark = COLOURS[k % len(COLOURS)], MARKS[k % len(MARKS)]
        axes.errorbar(means, at, xerr=bars, fmt=mark, color=colour, ms=4.5, lw=1.2, label=kind or None)
    axes.set_yticks(range(len(names)), list(names))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(title or measure)
    if any(kinds):
        axes.legend()


def curves(axes: Any, series: Series, *, x: str, y: str, scale: float = 1.0, lines: bool = True) -> None:
    """Means over numbers of pairs, on a logarithmic axis, with their intervals; a colour a series."""
    places = sorted({at for points in series.values() for at, _ in points})
    for k, (name, points) in enumerate(series.items()):
        shift = 1 + 0.025 * (k - (len(series) - 1) / 2)  # intervals side by side
        at = np.array([p[0] for p in points]) * shift
        means = scale * np.array([e.mean for _, e in points])
        bars = scale * np.array([_bars(e) for _, e in points]).T
        style = {"fmt": MARKS[k % len(MARKS)], "color": COLOURS[k % len(COLOURS)], "ms": 4.5, "lw": 1.2}
        axes.errorbar(at, means, yerr=bars, ls="-" if lines else "none", label=name or None, **style)
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{at:,.0f}" for at in places])
    axes.minorticks_off()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if any(series):
        axes.legend()


def band(axes: Any, x: np.ndarray, middle: np.ndarray, low: np.ndarray, high: np.ndarray, *, name: str) -> None:
    """A fitted curve with what it may as well be."""
    axes.plot(x, middle, color=COLOURS[0], lw=1.2, ls="--")
    axes.fill_between(x, low, high, color=COLOURS[0], alpha=0.15, lw=0, label=name)


def cloud(axes: Any, points: Sequence[tuple[str, str, float, Estimate]], *, x: str, y: str) -> None:
    """(colour, mark, prediction, outcome): does the one go with the other? The legend names colours, then marks."""
    colours = list(dict.fromkeys(point[0] for point in points))
    marks = list(dict.fromkeys(point[1] for point in points))
    for colour, mark, at, e in points:
        style = {"color": COLOURS[colours.index(colour) % len(COLOURS)], "fmt": MARKS[marks.index(mark) % len(MARKS)]}
        axes.errorbar([at], [e.mean], yerr=np.array([_bars(e)]).T, ms=5, lw=1.2, **style)
    for k, name in enumerate(colours):
        axes.plot([], [], "s", color=COLOURS[k % len(COLOURS)], label=name)
    for k, name in enumerate(marks):
        axes.plot([], [], MARKS[k % len(MARKS)], color="#777777", label=name)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(fontsize=7)


def _bars(e: Estimate) -> tuple[float, float]:
    """How far down and up the interval goes; nothing where there is none."""
    return (e.mean - e.low, e.high - e.mean) if math.isfinite(e.low) else (0.0, 0.0)
