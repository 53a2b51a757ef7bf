"""MAViL and DiffMAViL at equal epochs on real clips, held-out recordings: `python benchmarks/mavil_real.py --work DIR`.

    mavil               stage 1, 0.8 of the patches hidden
    diffmavil           diffused patches, cross decoder for video, 0.95 to 0.80 hidden
    lean                ours: cross decoders, half of the hidden patches told, one view, 0.8 hidden
    supervised          the same towers learn to tell the labels, from scratch, for as many epochs
    without diffusion   diffmavil with a learned token at hidden places
    fewer epochs        mavil for 0.7 of the epochs
    constant 0.9        mavil with 0.9 hidden
    reversed            diffmavil, 0.80 to 0.95 hidden
    lean, more hidden   lean, 0.95 to 0.80 hidden

What the masking costs:

    constant 0.8        diffmavil, 0.80 hidden throughout
    0.85 to 0.75        diffmavil with that curriculum
    equal cost          diffmavil for as many more epochs as cost what mavil does, in counted operations

What saves more, or is kept at the same saving:

    lean, quarter       lean, a quarter of the hidden patches decoded
    lean, quarter 0.75  the same with 0.75 hidden
    lean, all           lean, all hidden patches decoded

Sets: grid-s1 (a mouth, and what it says) and digits (a drawn one, and a spoken one of the same kind), from
`vatt_sets.py`. Models are smaller than `mavil.tiny`: a training takes a minute or two on a core. Each learns from
'train' for all its epochs and its last weights are taken; 'val' chooses the strength of probes and the k of k-NN, and
'test' is looked at once. Features are means over the patches of one encoder. Retrieval is between pictures and sound.
Of sounds from elsewhere, the kinds in fold 1 of ESC-10 are told by probes on the audio encoder that grid-s1 trained.

`digits-196` and `grid-s1-196` are the same clips in 196 patches a picture or film: 14 x 14 of 2 x 2 pixels, and
4 x 7 x 7 of 7 frames and 6 x 6 pixels. With 0.95 hidden, 9 of them are visible, not 2.

Each cell also keeps its numbers on validation clips (`val`), by which settings are chosen, and the operations of its
training over those of `mavil`.

Retrieval is measured by the trained vectors, and once more with the closed form that every training now ends with
(`last layer`; the untrained network gets one too).

Beside each number: chance, the same network untrained, an interval of 95 % over recordings, and the gain over the
untrained network, clip by clip. At the end each arm is compared with `mavil` and with the untrained network, clip by
clip over all seeds.

Cells (a set, an arm, a seed) stay in the work folder: a second call goes on where the first stopped, in the middle of a
training too. What matters most comes first. --known takes cells of an earlier run from its JSON and does not measure
them again; such cells have no numbers clip by clip, so differences from them have the wider interval of two independent
means. --smoke tries everything on a few clips for one epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import write
from mavil_arms import EPOCHS, operations, run_of, source
from mavil_compare import (
    CHANCE,
    GROUPS,
    LAST,
    VAL,
    PerClip,
    against,
    differences,
    measures,
    per_clip,
    per_clip_of,
    save,
    summary,
)
from torch import nn
from torch.nn import functional as F
from vatt_real import Case, compared, tables
from vatt_sets import SETS, library_of

from seehear.errors import SeehearError, read_json
from seehear.evaluation.classify import Labelled, knn, linear_probe
from seehear.evaluation.retrieval import retrieval
from seehear.inputs.raw import load_raw
from seehear.methods.base import Method
from seehear.methods.mavil_config import SIDES
from seehear.nn.random import Randomness
from seehear.runs.features import clip_features, placed
from seehear.runs.run import build, train_run
from seehear.runs.scores import add_last_layer
from seehear.space import load_method
from seehear.studies.grid import Cell, cell_key, run_grid
from seehear.train.config import RunFolder
from seehear.train.files import write_text
from seehear.train.loop import fit
from seehear.types import Batch, Encoded, StepOutput, Tensor

FIRST = ("mavil", "diffmavil", "lean", "supervised")
CONTROLS = ("without diffusion", "fewer epochs", "constant 0.9", "reversed", "lean, more hidden")
HIDDEN = ("constant 0.8", "0.85 to 0.75", "equal cost")
THRIFT = ("lean, quarter", "lean, quarter 0.75", "lean, all")
BASES = ("mavil", "untrained")
EVERY = FIRST + CONTROLS + HIDDEN + THRIFT
ARMS_OF = {
    "grid-s1": FIRST + CONTROLS + HIDDEN + THRIFT,
    "digits": (*FIRST, "without diffusion", "constant 0.9", *HIDDEN, *THRIFT),
    "digits-196": ("mavil", "diffmavil", "lean", "constant 0.8", *THRIFT),
    "grid-s1-196": ("mavil", "diffmavil", "lean", "constant 0.8", *THRIFT),
}


class Supervised(Method):
    """Both towers learn to tell every label of a clip, each by a map of its own."""

    name = "supervised"
    reads_media = True

    def __init__(self, model: Method, truth_GL: Tensor, classes: Sequence[int]):
        """`truth_GL`: the labels of every group, a clip each; -1 is unknown."""
        super().__init__()
        self.config, self.spaces, self.model = model.config, {}, model
        self.register_buffer("truth", truth_GL)
        width = model.config.size.width
        self.maps = nn.ModuleDict({m: nn.ModuleList(nn.Linear(width, c) for c in classes) for m in SIDES})

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        features = {m: self.model.features(m, batch[m], rng=rng) for m in SIDES}
        return Encoded(features, {m: batch[f"has_{m}"] for m in SIDES}, {"group": batch["group"]})

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        truth_LB = self.truth[encoded.context["group"]].T
        losses = [
            F.cross_entropy(one(encoded.features[m]), truth_B, ignore_index=-1)
            for m in SIDES
            for one, truth_B in zip(self.maps[m], truth_LB, strict=True)
        ]
        return StepOutput(torch.stack(losses).sum())


def case(cell: Cell, work: Path, options: argparse.Namespace) -> Case:
    library, columns = library_of(source(cell), options.data, work)
    run = run_of(cell, work, options)
    run = run.method.scheduled(run)
    inputs = run.data.load(library, run.method)
    media = inputs.clips
    for part in torch.arange(len(media)).split(64):  # decoded once, before anything is measured
        media.batch(part)
    return Case(SETS[source(cell)], library, run, inputs, media, columns)


# -- one cell ----------------------------------------------------------------------------------------------------------


def measure(cell: Cell, work: Path, options: argparse.Namespace) -> dict[str, float]:
    """In percent, on test clips; ranks as they are."""
    here, folder = case(cell, work, options), work / "runs" / cell_key(cell)
    again = (folder / "config.json").exists()
    began, wall = time.process_time(), time.monotonic()
    if cell["model"] == "supervised":
        model, steps = supervised(here, folder, resume=again)
    else:
        steps = train_run(here.library, here.run, folder, resume=again).steps
        model = load_method(folder)[0]
    found = {"core seconds": time.process_time() - began, "seconds": time.monotonic() - wall, "steps": float(steps)}
    if cell["model"] != "supervised":
        found["operations of mavil's"] = operations(cell, work, options)
    found["parameters"] = float(sum(p.numel() for p in model.parameters()))
    before, after = untrained(cell, work, options), looked_at(here, model.eval(), cell, work, options)
    save(per_clip_of(cell, work), after)
    shutil.rmtree(folder)
    return found | numbers(before, after)


def untrained(cell: Cell, work: Path, options: argparse.Namespace) -> PerClip:
    """Of MAViL as training starts: once for all arms of a seed."""
    start: Cell = {**cell, "model": "mavil"}
    path = per_clip_of({**cell, "model": "untrained"}, work)
    if not path.exists():
        here = case(start, work, options)
        save(path, looked_at(here, build(here.inputs, here.run).eval(), start, work, options))
    return per_clip(path)


def looked_at(here: Case, model: Method, cell: Cell, work: Path, options: argparse.Namespace) -> PerClip:
    found = on_test(here, model)
    return found | elsewhere(here, model, work, options) if source(cell) == "grid-s1" else found


def numbers(before: PerClip, after: PerClip) -> dict[str, float]:
    found = {}
    for name in measures(after):
        found |= compared(name, before[name], after[name], float(after[name + CHANCE]), after[name + GROUPS])
        found[name + VAL] = round(100 * float(after[name + VAL]), 2)
    return found


def supervised(here: Case, folder: Path, *, resume: bool) -> tuple[Method, int]:
    """The towers of MAViL after as many epochs of telling labels."""
    model, media, run = build(here.inputs, here.run), here.media, here.run
    truth_GL = torch.full((int(media.groups.max()) + 1, len(here.own.labels)), -1)
    counts = []
    for n, label in enumerate(here.own.labels):
        kinds, number = np.unique([here.columns[i][label] for i in media.ids], return_inverse=True)
        truth_GL[media.groups, n] = torch.from_numpy(number)
        counts.append(len(kinds))
    with torch.random.fork_rng():
        torch.manual_seed(run.train.seed)
        method = Supervised(model, truth_GL, counts)
    result = fit(
        method, media.split("train"), config=run.train, optim=run.optim, folder=RunFolder(folder, resume=resume)
    )
    return model, result.steps


def on_test(here: Case, model: Method) -> PerClip:
    """Probes of both encoders and retrieval between them."""
    splits, found = ("train", "val", "test"), {}
    features = {s: clip_features(model, here.media.split(s)) for s in splits}
    groups = here.media.split("test").groups.numpy()
    for m in SIDES:
        for label in here.own.labels:
            truth = {s: here.column(label, s) for s in splits}
            own = {s: f[m] for s, f in features.items()}
            found |= probes(f"{m} {label}", own, truth, groups)
    last = model.last_layer
    model.last_layer = nn.ModuleDict()
    found |= retrieved(here, model, features, "")
    model.last_layer = last
    if not last:  # training alone adds one, and only where validation clips gain
        run = here.run
        add_last_layer(model, here.inputs, here.media.split("val"), run.method.pairs, seed=run.train.seed)
    return found | retrieved(here, model, features, LAST)


def retrieved(here: Case, model: Method, features: Mapping[str, Mapping[str, np.ndarray]], ending: str) -> PerClip:
    """Retrieval between pictures and sound."""
    groups, found = here.media.split("test").groups.numpy(), {}
    for query, gallery in permutations(SIDES):
        results = {}
        for split in ("val", "test"):
            belongs, z = here.column(here.own.belongs, split), placed(model, features[split], "joint")
            q, g = z[query], z[gallery]
            results[split] = retrieval(q.vectors, g.vectors, belongs[q.owner], belongs[g.owner])
            of = groups[q.owner[results[split].rows]] if split == "test" else None
        for k in ("R@1", "R@5", "R@10"):
            name, result = f"{query}->{gallery} {k}{ending}", results["test"]
            found |= {name: result.per_query[k], name + GROUPS: of, name + CHANCE: np.array(result.chance[k])}
            found[name + VAL] = results["val"].per_query[k].mean()
    return found


def probes(
    name: str, features: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], groups: np.ndarray
) -> PerClip:
    """Logistic regression and k nearest neighbours; chance is the commonest class of training."""
    parts = [Labelled(features[s].mean(axis=1), truth[s]) for s in ("train", "val", "test")]
    kinds, counts = np.unique(truth["train"], return_counts=True)
    chance = np.array((truth["test"] == kinds[counts.argmax()]).mean())
    told = {name: linear_probe(*parts), f"{name} k-NN": knn(*parts)}
    found: PerClip = {}
    for what, result in told.items():
        found |= {what: result.per_query["top1"], what + GROUPS: groups, what + CHANCE: chance}
        found[what + VAL] = np.array(result.chosen["validation_top1"])
    return found


def elsewhere(here: Case, model: Method, work: Path, options: argparse.Namespace) -> PerClip:
    """Kinds of ESC-10's sounds by the audio encoder: two windows of each."""
    library, columns = library_of("esc10", options.data, work)
    media = load_raw(library, replace(here.inputs.spec.raw, modalities=("audio",)), cache=here.run.data.cache)
    parts = {s: media.split(s) for s in ("train", "val", "test")}
    truth = {s: np.array([columns[i]["kind"] for i in part.ids]) for s, part in parts.items()}
    features = {s: clip_features(model, part, windows=2)["audio"] for s, part in parts.items()}
    return probes("esc10 kind", features, truth, parts["test"].groups.numpy())


