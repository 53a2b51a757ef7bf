"""Measures of a row of the study of modalities, from the vectors of all clips in every space of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch

from seehear.evaluation.classify import Labelled, linear_probe
from seehear.evaluation.embedded import Embedded, fuse, smallest_space, within
from seehear.evaluation.geometry import agreement
from seehear.evaluation.retrieval import retrieval
from seehear.nn.kmeans import assign, kmeans, starting_points
from seehear.nn.random import seed_of
from seehear.nn.unit import unit
from seehear.types import Modality

Vectors = Mapping[str, Mapping[Modality, Embedded]]
"""By space, by modality; owners are row numbers of the clips."""
_METRICS = ("R@1", "R@5", "R@10", "median_rank")
_FUSED = "text->video+audio"


@dataclass(frozen=True)
class Answered:
    """Score of each query, or of each clip that a probe classified."""

    scores: np.ndarray
    """(Q,) float64."""
    clips: np.ndarray
    """(Q,) int64 numbers of their clips."""


@dataclass(frozen=True)
class Measured:
    values: dict[str, float]
    queries: dict[str, Answered]
    """Scores by measure, for measures that are means over queries."""


def measures(vectors: Vectors, splits: np.ndarray, labels: Sequence[str], *, seed: int) -> Measured:
    """Retrieval among the test clips and, with two labels or more ('' is none), probes of each modality and clusters.
    Fitted on train, chosen on val, measured on test."""
    found = Measured({}, {})
    inside = splits == "test"
    _retrieved(found, {space: within(own, inside) for space, own in vectors.items()}, np.flatnonzero(inside))
    if len({label for label in labels if label}) > 1:
        _probed(found, vectors, splits, labels)
        found.values.update(_clustered(vectors, splits, labels, seed))
    return found


def _retrieved(found: Measured, vectors: Vectors, clips: np.ndarray) -> None:
    """Adds every direction, in the smallest space that holds both, and text against video and audio together."""
    modalities = list(dict.fromkeys(m for own in vectors.values() for m in own))
    for query, gallery in permutations(modalities, 2):
        if space := smallest_space(vectors, query, gallery):
            _scores(found, f"{query}->{gallery}", vectors[space][query], vectors[space][gallery], clips)
    if {"video", "audio", "text"} <= set(modalities):
        _scores(found, _FUSED, *_fused(vectors), clips)


def _fused(vectors: Vectors) -> tuple[Embedded, Embedded]:
    """(text, video+audio): the mean direction in one space, or the sum of the cosines of two as one product."""
    if space := smallest_space(vectors, "video", "audio", "text"):
        return vectors[space]["text"], fuse([vectors[space]["video"], vectors[space]["audio"]])
    sides = [(m, smallest_space(vectors, m, "text")) for m in ("video", "audio")]
    pairs = [(vectors[space][m], vectors[space]["text"]) for m, space in sides if space]
    # Side by side, so that one inner product is the sum of two cosines.
    gallery, query = (np.concatenate([pair[i].vectors for pair in pairs], axis=1) for i in (0, 1))
    return Embedded(unit(query), pairs[0][1].owner), Embedded(unit(gallery), pairs[0][0].owner)


def _scores(found: Measured, name: str, query: Embedded, gallery: Embedded, clips: np.ndarray) -> None:
    result = retrieval(query.vectors, gallery.vectors, query.owner, gallery.owner)
    found.values.update({f"{name} {metric}": result.metrics[metric] for metric in _METRICS})
    found.queries[f"{name} R@10"] = Answered(result.per_query["R@10"], clips[query.owner[result.rows]])


def _probed(found: Measured, vectors: Vectors, splits: np.ndarray, labels: Sequence[str]) -> None:
    """Adds logistic regression on the vectors of video and of audio, in the smallest space that holds each."""
    for m in ("video", "audio"):
        if (space := smallest_space(vectors, m)) is None:
            continue
        own = vectors[space][m].one_each()
        # A clip without a label is neither right nor wrong.
        known = np.array([bool(labels[c]) for c in own.owner])
        rows = {split: np.flatnonzero((splits[own.owner] == split) & known) for split in ("train", "val", "test")}
        if all(len(some) for some in rows.values()):
            parts = [Labelled(own.vectors[some], [labels[c] for c in own.owner[some]]) for some in rows.values()]
            # Chosen on validation clips, as for every probe here.
            result = linear_probe(*parts)
            found.values[f"{m} probe"] = result.metrics["top1"]
            found.queries[f"{m} probe"] = Answered(result.per_query["top1"], own.owner[rows["test"]])


def _clustered(vectors: Vectors, splits: np.ndarray, labels: Sequence[str], seed: int) -> dict[str, float]:
    """Agreement of labels and clusters of the test clips: k-means on the training clips' fused vectors, k labels."""
    # The space with the most modalities.
    space = max(vectors, key=lambda name: len(vectors[name]))
    fused = fuse(list(vectors[space].values()))
    known = np.array([bool(labels[c]) for c in fused.owner])
    train = torch.from_numpy(fused.vectors[splits[fused.owner] == "train"])
    test = np.flatnonzero((splits[fused.owner] == "test") & known)
    kinds = len({label for label in labels if label})
    # Fewer clips than clusters have no k-means.
    if len(train) < kinds or not len(test):
        return {}
    # By the seed of the cell: its starting points vary with the rest of it.
    generator = torch.Generator().manual_seed(seed_of(seed, "clusters of the study"))
    centroids_KE = kmeans(train, starting_points(train, kinds, generator)).centroids_KE
    cluster = assign(torch.from_numpy(fused.vectors[test]), centroids_KE).numpy()
    found = agreement([labels[c] for c in fused.owner[test]], cluster)
    return {f"clusters {name}": value for name, value in found.items()}
