"""The learned scalar that turns cosines into logits: 0-d, and so without weight decay."""

from __future__ import annotations

import torch
from torch import nn

from seehear.types import Tensor


class Temperature(nn.Module):
    """tau itself, a divisor, pulled back into [lowest, highest] before every use. A clamp inside the graph would give
    no gradient outside the bounds, and tau would never return."""

    def __init__(self, start: float = 0.07, *, lowest: float = 0.001, highest: float = 0.5):
        super().__init__()
        self.lowest, self.highest = lowest, highest
        self.tau = nn.Parameter(torch.tensor(start))

    def forward(self) -> Tensor:
        self.tau.data.clamp_(self.lowest, self.highest)
        return self.tau
