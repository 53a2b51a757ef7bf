"""Projection heads with batch norm, for the part of a step that sees the whole batch.

Batch norm here changes nothing while it works: what it saw is handed out (`Seen`) and moves its running statistics when
the step is done. So statistics are those of the whole batch, on any number of processes and with micro-batches, and
rows that lack the modality are in none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from seehear.nn.transformer import glorot
from seehear.types import Tensor


class Seen:
    """Mean and unbiased variance by norm, of those that saw two rows at least. (A class and not a dict: a sharded
    module is called with copies of dicts.)"""

    def __init__(self) -> None:
        self.moments: dict[nn.Module, tuple[Tensor, Tensor]] = {}


class BatchNorm(nn.Module):
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, *, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor, valid: Tensor | None = None, seen: Seen | None = None) -> Tensor:
        """(..., D), where `valid` (...) says which rows count (None: all). Normalised by them and noted in `seen`;
        without it, or without a row that counts, by the running statistics."""
        x = x.to(self.weight.dtype)
        mean, variance = self.running_mean, self.running_var
        rows_ND = x.flatten(0, -2) if valid is None else x[valid]
        if seen is not None and len(rows_ND):
            mean, variance = rows_ND.mean(dim=0), rows_ND.var(dim=0, unbiased=False)
            if (count := len(rows_ND)) > 1:
                seen.moments[self] = mean.detach(), variance.detach() * (count / (count - 1))
        return (x - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias

    @torch.no_grad()
    def move(self, mean: Tensor, variance: Tensor) -> None:
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var), self.momentum)


class Head(nn.Module):
    """Linear maps from `widths[0]` through the others, a ReLU before each but the first (`relu_first`: before it too).
    `norm`: batch norm after each, whose offset then stands for the bias."""

    def __init__(self, widths: Sequence[int], *, norm: bool, relu_first: bool = False):
        super().__init__()
        self.relu_first = relu_first
        steps = list(pairwise(widths))
        self.maps = nn.ModuleList(glorot(nn.Linear(a, b, bias=not norm)) for a, b in steps)
        self.norms = nn.ModuleList(BatchNorm(b) for _, b in steps) if norm else None

    def forward(self, x: Tensor, valid: Tensor | None = None, seen: Seen | None = None) -> Tensor:
        for i, linear in enumerate(self.maps):
            x = linear(x.relu() if i or self.relu_first else x)
            if self.norms is not None:
                x = self.norms[i](x, valid, seen)
        return x
