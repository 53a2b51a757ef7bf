"""Training and measures of a cell of a study."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from seehear.encoders.registry import pick_device
from seehear.errors import SeehearError, unknown
from seehear.evaluation.embedded import Embedder, embed_latents
from seehear.evaluation.retrieval import retrieval
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.tables import Library
from seehear.methods.base import Method
from seehear.nn.random import seed_of
from seehear.recipes import fusemix
from seehear.runs.config import Run
from seehear.runs.data import LatentInputs
from seehear.runs.evaluate import data_revision
from seehear.runs.run import finish
from seehear.space import load_method
from seehear.train.files import version
from seehear.types import Modality

MODELS: dict[str, str] = {
    "closed": "the closed form that is best on validation (CCA or ridge): seconds",
    "linear": "fusemix.base with its linear head alone: a minute for a thousand pairs",
    "base": "fusemix.base",
}
MEASURES = ("R@1", "R@10", "MRR")


def check_model(model: str) -> None:
    """Raises `SeehearError` for a model that no study trains."""
    if model not in MODELS:
        raise unknown("model", model, MODELS)


def check_held_out(data: LatentData) -> None:
    """Raises `SeehearError` where no cell could be measured: before the first is trained."""
    have = np.sum([data.has(m).numpy() for m in data.modalities], axis=0) > 1
    counts = {split: int((have & (data.splits == split)).sum()) for split in ("train", "val", "test")}
    if min(counts.values()) < 2:
        there = ", ".join(f"{split} has {n:,}" for split, n in counts.items())
        raise SeehearError(
            f"a study needs two clips with latents of two modalities in every split; {there}: encode more recordings "
            "of which the clips have picture and sound, or words"
        )


def measured(data: LatentData, model: str, *, seed: int, folder: Path) -> dict[str, float]:
    """Train on the split train, choose on val, and say what val and test then are: the mean of R@1, R@10 and MRR over
    ordered pairs of modalities. `folder` holds the run while it trains, to go on with after a stop, and then goes."""
    found = trained(data, model, seed=seed, folder=folder)
    validation = held_out(found, data.split("val"))
    return {**held_out(found, data.split("test")), **{f"validation {name}": v for name, v in validation.items()}}


def trained(data: LatentData, model: str, *, seed: int, folder: Path) -> Embedder:
    check_model(model)
    run = fusemix.base()
    if model == "closed":
        return fusemix.start_of(run.method, data)
    method = replace(run.method, head="linear") if model == "linear" else run.method
    run = replace(run, method=method, train=replace(run.train, seed=seed))
    method_of_run = finished(LatentInputs(data), run, folder)
    remove_run(folder)
    return method_of_run


def remove_run(folder: Path) -> None:
    """Renamed first: a kill inside `rmtree` would leave a folder that is neither a run nor empty."""
    gone = folder.with_name(f".{folder.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    folder.replace(gone)
    shutil.rmtree(gone)


def finished(inputs: LatentInputs, run: Run[Any, Any], folder: Path) -> Method:
    """The run's model, trained now, or from where the folder's run was stopped."""
    finish(inputs, run, folder)
    method, _, _ = load_method(folder)  # latents that were not made by encoders have no names of them
    return method.eval().requires_grad_(False).to(pick_device("auto"))


def held_out(model: Embedder, data: LatentData) -> dict[str, float]:
    """R@1, R@10 and MRR, the mean over ordered pairs of modalities that clips of `data` have."""
    embedded = embed_latents(model, data)
    found = []
    for pair in combinations(embedded, 2):
        for query, gallery in (pair, pair[::-1]):
            q, g = embedded[query], embedded[gallery]
            if np.intersect1d(q.owner, g.owner).size:
                found.append(retrieval(q.vectors, g.vectors, q.owner, g.owner).metrics)
    if not found:
        raise SeehearError("no held-out clip has two modalities: there is nothing to measure on")
    return {name: float(np.mean([metrics[name] for metrics in found])) for name in MEASURES}


def latents_of(library: Library, encoders: Sequence[str]) -> LatentData:
    """The latents of some encoders by name, whatever their modality, or of all there are."""
    kinds = {name: info["modality"] for name, info in library.encoders().items()}
    chosen: dict[Modality, list[str]] = {}
    for name in encoders:
        if name not in kinds:
            raise unknown("encoder of this library", name, kinds)
        chosen.setdefault(kinds[name], []).append(name)
    return load_latents(library, encoders=chosen)


def training_part(data: LatentData, rows: np.ndarray) -> LatentData:
    """The data with only these training clips; the other splits are unchanged."""
    keep = data.splits != "train"
    keep[rows] = True
    return data.take(keep)


def training_rows(data: LatentData) -> np.ndarray:
    """Numbers of the training clips that have two modalities: those that a model learns from."""
    have = np.sum([data.has(m).numpy() for m in data.modalities], axis=0)
    return np.flatnonzero((data.splits == "train") & (have > 1))


def only(data: LatentData, encoders: Mapping[Modality, int]) -> LatentData:
    """The data with one encoder of each of these modalities, by its position among those side by side."""
    rows = {}
    for m, place in encoders.items():
        start = sum(data.rows[m].widths[:place])
        part = data.rows[m].vectors[:, start : start + data.rows[m].widths[place]]
        rows[m] = replace(data.rows[m], vectors=part.contiguous(), encoders=(data.rows[m].encoders[place],))
    return LatentData(rows, ids=data.ids, splits=data.splits, groups=data.groups)


def about_data(data: LatentData) -> dict[str, Any]:
    """Facts that the numbers of every study depend on."""
    counts = {name: int((data.splits == name).sum()) for name in ("train", "val", "test")}
    splits = seed_of("\n".join([*data.splits.tolist(), *map(str, data.groups.tolist())]))
    return {
        "data": {"revision": data_revision(data), "splits and groups": f"{splits:016x}", **counts},
        "encoders": {m: [e["name"] for e in infos] for m, infos in data.encoders.items()},
        "seehear": version(),
    }
