"""What a closed form behind a trained model adds: `python benchmarks/last_layer.py --work /tmp/last`.

VATT (`short` of vatt_real.py) on the talking head of grid-s1, FuseMix and MCN on pictures and their words (the latents
of `features/`; 500 of them to train on, 100 to validate, 300 to test). The model is scored with the last layer that its
validation clips chose, and without: R@10 in percent, the mean over directions; and whether there was one.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import write
from few_clips import latents
from vatt_real import run_of
from vatt_sets import library_of

from seehear.inputs.latents import LatentData
from seehear.runs.config import Inputs, LatentInputs, Run, recipe
from seehear.runs.run import train_on
from seehear.runs.scores import retrieval_scores
from seehear.space import load_method

LATENTS = ("fusemix", "fusemix.paper", "mcn.tiny")


def pictures(name: str, data: Path, seed: int) -> LatentInputs:
    stored = latents(data / "features" / f"{name}.npz")
    some = np.random.default_rng(seed).permutation(len(stored["text"]))[:900]
    splits = ["train"] * 500 + ["val"] * 100 + ["test"] * 300
    return LatentInputs(LatentData.from_arrays({m: x[some] for m, x in stored.items()}, splits=splits))


def cases(options: argparse.Namespace) -> Iterator[tuple[str, str, int, Inputs, Run[Any, Any]]]:
    for seed in range(options.seeds):
        for name in ("emoji3d", "art4apps"):
            for model in (m for m in options.models if m in LATENTS):
                run = recipe(model)
                few = {"epochs": 60, "batch_size": 500, "evaluations": 12, "patience": 4} if ".paper" in model else {}
                train = replace(run.train, seed=seed, device="cpu", fast_matmul=False, **few)
                yield name, model, seed, pictures(name, options.data, seed), replace(run, train=train)
    if "vatt" in options.models:
        library, _ = library_of("grid-s1", options.data, options.work)
        run = run_of("grid-s1", "short", 0, options.work)
        yield "grid-s1", "vatt", 0, run.data.load(library, run.method), run


def recalls(model: Any, inputs: Inputs, split: str) -> float:
    found = retrieval_scores(model.spaces, inputs.vectors(model, inputs.clips.split(split).joined()))
    return round(100 * float(np.mean([value for name, value in found.items() if name.endswith("R@10")])), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEEHEAR_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=[*LATENTS, "vatt"], choices=[*LATENTS, "vatt"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, model, seed, inputs, run in cases(options):
        folder = options.work / "run"
        shutil.rmtree(folder, ignore_errors=True)
        train_on(inputs, run, folder)
        method = load_method(folder)[0].eval()
        row: dict[str, Any] = {"set": name, "model": model, "seed": seed, "last layer": list(method.last_layer)}
        row |= {f"{split} with": recalls(method, inputs, split) for split in ("val", "test")}
        method.last_layer.clear()
        row |= {f"{split} without": recalls(method, inputs, split) for split in ("val", "test")}
        rows.append(row)
        print(row, flush=True)
    write("last_layer", {"rows": rows}, options.out)


if __name__ == "__main__":
    main()
