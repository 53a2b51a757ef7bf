"""Bound: the closed form of `fusemix.bind`, ridge regression into a space that stays as a joint encoder made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from seehear.errors import SeehearError
from seehear.methods.linear import SHRINKAGES, LinearMaps, Moments, best
from seehear.nn.statistics import Latents, Present
from seehear.types import Modality, Tensor


def bound(m: Moments, *, locked: Sequence[Modality], shrinkage: float | Mapping[Modality, float] = 0.1) -> LinearMaps:
    """Ridge into a space that stays as it is. Locked modalities keep their own vectors, means included; each other one
    is regressed on those it occurs with, and where these are several on all of them with equal say."""
    mean, weight, settings = dict(m.mean), {}, dict[str, float | int | str](locked=" ".join(locked))
    for p in m.modalities:
        if p in locked:
            mean[p], weight[p] = torch.zeros_like(m.mean[p]), torch.eye(len(m.mean[p]), dtype=torch.float64)
            continue
        hubs = [q for q in locked if (p, q) in m.covariance or (q, p) in m.covariance]
        if not hubs:
            raise SeehearError(f"no training row has both {p} and one of {', '.join(locked)}: nothing binds it")
        r = shrinkage if isinstance(shrinkage, float | int) else shrinkage[p]
        inverse, vectors = m.shrunk(p, r).reciprocal(), m.spectra[p][1]  # 1 / inf = 0
        cross = torch.stack([m.cross(p, q) * m.scale[q] for q in hubs]).mean(0)
        weight[p] = vectors @ (inverse[:, None] * (vectors.T @ cross)) / m.scale[p][:, None]
        settings[f"shrinkage of {p}"] = r
    width = next(iter(weight.values())).shape[1]
    for q in (q for q in locked if q not in m.modalities):  # words that only queries have
        mean[q], weight[q] = torch.zeros(width, dtype=torch.float64), torch.eye(width, dtype=torch.float64)
    return LinearMaps("bound", mean, weight, settings=settings)


def tuned_bound(
    train: Moments,
    validation: Latents,
    present: Present | None = None,
    clip: Tensor | None = None,
    *,
    locked: Sequence[Modality],
    shrinkages: Sequence[float] = SHRINKAGES,
) -> LinearMaps:
    """`bound` with the shrinkage of each modality that retrieves best between it and the locked ones."""
    chosen: dict[Modality, float] = {}
    for p in (p for p in train.modalities if p not in locked):
        hubs = [q for q in locked if (p, q) in train.covariance or (q, p) in train.covariance]
        candidates = (bound(train.only(p, *hubs), locked=hubs, shrinkage=r) for r in shrinkages)
        pairs = tuple((p, q) for q in hubs)
        chosen[p] = float(best(candidates, validation, present, clip, pairs=pairs).settings[f"shrinkage of {p}"])
    return bound(train, locked=locked, shrinkage=chosen)
