"""Tokens of masked autoencoders: patches in standard units, a linear map, a fixed position, CLS in front."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from seehear.nn.sincos import sincos
from seehear.nn.transformer import glorot
from seehear.types import Float, Int, Tensor

_STD = 0.02


class Standard(nn.Module):
    """(x - mean) / deviation of patches whose numbers run through `mean` again and again (channels fastest). Bytes are
    taken from 0 to 1 first."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Sequence[float], deviation: Sequence[float], *, values: int):
        super().__init__()
        times = values // len(mean)
        self.register_buffer("mean", torch.tensor(mean).repeat(times), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).repeat(times), persistent=False)

    def forward(self, patches_BNP: Float[Tensor, "b n p"]) -> Float[Tensor, "b n p"]:
        x_BNP = patches_BNP.to(self.mean.dtype)
        return ((x_BNP / 255 if patches_BNP.dtype == torch.uint8 else x_BNP) - self.mean) / self.deviation

    def inverse(self, standard_BNP: Float[Tensor, "b n p"]) -> Float[Tensor, "b n p"]:
        """Bytes do not come back: 0 to 1."""
        return standard_BNP * self.deviation + self.mean


class Places(nn.Module):
    """Fixed positions of the patches of a grid. `still`: every picture of a film has those of a picture."""

    code: Tensor

    def __init__(self, counts: Sequence[int], width: int, *, still: bool = False):
        super().__init__()
        self.counts, self.width, self.still = tuple(counts), width, still
        code = self._code(self.counts)
        self.register_buffer("code", code.clone().to(torch.get_default_device()), persistent=False)

    def forward(self, ids_BM: Int[Tensor, "b m"] | None = None, *, counts: Sequence[int] | None = None) -> Tensor:
        """(B, M, D) of some places, (1, N, D) of all; of another grid where `counts` says so."""
        same = counts is None or tuple(counts) == self.counts
        code = self.code if same else self._code(tuple(counts or ())).to(self.code)
        return code[None] if ids_BM is None else code[ids_BM]

    def _code(self, counts: tuple[int, ...]) -> Tensor:
        return sincos(counts[1:], self.width).repeat(counts[0], 1) if self.still else sincos(counts, self.width)


class FixedTokens(nn.Module):
    def __init__(self, counts: Sequence[int], *, values: int, width: int, still: bool = False):
        super().__init__()
        self.num_tokens = math.prod(counts)
        self.project = glorot(nn.Linear(values, width))
        self.places = Places(counts, width, still=still)
        self.cls = nn.Parameter(torch.randn(width) * _STD)

    def forward(
        self,
        patches_BMP: Float[Tensor, "b m p"],
        ids_BM: Int[Tensor, "b m"] | None = None,
        *,
        counts: Sequence[int] | None = None,
    ) -> Float[Tensor, "b l d"]:
        """Of patches with the numbers `ids_BM`, or all of a grid in its order. CLS has no position."""
        x_BMD = self.project(patches_BMP) + self.places(ids_BM, counts=counts)
        return torch.cat([self.cls.to(x_BMD.dtype).expand(len(x_BMD), 1, -1), x_BMD], dim=1)


class MaskToken(nn.Module):
    """One learned vector at every place that is hidden."""

    def __init__(self, width: int):
        super().__init__()
        self.token = nn.Parameter(torch.randn(width) * _STD)

    def forward(self, patches_BMP: Float[Tensor, "b m p"], **_: object) -> Float[Tensor, "b m d"]:
        return self.token.expand(*patches_BMP.shape[:2], -1)
