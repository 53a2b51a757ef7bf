"""Multi-label measures: ranking of the items of every class by scores (AudioSet, sound scenes).

mAP   mean over classes of the average precision
AUC   mean over classes of the probability that an item of the class scores above another one; ties count half
d'    mean over classes of sqrt(2) * inverse normal CDF of AUC: distance of two unit normals with that AUC (0 at
      chance). The d' of the mean AUC is smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from seehear.errors import require
from seehear.types import Bool, Float, Int

# Largest AUC in d': that of a perfect class would be infinite.
_CAP = 1.0 - 1e-6


@dataclass(frozen=True)
class _MultiLabel:
    metrics: dict[str, float]
    """mAP, AUC, d'."""
    chance: dict[str, float]
    """mAP: mean share of items in a class; AUC 0.5; d' 0."""
    classes: list[str]
    """Names of the usable classes; only these count."""
    average_precision: np.ndarray
    auc: np.ndarray


def multilabel(
    scores_NC: Float[np.ndarray, "n c"], truth_NC: Bool[np.ndarray, "n c"], classes: Sequence[str]
) -> _MultiLabel:
    """Measures of (N, C) scores over the usable classes."""
    scores_NC, truth_NC = np.asarray(scores_NC, np.float64), np.asarray(truth_NC, bool)
    if scores_NC.shape != truth_NC.shape or scores_NC.shape[1] != len(classes):
        shapes = f"{scores_NC.shape}, {truth_NC.shape} and {len(classes)} classes"
        raise ValueError(f"scores and truth must be (items, classes); got {shapes}")
    # A class that all items have, or none, has neither precision nor AUC.
    usable = usable_classes(truth_NC)
    if not len(usable):
        raise ValueError("no class has both an item that has it and one that has not")
    precision = np.array([average_precision(scores_NC[:, c], truth_NC[:, c]) for c in usable])
    area = np.array([auc(scores_NC[:, c], truth_NC[:, c]) for c in usable])
    # The mean of d', not the d' of the mean AUC, which is smaller.
    distance = np.mean([d_prime(a) for a in area])
    metrics = {"mAP": float(precision.mean()), "AUC": float(area.mean()), "d'": float(distance)}
    chance = {"mAP": float(truth_NC[:, usable].mean()), "AUC": 0.5, "d'": 0.0}
    return _MultiLabel(metrics, chance, [classes[int(c)] for c in usable], precision, area)


def truth_of(labels: Sequence[Sequence[str]], classes: Sequence[str]) -> Bool[np.ndarray, "n c"]:
    """True where an item has a class. Labels that are not among the classes are ignored."""
    number = {name: c for c, name in enumerate(classes)}
    truth_NC = np.zeros((len(labels), len(number)), bool)
    for row, own in enumerate(labels):
        truth_NC[row, [number[label] for label in own if label in number]] = True
    return truth_NC


def usable_classes(truth_NC: Bool[np.ndarray, "n c"]) -> Int[np.ndarray, " k"]:
    """Numbers of the classes with positive and negative items: only these can be measured, or learnt."""
    return np.flatnonzero(truth_NC.any(axis=0) & ~truth_NC.all(axis=0))


def average_precision(scores_N: Float[np.ndarray, " n"], truth_N: Bool[np.ndarray, " n"]) -> float:
    """Sum over distinct scores of (recall gained) * (precision); tied items enter together."""
    scores_N, truth_N = np.asarray(scores_N), np.asarray(truth_N, bool)
    order = np.argsort(-scores_N, kind="stable")
    # Last place of each tied block: tied items enter together, in no order.
    last = np.flatnonzero(np.append(np.diff(scores_N[order]) != 0, True))
    right = np.cumsum(truth_N[order])[last]
    gained = np.diff(right, prepend=0)
    return float(np.sum(gained * right / (last + 1)) / right[-1])


def auc(scores_N: Float[np.ndarray, " n"], truth_N: Bool[np.ndarray, " n"]) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney), with mean ranks for ties."""
    truth_N = np.asarray(truth_N, bool)
    _, place, count = np.unique(scores_N, return_inverse=True, return_counts=True)
    rank_N = (np.cumsum(count) - (count - 1) / 2)[place]
    right = int(truth_N.sum())
    return float((rank_N[truth_N].sum() - right * (right + 1) / 2) / (right * (len(truth_N) - right)))


def d_prime(area: float) -> float:
    """Distance of two unit normals with this AUC."""
    # NaN, of a class without positive or negative items.
    if area != area:
        return float("nan")
    return float(2**0.5 * NormalDist().inv_cdf(min(max(area, 1 - _CAP), _CAP)))


@dataclass(frozen=True)
class Marked:
    """Vectors of one split with the classes of each item."""

    vectors: Float[np.ndarray, "n d"] | Float[np.ndarray, "n w d"]
    truth: Bool[np.ndarray, "n c"]


def linear_scores(
    train: Marked,
    val: Marked,
    test_ND: Float[np.ndarray, "n d"],
    *,
    strengths: Sequence[float] = (0.01, 0.1, 1.0, 10.0),
) -> tuple[Float[np.ndarray, "n c"], dict[str, float]]:
    """Test scores of one logistic regression a class, and {C, validation_mAP}: one inverse regularisation C for all,
    chosen by validation mAP."""
    logistic = require("sklearn.linear_model").LogisticRegression
    scaler = require("sklearn.preprocessing").StandardScaler().fit(train.vectors)
    train_ND, *others = (scaler.transform(x) for x in (train.vectors, val.vectors, test_ND))
    names = [str(c) for c in range(train.truth.shape[1])]
    best: tuple[float, float, np.ndarray] | None = None
    for strength in strengths:
        # A class that every training item has, or none, scores the same for all.
        val_NC, test_NC = (np.zeros((len(other), len(names))) for other in others)
        for c in usable_classes(train.truth):
            model = logistic(C=strength, max_iter=1000).fit(train_ND, train.truth[:, c])
            val_NC[:, c], test_NC[:, c] = (model.decision_function(other) for other in others)
        reached = multilabel(val_NC, val.truth, names).metrics["mAP"]
        # Strictly better: of equals the strongest regularisation stays.
        if best is None or reached > best[0]:
            best = reached, strength, test_NC
    assert best is not None, "strengths is not empty"
    return best[2], {"C": best[1], "validation_mAP": best[0]}
