"""Contrastive losses between two sets of unit vectors whose rows belong together, and over several modalities.

Every loss takes rows of unit length (or says so). All other rows of a batch are negatives but for the pairs that an
`Overlap` excludes. Products are formed in the autocast type where autocast is on, in the type of the inputs otherwise;
exponentials and sums in fp32.

Symmetric InfoNCE of many rows is computed in tiles, without the B x B matrix: exact, O(B * tile) memory, and faster
than the plain form, which is bound by its traffic over B x B numbers.

    l_ij = x_i . y_j / tau,   loss = 1/2 [ mean_i (r_i - l_ii) + mean_j (c_j - l_jj) ]
    r_i = log sum_j exp l_ij,   c_j = log sum_i exp l_ij                    first pass over row tiles
    dl_ij = (exp(l_ij - r_i) + exp(l_ij - c_j) - 2 [i = j]) / 2B            second pass, l again
    dx = dl y / tau,   dy = dl' x / tau,   dtau = -sum_ij l_ij dl_ij / tau = -sum_i x_i . dx_i / tau

8 B^2 E operations in all. A margin taken off every l_ii changes none of the derivatives of l. Unit rows bound |l| by
1/tau: down to tau = 1/64, and with any rows that are as short, the exponentials cannot leave the range of fp32 and no
maximum is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from seehear.types import Bool, Float, Int, Modality, Tensor

# Rows, or as many as rows are wide: the matrix is then 4 MB, or no larger than what it is made of.
_DENSE_UP_TO = 1024
# Rows: on a CPU 128 to 512 are best, 2,048 take 15 % longer.
_TILE = 256
# e^66 = 5e28: sums over any batch stay far inside fp32. A little above 64, that of unit rows at tau = 1/64 in bf16.
_LARGEST_LOGIT = 66.0
# On a GPU launches cost more than memory: 128 MB a tile.
_CUDA_TILE_NUMBERS = 2**25

PairLoss = Callable[..., Tensor]
"""loss(x_BE, y_BE, exclude=...) -> scalar."""


def info_nce(
    x_BE: Float[Tensor, "b e"],
    y_BE: Float[Tensor, "b e"],
    temperature: Float[Tensor, ""] | float,
    *,
    margin: float = 0.0,
    exclude: Overlap | None = None,
    tile: int | None = None,
) -> Float[Tensor, ""]:
    """Mean of the cross-entropies of rows and of columns of x y' / temperature; log(B) when all similarities are equal.

    With few rows the matrix is formed, with many (or a given `tile` of rows) it is computed in tiles: the same number
    to rounding. Excluded pairs are in neither sum. `margin` is subtracted from the logits of matches.
    """
    _check(x_BE, y_BE, exclude)
    # At small tau logits reach hundreds, and half precision would lose their differences.
    sums = torch.promote_types(x_BE.dtype, torch.float32)
    tau = torch.as_tensor(temperature, dtype=sums, device=x_BE.device)
    if tile is None and len(x_BE) <= max(_DENSE_UP_TO, x_BE.shape[1]):
        product = _product_dtype(x_BE)
        logits_BB = (x_BE.to(product) @ y_BE.to(product).T).to(sums) / tau
        logits_BB.diagonal().sub_(margin)
        if exclude is not None:
            logits_BB[exclude.pairs(slice(0, len(x_BE)))] = -torch.inf
        return ((logits_BB.logsumexp(dim=1) + logits_BB.logsumexp(dim=0)) / 2 - logits_BB.diagonal()).mean()
    tile = tile or (max(_TILE, _CUDA_TILE_NUMBERS // len(x_BE)) if x_BE.is_cuda else _TILE)
    tiles = _Tiles(tile, _product_dtype(x_BE), margin, exclude)
    return _Tiled.apply(x_BE, y_BE, tau, tiles)


@dataclass(frozen=True)
class Pairwise:
    """A loss over pairs of modalities."""

    total: Tensor
    """Mean of the terms; zero, with a zero gradient, when no pair had two rows."""
    terms: dict[tuple[Modality, Modality], Tensor]
    """By pair of modalities, those that had two rows at least."""


def pairwise(
    z: Mapping[Modality, Float[Tensor, "b e"]],
    present: Mapping[Modality, Bool[Tensor, " b"]],
    loss: PairLoss,
    *,
    pairs: Sequence[tuple[Modality, Modality]] | None = None,
    exclude: Callable[[Modality, Modality], Overlap | None] | None = None,
) -> Pairwise:
    """The loss of each pair of modalities over the rows that have both, averaged with equal say of every
    pair. All pairs by default, or only those given (a hub). Pairs with fewer than two rows are skipped: they have
    no negatives. Absent rows are dropped before anything is computed, so whatever they hold has no influence.
    """
    total = zero_of(z.values())
    terms = {}
    for p, q in pairs or combinations(z, 2):
        rows = (present[p] & present[q]).nonzero().squeeze(1)
        if len(rows) < 2:
            continue
        whole = len(rows) == len(z[p])
        # Indexing copies: spared where every row has both.
        x, y = (z[p], z[q]) if whole else (z[p][rows], z[q][rows])
        overlap = exclude(p, q) if exclude is not None else None
        if overlap is not None and not whole:
            overlap = overlap.select(rows)
        term = loss(x, y, exclude=overlap)
        total = total + term
        terms[p, q] = term
    return Pairwise(total / len(terms) if terms else total, terms)


def _check(x_BE: Tensor, y_BE: Tensor, exclude: Overlap | None) -> None:
    if x_BE.dim() != 2 or x_BE.shape != y_BE.shape or len(x_BE) == 0:
        raise ValueError(f"x and y must be (B, E) alike, B > 0; got {tuple(x_BE.shape)} and {tuple(y_BE.shape)}")
    if exclude is not None and len(exclude) != len(x_BE):
        raise ValueError(f"the exclusion is of {len(exclude)} rows, the batch has {len(x_BE)}")


def _product_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


# -- in tiles ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tiles:
    """Settings of the tiled computation."""

    rows: int
    """Rows of a tile."""
    product: torch.dtype
    """The type in which x_i . y_j is formed; sums and exponentials stay in fp32 (fp64 for fp64)."""
    margin: float
    """Subtracted from the logits of matches."""
    exclude: Overlap | None


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, tau: Tensor, tiles: _Tiles) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            loss, row_log, col_log = _Work(x, y, tau, tiles).sums()
        ctx.save_for_backward(x, y, tau, row_log, col_log)
        ctx.tiles = tiles
        return loss

    @staticmethod
    # The gradients are written out below: they have no graph of their own.
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

    def __init__(self, x: Tensor, y: Tensor, tau: Tensor, tiles: _Tiles):
        self.sum = torch.promote_types(x.dtype, torch.float32)
        self.x, self.tau = x.to(self.sum), tau.to(self.sum)
        self.exclude, self.tile, self.margin = tiles.exclude, tiles.rows, tiles.margin
        # Raw products (tau 1) need no scaled copy.
        self.scaled = (self.x if bool(self.tau == 1) else self.x / self.tau).to(tiles.product)
        self.y = y.to(tiles.product)
        # No product is larger than that of the lengths.
        largest = self.x.norm(dim=1).max() * y.to(self.sum).norm(dim=1).max() / self.tau
        self.bounded = bool(largest <= _LARGEST_LOGIT)

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


def mms(
    x_BE: Float[Tensor, "b e"],
    y_BE: Float[Tensor, "b e"],
    *,
    margin: float = 0.001,
    temperature: Float[Tensor, ""] | float = 1.0,
    exclude: Overlap | None = None,
    tile: int | None = None,
) -> Float[Tensor, ""]:
    """Masked margin softmax: the mean cross-entropies of rows and of columns of S - margin I, S = x y' / temperature,
    added. Rows of any length. 2 log(B) when all similarities are equal and there is no margin, 0 for one row.

    `exclude`: pairs that are no negatives, such as other captions of the same clip (MCN excludes none).
    """
    # Without autocast: raw products have no bound, and bf16 would keep three digits of them.
    with torch.autocast(x_BE.device.type, enabled=False):
        return 2 * info_nce(x_BE, y_BE, temperature, margin=margin, exclude=exclude, tile=tile)


def zero_of(tensors: Iterable[Tensor]) -> Float[Tensor, ""]:
    """Zero with the graph of all these tensors: `backward` works when every term of a loss is skipped, and gives their
    parameters gradients of zero."""
    return torch.stack([x[:0].sum() for x in tensors]).sum()


# -- rows that are no negatives of each other --------------------------------------------------------------------------

# Rows that are no negatives of each other: two captions of one picture, one caption of two clips, two mixed rows that
# share most of what they are made of.
#
# A row is a blend  weight * first + (1 - weight) * second  of two sources; an unmixed row has first = second. Two rows
# overlap by the weight they share:  o = sum over their sources of min(weight in r, weight in c) [same source].


@dataclass(frozen=True)
class Overlap:
    """Off-diagonal pairs of rows that overlap by at least `threshold`, found tile by tile."""

    first_NB: Int[Tensor, "n b"]
    """Numbers of the first source of each row. Each of the n lines is one way of being the same: the same recording,
    the same caption. A pair is excluded when any of them says so."""
    second_NB: Int[Tensor, "n b"]
    weight_B: Float[Tensor, " b"]
    """How much of the first source is in each row."""
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not self.first_NB.shape == self.second_NB.shape == (self.first_NB.shape[0], *self.weight_B.shape):
            raise ValueError(
                f"sources must be (n, B) with weights (B,); got {tuple(self.first_NB.shape)}, "
                f"{tuple(self.second_NB.shape)} and {tuple(self.weight_B.shape)}"
            )

    def __len__(self) -> int:
        return len(self.weight_B)

    def select(self, rows: Tensor) -> Overlap:
        """The overlap of some rows, given by their numbers."""
        return Overlap(self.first_NB[:, rows], self.second_NB[:, rows], self.weight_B[rows], self.threshold)

    def pairs(self, rows: slice) -> tuple[Tensor, Tensor]:
        """The excluded pairs of a tile: row numbers counted from the tile's first row, and column numbers. A pair may
        come more than once. Costs as much as there are sources in common, not rows times columns."""
        found = [self._pairs(way, rows.start, min(rows.stop, len(self))) for way in self._ways]
        return torch.cat([i for i, _ in found]), torch.cat([j for _, j in found])

    def _pairs(self, way: _Way, start: int, stop: int) -> tuple[Tensor, Tensor]:
        # Every source of the tile's rows, against every row that has the same source: left and right.
        mine = way.source_2B.view(2, -1)[:, start:stop].reshape(-1)
        counts = way.count[mine]
        left = torch.repeat_interleave(counts)
        within = torch.arange(len(left), device=left.device) - (counts.cumsum(0) - counts)[left]
        right = way.order_2B[way.start[mine][left] + within]
        i, j = left % (stop - start), right % len(self)
        other = i + start != j
        left, right, i, j = left[other], right[other], i[other], j[other]
        weight_2B = torch.cat([self.weight_B, 1 - self.weight_B])
        of_mine = weight_2B.view(2, -1)[:, start:stop].reshape(-1)
        shared = weight_2B.new_zeros((stop - start) * len(self) if len(i) else 0)
        shared.index_add_(0, i * len(self) + j, torch.minimum(of_mine[left], weight_2B[right]))
        enough = shared[i * len(self) + j] >= self.threshold
        return i[enough], j[enough]

    @cached_property
    def _ways(self) -> list[_Way]:
        return [_Way.of(torch.cat(sources)) for sources in zip(self.first_NB, self.second_NB, strict=True)]


@dataclass(frozen=True)
class _Way:
    """All sources, first ones then second ones, found again by their number."""

    source_2B: Tensor
    """Index of each among the distinct sources."""
    order_2B: Tensor
    """Positions sorted by their source."""
    start: Tensor
    """Start of each source's positions in `order_2B`."""
    count: Tensor

    @classmethod
    def of(cls, number_2B: Tensor) -> _Way:
        _, source, count = torch.unique(number_2B, return_inverse=True, return_counts=True)
        return cls(source, source.argsort(stable=True), count.cumsum(0) - count, count)


def same_group(*group_B: Int[Tensor, " b"]) -> Overlap:
    """Unmixed rows: a pair is excluded when the rows share a number in any of the given groupings."""
    group_NB = torch.stack(group_B)
    return Overlap(group_NB, group_NB, torch.ones(group_NB.shape[1], device=group_NB.device))
