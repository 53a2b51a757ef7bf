"""How sure a machine is of a text, as the weight of the text in training.

A text takes part in an epoch with the probability that is its confidence: over many epochs it weighs that much, in
every loss alike. A clip whose texts sit out lacks text in that epoch. A user's own texts are certain and always take
part. Closed forms and validation count every text once.
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
        """The texts that take part in an epoch, a function of both numbers."""
        if self._drawn is None or self._drawn[0] != (seed, epoch):
            generator = torch.Generator().manual_seed(seed_of(seed, "confidence", epoch))
            chance_R = torch.rand(len(self.confidence_R), generator=generator)  # [0, 1): never below 0, always below 1
            self._drawn = (seed, epoch), chance_R < self.confidence_R
        return self._drawn[1]
