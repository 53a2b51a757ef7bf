"""Drawings as inline SVG whose text keeps its size at any width: coordinates are in percent, words are outside.

Colours are those of Okabe and Ito, distinguishable with any kind of colour vision. Marks differ in shape too, and a
table or sentence beside each drawing has the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from seehear.report.page import part

_FIGURES = "figures.html"
# Heights differ, so that marks of equal value do not hide each other.
_LEVEL = {"frozen": "22%", "run": "50%", "closed": "78%", "published": "50%", "chance": "50%"}
_PLOT = 150  # pixels of a curve or a histogram


@dataclass(frozen=True)
class Mark:
    kind: str
    """run, closed, frozen, published or chance: colour in the style sheet, and shape."""
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
    """The number of the first mark as text."""
    note: str = ""
    """Small text after the name."""
    strong: bool = False


def intervals(lines: Sequence[PlotLine], *, label: str, most: float = 1.0) -> Markup:
    """A row for each line: name, marks with intervals on an axis from 0 to `most`, number."""

    def at(value: float) -> str:
        # Clamped: a mark beyond the axis stays in the drawing.
        return f"{100 * min(max(value / most, 0.0), 1.0):.2f}%"

    shown = []
    for line in lines:
        # A model may lack a measure, and NaN has no place on the axis.
        known = [m for m in line.marks if math.isfinite(m.value)]
        marks = [
            {
                "kind": m.kind,
                "says": m.says,
                "level": _LEVEL[m.kind],
                "place": at(m.value),
                "whisker": [at(m.low), at(m.high)] if math.isfinite(m.low) and math.isfinite(m.high) else None,
            }
            # The first mark is drawn last, on top.
            for m in reversed(known)
        ]
        # For screen readers, to which the marks say nothing.
        spoken = "; ".join(m.says or f"{m.kind} {100 * m.value:.1f} %" for m in known)
        shown.append(vars(line) | {"spoken": spoken, "marks": marks})
    grid = [(f"{100 * g:g}%", f"{100 * most * g:g}{'%' if g == 1.0 else ''}") for g in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return part(_FIGURES, "intervals", shown, grid, label)


def legend(names: Mapping[str, str]) -> Markup:
    """Legend of kinds of marks: kind -> text."""
    return part(_FIGURES, "legend", names)


def histogram(series: Sequence[tuple[str, np.ndarray]], *, label: str, bins: int = 30) -> Markup:
    """Overlaid histograms, each as shares of its own total, with dashed means."""
    every = np.concatenate([values for _, values in series])
    # Edges common to all series, so that their bars can be compared.
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
    return part(_FIGURES, "histogram", [name for name, _ in series], bars, means, ends, _PLOT, label)


def curve(
    x: Sequence[float],
    y: Sequence[float],
    *,
    label: str,
    show: Callable[[float], str] = "{:.3g}".format,
    marked: float | None = None,
) -> Markup:
    """A line through the points, scaled to their range. `marked`: an x to mark with a ring."""
    low, high = min(y), max(y)
    # `or 1.0`: a constant curve has no range.
    wide, tall = (max(x) - min(x)) or 1.0, (high - low) or 1.0
    # y points down in SVG; 4 % at each end leave room for the line's width.
    at = [(100 * (a - min(x)) / wide, 96 - 92 * (b - low) / tall) for a, b in zip(x, y, strict=True)]
    points = " ".join(f"{a:.2f},{b:.2f}" for a, b in at)
    near = [p for p, a in zip(at, x, strict=True) if a == marked]
    ring = (f"{near[0][0]:.2f}%", f"{near[0][1]:.2f}%") if near else None
    ends = (f"{min(x):,.0f}", "step", f"{max(x):,.0f}")
    # For screen readers, in place of the line.
    spoken = f"{label}: from {show(y[0])} to {show(y[-1])}, least {show(low)}, greatest {show(high)}"
    return part(_FIGURES, "curve", points, ring, (show(high), show(low)), ends, _PLOT, spoken)
