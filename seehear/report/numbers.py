"""The headline numbers: the run beside the closed forms, the frozen encoders and chance, with intervals; and all
numbers in tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from markupsafe import Markup

from seehear.evaluation.bootstrap import FEW_GROUPS, Comparison
from seehear.evaluation.embedded import Embedded
from seehear.evaluation.report import EvaluationReport, cell, compare_reports
from seehear.evaluation.results import MAIN, NOT_PERCENT, SHOWN, TaskResult
from seehear.evaluation.verdict import rivals
from seehear.progress import counted
from seehear.report.figures import Mark, PlotLine, histogram, intervals, legend
from seehear.report.page import percent, render
from seehear.types import Modality

_ARROW = " \N{RIGHTWARDS ARROW} "
_DECIDED = "R@10"
"""What the run is compared by with the best closed form."""


@dataclass(frozen=True)
class NumbersRow:
    """One task: the run, and the best of each kind beside it."""

    run: TaskResult
    closed: TaskResult | None
    """The closed form that is best on this very split: a baseline with the advantage."""
    frozen: TaskResult | None

    def marks(self, metric: str) -> list[Mark]:
        sides = {"run": self.run, "closed": self.closed, "frozen": self.frozen}
        found = []
        for kind, result in sides.items():
            if result and metric in result.metrics:
                value, bounds = result.metrics[metric], result.intervals.get(metric, (math.nan, math.nan))
                found.append(Mark(kind, value, *bounds, says=f"{result.model} {percent(value, bounds)}"))
        if metric in self.run.chance:
            chance = self.run.chance[metric]
            found.append(Mark("chance", chance, says=f"chance {percent(chance)}"))
        return found


def rows_of(report: EvaluationReport, own: Sequence[str], kinds: Sequence[str], metric: str) -> list[NumbersRow]:
    """A row a task of these kinds that the run itself has; `own` are the names of its spaces, in their order. Pairs of
    modalities come before what is fused or mixed, and those of many recordings before those of few."""
    found = []
    for task in report.tasks():
        results = {r.model: r for r in report.results if r.task == task and r.kind in kinds}
        run = next((results[name] for name in own if name in results), None)
        if run is None or metric not in run.metrics:
            continue
        found.append(NumbersRow(run, *rivals(list(results.values()), task, own, metric)))
    return sorted(found, key=lambda row: (bool(set("+|") & set(row.run.task)), -row.run.counts.get("groups", 0)))


def retrieval_section(report: EvaluationReport, own: Sequence[str], *, training: str = "") -> Markup:
    """Retrieval beside the baselines, and what the run's training said of itself. In sight are the pairs of
    modalities; what is fused or mixed, the first answers and all measures are folded."""
    rows = rows_of(report, own, ("retrieval",), _DECIDED)
    if not rows:
        return Markup()
    told = {row.run.task: _against_best(report, row) for row in rows}
    pairs = [row for row in rows if not set("+|") & set(row.run.task)] or rows
    return render(
        "retrieval.html",
        training=training,
        verdict=_verdict(told),
        key=_key(rows),
        chart=_chart(pairs, _DECIDED),
        more=[("It is among the first ten (R@10)", _chart(rows, _DECIDED))] * (len(rows) > len(pairs))
        + [("The right answer comes first (R@1)", _chart(rows, "R@1"))],
        numbers=_table(rows, told),
        everything=_everything(report, ("retrieval",), "Every direction, model and measure"),
    )


def other_sections(report: EvaluationReport, own: Sequence[str]) -> Markup:
    """Classes by name and by probes, labels, correspondence: a chart a kind, and its table."""
    kinds = []
    for kind, (title, what) in _KINDS.items():
        if rows := rows_of(report, own, (kind,), MAIN[kind]):
            lines = [_line(row, MAIN[kind]) for row in rows]
            chart = intervals(lines, label=f"{title}: {MAIN[kind]} by task")
            everything = _everything(report, (kind,), f"All numbers: {title.lower()}")
            kinds.append({"title": title, "what": what, "key": _key(rows), "chart": chart, "everything": everything})
    return render("others.html", kinds=kinds) if kinds else Markup()


def _chart(rows: Sequence[NumbersRow], metric: str) -> Markup:
    lines = [_line(row, metric) for row in rows]
    return intervals(lines, label=f"{metric} by direction: run, closed forms, encoders, chance")


_KINDS = {
    "classification": ("Which class?", "Right at once, of clips with one label: by the names of the classes alone, "
        "and by probes (k-NN, logistic regression, linear SVM) that training clips have taught."),
    "multilabel": ("Which labels?", "Mean average precision over labels, of clips with several."),
    "correspondence": ("Does what belongs together lie together?", "Without labels: how often a clip's own other "
        "modality lies nearer than one of another recording (AUC); half the time by chance."),
    "localisation": ("Where?", "Steps found at the right second."),
}  # fmt: skip


def arrows(text: str) -> str:
    return text.replace("->", _ARROW)


def direction(task: str) -> str:
    return arrows(task).replace("|", " or ").replace("+", " + ").replace("~", " ~ ")


def _line(row: NumbersRow, metric: str) -> PlotLine:
    value = percent(row.run.metrics[metric], row.run.intervals.get(metric))
    few = row.run.counts.get("groups", FEW_GROUPS) < FEW_GROUPS
    note = counted(row.run.counts["queries"], "query") if few else ""
    return PlotLine(direction(row.run.task), row.marks(metric), value, note)


def _key(rows: Sequence[NumbersRow]) -> Markup:
    names = {"run": "this run, with its 95 % interval"}
    if any(row.closed for row in rows):
        names["closed"] = "the closed form that is best on this split"
    if any(row.frozen for row in rows):
        names["frozen"] = "frozen encoders (" + ", ".join(dict.fromkeys(r.frozen.model for r in rows if r.frozen)) + ")"
    return legend(names | {"chance": "chance"})


# -- against the best closed form --------------------------------------------------------------------------------------


def _against_best(report: EvaluationReport, row: NumbersRow) -> Comparison | None:
    """The run minus the best closed form, query by query."""
    if row.closed is None or _DECIDED not in row.run.per_query or not len(row.run.keys):
        return None
    return compare_reports(report, report, row.run.task, model_a=row.closed.model, model_b=row.run.model)[_DECIDED]


def _verdict(told: dict[str, Comparison | None]) -> str:
    known = [c for c in told.values() if c is not None]
    if not known:
        return (
            "This evaluation has no closed forms to compare with: 'seehear evaluate RUN' adds them, under no protocol."
        )
    ahead, behind = sum(c.low > 0 for c in known), sum(c.high < 0 for c in known)
    return (
        f"Query by query against the best closed form, by {_DECIDED}: of {len(known)} directions the run is ahead in "
        f"{ahead} and behind in {behind} (the interval of the difference leaves out 0); {len(known) - ahead - behind} "
        "cannot be told apart."
    )


def _table(rows: Sequence[NumbersRow], told: dict[str, Comparison | None]) -> dict[str, Any]:
    """Without the columns of baselines that the evaluation has none of."""
    caption = f"{_DECIDED} in per cent with 95 % intervals over source recordings."
    columns: dict[str, list[str]] = {
        "direction": [direction(row.run.task) for row in rows],
        "queries in gallery": [f"{row.run.counts['queries']:,} in {row.run.counts['gallery']:,}" for row in rows],
        "this run": [_cell(row.run, named=False) for row in rows],
    }
    if any(row.closed for row in rows):
        columns["best closed form"] = [_cell(row.closed) for row in rows]
        caption += " Differences are paired, in points; p by sign flips. The closed form is chosen on this very split, "
        caption += "which favours it."
    if any(row.frozen for row in rows):
        columns["frozen"] = [_cell(row.frozen) for row in rows]
    columns["chance"] = [_measure(row.run.chance, _DECIDED) for row in rows]
    if any(told.values()):
        columns["run - closed form"] = [_shown(told[row.run.task]) for row in rows]
    return {"head": list(columns), "rows": list(zip(*columns.values(), strict=True)), "caption": caption}


def _cell(result: TaskResult | None, *, named: bool = True) -> str:
    if result is None:
        return "-"
    shown = _measure(result.metrics, _DECIDED, result.intervals.get(_DECIDED))
    return f"{result.model} {shown}" if named else shown


def _shown(compared: Comparison | None) -> str:
    return "-" if compared is None else compared.text(100.0, 1)


# -- all of it ---------------------------------------------------------------------------------------------------------


def _everything(report: EvaluationReport, kinds: Sequence[str], title: str) -> dict[str, Any]:
    results = [r for r in report.results if r.kind in kinds]
    names = [n for kind in kinds for n in SHOWN[kind] if any(n in r.metrics for r in results)]
    head = ["model", *(f"{n}, %" if n not in NOT_PERCENT else n for n in names)]
    summary, caption = f"{title} ({counted(len(results), 'row')})", f"{title}, with 95 % intervals."
    return {"summary": summary, "head": head, "rows": list(_lines(results, names)), "caption": caption}


def _lines(results: Sequence[TaskResult], names: Sequence[str]) -> Iterator[Any]:
    for task in dict.fromkeys(r.task for r in results):
        own = [r for r in results if r.task == task]
        counts = ", ".join(f"{n:,} {what}" for what, n in own[0].counts.items() if n)
        yield {"group": f"{direction(task)} ({counts})"}
        for result in own:
            yield [result.model, *(_measure(result.metrics, name, result.intervals.get(name)) for name in names)]
        yield ["chance", *(_measure(own[0].chance, name) for name in names)]


def _measure(values: Mapping[str, float], name: str, interval: tuple[float, float] | None = None) -> str:
    value = values.get(name, math.nan)
    return "" if math.isnan(value) else cell(value, name, interval)


# ----------------------------------------------------------------------------------------------------------------------
# The space itself: how alike true and false pairs are, how far the modalities lie apart, whether items are hubs.

_MOST = 1000  # clips whose pairs are drawn


def shape_section(report: EvaluationReport, spaces: Mapping[str, Mapping[Modality, Embedded]]) -> Markup:
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


def _gaps(report: EvaluationReport, model: str) -> list[list[Any]]:
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


# ----------------------------------------------------------------------------------------------------------------------
# Confusions of labels: the whole table where it is small, else the worst labels.

_LARGEST = 25  # classes of a table that one can still read
_WORST = 15


def confusion_section(report: EvaluationReport, own: Sequence[str]) -> Markup:
    """Classifications of the run itself; the first stands open."""
    found: list[dict[str, Any]] = []
    for result in report.results:
        if result.model in own and len(result.said):
            top = percent(result.metrics["top1"], result.intervals.get("top1"))
            found.append({"title": f"{direction(result.task)}, {result.model}: {top} right"} | _confusions(result))
        elif result.model in own and result.details.get("hardest"):
            hardest = ", ".join(f"{name} {percent(value)}" for name, value in result.details["hardest"].items())
            found.append({"hardest": f"{direction(result.task)}: labels with the least average precision: {hardest}."})
    return render("confusion.html", found=found) if found else Markup()


def _confusions(result: TaskResult) -> dict[str, Any]:
    count = Counter(zip(result.truth.tolist(), result.said.tolist(), strict=True))
    classes = sorted({name for pair in count for name in pair})
    if len(classes) <= _LARGEST:
        return {"classes": classes, "heat": _heat(count, classes)}
    wrong = sorted(((n, pair) for pair, n in count.items() if pair[0] != pair[1]), key=lambda one: (-one[0], one[1]))
    rows = [(true, said, n) for n, (true, said) in wrong[:_WORST]]
    return {"classes": [], "commonest": rows, "labels": _by_label(result), "worst": _WORST}


def _heat(count: Counter[tuple[str, str]], classes: Sequence[str]) -> list[dict[str, Any]]:
    total = Counter(true for (true, _), n in count.items() for _ in range(n))
    return [
        {
            "label": true,
            "cells": [
                {"said": said, "clips": count[true, said], "share": count[true, said] / (total[true] or 1)}
                for said in classes
            ],
            "clips": total[true],
            "right": percent(count[true, true] / total[true]) if total[true] else "-",
        }
        for true in classes
    ]


def _by_label(result: TaskResult) -> list[tuple[str, str, str]]:
    """(label, clips, share that is right), the worst first."""
    clips, right = Counter(result.truth.tolist()), Counter(result.truth[result.truth == result.said].tolist())
    worst = sorted(clips, key=lambda name: (right[name] / clips[name], name))
    return [(name, f"{clips[name]:,}", percent(right[name] / clips[name])) for name in worst]
