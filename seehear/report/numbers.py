"""Numbers of a run beside closed forms, frozen encoders and chance, with intervals; all numbers in tables; the shape of
the space; confusions of labels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from markupsafe import Markup

from seehear.evaluation.bootstrap import FEW_GROUPS, Comparison
from seehear.evaluation.embedded import Embedded
from seehear.evaluation.report import EvaluationReport, cell, compare_reports
from seehear.evaluation.results import MAIN, NOT_PERCENT, SHOWN, TaskResult, rivals
from seehear.progress import counted
from seehear.report.page import Mark, PlotLine, histogram, intervals, legend, percent, render
from seehear.types import Modality

_ARROW = " \N{RIGHTWARDS ARROW} "
# Measure by which the run is compared with the best closed form
_DECIDED = "R@10"
_MOST = 1000  # clips whose pairs are drawn
_LARGEST = 25  # classes of a legible confusion matrix
_WORST = 15


@dataclass(frozen=True)
class NumbersRow:
    """One task: results of the run and of the best baseline of each kind."""

    run: TaskResult
    closed: TaskResult | None = None
    """The closed form that is best on this very split, a choice in its favour."""
    frozen: TaskResult | None = None

    def line(self, metric: str, name: str, note: str, *, strong: bool = False) -> PlotLine:
        """The results and chance as marks, with the run's number."""
        sides = {"run": self.run, "closed": self.closed, "frozen": self.frozen}
        marks = []
        for kind, result in sides.items():
            if result and metric in result.metrics:
                value, bounds = result.metrics[metric], result.intervals.get(metric, (math.nan, math.nan))
                marks.append(Mark(kind, value, *bounds, says=f"{result.model} {percent(value, bounds)}"))
        if metric in self.run.chance:
            chance = self.run.chance[metric]
            marks.append(Mark("chance", chance, says=f"chance {percent(chance)}"))
        number = percent(self.run.metrics[metric], self.run.intervals.get(metric))
        return PlotLine(name, marks, number, note, strong)


def _rows_of(report: EvaluationReport, own: Sequence[str], kinds: Sequence[str], metric: str) -> list[NumbersRow]:
    """A row for each task of these kinds with a result of the run. `own`: names of its spaces, in order of preference.
    Pairs of modalities come before fused and mixed tasks, tasks with many recordings before those with few."""
    rows = []
    for task in report.tasks():
        results = {r.model: r for r in report.results if r.task == task and r.kind in kinds}
        run = next((results[name] for name in own if name in results), None)
        if run is None or metric not in run.metrics:
            continue
        rows.append(NumbersRow(run, *rivals(list(results.values()), task, own, metric)))
    # Results of few recordings are the least certain.
    return sorted(rows, key=lambda row: (bool(set("+|") & set(row.run.task)), -row.run.counts.get("groups", 0)))


def retrieval_section(report: EvaluationReport, own: Sequence[str], *, training: str = "") -> Markup:
    """Retrieval beside the baselines, with the verdict of the run's training. Fused and mixed tasks, first answers and
    all measures are folded."""
    rows = _rows_of(report, own, ("retrieval",), _DECIDED)
    if not rows:
        return Markup()
    compared: dict[str, Comparison | None] = {}
    # The run minus the best closed form, query by query.
    for row in rows:
        task, compared[row.run.task] = row.run.task, None
        if row.closed is not None and _DECIDED in row.run.per_query and len(row.run.keys):
            both = compare_reports(report, report, task, model_a=row.closed.model, model_b=row.run.model)
            compared[task] = both[_DECIDED]
    # Tasks with '+' (fused) or '|' (mixed) are folded, unless there are no others.
    pairs = [row for row in rows if not set("+|") & set(row.run.task)] or rows
    return render(
        "retrieval.html",
        training=training,
        verdict=_verdict([one for one in compared.values() if one is not None]),
        key=_key(rows),
        chart=_chart(pairs, _DECIDED),
        # Where all rows are pairs, this would be the chart above once more.
        more=[("It is among the first ten (R@10)", _chart(rows, _DECIDED))] * (len(rows) > len(pairs))
        + [("The right answer comes first (R@1)", _chart(rows, "R@1"))],
        numbers=_table(rows, compared),
        everything=_everything(report, ("retrieval",), "Every direction, model and measure"),
    )


