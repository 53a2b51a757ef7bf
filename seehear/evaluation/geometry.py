"""The shape of a shared space: how far its modalities lie apart, and whether a few items are everybody's neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seehear.errors import require
from seehear.nn.unit import unit
from seehear.types import Float, Int

_BLOCK = 1 << 24  # scores held at once


@dataclass(frozen=True)
class Gap:
    distance: float
    """Between the mean unit vectors of the two modalities: 0 where they mix, 2 at most."""
    matched: float
    """Mean cosine of pairs that belong together."""
    unmatched: float
    """Mean cosine of pairs that do not."""


@dataclass(frozen=True)
class Hubness:
    skew: float
    """Skewness of how often each gallery item is among the first k of a query: 0 where all are as popular."""
    largest: float
    """Share of the queries whose first k hold the most popular item."""
    orphans: float
    """Share of the gallery that is in no query's first k."""


def modality_gap(x_NE: Float[np.ndarray, "n e"], y_NE: Float[np.ndarray, "n e"]) -> Gap:
    """Of unit vectors whose rows belong together."""
    x_NE, y_NE = np.asarray(x_NE, np.float64), np.asarray(y_NE, np.float64)
    if x_NE.shape != y_NE.shape or len(x_NE) < 2:
        raise ValueError(f"rows must belong together, two at least; got {x_NE.shape} and {y_NE.shape}")
    n = len(x_NE)
    matched = float(np.vecdot(x_NE, y_NE).mean())
    every = float(x_NE.mean(axis=0) @ y_NE.mean(axis=0))  # the mean over all n^2 pairs
    distance = float(np.linalg.norm(x_NE.mean(axis=0) - y_NE.mean(axis=0)))
    return Gap(distance, matched, (every * n - matched) / (n - 1))


def hubness(query_QE: Float[np.ndarray, "q e"], gallery_GE: Float[np.ndarray, "g e"], *, k: int = 10) -> Hubness:
    query_QE, gallery_GE = np.asarray(query_QE, np.float32), np.asarray(gallery_GE, np.float32)
    num_g = len(gallery_GE)
    k, times_G = min(k, num_g), np.zeros(num_g, np.int64)
    block = max(1, _BLOCK // num_g)
    for at in range(0, len(query_QE), block):
        scores = query_QE[at : at + block] @ gallery_GE.T
        times_G += np.bincount(np.argpartition(-scores, k - 1, axis=1)[:, :k].ravel(), minlength=num_g)
    away = times_G - times_G.mean()
    skew = float((away**3).mean() / times_G.std() ** 3) if away.any() else 0.0
    return Hubness(skew, float(times_G.max() / len(query_QE)), float((times_G == 0).mean()))


# ----------------------------------------------------------------------------------------------------------------------
# How alike are two representations of the same things, before anything is trained to join them?
#
#     mutual k-NN    share of the k nearest neighbours of a row in x that are also its neighbours in y, mean over rows;
# chance is k / (rows - 1)                                                          (arXiv 2405.07987) CKA
# <K, L> / sqrt(<K, K> <L, L>) of the Gram matrices K = XX', L = YY', with the U-centred inner product: 0 on average
# for unrelated representations, 1 for a rotation and a scale          (arXiv 2010.11775)
#
# The plain CKA (Gram matrices centred, diagonal kept) goes to 1 for any data with fewer rows than dimensions, which is
# the usual case here; leaving out the diagonal removes that bias.


def mutual_knn(
    x_ND: Float[np.ndarray, "n d"], y_NE: Float[np.ndarray, "n e"], *, k: int = 10, groups: np.ndarray | None = None
) -> float:
    """By cosine, the means taken out. With `groups`, rows of one group (a recording) are no neighbours of each other:
    they are alike in every representation."""
    n = len(x_ND)
    if len(y_NE) != n or not 0 < k < n:
        raise ValueError(f"rows must belong together, more than k = {k}; got {n} and {len(y_NE)}")
    group_N = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    own_NN = group_N[:, None] == group_N[None, :]
    near = [_neighbours(np.asarray(z, np.float32), own_NN, k) for z in (x_ND, y_NE)]
    return float((near[0] & near[1]).sum() / (n * k))


def cka(x_ND: Float[np.ndarray, "n d"], y_NE: Float[np.ndarray, "n e"]) -> float:
    """Linear, unbiased. 0 where one of them does not vary."""
    n = len(x_ND)
    if len(y_NE) != n or n < 4:
        raise ValueError(f"rows must belong together, four at least; got {n} and {len(y_NE)}")
    k_NN, l_NN = (_u_centred(np.asarray(z, np.float64)) for z in (x_ND, y_NE))
    scale = np.sqrt((k_NN**2).sum() * (l_NN**2).sum())
    return float((k_NN * l_NN).sum() / scale) if scale > 0 else 0.0


def _neighbours(z_ND: np.ndarray, own_NN: np.ndarray, k: int) -> np.ndarray:
    """(N, N) bool: the k nearest of each row."""
    z_ND = unit(z_ND - z_ND.mean(axis=0))
    similar = z_ND @ z_ND.T
    similar[own_NN] = -np.inf
    near = np.zeros(own_NN.shape, bool)
    np.put_along_axis(near, np.argpartition(-similar, k - 1, axis=1)[:, :k], True, axis=1)
    return near & ~own_NN


def _u_centred(z_ND: np.ndarray) -> np.ndarray:
    """The Gram matrix with zero diagonal, and rows and columns that sum to zero."""
    z_ND = z_ND - z_ND.mean(axis=0)
    gram, n = z_ND @ z_ND.T, len(z_ND)
    np.fill_diagonal(gram, 0.0)
    rows = gram.sum(axis=0)
    gram += rows.sum() / ((n - 1) * (n - 2)) - (rows[:, None] + rows[None, :]) / (n - 2)
    np.fill_diagonal(gram, 0.0)
    return gram


# ----------------------------------------------------------------------------------------------------------------------
# How well clusters agree with labels that clustering never saw.


def agreement(labels: Sequence[str], clusters: Int[np.ndarray, " n"]) -> dict[str, float]:
    """NMI: mutual information over the mean of both entropies, 0 to 1. purity: share of items whose label is the
    commonest of their cluster; it rises with the number of clusters, to 1 where every item has its own."""
    if len(labels) != len(clusters):
        raise ValueError(f"a cluster a label: got {len(labels)} labels and {len(clusters)} clusters")
    nmi = require("sklearn.metrics").normalized_mutual_info_score(list(labels), clusters)
    _, label = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    counts = np.zeros((cluster.max() + 1, label.max() + 1), np.int64)
    np.add.at(counts, (cluster, label), 1)
    return {"NMI": float(nmi), "purity": float(counts.max(axis=1).sum() / len(labels))}
