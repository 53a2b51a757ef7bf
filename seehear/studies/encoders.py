"""Ranking of pairs of frozen encoders by how well they will fuse, from their latents, in seconds and without training.

    mutual k-NN   share of the neighbours of a clip that both encoders have in common      (`evaluation/geometry.py`)
    CKA           similarity of the whole geometry, up to a rotation
    CCA MRR       retrieval by a linear map, recordings held out; ranks the pairs           (`trained.py`)

`check` trains each pair and reports how well each number predicted the outcome: the rank correlation with validation,
which would choose the pair, and with the test split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import SeehearError, check_range
from seehear.evaluation.geometry import cka, mutual_knn
from seehear.inputs.latents import LatentData
from seehear.library.tables import LibraryTables
from seehear.nn.random import seed_of
from seehear.studies import table as figure
from seehear.studies.grid import Cell, Result, cell_key, run_grid
from seehear.studies.table import Study, Table, TableRow, tabulate
from seehear.studies.trained import (
    StudyOptions,
    about_data,
    check_held_out,
    held_out_retrieval,
    latents_of,
    measured,
    only,
)

PREDICTORS = ("CCA MRR", "mutual k-NN", "CKA")


@dataclass(frozen=True, kw_only=True)
class EncoderStudyOptions(StudyOptions):
    clips: int = 2000
    """Maximal number of training clips; a fixed random sample of more."""
    neighbours: int = 10
    """k of the mutual k-NN."""
    check: bool = False
    """Also train every pair, and compare."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "[1, inf)", "clips", "neighbours")


def encoder_study(library: LibraryTables, folder: Path, options: EncoderStudyOptions) -> Study:
    """The study of all pairs of encoders that the library has latents of, best first."""
    figure.require_figures()
    return encoder_pairs(latents_of(library, options.encoders), folder, options)


def encoder_pairs(data: LatentData, folder: Path, options: EncoderStudyOptions) -> Study:
    """The study of latents in memory, with several encoders of a modality side by side."""
    if options.check:
        check_held_out(data)
    about = about_data(data) | {"study": "encoders", "clips": options.clips, "neighbours": options.neighbours}
    cells: list[Cell] = [
        {"modalities": f"{p}, {q}", "first": one["name"], "second": other["name"]}
        for p, q in combinations(data.modalities, 2)
        for one, other in product(data.encoders[p], data.encoders[q])
    ]

    def train(cell: Cell) -> dict[str, float]:
        seed, work = int(cell["seed"] or 0), folder / "runs" / cell_key(cell)
        return measured(_pair(data, cell), options.model, seed=seed, folder=work)

    predicted = run_grid(
        folder / "predicted", cells, lambda c: _predict(_pair(data, c), options), about=about, redo=options.redo
    )
    results, tables, sentences = list(predicted), [_ranking(predicted, options)], _best(predicted)
    details: dict[str, Any] = {}
    points: list[Point] = []
    if options.check:
        seeded: list[Cell] = [{**cell, "seed": seed} for cell in cells for seed in range(options.seeds)]
        about_trained = about | {"model": options.model}
        trained = run_grid(folder / "trained", seeded, train, about=about_trained, redo=options.redo)
        results += trained
        tables.append(_outcomes(trained, options, about))
        foretold = {tuple(r.cell.items()): r.values for r in predicted if not r.error}
        points = [(foretold[key], r) for r in tables[-1].rows if (key := tuple(r.settings.items())) in foretold]
        details["rank correlation"], words = _correlations(points)
        sentences += words
    study = Study(folder, tuple(tables), tuple(sentences), tuple(results), about, details)
    study.save()
    figure.save_figure(folder / "encoders", partial(_draw, predicted=predicted, points=points))
    return study


def _pair(data: LatentData, cell: Cell) -> LatentData:
    """The data with only the two encoders of a cell."""
    modalities = str(cell["modalities"]).split(", ")
    return only(data, dict(zip(modalities, (str(cell["first"]), str(cell["second"])), strict=True)))


def _predict(data: LatentData, options: EncoderStudyOptions) -> dict[str, float]:
    train = data.split("train").joined()
    if len(train) <= options.neighbours:
        raise SeehearError(f"{len(train)} training clips have both modalities: too few to compare encoders on")
    # The same clips for every pair that has them: predictions are compared with each other.
    some = train.sample(options.clips, seed_of(0, "clips of the encoder study"))
    (p, q), groups = some.modalities, some.groups.numpy()
    x, y = some.one_each(p), some.one_each(q)
    cca = held_out_retrieval(x, y, groups)
    return {
        "CCA MRR": cca["MRR"],
        "CCA R@10": cca["R@10"],
        # By recording: neighbours within one are near in every encoder.
        "mutual k-NN": mutual_knn(x, y, k=options.neighbours, groups=groups),
        "CKA": cka(x, y),
        "clips": float(len(some)),
    }


