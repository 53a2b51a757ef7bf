"""Masked margin softmax (arXiv 1909.08782), as MCN takes it: no temperature, raw dot products, a small margin."""

from __future__ import annotations

import torch

from seehear.losses.contrastive import info_nce
from seehear.losses.overlap import Overlap
from seehear.types import Float, Tensor


def mms(
    x_BE: Float[Tensor, "b e"],
    y_BE: Float[Tensor, "b e"],
    *,
    margin: float = 0.001,
    temperature: Float[Tensor, ""] | float = 1.0,
    exclude: Overlap | None = None,
    tile: int | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropies of rows and of columns of S - margin I, S = x y' / temperature: the mean of each, added. Rows of
    any length. 2 log(B) when all similarities are equal and there is no margin, 0 for one row.

    `exclude` is what the name calls masked: other captions of the same clip are then no negatives (MCN excludes none).
    Products are formed without autocast: raw ones have no bound, and bf16 would keep three digits of them.
    """
    with torch.autocast(x_BE.device.type, enabled=False):
        return 2 * info_nce(x_BE, y_BE, temperature, margin=margin, unit=False, exclude=exclude, tile=tile)
