"""Which tokens of a sequence are kept: DropToken (arXiv 2104.11178). Only what is kept is computed."""

from __future__ import annotations

import torch

from seehear.nn.random import Randomness
from seehear.types import Tensor


def num_kept(total: int, rate: float) -> int:
    """floor(rate * total), and at least one."""
    return max(1, int(rate * total))


def keep_set(
    rng: Randomness | None, name: str, total: int, *, rate: float, per_sample: bool, device: torch.device
) -> Tensor | None:
    """Positions of kept tokens in rising order: (M,) that the whole batch shares, or (B, M) with draws of its own for
    each sample. None keeps all: without `rng`, or with a rate of 1."""
    if rng is None or rate >= 1:
        return None
    count = num_kept(total, rate)
    if per_sample:
        return rng.uniform(name, total).argsort(dim=1)[:, :count].sort(dim=1).values.to(device)
    return torch.randperm(total, generator=rng.shared(name))[:count].sort().values.to(device)


def take(x_BND: Tensor, keep: Tensor) -> Tensor:
    """(B, M, D): the kept tokens of (B, N, D)."""
    if keep.dim() == 1:
        return x_BND[:, keep]
    return x_BND.gather(1, keep[:, :, None].expand(-1, -1, x_BND.shape[2]))
