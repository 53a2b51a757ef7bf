"""The space itself: how alike true and false pairs are, how far the modalities lie apart, whether items are hubs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from markupsafe import Markup

from seehear.evaluation.embedded import Embedded
from seehear.evaluation.report import Report
from seehear.report.figures import histogram
from seehear.report.numbers import direction
from seehear.report.page import percent, render
from seehear.types import Modality

_MOST = 1000  # clips whose pairs are drawn


def shape_section(report: Report, spaces: Mapping[str, Mapping[Modality, Embedded]]) -> Markup:
    """`spaces`: vectors by the name of a space in the report."""
    panels = [
        (f"{p} and {q}{f' in {name}' if len(spaces) > 1 else ''}", drawn)
        for name, vectors in spaces.items()
        for p, q in combinations(vectors, 2)
        if (drawn := _pairs(p, q, *similarities(vectors[p], vectors[q]))) is not None
    ]
    if not panels:
        return Markup()
    gaps = {name: rows for name in spaces if (rows := _gaps(report, name))}
    return render("shape.html", panels=panels, gaps=gaps, several=len(spaces) > 1)


def _pairs(p: Modality, q: Modality, true: np.ndarray, false: np.ndarray) -> Markup | None:
    """Nothing of a single clip: it has no false pair."""
    if len(true) < 2:
        return None
    said = f"{p} and {q}: {len(true):,} true pairs, mean cosine {true.mean():.2f}; false pairs {false.mean():.2f}"
    return histogram([(f"true pairs ({len(true):,})", true), (f"false pairs ({len(false):,})", false)], label=said)


def similarities(x: Embedded, y: Embedded) -> tuple[np.ndarray, np.ndarray]:
    """(cosines of true pairs, of false ones), a vector a clip; of at most a thousand clips, evenly taken."""
    one, other = x.one_each(), y.one_each()
    shared = np.intersect1d(one.owner, other.owner)
    if len(shared) > _MOST:
        shared = shared[np.linspace(0, len(shared) - 1, _MOST).astype(int)]
    a, b = (part.vectors[np.searchsorted(part.owner, shared)] for part in (one, other))
    scores = a @ b.T
    return np.diag(scores), scores[~np.eye(len(shared), dtype=bool)]


def _gaps(report: Report, model: str) -> list[list[Any]]:
    rows = []
    for result in report.results:
        hubs, gap = result.details.get("hubness"), result.details.get("gap", {})
        if result.model == model and hubs:
            known = [
                f"{round(gap[name], 2) + 0.0:.2f}" if name in gap else "-"
                for name in ("distance", "matched", "unmatched")
            ]
            shares = [f"{round(hubs['skew'], 1) + 0.0:.1f}", percent(hubs["largest"]), percent(hubs["orphans"])]
            rows.append([direction(result.task), *known, *shares])
    return rows
