"""VATT trained from scratch on real clips, held-out recordings: `python benchmarks/vatt_real.py --work /tmp/vatt`.

Sets: `vatt_sets.py`. Models: the recipe `vatt.tiny`; of 600 steps at most the same (`short`), with pictures as they are
and not what moves in them, on raw waveforms, with one encoder for all modalities, and towers of that size that learn to
tell the labels (`supervised`). Each learns from 'train', its best weights and the strength of probes are chosen on
'val', and 'test' is looked at once. Beside each number: chance, the same network untrained, an interval of 95 % over
recordings, and the gain over the untrained network with its interval, clip by clip. `still` shows the first frame of a
film alone: what remains of a number then is not motion.

Cells (a set, a model, a seed) stay in the work folder: a second call goes on where the first stopped, and several may
work on different models at the same time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from common import write
from torch import nn
from torch.nn import functional as F
from vatt_sets import SETS, DataSet, library_of

from seehear.evaluation.bootstrap import compare, mean_interval, median_interval
from seehear.evaluation.classify import Labelled, linear_probe
from seehear.evaluation.embedded import smallest_space
from seehear.evaluation.retrieval import retrieval
from seehear.inputs.raw import RawMedia
from seehear.library.tables import LibraryTables
from seehear.methods.base import Method
from seehear.methods.vatt import VATT, VATTConfig
from seehear.nn.random import Randomness
from seehear.recipes import vatt
from seehear.runs.config import MediaConfig, MediaInputs, Run
from seehear.runs.features import clip_features, placed
from seehear.runs.run import build, train_run
from seehear.space import load_method
from seehear.studies.grid import Cell, Result, cell_key, run_grid
from seehear.train.config import RunFolder
from seehear.train.loop import fit
from seehear.types import Batch, Encoded, Modality, StepOutput, Tensor

EVERY = ("vatt.tiny", "short", "pictures", "waveform", "agnostic", "supervised")
MODELS = {"grid-s1": EVERY, "digits": ("waveform",), "esc10": ("short",)}
EPOCHS = {"grid-s1": 60, "digits": 12, "esc10": 60}
"""Of all models but the recipe itself."""
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.1, 1.0)
Features = Mapping[Modality, np.ndarray]


def run_of(name: str, model: str, seed: int, work: Path) -> Run[MediaConfig, VATTConfig]:
    """The recipe, with what a set's clips ask for."""
    run = vatt.tiny()
    method, raw, train = run.method, run.data.raw, run.train
    if name == "digits":
        method = replace(method, patch=(1, 7, 7), sound_patch=128)
        raw = replace(raw, frames=1, motion=0.0, size=28, region=(0.0, 0.0, 1.0, 1.0), flip=0.0)
        raw = replace(raw, rate=8000, seconds=0.6, loop=False)
    if name == "esc10":
        method = replace(method, modalities=("audio", "text"), spaces="joint")
        raw = replace(raw, frames=100)
    if model != "vatt.tiny":
        train = replace(train, epochs=EPOCHS[name], evaluations=6)
    if model == "waveform":
        method = replace(method, sound="waveform")
    if model == "pictures":
        raw = replace(raw, motion=0.0)
    if model == "agnostic":
        method = replace(method, variant="agnostic", shared=method.video)
    data = replace(run.data, raw=raw, cache=work / "cache")
    return replace(run, method=method, data=data, train=replace(train, seed=seed, workers=0, device="cpu"))


class Supervised(Method):
    """Towers that learn to tell the labels of a clip, each by a map of its own for every label."""

    name = "supervised"
    reads_media = True

    def __init__(self, model: VATT, truth_GL: Tensor):
        """`truth_GL`: the labels of every group, a clip each."""
        super().__init__()
        self.config, self.spaces, self.model = model.config, {}, model
        self.register_buffer("truth", truth_GL)
        self.towers = [m for m in model.config.modalities if m != "text"]
        classes = (truth_GL.amax(dim=0) + 1).tolist()
        widths = {m: model.config.size_of(m).width for m in self.towers}
        self.maps = nn.ModuleDict({m: nn.ModuleList(nn.Linear(w, c) for c in classes) for m, w in widths.items()})

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        features = {m: self.model.features(m, batch[m], rng=rng) for m in self.towers}
        return Encoded(features, {m: batch[f"has_{m}"] for m in self.towers}, {"group": batch["group"]})

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        truth_BL = self.truth[encoded.context["group"]]
        scores = [self.scores(m, encoded.features[m]) for m in self.towers]
        return StepOutput(sum(F.cross_entropy(s, y) for of in scores for s, y in zip(of, truth_BL.T, strict=True)), {})

    def scores(self, m: Modality, features_BD: Tensor) -> list[Tensor]:
        return [one(features_BD) for one in self.maps[m]]


