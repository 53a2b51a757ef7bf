"""VATT's video tower on still pictures, against from scratch: `python benchmarks/vatt_pictures.py --work W`.

A drawn digit (MNIST), shown as a film of 4 equal frames (one patch in time, as the paper shows ImageNet to its video
encoder), is classified by a tower of 3 blocks of 128 with patches of 4 x 7 x 7. The tower starts from

    films     VATT trained without labels on the films of grid-s1: mouth, voice and words; no drawing is in it
    digits    VATT trained on drawings and spoken digits, no words. Pairs are drawn by kind, so that pairing holds what
              labels hold: a bound, not transfer without labels
    scratch   random weights

and is fine-tuned on 10, 100 and 1,000 drawings, or left as it is under a linear probe. The drawings that are learnt
from, 500 to choose on (learning rate, weights, strength of the probe) and 1,000 to test are disjoint from each other
and from those of pre-training. Cells stay in the work folder: a second call continues, and the JSON is written after
each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import write
from vatt_real import STRENGTHS, run_of
from vatt_sets import library_of

from seehear.downstream.finetune import Pretrained, classifier
from seehear.downstream.presets import ClipOptions, FineTune
from seehear.evaluation.classify import Labelled, linear_probe
from seehear.methods.base import Method
from seehear.methods.classifier import Classifier, Learning
from seehear.nn.random import seed_of
from seehear.runs.run import train_run
from seehear.studies.grid import Cell, Result, cell_key, run_grid
from seehear.train.config import TrainConfig
from seehear.train.files import has_model
from seehear.train.loop import fit
from seehear.train.optim import OptimConfig
from seehear.types import Batch, Tensor

KINDS = tuple("0123456789")
STEPS = {10: 150, 100: 200, 1000: 400}
"""Steps of fine-tuning by drawings learnt from."""
RATES = (5e-4, 2e-3)
USED = 320  # of each kind, that pre-training may have seen
FRAMES, SIDE, SHIFT = 4, 28, 2
PRETRAINING = {"films": ("grid-s1", 300), "digits": ("digits", 300)}
"""Set and steps."""


def pretraining(source: str, seed: int, work: Path) -> tuple[str, Any]:
    """(set, run)"""
    name, steps = PRETRAINING[source]
    run = run_of(name, "waveform" if source == "digits" else "pictures", seed, work)
    modalities = ("video", "audio") if source == "digits" else ("video", "audio", "text")
    raw = replace(run.data.raw, frames=FRAMES if source == "digits" else 16, size=SIDE, modalities=modalities)
    if source == "films":
        raw = replace(raw, fps=12.5, side=32)
    method = replace(run.method, patch=(FRAMES, 7, 7), modalities=modalities)
    train = replace(run.train, steps=steps, evaluations=3)
    return name, replace(run, method=method, data=replace(run.data, raw=raw), train=train)


def pretrained(source: str, seed: int, data: Path, work: Path) -> Pretrained:
    """Trained at the first call."""
    folder = work / "pretrained" / f"{source}-{seed}"
    if not has_model(folder / "model"):
        name, run = pretraining(source, seed, work)
        train_run(library_of(name, data, work)[0], run, folder, resume=(folder / "config.json").exists())
    return Pretrained.load(folder)


# -- drawings ----------------------------------------------------------------------------------------------------------


@dataclass
class Drawings:
    """`TrainingData`: stills as films, each shifted by up to two pixels."""

    images_NHW: Tensor
    kinds_N: Tensor
    heavy = False
    together = 1

    def __len__(self) -> int:
        return len(self.images_NHW)

    @property
    def groups(self) -> Tensor:
        return torch.arange(len(self))

    def batch(self, indices: Tensor, *, seed: int, epoch: int) -> Batch:
        images = self.images_NHW[indices]
        for row, index in enumerate(indices.tolist()):
            rng = np.random.default_rng(seed_of(seed, "shift", epoch, index))
            images[row] = images[row].roll(tuple(rng.integers(-SHIFT, SHIFT + 1, 2)), (0, 1))
        here = torch.ones(len(indices), dtype=torch.bool)
        return {"video": films_of(images), "has_video": here, "label": torch.eye(len(KINDS))[self.kinds_N[indices]]}


def films_of(images_BHW: Tensor) -> Tensor:
    """(B, T, H, W, 3)"""
    return images_BHW[:, None, :, :, None].expand(-1, FRAMES, -1, -1, 3).contiguous()


def drawings(data: Path, count: int, seed: int) -> dict[str, Drawings]:
    """Equally many of each kind; those to learn from drawn by the seed, the others the same for all."""
    with np.load(data / "digits" / "mnist10k.npz") as file:
        images, labels = file["images"], file["labels"]
    places: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for kind in range(len(KINDS)):
        free = np.flatnonzero(labels == kind)[USED:]
        drawn = np.random.default_rng(seed_of(seed, "drawings", kind)).permutation(free[150:])
        places["test"] += free[:100].tolist()
        places["val"] += free[100:150].tolist()
        places["train"] += drawn[: count // len(KINDS)].tolist()
    return {
        name: Drawings(torch.from_numpy(images[own]), torch.from_numpy(labels[own]).long())
        for name, own in places.items()
    }


# -- one cell ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def features(method: Method, part: Drawings) -> Tensor:
    return torch.cat([method.features("video", films_of(x)) for x in part.images_NHW.split(250)])


@torch.no_grad()
def accuracy(made: Classifier, part: Drawings) -> float:
    assert made.model is not None
    made.eval()
    right = made.classify(features(made.model, part)).argmax(dim=1) == part.kinds_N
    return float(right.double().mean())


def probe(made: Classifier, parts: dict[str, Drawings]) -> float:
    """Accuracy of a linear probe of the tower as it is."""
    assert made.model is not None
    made.eval()
    rows = [Labelled(features(made.model, p).numpy(), [KINDS[k] for k in p.kinds_N]) for p in parts.values()]
    return float(linear_probe(*rows, strengths=STRENGTHS).metrics["top1"])


def measure(cell: Cell, data: Path, work: Path) -> dict[str, float]:
    """In percent, of 1,000 test drawings."""
    source, count, seed = str(cell["from"]), int(cell["drawings"] or 0), int(cell["seed"] or 0)
    scratch = source == "scratch"
    model = pretrained("films" if scratch else source, seed, data, work)
    clips = ClipOptions(frames=FRAMES, seconds=model.raw.audio_seconds)
    parts = drawings(data, count, seed)
    found: dict[str, float] = {}
    best = -1.0
    for lr in RATES:
        settings = FineTune(
            learning=Learning(smoothing=0.1), clips=clips, scratch=scratch, train=TrainConfig(seed=seed)
        )
        made = classifier(model, settings, KINDS, tower="video", several=False)
        if not found:
            found["probe"] = 100 * probe(made, parts)
        folder = work / "runs" / cell_key({**cell, "lr": lr})
        shutil.rmtree(folder, ignore_errors=True)
        result = fit(
            made,
            parts["train"],
            config=TrainConfig(
                steps=STEPS[count], batch_size=min(64, count), seed=seed, workers=0, device="cpu", evaluations=5
            ),
            optim=OptimConfig(lr=lr, weight_decay=0.05, warmup=0.1),
            folder=folder,
            validate=partial(_scored, part=parts["val"]),
        )
        shutil.rmtree(folder)
        score = float(result.score or 0.0)
        if score > best:
            best = score
            found |= {"fine-tuned": 100 * accuracy(made, parts["test"]), "lr": lr, "validation": 100 * score}
    return found


def _scored(method: Any, *, part: Drawings) -> dict[str, float]:
    return {"score": accuracy(method, part)}


def table(results: Sequence[Result]) -> Iterator[str]:
    """Markdown: mean over seeds, and the lowest and highest seed."""
    counts = sorted({int(r.cell["drawings"] or 0) for r in results})
    yield "| | " + " | ".join(f"{n:,}" for n in counts) + " |"
    yield "|---|" + "---:|" * len(counts)
    for source in dict.fromkeys(str(r.cell["from"]) for r in results):
        for kind in ("fine-tuned", "probe"):
            texts = []
            for n in counts:
                own = [r.values[kind] for r in results if (r.cell["from"], r.cell["drawings"]) == (source, n)]
                texts.append(f"{statistics.mean(own):.1f} [{min(own):.1f}, {max(own):.1f}]" if own else "")
            yield f"| {source}, {kind} | {' | '.join(texts)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEEHEAR_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--drawings", nargs="*", type=int, default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--tables", action="store_true", help="train nothing: the finished cells")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cells: list[Cell] = [
        {"from": source, "drawings": count, "seed": seed}
        for seed in options.seeds
        for source in ("scratch", *PRETRAINING)
        for count in options.drawings
    ]
    study, results = options.work / "pictures", list[Result]()
    if options.tables:
        cells = [cell for cell in cells if (study / "cells" / f"{cell_key(cell)}.json").exists()]
    for cell in cells:
        results += run_grid(study, [cell], lambda c: measure(c, options.data, options.work), about={}, verbose=True)
        rows = [{**result.cell, "values": result.values} for result in results]
        write("vatt_pictures", {"steps": STEPS, "cells": rows}, options.out)
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
