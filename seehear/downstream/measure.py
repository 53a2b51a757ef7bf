"""Measures of a classifier, or of scores by other means, on labelled clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from seehear.downstream.labels import Labelled
from seehear.errors import SeehearError
from seehear.evaluation.classify import Classification, by_scores
from seehear.evaluation.multilabel import multilabel
from seehear.evaluation.results import TaskResult
from seehear.evaluation.tasks import Clips, classification_result, multilabel_result
from seehear.methods.classifier import Classifier
from seehear.progress import say
from seehear.runs.features import features_of
from seehear.train.config import Precision
from seehear.types import Float


def logits_of(
    classifier: Classifier,
    labelled: Labelled,
    *,
    windows: int = 1,
    crops: int = 1,
    workers: int = 0,
    precision: Precision = "fp32",
) -> Float[np.ndarray, "n c"]:
    """The mean of the logits of a clip's views; NaN where one of them cannot be read."""
    assert classifier.model is not None, "the classifier is of a tower"
    tower = classifier.config.tower
    views_NWD = features_of(
        classifier.model,
        labelled.media,
        towers=(tower,),
        windows=windows,
        crops=crops,
        workers=workers,
        precision=precision,
    )[tower]
    return head_logits(classifier, views_NWD).mean(axis=1)


@torch.no_grad()
def head_logits(classifier: Classifier, views_NWD: Float[np.ndarray, "n w d"]) -> Float[np.ndarray, "n w c"]:
    """Of features at hand."""
    x = torch.from_numpy(views_NWD).flatten(0, 1).to(classifier.last.weight.device)
    logits = torch.cat([classifier.classify(some) for some in x.split(8192)])
    return logits.float().cpu().numpy().reshape(*views_NWD.shape[:2], -1)


def scores(logits_NC: np.ndarray, labelled: Labelled, classes: Sequence[str], *, several: bool) -> dict[str, float]:
    """Metrics alone, and `score`, the one to choose weights by: top1, or mAP where clips have several labels."""
    here = np.flatnonzero(np.isfinite(logits_NC).all(axis=1))
    if several:
        found = multilabel(logits_NC[here], labelled.truth(classes)[here], classes).metrics
        return {"score": found["mAP"], **found}
    metrics = by_scores(logits_NC[here], _only(labelled, here), list(classes)).metrics
    return {"score": metrics["top1"], **metrics}


def result_of(
    logits_NC: np.ndarray,
    labelled: Labelled,
    classes: Sequence[str],
    *,
    several: bool,
    task: str,
    model: str,
    details: dict[str, Any] | None = None,
) -> TaskResult:
    """Measures with intervals over source recordings. Clips that cannot be read are left out, and counted."""
    here = np.flatnonzero(np.isfinite(logits_NC).all(axis=1))
    if not len(here):
        raise SeehearError("no clip of the test could be read")
    rows, details = labelled.take(here), {**(details or {}), "unread": len(labelled) - len(here)}
    if details["unread"]:
        say(f"{details['unread']:,} of {len(labelled):,} clips cannot be read in every view: they are left out")
    if several:
        clips = clips_of(rows, model)
        truth = rows.truth(classes)
        return multilabel_result(task, logits_NC[here], truth, rows.groups, classes, clips, details=details)
    found = by_scores(logits_NC[here], _only(labelled, here), list(classes))
    return classified(found, rows, task=task, model=model, details=details)


def classified(found: Classification, rows: Labelled, *, task: str, model: str, details: dict[str, Any]) -> TaskResult:
    owner = np.arange(len(rows))
    return classification_result(task, found, clips_of(rows, model), rows.ids, owner, details=details)


def clips_of(rows: Labelled, model: str) -> Clips:
    return Clips(ids=rows.ids, groups=rows.groups, labels=None, model=model, seed=0)


def _only(labelled: Labelled, rows: np.ndarray) -> list[str]:
    return [labelled.labels[i][0] for i in rows]
