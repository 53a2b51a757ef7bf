"""Confusions of labels: the whole table where it is small, else the worst labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from seehear.evaluation.report import Report
from seehear.evaluation.results import TaskResult
from seehear.report.numbers import direction
from seehear.report.page import percent, render

_LARGEST = 25  # classes of a table that one can still read
_WORST = 15


def confusion_section(report: Report, own: Sequence[str]) -> Markup:
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
