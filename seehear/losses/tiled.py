"""Symmetric InfoNCE without the B x B matrix: exact, O(B * tile) memory, and faster than the plain form, which is bound
by its traffic over B x B numbers.

    l_ij = x_i . y_j / tau,   loss = 1/2 [ mean_i (r_i - l_ii) + mean_j (c_j - l_jj) ]
    r_i = log sum_j exp l_ij,   c_j = log sum_i exp l_ij                    first pass over row tiles
    dl_ij = (exp(l_ij - r_i) + exp(l_ij - c_j) - 2 [i = j]) / 2B            second pass, l again
    dx = dl y / tau,   dy = dl' x / tau,   dtau = -sum_ij l_ij dl_ij / tau = -sum_i x_i . dx_i / tau

8 B^2 E operations in all. A margin taken off every l_ii changes none of the derivatives of l. Unit rows bound |l| by
1/tau: down to tau = 1/64 the exponentials cannot leave the range of fp32 and no maximum is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from seehear.losses.overlap import Overlap
from seehear.types import Float, Tensor

_LARGEST_LOGIT = 64.0  # e^64 = 6e27: sums over any batch stay far inside fp32


@dataclass(frozen=True)
class Tiles:
    """How the matrix is worked off."""

    rows: int
    """Of a tile."""
    product: torch.dtype
    """The type in which x_i . y_j is formed; sums and exponentials stay in fp32 (fp64 for fp64)."""
    margin: float
    """Taken off the logits of matches."""
    unit: bool
    """Whether rows have length 1."""
    exclude: Overlap | None


def tiled_info_nce(
    x_BE: Float[Tensor, "b e"], y_BE: Float[Tensor, "b e"], temperature: Float[Tensor, ""], tiles: Tiles
) -> Float[Tensor, ""]:
    return _Tiled.apply(x_BE, y_BE, temperature, tiles)


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, tau: Tensor, tiles: Tiles) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            loss, row_log, col_log = _Work(x, y, tau, tiles).sums()
        ctx.save_for_backward(x, y, tau, row_log, col_log)
        ctx.tiles = tiles
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, y, tau, row_log, col_log = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            dx, dy, dtau = _Work(x, y, tau, ctx.tiles).gradients(row_log, col_log)
        scale = grads[0] / (2 * len(x))
        dx, dy = dx.mul_(scale).to(x.dtype), dy.mul_(scale).to(y.dtype)
        return dx, dy, (dtau * scale).to(tau.dtype), None


class _Work:
    """The tiles of one batch."""

    def __init__(self, x: Tensor, y: Tensor, tau: Tensor, tiles: Tiles):
        self.sum = torch.float64 if x.dtype == torch.float64 else torch.float32
        self.x, self.tau = x.to(self.sum), tau.to(self.sum)
        self.exclude, self.tile, self.margin = tiles.exclude, tiles.rows, tiles.margin
        self.scaled = (self.x if bool(self.tau == 1) else self.x / self.tau).to(tiles.product)  # raw products: no copy
        self.y = y.to(tiles.product)
        self.bounded = tiles.unit and bool(1 / self.tau <= _LARGEST_LOGIT)

    def sums(self) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, and the log-sums of rows and columns."""
        num = len(self.x)
        row_log, positive = self.x.new_empty(num), self.x.new_empty(num)
        column = self.x.new_zeros(num) if self.bounded else self.x.new_full((num,), -torch.inf)
        for rows, logits in self._tiles():
            positive[rows] = logits.diagonal(rows.start)
            if self.bounded:
                weights = logits.exp_()
                row_log[rows] = weights.sum(dim=1).log_()
                column += weights.sum(dim=0)
            else:
                row_log[rows] = logits.logsumexp(dim=1)
                column = torch.logaddexp(column, logits.logsumexp(dim=0))
        col_log = column.log() if self.bounded else column
        loss = ((row_log + col_log) / 2 - positive).mean()
        return loss, row_log, col_log

    def gradients(self, row_log: Tensor, col_log: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """2B times the gradients with respect to x, y and tau."""
        dx, dy = torch.empty_like(self.x), torch.zeros_like(self.x)
        per_row, per_column = torch.exp(-row_log)[:, None], torch.exp(-col_log)
        both = self.x.new_empty(self.tile, len(self.x))
        for rows, logits in self._tiles():
            share = both[: len(logits)]
            if self.bounded:
                torch.add(per_row[rows], per_column, out=share)
                share.mul_(logits.exp_())
            else:
                torch.sub(logits, row_log[rows, None], out=share)
                share.exp_().add_(logits.sub_(col_log).exp_())
            share.diagonal(rows.start).sub_(2)
            dlogits = share.to(self.y.dtype)
            dx[rows] = dlogits @ self.y
            if self.y.dtype == self.sum:
                dy.addmm_(dlogits.T, self.scaled[rows])
            else:
                dy += dlogits.T @ self.scaled[rows]
        dx /= self.tau
        return dx, dy, -torch.dot(self.x.flatten(), dx.flatten()) / self.tau

    def _tiles(self) -> Iterator[tuple[slice, Tensor]]:
        """Row ranges and their logits, in one buffer that is used again and again."""
        num = len(self.x)
        buffer = self.y.new_empty(self.tile, num)
        for start in range(0, num, self.tile):
            rows = slice(start, min(start + self.tile, num))
            products = torch.mm(self.scaled[rows], self.y.T, out=buffer[: rows.stop - start])
            logits = products.to(self.sum)
            logits.diagonal(rows.start).sub_(self.margin)
            if self.exclude is not None:
                logits[self.exclude.pairs(rows)] = -torch.inf
            yield rows, logits
