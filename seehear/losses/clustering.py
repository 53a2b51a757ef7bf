"""One label for a whole clip, and the pull of its vectors to the centroid of that label (MCN, arXiv 2104.12671)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch.nn import functional as F

from seehear.losses.contrastive import zero_of
from seehear.types import Bool, Float, Int, Modality, Tensor

Over = Literal["mean", "sum", "fused"]


def fuse(
    z: Mapping[Modality, Float[Tensor, "b e"]], present: Mapping[Modality, Bool[Tensor, " b"]]
) -> tuple[Float[Tensor, "b e"], Bool[Tensor, " b"]]:
    """(mean of each row's present modalities, whether it has any)"""
    count_B = torch.stack([present[m] for m in z]).sum(dim=0)
    total_BE = torch.stack([z_BE * present[m][:, None] for m, z_BE in z.items()]).sum(dim=0)
    return total_BE / count_B.clamp(min=1)[:, None], count_B > 0


def cluster_loss(
    x_BE: Float[Tensor, "b e"],
    centroids_KE: Float[Tensor, "k e"],
    label_B: Int[Tensor, " b"],
    *,
    margin: float = 0.001,
    temperature: Float[Tensor, ""] | float = 1.0,
) -> Float[Tensor, " b"]:
    """Cross-entropy of x C' / temperature by row, with the margin subtracted from the own cluster's logit: log(K) when
    all are equal and there is no margin. The centroids get no gradient."""
    # Without autocast, as in MMS.
    with torch.autocast(x_BE.device.type, enabled=False):
        logits_BK = x_BE @ centroids_KE.detach().to(x_BE.dtype).T / temperature
    own_BK = F.one_hot(label_B, len(centroids_KE)).to(logits_BK.dtype)
    return F.cross_entropy(logits_BK - margin * own_BK, label_B, reduction="none")


def clustering(
    z: Mapping[Modality, Float[Tensor, "b e"]],
    present: Mapping[Modality, Bool[Tensor, " b"]],
    centroids_KE: Float[Tensor, "k e"],
    label_B: Int[Tensor, " b"],
    *,
    over: Over = "mean",
    margin: float = 0.001,
    temperature: Float[Tensor, ""] | float = 1.0,
) -> Float[Tensor, ""]:
    """Mean or sum over modalities of the mean loss of the rows that have it, or the loss of the fused rows alone. A
    modality that no row has is left out; without any the loss is zero, with a zero gradient."""
    if over == "fused":
        fused_BE, any_B = fuse(z, present)
        z, present = {"fused": fused_BE}, {"fused": any_B}
    terms = []
    for m, z_BE in z.items():
        x_NE, label_N = z_BE[present[m]], label_B[present[m]]
        if len(x_NE):
            terms.append(cluster_loss(x_NE, centroids_KE, label_N, margin=margin, temperature=temperature).mean())
    if not terms:
        return zero_of(z.values())
    total = torch.stack(terms).sum()
    return total if over == "sum" else total / len(terms)
