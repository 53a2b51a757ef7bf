"""The small parts of MCN's branches (arXiv 2104.12671): unit latents, words pooled by maximum, gated units, decoders,
and a branch of them. Rows never see each other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from seehear.types import Float, Tensor


class UnitBlocks(nn.Module):
    """The latents of each encoder to unit length, side by side."""

    def __init__(self, blocks: tuple[int, ...]):
        super().__init__()
        self.blocks = blocks

    def forward(self, x_BD: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        return torch.cat([F.normalize(x, dim=1) for x in x_BD.split(self.blocks, dim=1)], dim=1)


class GatedUnit(nn.Module):
    """y = W1 x + b1,   out = y * sigmoid(W2 y + b2): every dimension gated by what all the others hold."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.linear = nn.Linear(width, dim)
        self.gate = nn.Linear(dim, dim)

    def forward(self, x_BD: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        y_BE = self.linear(x_BD)
        return y_BE * torch.sigmoid(self.gate(y_BE))


class MaxWords(nn.Module):
    """max over words of ReLU(W x + b). A row of zeros is no word; without any word all is zero."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.linear = nn.Linear(width, dim)

    def forward(self, words_BLD: Float[Tensor, "b l d"]) -> Float[Tensor, "b e"]:
        word_BL = (words_BLD != 0).any(dim=2)  # 1 = a word, 0 = padding
        y_BLE = self.linear(words_BLD).masked_fill(~word_BL[:, :, None], -torch.inf)
        return y_BLE.max(dim=1).values.relu()  # the ReLU of the maximum is the maximum of ReLUs


class Decoder(nn.Sequential):
    """Linear, ReLU, Linear, and one more ReLU where what it rebuilds is never negative."""

    def __init__(self, dim: int, hidden: int, width: int, *, nonnegative: bool):
        last = [nn.ReLU()] if nonnegative else []
        super().__init__(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, width), *last)


class Branch(nn.Module):
    """One modality: a stem that makes one vector f of the input, heads from f into spaces, and decoders back to f."""

    def __init__(
        self, stem: nn.Module, width: int, dims: Mapping[str, int], *, narrow: bool, hidden: int, nonnegative: bool
    ):
        """`width` is f's, `dims` those of the spaces by name. `narrow`: gate f before it is widened, which is steadier
        in half precision. `hidden` 0: no decoders. `nonnegative`: f never has a value below zero."""
        super().__init__()
        self.stem = stem
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(GatedUnit(width, width), nn.Linear(width, dim)) if narrow else GatedUnit(width, dim)
                for name, dim in dims.items()
            }
        )
        decoded = dims if hidden else {}
        self.decoders = nn.ModuleDict(
            {name: Decoder(dim, hidden, width, nonnegative=nonnegative) for name, dim in decoded.items()}
        )

    def forward(self, f_BD: Float[Tensor, "b d"]) -> dict[str, Tensor]:
        """(B, E) by space."""
        return {name: head(f_BD) for name, head in self.heads.items()}

    def errors(self, z: Mapping[str, Tensor], f_BD: Float[Tensor, "b d"]) -> list[Tensor]:
        """(B,) for each space: the mean squared error of f as it is rebuilt from there."""
        rebuilt = [decoder(z[name]) for name, decoder in self.decoders.items()]
        return [(r_BD.to(f_BD.dtype) - f_BD).square().mean(dim=1) for r_BD in rebuilt]
