"""Keep the neighbourhoods of a frozen space in the shared one (STRUCTURE, arXiv 2506.16895)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from seehear.types import Float, Tensor


def structure(
    latent_BD: Float[Tensor, "b d"],
    embedding_BE: Float[Tensor, "b e"],
    *,
    temperature: float = 0.05,
    levels: int = 1,
) -> Float[Tensor, ""]:
    """(1/levels) sum_l (1/l) JS(P^l, Q^l), P and Q the row softmax of centred similarities before and after; in
    [0, ln 2], and 0 when the embedding is a rotated or scaled copy. (The authors' code swaps the arguments of its KL
    terms, which is then not the Jensen-Shannon divergence; this is.)"""
    p_BB, q_BB = _transitions(latent_BD, temperature), _transitions(embedding_BE, temperature)
    p_l, q_l = p_BB, q_BB
    total = embedding_BE.new_zeros(())
    for level in range(1, levels + 1):
        if level > 1:
            p_l, q_l = p_l @ p_BB, q_l @ q_BB
        total = total + _jensen_shannon(p_l, q_l) / level
    return total / levels


def _transitions(rows: Tensor, temperature: float) -> Tensor:
    unit = F.normalize(rows, dim=1)
    centred = unit - unit.mean(dim=0)
    return torch.softmax(centred @ centred.T / temperature, dim=1)


def _jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    p, q = (x.clamp_min(torch.finfo(x.dtype).tiny) for x in (p, q))  # a zero has no logarithm, nor a gradient
    middle = torch.log((p + q) / 2)
    return (p * (p.log() - middle) + q * (q.log() - middle)).sum(dim=1).mean() / 2
