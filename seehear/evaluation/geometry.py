"""Geometry of representations: the gap between modalities, hubs, similarity of two encoders, clusters against labels.

mutual k-NN    share of the k nearest neighbours of a row in x that are also its neighbours in y, mean over rows;
               k / (rows - 1) by chance                                                          (arXiv 2405.07987)
CKA            <K, L> / sqrt(<K, K> <L, L>) of the Gram matrices K = XX', L = YY' with the U-centred inner product:
               0 on average for unrelated representations, 1 for a rotation and a scale          (arXiv 2010.11775)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seehear.errors import require
from seehear.nn.unit import unit
from seehear.types import Float, Int

# Scores held at once.
BLOCK = 1 << 24


def modality_gap(x_NE: Float[np.ndarray, "n e"], y_NE: Float[np.ndarray, "n e"]) -> dict[str, float]:
    """Gap between two modalities, of unit vectors with matching rows. distance: between the mean vectors of the two, 0
    to 2. matched: mean cosine of matching pairs. unmatched: mean cosine of all other pairs."""
    x_NE, y_NE = np.asarray(x_NE, np.float64), np.asarray(y_NE, np.float64)
    if x_NE.shape != y_NE.shape or len(x_NE) < 2:
        raise ValueError(f"rows must belong together, two at least; got {x_NE.shape} and {y_NE.shape}")
    n = len(x_NE)
    matched = float(np.vecdot(x_NE, y_NE).mean())
    # The mean cosine over all n^2 pairs, without their matrix.
    every = float(x_NE.mean(axis=0) @ y_NE.mean(axis=0))
    distance = float(np.linalg.norm(x_NE.mean(axis=0) - y_NE.mean(axis=0)))
    # Without the n matching pairs among the n^2.
    return {"distance": distance, "matched": matched, "unmatched": (every * n - matched) / (n - 1)}


def hubness(
    query_QE: Float[np.ndarray, "q e"], gallery_GE: Float[np.ndarray, "g e"], *, k: int = 10
) -> dict[str, float]:
    """Hubness of a gallery among the first k of each query. skew: skewness of the number of queries whose first k hold
    an item, 0 where all items are equally popular. largest: share of queries whose first k hold the most popular item.
    orphans: share of items that are in no query's first k."""
    query_QE, gallery_GE = np.asarray(query_QE, np.float32), np.asarray(gallery_GE, np.float32)
    num_g = len(gallery_GE)
    k, times_G = min(k, num_g), np.zeros(num_g, np.int64)
    block = max(1, BLOCK // num_g)
    for at in range(0, len(query_QE), block):
        scores = query_QE[at : at + block] @ gallery_GE.T
        # A partition: which items are among the first k counts, not their order.
        times_G += np.bincount(np.argpartition(-scores, k - 1, axis=1)[:, :k].ravel(), minlength=num_g)
    away = times_G - times_G.mean()
    # All equally popular: the deviation is 0, and the skewness undefined.
    skew = float((away**3).mean() / times_G.std() ** 3) if away.any() else 0.0
    return {"skew": skew, "largest": float(times_G.max() / len(query_QE)), "orphans": float((times_G == 0).mean())}


def mutual_knn(
    x_ND: Float[np.ndarray, "n d"], y_NE: Float[np.ndarray, "n e"], *, k: int = 10, groups: np.ndarray | None = None
) -> float:
    """Mutual k-NN by cosine of centred rows, in [0, 1]. With `groups`, rows of one group (a recording) are not counted
    as neighbours: they are similar in every representation."""
    n = len(x_ND)
    if len(y_NE) != n or not 0 < k < n:
        raise ValueError(f"rows must belong together, more than k = {k}; got {n} and {len(y_NE)}")
    group_N = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    own_NN = group_N[:, None] == group_N[None, :]
    both_NN = ~own_NN
    for z in (x_ND, y_NE):
        # Centred: vectors with a large common part are all about equally near.
        centred = unit(np.asarray(z, np.float32) - np.asarray(z, np.float32).mean(axis=0))
        # Rows of one recording are near in any encoder, which says nothing of the two.
        similar_NN = np.where(own_NN, -np.inf, centred @ centred.T)
        near_NN = np.zeros((n, n), bool)
        np.put_along_axis(near_NN, np.argpartition(-similar_NN, k - 1, axis=1)[:, :k], True, axis=1)
        both_NN &= near_NN
    return float(both_NN.sum() / (n * k))


def cka(x_ND: Float[np.ndarray, "n d"], y_NE: Float[np.ndarray, "n e"]) -> float:
    """Linear CKA, unbiased; 0 where one of them is constant."""
    n = len(x_ND)
    if len(y_NE) != n or n < 4:
        raise ValueError(f"rows must belong together, four at least; got {n} and {len(y_NE)}")

    def u_centred(z_ND: np.ndarray) -> np.ndarray:
        """Gram matrix with zero diagonal, and rows and columns that sum to zero."""
        # With the diagonal kept, CKA goes to 1 for any data with fewer rows than dimensions, the usual case here.
        gram = z_ND @ z_ND.T
        np.fill_diagonal(gram, 0.0)
        rows = gram.sum(axis=0)
        gram += rows.sum() / ((n - 1) * (n - 2)) - (rows[:, None] + rows[None, :]) / (n - 2)
        np.fill_diagonal(gram, 0.0)
        return gram

    k_NN, l_NN = (u_centred(z - z.mean(axis=0)) for z in (np.asarray(x_ND, np.float64), np.asarray(y_NE, np.float64)))
    scale = np.sqrt((k_NN**2).sum() * (l_NN**2).sum())
    return float((k_NN * l_NN).sum() / scale) if scale > 0 else 0.0


def agreement(labels: Sequence[str], clusters: Int[np.ndarray, " n"]) -> dict[str, float]:
    """Agreement of clusters with labels that clustering did not use. NMI: mutual information over the mean of both
    entropies, 0 to 1. purity: share of items with the most frequent label of their cluster; it rises with the number of
    clusters."""
    if len(labels) != len(clusters):
        raise ValueError(f"a cluster a label: got {len(labels)} labels and {len(clusters)} clusters")
    metrics = require("sklearn.metrics.cluster")
    nmi = metrics.normalized_mutual_info_score(list(labels), clusters)
    # A row a label, a column a cluster.
    counts = metrics.contingency_matrix(list(labels), clusters)
    return {"NMI": float(nmi), "purity": float(counts.max(axis=0).sum() / len(labels))}
