"""Heads that map one latent vector of a frozen encoder into a shared space. Rows never see each other.

FusionAdapter   z <- z + W2 dropout(gelu(W1 norm(z)))  `depth` times,   o = W norm(z)
GatedSkip       h(z) = P (z - mean) + g * FusionAdapter(z),  g = 0 at the start: then h is the linear map P alone
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from seehear.nn.random import Randomness, dropout
from seehear.types import Float, Tensor


class AdapterBlock(nn.Module):
    """Pre-norm residual inverted bottleneck with one dropout, between the exact GELU and the second Linear."""

    def __init__(self, width: int, *, expansion: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        self.dropout = dropout

    def forward(self, z_BD: Tensor, *, rng: Randomness | None, name: str) -> Tensor:
        u_BD = F.gelu(self.up(self.norm(z_BD)))
        return z_BD + self.down(dropout(u_BD, self.dropout, rng, name))


class FusionAdapter(nn.Module):
    """FuseMix's adapter (arXiv 2312.10144). The output is not normalised."""

    def __init__(self, width: int, dim: int, *, depth: int = 4, expansion: int = 4, dropout: float = 0.6):
        super().__init__()
        self.blocks = nn.ModuleList(AdapterBlock(width, expansion=expansion, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, dim)

    def forward(
        self, z_BD: Float[Tensor, "b d"], *, rng: Randomness | None = None, name: str = "adapter"
    ) -> Float[Tensor, "b e"]:
        """`name` tells the dropout of this adapter from that of others; without `rng` there is none."""
        for i, block in enumerate(self.blocks):
            z_BD = block(z_BD, rng=rng, name=f"{name}/{i}")
        return self.project(self.norm(z_BD))


class Standardise(nn.Module):
    """(z - mean) * scale, set once from the training latents: buffers, not parameters."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def set(self, mean_D: Tensor, deviation_D: Tensor, blocks: Sequence[int] = ()) -> None:
        """`blocks` are the widths of concatenated encoders: a wide one then does not outvote a narrow one."""
        width = len(mean_D)
        blocks = blocks or (width,)
        share = torch.cat([torch.full((b,), math.sqrt(width / (len(blocks) * b))) for b in blocks])
        self.mean.copy_(mean_D)
        self.scale.copy_(share / deviation_D)

    def forward(self, z_BD: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        return (z_BD - self.mean) * self.scale


class GatedSkip(nn.Module):
    """P (z - mean), plus an adapter behind a gate for each dimension, which opens from zero."""

    mean: Tensor

    def __init__(self, width: int, dim: int, adapter: FusionAdapter | None = None):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.linear = nn.Linear(width, dim, bias=False)
        self.adapter = adapter
        if adapter is not None:
            self.gate = nn.Parameter(torch.zeros(dim))

    @torch.no_grad()
    def start_from(self, mean_D: Tensor, weight_DE: Tensor) -> None:
        """Sets the linear map to (z - mean) @ weight."""
        self.mean.copy_(mean_D)
        self.linear.weight.copy_(weight_DE.T)

    def forward(
        self, z_BD: Float[Tensor, "b d"], *, rng: Randomness | None = None, name: str = "adapter"
    ) -> Float[Tensor, "b e"]:
        h_BE = self.linear(z_BD - self.mean)
        if self.adapter is None:
            return h_BE
        return h_BE + self.gate * self.adapter(z_BD, rng=rng, name=name)


class Temperature(nn.Module):
    """tau itself, a divisor, pulled back into [lowest, highest] before every use."""

    def __init__(self, start: float = 0.07, *, lowest: float = 0.001, highest: float = 0.5):
        super().__init__()
        self.lowest, self.highest = lowest, highest
        self.tau = nn.Parameter(torch.tensor(start))

    def forward(self) -> Tensor:
        # On the data: a clamp inside the graph would give no gradient outside the bounds, and tau would never return.
        self.tau.data.clamp_(self.lowest, self.highest)
        return self.tau
