"""Which frozen encoders will fuse well? Asked of their latents, in seconds, before anything is trained.

For every pair of encoders of two modalities, on the same training clips:

    mutual k-NN   do things that are neighbours for the one also lie together for the other?     (`evaluation/alike.py`)
    CKA           is the whole geometry alike, up to a rotation?
    CCA MRR       retrieval by a linear map that never saw the clips, recordings held out         (`crossfit.py`)

Pairs are ranked by the last. `check` trains each pair and says how well each number had foretold what training found:
the rank correlation with validation, by which one would choose, and with the test split, which is looked at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import SeehearError, check_range
from seehear.evaluation.alike import cka, mutual_knn
from seehear.inputs.latents import LatentData
from seehear.library.tables import Library
from seehear.nn.random import seed_of
from seehear.studies import figure
from seehear.studies.crossfit import held_out_retrieval
from seehear.studies.grid import Cell, Result, run_grid
from seehear.studies.table import Estimate, Row, Study, Table, estimate, tabulate
from seehear.studies.trained import about_data, check_held_out, check_model, latents_of, measured, only
from seehear.types import Modality

PREDICTORS = ("CCA MRR", "mutual k-NN", "CKA")


@dataclass(frozen=True, kw_only=True)
class EncoderStudyOptions:
    encoders: tuple[str, ...] = ()
    """Names of encoders; all that the library has latents of when not given."""
    clips: int = 2000
    """At most so many training clips are looked at, a fixed draw where there are more."""
    neighbours: int = 10
    """k of the mutual k-NN."""
    check: bool = False
    """Also train every pair and compare."""
    model: str = "linear"
    """Model that the check trains: closed, linear or base."""
    seeds: int = 3
    """Of the check."""
    redo: bool = False
    """Measure again what the folder holds of other data or options."""

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "clips", "neighbours", "seeds")
        check_model(self.model)


def encoder_study(library: Library, folder: Path, options: EncoderStudyOptions | None = None) -> Study:
    """All pairs of encoders that the library has latents of, best first."""
    figure.require_figures()
    options = options or EncoderStudyOptions()
    return encoder_pairs(latents_of(library, options.encoders), folder, options)


def encoder_pairs(data: LatentData, folder: Path, options: EncoderStudyOptions) -> Study:
    """The same for latents that are at hand, several encoders of a modality side by side."""
    pairs = _pairs(data)
    if options.check:
        check_held_out(data)
    about = about_data(data) | {"study": "encoders", "clips": options.clips, "neighbours": options.neighbours}
    cells = [cell for cell, _ in pairs]
    chosen = {json.dumps(cell): encoders for cell, encoders in pairs}

    def predict(cell: Cell) -> dict[str, float]:
        return _predicted(only(data, chosen[json.dumps(cell)]), options)

    told = run_grid(folder / "predicted", cells, predict, about=about, redo=options.redo)
    results, tables = list(told), [_ranked(told, options)]
    said: list[str] = _best(told)
    details: dict[str, Any] = {}
    points = []
    if options.check:
        trained = _check(data, pairs, folder, about, options)
        results += trained
        points = _together(told, trained)
        tables.append(_checked(points, options, about))
        details["rank correlation"], words = _correlations(points)
        said += words
    study = Study(folder, tuple(tables), tuple(said), tuple(results), about, details)
    study.save()
    figure.save_figure(folder / "encoders", partial(_draw, told=told, points=points))
    return study


# -- predicted ---------------------------------------------------------------------------------------------------------


def _pairs(data: LatentData) -> list[tuple[Cell, dict[Modality, int]]]:
    """(cell, place of the encoder of each modality)"""
    found: list[tuple[Cell, dict[Modality, int]]] = []
    for p, q in combinations(data.modalities, 2):
        for (i, one), (j, other) in product(enumerate(data.encoders[p]), enumerate(data.encoders[q])):
            cell: Cell = {"modalities": f"{p}, {q}", "first": one["name"], "second": other["name"]}
            found.append((cell, {p: i, q: j}))
    return found


def _predicted(data: LatentData, options: EncoderStudyOptions) -> dict[str, float]:
    train = data.split("train").joined()
    if len(train) <= options.neighbours:
        raise SeehearError(f"{len(train)} training clips have both modalities: too few to compare encoders on")
    some = train.sample(options.clips, seed_of(0, "clips of the encoder study"))
    (p, q), groups = some.modalities, some.groups.numpy()
    x, y = some.one_each(p), some.one_each(q)
    found = held_out_retrieval(x, y, groups)
    return {
        "CCA MRR": found["MRR"],
        "CCA R@10": found["R@10"],
        "mutual k-NN": mutual_knn(x, y, k=options.neighbours, groups=groups),
        "CKA": cka(x, y),
        "clips": float(len(some)),
    }


def _ranked(told: Sequence[Result], options: EncoderStudyOptions) -> Table:
    table = tabulate(told, measures=("CCA MRR", "CCA R@10", "mutual k-NN", "CKA"), over=())
    known = [row for row in table.rows if "CCA MRR" in row.estimates]
    rows = sorted(known, key=lambda row: -row.estimates["CCA MRR"].mean)
    rows += [row for row in table.rows if row not in known]
    clips = max((int(r.values["clips"]) for r in told if not r.error), default=0)
    notes = (
        f"Nothing is trained: {clips:,} training clips; retrieval within each of five held-out folds; chance of the "
        f"mutual k-NN is {options.neighbours / max(1, clips - 1):.3f}.",
    )
    return Table(tuple(rows), "Which encoders will fuse well", notes)


def _best(told: Sequence[Result]) -> list[str]:
    said = []
    for modalities in dict.fromkeys(str(r.cell["modalities"]) for r in told):
        own = [r for r in told if r.cell["modalities"] == modalities and not r.error]
        if len(own) > 1:
            best = max(own, key=lambda r: r.values["CCA MRR"])
            said.append(
                f"{modalities}: {best.cell['first']} with {best.cell['second']}, "
                f"{100 * best.values['CCA R@10']:.0f} % of held-out clips in the first 10 by a linear map."
            )
    return said


# -- checked -----------------------------------------------------------------------------------------------------------


Point = tuple[dict[str, Any], dict[str, float], list[dict[str, float]]]
"""(settings, predictions, what each seed's training found)"""


def _check(
    data: LatentData,
    pairs: Sequence[tuple[Cell, dict[Modality, int]]],
    folder: Path,
    about: dict[str, Any],
    options: EncoderStudyOptions,
) -> list[Result]:
    cells: list[Cell] = [{**cell, "seed": seed} for cell, _ in pairs for seed in range(options.seeds)]
    places = [(n, encoders) for n, (_, encoders) in enumerate(pairs) for _ in range(options.seeds)]
    chosen = {json.dumps(cell): place for cell, place in zip(cells, places, strict=True)}

    def train(cell: Cell) -> dict[str, float]:
        number, encoders = chosen[json.dumps(cell)]
        seed = int(cell["seed"] or 0)
        return measured(
            only(data, encoders), options.model, seed=seed, folder=folder / "runs" / f"pair-{number}-seed-{seed}"
        )

    return run_grid(folder / "trained", cells, train, about=about | {"model": options.model}, redo=options.redo)


def _together(told: Sequence[Result], trained: Sequence[Result]) -> list[Point]:
    points = []
    for result in told:
        own = [r.values for r in trained if not r.error and {**r.cell, "seed": None} == {**result.cell, "seed": None}]
        if own and not result.error:
            points.append((result.cell, result.values, own))
    return points


def _checked(points: Sequence[Point], options: EncoderStudyOptions, about: dict[str, Any]) -> Table:
    names = ("validation MRR", "MRR", "R@10", "R@1")
    rows = [
        Row(settings, {n: estimate([v[n] for v in own]) for n in names})
        for settings, _, own in sorted(points, key=lambda p: -np.mean([v["validation MRR"] for v in p[2]]))
    ]
    notes = (
        f"Trained ({options.model}) on the training split; MRR, R@10 and R@1 without a word are of "
        f"the {about['data']['test']:,} test clips.",
    )
    return Table(tuple(rows), "What training found", notes, percent=True)


def _correlations(points: Sequence[Point]) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Spearman's, by predictor and outcome, among the pairs of encoders of the same two modalities; the mean over pairs
    of modalities that have three encoder pairs or more."""
    kinds = dict.fromkeys(str(settings["modalities"]) for settings, _, _ in points)
    groups = [[p for p in points if p[0]["modalities"] == kind] for kind in kinds]
    groups = [group for group in groups if len(group) > 2]
    if not groups:
        return {}, ["Fewer than three pairs of encoders: no correlation can be said."]
    found: dict[str, dict[str, float]] = {}
    said = []
    for name in PREDICTORS:
        found[name] = {outcome: _mean_rank(groups, name, outcome) for outcome in ("validation MRR", "MRR")}
        validation, test = found[name].values()
        said.append(
            f"{name} foretold the order: rank correlation {validation:.2f} with validation, {test:.2f} with test."
        )
    count = " and ".join(str(len(group)) for group in groups)
    return found, [*said, f"The correlations are over {count} pairs of encoders: a few, so believe large ones only."]


def _mean_rank(groups: Sequence[Sequence[Point]], name: str, outcome: str) -> float:
    from scipy import stats

    found = []
    for group in groups:
        told = [told[name] for _, told, _ in group]
        was = [float(np.mean([v[outcome] for v in own])) for _, _, own in group]
        if len(set(told)) > 1 and len(set(was)) > 1:  # of a constant there is no order
            found.append(float(stats.spearmanr(told, was).statistic))
    return float(np.mean(found)) if found else math.nan


def _draw(axes: Any, *, told: Sequence[Result], points: Sequence[Point]) -> None:
    if points:
        cloud = [
            (settings["first"], settings["second"], told["CCA MRR"], estimate([v["MRR"] for v in own]))
            for settings, told, own in points
        ]
        figure.cloud(axes, cloud, x="foretold: cross-validated CCA, MRR", y="trained: test MRR")
        return
    rows = [
        Row(r.cell, {n: Estimate(r.values[n], math.nan, math.nan, 1) for n in PREDICTORS}) for r in told if r.values
    ]
    rows.sort(key=lambda row: -row.estimates["CCA MRR"].mean)
    for name in PREDICTORS:
        means = [row.estimates[name].mean for row in rows]
        axes.plot(means, range(len(rows)), figure.MARKS[PREDICTORS.index(name)], label=name)
    axes.set_yticks(range(len(rows)), [f"{row.settings['first']} + {row.settings['second']}" for row in rows])
    axes.invert_yaxis()
    axes.legend()
