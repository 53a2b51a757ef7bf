"""A closed form that never saw the clips it judges: CCA fitted on some groups, its shrinkage chosen on others, applied
to the rest; every clip is in the rest once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from seehear.errors import SeehearError
from seehear.evaluation.retrieval import retrieval
from seehear.inputs.latents import LatentData
from seehear.methods import linear, tuning
from seehear.nn.random import seed_of
from seehear.types import Float

_SHRINKAGES = (0.1, 1.0, 10.0)
_RANK = 128
_COMPONENTS = 256
_MOST = 5_000  # rows to fit on: plenty for a covariance of some hundred dimensions


@dataclass(frozen=True)
class HeldOut:
    """One fold through the map of the others."""

    rows: np.ndarray
    """Which rows they are."""
    x: Float[np.ndarray, "f e"]
    y: Float[np.ndarray, "f e"]


def cross_fitted(
    x_ND: np.ndarray, y_NE: np.ndarray, groups: np.ndarray, *, folds: int = 5, seed: int = 0
) -> Iterator[HeldOut]:
    """Whole groups are held out; with fewer than three groups there is nothing to fit, choose and judge with. Of each
    side the leading principal components of all rows are kept, which looks at no pairing: the rest costs far more time
    than it tells."""
    fold_N = folds_of(groups, folds=folds, seed=seed)
    x_ND, y_NE = leading(x_ND), leading(y_NE)
    for fold in range(int(fold_N.max()) + 1):
        rows = np.flatnonzero(fold_N == fold)
        validation = np.flatnonzero(fold_N == (fold + 1) % (fold_N.max() + 1))
        train = np.setdiff1d(np.arange(len(fold_N)), np.concatenate([rows, validation]))[:_MOST]
        fitted = linear.moments(_both(x_ND, y_NE, train))
        maps = tuning.tuned(fitted, _both(x_ND, y_NE, validation), shrinkages=_SHRINKAGES, ranks=(_RANK,))
        z = maps.embed(_both(x_ND, y_NE, rows))
        yield HeldOut(rows, z["x"].numpy(), z["y"].numpy())


def leading(x_ND: np.ndarray) -> Float[np.ndarray, "n e"]:
    """Rows with unit variance in every dimension, by at most 256 of their principal components."""
    x_ND = (x_ND - x_ND.mean(axis=0)).astype(np.float64)
    deviation_D = x_ND.std(axis=0)
    x_ND /= np.where(deviation_D > 0, deviation_D, 1.0)
    if min(x_ND.shape) <= _COMPONENTS:
        return x_ND
    axes_DD = np.linalg.eigh(x_ND.T @ x_ND)[1]
    return x_ND @ axes_DD[:, ::-1][:, :_COMPONENTS]


def folds_of(groups: np.ndarray, *, folds: int, seed: int) -> np.ndarray:
    """(N,) fold of each row: groups in a drawn order, dealt out one by one."""
    names, group_N = np.unique(np.asarray(groups), return_inverse=True)
    folds = min(folds, len(names))
    if folds < 3:
        raise SeehearError(f"cross-validation needs clips of three groups (recordings); there are {len(names)}")
    order = np.random.default_rng(seed_of(seed, "folds")).permutation(len(names))
    return (order % folds)[group_N]


def held_out_retrieval(x_ND: np.ndarray, y_NE: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """R@1, R@10 and MRR within each held-out fold, both directions, mean over all queries."""
    sums: dict[str, float] = {}
    for part in cross_fitted(x_ND, y_NE, groups):
        for query, gallery in ((part.x, part.y), (part.y, part.x)):
            metrics = retrieval(query, gallery, part.rows, part.rows).metrics
            for name in ("R@1", "R@10", "MRR"):
                sums[name] = sums.get(name, 0.0) + metrics[name] * len(part.rows)
    return {name: total / (2 * len(x_ND)) for name, total in sums.items()}


def agreement(data: LatentData, *, seed: int = 0) -> Float[np.ndarray, " n"]:
    """How well the modalities of each clip agree: the cosine of its two vectors under maps that other groups made, less
    its mean cosine with the other clips of its fold. Mean over pairs of modalities; NaN for a clip with one only."""
    found = np.full((len(list(combinations(data.modalities, 2))), len(data)), np.nan)
    for own_N, (p, q) in zip(found, combinations(data.modalities, 2), strict=True):
        rows = np.flatnonzero((data.has(p) & data.has(q)).numpy())
        if len(rows):
            x, y, groups = data.one_each(p)[rows], data.one_each(q)[rows], data.groups.numpy()[rows]
            for part in cross_fitted(x, y, groups, seed=seed):
                usual = (part.x @ part.y.mean(axis=0) + part.y @ part.x.mean(axis=0)) / 2
                own_N[rows[part.rows]] = np.vecdot(part.x, part.y) - usual
    known = np.isfinite(found)
    total = np.where(known, found, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / known.sum(axis=0).clip(min=1), np.nan)


def _both(x_ND: np.ndarray, y_NE: np.ndarray, rows: np.ndarray) -> dict[str, torch.Tensor]:
    return {"x": torch.from_numpy(x_ND[rows]), "y": torch.from_numpy(y_NE[rows])}
