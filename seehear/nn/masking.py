"""Which tokens of a sequence are kept: DropToken (arXiv 2104.11178), the random order of MAE (arXiv 2111.06377), whole
lines of a grid. Only what is kept is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from seehear.errors import SeehearError
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


@dataclass(frozen=True)
class Shuffle:
    """A random order of each row's tokens, of which the first `visible` are seen (MAE)."""

    order_BN: Tensor
    """Numbers of tokens in that order."""
    visible: int

    @property
    def kept(self) -> Tensor:
        """(B, M) numbers of the tokens that are seen."""
        return self.order_BN[:, : self.visible]

    @property
    def hidden(self) -> Tensor:
        """(B, N - M) numbers of the others."""
        return self.order_BN[:, self.visible :]

    @property
    def restore(self) -> Tensor:
        """(B, N): where in the order each token stands; taken from [kept, hidden] it gives the order of the grid."""
        return self.order_BN.argsort(dim=1)


def shuffle(draws_BN: Tensor, visible: int) -> Shuffle:
    """By independent draws, one a token. Equal draws stay in the order of their tokens, on any device."""
    return Shuffle(draws_BN.argsort(dim=1, stable=True), visible)


def num_visible(total: int, ratio: float) -> int:
    """floor(total (1 - ratio)), whatever 1 - ratio rounds to."""
    visible = math.floor(total * (1 - ratio) + 1e-6)
    if not 0 < visible < total:
        raise SeehearError(f"hiding {ratio:g} of {total} patches leaves {visible} to be seen: some, not all, must be")
    return visible


def keep_lines(rng: Randomness, name: str, counts: Sequence[int], rates: Sequence[float]) -> Tensor:
    """(B, M) numbers of the tokens of a grid that are left when a random part of the lines along each axis is taken
    out: rows of a spectrogram and its columns. At least one line of each axis stays."""
    kept = torch.zeros(rng.stop - rng.start, 1, dtype=torch.long, device=rng.device)
    for axis, (count, rate) in enumerate(zip(counts, rates, strict=True)):
        lines = max(1, math.floor(count * (1 - rate) + 1e-6))
        chosen = rng.uniform(f"{name}/{axis}", count).argsort(dim=1, stable=True)[:, :lines].sort(dim=1).values
        kept = (kept[:, :, None] * count + chosen[:, None, :]).flatten(1)
    return kept
