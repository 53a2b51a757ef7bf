"""Correspondence of the modalities of held-out clips, without labels.

    AUC         probability that a clip's own other modality is nearer than that of a clip from another recording
    AUC within  the same against other clips of its own recording: other moments, same place and voices
    d'          distance of two unit normals with that AUC

It shows whether the modalities are aligned for such media, and not whether by content: a space that matches clips by
room, camera or speaker alone has a high AUC, and an AUC within at chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seehear.evaluation.embedded import Embedded
from seehear.evaluation.multilabel import d_prime

# Scores held at once.
_BLOCK = 1 << 24


@dataclass(frozen=True)
class Correspondence:
    metrics: dict[str, float]
    """AUC and d'; 'AUC within' where a recording has several clips."""
    rows: np.ndarray
    """(queries,) number of the query of each value of `per_query`."""
    per_query: dict[str, np.ndarray]
    """AUC; 'AUC within', NaN where the recording has no other clip."""


def correspondence(query: Embedded, gallery: Embedded, groups: np.ndarray) -> Correspondence:
    """`groups[owner]` is the recording of a clip. Ties count half; several own items (texts) are averaged."""
    groups = np.unique(np.asarray(groups), return_inverse=True)[1]
    gallery_group = groups[gallery.owner]
    rows = np.flatnonzero(np.isin(query.owner, gallery.owner))
    if len(rows) == 0 or len(set(gallery_group.tolist())) < 2:
        raise ValueError("correspondence needs clips with both modalities, of two recordings at least")
    across, within = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    block = max(1, _BLOCK // len(gallery.owner))
    for at in range(0, len(rows), block):
        some = rows[at : at + block]
        scores = query.vectors[some] @ gallery.vectors.T
        for i, (row, own_G) in enumerate(zip(some, scores, strict=True), start=at):
            clip = query.owner[row]
            mine, same = gallery.owner == clip, gallery_group == groups[clip]
            across[i] = _above(own_G[mine], own_G[~same])
            if (other := same & ~mine).any():
                within[i] = _above(own_G[mine], own_G[other])
    area = float(np.nanmean(across))
    metrics = {"AUC": area, "d'": d_prime(area)}
    if not np.isnan(within).all():
        metrics["AUC within"] = float(np.nanmean(within))
    return Correspondence(metrics, rows, {"AUC": across, "AUC within": within})


def _above(own: np.ndarray, others: np.ndarray) -> float:
    """Share of (own, other) pairs with own above other."""
    ordered = np.sort(others)
    below, not_above = np.searchsorted(ordered, own, side="left"), np.searchsorted(ordered, own, side="right")
    return float((below + not_above).mean() / 2 / len(others))
