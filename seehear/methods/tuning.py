"""Choice of the settings of closed forms (`linear.py`) by retrieval on rows that they were not fitted to: validation
clips, or several folds where validation clips are few. Also the closed forms of FuseMix's start: bound and blocks.

Baselines and FuseMix share `training_moments` and `tuning_rows`: a trained model is never ahead only by better
tuning. With few validation clips the best setting is chance: then it is chosen over `folds` of the training and
validation clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np
import torch

from seehear.errors import SeehearError
from seehear.inputs.latents import LatentData
from seehear.methods.linear import (
    Latents,
    LinearMaps,
    Moments,
    Pairs,
    Present,
    Sureness,
    canonical,
    check,
    moments,
    present_rows,
    ridge,
)
from seehear.nn.random import seed_of
from seehear.types import Modality, Tensor

FEW_CLIPS = 300
"""Validation clips below which settings are chosen over folds."""
_FOLDS, _FEWEST_OF_A_FOLD = 5, 2
# Training clips that are plenty for covariances.
_CLIPS = 200_000
# Rows that are plenty to choose a setting by.
_VALIDATION_ROWS = 4096
DRAW = seed_of(0, "rows of the closed forms")
"""Seed of every draw of clips that closed forms are fitted to."""
SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class TuningFold:
    """Moments of some clips, and rows of others that settings are scored on."""

    train: Moments
    rows: Latents
    present: Present | None = None
    clip: Tensor | None = None


def training_moments(train: LatentData, *, pairs: Pairs | None = None) -> Moments:
    """Moments of the standardised rows of training clips, a fixed draw of many."""
    return moments(*train.sample(_CLIPS, DRAW).aligned(), pairs=pairs).standardised()


def validation_rows(val: LatentData) -> tuple[dict[Modality, Tensor], dict[Modality, Tensor], Tensor]:
    """Returns (latents, present, clip) to tune a closed form on, a fixed draw of many clips; all texts of a clip are
    right answers."""
    # The limit is of rows, and a clip has a row for each of its texts.
    clips = val.sample(max(2, _VALIDATION_ROWS * len(val) // max(1, len(val.aligned_owner()))), DRAW)
    return *clips.aligned(), clips.aligned_owner()


def tuning_rows(data: LatentData, moments: Moments, *, pairs: Pairs | None = None) -> list[TuningFold]:
    """Rows that settings are chosen on, by `folds` or of the validation clips with the moments of the training clips;
    empty with fewer than two validation clips."""
    val = data.split("val").joined()
    if len(val) < 2:
        return []
    return folds(data, pairs=pairs) or [TuningFold(moments, *validation_rows(val))]


def folds(data: LatentData, *, pairs: Pairs | None = None) -> list[TuningFold]:
    """Moments of four fifths of the training and validation clips, and rows of the fifth that is left out, five times;
    a recording is on one side. Empty where settings are chosen on the validation clips alone: they are many, or there
    are none, or there are too few recordings, or a fold lacks a pair of modalities that the training clips have."""
    if not 1 < (data.splits == "val").sum() < FEW_CLIPS:
        return []
    known = data.take((data.splits == "train") | (data.splits == "val")).joined()
    fold_N = fold_of(known.groups.numpy())
    if min(np.bincount(fold_N, minlength=_FOLDS)) < _FEWEST_OF_A_FOLD:
        return []
    try:
        fitted = [training_moments(known.take(fold_N != fold), pairs=pairs) for fold in range(_FOLDS)]
    except SeehearError:
        # No two modalities together.
        return []
    needed = training_moments(known.split("train"), pairs=pairs).covariance.keys()
    # Else a fold would choose settings for other pairs than the training clips have.
    if not all(needed <= m.covariance.keys() for m in fitted):
        return []
    return [TuningFold(m, *validation_rows(known.take(fold_N == fold))) for fold, m in enumerate(fitted)]


def fold_of(groups_N: np.ndarray) -> np.ndarray:
    """(N,) fold of each clip: recordings, the largest first, go to the fold with the fewest clips."""
    names, number_N, sizes = np.unique(groups_N, return_inverse=True, return_counts=True)
    drawn = np.random.default_rng(DRAW).permutation(len(names))
    fold, filled = np.zeros(len(names), np.int64), np.zeros(_FOLDS, np.int64)
    # The largest first: a large recording that came last would leave its fold far too full.
    for group in drawn[np.argsort(-sizes[drawn], kind="stable")]:
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    found: np.ndarray = fold[number_N]
    return found


# -- choice ------------------------------------------------------------------------------------------------------------


def tuned(
    train: Moments,
    folds: Sequence[TuningFold],
    *,
    shrinkages: Sequence[float] = SHRINKAGES,
    ranks: Sequence[int | None] = (None, 256, 64),
    pairs: Pairs | None = None,
) -> LinearMaps:
    """CCA, or generalised CCA, fitted to `train` with the shrinkage and rank that retrieve best on the rows of the
    folds; None is full rank."""
    # Any shrinkage will do: which axes have variance does not depend on it.
    width = min(train.whitened_axes(m, shrinkages[0]).shape[1] for m in train.modalities)
    sizes = sorted({width if r is None else min(r, width) for r in ranks}, reverse=True)

    def family(m: Moments) -> list[LinearMaps]:
        return [full.truncated(r) for full in (canonical(m, shrinkage=s) for s in shrinkages) for r in sizes]

    best = chosen(family, train, folds, pairs=pairs)
    return replace(best, again=partial(canonical, **best.settings))  # type: ignore[arg-type]


def tuned_ridge(train: Moments, folds: Sequence[TuningFold], *, hub: Modality) -> LinearMaps:
    """Ridge onto a hub; the shrinkage of each modality is the one that retrieves best between it and the hub."""
    best_of: dict[Modality, float] = {}
    for p in train.modalities:
        if p != hub:

            def family(m: Moments, p: Modality = p) -> list[LinearMaps]:
                part = m.only(p, hub)
                return [ridge(part, shrinkage=r, hub=hub) for r in SHRINKAGES]

            best = chosen(family, train, folds, pairs=((p, hub),))
            best_of[p] = float(best.settings[f"shrinkage of {p}"])
    again = partial(ridge, shrinkage=best_of, hub=hub)
    return replace(again(train), again=again)


def chosen(
    family: Callable[[Moments], Sequence[LinearMaps]],
    train: Moments,
    folds: Sequence[TuningFold],
    *,
    pairs: Pairs | None = None,
) -> LinearMaps:
    """The member of a family, fitted to `train`, whose settings retrieve best on the rows of the folds; the first of
    equals. With several folds the mean decides, and `sure` holds its uncertainty."""
    asked = list(pairs or combinations(train.modalities, 2))
    scores = []
    for fold in folds:
        check(fold.rows, fold.present)
        ranks = [reciprocal_ranks(c, fold.rows, fold.present, fold.clip, pairs=asked) for c in family(fold.train)]
        scores.append([[own.get(pair, np.nan) for pair in asked] for own in ranks])
    scores_FKP = np.array(scores)
    known_P = ~np.isnan(scores_FKP).all(axis=(0, 1))
    if not known_P.any():
        raise SeehearError("no two validation rows have the same two modalities: nothing to choose by")
    # A fold of few clips may have no two rows of the same two modalities: it has no score.
    telling_F = ~np.isnan(scores_FKP).all(axis=(1, 2))
    folds = [fold for fold, telling in zip(folds, telling_F, strict=True) if telling]
    scores_FKP = scores_FKP[telling_F][:, :, known_P]
    # Relative to the best setting of each pair: a pair that is easy to retrieve would decide alone.
    relative_FKP = scores_FKP / np.nanmean(scores_FKP, axis=0).max(axis=0)
    relative_FK = np.nanmean(relative_FKP, axis=2)
    first = int(np.nanmean(relative_FKP, axis=0).mean(axis=1).argmax())
    found = family(train)[first]
    if len(folds) == 1:
        return found
    return replace(found, sure=_sureness(folds, relative_FK, np.nanmean(scores_FKP[:, first], axis=1), first))


def _sureness(folds: Sequence[TuningFold], relative_FK: np.ndarray, own_F: np.ndarray, first: int) -> Sureness:
    # Paired by fold: what makes a fold easy or hard drops out of the difference.
    behind_FK = relative_FK[:, [first]] - relative_FK
    error_K = behind_FK.std(axis=0, ddof=1) / len(folds) ** 0.5
    return Sureness(
        folds=len(folds),
        clips=sum(len(next(iter(f.rows.values())) if f.clip is None else f.clip.unique()) for f in folds),
        reciprocal_rank=float(own_F.mean()),
        error=float(own_F.std(ddof=1) / len(folds) ** 0.5),
        # Less one: the choice itself is behind by nothing.
        others_as_good=int((behind_FK.mean(axis=0) <= error_K).sum()) - 1,
    )


def reciprocal_ranks(
    maps: LinearMaps,
    latents: Latents,
    present: Present | None = None,
    clip: Tensor | None = None,
    *,
    pairs: Pairs | None = None,
) -> dict[tuple[Modality, Modality], float]:
    """By pair, over both directions, the mean reciprocal rank of each row's own clip among the clips of the first 4,096
    rows that have both modalities; ties share their ranks. A pair that no two rows have is left out. `clip` is the clip
    number of each row, ascending (default: every row is a clip). A clip ranks by its best row, and every clip has the
    same weight. This only ranks candidates; evaluation proper is `evaluation`."""
    scores = {}
    for p, q in pairs or list(combinations([m for m in maps.spaces["joint"] if m in latents], 2)):
        # The similarities below are a square matrix: 64 MB for 4,096 rows in float32.
        rows = (present_rows(latents, present, p) & present_rows(latents, present, q)).nonzero().squeeze(1)[:4096]
        if len(rows) > 1:
            vectors = maps.embed({m: torch.as_tensor(latents[m])[rows] for m in (p, q)})
            similar = vectors[p] @ vectors[q].T
            own = rows if clip is None else clip[rows]
            scores[p, q] = float(np.mean([_reciprocal_rank(s.numpy(), own.numpy()) for s in (similar, similar.T)]))
    return scores


def _reciprocal_rank(similar_RR: np.ndarray, clip_R: np.ndarray) -> float:
    _, first_C, number_R, rows_C = np.unique(clip_R, return_index=True, return_inverse=True, return_counts=True)
    # Other captions of a row's clip are right answers, not competitors: rows compete as clips.
    # Clip numbers ascend, so the rows of a clip are one stretch.
    best_RC = np.maximum.reduceat(similar_RR, first_C, axis=1)
    own_R1 = np.take_along_axis(best_RC, number_R[:, None], axis=1)
    rank_R = 1 + (best_RC > own_R1).sum(axis=1) + ((best_RC == own_R1).sum(axis=1) - 1) / 2
    return float(np.average(1 / rank_R, weights=1 / rows_C[number_R]))


# -- bound: the closed form of `fusemix.bind` --------------------------------------------------------------------------


def bound(m: Moments, *, locked: Sequence[Modality], shrinkage: float | Mapping[Modality, float] = 0.1) -> LinearMaps:
    """Ridge regression into the space of a joint encoder. Locked modalities keep their own vectors, means included;
    each other one is regressed on the mean of the locked ones that it occurs with."""
    mean, weight, settings = dict(m.mean), {}, dict[str, float | int | str](locked=" ".join(locked))
    for p in m.modalities:
        if p in locked:
            mean[p], weight[p] = torch.zeros_like(m.mean[p]), torch.eye(len(m.mean[p]), dtype=torch.float64)
            continue
        hubs = [q for q in locked if (p, q) in m.covariance or (q, p) in m.covariance]
        if not hubs:
            raise SeehearError(f"no training row has both {p} and one of {', '.join(locked)}: nothing binds it")
        r = shrinkage if isinstance(shrinkage, float | int) else shrinkage[p]
        # Directions without variance are infinite there and drop out: 1 / inf = 0.
        inverse, vectors = m.shrunk(p, r).reciprocal(), m.spectra[p][1]
        # Moments may be standardised, the locked space is not: its scale is put back.
        cross = torch.stack([m.cross(p, q) * m.scale[q] for q in hubs]).mean(0)
        weight[p] = vectors @ (inverse[:, None] * (vectors.T @ cross)) / m.scale[p][:, None]
        settings[f"shrinkage of {p}"] = r
    width = next(iter(weight.values())).shape[1]
    # Words, where only queries have them.
    for q in (q for q in locked if q not in m.modalities):
        mean[q], weight[q] = torch.zeros(width, dtype=torch.float64), torch.eye(width, dtype=torch.float64)
    return LinearMaps("bound", mean, weight, settings=settings)


def tuned_bound(train: Moments, folds: Sequence[TuningFold], *, locked: Sequence[Modality]) -> LinearMaps:
    """`bound` with the shrinkage of each modality that retrieves best between it and the locked ones."""
    best_of: dict[Modality, float] = {}
    sure = None
    for p in (p for p in train.modalities if p not in locked):
        hubs = [q for q in locked if (p, q) in train.covariance or (q, p) in train.covariance]

        def family(m: Moments, p: Modality = p, hubs: Sequence[Modality] = tuple(hubs)) -> list[LinearMaps]:
            part = m.only(p, *hubs)
            return [bound(part, locked=hubs, shrinkage=r) for r in SHRINKAGES]

        best = chosen(family, train, folds, pairs=tuple((p, q) for q in hubs))
        best_of[p], sure = float(best.settings[f"shrinkage of {p}"]), best.sure
    return replace(bound(train, locked=locked, shrinkage=best_of), sure=sure)


# -- blocks: three or more modalities, each pair with coordinates of its own -------------------------------------------
#
#     audio  [ W_a^(va)   W_a^(at)   0        ]
#     text   [ 0          W_t^(at)   W_t^(vt) ]      x_p . x_q  =  the product in block (p, q) alone
#     video  [ W_v^(va)   0          W_v^(vt) ]
#
# One map a modality (generalised CCA, ridge onto a hub) trades pairs off: where sound and words agree well, it loses
# what a face and its voice share. In blocks, each the CCA of one pair, no pair loses to another.


def tuned_blocks(train: Moments, folds: Sequence[TuningFold], *, dim: int) -> LinearMaps:
    """Blocks for the pairs of `train`, of `dim` coordinates in all; the shrinkage and rank of each are those that
    retrieve best between its two modalities."""
    pairs = [pair for pair in combinations(train.modalities, 2) if pair in train.covariance]
    rank = dim // len(pairs)
    settings: dict[tuple[Modality, Modality], tuple[float, int]] = {}
    for p, q in pairs:
        parts = [replace(fold, train=fold.train.only(p, q)) for fold in folds]
        best = tuned(train.only(p, q), parts, ranks=(rank, min(rank, 64)), pairs=((p, q),))
        settings[p, q] = float(best.settings["shrinkage"]), int(best.settings["rank"])
    return replace(blocks(train, settings), again=partial(blocks, chosen=settings))


def blocks(train: Moments, chosen: Mapping[tuple[Modality, Modality], tuple[float, int]]) -> LinearMaps:
    """Blocks of the pairs with their (shrinkage, rank). In a modality every block has a mean square length of 1."""
    parts: dict[Modality, list[Tensor]] = {m: [] for m in train.modalities}
    settings: dict[str, float | int | str] = {}
    for (p, q), (shrinkage, rank) in chosen.items():
        weight = canonical(train.only(p, q), shrinkage=shrinkage, rank=rank).weight
        settings[f"shrinkage of {p}-{q}"] = shrinkage
        for m, block in parts.items():
            if m not in (p, q):
                block.append(weight[p].new_zeros(len(train.mean[m]), weight[p].shape[1]))
                continue
            unscaled_DK = weight[m] * train.scale[m][:, None]
            square = (unscaled_DK * (train.covariance[m, m] @ unscaled_DK)).sum()
            block.append(weight[m] / square.sqrt())
    return LinearMaps("blocks", train.mean, {m: torch.cat(b, dim=1) for m, b in parts.items()}, None, settings)


# -- the start of FuseMix ----------------------------------------------------------------------------------------------


def closed_start(
    clips: LatentData, *, dim: int = 512, pairs: Pairs | None = None, locked: Sequence[Modality] = ()
) -> LinearMaps:
    """The closed form that a run of FuseMix starts from, and every trained model is compared with: the one that
    retrieves best on the validation clips, or in folds where these are few. CCA (for three modalities a block of
    coordinates a pair, so that none pays for another) or ridge onto the hub, each with its own tuned shrinkage. Where
    pairs are given and have a hub it is ridge: the hub's own vectors are then the space, so that modalities which were
    never paired meet in it, and no validation pair can measure that. Into a frozen joint space (`locked`) it is ridge.
    With fewer than two validation clips the shrinkage is the default."""
    fitted = training_moments(clips.split("train").joined(), pairs=pairs)
    held_out = tuning_rows(clips, fitted, pairs=pairs)
    if not held_out:
        return bound(fitted, locked=locked) if locked else canonical(fitted)
    if locked:
        return tuned_bound(fitted, held_out, locked=locked)
    many, common = len(clips.modalities) > 2, set(clips.modalities).intersection(*(pairs or ()))
    # Text where every pair has it, or none is common to all.
    hub = "text" if "text" in common or not common else sorted(common)[-1]
    onto_hub = tuned_ridge(fitted, held_out, hub=hub)
    if pairs and many and common:
        return onto_hub
    # One map for all pairs would have to trade them off against each other.
    correlated = tuned_blocks(fitted, held_out, dim=dim) if many else tuned(fitted, held_out, pairs=pairs)
    both = [form.again for form in (correlated, onto_hub) if form.again is not None]
    return chosen(lambda m: [fit(m) for fit in both], fitted, held_out, pairs=pairs)
