"""The page of a run under a protocol: `report.html` beside its numbers, in the run's folder under protocols/NAME.

What was measured stands beside what is published, never among it: each published row with its source and how it was
seen, and where this library is not what the protocol is about, that comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from seehear.datasets.protocol_run import Fusion, ProtocolReport, protocol_vectors
from seehear.datasets.protocols import TAGS, PublishedNumber
from seehear.errors import SeehearError
from seehear.evaluation.report import Report
from seehear.evaluation.results import NOT_PERCENT, TaskResult
from seehear.progress import counted
from seehear.report.confusion import confusion_section
from seehear.report.figures import Line, Mark, intervals, legend
from seehear.report.health import health_section
from seehear.report.numbers import direction, other_sections, retrieval_section
from seehear.report.page import Section, page, part, percent, render
from seehear.report.run import (
    FILES,
    HTML_NAME,
    NONE,
    Opened,
    ReportOptions,
    evaluated_at,
    example_section,
    linked,
    open_evaluated,
    reproduce_section,
)
from seehear.report.shape import shape_section
from seehear.runs.bench import space_names
from seehear.train.files import write_text

_DRAWN = ("R@1", "R@10", "top1", "mAP", "recall")
"""Published measures that are drawn; the table has all."""
_WORST = 20


def write_protocol(run: str | Path, found: ProtocolReport, options: ReportOptions | None = None) -> Path:
    """The file's path."""
    text = protocol_page(Path(run), found, options or ReportOptions())
    write_text(found.folder / HTML_NAME, text)
    return found.folder / HTML_NAME


def protocol_page(run: Path, found: ProtocolReport, options: ReportOptions) -> str:
    report, warnings = found.report, list(found.report.warnings)
    opened: Opened | None = None
    own = report.models()[:1]
    if found.wanted.kind != "localisation":  # whose clips are too many to hold
        try:
            opened = open_evaluated(run, report)
            own = list(space_names(opened.space.method).values())
        except SeehearError as error:
            warnings.append(f"only the numbers could be shown: {error}")
    read: dict[str, Markup] = {}
    if opened is not None:
        read["examples"] = _examples(opened, found, options)
        read["space"] = shape_section(report, opened.vectors)
        read["data"] = health_section(opened.library, split=report.split)
    sections = [
        Section("published", "Beside what is published", published_section(found)),
        Section("retrieval", "Finding one modality by another", retrieval_section(report, own)),
        Section("examples", "Examples", read.get("examples", NONE)),
        Section("others", "Classes, labels, steps", other_sections(report, own), folded=True),
        Section("videos", "Video by video", _videos(report)),
        Section("confusion", "What is taken for what", confusion_section(report, own), folded=True),
        Section("space", "The space", read.get("space", NONE), folded=True),
        Section("data", "The data", read.get("data", NONE), folded=True),
        Section("reproduce", "Make it again", reproduce_section(run, report), folded=True),
    ]
    return page(
        f"{run.name}: {own[0].partition('/')[0]} on {found.wanted.title}", _lead(run, found, warnings), sections
    )


def _lead(run: Path, found: ProtocolReport, warnings: Sequence[str]) -> Markup:
    wanted, about = found.wanted, found.report.about
    known = {
        "run": str(run),
        "library": about.get("dataset_name"),
        "split": f"{found.report.split}, {counted(found.checked.clips, 'clip')}",
        "queries": wanted.queries,
        "against": wanted.gallery,
        "seen and heard": _FUSIONS[about["fusion"]] if wanted.kind != "classification" else None,
        "evaluated": evaluated_at(found.folder),
        "files": linked(FILES),
    }
    differs = [str(found.checked)] if found.checked.deviations else []
    return render(
        "lead.html",
        verdict=found.report.verdict(),
        warnings=[*differs, *warnings],
        about="",
        notes=wanted.notes,
        known=known,
    )


_FUSIONS: dict[Fusion, str] = {
    "sum": "the sum of the vectors that the method compares",
    "unit": "the mean of unit vectors",
}


# -- beside what is published ------------------------------------------------------------------------------------------


def published_section(found: ProtocolReport) -> Markup:
    key = {"run": "measured here, with its 95 % interval", "published": "published", "chance": "chance"}
    return render(
        "published.html",
        charts=list(_charts(found.report, found.published)),
        key=legend(key),
        numbers=_published_table(found.published) if found.published else None,
    )