def other_sections(report: EvaluationReport, own: Sequence[str]) -> Markup:
    """Classes by name and by probes, labels, correspondence: a chart and a table for each kind."""
    kinds = []
    for kind, (title, what) in _KINDS.items():
        if rows := _rows_of(report, own, (kind,), MAIN[kind]):
            chart = _chart(rows, MAIN[kind], f"{title}: {MAIN[kind]} by task")
            everything = _everything(report, (kind,), f"All numbers: {title.lower()}")
            kinds.append({"title": title, "what": what, "key": _key(rows), "chart": chart, "everything": everything})
    return render("others.html", kinds=kinds) if kinds else Markup()


def _chart(rows: Sequence[NumbersRow], metric: str, label: str = "") -> Markup:
    lines = []
    for row in rows:
        # Of few recordings the interval is too narrow, so the number of queries stands beside it.
        few = row.run.counts.get("groups", FEW_GROUPS) < FEW_GROUPS
        note = counted(row.run.counts["queries"], "query") if few else ""
        lines.append(row.line(metric, direction(row.run.task), note))
    return intervals(lines, label=label or f"{metric} by direction: run, closed forms, encoders, chance")


_KINDS = {
    "classification": ("Which class?", "Right at once, of clips with one label: by the names of the classes alone, "
        "and by probes (k-NN, logistic regression, linear SVM) that training clips have taught."),
    "multilabel": ("Which labels?", "Mean average precision over labels, of clips with several."),
    "correspondence": ("Does what belongs together lie together?", "Without labels: how often a clip's own other "
        "modality lies nearer than one of another recording (AUC); half the time by chance."),
    "localisation": ("Where?", "Steps found at the right second."),
}  # fmt: skip


def arrows(text: str) -> str:
    """The text with '->' as arrows."""
    return text.replace("->", _ARROW)


def direction(task: str) -> str:
    """Title of a task such as 'text->video+audio', with an arrow and spaces."""
    return arrows(task).replace("|", " or ").replace("+", " + ").replace("~", " ~ ")


def _key(rows: Sequence[NumbersRow]) -> Markup:
    names = {"run": "this run, with its 95 % interval"}
    if any(row.closed for row in rows):
        names["closed"] = "the closed form that is best on this split"
    if any(row.frozen for row in rows):
        names["frozen"] = "frozen encoders (" + ", ".join(dict.fromkeys(r.frozen.model for r in rows if r.frozen)) + ")"
    return legend(names | {"chance": "chance"})


def _verdict(known: Sequence[Comparison]) -> str:
    """Number of directions in which the run is ahead of the best closed form, and behind it."""
    if not known:
        return (
            "This evaluation has no closed forms to compare with: 'seehear evaluate RUN' without a protocol adds them."
        )
    ahead, behind = sum(c.low > 0 for c in known), sum(c.high < 0 for c in known)
    return (
        f"Query by query against the best closed form, by {_DECIDED}: of {len(known)} directions the run is ahead in "
        f"{ahead} and behind in {behind} (the interval of the difference leaves out 0); {len(known) - ahead - behind} "
        "cannot be told apart."
    )


def _table(rows: Sequence[NumbersRow], compared: dict[str, Comparison | None]) -> dict[str, Any]:
    """Table of the run and its baselines, without columns for missing baselines."""
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
    if any(compared.values()):
        differences = [compared[row.run.task] for row in rows]
        columns["run - closed form"] = [c.text(100.0, 1) if c else "-" for c in differences]
    return {"head": list(columns), "rows": list(zip(*columns.values(), strict=True)), "caption": caption}


def _cell(result: TaskResult | None, *, named: bool = True) -> str:
    if result is None:
        return "-"
    shown = _measure(result.metrics, _DECIDED, result.intervals.get(_DECIDED))
    return f"{result.model} {shown}" if named else shown


def _everything(report: EvaluationReport, kinds: Sequence[str], title: str) -> dict[str, Any]:
    results = [r for r in report.results if r.kind in kinds]
    names = [n for kind in kinds for n in SHOWN[kind] if any(n in r.metrics for r in results)]
    head = ["model", *(f"{n}, %" if n not in NOT_PERCENT else n for n in names)]
    rows: list[Any] = []
    for task in dict.fromkeys(r.task for r in results):
        own = [r for r in results if r.task == task]
        counts = ", ".join(f"{n:,} {what}" for what, n in own[0].counts.items() if n)
        rows.append({"group": f"{direction(task)} ({counts})"})
        rows += [[r.model, *(_measure(r.metrics, name, r.intervals.get(name)) for name in names)] for r in own]
        rows.append(["chance", *(_measure(own[0].chance, name) for name in names)])
    summary, caption = f"{title} ({counted(len(results), 'row')})", f"{title}, with 95 % intervals."
    return {"summary": summary, "head": head, "rows": rows, "caption": caption}


