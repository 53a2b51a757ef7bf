"""Choices made on few validation clips: `python benchmarks/few_clips.py --data ../shared/data`.

The closed form that a run of FuseMix starts from (CCA or ridge, its shrinkage and rank) on pictures and their words
(emoji3d, art4apps; the latents of `features/`, on their first 192 principal axes). Few clips are drawn by a seed: four
fifths to train on, a fifth to validate; the rest are test clips, 300 of them. The settings are chosen

    single    on the validation clips alone
    folds     over five folds of the training and validation clips
    oracle    on the test clips: what no choice can exceed

and the form is fitted on the training clips in every case. R@10 on the test clips in percent, the mean of both
directions; over the seeds its mean, its spread (standard deviation of what is lost against the oracle, which takes out
how hard a draw is) and the worst loss.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from common import write

from seehear.evaluation.embedded import embed_latents
from seehear.inputs.latents import LatentData
from seehear.methods import linear, tuning
from seehear.methods.tuning import training_moments, validation_rows
from seehear.recipes import fusemix
from seehear.runs.scores import retrieval_scores

SETS, CLIPS, AXES, TEST = ("emoji3d", "art4apps"), (60, 125, 250, 500), 192, 300
CHOICES = ("single", "folds", "oracle")


def latents(path: Path) -> dict[str, np.ndarray]:
    stored = np.load(path)
    found = {}
    for m, name in (("video", "image"), ("text", "text")):
        x_ND = stored[name].astype(np.float32)
        axes = np.linalg.svd(x_ND - x_ND.mean(0), full_matrices=False)[2][:AXES]
        found[m] = (x_ND - x_ND.mean(0)) @ axes.T
    return found


def drawn(stored: dict[str, np.ndarray], clips: int, seed: int) -> LatentData:
    some = np.random.default_rng(seed).permutation(len(stored["text"]))[: clips + TEST]
    splits = ["val"] * (clips // 5) + ["train"] * (clips - clips // 5) + ["test"] * TEST
    return LatentData.from_arrays({m: x[some] for m, x in stored.items()}, splits=splits)


def recall(form: linear.LinearMaps, test: LatentData) -> float:
    found = retrieval_scores(form.spaces, {"joint": embed_latents(form, test)})
    return 100 * float(np.mean([value for name, value in found.items() if name.endswith("R@10")]))


def measure(data: LatentData) -> dict[str, float]:
    config, test, few = fusemix.base().method, data.split("test"), tuning.FEW_CLIPS
    try:
        tuning.FEW_CLIPS = 0
        single = fusemix.start_of(config, data)
    finally:
        tuning.FEW_CLIPS = few
    train = training_moments(data.split("train"))
    peeks = [tuning.TuningFold(train, *validation_rows(test))]
    forms = [tuning.tuned(train, peeks), tuning.tuned_ridge(train, peeks, hub="text")]
    oracle = tuning.chosen(lambda _: forms, train, peeks)
    found = {"single": single, "folds": fusemix.start_of(config, data), "oracle": oracle}
    return {name: recall(form, test) for name, form in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEEHEAR_DATA", "../shared/data")))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    print(f"{'set':10} clips  choice   R@10   sd of loss   worst loss")
    for name in SETS:
        stored = latents(options.data / "features" / f"{name}.npz")
        for clips in CLIPS:
            cells = [measure(drawn(stored, clips, seed)) for seed in range(options.seeds)]
            for choice in CHOICES:
                own, best = (np.array([cell[c] for cell in cells]) for c in (choice, "oracle"))
                row = {"set": name, "clips": clips, "choice": choice, "R@10": own.mean(), "sd": own.std(ddof=1)}
                row |= {"sd of loss": (best - own).std(ddof=1), "worst loss": (best - own).max()}
                found.append({k: round(float(v), 2) if isinstance(v, float) else v for k, v in row.items()})
                lost = f"{row['sd of loss']:10.2f}  {row['worst loss']:9.1f}"
                print(f"{name:10} {clips:5}  {choice:7} {own.mean():5.1f}  {lost}", flush=True)
    write("few_clips", {"seeds": options.seeds, "test": TEST, "axes": AXES, "rows": found}, options.out)


if __name__ == "__main__":
    main()