def _charts(report: Report, published: Sequence[PublishedNumber]) -> Iterator[tuple[str, Markup]]:
    """(title, chart) of each published measure that was also measured here."""
    for name in _measures(published):
        asked, _, metric = name.rpartition(" ")
        own = [r for r in report.results if metric in r.metrics and asks_alike(asked, r)]
        if metric in _DRAWN and own:
            theirs = sorted((row for row in published if name in row.values), key=lambda row: -row.values[name])
            lines = [_measured(r, metric) for r in own] + [_printed(row, name) for row in theirs]
            highest = max(mark.value for line in lines for mark in line.marks if mark.kind != "chance")
            most = next(m for m in (0.2, 0.4, 0.6, 0.8, 1.0) if m >= highest or m == 1.0)
            title = f"{direction(asked)}: {metric}" if asked else metric
            drawn = intervals(lines, label=f"{name}: this run and what is published", most=most)
            yield title, drawn


def asks_alike(asked: str, result: TaskResult) -> bool:
    """Whether a result answers what a published column is of: 'image->text', 'audio', '' where only one thing is asked.
    A picture is a video of one frame here, and papers say video also where its sound is used."""
    task = result.task.partition(",")[0]
    if not asked:
        return result.kind != "retrieval"
    sides = asked.replace("image", "video").split("->")
    own = task.split("->")
    if len(sides) == 1:
        return set(sides[0].split("+")) == set(own[0].split(" ")[0].split("+"))
    return len(own) == 2 and all(set(a.split("+")) <= set(b.split("+")) for a, b in zip(sides, own, strict=True))


def _measured(result: TaskResult, metric: str) -> Line:
    value, bounds = result.metrics[metric], result.intervals.get(metric, (np.nan, np.nan))
    marks = [Mark("run", value, *bounds, says=f"measured here {percent(value, bounds)}")]
    if metric in result.chance:
        chance = result.chance[metric]
        marks.append(Mark("chance", chance, says=f"chance {percent(chance)}"))
    return Line(result.model, marks, percent(value, bounds), direction(result.task), strong=True)


def _printed(row: PublishedNumber, name: str) -> Line:
    value = row.values[name] / 100
    return Line(row.method, [Mark("published", value, says=f"published {percent(value)}")], percent(value), row.note)


def _published_table(published: Sequence[PublishedNumber]) -> dict[str, Any]:
    names = _measures(published)
    noted = any(row.note for row in published)
    rows = []
    for row in published:
        source = row.source if "/" in row.source else f"arXiv {row.source}"
        numbers = [f"{row.values[n]:g}" if n in row.values else "" for n in names]
        rows.append([row.method, f"{source}, {row.tag}", *([row.note] if noted else []), *numbers])
    tags = dict.fromkeys(row.tag for row in published)
    seen = "; ".join(f"{tag}: {TAGS[tag]}" for tag in tags)
    caption = f"As printed, in per cent where it is a share; nothing of it was measured here. Seen in: {seen}."
    words = ["published", "source, and how seen", *(["note"] if noted else [])]
    columns = [direction(name) + ("" if name.rpartition(" ")[2] in NOT_PERCENT else ", %") for name in names]
    return {"head": [*words, *columns], "rows": rows, "caption": caption, "words": len(words)}


def _measures(published: Sequence[PublishedNumber]) -> list[str]:
    """Their names, those of one direction together."""
    names = dict.fromkeys(name for row in published for name in row.values)
    asked = list(dict.fromkeys(name.rpartition(" ")[0] for name in names))
    return sorted(names, key=lambda name: asked.index(name.rpartition(" ")[0]))


# -- query by query ----------------------------------------------------------------------------------------------------


def _examples(opened: Opened, found: ProtocolReport, options: ReportOptions) -> Markup:
    if found.wanted.kind != "retrieval":
        return NONE
    fusion: Fusion = found.report.about["fusion"]
    spaces = {opened.space.method.name: protocol_vectors(opened.space, opened.data, fusion)}
    scored = "cosine" if fusion == "unit" else "score"
    return example_section(opened, spaces, found.report, options, scored=scored)


def _videos(report: Report) -> Markup:
    """Where steps are located: the videos in which fewest were found, by what was looked at last."""
    results = [r for r in report.results if r.kind == "localisation"]
    if not results:
        return NONE
    shares = {r.task: dict(zip(r.keys.tolist(), r.per_query["recall"].tolist(), strict=True)) for r in results}
    last = shares[results[-1].task]
    known = sorted((name for name in last if last[name] == last[name]), key=lambda name: (last[name], name))
    rows = [[name, *(percent(share.get(name, np.nan)) for share in shares.values())] for name in known[:_WORST]]
    more = f" The {_WORST} worst of {len(known):,}." if len(known) > _WORST else ""
    caption = f"Share of a video's steps that were found at a right second, the worst first.{more}"
    return part("parts.html", "table", ["task and video", *(direction(task) for task in shares)], rows, caption)
