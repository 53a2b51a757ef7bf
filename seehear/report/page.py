"""Pages and drawings from the Jinja2 templates beside this file. Values are escaped, except for output of templates."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup

_FOLDER = Path(__file__).parent / "templates"
_STYLE = Path(__file__).parent.parent / "assets" / "report.css"
_SCRIPT = Path(__file__).parent.parent / "assets" / "report.js"
# Content security policy: whatever gets into the page, a browser loads nothing for it
# 'unsafe-inline' is for the style and script of the page itself: values cannot add any, as they are escaped.
_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
# Control characters and lone surrogates (names of files that are no UTF-8), which no HTML may contain
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_BETWEEN = re.compile(r"(?<=[>}])\s*\n\s*(?=[<{])")


@dataclass(frozen=True)
class Section:
    name: str
    """Target of links to it."""
    title: str
    content: Markup
    folded: bool = False


class _Tight(Extension):
    """Removes line breaks between tags of a template: they would be spaces between cells and list items."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return _BETWEEN.sub("", source.strip())


def _clean(value: Any) -> Any:
    """The value with characters replaced that HTML cannot contain; '' for None."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", value)
    return "" if value is None else value


@cache  # templates are parsed once
def templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        extensions=[_Tight],
        autoescape=True,
        # Of every value: Jinja prints None as a word.
        finalize=_clean,
        # A misspelled name fails in the tests instead of being empty on the page.
        undefined=StrictUndefined,
    )


def render(template: str, **values: Any) -> Markup:
    return Markup(templates().get_template(template).render(**values))


def part(template: str, macro: str, *values: Any) -> Markup:
    """Output of a macro of a template."""
    output: Markup = getattr(templates().get_template(template).module, macro)(*values)
    return output


def page(title: str, lead: Markup, sections: Sequence[Section]) -> str:
    """A whole document. Sections without content are left out, also of the list of contents."""
    shown = [section for section in sections if section.content]
    # Marked as safe: both come with seehear, and escaping would break them.
    style, script = (Markup(path.read_text(encoding="utf-8")) for path in (_STYLE, _SCRIPT))
    # Style and script are inline: the page is one file that works offline.
    values = {"lead": lead, "sections": shown, "style": style, "script": script, "policy": Markup(_POLICY)}
    return f"{render('page.html', title=title, **values)}\n"


def percent(value: float, interval: tuple[float, float] | None = None) -> str:
    """'48.8 % [44.1, 53.2]'; '-' for NaN."""
    if math.isnan(value):
        return "-"
    if interval is None or math.isnan(interval[0]):
        return f"{100 * value:.1f} %"
    return f"{100 * value:.1f} % [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


# -- drawings ----------------------------------------------------------------------------------------------------------

# Inline SVG whose text keeps its size at any width: coordinates are in percent, words are outside. Colours are those of
# Okabe and Ito, distinguishable with any kind of colour vision. Marks differ in shape too, and a table or sentence
# beside each drawing has the same numbers.

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
