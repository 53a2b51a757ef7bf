"""A masking ratio that changes during training, and batches that grow where there is less to compute (DiffMAViL,
arXiv 2310.03937).

    linear      r = start + (end - start) u
    cosine      r = end + (start - end) (1 + cos(pi u)) / 2
    constant    r = start

u runs from 0 to 1, both included: in `parts` equal steps, by part of the run, or with every step of training.

    rows        B(r) = floor_to_multiple(B_ref C(r_ref) / C(r)),   C the cost of one sample
so no batch costs more than the one at r_ref.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from seehear.errors import check_range

_NEARLY = 1e-9  # 3 / 20 * 20 is a little less than 3


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    start: float = 0.95
    """Part of the tokens that are hidden as training starts."""
    end: float = 0.80
    """And as it ends."""
    shape: Literal["linear", "cosine", "constant"] = "linear"
    """How it gets there; constant stays at `start`."""
    reverse: bool = False
    """From `end` to `start` instead: at the same cost, what the direction does."""
    parts: int = 20
    """Equal parts of the run with one ratio each, best its epochs; 0: another ratio at every step."""
    grain: float = 0.0
    """Ratios are rounded to multiples of it, so that there are few shapes to compile; 0: they are not."""

    def __post_init__(self) -> None:
        check_range(self, "[0, 1)", "start", "end")
        check_range(self, "[0, inf)", "parts", "grain")

    def ratio(self, progress: float) -> float:
        """At a moment of the run, in [0, 1]."""
        u = progress
        if self.parts:
            u = min(int(progress * self.parts + _NEARLY), self.parts - 1) / max(1, self.parts - 1)
        start, end = (self.end, self.start) if self.reverse else (self.start, self.end)
        if self.shape == "linear":
            ratio = start + (end - start) * u
        elif self.shape == "cosine":
            ratio = end + (start - end) * 0.5 * (1 + math.cos(math.pi * u))
        else:
            ratio = start
        return round(ratio / self.grain) * self.grain if self.grain else ratio

    def ratios(self) -> tuple[float, ...]:
        """Of each part."""
        return tuple(self.ratio(part / self.parts) for part in range(self.parts))


def rows_for(
    ratios: tuple[float, ...],
    cost: Callable[[float], float],
    *,
    reference: int,
    reference_ratio: float,
    multiple: int,
) -> tuple[int, ...]:
    """The batch at each ratio, a multiple of `multiple` and at least one: what costs no more than `reference` rows at
    `reference_ratio` do. `cost` is that of a row: products in a pass for constant time, kept numbers for constant
    memory."""
    budget = reference * cost(reference_ratio)
    return tuple(max(1, math.floor(budget / cost(r) / multiple + _NEARLY)) * multiple for r in ratios)
