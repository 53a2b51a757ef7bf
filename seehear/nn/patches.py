"""Grids of numbers (frames, waveforms, spectrograms) cut into blocks that do not overlap: one token each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from seehear.types import Tensor


def grid(shape: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """How many blocks fit along each axis; what is left over at an end is left out."""
    return tuple(n // p for n, p in zip(shape, patch, strict=True))


def cut(x: Tensor, patch: Sequence[int]) -> Tensor:
    """(B, n_1, ..., n_k, C) to (B, N, P): the last axis of the grid runs fastest, over blocks and inside a block, and
    channels fastest of all. Video (B, T, H, W, C): token n of a grid t x h x w is block (n // hw, n % hw // w, n % w).
    """
    counts, channels, axes = grid(x.shape[1:-1], patch), x.shape[-1], len(patch)
    x = x[(slice(None), *(slice(n * p) for n, p in zip(counts, patch, strict=True)))]
    x = x.reshape(len(x), *(size for pair in zip(counts, patch, strict=True) for size in pair), channels)
    x = x.permute(0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1)
    return x.reshape(len(x), math.prod(counts), math.prod(patch) * channels)


def joined(x_BNP: Tensor, counts: Sequence[int], patch: Sequence[int]) -> Tensor:
    """(B, n_1, ..., n_k, C) again of what `cut` made."""
    axes = len(patch)
    x = x_BNP.reshape(len(x_BNP), *counts, *patch, -1)
    order = [place for axis in range(axes) for place in (1 + axis, 1 + axes + axis)]
    x = x.permute(0, *order, 2 * axes + 1)
    return x.reshape(len(x), *(n * p for n, p in zip(counts, patch, strict=True)), x.shape[-1])
