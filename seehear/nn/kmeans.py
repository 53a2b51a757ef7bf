"""k-means by cosine, from given or fresh starting points.

    k_i = argmax_k cos(x_i, C_k),   C_k = mean of the x_i with k_i = k

Long rows weigh more: both steps lower  sum_i |x_i| (1 - cos(x_i, C_{k_i})),  which is the cost reported here. Rows go
through in chunks. Only the last digits of sums depend on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from seehear.types import Float, Int, Tensor

# Numbers of a chunk, and of its similarities.
CHUNK_NUMBERS = 2**22
_CUDA_CHUNK_NUMBERS = 2**26
# Rows for each cluster among which starting points are looked for.
_START_ROWS = 32


@dataclass(frozen=True)
class Clusters:
    centroids_KE: Tensor
    cost: float
    """Mean over rows, before the last update of the centroids."""
    iterations: int


@torch.no_grad()
def kmeans(
    x_NE: Float[Tensor, "n e"], start_KE: Float[Tensor, "k e"], *, iterations: int = 100, tolerance: float = 1e-4
) -> Clusters:
    """From the given centroids until the cost falls by less than `tolerance` of itself. A cluster that gets no row
    starts again from the row that lies worst in its own."""
    if len(x_NE) < len(start_KE):
        raise ValueError(f"{len(start_KE)} clusters need as many rows; got {len(x_NE)}")
    length_N = torch.cat([x_TE.norm(dim=1) for x_TE in x_NE.split(_chunk_rows(x_NE, 1))])
    centroids_KE, cost, done = start_KE.to(x_NE.dtype), float("inf"), 0
    while done < iterations:
        sums_KE, count_K = torch.zeros_like(centroids_KE), centroids_KE.new_zeros(len(centroids_KE))
        along: list[Tensor] = []
        for x_TE, label_T, along_T in _chunks(x_NE, centroids_KE):
            # Adding by index is not deterministic on a GPU, a product is.
            if x_TE.is_cuda:
                member_KT = F.one_hot(label_T, len(centroids_KE)).to(x_TE.dtype).T
                sums_KE.addmm_(member_KT, x_TE)
                count_K += member_KT.sum(dim=1)
            else:
                sums_KE.index_add_(0, label_T, x_TE)
                count_K += torch.bincount(label_T, minlength=len(count_K))
            along.append(along_T)
        # Rounding may make a row longer along its centroid than it is.
        cost_N = (length_N - torch.cat(along)).clamp_(min=0)
        centroids_KE = sums_KE / count_K.clamp(min=1)[:, None]
        empty = (count_K == 0).nonzero().squeeze(1)
        if len(empty):
            # Not a zero vector, as in MCN's library: it would attract whatever is negative to all others.
            centroids_KE[empty] = x_NE[cost_N.topk(len(empty)).indices]
        before, cost, done = cost, float(cost_N.mean()), done + 1
        # By the cost and not by the shift of the centroids, which depends on the scale of the space.
        if before < float("inf") and before - cost <= tolerance * before:
            break
    return Clusters(centroids_KE, cost, done)


@torch.no_grad()
def assign(x_NE: Float[Tensor, "n e"], centroids_KE: Float[Tensor, "k e"]) -> Int[Tensor, " n"]:
    """The centroid of the highest cosine."""
    return torch.cat([labels for _, labels, _ in _chunks(x_NE, centroids_KE)])


@torch.no_grad()
def starting_points(
    x_NE: Float[Tensor, "n e"], clusters: int, generator: torch.Generator
) -> Float[Tensor, "clusters e"]:
    """Rows far from each other: k-means++ with the cost above, among a sample of the rows."""
    # Drawn by their place along a random direction, so that the order of the rows does not matter.
    direction_E = torch.randn(x_NE.shape[1], generator=generator, dtype=torch.float64)
    along_N = torch.cat([x_TE.cpu().double() @ direction_E for x_TE in x_NE.split(_chunk_rows(x_NE, 1))])
    sample = torch.randperm(len(x_NE), generator=generator)[: _START_ROWS * clusters].sort().values
    x_ME = x_NE[along_N.argsort(stable=True)[sample].to(x_NE.device)]
    draws_K = torch.rand(clusters, generator=generator, dtype=torch.float64).tolist()
    length_M = x_ME.norm(dim=1)
    # k-means++: from random rows the fit sticks at a cost up to a tenth higher.
    chosen = [int(draws_K[0] * len(x_ME))]
    cost_M = torch.full_like(length_M, torch.inf)
    for draw in draws_K[1:]:
        cost_M = torch.minimum(cost_M, length_M - x_ME @ F.normalize(x_ME[chosen[-1]], dim=0)).clamp_(min=0)
        # On the CPU: a cumulative sum on a GPU is not deterministic.
        total_M = cost_M.cpu().double().cumsum(dim=0)
        # Else every row is a copy of one already chosen.
        far = bool(total_M[-1] > 0)
        # right=True: a copy of a chosen row, at a cost of 0, is not drawn again.
        place = torch.searchsorted(total_M, draw * total_M[-1], right=True) if far else draw * len(x_ME)
        chosen.append(min(int(place), len(x_ME) - 1))
    return x_ME[chosen]


def _chunk_rows(x_NE: Tensor, columns: int) -> int:
    numbers = _CUDA_CHUNK_NUMBERS if x_NE.is_cuda else CHUNK_NUMBERS
    return max(256, numbers // max(columns, x_NE.shape[1]))


def _chunks(x_NE: Tensor, centroids_KE: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(rows, labels, length of each row along its centroid) of each chunk"""
    # bf16 products would assign rows to wrong clusters.
    with torch.autocast(x_NE.device.type, enabled=False):
        unit_EK = F.normalize(centroids_KE.to(x_NE.dtype), dim=1).T
        parts = x_NE.split(_chunk_rows(x_NE, len(centroids_KE)))
        # One buffer: new memory for each chunk costs page faults.
        buffer_TK = x_NE.new_empty(len(parts[0]), len(centroids_KE))
        for x_TE in parts:
            along_T, label_T = torch.mm(x_TE, unit_EK, out=buffer_TK[: len(x_TE)]).max(dim=1)
            yield x_TE, label_T, along_T
