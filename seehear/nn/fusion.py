"""Where the tokens of two modalities meet.

joint        one Transformer over the tokens of both
bottleneck   each modality attends to itself and a few tokens that both share; after every layer these are the mean of
             what either made of them (arXiv 2107.00135)

A clip that lacks a modality is fused as if there were no tokens of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from seehear.nn.random import Randomness
from seehear.nn.transformer import Size, Transformer
from seehear.types import Bool, Modality, Tensor

_EPS, _STD = 1e-6, 0.02
Tokens = dict[Modality, Tensor]
"""(B, L, D) by modality, L its own."""


class JointFusion(nn.Module):
    def __init__(self, size: Size, *, layers: int):
        super().__init__()
        self.transformer = Transformer(replace(size, layers=layers))

    def forward(
        self, tokens: Tokens, present: Mapping[Modality, Bool[Tensor, " b"]], *, rng: Randomness | None = None
    ) -> Tokens:
        lengths = [x.shape[1] for x in tokens.values()]
        real = _real({m: present[m] for m in tokens})
        mask_BL = torch.cat([real[m][:, None].expand(-1, n) for m, n in zip(tokens, lengths, strict=True)], dim=1)
        fused_BLD = self.transformer(torch.cat(list(tokens.values()), dim=1), mask_BL, rng=rng, name="fusion")
        return dict(zip(tokens, fused_BLD.split(lengths, dim=1), strict=True))


class BottleneckFusion(nn.Module):
    """`count` shared tokens."""

    def __init__(self, size: Size, modalities: tuple[Modality, ...], *, layers: int, count: int = 4):
        super().__init__()
        self.shared = SharedTokens(count, size.width)
        self.layers = nn.ModuleList(BottleneckLayer(size, modalities) for _ in range(layers))
        self.norm = nn.LayerNorm(size.width, eps=_EPS)

    def forward(
        self, tokens: Tokens, present: Mapping[Modality, Bool[Tensor, " b"]], *, rng: Randomness | None = None
    ) -> Tokens:
        real = _real({m: present[m] for m in tokens})
        shared_BLD = self.shared(len(next(iter(tokens.values()))))
        for i, layer in enumerate(self.layers):
            tokens, shared_BLD = layer(tokens, shared_BLD, real, rng=rng, name=f"fusion/{i}")
        return {m: self.norm(x_BLD) for m, x_BLD in tokens.items()}


class BottleneckLayer(nn.Module):
    def __init__(self, size: Size, modalities: tuple[Modality, ...]):
        super().__init__()
        one = replace(size, layers=1)
        self.sides = nn.ModuleDict({m: Transformer(one, final_norm=False) for m in modalities})

    def forward(
        self, tokens: Tokens, shared_BLD: Tensor, real: Mapping[Modality, Tensor], *, rng: Randomness | None, name: str
    ) -> tuple[Tokens, Tensor]:
        count, weight_B1 = shared_BLD.shape[1], sum(has.to(shared_BLD.dtype) for has in real.values())
        out, total = {}, torch.zeros_like(shared_BLD)
        for m, x_BLD in tokens.items():
            both_BLD = torch.cat([shared_BLD, x_BLD.to(shared_BLD.dtype)], dim=1)
            made_BLD = self.sides[m](both_BLD, rng=rng, name=f"{name}/{m}")
            total = total + (real[m] / weight_B1)[:, None, None] * made_BLD[:, :count]
            out[m] = made_BLD[:, count:]
        return out, total


class SharedTokens(nn.Module):
    def __init__(self, count: int, width: int):
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(count, width) * _STD)

    def forward(self, rows: int) -> Tensor:
        return self.tokens.expand(rows, -1, -1)


def _real(present: Mapping[Modality, Tensor]) -> dict[Modality, Tensor]:
    """Who is attended to: who is there, or all where nobody is, for a softmax of nothing is not a number."""
    nobody = ~torch.stack(list(present.values())).any(dim=0)
    return {m: has | nobody for m, has in present.items()}