@dataclass(frozen=True)
class Case:
    """A set as a run sees it."""

    own: DataSet
    library: LibraryTables
    run: Run[MediaConfig, VATTConfig]
    inputs: MediaInputs
    media: RawMedia
    columns: Mapping[str, Mapping[str, str]]
    """By clip."""

    def column(self, name: str, split: str) -> np.ndarray:
        return np.array([self.columns[i][name] for i in self.media.split(split).ids])


def case(cell: Cell, data: Path, work: Path) -> Case:
    name, model, seed = str(cell["set"]), str(cell["model"]), int(cell["seed"] or 0)
    library, columns = library_of(name, data, work)
    run = run_of(name, model, seed, work)
    inputs = run.data.load(library, run.method)
    media = inputs.clips
    for part in torch.arange(len(media)).split(64):  # decoded once, before anything is measured
        media.batch(part)
    return Case(SETS[name], library, run, inputs, media, columns)


# -- one cell ----------------------------------------------------------------------------------------------------------


def measure(cell: Cell, data: Path, work: Path) -> dict[str, float]:
    """In percent, on test clips; ranks as they are."""
    here, folder = case(cell, data, work), work / "runs" / cell_key(cell)
    again = (folder / "config.json").exists()
    began = time.process_time()
    if cell["model"] == "supervised":
        found = supervised(here, folder, again)
    else:
        steps = train_run(here.library, here.run, folder, resume=again).steps
        found = {"core seconds": time.process_time() - began, "steps": float(steps)} | compare_networks(here, folder)
    shutil.rmtree(folder)
    return found


def compare_networks(here: Case, folder: Path) -> dict[str, float]:
    untrained, trained = build(here.inputs, here.run).eval(), load_method(folder)[0].eval()
    found = {"parameters": float(sum(p.numel() for p in trained.parameters()))}
    splits = ("train", "val", "test")
    before, after = ({s: clip_features(model, here.media.split(s)) for s in splits} for model in (untrained, trained))
    found |= found_again(here, (untrained, trained), (before["test"], after["test"]))
    if "video" in after["test"] and here.inputs.spec.raw.frames > 1 and not here.inputs.spec.raw.motion:
        stills = {**after["test"], "video": still_features(trained, here.media.split("test"))}
        again = found_again(here, (untrained, trained), (before["test"], stills))
        found |= {f"still {k}": v for k, v in again.items() if "video" in k and "R@10" in k}
    for m in here.media.modalities:
        for label in here.own.labels if m != "text" else ():
            old, new = (probed(here, label, {s: f[s][m] for s in splits}) for f in (before, after))
            found |= compared(f"{m} {label}", old, new, guessed(here, label), here.media.split("test").groups.numpy())
    return found


def found_again(here: Case, models: tuple[Method, Method], features: tuple[Features, Features]) -> dict[str, float]:
    """Retrieval in every direction, by both networks."""
    belongs, groups, found = here.column(here.own.belongs, "test"), here.media.split("test").groups.numpy(), {}
    for pair in permutations(features[1], 2):
        space = smallest_space(models[1].spaces, *pair)
        assert space is not None
        placings = [placed(m, {k: f[k] for k in pair}, space) for m, f in zip(models, features, strict=True)]
        q, g = (placings[1][m].owner for m in pair)
        old, new = (retrieval(*(z[m].vectors for m in pair), belongs[q], belongs[g]) for z in placings)
        name, of = "->".join(pair), groups[q[new.rows]]
        for k in ("R@1", "R@5", "R@10"):
            found |= compared(f"{name} {k}", old.per_query[k], new.per_query[k], new.chance[k], of)
        low, high = median_interval(new.ranks, of)
        rank = {"": new.metrics["median_rank"], " low": low, " high": high, " chance": new.chance["median_rank"]}
        rank |= {" untrained": old.metrics["median_rank"]}
        found |= {f"{name} MedR{k}": round(v, 1) for k, v in rank.items()}
    return found


@torch.no_grad()
def still_features(model: Method, media: RawMedia) -> np.ndarray:
    """Of films whose first frame is all that is seen."""
    view = media.views()
    films = (view.batch(part)["video"] for part in torch.arange(len(view)).split(32))
    return torch.cat([model.features("video", x[:, :1].expand_as(x)) for x in films])[:, None].numpy()


