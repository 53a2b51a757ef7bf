"""The study of modalities as tables, answers in words, and a figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seehear.errors import SeehearError
from seehear.evaluation.bootstrap import seeded_interval
from seehear.methods.mcn_config import MCNConfig
from seehear.runs.config import LatentsConfig, Run, recipe
from seehear.studies.grid import Result, cell_key
from seehear.studies.table import SeedEstimate, Study, Table, dots, save_figure, tabulate
from seehear.types import MODALITIES, Modality

_SHOWN = ("text->video+audio", "text->video", "text->audio", "video->audio", "audio->video")
_PROBES: tuple[str, ...] = ("video probe", "audio probe")
_CLUSTERS: tuple[str, ...] = ("clusters NMI", "clusters purity")
_NOTES = (
    "R@10: share of held-out clips in the first 10; probes: right label by logistic regression; clusters: k-means on "
    "the fused vectors, as many clusters as labels. V: video, A: audio, T: text.",
)
# Clips among which the first 10 say little.
_FEW = 20
_INTERVAL = "95 % interval over recordings and seeds; of clusters the t interval over seeds"


@dataclass(frozen=True)
class Answered:
    """Score of each query, or of each clip that a probe classified."""

    scores: np.ndarray
    """(Q,) float64."""
    clips: np.ndarray
    """(Q,) int64 numbers of their clips."""


@dataclass(frozen=True)
class Findings:
    results: Sequence[Result]
    queries: Mapping[str, Mapping[str, Answered]]
    """Scores of each query, by cell and measure."""
    groups: np.ndarray
    """(N,) recording of each clip."""

    def runs(self, method: str, design: str, measure: str) -> list[Answered]:
        """Scores of every seed that has the measure."""
        wanted = {"method": method, "design": design}
        cells = [r.cell for r in self.results if not r.error and {k: r.cell[k] for k in wanted} == wanted]
        found = [self.queries[cell_key(cell)] for cell in cells]
        return [own[measure] for own in found if measure in own]

    def estimate(self, runs: Sequence[Answered], minus: Sequence[Answered] = ()) -> SeedEstimate:
        """Mean over queries and seeds, or its difference to `minus`: all rows of a measure have the same queries."""
        scores, less = [r.scores for r in runs], [r.scores for r in minus]
        mean = float(np.mean(scores)) - (float(np.mean(less)) if less else 0.0)
        low, high = seeded_interval(scores, self.groups[runs[0].clips], minus=less)
        return SeedEstimate(mean, low, high, len(runs))


@dataclass(frozen=True)
class _StudyAnswer:
    question: str
    measure: str
    more: str
    """Row (method and design) with the modality, pair, term or space in question; `less` is the row without."""
    less: str
    difference: SeedEstimate
    """more - less, on the same queries."""

    def __str__(self) -> str:
        e = self.difference
        shown = f"{100 * e.mean:+.1f} points [{100 * e.low:+.1f}, {100 * e.high:+.1f}]"
        verdict = "yes" if e.low > 0 else "no, it costs" if e.high < 0 else "not told apart here"
        if math.isnan(e.low):
            verdict = "one recording: nothing can be said"
        return f"{self.question} {self.measure}, ({self.more}) - ({self.less}): {shown}: {verdict}"


def write_report(folder: Path, found: Findings, rows: Sequence[Design], *, about: Mapping[str, Any]) -> Study:
    """Writes `study.json`, `table.md` and `modalities.png` (.svg, .pdf)."""
    names = {name for result in found.results for name in result.values}
    recalls = [f"{name} R@10" for name in _SHOWN if f"{name} R@10" in names]
    measures = [*recalls, *(name for name in (*_PROBES, *_CLUSTERS) if name in names)]
    gallery = int(about["data"]["test"])
    notes = (*_NOTES, f"Chance in the first 10: {100 * min(1.0, 10 / gallery):.1f} % of {gallery:,} clips.")
    few = f"The first 10 of {gallery:,} test clips say little: look at R@1 among all recalls, or find more test clips."
    title = "What each modality, pair, term and space adds"
    head = tabulate(found.results, measures=measures, title=title, notes=notes, percent=True)
    head_rows = []
    # Measures with scores of queries get intervals over recordings too.
    for row in head.rows:
        own = {m: found.runs(str(row.settings["method"]), str(row.settings["design"]), m) for m in row.estimates}
        estimates = {m: found.estimate(own[m]) if own[m] else e for m, e in row.estimates.items()}
        head_rows.append(replace(row, estimates=estimates))
    head = replace(head, rows=tuple(head_rows), interval=_INTERVAL)
    rest = tabulate(found.results, measures=sorted(n for n in names if "R@" in n), title="All recalls", percent=True)
    ranks = tabulate(found.results, measures=sorted(n for n in names if "median" in n), title="Median ranks")
    told = list(answers(found, rows))
    plain = [{**vars(a), "difference": vars(a.difference)} for a in told]
    said = (*([f"- {few}"] if gallery <= _FEW else []), *(f"- {a}" for a in told))
    study = Study(folder, (head, rest, ranks), said, tuple(found.results), dict(about), {"answers": plain})
    study.save()
    tried = {result.cell["design"] for result in found.results}
    _figure(folder, head, recalls, [d.name for d in rows if d.name in tried], chance=min(1.0, 10 / gallery))
    return study


def answers(found: Findings, rows: Sequence[Design]) -> Iterator[_StudyAnswer]:
    """Differences between the two rows of each question, for every method that has both; then between methods."""
    methods, full = list(dict.fromkeys(str(result.cell["method"]) for result in found.results)), _full(rows)
    # (question, measure, method and design with it, method and design without)
    asked = [(q, measure, (m, more), (m, less)) for q, measure, more, less in _questions(rows) for m in methods]
    # Every pair of methods once, on the full set of modalities.
    for less, more in combinations(methods, 2):
        asked.append((f"Is {more} better than {less}?", _best(full), (more, full.name), (less, full.name)))
    for question, measure, with_it, without in asked:
        one, other = found.runs(*with_it, measure), found.runs(*without, measure)
        if one and other:
            difference = found.estimate(one, other)
            yield _StudyAnswer(question, measure, ", ".join(with_it), ", ".join(without), difference)


def _full(rows: Sequence[Design]) -> Design:
    return [d for d in rows if d.plain][-1]


def _best(full: Design) -> str:
    """Measure that rows are compared by."""
    if len(full.modalities) > 2:
        return "text->video+audio R@10"
    return f"{full.modalities[-1]}->{full.modalities[0]} R@10"


def _questions(rows: Sequence[Design]) -> Iterator[tuple[str, str, str, str]]:
    """(question, measure, the design with it, the design without)"""
    full, best = _full(rows), _best(_full(rows))
    for pair in [d for d in rows if d.plain][:-1]:
        p, q = pair.modalities
        # The first two alone: what is asked is whether the third one helps them.
        for direction in (f"{p}->{q}", f"{q}->{p}"):
            yield "Does a third modality help the first two?", f"{direction} R@10", full.name, pair.name
    for row in rows:
        if row.spaces == "joint" and len(row.pairs) < len(full.pairs) and row.modalities == full.modalities:
            gone = next(p for p in full.pairs if p not in row.pairs)
            yield f"Does aligning {_name_of(gone, '-')} help?", best, full.name, row.name
    contrast = f"{full.name}, contrast only"
    yield "Does the whole loss help over contrast alone?", best, full.name, contrast
    yield "Do clusters help?", best, f"{full.name}, no reconstruction", contrast
    yield "Does reconstruction help?", best, f"{full.name}, no clusters", contrast
    if len(full.modalities) > 2:
        for measure in ("video->audio R@10", "audio->video R@10", *_PROBES, best):
            yield "Does fine and coarse keep more than one space?", measure, f"{full.name}, fine and coarse", full.name
            yield "Do disjoint spaces keep more than one?", measure, f"{full.name}, disjoint spaces", full.name


def _figure(folder: Path, table: Table, measures: Sequence[str], lines: Sequence[str], *, chance: float) -> None:
    """Draws a panel per direction, a line per design, a colour per method; chance is dotted."""

    def draw(axes: Any) -> None:
        figure = axes.figure
        axes.remove()
        panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for panel, measure in zip(panels, measures, strict=True):
            name = measure.replace("->", " \N{RIGHTWARDS ARROW} ").replace(" R@10", "\nin the first 10, %")
            series: dict[str, list[tuple[float, SeedEstimate]]] = {
                str(row.settings["method"]): [] for row in table.rows
            }
            for row in table.rows:
                if measure in row.estimates:
                    line = lines.index(str(row.settings["design"]))
                    series[str(row.settings["method"])].append((line, row.estimates[measure]))
            dots(panel, series, lines, x=name, scale=100.0)
            panel.axvline(100 * chance, color="#888888", ls=":", lw=1)
        # Every panel has the same methods: one legend serves them all.
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=len(names))

    save_figure(folder / "modalities", draw, size=(2.0 + 1.9 * len(measures), 1.4 + 0.3 * len(lines)))


# ----------------------------------------------------------------------------------------------------------------------
# Rows of the study of modalities: modalities to train on, pairs to align, terms of the loss, shared spaces.

Pair = tuple[Modality, Modality]


@dataclass(frozen=True)
class Design:
    name: str
    modalities: tuple[Modality, ...]
    pairs: tuple[Pair, ...]
    """Aligned pairs."""
    clusters: bool = True
    reconstruction: bool = True
    spaces: Literal["joint", "disjoint", "fine_coarse"] = "joint"

    @property
    def plain(self) -> bool:
        """True with all pairs, all terms and one space: the row depends on its modalities alone."""
        all_pairs = len(self.pairs) == len(tuple(combinations(self.modalities, 2)))
        return all_pairs and self.clusters and self.reconstruction and self.spaces == "joint"


def designs(modalities: Sequence[Modality]) -> list[Design]:
    """Rows for two or three modalities: subsets, then the full set without a pair, a term, or one joint space."""
    ordered = tuple(m for m in MODALITIES if m in modalities)
    rows = [
        Design(_name_of(some), some, tuple(combinations(some, 2)))
        for size in range(2, len(ordered) + 1)
        for some in combinations(ordered, size)
    ]
    full = rows[-1]
    if len(ordered) > 2:
        for pair in full.pairs:
            # Two modalities have one pair: without it there is nothing to train.
            rest = tuple(p for p in full.pairs if p != pair)
            rows.append(replace(full, name=f"{full.name}, no {_name_of(pair, '-')}", pairs=rest))
    rows += [
        replace(full, name=f"{full.name}, no clusters", clusters=False),
        replace(full, name=f"{full.name}, no reconstruction", reconstruction=False),
        replace(full, name=f"{full.name}, contrast only", clusters=False, reconstruction=False),
    ]
    if len(ordered) > 2:
        rows.append(replace(full, name=f"{full.name}, disjoint spaces", spaces="disjoint"))
        rows.append(replace(full, name=f"{full.name}, fine and coarse", spaces="fine_coarse"))
    return rows


def latents_run(name: str) -> Run[LatentsConfig, Any]:
    """The run of a recipe that trains on latents; others raise `SeehearError`."""
    run = recipe(name)
    if not isinstance(run.data, LatentsConfig):
        raise SeehearError(f"recipe {name!r} trains on media, not on latents: choose fusemix or mcn")
    if run.data.joint is not None:
        raise SeehearError(f"recipe {name!r} extends a frozen space, which the study cannot: choose fusemix or mcn")
    return run


def possible(design: Design, run: Run[Any, Any]) -> bool:
    """True if the run's method has the terms and spaces that the design changes."""
    return isinstance(run.method, MCNConfig) or (design.clusters and design.reconstruction and design.spaces == "joint")


def run_of(design: Design, run: Run[Any, Any], *, of: int, seed: int) -> Run[Any, Any]:
    """The recipe with the changes of the design, for a library of `of` modalities, without early stopping."""
    method, terms = run.method, {}
    if isinstance(method, MCNConfig):
        # MCN sums over pairs and modalities. A term keeps its share of the loss when there are fewer of them, or a row
        # would also measure a smaller weight.
        reconstruct = method.reconstruct_weight * of / len(design.modalities)
        terms = {
            "spaces": design.spaces,
            "contrast_weight": method.contrast_weight * (of * (of - 1) // 2) / len(design.pairs),
            "cluster_weight": method.cluster_weight if design.clusters else 0.0,
            "reconstruct_weight": reconstruct if design.reconstruction else 0.0,
        }
    # Without patience every row takes the same steps.
    train = replace(run.train, seed=seed, patience=None)
    return replace(run, method=replace(method, pairs=design.pairs, **terms), train=train)


def _name_of(modalities: Sequence[Modality], between: str = "+") -> str:
    """Initials: 'V+T'."""
    return between.join(m[0].upper() for m in modalities)
