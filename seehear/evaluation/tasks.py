"""The tasks a space is measured on, each a function from embeddings to results. Nothing here can see another split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from seehear.evaluation.bootstrap import intervals, median_interval, statistic_intervals
from seehear.evaluation.classify import Classification, zero_shot
from seehear.evaluation.correspondence import correspondence
from seehear.evaluation.embedded import Classes, Embedded, fuse
from seehear.evaluation.geometry import hubness, modality_gap
from seehear.evaluation.multilabel import multilabel, truth_of, usable_classes
from seehear.evaluation.results import TaskResult
from seehear.evaluation.retrieval import RetrievalResult, retrieval
from seehear.types import Modality

Embeddings = Mapping[Modality, Embedded]
_SAMPLE = 10_000  # rows that hubness and gap are measured on at most
_SMALL = 2_000_000  # items times classes up to which multi-label measures get intervals
_SHARES = tuple(i / 10 for i in range(11))  # of the first of two modalities that ask together
_DRAWS = 100  # of those: each is a measurement anew


@dataclass(frozen=True)
class ScoredClips:
    """Clips of the embeddings, a row each, and the model that made them."""

    ids: np.ndarray
    groups: np.ndarray
    labels: Sequence[Sequence[str]] | None
    model: str
    seed: int
    """Seed of the bootstrap."""


def pairs(embeddings: Embeddings, clips: ScoredClips) -> Iterator[TaskResult]:
    """Every ordered pair of modalities, with the gap between them and the hubs of the gallery among the details."""
    for query in embeddings:
        for gallery in embeddings:
            if query != gallery:
                shape = _shape(embeddings[query], embeddings[gallery])
                yield from retrieve(f"{query}->{gallery}", embeddings[query], embeddings[gallery], clips, details=shape)


def fused(embeddings: Embeddings, clips: ScoredClips) -> Iterator[TaskResult]:
    """Several modalities ask together for another: the mean of their unit vectors, one query a clip."""
    for gallery in embeddings:
        others = [m for m in embeddings if m != gallery]
        for size in range(2, len(others) + 1):
            for parts in combinations(others, size):
                query = fuse([embeddings[m] for m in parts])
                yield from retrieve(f"{'+'.join(parts)}->{gallery}", query, embeddings[gallery], clips)


def weighted(embeddings: Embeddings, chosen_on: Embeddings, clips: ScoredClips) -> Iterator[TaskResult]:
    """Two modalities ask together for a third, one of them with more say: the weight that ranks best among the clips of
    `chosen_on` (validation). A modality that knows little then no longer spoils the mean."""
    for gallery in embeddings:
        for pair in combinations([m for m in embeddings if m != gallery], 2):
            if not set(pair) | {gallery} <= chosen_on.keys():
                continue
            scores = {}
            for share in _SHARES:
                query = fuse([chosen_on[m] for m in pair], (share, 1 - share))
                if len(np.intersect1d(query.owner, chosen_on[gallery].owner)):
                    known = chosen_on[gallery]
                    found = retrieval(query.vectors, known.vectors, query.owner, known.owner)
                    scores[share] = found.metrics["MRR"]
            if scores:
                best = max(scores, key=lambda share: (scores[share], -abs(share - 0.5)))
                query = fuse([embeddings[m] for m in pair], (best, 1 - best))
                details = {"weights": {m: w for m, w in zip(pair, (best, 1 - best), strict=True)}}
                yield from retrieve(f"{'+'.join(pair)}->{gallery}", query, embeddings[gallery], clips, details=details)


def mixed(embeddings: Embeddings, clips: ScoredClips) -> Iterator[TaskResult]:
    """One modality asks a gallery that holds all the others: where a gap between modalities does its harm."""
    for query in embeddings:
        others = [m for m in embeddings if m != query]
        if len(others) > 1:
            vectors = np.concatenate([embeddings[m].vectors for m in others])
            gallery = Embedded(vectors, np.concatenate([embeddings[m].owner for m in others]))
            yield from retrieve(f"{query}->{'|'.join(others)}", embeddings[query], gallery, clips)


def retrieve(
    task: str, query: Embedded, gallery: Embedded, clips: ScoredClips, *, details: Mapping[str, Any] | None = None
) -> Iterator[TaskResult]:
    """Nothing when no clip has both sides."""
    if len(np.intersect1d(query.owner, gallery.owner)):
        found = retrieval(query.vectors, gallery.vectors, query.owner, gallery.owner)
        yield retrieval_result(task, found, query, clips, details=details)


def retrieval_result(
    task: str,
    found: RetrievalResult,
    query: Embedded,
    clips: ScoredClips,
    *,
    details: Mapping[str, Any] | None = None,
) -> TaskResult:
    groups = clips.groups[query.owner[found.rows]]
    bounds = intervals(found.per_query, groups, seed=clips.seed)
    bounds |= {"mAP": bounds.pop("AP"), "mean_rank": bounds.pop("rank")}
    bounds["median_rank"] = median_interval(found.ranks, groups, seed=clips.seed)
    counts = {"queries": found.queries, "gallery": found.gallery, "groups": len(set(groups.tolist()))}
    return TaskResult(
        task=task,
        kind="retrieval",
        model=clips.model,
        metrics=found.metrics,
        chance=found.chance,
        intervals=bounds,
        counts=counts | {"skipped": found.skipped},
        details=dict(details or {}),
        per_query=found.per_query,
        keys=_keys(clips.ids, query.owner)[found.rows],
        groups=groups,
    )


def _shape(query: Embedded, gallery: Embedded) -> dict[str, Any]:
    """Gap and hubness, on a sample where there are many."""
    rng = np.random.default_rng(0)
    some = query.vectors
    if len(some) > _SAMPLE:
        some = some[rng.choice(len(some), _SAMPLE, replace=False)]
    shape: dict[str, Any] = {"hubness": asdict(hubness(some, gallery.vectors))}
    one, other = query.one_each(), gallery.one_each()
    shared = np.intersect1d(one.owner, other.owner)
    if len(shared) > 1:
        x, y = (part.vectors[np.searchsorted(part.owner, shared)] for part in (one, other))
        shape["gap"] = asdict(modality_gap(x, y))
    return shape


def correspond(embeddings: Embeddings, clips: ScoredClips) -> Iterator[TaskResult]:
    """Without labels: does a clip's own other modality lie nearer than a stranger's? Both directions at once would say
    the same twice, so the first modality of each pair asks."""
    for p, q in combinations(embeddings, 2):
        query, gallery = embeddings[p], embeddings[q]
        if not np.isin(query.owner, gallery.owner).any() or len(set(clips.groups[gallery.owner].tolist())) < 2:
            continue
        found = correspondence(query, gallery, clips.groups)
        groups = clips.groups[query.owner[found.rows]]
        bounds: dict[str, tuple[float, float]] = {}
        for name, values in found.per_query.items():
            there = np.isfinite(values)
            if there.any():
                bounds |= intervals({name: values[there]}, groups[there], seed=clips.seed)
        yield TaskResult(
            task=f"{p}~{q}",
            kind="correspondence",
            model=clips.model,
            metrics=found.metrics,
            chance={"AUC": 0.5, "AUC within": 0.5, "d'": 0.0},
            intervals=bounds,
            counts={"queries": len(found.rows), "gallery": len(gallery.owner), "groups": len(set(groups.tolist()))},
            per_query={"AUC": found.per_query["AUC"]},
            keys=_keys(clips.ids, query.owner)[found.rows],
            groups=groups,
        )


def by_name(embeddings: Embeddings, classes: Classes, clips: ScoredClips) -> Iterator[TaskResult]:
    """Classification by the names of the classes: clips with one label, and where some have several, all of them."""
    known = set(classes.names)
    labels = [[label for label in own if label in known] for own in clips.labels or ()]
    count = np.array([len(own) for own in labels])
    for m, part in embeddings.items():
        if m == "text":
            continue
        name = "" if classes.prompts == "plain" else f" ({classes.prompts} prompts)"
        one = np.flatnonzero(count[part.owner] == 1)
        if len(one):
            owner, keys = part.owner[one], _keys(clips.ids, part.owner)[one]
            found = zero_shot(part.vectors[one], classes.vectors, [labels[c][0] for c in owner], classes.names)
            details = {"prompts": classes.prompts}
            yield classification_result(f"{m}->class{name}", found, clips, keys, owner, details=details)
        if (count[part.owner] > 1).any():
            some = np.flatnonzero(count[part.owner] > 0)
            owner = part.owner[some]
            truth_NC = truth_of([labels[c] for c in owner], classes.names)
            if len(usable_classes(truth_NC)):
                scores_NC = part.vectors[some] @ classes.vectors.T
                groups = clips.groups[owner]
                yield multilabel_result(f"{m}->labels{name}", scores_NC, truth_NC, groups, classes.names, clips)


def classification_result(
    task: str,
    found: Classification,
    clips: ScoredClips,
    keys: np.ndarray,
    owner: np.ndarray,
    *,
    details: Mapping[str, Any] | None = None,
) -> TaskResult:
    groups = clips.groups[owner]
    counts = {"queries": len(owner), "classes": len(found.classes), "groups": len(set(groups.tolist()))}
    return TaskResult(
        task=task,
        kind="classification",
        model=clips.model,
        metrics=found.metrics,
        chance=found.chance,
        intervals=intervals(found.per_query, groups, seed=clips.seed),
        counts=counts,
        details={**(details or {}), "chosen": found.chosen, "mistakes": found.mistakes()},
        per_query=found.per_query,
        keys=keys,
        groups=groups,
        truth=found.truth,
        said=found.said,
    )


def multilabel_result(
    task: str,
    scores_NC: np.ndarray,
    truth_NC: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str],
    clips: ScoredClips,
    *,
    details: Mapping[str, Any] | None = None,
) -> TaskResult:
    found = multilabel(scores_NC, truth_NC, names)
    bounds: dict[str, tuple[float, float]] = {}
    if scores_NC.size <= _SMALL:

        def measures(at: np.ndarray) -> list[float]:
            return list(multilabel(scores_NC[at], truth_NC[at], names).metrics.values())

        bounds = statistic_intervals(measures, list(found.metrics), groups, draws=_DRAWS, seed=clips.seed)
    worst = np.argsort(found.average_precision)[:5]
    hardest = {found.classes[int(c)]: float(found.average_precision[c]) for c in worst}
    return TaskResult(
        task=task,
        kind="multilabel",
        model=clips.model,
        metrics=found.metrics,
        chance=found.chance,
        intervals=bounds,
        counts={"queries": len(groups), "classes": len(found.classes), "groups": len(set(groups.tolist()))},
        details={**(details or {}), "hardest": hardest},
    )


def _keys(ids: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """A name a row: the clip's id, and which of its rows it is where it has several."""
    within = np.arange(len(owner)) - np.searchsorted(owner, owner)
    names = zip(ids[owner].tolist(), within.tolist(), strict=True)
    return np.array([f"{name}|{n}" if n else name for name, n in names], dtype=str)
