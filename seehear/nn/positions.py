"""Learned positions of a grid as a sum of one table an axis, e_pos[i, j, k] = e_t[i] + e_v[j] + e_h[k], that fit any
other grid: 8 + 14 + 14 vectors instead of 8 * 14 * 14.

Another number of places along an axis is interpolated from the table it has: the spline of order 3
s(u) = sum_i w_i |u - u_i|^3 + a + b u through all its knots u_i = i / n, read at j / m. Between the knots that is the
natural cubic spline, beyond the last one a straight line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import nn

from seehear.types import Float, Tensor

_EPS = 1e-6


class Positions(nn.Module):
    """`counts` places along each axis. `norm`: LayerNorm of the sums, so that a token's place weighs as much as a
    token of unit variance; without it places start at the size of the tables, width^-0.5."""

    def __init__(self, counts: Sequence[int], width: int, *, norm: bool):
        super().__init__()
        self.counts = tuple(counts)
        self.table = nn.Parameter(torch.empty(sum(self.counts), width))
        self.norm = nn.LayerNorm(width, eps=_EPS) if norm else nn.Identity()
        std = width**-0.5
        nn.init.trunc_normal_(self.table, std=std, a=-2 * std, b=2 * std)

    def forward(self, counts: Sequence[int]) -> Float[Tensor, "n d"]:
        """The places of a grid in the order of `patches.cut`."""
        total = torch.zeros((), dtype=self.table.dtype, device=self.table.device)
        tables = self.table.split(self.counts)
        for axis, (table, count) in enumerate(zip(tables, counts, strict=True)):
            shape = [1] * len(self.counts) + [table.shape[1]]
            shape[axis] = count
            total = total + resampled(table, count).view(shape)
        return self.norm(total.reshape(math.prod(counts), -1))


def resampled(table_ND: Float[Tensor, "n d"], count: int) -> Float[Tensor, "m d"]:
    if count == len(table_ND):
        return table_ND
    return resampling(len(table_ND), count).to(table_ND) @ table_ND


@lru_cache(maxsize=64)
def resampling(old: int, new: int) -> Float[Tensor, "m n"]:
    """The linear map from `old` knots to `new` places, float64. One knot is a constant."""
    with torch.device("cpu"):  # it is kept: whatever device is the default at the moment
        return _spline(old, new)


def _spline(old: int, new: int) -> Tensor:
    if old == 1:
        return torch.ones(new, 1, dtype=torch.float64)
    knot, place = torch.arange(old, dtype=torch.float64), torch.arange(new, dtype=torch.float64) * old / new
    middle = knot.mean()  # the spline does not depend on origin and scale, its rounding does

    def terms(u: Tensor) -> tuple[Tensor, Tensor]:
        return (u[:, None] - knot).abs() ** 3, torch.stack([torch.ones_like(u), u - middle], dim=1)

    cubes, line = terms(knot)
    system = torch.cat([torch.cat([cubes, line], dim=1), torch.cat([line.T, torch.zeros(2, 2).double()], dim=1)])
    values = torch.cat([torch.eye(old, dtype=torch.float64), torch.zeros(2, old, dtype=torch.float64)])
    return torch.cat(terms(place), dim=1) @ torch.linalg.solve(system, values)
