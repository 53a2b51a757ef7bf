"""Confidence of machine-made texts as their weight in training.

A text takes part in an epoch with a probability equal to its confidence, so that it weighs that much over many epochs,
in every loss. Without any of its texts a clip lacks text in that epoch. A user's texts always take part. Closed forms
and validation count every text once.
"""

from __future__ import annotations

import numpy as np
import torch

from seehear.nn.random import seed_of
from seehear.types import Bool, Float, Tensor


class TextWeights:
    def __init__(self, confidence_R: Float[np.ndarray | Tensor, " r"]):
        """Confidence of each text, in [0, 1]."""
        self.confidence_R = torch.as_tensor(confidence_R, dtype=torch.float32)
        self._drawn: tuple[tuple[int, int], Tensor] | None = None

    def taking_part(self, seed: int, epoch: int) -> Bool[Tensor, " r"]:
        """Texts that take part in an epoch."""
        if self._drawn is None or self._drawn[0] != (seed, epoch):
            generator = torch.Generator().manual_seed(seed_of(seed, "confidence", epoch))
            # [0, 1): never below 0, always below 1.
            chance_R = torch.rand(len(self.confidence_R), generator=generator)
            self._drawn = (seed, epoch), chance_R < self.confidence_R
        return self._drawn[1]
