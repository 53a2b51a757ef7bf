"""The study of modalities as tables, answers in words, and a figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seehear.recipes.studies.designs import Design, name_of
from seehear.recipes.studies.figure import dots, save_figure
from seehear.recipes.studies.grid import Result
from seehear.recipes.studies.table import Estimate, Table, estimate, save_study, tabulate

_SHOWN = ("text->video+audio", "text->video", "text->audio", "video->audio", "audio->video")
_OTHERS: tuple[str, ...] = ("video probe", "audio probe", "clusters NMI", "clusters purity")
_NOTES = (
    "Share of held-out clips in the first 10, in percent; probes: right label by logistic regression; clusters: "
    "k-means on the fused vectors, as many clusters as labels.",
    "The intervals say what the seed changes (start, order, mixing), on one split; they do not speak of other clips.",
)


@dataclass(frozen=True)
class Answer:
    question: str
    method: str
    measure: str
    more: str
    """The row that has what is asked about."""
    less: str
    difference: Estimate
    """more - less, paired by seed."""

    def __str__(self) -> str:
        e = self.difference
        shown = f"{100 * e.mean:+.1f} points"
        if math.isfinite(e.low):
            shown += f" [{100 * e.low:+.1f}, {100 * e.high:+.1f}]"
        told = "yes" if e.low > 0 else "no, it costs" if e.high < 0 else "cannot be told from these seeds"
        return f"{self.question} {self.measure}, {self.method}, ({self.more}) - ({self.less}): {shown}: {told}"


def write_report(
    folder: Path, results: Sequence[Result], rows: Sequence[Design], *, about: Mapping[str, Any], gallery: int
) -> str:
    """`study.json`, `table.md`, `modalities.png` (.svg, .pdf); the text of the tables and the answers."""
    chance = f"Chance in the first 10: {100 * min(1.0, 10 / gallery):.1f} % of {gallery:,} clips."
    found = {name for result in results for name in result.values}
    shown = [f"{name} R@10" for name in _SHOWN if f"{name} R@10" in found]
    others = [name for name in _OTHERS if name in found]
    head = tabulate(
        results,
        measures=shown + others,
        title="What each modality, pair, term and space adds",
        notes=(*_NOTES, chance),
        percent=True,
    )
    rest = tabulate(results, measures=sorted(n for n in found if "R@" in n), title="All recalls", percent=True)
    ranks = tabulate(results, measures=sorted(n for n in found if "median" in n), title="Median ranks")
    found_answers = list(answers(results, rows))
    plain = [{**vars(a), "difference": vars(a.difference), "text": str(a)} for a in found_answers]
    save_study(folder, [head, rest, ranks], results, about=about, answers=plain)
    text = head.markdown() + "\n" + "\n".join(f"- {a}" for a in found_answers) + "\n"
    path = folder / "table.md"
    path.write_text(f"{text}\n{rest.markdown()}\n{ranks.markdown()}", encoding="utf-8")
    _figure(folder, head, shown, chance=10 / gallery)
    return text


def answers(results: Sequence[Result], rows: Sequence[Design]) -> Iterator[Answer]:
    """The differences that the issue's questions ask for, of every method that has both rows."""
    values: dict[tuple[str, str], dict[int, Mapping[str, float]]] = {}
    for result in results:
        key = (str(result.cell["method"]), str(result.cell["design"]))
        values.setdefault(key, {})[int(result.cell["seed"] or 0)] = result.values
    methods = list(dict.fromkeys(method for method, _ in values))
    for question, measure, more, less in _questions(rows):
        for method in methods:
            one, other = values.get((method, more), {}), values.get((method, less), {})
            seeds = [s for s in one if s in other and measure in one[s] and measure in other[s]]
            if seeds:
                difference = estimate([one[s][measure] - other[s][measure] for s in seeds])
                yield Answer(question, method, measure, more, less, difference)


def _questions(rows: Sequence[Design]) -> Iterator[tuple[str, str, str, str]]:
    """(question, measure, the row with it, the row without)"""
    plain = [d for d in rows if d.plain]
    full = plain[-1]
    three = len(full.modalities) > 2
    best = "text->video+audio R@10" if three else f"{full.modalities[-1]}->{full.modalities[0]} R@10"
    for pair in plain[:-1]:
        p, q = pair.modalities
        for direction in (f"{p}->{q}", f"{q}->{p}"):
            yield "Does a third modality help the first two?", f"{direction} R@10", full.name, pair.name
    for row in rows:
        if row.spaces == "joint" and len(row.pairs) < len(full.pairs) and row.modalities == full.modalities:
            gone = next(p for p in full.pairs if p not in row.pairs)
            yield f"Does aligning {name_of(gone, '-')} help?", best, full.name, row.name
    contrast = f"{full.name}, contrast only"
    yield "Does the whole loss help over contrast alone?", best, full.name, contrast
    yield "Do clusters help?", best, f"{full.name}, no reconstruction", contrast
    yield "Does reconstruction help?", best, f"{full.name}, no clusters", contrast
    if three:
        kept = ("video->audio R@10", "audio->video R@10", "video probe", "audio probe", best)
        for name in ("fine and coarse", "disjoint spaces"):
            for measure in kept:
                question = f"Do {name} keep more than one space?" if "spaces" in name else f"Does {name} keep more?"
                yield question, measure, f"{full.name}, {name}", full.name


def _figure(folder: Path, table: Table, measures: Sequence[str], *, chance: float) -> None:
    """A panel a direction, a line a design, a colour a method; chance dotted."""

    def draw(axes: Any) -> None:
        figure = axes.figure
        axes.remove()
        panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for panel, measure in zip(panels, measures, strict=True):
            title = measure.replace("->", " \N{RIGHTWARDS ARROW} ").replace(" R@10", "\nin the first 10, %")
            dots(panel, table, measure, label=lambda s: str(s["design"]), by="method", scale=100.0, title=title)
            panel.axvline(100 * chance, color="#888888", ls=":", lw=1)
            if (legend := panel.get_legend()) is not None and panel is not panels[0]:
                legend.remove()

    designs = len({row.settings["design"] for row in table.rows})
    save_figure(folder / "modalities", draw, size=(2.0 + 1.9 * len(measures), 1.2 + 0.3 * designs))
