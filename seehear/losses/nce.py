"""NCE and MIL-NCE as VATT uses them (arXiv 2104.11178, equations 4 and 5; MIL-NCE: arXiv 1912.06430).

x_i is a clip, P(i) its one match (NCE) or its several sentences (MIL-NCE), s a cosine over tau:

    p_i = log sum over t in P(i) of exp s(x_i, t)               its matches
    r_i = log sum over t not in P(i) of exp s(x_i, t)           its row: the sentences of all other clips
    c_i = log sum over t in P(i), j != i of exp s(x_j, t)       its columns: all other clips, for each of its sentences

    paper        log(e^p + e^r + e^c) - p                       0 at best
    code         log(2 e^p + e^r + e^c) - p                     the official code counts matches twice: ln 2 at best
    symmetric    log(e^p + e^r) + log(e^p + e^c) - 2 p          two cross-entropies, added

The mean is over clips that have both; a clip that lacks one of the two is still a negative with the other.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch.nn import functional as F

from seehear.losses.contrastive import Overlap, zero_of
from seehear.types import Bool, Float, Tensor

Form = Literal["paper", "code", "symmetric"]
# Logit of a term that does not count: e^-10000 is 0, and unlike that of -inf its gradient is 0 and not NaN.
_NOTHING = -1e4


def mil_nce(
    x_BE: Float[Tensor, "b e"],
    y_BKE: Float[Tensor, "b k e"],
    temperature: Float[Tensor, ""] | float,
    *,
    has_x_B: Bool[Tensor, " b"] | None = None,
    has_y_BK: Bool[Tensor, "b k"] | None = None,
    form: Form = "paper",
    exclude: Overlap | None = None,
) -> Float[Tensor, ""]:
    """MIL-NCE of unit rows, 1/temperature at most 1000; with K = 1 this is NCE. Absent rows and sentences are dropped
    before anything is computed; zero, with a zero gradient, where no clip has both. Excluded pairs of clips are no
    negatives of each other."""
    _check(x_BE, y_BKE, exclude)
    has_x_B = x_BE.new_ones(len(x_BE), dtype=torch.bool) if has_x_B is None else has_x_B
    has_y_BK = y_BKE.new_ones(y_BKE.shape[:2], dtype=torch.bool) if has_y_BK is None else has_y_BK
    clip_X, owner_Y = has_x_B.nonzero().squeeze(1), has_y_BK.nonzero()[:, 0]
    match_XY = clip_X[:, None] == owner_Y  # 1 = a sentence of this clip
    both_X = match_XY.any(dim=1)
    if not bool(both_X.any()):
        return zero_of((x_BE, y_BKE))
    products_XY = x_BE[clip_X] @ y_BKE[has_y_BK].T
    s_XY = products_XY.to(torch.promote_types(x_BE.dtype, torch.float32)) / temperature
    other_XY = ~match_XY
    if exclude is not None:
        excluded_BB = torch.zeros(len(x_BE), len(x_BE), dtype=torch.bool, device=x_BE.device)
        excluded_BB[exclude.pairs(slice(0, len(x_BE)))] = True
        other_XY &= ~excluded_BB[clip_X][:, owner_Y]
    match, row = _log_sum(s_XY, match_XY, dim=1), _log_sum(s_XY, other_XY, dim=1)
    column = _log_sum(_log_sum(s_XY, other_XY, dim=0).expand_as(s_XY), match_XY, dim=1)
    row, column = row - match, column - match
    # softplus(a) is log(1 + e^a); above its threshold it is a itself.
    if form == "symmetric":
        loss = F.softplus(row, threshold=50) + F.softplus(column, threshold=50)
    else:
        twice = math.log(2) if form == "code" else 0.0
        loss = F.softplus(torch.logaddexp(row, column) - twice, threshold=50) + twice
    return loss[both_X].mean()


def nce(
    x_BE: Float[Tensor, "b e"],
    y_BE: Float[Tensor, "b e"],
    temperature: Float[Tensor, ""] | float,
    *,
    has_x_B: Bool[Tensor, " b"] | None = None,
    has_y_B: Bool[Tensor, " b"] | None = None,
    form: Form = "paper",
    exclude: Overlap | None = None,
) -> Float[Tensor, ""]:
    """`mil_nce` with one match a clip."""
    has_y_BK = None if has_y_B is None else has_y_B[:, None]
    return mil_nce(x_BE, y_BE[:, None], temperature, has_x_B=has_x_B, has_y_BK=has_y_BK, form=form, exclude=exclude)


def _log_sum(s: Tensor, counted: Tensor, *, dim: int) -> Tensor:
    return s.masked_fill(~counted, _NOTHING).logsumexp(dim=dim)


def _check(x_BE: Tensor, y_BKE: Tensor, exclude: Overlap | None) -> None:
    if x_BE.dim() != 2 or y_BKE.dim() != 3 or len(x_BE) != len(y_BKE) or x_BE.shape[1] != y_BKE.shape[2]:
        raise ValueError(f"x must be (B, E) and y (B, K, E); got {tuple(x_BE.shape)} and {tuple(y_BKE.shape)}")
    if exclude is not None and len(exclude) != len(x_BE):
        raise ValueError(f"the exclusion is of {len(exclude)} rows, the batch has {len(x_BE)}")
