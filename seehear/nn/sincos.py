"""Fixed positions of a grid, as in MAE and its heirs: sines and cosines, half of the numbers each.

1-D, width d    [sin(p w_0) ..., cos(p w_0) ...],  w_k = 10000^(-k / (d/2))
2-D, width d    d/2 for the second axis (columns), then d/2 for the first (rows)
3-D, width d    d/4 for time, then 3 d/4 as in 2-D for the picture
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from seehear.types import Float, Tensor

_SLOWEST = 10_000.0


def sincos(counts: Sequence[int], width: int) -> Float[Tensor, "n d"]:
    """Positions of a grid of one, two or three axes in the order of `patches.cut`, float32 on the CPU."""
    return _sincos(tuple(counts), width)


def line(place: Float[Tensor, " n"], width: int) -> Float[Tensor, "n d"]:
    """Of places along one axis, in their own precision."""
    half = torch.arange(width // 2, dtype=place.dtype) / (width / 2)
    angle_NK = place[:, None] * _SLOWEST**-half
    return torch.cat([angle_NK.sin(), angle_NK.cos()], dim=1)


@lru_cache(maxsize=32)
def _sincos(counts: tuple[int, ...], width: int) -> Tensor:
    parts = {1: (width,), 2: (width // 2,) * 2, 3: (width // 4, width * 3 // 8, width * 3 // 8)}[len(counts)]
    if sum(parts) != width or any(part % 2 for part in parts):
        raise ValueError(f"width {width} cannot be shared among {len(counts)} axes, with sines and cosines of each")
    with torch.device("cpu"):  # it is kept: whatever device is the default at the moment
        axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in counts), indexing="ij")
        *before, rows, columns = (None, *axes) if len(counts) == 1 else axes
        order = [a for a in (*before, columns, rows) if a is not None]
        return torch.cat([line(a.flatten(), part) for a, part in zip(order, parts, strict=True)], dim=1).float()
