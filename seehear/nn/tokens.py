"""From raw media and word numbers to the token sequence of a Transformer, an aggregation token in front.

patches     x_n W + e_pos[n],  n in the keep set;  AGG in front, without a position
words       AGG and word vectors through one map and GELU (then a Transformer with relative positions), or word
            vectors through it plus absolute positions, AGG in front (for a Transformer that others share)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.nn.masking import keep_set, take
from seehear.nn.patches import cut, grid
from seehear.nn.positions import Positions
from seehear.nn.random import Randomness, dropout
from seehear.nn.transformer import folded_dropout, glorot
from seehear.types import Bool, Float, Int, Tensor


class PatchTokens(nn.Module):
    """Of a grid (B, n_1, ..., C): frames, samples or a spectrogram. `shape` is the grid that positions are learnt for;
    any other one is read by interpolation. `mix`: a second map with GELU, for tokens that others share a Transformer
    with. Patches that are dropped are not even projected."""

    def __init__(
        self,
        shape: Sequence[int],
        patch: Sequence[int],
        *,
        channels: int,
        width: int,
        mix: bool,
        position_norm: bool,
        keep: float,
        keep_per_sample: bool,
        dropout: float,
    ):
        super().__init__()
        self.patch, self.channels, self.dropout = tuple(patch), channels, dropout
        self.keep, self.keep_per_sample = keep, keep_per_sample
        size = torch.Size(self.patch).numel() * channels
        self.project = glorot(nn.Linear(size, width))
        self.mix = glorot(nn.Linear(width, width)) if mix else None
        self.positions = Positions(grid(shape, patch), width, norm=position_norm)
        self.aggregate = aggregation(width)

    def forward(self, x: Tensor, *, rng: Randomness | None, name: str) -> Float[Tensor, "b m d"]:
        counts = self._grid(x, name)
        patches_BNP, place_ND = cut(x, self.patch), self.positions(counts)
        keep = keep_set(
            rng,
            f"{name}/keep",
            patches_BNP.shape[1],
            rate=self.keep,
            per_sample=self.keep_per_sample,
            device=x.device,
        )
        if keep is not None:
            patches_BNP, place_ND = take(patches_BNP, keep), place_ND[keep]
        x_BMD = self.project(signal(patches_BNP, self.aggregate.dtype))
        if self.mix is not None:
            x_BMD = F.gelu(self.mix(x_BMD))
        x_BMD = dropout(x_BMD + place_ND, self.dropout, rng, f"{name}/tokens")
        return torch.cat([self.aggregate.to(x_BMD.dtype).expand(len(x), 1, -1), x_BMD], dim=1)

    def _grid(self, x: Tensor, name: str) -> tuple[int, ...]:
        if x.dim() != len(self.patch) + 2 or x.shape[-1] != self.channels:
            found = " x ".join(str(n) for n in x.shape[1:])
            wanted = f"{len(self.patch)} axes and {self.channels} channels"
            raise SeehearError(f"{name} of a clip is {found}, this model reads {wanted}, the channels last")
        counts = grid(x.shape[1:-1], self.patch)
        if 0 in counts:
            found, patch = (" x ".join(str(n) for n in sizes) for sizes in (x.shape[1:-1], self.patch))
            raise SeehearError(f"{name} of a clip is {found}, a patch alone {patch}: take longer or larger clips")
        return counts


class WordTokens(nn.Module):
    """Of word numbers (N, L), 0 is padding; the table is trained or left as it is. `absolute`: so many positions, for a
    Transformer that others share; None: for one with relative positions."""

    def __init__(
        self,
        vocabulary: int,
        word_width: int,
        *,
        width: int,
        absolute: int | None,
        position_norm: bool,
        trained: bool,
        dropout: float,
    ):
        super().__init__()
        self.absolute, self.dropout = absolute, dropout
        self.table = nn.Embedding(vocabulary, word_width)
        self.table.weight.requires_grad_(trained)
        self.project = glorot(nn.Linear(word_width, width, bias=absolute is not None))
        self.positions = None if absolute is None else Positions((absolute,), width, norm=position_norm)
        self.aggregate = aggregation(word_width if absolute is None else width)

    def forward(
        self, ids_NL: Int[Tensor, "n l"], *, rng: Randomness | None, name: str
    ) -> tuple[Float[Tensor, "n t d"], Bool[Tensor, "n t"]]:
        """(tokens, 1 = a token and 0 = padding)"""
        self._check(ids_NL)
        if self.absolute is not None:
            ids_NL = F.pad(ids_NL, (0, self.absolute - ids_NL.shape[1]))
        mask_NT = F.pad(ids_NL != 0, (1, 0), value=True)
        x_NLD = self.table(ids_NL)
        aggregate_N1D = self.aggregate.expand(len(x_NLD), 1, -1)
        if self.positions is None:
            x_NTD = F.gelu(self.project(torch.cat([aggregate_N1D, x_NLD], dim=1)))
            return folded_dropout(x_NTD, self.dropout, rng, f"{name}/tokens"), mask_NT
        x_NLD = F.gelu(self.project(x_NLD)) + self.positions((x_NLD.shape[1],))
        x_NLD = folded_dropout(x_NLD, self.dropout, rng, f"{name}/tokens")
        return torch.cat([aggregate_N1D.to(x_NLD.dtype), x_NLD], dim=1), mask_NT

    @torch.no_grad()
    def load(self, table_VD: Float[Tensor, "v d"]) -> None:
        """Take word vectors, row 0 for padding."""
        if table_VD.shape != self.table.weight.shape:
            found, own = (" words of width ".join(f"{n:,}" for n in x.shape) for x in (table_VD, self.table.weight))
            raise SeehearError(f"the word table has {found}, this model was made for {own}: another vocabulary?")
        self.table.weight.copy_(table_VD)

    def _check(self, ids_NL: Tensor) -> None:
        if ids_NL.is_meta or torch.compiler.is_compiling():  # no values, or looking at them would break the graph
            return
        words = self.table.num_embeddings
        lowest, highest = (int(v) for v in ids_NL.aminmax()) if ids_NL.numel() else (0, 0)
        if lowest < 0 or highest >= words:
            wrong = lowest if lowest < 0 else highest
            raise SeehearError(f"word number {wrong:,} is not among the {words:,} of this model: another vocabulary?")
        if self.absolute is not None and ids_NL.shape[1] > self.absolute:
            raise SeehearError(f"a sentence has room for {ids_NL.shape[1]} words, this model reads {self.absolute}")


def signal(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes from -1 to 1; anything else as it is."""
    return x.to(dtype) * (2 / 255) - 1 if x.dtype == torch.uint8 else x.to(dtype)


def aggregation(width: int) -> nn.Parameter:
    """AGG: what a sequence is summed up in."""
    return nn.Parameter(torch.randn(width) * width**-0.5)
