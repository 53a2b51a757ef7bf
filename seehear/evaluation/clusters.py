"""How well clusters agree with labels that clustering never saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seehear.errors import require
from seehear.types import Int


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
