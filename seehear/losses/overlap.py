"""Rows that are no negatives of each other: two captions of one picture, one caption of two clips, two mixed rows that
share most of what they are made of.

A row is a blend  weight * first + (1 - weight) * second  of two sources; an unmixed row has first = second. Two rows
overlap by the weight they share:  o = sum over their sources of min(weight in r, weight in c) [same source].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from seehear.types import Float, Int, Tensor

__all__ = ["Overlap", "same_group"]


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


def join(overlaps: Sequence[Overlap]) -> Overlap | None:
    """Union of the exclusions of the same rows and weights; None without any."""
    if not overlaps:
        return None
    first, second = (torch.cat([getattr(o, name) for o in overlaps]) for name in ("first_NB", "second_NB"))
    return Overlap(first, second, overlaps[0].weight_B, overlaps[0].threshold)
