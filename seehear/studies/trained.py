"""Training and evaluation of one cell of a study."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seehear.encoders.registry import pick_device
from seehear.errors import SeehearError, check_range, unknown
from seehear.evaluation.embedded import Embedder, embed_latents
from seehear.evaluation.retrieval import retrieval
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.tables import LibraryTables
from seehear.methods import linear, tuning
from seehear.methods.base import Method
from seehear.nn.random import seed_of
from seehear.recipes import fusemix
from seehear.runs.config import LatentInputs, Run
from seehear.runs.evaluate import data_revision
from seehear.runs.run import finish
from seehear.runs.scores import directions
from seehear.space import load_method
from seehear.train.files import version
from seehear.types import Float, Modality

MODELS: dict[str, str] = {
    "closed": "the closed form that is best on validation (CCA or ridge): seconds",
    "linear": "fusemix.base with its linear head alone: a minute for a thousand pairs",
    "base": "fusemix.base",
}
MEASURES = ("R@1", "R@10", "MRR")


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Options of every study that trains on latents."""

    encoders: tuple[str, ...] = ()
    """Names of encoders; all that the library has latents of when not given."""
    model: str = "linear"
    """Model to train: closed, linear or base."""
    seeds: int = 3
    """Number of runs of each setting, each with its own seed."""
    redo: bool = False
    """Measure again what the folder holds of other data or options."""

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "seeds")
        if self.model not in MODELS:
            raise unknown("model", self.model, MODELS)


def check_held_out(data: LatentData) -> None:
    """Raises `SeehearError` if a split is too small to measure any cell: called before the first is trained."""
    # A clip with one modality alone teaches nothing, and measures nothing.
    paired = np.sum([data.has(m).numpy() for m in data.modalities], axis=0) > 1
    counts = {split: int((paired & (data.splits == split)).sum()) for split in ("train", "val", "test")}
    if min(counts.values()) < 2:
        sizes = ", ".join(f"{split} has {n:,}" for split, n in counts.items())
        raise SeehearError(
            f"a study needs two clips with latents of two modalities in every split; {sizes}: encode more recordings "
            "that have pictures with sound or texts"
        )


def measured(data: LatentData, model: str, *, seed: int, folder: Path) -> dict[str, float]:
    """R@1, R@10 and MRR on test, and on val as 'validation R@1': means over ordered pairs of modalities, of a model
    trained on train. `folder` holds the run until it is done, so that it resumes after a stop."""
    embedder = trained(data, model, seed=seed, folder=folder)
    validation = held_out(embedder, data.split("val"))
    return {**held_out(embedder, data.split("test")), **{f"validation {name}": v for name, v in validation.items()}}


def trained(data: LatentData, model: str, *, seed: int, folder: Path) -> Embedder:
    run = fusemix.base()
    # No seed: the closed form is the same in every run.
    if model == "closed":
        return fusemix.start_of(run.method, data)
    method = replace(run.method, head="linear") if model == "linear" else run.method
    run = replace(run, method=method, train=replace(run.train, seed=seed))
    trained_method = finished(LatentInputs(data), run, folder)
    # Only the numbers are kept: a study trains hundreds of models.
    remove_run(folder)
    return trained_method


def remove_run(folder: Path) -> None:
    """Removes a run's folder; a kill at any moment leaves either a whole run or none."""
    # Renamed first: a kill inside `rmtree` would leave a folder that is neither a run nor empty.
    deleted = folder.with_name(f".{folder.name}.gone")
    shutil.rmtree(deleted, ignore_errors=True)
    folder.replace(deleted)
    shutil.rmtree(deleted)


def finished(inputs: LatentInputs, run: Run[Any, Any], folder: Path) -> Method:
    """The run's model, trained now or resumed from the folder's checkpoint."""
    finish(inputs, run, folder)
    # Not SharedSpace: latents from memory may name no encoders.
    method, _, _ = load_method(folder)
    return method.eval().requires_grad_(False).to(pick_device("auto"))


