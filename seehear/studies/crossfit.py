"""Cross-fitted CCA: fitted on some groups, its shrinkage chosen on others, applied to a held-out fold. Every clip is
held out once, so the map never saw the clips that it judges."""

from __future__ import annotations

from collections.abc import Iterator
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