def _ranking(predicted: Sequence[Result], options: EncoderStudyOptions) -> Table:
    table = tabulate(predicted, measures=("CCA MRR", "CCA R@10", "mutual k-NN", "CKA"), over=())
    # Pairs that could not be measured come last.
    rows = sorted(table.rows, key=lambda row: -row.estimates["CCA MRR"].mean if row.estimates else math.inf)
    clips = max((int(r.values["clips"]) for r in predicted if not r.error), default=0)
    notes = (
        f"Nothing is trained: {clips:,} training clips; retrieval within each of five held-out folds; chance of the "
        f"mutual k-NN is {options.neighbours / max(1, clips - 1):.3f}.",
    )
    return Table(tuple(rows), "Which encoders will fuse well", notes)


def _best(predicted: Sequence[Result]) -> list[str]:
    sentences = []
    for modalities in dict.fromkeys(str(r.cell["modalities"]) for r in predicted):
        own = [r for r in predicted if r.cell["modalities"] == modalities and not r.error]
        # One pair alone is no ranking.
        if len(own) > 1:
            best = max(own, key=lambda r: r.values["CCA MRR"])
            sentences.append(
                f"{modalities}: {best.cell['first']} with {best.cell['second']}, "
                f"{100 * best.values['CCA R@10']:.0f} % of held-out clips in the first 10 by a linear map."
            )
    return sentences


Point = tuple[dict[str, float], TableRow]
"""(predictions, outcome) of a pair of encoders"""


def _outcomes(trained: Sequence[Result], options: EncoderStudyOptions, about: dict[str, Any]) -> Table:
    """The pairs that could be trained, best first."""
    notes = (
        f"Trained ({options.model}) on the training split. MRR, R@10 and R@1 are of the {about['data']['test']:,} "
        "test clips unless marked validation.",
    )
    measures = ("validation MRR", "MRR", "R@10", "R@1")
    table = tabulate(trained, measures=measures, title="Results of training", notes=notes, percent=True)
    rows = sorted((r for r in table.rows if r.estimates), key=lambda row: -row.estimates["validation MRR"].mean)
    return replace(table, rows=tuple(rows))


def _correlations(points: Sequence[Point]) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Spearman correlations by predictor and outcome, and sentences about them. Encoder pairs are ranked among those of
    the same two modalities; the mean is over pairs of modalities with three encoder pairs or more."""
    from scipy import stats

    kinds = dict.fromkeys(row.settings["modalities"] for _, row in points)
    # Pairs of other modalities differ in difficulty, which every predictor would seem to predict.
    groups = [[p for p in points if p[1].settings["modalities"] == kind] for kind in kinds]
    # Two points always correlate perfectly.
    groups = [group for group in groups if len(group) > 2]
    if not groups:
        return {}, ["No correlation: there are fewer than three pairs of encoders."]
    means: dict[str, dict[str, float]] = {}
    sentences = []
    for name in PREDICTORS:
        means[name] = {}
        for outcome in ("validation MRR", "MRR"):
            values = []
            for group in groups:
                x = [predictions[name] for predictions, _ in group]
                y = [row.estimates[outcome].mean for _, row in group]
                if len(set(x)) > 1 and len(set(y)) > 1:
                    # The rank correlation with a constant is undefined.
                    values.append(float(stats.spearmanr(x, y).statistic))
            means[name][outcome] = float(np.mean(values)) if values else math.nan
        validation, test = means[name].values()
        sentences.append(
            f"{name} predicted the order with rank correlation {validation:.2f} (validation), {test:.2f} (test)."
        )
    count = " and ".join(str(len(group)) for group in groups)
    return means, [*sentences, f"The correlations are over {count} pairs of encoders: only large ones mean anything."]


def _draw(axes: Any, *, predicted: Sequence[Result], points: Sequence[Point]) -> None:
    if points:
        cloud = [
            (str(row.settings["first"]), str(row.settings["second"]), predictions["CCA MRR"], row.estimates["MRR"])
            for predictions, row in points
        ]
        figure.cloud(axes, cloud, x="predicted: cross-validated CCA, MRR", y="trained: test MRR")
        return
    rows = sorted((r for r in predicted if r.values), key=lambda r: -r.values["CCA MRR"])
    for name, mark in zip(PREDICTORS, figure.MARKS, strict=False):
        axes.plot([r.values[name] for r in rows], range(len(rows)), mark, label=name)
    axes.set_yticks(range(len(rows)), [f"{r.cell['first']} + {r.cell['second']}" for r in rows])
    # The best pair on top.
    axes.invert_yaxis()
    axes.legend()