# -- all cells ---------------------------------------------------------------------------------------------------------


def cells_of(options: argparse.Namespace) -> list[Cell]:
    """What matters most first: the first arms of all seeds, then the controls."""
    return [
        {"set": name, "model": arm, "seed": seed}
        for arms in (FIRST, CONTROLS, HIDDEN, THRIFT)
        for name in options.sets
        for seed in options.seeds
        for arm in arms
        if arm in options.arms and arm in ARMS_OF[name]
    ]


def take_over(
    known: Path, study: Path, cells: Sequence[Cell], about: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Finished cells of an earlier run, unless the study has them; its differences by base."""
    (study / "cells").mkdir(parents=True, exist_ok=True)
    plain = read_json(known, "it holds the cells of an earlier run")
    if any(plain.get(k) != v for k, v in about.items()):
        raise SeehearError(f"{known} was measured with other epochs: leave --known out")
    for values, cell in ((c["values"], {k: v for k, v in c.items() if k != "values"}) for c in plain["cells"]):
        path = study / "cells" / f"{cell_key(cell)}.json"
        if cell in cells and not path.exists():
            write_text(path, json.dumps({"cell": cell, "about": about, "values": values, "seconds": 0.0}))
    return {base: plain[f"minus {base}"] for base in BASES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEEHEAR_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--arms", nargs="+", choices=EVERY, default=EVERY)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--epochs", type=float, default=1.0, help="so many times the epochs: 36 of grid-s1, 6 of digits"
    )
    parser.add_argument("--smoke", action="store_true", help="a few clips, one epoch, one seed")
    parser.add_argument("--tables", action="store_true", help="train nothing: what there is")
    parser.add_argument("--known", type=Path, help="JSON of an earlier run: its cells are not measured again")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.seeds = options.seeds[:1] if options.smoke else options.seeds
    torch.set_num_threads(1)
    study, cells = options.work / "study", cells_of(options)
    about = {"epochs": options.epochs, "smoke": options.smoke}
    earlier = take_over(options.known, study, cells, about) if options.known else {base: [] for base in BASES}
    if options.tables:
        cells = [cell for cell in cells if (study / "cells" / f"{cell_key(cell)}.json").exists()]
    results = run_grid(study, cells, lambda cell: measure(cell, options.work, options), about=about, verbose=True)
    found = {base: against(base, results, options.work, known) for base, known in earlier.items()}
    shares = {(str(c["set"]), str(c["model"])): operations(c, options.work, options) for c in cells}
    lines = [*tables(results), *(line for base, own in found.items() for line in differences(base, own))]
    print("\n".join([*lines, *summary(results, shares)]))
    plain = [{**result.cell, "values": result.values} for result in results]
    write("mavil_real", {**about, "cells": plain, **{f"minus {base}": own for base, own in found.items()}}, options.out)


if __name__ == "__main__":
    main()
