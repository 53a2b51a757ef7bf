"""Labelled clips as training data: media or features with labels, drawn evenly or by the rarity of their classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from seehear.downstream.labels import LabelledClips
from seehear.inputs.raw.media import RawMedia
from seehear.nn.random import seed_of
from seehear.types import Batch, Bool, Float, Int, Tensor


class LabelledMedia:
    """`TrainingData` of decoded clips. `drawn`: clips per epoch, sampled by the rarity of their classes, without
    replacement if there are enough; 0: each clip once."""

    heavy = True
    together = 1

    def __init__(self, labelled: LabelledClips, classes: Sequence[str], *, drawn: int = 0):
        self.media: RawMedia = labelled.media
        self.numbers = labelled.numbers(classes)
        self.num_classes, self.drawn = len(classes), drawn
        self.weights = class_weights(self.numbers, len(classes)) if drawn else None
        self._epoch: tuple[tuple[int, int], Tensor] | None = None

    def __len__(self) -> int:
        return self.drawn or len(self.numbers)

    @property
    def groups(self) -> Tensor:
        """Group of each sample; clips that are drawn anew each epoch have one each."""
        return torch.arange(self.drawn) if self.drawn else self.media.groups

    def batch(self, indices: Int[Tensor, " b"], *, seed: int = 0, epoch: int = 0) -> Batch:
        clips = self.clips(seed, epoch)[indices.cpu()]
        labels = torch.zeros(len(clips), self.num_classes)
        for row, clip in enumerate(clips.tolist()):
            labels[row, list(self.numbers[clip])] = 1.0
        return self.media.batch(clips, seed=seed, epoch=epoch) | {"label": labels}

    def clips(self, seed: int, epoch: int) -> Int[Tensor, " n"]:
        """Clip of each sample of an epoch."""
        if self.weights is None:
            return torch.arange(len(self.numbers))
        if self._epoch is None or self._epoch[0] != (seed, epoch):
            self._epoch = (seed, epoch), drawn_by(self.weights, self.drawn, seed_of(seed, "classes", epoch))
        return self._epoch[1]


class LabelledFeatures:
    """`TrainingData` of features in memory."""

    heavy = False
    together = 1

    def __init__(self, features: Float[np.ndarray, "n d"], truth_NC: Bool[np.ndarray, "n c"]):
        self.features = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
        self.labels = torch.from_numpy(truth_NC.astype(np.float32))
        self.groups = torch.arange(len(features))

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, indices: Int[Tensor, " b"], *, seed: int = 0, epoch: int = 0) -> Batch:
        here = torch.ones(len(indices), dtype=torch.bool)
        return {"features": self.features[indices], "has_features": here, "label": self.labels[indices]}


def class_weights(numbers: Sequence[tuple[int, ...]], classes: int) -> Float[np.ndarray, " n"]:
    """Sampling weight of each clip: the sum over its labels of 1000 / (clips with the label + 0.01)."""
    count_C = np.bincount([c for own in numbers for c in own], minlength=classes)
    weight_C = 1000.0 / (count_C + 0.01)
    return np.array([weight_C[list(own)].sum() for own in numbers])


def drawn_by(weights_N: Float[np.ndarray, " n"], count: int, seed: int) -> Int[Tensor, " count"]:
    """`count` rows by weight: without replacement if there are enough with weight, else with."""
    rng = np.random.default_rng(seed)
    if count < np.count_nonzero(weights_N):
        # Exponential races: the first `count` arrivals are a weighted sample without replacement.
        with np.errstate(divide="ignore"):
            first = np.argsort(rng.exponential(size=len(weights_N)) / weights_N, kind="stable")[:count]
        return torch.from_numpy(rng.permutation(first))
    return torch.from_numpy(rng.choice(len(weights_N), size=count, p=weights_N / weights_N.sum()))