def probed(here: Case, label: str, features: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which test clips a linear probe tells, its strength chosen on validation."""
    parts = [Labelled(x_NWD[:, 0], here.column(label, split)) for split, x_NWD in features.items()]
    return linear_probe(*parts, strengths=STRENGTHS).per_query["top1"]


def guessed(here: Case, label: str) -> float:
    """Of saying the commonest class of training always."""
    kinds, counts = np.unique(here.column(label, "train"), return_counts=True)
    return float((here.column(label, "test") == kinds[counts.argmax()]).mean())


def compared(name: str, old: np.ndarray, new: np.ndarray, chance: float, groups: np.ndarray) -> dict[str, float]:
    """A mean with its interval, chance, the untrained network's, and the gain over that with its interval."""
    low, high = mean_interval(new, groups)
    gain = compare(old, new, groups)
    values = {"": new.mean(), " low": low, " high": high, " chance": chance, " untrained": old.mean()}
    values |= {" gain": gain.difference, " gain low": gain.low, " gain high": gain.high}
    return {f"{name}{k}": round(100 * float(v), 2) for k, v in values.items()}


def supervised(here: Case, folder: Path, again: bool) -> dict[str, float]:
    """Of the same steps, augmentation and schedule."""
    classes = [np.unique(here.column(label, "train")) for label in here.own.labels]
    media, truth_GL = here.media, torch.zeros(len(here.media), len(classes), dtype=torch.long)
    for n, (kinds, label) in enumerate(zip(classes, here.own.labels, strict=True)):
        truth_GL[media.groups, n] = torch.from_numpy(
            np.searchsorted(kinds, [here.columns[i][label] for i in media.ids])
        )
    model = build(here.inputs, here.run)
    assert isinstance(model, VATT)
    with torch.random.fork_rng():
        torch.manual_seed(here.run.train.seed)
        method = Supervised(model, truth_GL)

    def told(split: str) -> dict[str, np.ndarray]:
        part, found = media.split(split), {}
        features = clip_features(model, part)
        for m in method.towers:
            with torch.no_grad():
                scores = method.scores(m, torch.from_numpy(features[m][:, 0]))
            for n, label in enumerate(here.own.labels):
                right = scores[n].argmax(dim=1) == truth_GL[part.groups, n]
                found[f"{m} {label}"] = right.double().numpy()
        return found

    def validate(_: Method) -> dict[str, float]:
        return {"score": float(np.mean([x.mean() for x in told("val").values()]))}

    run, began = here.run, time.process_time()
    result = fit(
        method,
        media.split("train"),
        config=run.train,
        optim=run.optim,
        folder=RunFolder(folder, resume=again),
        validate=validate,
    )
    found = {"core seconds": time.process_time() - began, "steps": float(result.steps)}
    groups = media.split("test").groups.numpy()
    for name, right in told("test").items():
        low, high = mean_interval(right, groups)
        values = {"": right.mean(), " low": low, " high": high, " chance": guessed(here, name.split()[1])}
        found |= {f"{name}{k}": round(100 * float(v), 2) for k, v in values.items()}
    return found


def tables(results: Sequence[Result]) -> Iterator[str]:
    """Of each set, in Markdown: a row a measure, a column a cell; chance, and the first model untrained."""
    for name in dict.fromkeys(result.cell["set"] for result in results):
        here = [r for r in results if r.cell["set"] == name and r.values]
        heads = [f"{r.cell['model']}, seed {r.cell['seed']}" for r in here]
        yield from ("", f"| {name} | chance | untrained | {' | '.join(heads)} |", f"|{'---|' * (3 + len(here))}")
        for key in dict.fromkeys(k.removesuffix(" chance") for r in here for k in r.values if k.endswith(" chance")):
            of = [r.values for r in here]
            chance = next(v[f"{key} chance"] for v in of if key in v)
            before = next((f"{v[f'{key} untrained']:.1f}" for v in of if f"{key} untrained" in v), "")
            own = (f"{v[key]:.1f} [{v[f'{key} low']:.1f}, {v[f'{key} high']:.1f}]" if key in v else "" for v in of)
            yield f"| {key} | {chance:.1f} | {before} | {' | '.join(own)} |"
        costs = (f"{r.values['steps']:.0f}, {r.values['core seconds']:.0f} s" for r in here)
        yield f"| steps, core-seconds | | | {' | '.join(costs)} |"


# -- all cells ---------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEEHEAR_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--models", nargs="*", choices=EVERY, default=EVERY)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--tables", action="store_true", help="train nothing: what there is")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = options.work / "study"
    cells: list[Cell] = [
        {"set": name, "model": model, "seed": seed}
        for seed in options.seeds
        for name in options.only
        for model in MODELS[name]
        if model in options.models
    ]
    if options.tables:
        cells = [cell for cell in cells if (study / "cells" / f"{cell_key(cell)}.json").exists()]
    results = run_grid(study, cells, lambda cell: measure(cell, options.data, options.work), about={}, verbose=True)
    print("\n".join(tables(results)))
    write("vatt_real", {"cells": [{**result.cell, "values": result.values} for result in results]}, options.out)


if __name__ == "__main__":
    main()