def held_out(model: Embedder, data: LatentData) -> dict[str, float]:
    """R@1, R@10 and MRR: means over ordered pairs of the modalities in `data`."""
    spaces = {"joint": embed_latents(model, data)}
    metrics = [retrieval(q.vectors, g.vectors, q.owner, g.owner).metrics for _, _, q, g in directions(spaces, spaces)]
    if not metrics:
        raise SeehearError("no held-out clip has two modalities: there is nothing to measure on")
    return {name: float(np.mean([m[name] for m in metrics])) for name in MEASURES}


def latents_of(library: LibraryTables, encoders: Sequence[str]) -> LatentData:
    """The library's latents, of the encoders with these names or of all."""
    kinds = {name: info["modality"] for name, info in library.encoders().items()}
    chosen: dict[Modality, list[str]] = {}
    for name in encoders:
        if name not in kinds:
            raise unknown("encoder of this library", name, kinds)
        chosen.setdefault(kinds[name], []).append(name)
    return load_latents(library, encoders=chosen)


def training_part(data: LatentData, rows: np.ndarray) -> LatentData:
    """The data with only these training clips and all held-out clips."""
    keep = data.splits != "train"
    keep[rows] = True
    return data.take(keep)


def training_rows(data: LatentData) -> np.ndarray:
    """Row numbers of the training clips with two modalities or more: the clips that a model learns from."""
    count = np.sum([data.has(m).numpy() for m in data.modalities], axis=0)
    return np.flatnonzero((data.splits == "train") & (count > 1))


def only(data: LatentData, encoders: Mapping[Modality, str]) -> LatentData:
    """The data with one encoder, by name, of each of these modalities."""
    rows = {}
    for m, name in encoders.items():
        own = data.rows[m]
        place = [info["name"] for info in own.encoders].index(name)
        start = sum(own.widths[:place])
        part = own.vectors[:, start : start + own.widths[place]]
        rows[m] = replace(own, vectors=part.contiguous(), encoders=(own.encoders[place],))
    return LatentData(rows, ids=data.ids, splits=data.splits, groups=data.groups)


def about_data(data: LatentData) -> dict[str, Any]:
    """Facts that the numbers of every study depend on: data, splits, encoders, version."""
    counts = {name: int((data.splits == name).sum()) for name in ("train", "val", "test")}
    # A hash: another split of the same clips gives other numbers.
    splits = seed_of("\n".join([*data.splits.tolist(), *map(str, data.groups.tolist())]))
    return {
        "data": {"revision": data_revision(data), "splits and groups": f"{splits:016x}", **counts},
        "encoders": {m: [e["name"] for e in infos] for m, infos in data.encoders.items()},
        "seehear": version(),
    }


# ----------------------------------------------------------------------------------------------------------------------
# Cross-fitted CCA: fitted on some groups, its shrinkage chosen on others, applied to a held-out fold. Every clip is
# held out once, so the map never saw the clips that it judges.

_SHRINKAGES = (0.1, 1.0, 10.0)
_FOLDS = 5
_RANK = 128
_COMPONENTS = 256
# Rows of a fit: enough for a covariance of a few hundred dimensions.
_MOST = 5_000


def cross_fitted(
    x_ND: np.ndarray, y_NE: np.ndarray, groups: np.ndarray, *, seed: int = 0
) -> Iterator[tuple[np.ndarray, Float[np.ndarray, "f e"], Float[np.ndarray, "f e"]]]:
    """Yields (row numbers, x, y) of each fold, embedded by a map fitted on the others. Whole groups are held out; at
    least three are needed: to fit, to choose, to judge."""
    fold_N = folds_of(groups, folds=_FOLDS, seed=seed)
    # Principal components of all rows use no pairing, so held-out rows may take part. Trailing ones cost more than they
    # contribute.
    x_ND, y_NE = _leading(x_ND), _leading(y_NE)
    for fold in range(int(fold_N.max()) + 1):
        rows = np.flatnonzero(fold_N == fold)
        # The next fold chooses the shrinkage, so that every fold is used once for each.
        validation = np.flatnonzero(fold_N == (fold + 1) % (fold_N.max() + 1))
        train = np.setdiff1d(np.arange(len(fold_N)), np.concatenate([rows, validation]))[:_MOST]
        fitted = linear.moments(_both(x_ND, y_NE, train))
        held_out = tuning.TuningFold(fitted, _both(x_ND, y_NE, validation))
        maps = tuning.tuned(fitted, [held_out], shrinkages=_SHRINKAGES, ranks=(_RANK,))
        z = maps.embed(_both(x_ND, y_NE, rows))
        yield rows, z["x"].numpy(), z["y"].numpy()


