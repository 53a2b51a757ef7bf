"""From raw media and word numbers to the token sequence of a Transformer, an aggregation token in front.

patches     x_n W + e_pos[n],  n in the keep set;  AGG in front, without a position
words       AGG and word vectors through one map and GELU (then a Transformer with relative positions), or word
            vectors through it plus absolute positions, AGG in front (for a Transformer that others share)
positions   learned, one table an axis: e_pos[i, j, k] = e_t[i] + e_v[j] + e_h[k], 8 + 14 + 14 vectors instead of
            8 * 14 * 14. Another number of places along an axis is interpolated from the table it has: the spline of
            order 3  s(u) = sum_i w_i |u - u_i|^3 + a + b u  through all its knots u_i = i / n, read at j / m. Between
            the knots that is the natural cubic spline, beyond the last one a straight line.
keep set    DropToken (arXiv 2104.11178), the random order of MAE (arXiv 2111.06377), whole lines of a grid. Only what
            is kept is computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.nn.random import Randomness, dropout
from seehear.nn.transformer import folded_dropout, glorot
from seehear.types import Bool, Float, Int, Tensor

_EPS = 1e-6


class PatchTokens(nn.Module):
    """Tokens of a grid (B, n_1, ..., C): frames, samples or a spectrogram. `shape` is the grid that positions are
    learnt for, any other one is interpolated; `mix` adds a second map with GELU, for a Transformer shared by several
    modalities."""

    def __init__(
        self,
        shape: Sequence[int],
        patch: Sequence[int],
        *,
        channels: int,
        width: int,
        mix: bool,
        position_norm: bool,
        keep: float,
        keep_per_sample: bool,
        dropout: float,
    ):
        super().__init__()
        self.patch, self.channels, self.dropout = tuple(patch), channels, dropout
        self.keep, self.keep_per_sample = keep, keep_per_sample
        size = torch.Size(self.patch).numel() * channels
        self.project = glorot(nn.Linear(size, width))
        self.mix = glorot(nn.Linear(width, width)) if mix else None
        self.positions = Positions(grid(shape, patch), width, norm=position_norm)
        self.aggregate = aggregation(width)

    def forward(self, x: Tensor, *, rng: Randomness | None, name: str) -> Float[Tensor, "b m d"]:
        counts = self._grid(x, name)
        patches_BNP, place_ND = cut(x, self.patch), self.positions(counts)
        rate, each = self.keep, self.keep_per_sample
        keep = keep_set(rng, f"{name}/keep", patches_BNP.shape[1], rate=rate, per_sample=each, device=x.device)
        if keep is not None:  # dropped before they are projected
            patches_BNP, place_ND = take(patches_BNP, keep), place_ND[keep]
        x_BMD = self.project(signal(patches_BNP, self.aggregate.dtype))
        if self.mix is not None:
            x_BMD = F.gelu(self.mix(x_BMD))
        x_BMD = dropout(x_BMD + place_ND, self.dropout, rng, f"{name}/tokens")
        return torch.cat([self.aggregate.to(x_BMD.dtype).expand(len(x), 1, -1), x_BMD], dim=1)

    def _grid(self, x: Tensor, name: str) -> tuple[int, ...]:
        if x.dim() != len(self.patch) + 2 or x.shape[-1] != self.channels:
            found = " x ".join(str(n) for n in x.shape[1:])
            wanted = f"{len(self.patch)} axes and {self.channels} channels"
            raise SeehearError(f"{name} of a clip is {found}, this model reads {wanted}, the channels last")
        counts = grid(x.shape[1:-1], self.patch)
        if 0 in counts:
            found, patch = (" x ".join(str(n) for n in sizes) for sizes in (x.shape[1:-1], self.patch))
            raise SeehearError(f"{name} of a clip is {found}, a patch alone {patch}: take longer or larger clips")
        return counts


class WordTokens(nn.Module):
    """Tokens of word numbers (N, L), 0 is padding. `absolute`: number of learnt positions, for a Transformer shared by
    several modalities; None: for one with relative positions. `trained`: whether the word vectors learn."""

    def __init__(
        self,
        vocabulary: int,
        word_width: int,
        *,
        width: int,
        absolute: int | None,
        position_norm: bool,
        trained: bool,
        dropout: float,
    ):
        super().__init__()
        self.absolute, self.dropout = absolute, dropout
        self.table = nn.Embedding(vocabulary, word_width)
        self.table.weight.requires_grad_(trained)
        self.project = glorot(nn.Linear(word_width, width, bias=absolute is not None))
        self.positions = None if absolute is None else Positions((absolute,), width, norm=position_norm)
        self.aggregate = aggregation(word_width if absolute is None else width)

    def forward(
        self, ids_NL: Int[Tensor, "n l"], *, rng: Randomness | None, name: str
    ) -> tuple[Float[Tensor, "n t d"], Bool[Tensor, "n t"]]:
        """(tokens, 1 = a token and 0 = padding)"""
        self._check(ids_NL)
        if self.absolute is not None:
            ids_NL = F.pad(ids_NL, (0, self.absolute - ids_NL.shape[1]))
        mask_NT = F.pad(ids_NL != 0, (1, 0), value=True)
        x_NLD = self.table(ids_NL)
        aggregate_N1D = self.aggregate.expand(len(x_NLD), 1, -1)
        if self.positions is None:
            x_NTD = F.gelu(self.project(torch.cat([aggregate_N1D, x_NLD], dim=1)))
            return folded_dropout(x_NTD, self.dropout, rng, f"{name}/tokens"), mask_NT
        x_NLD = F.gelu(self.project(x_NLD)) + self.positions((x_NLD.shape[1],))
        x_NLD = folded_dropout(x_NLD, self.dropout, rng, f"{name}/tokens")
        return torch.cat([aggregate_N1D.to(x_NLD.dtype), x_NLD], dim=1), mask_NT

    @torch.no_grad()
    def load(self, table_VD: Float[Tensor, "v d"]) -> None:
        """Take word vectors, row 0 for padding."""
        if table_VD.shape != self.table.weight.shape:
            found, own = (" words of width ".join(f"{n:,}" for n in x.shape) for x in (table_VD, self.table.weight))
            raise SeehearError(f"the word table has {found}, this model was made for {own}: another vocabulary?")
        self.table.weight.copy_(table_VD)

    def _check(self, ids_NL: Tensor) -> None:
        if ids_NL.is_meta or torch.compiler.is_compiling():  # no values, or looking at them would break the graph
            return
        words = self.table.num_embeddings
        lowest, highest = (int(v) for v in ids_NL.aminmax()) if ids_NL.numel() else (0, 0)
        if lowest < 0 or highest >= words:
            wrong = lowest if lowest < 0 else highest
            raise SeehearError(f"word number {wrong:,} is not among the {words:,} of this model: another vocabulary?")
        if self.absolute is not None and ids_NL.shape[1] > self.absolute:
            raise SeehearError(f"a sentence has room for {ids_NL.shape[1]} words, this model reads {self.absolute}")


def signal(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes scaled to [-1, 1]; other types unchanged but for the dtype."""
    return x.to(dtype) * (2 / 255) - 1 if x.dtype == torch.uint8 else x.to(dtype)


def aggregation(width: int) -> nn.Parameter:
    """AGG, the token whose output stands for the sequence."""
    return nn.Parameter(torch.randn(width) * width**-0.5)


# -- patches -----------------------------------------------------------------------------------------------------------


def grid(shape: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Number of whole blocks along each axis; the rest at the end is left out."""
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
    """(B, n_1, ..., n_k, C): the inverse of `cut`."""
    axes = len(patch)
    x = x_BNP.reshape(len(x_BNP), *counts, *patch, -1)
    order = [place for axis in range(axes) for place in (1 + axis, 1 + axes + axis)]
    x = x.permute(0, *order, 2 * axes + 1)
    return x.reshape(len(x), *(n * p for n, p in zip(counts, patch, strict=True)), x.shape[-1])


# -- positions ---------------------------------------------------------------------------------------------------------


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
        """The places of a grid in the order of `tokens.cut`."""
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
    with torch.device("cpu"):  # the cached map must not lie on the device that happens to be the default now
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


# -- which tokens are kept ---------------------------------------------------------------------------------------------


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
