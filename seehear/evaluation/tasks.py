"""Evaluation tasks, functions from the embeddings of one split to results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from seehear.evaluation.bootstrap import intervals, median_interval, statistic_intervals
from seehear.evaluation.classify import Classification, zero_shot
from seehear.evaluation.embedded import Classes, Embedded, fuse
from seehear.evaluation.geometry import hubness, modality_gap
from seehear.evaluation.multilabel import d_prime, multilabel, truth_of, usable_classes
from seehear.evaluation.results import TaskResult
from seehear.evaluation.retrieval import RetrievalResult, retrieval
from seehear.types import Modality

Embeddings = Mapping[Modality, Embedded]
Details = Mapping[str, Any] | None
"""More of a result, as plain values."""
# Largest number of queries that hubness is measured on.
_SAMPLE = 10_000
# Items times classes up to which multi-label measures get intervals, from so many draws: each draw measures anew.
_SMALL, _DRAWS = 2_000_000, 100
# Weights of the first of two modalities of a fused query.
_SHARES = tuple(i / 10 for i in range(11))


@dataclass(frozen=True)
class ScoredClips:
    """Clips of the embeddings by row, or the queries of a task, and the model that made the embeddings."""

    ids: np.ndarray
    groups: np.ndarray
    labels: Sequence[Sequence[str]] | None
    model: str
    seed: int
    """Seed of the bootstrap."""

    def take(self, rows: np.ndarray) -> ScoredClips:
        """The clips of these rows, which may repeat, without their labels."""
        return ScoredClips(self.ids[rows], self.groups[rows], None, self.model, self.seed)

    def queries(self, owner: np.ndarray, rows: np.ndarray) -> ScoredClips:
        """Queries of these rows of the vectors of the clips `owner`, ascending; the id of a clip's second vector and of
        all that follow ends in its number."""
        # Owners ascend: the difference to the first row of the clip.
        within = np.arange(len(owner)) - np.searchsorted(owner, owner)
        names = [f"{i}|{n}" if n else i for i, n in zip(self.ids[owner].tolist(), within.tolist(), strict=True)]
        return replace(self.take(owner), ids=np.array(names, dtype=str)).take(rows)

    def result(self, kind: str, task: str, found: Any, counts: dict[str, int], **rest: Any) -> TaskResult:
        """Result on these queries. `found` has metrics and chance."""
        counts = {"queries": len(self.ids), **counts, "groups": len(set(self.groups.tolist()))}
        rest |= {"metrics": found.metrics, "chance": found.chance, "counts": counts}
        # Names of queries are for comparisons query by query.
        rest |= {"keys": self.ids, "groups": self.groups} if "per_query" in rest else {}
        return TaskResult(task=task, kind=kind, model=self.model, **rest)


def all_results(embeddings: Embeddings, clips: ScoredClips, classes: Sequence[Classes] = ()) -> list[TaskResult]:
    """Results of all tasks that the embeddings allow: every ordered pair of modalities, fused queries, mixed galleries,
    correspondence, and classes by name where the clips have labels. Row i of `clips` is clip i, the owner in
    `embeddings`."""
    results = [*_pairs(embeddings, clips), *fused(embeddings, clips), *_mixed(embeddings, clips)]
    results += _correspond(embeddings, clips)
    named = classes if clips.labels is not None else ()
    return results + [result for one in named for result in _by_name(embeddings, one, clips)]


def _pairs(embeddings: Embeddings, clips: ScoredClips) -> Iterator[TaskResult]:
    """Retrieval for every ordered pair of modalities; details hold their gap and the hubness of the gallery."""
    for query in embeddings:
        for gallery in embeddings:
            if query != gallery:
                shape = _shape(embeddings[query], embeddings[gallery])
                yield from retrieve(f"{query}->{gallery}", embeddings[query], embeddings[gallery], clips, details=shape)


def fused(embeddings: Embeddings, clips: ScoredClips) -> Iterator[TaskResult]:
    """Retrieval of one modality by several others: the query is the mean of their unit vectors, one a clip."""
    for gallery in embeddings:
        others = [m for m in embeddings if m != gallery]
        for size in range(2, len(others) + 1):
            for parts in combinations(others, size):
                query = fuse([embeddings[m] for m in parts])
                yield from retrieve(f"{'+'.join(parts)}->{gallery}", query, embeddings[gallery], clips)


def weighted(embeddings: Embeddings, chosen_on: Embeddings, clips: ScoredClips) -> Iterator[TaskResult]:
    """Retrieval of one modality by a weighted mean of two others, with the weights of the best MRR on `chosen_on`
    (validation): a weak modality then no longer spoils the mean."""
    for gallery in embeddings:
        for pair in combinations([m for m in embeddings if m != gallery], 2):
            if not set(pair) | {gallery} <= chosen_on.keys():
                continue
            # A grid of weights: a trained head that fuses the two was no better (docs/evaluation.md).
            scores = {}
            for share in _SHARES:
                query = fuse([chosen_on[m] for m in pair], (share, 1 - share))
                if len(np.intersect1d(query.owner, chosen_on[gallery].owner)):
                    known = chosen_on[gallery]
                    found = retrieval(query.vectors, known.vectors, query.owner, known.owner)
                    scores[share] = found.metrics["MRR"]
            if scores:
                # Ties go to the weight nearest to the plain mean.
                best = max(scores, key=lambda share: (scores[share], -abs(share - 0.5)))
                query = fuse([embeddings[m] for m in pair], (best, 1 - best))
                details = {"weights": {m: w for m, w in zip(pair, (best, 1 - best), strict=True)}}
                yield from retrieve(f"{'+'.join(pair)}->{gallery}", query, embeddings[gallery], clips, details=details)


def _mixed(embeddings: Embeddings, clips: ScoredClips) -> Iterator[TaskResult]:
    """Retrieval by one modality in a gallery of all others, which a gap between modalities harms."""
    for query in embeddings:
        others = [m for m in embeddings if m != query]
        if len(others) > 1:
            vectors = np.concatenate([embeddings[m].vectors for m in others])
            gallery = Embedded(vectors, np.concatenate([embeddings[m].owner for m in others]))
            yield from retrieve(f"{query}->{'|'.join(others)}", embeddings[query], gallery, clips)


def retrieve(
    task: str, query: Embedded, gallery: Embedded, clips: ScoredClips, *, details: Details = None
) -> Iterator[TaskResult]:
    """Retrieval result; none when no clip has both sides."""
    if len(np.intersect1d(query.owner, gallery.owner)):
        found = retrieval(query.vectors, gallery.vectors, query.owner, gallery.owner)
        yield retrieval_result(task, found, query, clips, details=details)


def retrieval_result(
    task: str, found: RetrievalResult, query: Embedded, clips: ScoredClips, *, details: Details = None
) -> TaskResult:
    """Result of a retrieval with bootstrap intervals."""
    items = clips.queries(query.owner, found.rows)
    bounds = intervals(found.per_query, items.groups, seed=items.seed)
    # Means over queries are named by what they are the mean of.
    bounds |= {"mAP": bounds.pop("AP"), "mean_rank": bounds.pop("rank")}
    bounds["median_rank"] = median_interval(found.ranks, items.groups, seed=items.seed)
    counts, details = {"gallery": found.gallery, "skipped": found.skipped}, dict(details or {})
    return items.result("retrieval", task, found, counts, intervals=bounds, details=details, per_query=found.per_query)


def _shape(query: Embedded, gallery: Embedded) -> dict[str, Any]:
    """Gap between two modalities, and hubness of the gallery, of a sample of many queries."""
    # A fixed sample: hubness takes the whole gallery for each query.
    rng = np.random.default_rng(0)
    some = query.vectors
    if len(some) > _SAMPLE:
        some = some[rng.choice(len(some), _SAMPLE, replace=False)]
    shape: dict[str, Any] = {"hubness": hubness(some, gallery.vectors)}
    one, other = query.one_each(), gallery.one_each()
    shared = np.intersect1d(one.owner, other.owner)
    if len(shared) > 1:
        x, y = (part.vectors[np.searchsorted(part.owner, shared)] for part in (one, other))
        shape["gap"] = modality_gap(x, y)
    return shape


def _correspond(embeddings: Embeddings, clips: ScoredClips) -> Iterator[TaskResult]:
    """Correspondence of every pair of modalities, in the direction of the first: the other one is nearly the same."""
    for p, q in combinations(embeddings, 2):
        query, gallery = embeddings[p], embeddings[q]
        if not np.isin(query.owner, gallery.owner).any() or len(set(clips.groups[gallery.owner].tolist())) < 2:
            continue
        found = correspondence(query, gallery, clips.groups)
        items = clips.queries(query.owner, found.rows)
        bounds: dict[str, tuple[float, float]] = {}
        for name, values in found.per_query.items():
            finite = np.isfinite(values)
            if finite.any():
                bounds |= intervals({name: values[finite]}, items.groups[finite], seed=items.seed)
        # Not 'AUC within': it is NaN for many queries, which no paired comparison can use.
        kept, counts = {"AUC": found.per_query["AUC"]}, {"gallery": len(gallery.owner)}
        yield items.result("correspondence", f"{p}~{q}", found, counts, intervals=bounds, per_query=kept)


def _by_name(embeddings: Embeddings, classes: Classes, clips: ScoredClips) -> Iterator[TaskResult]:
    """Classification by class names: of clips with one label, and multi-label where some clips have several."""
    known = set(classes.names)
    labels = [[label for label in own if label in known] for own in clips.labels or ()]
    count = np.array([len(own) for own in labels])
    for m, part in embeddings.items():
        if m == "text":
            continue
        name = "" if classes.prompts == "plain" else f" ({classes.prompts} prompts)"
        one = np.flatnonzero(count[part.owner] == 1)
        if len(one):
            truth = [labels[c][0] for c in part.owner[one]]
            found = zero_shot(part.vectors[one], classes.vectors, truth, classes.names)
            items, details = clips.queries(part.owner, one), {"prompts": classes.prompts}
            yield classification_result(f"{m}->class{name}", found, items, details=details)
        if (count[part.owner] > 1).any():
            some = np.flatnonzero(count[part.owner] > 0)
            truth_NC = truth_of([labels[c] for c in part.owner[some]], classes.names)
            if len(usable_classes(truth_NC)):
                scores_NC, items = part.vectors[some] @ classes.vectors.T, clips.queries(part.owner, some)
                yield multilabel_result(f"{m}->labels{name}", scores_NC, truth_NC, classes.names, items)


def classification_result(
    task: str, found: Classification, items: ScoredClips, *, details: Details = None
) -> TaskResult:
    """Result of a classification with bootstrap intervals. `items`: a row for each classified item."""
    return items.result(
        "classification",
        task,
        found,
        {"classes": len(found.classes)},
        intervals=intervals(found.per_query, items.groups, seed=items.seed),
        details={**(details or {}), "chosen": found.chosen, "mistakes": found.mistakes()},
        per_query=found.per_query,
        truth=found.truth,
        said=found.said,
    )


def multilabel_result(
    task: str,
    scores_NC: np.ndarray,
    truth_NC: np.ndarray,
    names: Sequence[str],
    items: ScoredClips,
    *,
    details: Details = None,
) -> TaskResult:
    """Result of (N, C) scores with several labels an item; without intervals where they would take too long. `items`: a
    row for each."""
    found = multilabel(scores_NC, truth_NC, names)
    bounds: dict[str, tuple[float, float]] = {}
    if scores_NC.size <= _SMALL:

        def measures(at: np.ndarray) -> list[float]:
            return list(multilabel(scores_NC[at], truth_NC[at], names).metrics.values())

        # Each draw measures anew, and a draw may leave a class without items: it is skipped.
        bounds = statistic_intervals(measures, list(found.metrics), items.groups, draws=_DRAWS, seed=items.seed)
    worst = np.argsort(found.average_precision)[:5]
    hardest = {found.classes[int(c)]: float(found.average_precision[c]) for c in worst}
    details, counts = {**(details or {}), "hardest": hardest}, {"classes": len(found.classes)}
    return items.result("multilabel", task, found, counts, intervals=bounds, details=details)


# ----------------------------------------------------------------------------------------------------------------------
# Correspondence of the modalities of held-out clips, without labels.
#
#     AUC         probability that a clip's own other modality is nearer than that of a clip from another recording
#     AUC within  the same against other clips of its own recording: other moments, same place and voices
#     d'          distance of two unit normals with that AUC
#
# It shows whether the modalities are aligned for such media, and not whether by content: a space that matches clips by
# room, camera or speaker alone has a high AUC, and an AUC within at chance.

# Scores held at once.
BLOCK = 1 << 24


@dataclass(frozen=True)
class _Correspondence:
    metrics: dict[str, float]
    """AUC and d'; 'AUC within' where a recording has several clips."""
    chance: dict[str, float]
    rows: np.ndarray
    """(queries,) number of the query of each value of `per_query`."""
    per_query: dict[str, np.ndarray]
    """AUC; 'AUC within', NaN where the recording has no other clip."""


def correspondence(query: Embedded, gallery: Embedded, groups: np.ndarray) -> _Correspondence:
    """`groups[owner]` is the recording of a clip. Ties count half; several own items (texts) are averaged."""
    groups = np.unique(np.asarray(groups), return_inverse=True)[1]
    gallery_group = groups[gallery.owner]
    rows = np.flatnonzero(np.isin(query.owner, gallery.owner))
    if len(rows) == 0 or len(set(gallery_group.tolist())) < 2:
        raise ValueError("correspondence needs clips with both modalities, of two recordings at least")
    # NaN where a query has no counterpart to be compared with.
    across, within = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    block = max(1, BLOCK // len(gallery.owner))
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
    return _Correspondence(
        metrics, {"AUC": 0.5, "AUC within": 0.5, "d'": 0.0}, rows, {"AUC": across, "AUC within": within}
    )


def _above(own: np.ndarray, others: np.ndarray) -> float:
    """Share of (own, other) pairs with own above other."""
    ordered = np.sort(others)
    below, not_above = np.searchsorted(ordered, own, side="left"), np.searchsorted(ordered, own, side="right")
    return float((below + not_above).mean() / 2 / len(others))
