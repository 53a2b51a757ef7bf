"""Evaluation of classifiers, and of scores from elsewhere, on labelled clips; VATT's low-rank probe."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seehear.downstream.labels import LabelledClips, LabelledFeatures
from seehear.errors import SeehearError
from seehear.evaluation.classify import Classification, Labelled, by_scores, probabilities
from seehear.evaluation.multilabel import Marked, multilabel, truth_of
from seehear.evaluation.results import TaskResult
from seehear.evaluation.tasks import ScoredClips, classification_result, multilabel_result
from seehear.methods.base import seeded
from seehear.methods.classifier import Classifier, ClassifierConfig, Learning
from seehear.progress import hushed, say
from seehear.runs.features import features_of
from seehear.train.config import Precision, TrainConfig
from seehear.train.loop import fit
from seehear.train.optim import OptimConfig
from seehear.types import Float


def logits_of(
    classifier: Classifier,
    labelled: LabelledClips,
    *,
    windows: int = 1,
    crops: int = 1,
    workers: int = 0,
    precision: Precision = "fp32",
) -> Float[np.ndarray, "n c"]:
    """Mean logits over the views of each clip; NaN if one of them cannot be read."""
    assert classifier.model is not None, "the classifier is of a tower"
    tower = classifier.config.tower
    views_NWD = features_of(
        classifier.model,
        labelled.media.views(windows=windows, crops=crops),
        towers=(tower,),
        workers=workers,
        precision=precision,
    )[tower]
    return _head_logits(classifier, views_NWD).mean(axis=1)


@torch.no_grad()
def _head_logits(classifier: Classifier, views_NWD: Float[np.ndarray, "n w d"]) -> Float[np.ndarray, "n w c"]:
    """Logits of features in memory."""
    x = torch.from_numpy(views_NWD).flatten(0, 1).to(classifier.last.weight.device)
    # In parts: the features of a large set do not fit on a device at once.
    logits = torch.cat([classifier.classify(some) for some in x.split(8192)])
    return logits.float().cpu().numpy().reshape(*views_NWD.shape[:2], -1)


def scores(
    logits_NC: np.ndarray, labelled: LabelledClips, classes: Sequence[str], *, several: bool
) -> dict[str, float]:
    """Metrics, and `score`, the one that chooses weights: top1, or mAP with several labels a clip."""
    here = np.flatnonzero(np.isfinite(logits_NC).all(axis=1))
    rows = labelled.take(here)
    if several:
        found = multilabel(logits_NC[here], rows.truth(classes), classes).metrics
        return {"score": found["mAP"], **found}
    metrics = by_scores(logits_NC[here], rows.firsts, list(classes)).metrics
    return {"score": metrics["top1"], **metrics}


def result_of(
    logits_NC: np.ndarray, labelled: LabelledClips, classes: Sequence[str], *, several: bool, task: str, model: str
) -> TaskResult:
    """Metrics with intervals over source recordings. Unreadable clips are left out and counted."""
    here = np.flatnonzero(np.isfinite(logits_NC).all(axis=1))
    if not len(here):
        raise SeehearError("no clip of the test could be read")
    rows, unread = labelled.take(here), len(labelled) - len(here)
    if unread:
        say(f"{unread:,} of {len(labelled):,} clips cannot be read in every view: they are left out")
    items, details = scored_clips(rows, model), {"unread": unread}
    if several:
        return multilabel_result(task, logits_NC[here], rows.truth(classes), classes, items, details=details)
    found = by_scores(logits_NC[here], rows.firsts, list(classes))
    return classification_result(task, found, items, details=details)


def scored_clips(rows: LabelledClips, model: str) -> ScoredClips:
    return ScoredClips(ids=rows.ids, groups=rows.groups, labels=None, model=model, seed=0)


# VATT's low-rank classifier (LRC) on frozen features, with the signature of the probes in `evaluation/classify.py`:
#
#     logits = V dropout_0.9(U f),  U (128 x d), V (C x 128);  Adam at 5e-4, batches of 64, 0.1 |V|^2 added to the loss
#
# Validation chooses the number of steps.
STEPS = tuple(range(250, 5001, 250))
LEARNING = Learning(rank=128, dropout=0.9, l2=0.1)
_OPTIM = OptimConfig(lr=5e-4, schedule="constant", warmup=0.0, weight_decay=0.0)


def lrc_probe(
    train: Labelled, val: Labelled, test: Labelled, *, steps: Sequence[int] = STEPS, seed: int = 0
) -> Classification:
    """Classification of the test clips. `steps`: evenly spaced candidates for the number of steps."""
    classes = sorted(set(train.labels))
    fitted, known = (
        Marked(np.asarray(p.vectors), truth_of([[own] for own in p.labels], classes)) for p in (train, val)
    )
    views = np.asarray(test.vectors)
    found, chosen = lrc_scores(fitted, known, views, several=False, steps=steps, seed=seed)
    return by_scores(found, test.labels, classes, chosen=chosen)


def lrc_scores(
    train: Marked,
    val: Marked,
    test: Float[np.ndarray, "n d"] | Float[np.ndarray, "n w d"],
    *,
    several: bool,
    steps: Sequence[int] = STEPS,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "n c"], dict[str, float]]:
    """Probabilities of the test clips, and the number of steps with its validation score: mAP with `several` labels a
    clip, else top1. Validation and test clips may have several views, (N, W, D)."""
    classes, width = tuple(map(str, range(train.truth.shape[1]))), train.vectors.shape[1]
    config = ClassifierConfig(classes=classes, width=width, several=several, tower="video", learning=LEARNING)
    made = seeded(Classifier, config, seed)

    def validate(method: Any) -> dict[str, float]:
        found = _of_views(method, val.vectors)
        if several:
            return {"score": multilabel(found, val.truth, classes).metrics["mAP"]}
        return {"score": float(val.truth[np.arange(len(found)), found.argmax(axis=1)].mean())}

    choosing = len(steps) > 1
    # Candidates are evenly spaced, so evaluations of one run cover them all; the folder is temporary: no checkpoints.
    training = TrainConfig(
        steps=max(steps), batch_size=64, seed=seed, device="cpu", workers=0, save_minutes=1e9,
        evaluations=len(steps) if choosing else 0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, hushed():
        result = fit(
            made, LabelledFeatures(train.vectors, train.truth), config=training, optim=_OPTIM,
            folder=Path(folder) / "run", validate=validate if choosing else None,
        )  # fmt: skip
    chosen = {"steps": max(1, result.best_step), f"validation_{'mAP' if several else 'top1'}": validate(made)["score"]}
    return _of_views(made, test), chosen


@torch.no_grad()
def _of_views(made: Classifier, views: np.ndarray) -> Float[np.ndarray, "n c"]:
    """Mean probabilities over the views (N, W, D) of each clip, or those of its one view (N, D)."""
    views_NWD = views if np.ndim(views) == 3 else views[:, None]
    logits_NWC = _head_logits(made, views_NWD.astype(np.float32))
    if made.config.several:
        # Probabilities before the mean: one view that is sure does not outweigh the others without bound.
        return (1 / (1 + np.exp(-logits_NWC))).mean(axis=1)
    n, w, c = logits_NWC.shape
    return probabilities(logits_NWC.reshape(n * w, c)).reshape(n, w, c).mean(axis=1)
