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
        """The same for a part of the rows, by their numbers."""
        return Overlap(self.first_NB[:, rows], self.second_NB[:, rows], self.weight_B[rows], self.threshold)

    def pairs(self, rows: slice) -> tuple[Tensor, Tensor]:
        """The excluded pairs of a tile: row numbers counted from the tile's first row, and column numbers."""
        start, stop = rows.start, min(rows.stop, len(self))
        columns = self._sharing
        inside = columns[(columns >= start) & (columns < stop)]
        excluded = torch.zeros(len(inside), len(columns), dtype=torch.bool, device=columns.device)
        for first, second in zip(self.first_NB, self.second_NB, strict=True):
            excluded |= self._shared_weight(first, second, inside, columns) >= self.threshold
        excluded &= inside[:, None] != columns
        i, j = excluded.nonzero(as_tuple=True)
        return inside[i] - start, columns[j]

    @cached_property
    def _sharing(self) -> Tensor:
        """Rows that have a source in common with another row, ascending: only these are ever compared."""
        sharing = torch.zeros(len(self), dtype=torch.bool, device=self.weight_B.device)
        for first, second in zip(self.first_NB, self.second_NB, strict=True):
            _, inverse, counts = torch.unique(torch.stack([first, second]), return_inverse=True, return_counts=True)
            own = 1 + (first == second).long()
            sharing |= (counts[inverse] > own).any(dim=0)
        return sharing.nonzero().squeeze(1)

    def _shared_weight(self, first: Tensor, second: Tensor, inside: Tensor, columns: Tensor) -> Tensor:
        a, b, a_c, b_c = first[inside, None], second[inside, None], first[columns], second[columns]
        of_a, of_a_c = self.weight_B[inside, None], self.weight_B[columns]
        of_b, of_b_c = 1 - of_a, 1 - of_a_c
        same_order = torch.minimum(of_a, of_a_c) * (a == a_c) + torch.minimum(of_b, of_b_c) * (b == b_c)
        return same_order + torch.minimum(of_a, of_b_c) * (a == b_c) + torch.minimum(of_b, of_a_c) * (b == a_c)


def same_group(*group_B: Int[Tensor, " b"]) -> Overlap:
    """Unmixed rows: a pair is excluded when the rows share a number in any of the given groupings."""
    group_NB = torch.stack(group_B)
    return Overlap(group_NB, group_NB, torch.ones(group_NB.shape[1], device=group_NB.device))


def join(overlaps: Sequence[Overlap]) -> Overlap | None:
    """Excluded by any of these; all of the same rows and weights. None when there is none."""
    if not overlaps:
        return None
    first, second = (torch.cat([getattr(o, name) for o in overlaps]) for name in ("first_NB", "second_NB"))
    return Overlap(first, second, overlaps[0].weight_B, overlaps[0].threshold)
