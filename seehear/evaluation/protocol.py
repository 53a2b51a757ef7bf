"""From embeddings to a report: every ordered pair of modalities, fused queries, classes by name.

The caller gives embeddings of one split's clips; nothing here can see another split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from seehear.evaluation.bootstrap import FEW_GROUPS, intervals, median_interval
from seehear.evaluation.classify import zero_shot
from seehear.evaluation.report import Report, TaskResult
from seehear.evaluation.retrieval import retrieval
from seehear.types import Batch, Float, Int, Modality, Tensor

if TYPE_CHECKING:
    from seehear.data.latents import LatentData

_BATCH = 4096


class Embedder(Protocol):
    """A method, a closed form, anything that maps latents to unit vectors of one space."""

    def embed(self, batch: Batch, space: str | None = None) -> dict[Modality, Tensor]: ...


@dataclass(frozen=True)
class Embedded:
    """Vectors of one modality; a clip with several texts has several."""

    vectors: Float[np.ndarray, "r e"]
    owner: Int[np.ndarray, " r"]
    """The number of the clip that each vector is of, ascending."""

    def one_each(self) -> Embedded:
        """The mean direction of each clip's vectors."""
        clips, first = np.unique(self.owner, return_index=True)
        return Embedded(unit(np.add.reduceat(self.vectors, first, axis=0)), clips)


@dataclass(frozen=True)
class Classes:
    names: tuple[str, ...]
    vectors: Float[np.ndarray, "c e"]
    prompts: str = "plain"
    """Name of the prompt set."""


