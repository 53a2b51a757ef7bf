"""Contrastive losses between two sets of unit vectors whose rows belong together, and over several modalities.

Every loss takes rows of unit length (or says so); all else in a batch is a negative but for the pairs that an `Overlap`
excludes.
Products are formed in the autocast type where autocast is on, in the type of the inputs otherwise; exponentials and
sums in fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from torch.nn import functional as F

from seehear.losses.overlap import Overlap, join, same_group
from seehear.losses.tiled import Tiles, tiled_info_nce
from seehear.losses.zero import zero_of
from seehear.types import Bool, Float, Modality, Tensor

__all__ = [
    "Overlap",
    "Pairwise",
    "info_nce",
    "join",
    "matryoshka",
    "pairwise",
    "same_group",
]

_DENSE_UP_TO = 1024  # rows, or as many as rows are wide: the matrix is then 4 MB, or no larger than what it is made of
_TILE = 256
_CUDA_TILE_NUMBERS = 2**25  # on a GPU launches cost more than memory: 128 MB a tile

PairLoss = Callable[..., Tensor]
"""loss(x_BE, y_BE, exclude=...) -> scalar."""


def info_nce(
    x_BE: Float[Tensor, "b e"],
    y_BE: Float[Tensor, "b e"],
    temperature: Float[Tensor, ""] | float,
    *,
    margin: float = 0.0,
    unit: bool = True,
    exclude: Overlap | None = None,
    tile: int | None = None,
) -> Float[Tensor, ""]:
    """Mean of the cross-entropies of rows and of columns of x y' / temperature; log(B) when all similarities are equal.

    With few rows the matrix is formed, with many (or a given `tile` of rows) it is worked off in tiles: the same number
    to rounding. Excluded pairs are in neither sum. `margin` is taken off the logits of matches; `unit` says that rows
    have length 1, so that no logit can be large.
    """
    _check(x_BE, y_BE, exclude)
    tau = torch.as_tensor(temperature, dtype=_sum_dtype(x_BE), device=x_BE.device)
    if tile is None and len(x_BE) <= max(_DENSE_UP_TO, x_BE.shape[1]):
        logits_BB = _products(x_BE, y_BE) / tau
        logits_BB.diagonal().sub_(margin)
        if exclude is not None:
            logits_BB[exclude.pairs(slice(0, len(x_BE)))] = -torch.inf
        return ((logits_BB.logsumexp(dim=1) + logits_BB.logsumexp(dim=0)) / 2 - logits_BB.diagonal()).mean()
    tiles = Tiles(tile or _tile(x_BE), _product_dtype(x_BE), margin, unit, exclude)
    return tiled_info_nce(x_BE, y_BE, tau, tiles)


def matryoshka(
    loss: Callable[[Tensor, Tensor], Tensor],
    x_BE: Float[Tensor, "b e"],
    y_BE: Float[Tensor, "b e"],
    dims: Sequence[int],
) -> Float[Tensor, ""]:
    """Mean of a loss over prefixes of the vectors, each made unit again (arXiv 2205.13147)."""
    parts = [loss(F.normalize(x_BE[:, :d], dim=1), F.normalize(y_BE[:, :d], dim=1)) for d in dims]
    return torch.stack(parts).mean()


@dataclass(frozen=True)
class Pairwise:
    """A loss over pairs of modalities."""

    total: Tensor
    """Weighted mean of the terms; zero, with a zero gradient, when no pair had two rows."""
    terms: dict[tuple[Modality, Modality], Tensor]
    """By pair of modalities, those that had two rows at least."""


def pairwise(
    z: Mapping[Modality, Float[Tensor, "b e"]],
    present: Mapping[Modality, Bool[Tensor, " b"]],
    loss: PairLoss,
    *,
    pairs: Sequence[tuple[Modality, Modality]] | None = None,
    weighting: Literal["pairs", "rows"] = "pairs",
    exclude: Callable[[Modality, Modality], Overlap | None] | None = None,
) -> Pairwise:
    """The loss of each pair of modalities over the rows that have both, averaged with equal say of every pair, or of
    every row. All pairs by default, or only those given (a hub). Pairs with fewer than two rows are skipped: they have
    no negatives. Absent rows are dropped before anything is computed, so whatever they hold has no influence.
    """
    total = zero_of(z.values())
    terms, weights = {}, 0.0
    for p, q in pairs or combinations(z, 2):
        rows = (present[p] & present[q]).nonzero().squeeze(1)
        if len(rows) < 2:
            continue
        whole = len(rows) == len(z[p])
        x, y = (z[p], z[q]) if whole else (z[p][rows], z[q][rows])
        overlap = exclude(p, q) if exclude is not None else None
        if overlap is not None and not whole:
            overlap = overlap.select(rows)
        term = loss(x, y, exclude=overlap)
        weight = 1.0 if weighting == "pairs" else float(len(rows))
        total, weights = total + weight * term, weights + weight
        terms[p, q] = term
    return Pairwise(total / weights if terms else total, terms)


def _check(x_BE: Tensor, y_BE: Tensor, exclude: Overlap | None) -> None:
    if x_BE.dim() != 2 or x_BE.shape != y_BE.shape or len(x_BE) == 0:
        raise ValueError(f"x and y must be (B, E) alike, B > 0; got {tuple(x_BE.shape)} and {tuple(y_BE.shape)}")
    if exclude is not None and len(exclude) != len(x_BE):
        raise ValueError(f"the exclusion is of {len(exclude)} rows, the batch has {len(x_BE)}")


def _products(x_TE: Tensor, y_BE: Tensor) -> Tensor:
    product = _product_dtype(x_TE)
    return (x_TE.to(product) @ y_BE.to(product).T).to(_sum_dtype(x_TE))


def _product_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _sum_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _tile(x_BE: Tensor) -> int:
    return max(_TILE, _CUDA_TILE_NUMBERS // len(x_BE)) if x_BE.is_cuda else _TILE
