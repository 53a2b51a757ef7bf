"""Latents of frozen encoders: mixing, standardisation, and heads that map them into a space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.nn.random import Randomness, dropout
from seehear.types import Bool, Float, Int, Tensor

# -- mixing of rows, and the choice of pairs when some rows lack modalities --------------------------------------------


def mix(
    z_BD: Float[Tensor, "b d"], first_R: Int[Tensor, " r"], second_R: Int[Tensor, " r"], weight_R: Float[Tensor, " r"]
) -> Float[Tensor, "r d"]:
    """weight * z[first] + (1 - weight) * z[second], row by row."""
    weight = weight_R[:, None]
    return weight * z_BD[first_R] + (1 - weight) * z_BD[second_R]


def halves(present_BM: Bool[Tensor, "b m"]) -> tuple[Tensor, Tensor]:
    """(first, second) row numbers, every row in one pair: the first half with the second among rows that have the same
    modalities. One row of each such set may be left over; these pair with the row that shares most modalities."""
    if len(present_BM) % 2:
        raise SeehearError(
            f"mixing halves needs an even number of loaded rows; got {len(present_BM)}: "
            "take an even batch size, or mix='permutation'"
        )
    first, second, left = [], [], []
    for rows in _alike(present_BM):
        # Each source is in one mixed row only, so that the rows of a batch stay independent.
        half = len(rows) // 2
        first.append(rows[:half])
        second.append(rows[half : 2 * half])
        left += rows[2 * half :].tolist()
    # Rows with most modalities choose first: they have most to lose.
    left.sort(key=lambda r: -int(present_BM[r].sum()))
    while left:
        r = left.pop(0)
        nearest = max(left, key=lambda c: int((present_BM[r] & present_BM[c]).sum()))
        left.remove(nearest)
        first.append(torch.tensor([r]))
        second.append(torch.tensor([nearest]))
    return torch.cat(first), torch.cat(second)


def permutation(present_BM: Bool[Tensor, "b m"], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(all rows, their partners): a uniformly random permutation of the rows that have the same modalities."""
    # A flip or a roll by half a batch would put each pair in twice, with the weights swapped: false negatives.
    partner = torch.empty(len(present_BM), dtype=torch.int64)
    for rows in _alike(present_BM):
        partner[rows] = rows[torch.randperm(len(rows), generator=generator)]
    return torch.arange(len(present_BM)), partner


def row_numbers(z_BD: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
    """Equal rows get equal numbers (63-bit sums of their bits; the chance of a false match is about B^2 / 2^64)."""
    bits_BD = z_BD.float().contiguous().view(torch.int32).to(torch.int64)
    generator = torch.Generator().manual_seed(0)
    # Odd factors: a product with an odd number keeps all of 64 bits.
    factors_D = torch.randint(2**62, (z_BD.shape[1],), generator=generator, dtype=torch.int64) * 2 + 1
    return (bits_BD * factors_D.to(z_BD.device)).sum(dim=1)


def _alike(present_BM: Tensor) -> list[Tensor]:
    """Row numbers, ascending, of each set of rows that have the same modalities."""
    code_B = (present_BM.long() * 2 ** torch.arange(present_BM.shape[1])).sum(dim=1)
    return [(code_B == code).nonzero().squeeze(1) for code in code_B.unique()]


# -- heads: one latent vector into a shared space, each row by itself --------------------------------------------------

# FusionAdapter   z <- z + W2 dropout(gelu(W1 norm(z)))  `depth` times,   o = W norm(z)
# GatedSkip       h(z) = P (z - mean) + g * FusionAdapter(z),  g = 0 at the start: then h is the linear map P alone


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
        # The mean is the offset, and comes from the training rows.
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
