"""Means and deviations of cached latents, a chunk of rows at a time, some rows lacking some modalities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from seehear.errors import SeehearError
from seehear.types import Modality, Tensor

Latents = Mapping[Modality, Tensor | np.ndarray]
"""(N, D) by modality; rows of one number belong together."""
Present = Mapping[Modality, Tensor | np.ndarray]
"""(N,) bool by modality; a modality that is not named is there in every row."""

_CHUNK = 8192


def statistics(latents: Latents, present: Present | None = None) -> dict[Modality, tuple[Tensor, Tensor]]:
    """Mean and standard deviation of every dimension over the rows that have the modality, float64."""
    found = {}
    for m in latents:
        total, squares, rows = torch.zeros(()), torch.zeros(()), 0
        for (x,) in chunks(latents, present, m):
            total, rows = total + x.sum(dim=0), rows + len(x)
        if rows < 2:
            raise SeehearError(f"{rows} training rows have {m}: at least 2 are needed to fit anything to it")
        # Two passes: in one, the mean of the squares less the square of the mean would cancel.
        mean = total / rows
        if not mean.isfinite().all():
            raise SeehearError(f"the latents of {m} hold NaN or infinite values: encode them again")
        for (x,) in chunks(latents, present, m):
            squares = squares + (x - mean).square().sum(dim=0)
        found[m] = mean, deviation(squares / rows)
    return found


def deviation(variance_D: Tensor) -> Tensor:
    """Square root, and 1 for a dimension that does not vary."""
    return torch.where(variance_D > 1e-12 * variance_D.mean(), variance_D, 1.0).sqrt()


def chunks(latents: Latents, present: Present | None, *names: Modality) -> Iterator[tuple[Tensor, ...]]:
    """float64 rows that have all of these modalities, a chunk at a time."""
    keep = torch.stack([present_rows(latents, present, m) for m in names]).all(dim=0)
    for start in range(0, len(keep), _CHUNK):
        rows = keep[start : start + _CHUNK]
        if rows.any():
            chunk = [torch.as_tensor(latents[m][start : start + _CHUNK]).double() for m in names]
            yield tuple(chunk) if rows.all() else tuple(x[rows] for x in chunk)


def present_rows(latents: Latents, present: Present | None, m: Modality) -> Tensor:
    if present is None or m not in present:
        return torch.ones(len(latents[m]), dtype=torch.bool)
    return torch.as_tensor(present[m]).bool()


def check(latents: Latents, present: Present | None) -> None:
    shapes = {m: tuple(x.shape) for m, x in latents.items()}
    masks = {m: tuple(x.shape) for m, x in (present or {}).items()}
    if any(len(s) != 2 for s in shapes.values()) or len({s[0] for s in [*shapes.values(), *masks.values()]}) != 1:
        raise ValueError(f"latents must be (N, D) and presence (N,) with one N for all; got {shapes} and {masks}")
