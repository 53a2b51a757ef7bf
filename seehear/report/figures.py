"""Drawings as inline SVG that keep their letters' size on any width: places are in percent of it, words outside.

The colours are those of Okabe and Ito, which people with any kind of colour vision tell apart; marks differ in shape
too, and every drawing stands beside a table or a sentence with the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seehear.report.markup import Markup, element

KINDS = ("run", "closed", "frozen", "published", "chance")
"""What a mark stands for; each has a colour in the style sheet and a shape."""
_HEIGHT = 32  # pixels of a line of an interval plot
_LEVEL = {"frozen": "22%", "run": "50%", "closed": "78%", "published": "50%", "chance": "50%"}
_OUTLINES = {"closed": "M0-6L6 0L0 6L-6 0Z", "frozen": "M-4-4H4V4H-4Z", "published": "M-6-5H6L0 6Z"}
_PLOT = 150  # pixels of a curve or a histogram


@dataclass(frozen=True)
class Mark:
    kind: str
    """One of `KINDS`."""
    value: float
    low: float = math.nan
    high: float = math.nan
    says: str = ""
    """What a pointer that rests on it is told."""


@dataclass(frozen=True)
class Line:
    name: Any
    marks: Sequence[Mark]
    value: str = ""
    """The number of the first mark in words."""


def intervals(lines: Sequence[Line], *, label: str, most: float = 1.0) -> Markup:
    """A line each: its name, its marks with their intervals on an axis from 0 to `most`, its number."""
    grid = [0.0, 0.25, 0.5, 0.75, 1.0]
    names = [f"{100 * most * g:g}{'%' if g == 1.0 else ''}" for g in grid]
    axis = element("div", *(element("span", name) for name in names), class_="axis", aria_hidden="true")
    behind = [element("line", x1=x, x2=x, y1="0%", y2="100%", class_="grid") for x in (f"{100 * g:g}%" for g in grid)]
    rows = [
        element(
            "div",
            element("span", line.name, class_="name"),
            _svg([*behind, *(_mark(m, most) for m in reversed(line.marks))], _HEIGHT, _spoken(line)),
            element("span", line.value, class_="value"),
            class_="line",
        )
        for line in lines
    ]
    last = element("div", element("span"), axis, element("span"), class_="line")
    return element("div", *rows, last, class_="plot", role="group", aria_label=label)


def legend(names: dict[str, str]) -> Markup:
    """Kind of mark -> what it is called."""
    items = [element("li", _svg([_shape(kind, 50.0)], 16, "", width=18), name) for kind, name in names.items() if name]
    return element("ul", *items, class_="legend")


def histogram(series: Sequence[tuple[str, np.ndarray]], *, label: str, bins: int = 30) -> Markup:
    """Shares of values by bin, each series over its own total, one before the other; its mean dashed."""
    every = np.concatenate([values for _, values in series])
    edges = np.histogram_bin_edges(every, bins)
    shares = [np.histogram(values, edges)[0] / len(values) for _, values in series]
    top = max(float(s.max()) for s in shares)
    parts: list[Markup] = []
    for k, ((name, values), share) in enumerate(zip(series, shares, strict=True)):
        for b in range(bins):
            tall = 100 * share[b] / top
            said = f"{name}: {100 * share[b]:.1f} % between {edges[b]:.2f} and {edges[b + 1]:.2f}"
            place = {"x": f"{100 * b / bins:.2f}%", "width": f"{100 / bins:.2f}%"}
            place |= {"y": f"{100 - tall:.2f}%", "height": f"{tall:.2f}%", "class_": f"bar series{k}"}
            if tall:
                parts.append(element("rect", element("title", said), **place))
        at = f"{100 * (float(np.mean(values)) - edges[0]) / (edges[-1] - edges[0]):.2f}%"
        parts.append(element("line", x1=at, x2=at, y1="0%", y2="100%", class_=f"mean series{k}"))
    ends = element("span", f"{edges[0]:.2f}"), element("span", "cosine"), element("span", f"{edges[-1]:.2f}")
    key = element("ul", *(element("li", _swatch(k), name) for k, (name, _) in enumerate(series)), class_="legend")
    figure = element("div", _svg(parts, _PLOT, label), element("div", *ends, class_="axis"), class_="chart")
    return Markup(key + figure)


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
    line = element("polyline", points=points, class_="curve", vector_effect="non-scaling-stroke")
    parts = [element("svg", line, viewBox="0 0 100 100", preserveAspectRatio="none", width="100%", height="100%")]
    if marked is not None and (near := [p for p, a in zip(at, x, strict=True) if a == marked]):
        parts.append(element("circle", cx=f"{near[0][0]:.2f}%", cy=f"{near[0][1]:.2f}%", r="5", class_="best"))
    sides = element("div", element("span", show(high)), element("span", show(low)), class_="side", aria_hidden="true")
    ends = element("span", f"{min(x):,.0f}"), element("span", "step"), element("span", f"{max(x):,.0f}")
    spoken = f"{label}: from {show(y[0])} to {show(y[-1])}, least {show(low)}, greatest {show(high)}"
    plot = element("div", sides, _svg(parts, _PLOT, spoken), class_="framed")
    return element("div", plot, element("div", *ends, class_="axis"), class_="chart")


def _svg(parts: Sequence[Any], height: int, label: str, width: int | str = "100%") -> Markup:
    """A drawing with a name for those who cannot see it, or hidden from them where words beside it say the same."""
    spoken = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    return element("svg", *parts, width=width, height=height, class_="drawing", **spoken)


def _spoken(line: Line) -> str:
    return "; ".join(m.says or f"{m.kind} {100 * m.value:.1f} %" for m in line.marks if math.isfinite(m.value))


def _mark(mark: Mark, most: float) -> Markup | None:
    if not math.isfinite(mark.value):
        return None
    title = element("title", mark.says) if mark.says else None
    parts = [title]
    if math.isfinite(mark.low) and math.isfinite(mark.high):
        low, high = (f"{_at(v, most):.2f}%" for v in (mark.low, mark.high))
        parts.append(element("line", x1=low, x2=high, y1=_LEVEL[mark.kind], y2=_LEVEL[mark.kind], class_="whisker"))
    return element("g", *parts, _shape(mark.kind, _at(mark.value, most), _LEVEL[mark.kind]), class_=mark.kind)


def _at(value: float, most: float) -> float:
    return 100 * min(max(value / most, 0.0), 1.0)


def _shape(kind: str, at: float, y: str = "50%") -> Markup:
    """A disc, a diamond, a square, a triangle, a bar; round a place in percent."""
    x = f"{at:.2f}%"
    if kind == "run":
        return element("circle", cx=x, cy=y, r="5", class_=kind)
    if kind == "chance":
        return element("line", x1=x, x2=x, y1="15%", y2="85%", class_=kind)
    path = element("path", d=_OUTLINES[kind], class_=kind)
    return element("svg", path, x=x, y=y, width="1", height="1", overflow="visible")


def _swatch(k: int) -> Markup:
    rect = element("rect", x="1", y="3", width="14", height="10", class_=f"bar series{k}")
    return element("svg", rect, width=16, height=16, class_="drawing", aria_hidden="true")
