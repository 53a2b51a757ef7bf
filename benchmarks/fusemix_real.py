"""FuseMix on real data, held-out groups: `python benchmarks/fusemix_real.py --data ../shared/data --work /tmp/real`.

Sets: `fusemix_sets.py`. Models, each chosen by the validation clips and measured on the test clips of the same split:

    closed forms        ASIF, Procrustes, ridge, CCA of each pair; generalised CCA of three modalities
    paper               `fusemix.paper`, its adapters, schedule and settings, scaled to a CPU: all training clips in one
                        batch (so half as many mixed rows), 60 epochs with early stopping, and latents projected on
                        their first 128 principal axes over the training clips
    paper, no mixing    the same with mix='none'
    default             `fusemix.base` with its linear head alone
    richer latents      its start, with another size or pool of the encoders beside the usual one

Cells (a set, a model, a seed) stay in the work folder: a second call goes on where the first stopped, and several may
work on different sets. `--docs PAGE` writes the tables into a page, between its two marks.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from common import write
from fusemix_sets import SETS, latents, official_folds, split

from seehear.evaluation.embedded import Embedded, Embedder, embed_latents, fuse
from seehear.evaluation.retrieval import retrieval
from seehear.inputs.latents import LatentData
from seehear.recipes.fusemix import base, paper, start_of
from seehear.runs.closed_forms import closed_forms
from seehear.runs.config import LatentInputs, Run
from seehear.runs.run import train_on
from seehear.space import SharedSpace
from seehear.studies.grid import Cell, Result, cell_key, run_grid

AXES = 128
FORMS = ("asif", "procrustes", "ridge", "cca", "gcca")
COLUMNS = (*FORMS, "paper, no mixing", "paper", "default", "richer latents")
EVERYWHERE = ("cca", "paper, no mixing", "paper", "default")
"""What a seed must have to be in the tables, so that the models of a row are of the same splits."""
MARKS = ("<!-- fusemix_real: begin -->", "<!-- fusemix_real: end -->")


def measure(cell: Cell, data_folder: Path, work: Path) -> dict[str, float]:
    """R@1 and R@10 in percent by model and direction, on the test clips."""
    name, model, seed = str(cell["set"]), str(cell["model"]), int(cell["seed"] or 0)
    data = split_data(name, seed, data_folder, work, more=model == "richer latents")
    test = data.split("test")
    if model == "closed forms":
        found: dict[str, float] = {}
        for form in closed_forms(data):
            found |= recalls(form.name, form, test)
        return found
    if model == "richer latents":
        return recalls(model, start_of(base().method, data), test)
    if model.startswith("paper"):
        data = principal(data)
    folder = work / "runs" / f"{name}-{model}-{seed}".replace(", ", "-").replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    train_on(LatentInputs(data), a_run(model, seed), folder)
    found = recalls(model, SharedSpace.from_pretrained(folder).method, data.split("test"))
    shutil.rmtree(folder)
    return found


def a_run(model: str, seed: int) -> Run:
    if model == "default":
        run = replace(base(), method=replace(base().method, head="linear"))
    else:
        run = paper()
        scaled = replace(run.train, epochs=60, batch_size=8192, evaluations=12, patience=4)
        run = replace(run, train=scaled)
    if model.endswith("no mixing"):
        run = replace(run, method=replace(run.method, mix="none"))
    return replace(run, train=replace(run.train, seed=seed))


def recalls(name: str, model: Embedder, test: LatentData) -> dict[str, float]:
    """Of every direction, and of every two modalities that ask together for a third."""
    vectors = embed_latents(model, test)
    asked: dict[str, tuple[Embedded, Embedded]] = {}
    for query in vectors:
        for gallery in vectors:
            if query != gallery:
                asked[f"{query}->{gallery}"] = vectors[query], vectors[gallery]
    for gallery in vectors:
        for p, q in combinations([m for m in vectors if m != gallery], 2):
            asked[f"{p}+{q}->{gallery}"] = fuse([vectors[p], vectors[q]]), vectors[gallery]
    found: dict[str, float] = {}
    for what, (q, g) in asked.items():
        if len(np.intersect1d(q.owner, g.owner)):
            result = retrieval(q.vectors, g.vectors, q.owner, g.owner)
            found |= {f"{name}|{what}|{k}": 100 * result.metrics[k] for k in ("R@1", "R@10")}
            found[f"chance|{what}|R@10"] = 100 * result.chance["R@10"]
    return found


@cache
def split_data(name: str, seed: int, data_folder: Path, work: Path, *, more: bool) -> LatentData:
    folds = official_folds(name, data_folder) if SETS[name].folds else None
    return split(latents(name, data_folder, work, more=more), seed, folds=folds)


def principal(data: LatentData) -> LatentData:
    """Every modality on its first principal axes over the training clips; no whitening."""
    train, rows = data.split("train"), {}
    for m, own in data.rows.items():
        z_RD = train.every(m).float()
        mean = z_RD.mean(dim=0)
        axes = torch.linalg.svd(z_RD - mean, full_matrices=False).Vh[:AXES]
        info = ({**own.encoders[0], "width": len(axes)},)
        rows[m] = replace(own, vectors=(own.vectors.float() - mean) @ axes.T, encoders=info)
    return LatentData(rows, ids=data.ids, splits=data.splits, groups=data.groups)


# -- the tables --------------------------------------------------------------------------------------------------------

Scores = Mapping[tuple[str, str, str, int], Mapping[str, float]]
"""(set, model, metric, seed) -> direction -> percent."""


def scores_of(results: list[Result]) -> dict[tuple[str, str, str, int], dict[str, float]]:
    found: dict[tuple[str, str, str, int], dict[str, float]] = {}
    for result in results:
        for key, value in result.values.items():
            model, direction, metric = key.split("|")
            at = str(result.cell["set"]), model, metric, int(result.cell["seed"] or 0)
            found.setdefault(at, {})[direction] = value
    return found


def interval(values: list[float]) -> str:
    """Mean over the seeds and half the width of its 95 % t interval."""
    from scipy.stats import t

    if not values:
        return "-"
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.1f}"
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return f"{mean:.1f} ±{half:.1f}"


def tables(results: list[Result]) -> Iterator[str]:
    scores = scores_of(results)
    columns = [c for c in COLUMNS if any(k[1] == c for k in scores)]
    yield "R@10 in percent, mean over both directions of every pair; mean of the seeds and its 95 % interval."
    yield from _table(("set", "seeds", "chance", *columns), _summary(scores, columns))
    yield "R@10 by direction, mean of the seeds. Two modalities that ask together do so by the mean of their vectors."
    yield from _table(("set", "direction", "chance", *columns), _directions(scores, columns))


def _seeds(scores: Scores) -> dict[str, list[int]]:
    """By set, those that all models of the comparison have."""
    found = {}
    for name in SETS:
        have = [{k[3] for k in scores if k[:3] == (name, model, "R@10")} for model in EVERYWHERE]
        if common := sorted(set.intersection(*have)):
            found[name] = common
    return found


def _summary(scores: Scores, columns: list[str]) -> Iterator[tuple[str, ...]]:
    for name, seeds in _seeds(scores).items():
        cells = []
        for model in ("chance", *columns):
            found = [scores[name, model, "R@10", s] for s in seeds if (name, model, "R@10", s) in scores]
            cells.append(interval([np.mean([v for d, v in one.items() if "+" not in d]).item() for one in found]))
        yield name, str(len(seeds)), cells[0].split(" ")[0], *cells[1:]


def _directions(scores: Scores, columns: list[str]) -> Iterator[tuple[str, ...]]:
    for name, seeds in _seeds(scores).items():
        for direction in scores[name, "chance", "R@10", seeds[0]]:
            cells = []
            for model in ("chance", *columns):
                known = [
                    one[direction] for s in seeds if direction in (one := scores.get((name, model, "R@10", s), {}))
                ]
                cells.append(f"{np.mean(known):.1f}" if known else "-")
            yield name, direction, *cells


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield ""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def into(page: Path, text: str) -> None:
    """Replace what stands between the marks."""
    before, rest = page.read_text(encoding="utf-8").split(MARKS[0])
    page.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.split(MARKS[1])[1]}", encoding="utf-8")


def cells_of(sets: list[str], models: list[str], seeds: int) -> list[Cell]:
    return [
        {"set": name, "model": model, "seed": seed}
        for seed in range(seeds)
        for name in sets
        for model in models
        if seed < (SETS[name].folds or seeds)
        if model != "richer latents" or SETS[name].more
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEEHEAR_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS))
    known = ["closed forms", "default", "paper", "paper, no mixing", "richer latents"]
    parser.add_argument("--models", nargs="*", default=known, choices=known)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tables", action="store_true", help="measure nothing: the tables of the cells there are")
    parser.add_argument("--docs", type=Path, help="page whose tables are replaced")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"no data at {options.data}: set SEEHEAR_DATA or --data to the folder that holds emoji3d, ...")
    torch.set_num_threads(1)
    study, cells = options.work / "study", cells_of(options.only, options.models, options.seeds)
    if options.tables:
        cells = [cell for cell in cells if (study / "cells" / f"{cell_key(cell)}.json").exists()]
    results = run_grid(
        study,
        cells,
        lambda cell: measure(cell, options.data, options.work),
        about={"axes": AXES},
    )
    text = "\n".join(tables(results))
    print(text)
    if options.docs:
        into(options.docs, text)
    plain = [{**r.cell, "values": {k: round(v, 2) for k, v in r.values.items()}} for r in results]
    write("fusemix_real", {"cells": plain}, options.out)


if __name__ == "__main__":
    main()
