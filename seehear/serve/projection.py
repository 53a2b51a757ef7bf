"""The map: every clip at the mean of its vectors, brought to two dimensions, with clusters that have names."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from seehear.errors import require
from seehear.library.tables import Clip, Library, in_batches, one_of
from seehear.nn.unit import unit
from seehear.serve.naming import group_names

MOST = {"pca": 20_000, "tsne": 4_000}
"""Most clips to draw; of more, a sample is chosen by a hash of their names."""
_GROUPS = 11  # that have a colour of their own
_REDUCED = 50  # dimensions that clusters and t-SNE are computed in
_ALIKE = 1e-5  # between unit vectors in half precision
_OTHER, _NONE = "others", "none"


def clip_vectors(library: Library, name: str, most: int, where: str | None = None) -> tuple[list[str], np.ndarray]:
    """(ids, (N, E) mean unit vector of each clip) of the rows that an SQL condition keeps."""
    table = library.vectors("vectors", name)
    every = max(1, math.ceil(library.count_clips() / most))
    sums: dict[str, np.ndarray] = {}
    for part in table.scan(where):
        for clip, vector_E in zip(part.ids, unit(part.vectors), strict=True):
            if not np.isfinite(vector_E).all():
                continue
            if every == 1 or zlib.crc32(clip.encode()) % every == 0:
                sums[clip] = sums[clip] + vector_E if clip in sums else vector_E
    ids = sorted(sums)
    return ids, unit(np.stack([sums[i] for i in ids])) if ids else np.zeros((0, table.width), np.float32)


def project(vectors_NE: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """((N, 2) in [0, 1], (N,) the cluster). `how`: pca or tsne."""
    centred = vectors_NE - vectors_NE.mean(axis=0)
    if np.abs(centred).max() < _ALIKE:  # neither t-SNE nor k-means has anything to go by
        return np.full((len(vectors_NE), 2), 0.5), np.zeros(len(vectors_NE), np.int64)
    directions_EE = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    reduced = centred @ directions_EE[:, :_REDUCED]
    num = len(reduced)
    clusters = int(np.clip(round(math.sqrt(num / 20)), 1, 12))
    kmeans = require("sklearn.cluster").KMeans(clusters, n_init=4, random_state=0)
    xy = reduced[:, :2]
    if how == "tsne" and num > 8:
        perplexity = min(30.0, (num - 1) / 3)
        xy = require("sklearn.manifold").TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(reduced)
    low, high = xy.min(axis=0), xy.max(axis=0)
    return (xy - low) / np.maximum(high - low, 1e-9), kmeans.fit_predict(reduced)


def clips_in_order(library: Library, ids: Sequence[str]) -> list[Clip | None]:
    found: dict[str, Clip] = {}
    for some in in_batches(ids, 1000):
        found |= {c.id: c for c in library.clips(one_of("id", some))}
    return [found.get(i) for i in ids]


def draw(
    ids: Sequence[str],
    clips: Sequence[Clip | None],
    xy_N2: np.ndarray,
    cluster_N: np.ndarray,
    found: dict[int, list[str]] | None = None,
) -> dict[str, Any]:
    """Fields of `MapView`: coordinates, and for each colouring the names of its groups and the group of each clip.
    `found`: names of things seen or heard in a cluster."""
    here = [n for n, clip in enumerate(clips) if clip is not None]
    own = [clip for clip in clips if clip is not None]
    clusters = cluster_N[here]
    names = group_names(own, clusters, found)
    colours = {
        "label": [clip.labels[0] if clip.labels else _NONE for clip in own],
        "cluster": [names[c] for c in clusters],
        "source": _folders([clip.source for clip in own]),
        "kind": [_kind(clip) for clip in own],
        "split": [clip.split for clip in own],
    }
    return {
        "note": _note(xy_N2[here]),
        "ids": [ids[n] for n in here],
        "x": [round(float(x), 4) for x in xy_N2[here, 0]],
        "y": [round(float(y), 4) for y in xy_N2[here, 1]],
        "colours": {name: _grouped(values) for name, values in colours.items()},
    }


def _note(xy_N2: np.ndarray) -> str:
    """Why the map is empty or a single point; '' otherwise."""
    if not len(xy_N2):
        return "No clip is indexed yet, so there is nothing to draw"
    if len(xy_N2) == 1:
        return "There is one clip: a map needs others to compare it with"
    if not (xy_N2 != xy_N2[0]).any():
        return "All clips are alike here, so they lie on one point"
    return ""


def _grouped(values: Sequence[str]) -> dict[str, Any]:
    """The largest groups first, the rest together; 'none' last."""
    counted = Counter(v for v in values if v != _NONE)
    names = [name for name, _ in counted.most_common(_GROUPS if len(counted) > _GROUPS + 1 else _GROUPS + 1)]
    names += [_OTHER] if len(counted) > len(names) else []
    names += [_NONE] if _NONE in values else []
    place = {name: n for n, name in enumerate(names)}
    return {"names": names, "of": [place.get(v, place.get(_OTHER, 0)) for v in values]}


def _folders(sources: Sequence[str]) -> list[str]:
    """The first folder of each path that tells some apart."""
    parts = [source.split("/")[:-1] for source in sources]
    depth = next((d for d in range(3) if len({tuple(p[: d + 1]) for p in parts}) > 1), 0)
    return [
        "/".join(p[: depth + 1]) or ("top folder" if s else "text alone") for p, s in zip(parts, sources, strict=True)
    ]


def _kind(clip: Clip) -> str:
    if clip.has_video and clip.has_audio:
        return "seen and heard"
    return "seen" if clip.has_video else "heard" if clip.has_audio else "said"
