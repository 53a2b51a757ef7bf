"""Report of a study: `report.html` in its folder, with the outcome in words, figures, tables, and all cells."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from seehear.errors import read_json
from seehear.progress import clock, counted
from seehear.report.numbers import arrows
from seehear.report.page import Section, page, part, render
from seehear.report.run import HTML_NAME, NONE
from seehear.studies.grid import Result
from seehear.studies.table import Study, Table, in_words
from seehear.train.files import write_text

# {name of a study: (its question, limits of its answer)}
_KINDS = {
    "encoders": (
        "Which encoders will fuse well?",
        "Every pair of encoders, asked before anything is trained. It cannot tell how good an encoder is at content "
        "that these clips lack, nor what a deep head could make of a pair that is not linearly alike.",
    ),
    "data": (
        "Would more clips help?",
        "Recall on held-out clips against the number of training clips. A forecast holds for more clips of the same "
        "kind only, and misses any bend beyond the measured sizes.",
    ),
    "selection": (
        "Which clips to train on?",
        "Clips chosen in several ways, the same number of each, measured on held-out clips that no choice has "
        "looked at.",
    ),
    "modalities": (
        "What does each modality, pair, term and space add?",
        "All rows take the same steps on the same clips. No setting of a row is tuned, and another size may answer "
        "otherwise.",
    ),
}
_WIDEST = 12  # measures in the list of cells


def write_study(study: Study, *, kind: str, command: str = "") -> Path:
    """Writes the page, and returns its path. `kind`: name of the study on the command line."""
    title, about = _KINDS.get(kind, (kind, ""))
    head, *rest = study.tables
    # Each drawing is an image of its own, so that no style of the page affects it.
    drawings = [
        {
            "address": f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}",
            "files": [n for e in (".png", ".svg", ".pdf") if (study.folder / (n := path.stem + e)).is_file()],
        }
        # Sorted: the order of a folder differs between file systems.
        for path in sorted(study.folder.glob("*.svg"))
    ]
    more = [_table(one) | {"title": one.title or "More numbers"} for one in rest]
    files = {"study.json": "all numbers", "table.md": "the tables"}
    sections = [
        Section("outcome", "The outcome", _said(study.said)),
        Section("figures", "Figure", render("study/figures.html", drawings=drawings) if drawings else NONE),
        Section("numbers", head.title or "The numbers", render("study/numbers.html", first=_table(head), more=more)),
        Section("tried", "All cells", _tried(study.results), folded=True),
        Section("reproduce", "How to reproduce", _reproduce(study, command), folded=True),
    ]
    known = _data(study) | {"files": part("parts.html", "links", files)}
    lead = render("lead.html", verdict=(), warnings=(), about=about, notes=(), known=known)
    path = study.folder / HTML_NAME
    write_text(path, page(title, lead, sections))
    return path


def _said(said: Sequence[str]) -> Markup:
    """Outcome in words. Answers of several rows to the same question are grouped below it."""
    answers: dict[str, list[str]] = {}  # question -> answers, in order
    for line in said:
        question, mark, answer = arrows(line.removeprefix("- ")).partition("? ")
        answers.setdefault(question + mark.rstrip(), []).append(answer)
    return render("study/said.html", answers=answers) if said else NONE


def _table(one: Table) -> dict[str, Any]:
    head, *rows = one.lines()
    caption = " ".join(one.sentences) or one.title
    return {
        "head": [arrows(name) for name in head],
        "rows": rows,
        "caption": caption,
        "words": max(1, len(one.settings)),
    }


def _tried(results: Sequence[Result]) -> Markup:
    settings = list(dict.fromkeys(name for r in results for name in r.cell))
    known = {
        name: "; ".join(dict.fromkeys(in_words(r.cell[name]) for r in results if name in r.cell)) for name in settings
    }
    seconds, failed = sum(r.seconds for r in results), [r for r in results if r.error]
    measures = list(dict.fromkeys(name for r in results for name in r.values if name not in settings))[:_WIDEST]
    rows = [
        [*(in_words(r.cell.get(name)) for name in settings), f"{r.seconds:.1f}"]
        + [f"{r.values[name]:.4g}" if name in r.values else "" for name in measures]
        for r in results
        if not r.error
    ]
    count = f"{len(results):,}, {len(failed):,} of them could not be measured" if failed else f"{len(results):,}"
    return render(
        "study/tried.html",
        known={"cells": count, "time": f"{clock(seconds)} in all", **known},
        settings=settings,
        lost=[[*(in_words(r.cell.get(name)) for name in settings), r.error] for r in failed],
        summary=f"All {counted(len(results), 'cell')}",
        measures=[arrows(name) for name in measures],
        rows=rows,
    )


def _data(study: Study) -> dict[str, Any]:
    data = study.about.get("data", {})
    clips = ", ".join(f"{data[name]:,} {name}" for name in ("train", "val", "test") if name in data)
    encoders = "; ".join(f"{m} by {', '.join(names)}" for m, names in study.about.get("encoders", {}).items())
    return {"clips with latents": clips, "encoders": encoders}


def _reproduce(study: Study, command: str) -> Markup:
    plain = read_json(study.folder / "study.json", "run the study again")
    known = {
        "versions": ", ".join(f"{name} {version}" for name, version in plain.get("versions", {}).items()),
        "machine": ", ".join(f"{name} {value}" for name, value in plain.get("machine", {}).items()),
        "data": study.about.get("data", {}).get("revision"),
    }
    settings = json.dumps(plain.get("about", {}), indent=1, ensure_ascii=False)
    return render("study/reproduce.html", command=command, known=known, settings=settings)
