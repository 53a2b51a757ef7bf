"""Validation score of training: retrieval between the modalities of held-out clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from seehear.evaluation.embedded import Embedded, smallest_space
from seehear.evaluation.retrieval import retrieval
from seehear.types import Modality

Pair = tuple[Modality, Modality]


def retrieval_scores(
    spaces: Mapping[str, tuple[Modality, ...]],
    embedded: Mapping[str, Mapping[Modality, Embedded]],
    pairs: tuple[Pair, ...] = (),
) -> dict[str, float]:
    """R@1 and R@10 of both directions of every pair (all, when empty), in the smallest space that holds it; `score` is
    their mean. `embedded`: vectors by space and modality."""
    found: dict[str, float] = {}
    for query, gallery, q, g in _directions(spaces, embedded, pairs):
        metrics = retrieval(q.vectors, g.vectors, q.owner, g.owner).metrics
        found |= {f"{query}->{gallery} {k}": metrics[k] for k in ("R@1", "R@10")}
    return {"score": sum(found.values()) / max(len(found), 1), **found}


@dataclass(frozen=True)
class ClipScores:
    """Retrieval in one direction, clip by clip, to compare two models."""

    clips: np.ndarray
    """(C,) clip numbers of the queries, ascending."""
    first: np.ndarray
    """(C,) share of the clip's queries that find it first; ties share their rank."""
    ten: np.ndarray
    """(C,) the same among the first ten."""
    gallery: int
    """Number of clips searched."""
    rank: np.ndarray | None = None
    """(C,) mean rank, over the clip's queries, of the first right answer, from 1."""

    def take(self, at: np.ndarray) -> ClipScores:
        """Scores of the clips at these positions."""
        rank = None if self.rank is None else self.rank[at]
        return ClipScores(self.clips[at], self.first[at], self.ten[at], self.gallery, rank)


def clip_scores(
    spaces: Mapping[str, tuple[Modality, ...]],
    embedded: Mapping[str, Mapping[Modality, Embedded]],
    pairs: tuple[Pair, ...] = (),
) -> dict[str, ClipScores]:
    """{'text->video': scores of every clip}, for the directions that `retrieval_scores` takes its mean over."""
    found = {}
    for query, gallery, q, g in _directions(spaces, embedded, pairs):
        result = retrieval(q.vectors, g.vectors, q.owner, g.owner)
        clips, at = np.unique(q.owner[result.rows], return_inverse=True)
        first, ten, rank = (
            np.bincount(at, weights=result.per_query[k]) / np.bincount(at) for k in ("R@1", "R@10", "rank")
        )
        found[f"{query}->{gallery}"] = ClipScores(clips, first, ten, len(np.unique(g.owner)), rank)
    return found


def flat_scores(scores: Mapping[str, ClipScores]) -> tuple[np.ndarray, np.ndarray]:
    """((V,) mean of found first and among the first ten, (V,) clip numbers) of all directions one after the other,
    weighted so that their mean is that over directions."""
    clips = np.concatenate([s.clips for s in scores.values()])
    values = [(s.first + s.ten) / 2 * (len(clips) / len(scores) / len(s.clips)) for s in scores.values()]
    return np.concatenate(values), clips


def _directions(
    spaces: Mapping[str, tuple[Modality, ...]],
    embedded: Mapping[str, Mapping[Modality, Embedded]],
    pairs: tuple[Pair, ...],
) -> Iterator[tuple[Modality, Modality, Embedded, Embedded]]:
    """(query modality, gallery modality, queries, gallery) of both directions of every pair that has common clips."""
    there = tuple(dict.fromkeys(m for vectors in embedded.values() for m in vectors))
    for pair in pairs or combinations(there, 2):
        if (space := smallest_space(spaces, *pair)) is None or not set(pair) <= set(there):
            continue
        for query, gallery in (pair, pair[::-1]):
            q, g = embedded[space][query], embedded[space][gallery]
            if set(q.owner.tolist()) & set(g.owner.tolist()):
                yield query, gallery, q, g
