"""Report of a run under a protocol: `report.html` beside its numbers, in the run's folder under protocols/NAME.

Published results are kept apart from measured ones, each with its source and how that was read. Deviations of the
library from the protocol's data come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from seehear.datasets.protocol_run import Fusion, ProtocolReport, protocol_vectors
from seehear.datasets.protocols import TAGS, PublishedNumber
from seehear.evaluation.report import EvaluationReport
from seehear.evaluation.results import NOT_PERCENT, TaskResult
from seehear.progress import counted
from seehear.report.numbers import NumbersRow, direction, other_sections, retrieval_section
from seehear.report.page import Mark, PlotLine, Section, intervals, legend, page, part, percent, render
from seehear.report.run import (
    FILES,
    HTML_NAME,
    NONE,
    ReportOptions,
    closing_sections,
    example_section,
    lead,
    open_evaluated,
)
from seehear.train.files import write_text

# Published measures to draw; the table has all
_DRAWN = ("R@1", "R@10", "top1", "mAP", "recall")
_WORST = 20
_FUSIONS: dict[Fusion, str] = {
    "sum": "the sum of the vectors that the method compares",
    "unit": "the mean of unit vectors",
}


def write_protocol(run: str | Path, found: ProtocolReport, options: ReportOptions | None = None) -> Path:
    """Writes the page, and returns its path."""
    text = protocol_page(Path(run), found, options or ReportOptions())
    write_text(found.folder / HTML_NAME, text)
    return found.folder / HTML_NAME


def protocol_page(run: Path, found: ProtocolReport, options: ReportOptions) -> str:
    report, wanted = found.report, found.wanted
    opened, own, warnings = None, report.models()[:1], list(report.warnings)
    # The clips of a localisation protocol are too many for memory.
    if wanted.kind != "localisation":
        opened, own, warnings = open_evaluated(run, report)
    examples = NONE
    if opened is not None and wanted.kind == "retrieval":
        fusion: Fusion = report.about["fusion"]
        spaces = {opened.space.method.name: protocol_vectors(opened.space, opened.data, fusion)}
        scored = "cosine" if fusion == "unit" else "score"
        examples = example_section(opened, spaces, report, options, scored=scored)
    sections = [
        Section("published", "Published results", published_section(found)),
        Section("retrieval", "Retrieval", retrieval_section(report, own)),
        Section("examples", "Examples", examples),
        Section("others", "Classes, labels, steps", other_sections(report, own), folded=True),
        Section("videos", "Steps by video", _videos(report)),
        *closing_sections(run, report, own, opened),
    ]
    known = {
        "split": f"{report.split}, {counted(found.checked.clips, 'clip')}",
        "queries": wanted.queries,
        "against": wanted.gallery,
        "seen and heard": _FUSIONS[report.about["fusion"]] if wanted.kind != "classification" else None,
        "files": part("parts.html", "links", FILES),
    }
    warnings = [str(found.checked)] * bool(found.checked.deviations) + warnings
    title = f"{run.name}: {own[0].partition('/')[0]} on {wanted.title}"
    return page(title, lead(run, found.folder, report, warnings, known, wanted.notes), sections)


# -- published results -------------------------------------------------------------------------------------------------


def published_section(found: ProtocolReport) -> Markup:
    key = {"run": "measured here, with its 95 % interval", "published": "published", "chance": "chance"}
    published, names = found.published, _measures(found.published)
    noted = any(row.note for row in published)
    rows = []
    for row in published:
        # A bare number is one of arXiv; a repository has a slash in its name.
        source = row.source if "/" in row.source else f"arXiv {row.source}"
        numbers = [f"{row.values[n]:g}" if n in row.values else "" for n in names]
        rows.append([row.method, f"{source}, {row.tag}", *([row.note] if noted else []), *numbers])
    seen = "; ".join(f"{tag}: {TAGS[tag]}" for tag in dict.fromkeys(row.tag for row in published))
    caption = f"As printed, in per cent where it is a share; nothing of it was measured here. Seen in: {seen}."
    words = ["published", "source, and how seen", *(["note"] if noted else [])]
    columns = [direction(name) + ("" if name.rpartition(" ")[2] in NOT_PERCENT else ", %") for name in names]
    table = {"head": [*words, *columns], "rows": rows, "caption": caption, "words": len(words)}
    charts = list(_charts(found.report, published))
    return render("published.html", charts=charts, key=legend(key), numbers=table if published else None)


def _charts(report: EvaluationReport, published: Sequence[PublishedNumber]) -> Iterator[tuple[str, Markup]]:
    """(title, chart) of each published measure that this run has too."""
    for name in _measures(published):
        asked, _, metric = name.rpartition(" ")
        own = [r for r in report.results if metric in r.metrics and asks_alike(asked, r)]
        if metric in _DRAWN and own:
            theirs = sorted((row for row in published if name in row.values), key=lambda row: -row.values[name])
            lines = [NumbersRow(r).line(metric, r.model, direction(r.task), strong=True) for r in own]
            for row in theirs:
                # Papers print per cent.
                value = row.values[name] / 100
                mark = Mark("published", value, says=f"published {percent(value)}")
                lines.append(PlotLine(row.method, [mark], percent(value), row.note))
            highest = max(mark.value for line in lines for mark in line.marks if mark.kind != "chance")
            # The shortest of a few axes, so that charts of one page can be compared.
            most = next(m for m in (0.2, 0.4, 0.6, 0.8, 1.0) if m >= highest or m == 1.0)
            title = f"{direction(asked)}: {metric}" if asked else metric
            drawn = intervals(lines, label=f"{name}: this run and what is published", most=most)
            yield title, drawn


def asks_alike(asked: str, result: TaskResult) -> bool:
    """Whether a result is for the task of a published column: 'image->text', 'audio', or '' for the only task."""
    # A picture is a video of one frame here, and papers say 'video' even if they use its sound.
    task = result.task.partition(",")[0]
    if not asked:
        return result.kind != "retrieval"
    sides = asked.replace("image", "video").split("->")
    own = task.split("->")
    if len(sides) == 1:
        return set(sides[0].split("+")) == set(own[0].split(" ")[0].split("+"))
    return len(own) == 2 and all(set(a.split("+")) <= set(b.split("+")) for a, b in zip(sides, own, strict=True))


def _measures(published: Sequence[PublishedNumber]) -> list[str]:
    """Names of the published measures, grouped by direction."""
    names = dict.fromkeys(name for row in published for name in row.values)
    asked = list(dict.fromkeys(name.rpartition(" ")[0] for name in names))
    return sorted(names, key=lambda name: asked.index(name.rpartition(" ")[0]))


def _videos(report: EvaluationReport) -> Markup:
    """Videos in which the fewest steps were located, by the last task."""
    results = [r for r in report.results if r.kind == "localisation"]
    if not results:
        return NONE
    shares = {r.task: dict(zip(r.keys.tolist(), r.per_query["recall"].tolist(), strict=True)) for r in results}
    last = shares[results[-1].task]
    # NaN (a video without steps of the task) differs from itself.
    known = sorted((name for name in last if last[name] == last[name]), key=lambda name: (last[name], name))
    rows = [[name, *(percent(share.get(name, np.nan)) for share in shares.values())] for name in known[:_WORST]]
    more = f" The {_WORST} worst of {len(known):,}." if len(known) > _WORST else ""
    caption = f"Share of a video's steps that were found at a right second, the worst first.{more}"
    return part("parts.html", "table", ["task and video", *(direction(task) for task in shares)], rows, caption)