def _leading(x_ND: np.ndarray) -> Float[np.ndarray, "n e"]:
    """Rows standardised in every dimension, projected to at most 256 principal components."""
    x_ND = (x_ND - x_ND.mean(axis=0)).astype(np.float64)
    deviation_D = x_ND.std(axis=0)
    # A constant dimension stays zero.
    x_ND /= np.where(deviation_D > 0, deviation_D, 1.0)
    if min(x_ND.shape) <= _COMPONENTS:
        return x_ND
    axes_DD = np.linalg.eigh(x_ND.T @ x_ND)[1]
    return x_ND @ axes_DD[:, ::-1][:, :_COMPONENTS]


def folds_of(groups: np.ndarray, *, folds: int, seed: int) -> np.ndarray:
    """(N,) fold of each row: groups in random order, assigned in turn."""
    names, group_N = np.unique(np.asarray(groups), return_inverse=True)
    folds = min(folds, len(names))
    if folds < 3:
        raise SeehearError(f"cross-validation needs clips of three groups (recordings); there are {len(names)}")
    order = np.random.default_rng(seed_of(seed, "folds")).permutation(len(names))
    return (order % folds)[group_N]


def held_out_retrieval(x_ND: np.ndarray, y_NE: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """R@1, R@10 and MRR within each held-out fold, both directions, mean over all queries."""
    sums: dict[str, float] = {}
    for rows, *both in cross_fitted(x_ND, y_NE, groups):
        for query, gallery in (both, both[::-1]):
            metrics = retrieval(query, gallery, rows, rows).metrics
            for name in ("R@1", "R@10", "MRR"):
                sums[name] = sums.get(name, 0.0) + metrics[name] * len(rows)
    return {name: total / (2 * len(x_ND)) for name, total in sums.items()}


def agreement(data: LatentData, *, seed: int = 0) -> Float[np.ndarray, " n"]:
    """(N,) agreement of the modalities of each clip: the cosine of its two vectors under cross-fitted maps, minus its
    mean cosine with the clips of its fold. Mean over pairs of modalities; NaN for a clip with only one."""
    pairs = list(combinations(data.modalities, 2))
    scores = np.full((len(pairs), len(data)), np.nan)
    for own_N, (p, q) in zip(scores, pairs, strict=True):
        rows = np.flatnonzero((data.has(p) & data.has(q)).numpy())
        if len(rows):
            x, y, groups = data.one_each(p)[rows], data.one_each(q)[rows], data.groups.numpy()[rows]
            for fold, x_FE, y_FE in cross_fitted(x, y, groups, seed=seed):
                # Some clips are near to everything: that is popularity, not agreement.
                usual = (x_FE @ y_FE.mean(axis=0) + y_FE @ x_FE.mean(axis=0)) / 2
                own_N[rows[fold]] = np.vecdot(x_FE, y_FE) - usual
    known = np.isfinite(scores)
    # nanmean warns about clips without any pair.
    total = np.where(known, scores, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / known.sum(axis=0).clip(min=1), np.nan)


def _both(x_ND: np.ndarray, y_NE: np.ndarray, rows: np.ndarray) -> dict[str, torch.Tensor]:
    return {"x": torch.from_numpy(x_ND[rows]), "y": torch.from_numpy(y_NE[rows])}
