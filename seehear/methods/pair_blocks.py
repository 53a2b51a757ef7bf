"""A closed form for three or more modalities in which no pair pays for another.

Every pair (p, q) has a block of coordinates of its own, CCA of that pair alone. A modality is the blocks of its pairs
side by side, and zero elsewhere:

    audio  [ W_a^(va)   W_a^(at)   0        ]
    text   [ 0          W_t^(at)   W_t^(vt) ]      x_p . x_q  =  the product in block (p, q) alone
    video  [ W_v^(va)   0          W_v^(vt) ]

One map a modality (generalised CCA, ridge onto a hub) must trade pairs off: where sound and words agree well, what a
face and its voice share is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

import torch

from seehear.methods import linear, tuning
from seehear.nn.statistics import Latents, Present
from seehear.types import Modality, Tensor


def tuned_blocks(
    train: linear.Moments,
    validation: Latents,
    present: Present | None = None,
    clip: Tensor | None = None,
    *,
    dim: int,
    shrinkages: Sequence[float] = tuning.SHRINKAGES,
    folds: Sequence[tuning.Fold] = (),
) -> linear.LinearMaps:
    """Blocks for the pairs that `train` knows, of `dim` coordinates in all; the shrinkage and rank of each are those
    that retrieve best between its two modalities, over `folds` where there are some."""
    pairs = [pair for pair in combinations(train.modalities, 2) if pair in train.covariance]
    rank = dim // len(pairs)
    chosen: dict[tuple[Modality, Modality], tuple[float, int]] = {}
    for p, q in pairs:
        found = tuning.tuned(
            train.only(p, q),
            validation,
            present,
            clip,
            shrinkages=shrinkages,
            ranks=(rank, min(rank, 64)),
            pairs=((p, q),),
            folds=[replace(fold, train=fold.train.only(p, q)) for fold in folds],
        )
        chosen[p, q] = float(found.settings["shrinkage"]), int(found.settings["rank"])
    return replace(blocks(train, chosen), again=partial(blocks, chosen=chosen))


def blocks(train: linear.Moments, chosen: Mapping[tuple[Modality, Modality], tuple[float, int]]) -> linear.LinearMaps:
    """Blocks of the pairs with their (shrinkage, rank). In a modality every block has the same mean square length."""
    parts: dict[Modality, list[Tensor]] = {m: [] for m in train.modalities}
    settings: dict[str, float | int | str] = {}
    for (p, q), (shrinkage, rank) in chosen.items():
        found = linear.canonical(train.only(p, q), shrinkage=shrinkage, rank=rank)
        settings[f"shrinkage of {p}-{q}"] = shrinkage
        for m, own in parts.items():
            own.append(_even(train, m, found.weight[m]) if m in (p, q) else _nothing(train, m, found.weight[p]))
    weight = {m: torch.cat(own, dim=1) for m, own in parts.items()}
    return linear.LinearMaps("blocks", train.mean, weight, None, settings)


def _even(train: linear.Moments, m: Modality, weight_DK: Tensor) -> Tensor:
    """Scaled to a mean square length of 1 over the training rows."""
    standardised_DK = weight_DK * train.scale[m][:, None]
    return weight_DK / (standardised_DK * (train.covariance[m, m] @ standardised_DK)).sum().sqrt()


def _nothing(train: linear.Moments, m: Modality, like_DK: Tensor) -> Tensor:
    return like_DK.new_zeros(len(train.mean[m]), like_DK.shape[1])
