"""VATT's probe (LRC): a linear map of frozen features through few numbers, of which training drops most.

    logits = V dropout_0.9(U f),  U (128 x d), V (C x 128);  Adam at 5e-4, batches of 64, 0.1 |V|^2 added to the loss

It has the signature of the other probes (`evaluation/classify.py`), and learns by the one training loop. Validation
says after how many steps it stops.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seehear.downstream.data import LabelledFeatures
from seehear.downstream.measure import head_logits
from seehear.evaluation.classify import Classification, Labelled, by_scores, probabilities
from seehear.methods.base import seeded
from seehear.methods.classifier import Classifier, ClassifierConfig, Learning
from seehear.progress import hushed
from seehear.train.config import TrainConfig
from seehear.train.loop import fit
from seehear.train.optim import OptimConfig
from seehear.types import Bool, Float

STEPS = tuple(range(250, 5001, 250))
LEARNING = Learning(rank=128, dropout=0.9, l2=0.1)
_OPTIM = OptimConfig(lr=5e-4, schedule="constant", warmup=0.0, weight_decay=0.0)


def lrc_probe(
    train: Labelled, val: Labelled, test: Labelled, *, steps: Sequence[int] = STEPS, seed: int = 0
) -> Classification:
    """`steps`: evenly spaced numbers that validation chooses from; of one there is no choice."""
    classes = sorted(set(train.labels))
    made, best, score = _fitted(
        np.asarray(train.vectors), _truth(train.labels, classes), classes, steps=steps, seed=seed,
        val=(_views(val.vectors), _truth(val.labels, classes)), several=False,
    )  # fmt: skip
    found = of_views(made, _views(test.vectors))
    return by_scores(found, test.labels, classes, chosen={"steps": best, "validation_top1": score})


def lrc_scores(
    features_ND: Float[np.ndarray, "n d"],
    truth_NC: Bool[np.ndarray, "n c"],
    val: tuple[Float[np.ndarray, "n w d"], Bool[np.ndarray, "n c"]],
    test_NWD: Float[np.ndarray, "n w d"],
    classes: Sequence[str],
    *,
    steps: Sequence[int] = STEPS,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "n c"], dict[str, float]]:
    """The same where clips have several labels: probabilities of the test, and what validation mAP chose."""
    made, best, score = _fitted(features_ND, truth_NC, classes, steps=steps, seed=seed, val=val, several=True)
    return of_views(made, test_NWD), {"steps": best, "validation_mAP": score}


def of_views(made: Classifier, views_NWD: Float[np.ndarray, "n w d"]) -> Float[np.ndarray, "n c"]:
    """The mean of the probabilities of a clip's views."""
    logits_NWC = head_logits(made, views_NWD.astype(np.float32))
    if made.config.several:
        return (1 / (1 + np.exp(-logits_NWC))).mean(axis=1)
    n, w, c = logits_NWC.shape
    return probabilities(logits_NWC.reshape(n * w, c)).reshape(n, w, c).mean(axis=1)


def _fitted(
    features_ND: np.ndarray,
    truth_NC: np.ndarray,
    classes: Sequence[str],
    *,
    val: tuple[np.ndarray, np.ndarray],
    steps: Sequence[int],
    seed: int,
    several: bool,
) -> tuple[Classifier, int, float]:
    """(the map, steps that it learnt for, its score on validation)"""
    config = ClassifierConfig(
        classes=tuple(classes), width=features_ND.shape[1], several=several, tower="video", learning=LEARNING
    )
    made = seeded(Classifier, config, seed)
    validate = partial(_validate, views=val[0], truth=val[1])
    choosing = len(steps) > 1
    train = TrainConfig(
        steps=max(steps), batch_size=64, seed=seed, device="cpu", workers=0, save_minutes=1e9,
        evaluations=len(steps) if choosing else 0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, hushed():
        result = fit(
            made, LabelledFeatures(features_ND, truth_NC), config=train, optim=_OPTIM, folder=Path(folder) / "run",
            validate=validate if choosing else None,
        )  # fmt: skip
    return made, max(1, result.best_step), validate(made)["score"]


@torch.no_grad()
def _validate(method: Any, *, views: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    from seehear.evaluation.multilabel import multilabel

    found = of_views(method, views)
    if method.config.several:
        return {"score": multilabel(found, truth, method.config.classes).metrics["mAP"]}
    return {"score": float(truth[np.arange(len(truth)), found.argmax(axis=1)].mean())}


def _views(vectors: np.ndarray) -> np.ndarray:
    return vectors if np.ndim(vectors) == 3 else np.asarray(vectors)[:, None]


def _truth(labels: Sequence[str], classes: Sequence[str]) -> Bool[np.ndarray, "n c"]:
    return np.asarray(labels)[:, None] == np.asarray(classes)[None, :]
