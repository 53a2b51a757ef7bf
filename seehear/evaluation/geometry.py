"""The shape of a shared space: how far its modalities lie apart, and whether a few items are everybody's neighbour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seehear.types import Float

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