def _measure(values: Mapping[str, float], name: str, interval: tuple[float, float] | None = None) -> str:
    value = values.get(name, math.nan)
    return "" if math.isnan(value) else cell(value, name, interval)


# -- shape of the space ------------------------------------------------------------------------------------------------


def shape_section(report: EvaluationReport, spaces: Mapping[str, Mapping[Modality, Embedded]]) -> Markup:
    """Cosines of true and false pairs, gaps between modalities, hubs. `spaces`: vectors by the space's name in the
    report."""
    panels = []
    for name, vectors in spaces.items():
        for p, q in combinations(vectors, 2):
            true, false = _similarities(vectors[p], vectors[q])
            # A single clip has no false pair.
            if len(true) < 2:
                continue
            mean = f"mean cosine {true.mean():.2f}; false pairs {false.mean():.2f}"
            series = [(f"true pairs ({len(true):,})", true), (f"false pairs ({len(false):,})", false)]
            drawn = histogram(series, label=f"{p} and {q}: {len(true):,} true pairs, {mean}")
            panels.append((f"{p} and {q}" + (f" in {name}" if len(spaces) > 1 else ""), drawn))
    if not panels:
        return Markup()
    gaps: dict[str, list[list[str]]] = {name: [] for name in spaces}
    for result in report.results:
        hubs, gap = result.details.get("hubness"), result.details.get("gap", {})
        if hubs and result.model in gaps:
            # Adding 0.0 turns a rounded -0.0 into 0.0.
            known = [
                f"{round(gap[name], 2) + 0.0:.2f}" if name in gap else "-"
                for name in ("distance", "matched", "unmatched")
            ]
            shares = [f"{round(hubs['skew'], 1) + 0.0:.1f}", percent(hubs["largest"]), percent(hubs["orphans"])]
            gaps[result.model].append([direction(result.task), *known, *shares])
    return render("shape.html", panels=panels, gaps={k: v for k, v in gaps.items() if v}, several=len(spaces) > 1)


def _similarities(x: Embedded, y: Embedded) -> tuple[np.ndarray, np.ndarray]:
    """(cosines of true pairs, of false pairs), one vector per clip, of at most a thousand evenly spaced clips."""
    one, other = x.one_each(), y.one_each()
    shared = np.intersect1d(one.owner, other.owner)
    # Evenly spaced and not drawn at random: the page is the same every time.
    if len(shared) > _MOST:
        shared = shared[np.linspace(0, len(shared) - 1, _MOST).astype(int)]
    # Owners ascend, one row each, so that a search finds their rows.
    a, b = (part.vectors[np.searchsorted(part.owner, shared)] for part in (one, other))
    scores = a @ b.T
    return np.diag(scores), scores[~np.eye(len(shared), dtype=bool)]


# -- confusions of labels ----------------------------------------------------------------------------------------------


def confusion_section(report: EvaluationReport, own: Sequence[str]) -> Markup:
    """Classifications of the run: the confusion matrix if it is small, else the worst labels."""
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
    total = Counter(result.truth.tolist())
    if len(classes) > _LARGEST:
        # By falling count, equal counts by name: the same page every time.
        wrong = sorted((-n, pair) for pair, n in count.items() if pair[0] != pair[1])
        worst = sorted(total, key=lambda name: (count[name, name] / total[name], name))
        labels = [(name, f"{total[name]:,}", percent(count[name, name] / total[name])) for name in worst]
        commonest = [(true, said, -n) for n, (true, said) in wrong[:_WORST]]
        return {"classes": [], "commonest": commonest, "labels": labels, "worst": _WORST}
    heat = []
    for true in classes:
        clips = total[true]
        counts = {said: count[true, said] for said in classes}
        cells = [{"said": said, "clips": n, "share": n / (clips or 1)} for said, n in counts.items()]
        # A class may occur among the answers only.
        right = percent(counts[true] / clips) if clips else "-"
        heat.append({"label": true, "cells": cells, "clips": clips, "right": right})
    return {"classes": classes, "heat": heat}
