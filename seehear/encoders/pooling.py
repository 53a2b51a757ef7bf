"""From many vectors along time to one. The choice is the option `pool` of every encoder that has a time axis.

mean        what is there, whatever the moment
mean+std    and how much it changes: twice the width
segments:k  the means of k equal parts in time, one after the other: keeps the order of events, k times the width
"""

from __future__ import annotations

import re
from itertools import pairwise

import torch

from seehear.errors import SeehearError
from seehear.types import Float, Tensor


def check_pool(how: str) -> None:
    if how not in ("mean", "mean+std") and not re.fullmatch(r"segments:[1-9]\d?", how):
        raise SeehearError(f"unknown pooling {how!r}; known: mean, mean+std, segments:K with K from 1 to 99")


def pooled_width(how: str, width: int) -> int:
    check_pool(how)
    if how.startswith("segments:"):
        return width * int(how.split(":")[1])
    return width * 2 if how == "mean+std" else width


def pool_time(x_TD: Float[Tensor, "*b t d"], how: str) -> Float[Tensor, "*b p"]:
    """(..., T, D) -> (..., pooled_width). Segment i covers steps [i T / k, (i + 1) T / k), at least the one it starts
    in, so one step (a picture) fills every segment. The deviation is the population's: 0 for one step."""
    if how == "mean":
        return x_TD.mean(-2)
    if how == "mean+std":
        return torch.cat([x_TD.mean(-2), x_TD.std(-2, correction=0)], -1)
    steps, parts = x_TD.shape[-2], int(how.split(":")[1])
    edges = [i * steps // parts for i in range(parts + 1)]
    return torch.cat([x_TD[..., a : max(b, a + 1), :].mean(-2) for a, b in pairwise(edges)], -1)