def unit(x: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n e"]:
    x = np.asarray(x, np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12)


def embed_latents(model: Embedder, data: LatentData, *, space: str | None = None) -> dict[Modality, Embedded]:
    """Every latent of the data through the model: {modality: vectors} for what the space holds."""
    device = next(iter(model.parameters())).device if isinstance(model, torch.nn.Module) else torch.device("cpu")
    found = {}
    for m in data.modalities:
        latents = data.every(m)
        parts = []
        with torch.inference_mode():
            for at in range(0, len(latents), _BATCH):
                rows = latents[at : at + _BATCH].to(device).float()
                vectors = model.embed({m: rows, f"has_{m}": torch.ones(len(rows), dtype=torch.bool)}, space)
                if m in vectors:
                    parts.append(vectors[m].float().cpu().numpy())
        if parts:
            found[m] = Embedded(np.concatenate(parts), data.owner(m).cpu().numpy())
    return found


def evaluate_embeddings(
    embeddings: Mapping[Modality, Embedded],
    ids: Sequence[str],
    groups: Sequence[str | int],
    *,
    labels: Sequence[Sequence[str]] | None = None,
    classes: Sequence[Classes] = (),
    model: str = "model",
    split: str = "test",
    seed: int = 0,
) -> Report:
    """`ids`, `groups` and `labels` are a row a clip; an owner in `embeddings` is a row number of them.

    Zero-shot classification takes the clips with exactly one label that has a class vector.
    """
    clips = _Clips(np.asarray(ids, dtype=str), np.asarray(groups).astype(str), labels, model, seed)
    results = [*_pairs(embeddings, clips), *_fused(embeddings, clips)]
    if labels is not None:
        results += [r for c in classes for r in _zero_shot(embeddings, c, clips)]
    return Report(split=split, results=tuple(results), warnings=group_warnings(clips.groups.tolist(), split))


@dataclass(frozen=True)
class _Clips:
    ids: np.ndarray
    groups: np.ndarray
    labels: Sequence[Sequence[str]] | None
    model: str
    seed: int


def _pairs(embeddings: Mapping[Modality, Embedded], clips: _Clips) -> Iterator[TaskResult]:
    for query in embeddings:
        for gallery in embeddings:
            if query != gallery:
                result = _retrieve(f"{query}->{gallery}", embeddings[query], embeddings[gallery], clips)
                if result is not None:
                    yield result


def _fused(embeddings: Mapping[Modality, Embedded], clips: _Clips) -> Iterator[TaskResult]:
    """Several modalities ask together for another: the mean of their unit vectors, one query a clip."""
    for gallery in embeddings:
        others = [m for m in embeddings if m != gallery]
        for size in range(2, len(others) + 1):
            for parts in combinations(others, size):
                name = f"{'+'.join(parts)}->{gallery}"
                fused = fuse([embeddings[m] for m in parts])
                result = _retrieve(name, fused, embeddings[gallery], clips) if len(fused.owner) else None
                if result is not None:
                    yield result


def fuse(parts: Sequence[Embedded], weights: Sequence[float] | None = None) -> Embedded:
    """One vector for each clip that has all the parts."""
    single = [part.one_each() for part in parts]
    shared = single[0].owner
    for part in single[1:]:
        shared = np.intersect1d(shared, part.owner)
    weights = [1.0] * len(parts) if weights is None else weights
    total = sum(w * part.vectors[np.searchsorted(part.owner, shared)] for w, part in zip(weights, single, strict=True))
    return Embedded(unit(np.asarray(total)), shared)


def _retrieve(task: str, query: Embedded, gallery: Embedded, clips: _Clips) -> TaskResult | None:
    """None when no clip has both sides."""
    if len(np.intersect1d(query.owner, gallery.owner)) == 0:
        return None
    found = retrieval(query.vectors, gallery.vectors, query.owner, gallery.owner)
    owner = query.owner[found.rows]
    groups = clips.groups[owner]
    bounds = intervals(found.per_query, groups, seed=clips.seed)
    bounds = {name: bounds[name] for name in bounds if name.startswith("R@") or name in ("MRR", "nDCG@10")} | {
        "mAP": bounds["AP"],
        "mean_rank": bounds["rank"],
        "median_rank": median_interval(found.ranks, groups, seed=clips.seed),
    }
    counts = {"queries": found.queries, "gallery": found.gallery, "groups": len(set(groups.tolist()))}
    return TaskResult(
        task=task,
        kind="retrieval",
        model=clips.model,
        metrics=found.metrics,
        chance=found.chance,
        intervals=bounds,
        counts=counts | {"skipped": found.skipped},
        per_query=found.per_query,
        keys=_keys(clips.ids, query.owner)[found.rows],
        groups=groups,
    )


def _zero_shot(embeddings: Mapping[Modality, Embedded], classes: Classes, clips: _Clips) -> Iterator[TaskResult]:
    known = set(classes.names)
    single = np.array([own[0] if len(own) == 1 and own[0] in known else "" for own in clips.labels or ()], dtype=object)
    for m, part in embeddings.items():
        rows = np.flatnonzero(single[part.owner] != "")
        if m == "text" or not len(rows):
            continue
        owner = part.owner[rows]
        found = zero_shot(part.vectors[rows], classes.vectors, single[owner].tolist(), classes.names)
        groups = clips.groups[owner]
        counts = {"queries": len(rows), "classes": len(classes.names), "groups": len(set(groups.tolist()))}
        yield TaskResult(
            task=f"{m}->class" + ("" if classes.prompts == "plain" else f" ({classes.prompts} prompts)"),
            kind="classification",
            model=clips.model,
            metrics=found.metrics,
            chance=found.chance,
            intervals=intervals(found.per_query, groups, seed=clips.seed),
            counts=counts,
            details={"mistakes": found.mistakes(), "prompts": classes.prompts},
            per_query=found.per_query,
            keys=_keys(clips.ids, part.owner)[rows],
            groups=groups,
        )


def _keys(ids: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """A name a row: the clip's id, and which of its rows it is where it has several."""
    first = np.searchsorted(owner, owner)
    within = np.arange(len(owner)) - first
    return np.array(
        [f"{i}|{n}" if n else i for i, n in zip(ids[owner].tolist(), within.tolist(), strict=True)], dtype=str
    )


def group_warnings(groups: Sequence[str | int], split: str) -> tuple[str, ...]:
    """What to say of a split with few source recordings."""
    num = len(set(groups))
    if num >= FEW_GROUPS:
        return ()
    return (f"the {split} split has {num} groups: with fewer than {FEW_GROUPS} the intervals are too narrow",)
