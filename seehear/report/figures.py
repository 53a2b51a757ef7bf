"""Drawings as inline SVG that keep their letters' size on any width: places are in percent of it, words outside.

The colours are those of Okabe and Ito, which people with any kind of colour vision tell apart; marks differ in shape
too, and every drawing stands beside a table or a sentence with the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from seehear.report.page import part

KINDS = ("run", "closed", "frozen", "published", "chance")
"""What a mark stands for; each has a colour in the style sheet and a shape."""
_LEVEL = {"frozen": "22%", "run": "50%", "closed": "78%", "published": "50%", "chance": "50%"}
_PLOT = 150  # pixels of a curve or a histogram


@dataclass(frozen=True)
class Mark:
    kind: str
    """One of `KINDS`."""
    value: float
    low: float = math.nan
    high: float = math.nan
    says: str = ""
    """Tooltip."""


@dataclass(frozen=True)
class PlotLine:
    name: str
    marks: Sequence[Mark]
    value: str = ""
    """The number of the first mark in words."""
    note: str = ""
    """Small, after the name."""
    strong: bool = False


def intervals(lines: Sequence[PlotLine], *, label: str, most: float = 1.0) -> Markup:
    """A line each: its name, its marks with their intervals on an axis from 0 to `most`, its number."""
    shown = [
        vars(line) | {"spoken": _spoken(line), "marks": [_mark(m, most) for m in reversed(line.marks) if _known(m)]}
        for line in lines
    ]
    grid = [(f"{100 * g:g}%", f"{100 * most * g:g}{'%' if g == 1.0 else ''}") for g in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return _figure("intervals", shown, grid, label)


def legend(names: Mapping[str, str]) -> Markup:
    """Kind of mark -> what it is called."""
    return _figure("legend", names)


def histogram(series: Sequence[tuple[str, np.ndarray]], *, label: str, bins: int = 30) -> Markup:
    """Shares of values by bin, each series over its own total, one before the other; its mean dashed."""
    every = np.concatenate([values for _, values in series])
    edges = np.histogram_bin_edges(every, bins)
    shares = [np.histogram(values, edges)[0] / len(values) for _, values in series]
    top = max(float(s.max()) for s in shares)
    bars = [
        {
            "series": k,
            "x": f"{100 * b / bins:.2f}%",
            "width": f"{100 / bins:.2f}%",
            "y": f"{100 - 100 * share[b] / top:.2f}%",
            "height": f"{100 * share[b] / top:.2f}%",
            "says": f"{name}: {100 * share[b]:.1f} % between {edges[b]:.2f} and {edges[b + 1]:.2f}",
        }
        for k, ((name, _), share) in enumerate(zip(series, shares, strict=True))
        for b in range(bins)
        if share[b]
    ]
    means = [f"{100 * (float(np.mean(v)) - edges[0]) / (edges[-1] - edges[0]):.2f}%" for _, v in series]
    ends = (f"{edges[0]:.2f}", "cosine", f"{edges[-1]:.2f}")
    return _figure("histogram", [name for name, _ in series], bars, means, ends, _PLOT, label)


def curve(
    x: Sequence[float],
    y: Sequence[float],
    *,
    label: str,
    show: Callable[[float], str] = "{:.3g}".format,
    marked: float | None = None,
) -> Markup:
    """A line through the points, from the least value to the greatest; `marked`: an x to point out."""
    low, high = min(y), max(y)
    wide, tall = (max(x) - min(x)) or 1.0, (high - low) or 1.0
    at = [(100 * (a - min(x)) / wide, 96 - 92 * (b - low) / tall) for a, b in zip(x, y, strict=True)]
    points = " ".join(f"{a:.2f},{b:.2f}" for a, b in at)
    near = [p for p, a in zip(at, x, strict=True) if a == marked]
    ring = (f"{near[0][0]:.2f}%", f"{near[0][1]:.2f}%") if near else None
    ends = (f"{min(x):,.0f}", "step", f"{max(x):,.0f}")
    spoken = f"{label}: from {show(y[0])} to {show(y[-1])}, least {show(low)}, greatest {show(high)}"
    return _figure("curve", points, ring, (show(high), show(low)), ends, _PLOT, spoken)


def _figure(macro: str, *values: object) -> Markup:
    return part("figures.html", macro, *values)


def _spoken(line: PlotLine) -> str:
    return "; ".join(m.says or f"{m.kind} {100 * m.value:.1f} %" for m in line.marks if _known(m))


def _known(mark: Mark) -> bool:
    return math.isfinite(mark.value)


def _mark(mark: Mark, most: float) -> dict[str, object]:
    bounded = math.isfinite(mark.low) and math.isfinite(mark.high)
    return {
        "kind": mark.kind,
        "says": mark.says,
        "level": _LEVEL[mark.kind],
        "place": f"{_at(mark.value, most):.2f}%",
        "whisker": [f"{_at(v, most):.2f}%" for v in (mark.low, mark.high)] if bounded else None,
    }


def _at(value: float, most: float) -> float:
    return 100 * min(max(value / most, 0.0), 1.0)
