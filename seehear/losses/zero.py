"""The loss of a batch in which no row counts."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from seehear.types import Float, Tensor


def zero_of(tensors: Iterable[Tensor]) -> Float[Tensor, ""]:
    """Zero with the graph of all these tensors: `backward` works when every term of a loss is skipped, and gives their
    parameters gradients of zero."""
    return torch.stack([x[:0].sum() for x in tensors]).sum()
