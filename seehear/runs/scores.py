"""Validation score of training, retrieval between the modalities of held-out clips, and the linear last layer that is
chosen by it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch

from seehear.evaluation.bootstrap import compare
from seehear.evaluation.embedded import Embedded, smallest_space
from seehear.evaluation.retrieval import retrieval
from seehear.inputs.latents import LatentData
from seehear.methods import linear, tuning
from seehear.methods.base import Method
from seehear.methods.tuning import fold_of, training_moments
from seehear.nn.random import seed_of
from seehear.runs.config import Inputs
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
    for query, gallery, q, g in directions(spaces, embedded, pairs):
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
    rank: np.ndarray
    """(C,) mean rank, over the clip's queries, of the first right answer, from 1."""
    gallery: int
    """Number of clips searched."""

    def take(self, at: np.ndarray) -> ClipScores:
        """Scores of the clips at these positions."""
        return ClipScores(self.clips[at], self.first[at], self.ten[at], self.rank[at], self.gallery)


def clip_scores(
    spaces: Mapping[str, tuple[Modality, ...]],
    embedded: Mapping[str, Mapping[Modality, Embedded]],
    pairs: tuple[Pair, ...] = (),
) -> dict[str, ClipScores]:
    """{'text->video': scores of every clip}, for the directions that `retrieval_scores` takes its mean over."""
    found = {}
    for query, gallery, q, g in directions(spaces, embedded, pairs):
        result = retrieval(q.vectors, g.vectors, q.owner, g.owner)
        clips, at = np.unique(q.owner[result.rows], return_inverse=True)
        names = ("R@1", "R@10", "rank")
        first, ten, rank = (np.bincount(at, weights=result.per_query[k]) / np.bincount(at) for k in names)
        found[f"{query}->{gallery}"] = ClipScores(clips, first, ten, rank, len(np.unique(g.owner)))
    return found


def flat_scores(scores: Collection[ClipScores]) -> tuple[np.ndarray, np.ndarray]:
    """((V,) mean of found first and among the first ten, (V,) clip numbers) of all directions one after the other,
    weighted so that their mean is that over directions."""
    clips = np.concatenate([s.clips for s in scores])
    values = [(s.first + s.ten) / 2 * (len(clips) / len(scores) / len(s.clips)) for s in scores]
    return np.concatenate(values), clips


def directions(
    spaces: Mapping[str, Collection[Modality]],
    embedded: Mapping[str, Mapping[Modality, Embedded]],
    pairs: tuple[Pair, ...] = (),
) -> Iterator[tuple[Modality, Modality, Embedded, Embedded]]:
    """(query modality, gallery modality, queries, gallery) of both directions of every pair (all, when empty) that has
    common clips, in the smallest space that holds it."""
    there = tuple(dict.fromkeys(m for vectors in embedded.values() for m in vectors))
    for pair in pairs or combinations(there, 2):
        # A pair may have no common space, or no validation clip may have one of its modalities.
        if (space := smallest_space(spaces, *pair)) is None or not set(pair) <= set(there):
            continue
        for query, gallery in (pair, pair[::-1]):
            q, g = embedded[space][query], embedded[space][gallery]
            if np.intersect1d(q.owner, g.owner).size:
                yield query, gallery, q, g


# ----------------------------------------------------------------------------------------------------------------------
# Linear last layer of a trained model: CCA or ridge between its vectors of the training clips, a map a modality.
# Training by batches leaves linear structure unused (VATT above all).
#
# Validation clips decide on the layer and its settings, as the model was fitted to the training clips; each clip is
# scored by the setting chosen without its own recording.

# Training clips that are plenty for covariances. Media are decoded for it, so there are fewer of them.
_LATENTS, _MEDIA = 200_000, 4_000
# Validation clips below which nothing is chosen.
_FEWEST = 20


def add_last_layer(
    method: Method, inputs: Inputs, validation: Any, pairs: tuple[Pair, ...], *, seed: int
) -> dict[str, dict[str, Any]]:
    """Adds a last layer to each space of the method where it helps on the validation clips; returns {space: settings
    and gain}. A locked space gets none."""
    if len(validation) < _FEWEST or getattr(inputs, "locked", None):
        return {}
    at_most = _MEDIA if method.reads_media else _LATENTS
    train = inputs.train.sample(at_most, seed_of(seed, "clips of the last layer"))
    learned, judged = inputs.vectors(method, train), inputs.vectors(method, validation)
    found = {}
    for space in method.spaces:
        held = [m for m in learned.get(space, {}) if m in judged.get(space, {})]
        asked = (pair for pair in pairs or combinations(held, 2) if set(pair) <= set(held))
        # The pairs that are compared in this space and in no smaller one.
        own = tuple(pair for pair in asked if smallest_space(method.spaces, *pair) == space)
        if own and (kept := _best(learned[space], judged[space], own, np.asarray(validation.groups))):
            maps, gain = kept
            method.set_last_layer(space, maps.mean, maps.weight)
            found[space] = {"form": maps.name, **maps.settings, "gain": gain}
    return found


def _best(
    learned: Mapping[Modality, Embedded],
    judged: Mapping[Modality, Embedded],
    pairs: tuple[Pair, ...],
    groups: np.ndarray,
) -> tuple[linear.LinearMaps, float] | None:
    """Returns (best maps, their gain in score); None without a gain."""
    held = {m: vectors for m, vectors in learned.items() if m in judged}
    owner = {m: own.owner.astype(np.int64) for m, own in held.items()}
    train = LatentData.from_arrays({m: own.vectors for m, own in held.items()}, owner=owner).joined()
    if len(train) < 2:
        return None
    candidates = list(_candidates(training_moments(train)))
    before, clips = flat_scores(clip_scores({"joint": tuple(judged)}, {"joint": judged}, pairs).values())
    scores_KC = np.stack([flat_scores(_scores(c, judged, pairs).values())[0] for c in candidates])
    recordings = groups[clips]
    fold_C = fold_of(recordings)
    pooled_C = np.empty(len(clips))
    for fold in np.unique(fold_C):
        others = fold_C != fold
        if not others.any():
            # One recording: there is nothing else to choose by.
            return None
        # A recording is scored by the candidate that is best on the other folds.
        pooled_C[~others] = scores_KC[scores_KC[:, others].mean(axis=1).argmax(), ~others]
    gain = compare(before, pooled_C, recordings)
    if not gain.difference > 0:
        # No test of significance: the estimate is unbiased, and where there is nothing to gain, being wrong costs
        # nothing.
        return None
    return candidates[int(scores_KC.mean(axis=1).argmax())], round(gain.difference, 4)


def _candidates(m: linear.Moments) -> Iterator[linear.LinearMaps]:
    for shrinkage in tuning.SHRINKAGES:
        yield linear.canonical(m, shrinkage=shrinkage)
        for hub in m.modalities:
            # Ridge onto a hub needs pairs of it with every other modality.
            if all(hub == p or (p, hub) in m.covariance or (hub, p) in m.covariance for p in m.modalities):
                yield linear.ridge(m, shrinkage=shrinkage, hub=hub)


def _scores(maps: linear.LinearMaps, judged: Mapping[Modality, Embedded], pairs: tuple[Pair, ...]) -> Any:
    vectors = {m: Embedded(maps.embed({m: torch.from_numpy(v.vectors)})[m].numpy(), v.owner) for m, v in judged.items()}
    return clip_scores(maps.spaces, {"joint": vectors}, pairs)
