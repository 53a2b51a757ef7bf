"""Changes of pretrained weights: zero at first, so that training starts from the pretrained function."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from seehear.types import Tensor


class Change(nn.Module):
    """weight -> weight + up @ down of a rank; of rank 0, or where that has no fewer numbers, a whole tensor is added.
    A convolution counts as the matrix of its output channels."""

    def __init__(self, shape: Sequence[int], rank: int):
        super().__init__()
        rows, columns = shape[0], int(torch.Size(shape[1:]).numel())
        self.low = 0 < rank * (rows + columns) < rows * columns
        if self.low:
            self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
            self.up = nn.Parameter(torch.zeros(rows, rank))
        else:
            self.whole = nn.Parameter(torch.zeros(*shape))

    def forward(self, weight: Tensor) -> Tensor:
        change = (self.up @ self.down).view_as(weight) if self.low else self.whole
        return weight + change.to(weight.dtype)
