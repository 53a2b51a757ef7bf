"""Parts of masked autoencoders: patches in standard units, fixed positions, CLS in front, and decoders.

Positions are sines and cosines, half of the numbers each:

1-D, width d    [sin(p w_0) ..., cos(p w_0) ...],  w_k = 10000^(-k / (d/2))
2-D, width d    d/2 for the second axis (columns), then d/2 for the first (rows)
3-D, width d    d/4 for time, then 3 d/4 as in 2-D for the picture

A decoder, narrower than the encoder, predicts hidden patches from the tokens of seen ones:

joint        seen and hidden tokens attend to all of them
cross        q' = q + CA(norm(q), norm(m));  q'' = q' + MLP(norm(q')): hidden tokens read the seen ones (DiffMAE)
cross-self   before it q <- q + SA(norm(q)): hidden tokens read each other, too

Tokens stand in the order of their mask, seen before hidden, each with its position: attention ignores order, so nothing
has to be put back in place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from seehear.nn.transformer import Attention, Size, Transformer, glorot
from seehear.types import Float, Int, Tensor

_STD, _EPS, _SLOWEST = 0.02, 1e-6, 10_000.0
DecoderKind = Literal["joint", "cross", "cross-self"]


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
        """Patches in [0, 1], also those that came as bytes."""
        return standard_BNP * self.deviation + self.mean


class Places(nn.Module):
    """Fixed positions of the patches of a grid. `still`: every picture of a film has those of a picture."""

    code: Tensor

    def __init__(self, counts: Sequence[int], width: int, *, still: bool = False):
        super().__init__()
        self.counts, self.width, self.still = tuple(counts), width, still
        code = self._code(self.counts)
        # A copy of the cached table, on the device that the model is made on; not saved, as it follows from the
        # settings.
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
        """Tokens of the patches numbered `ids_BM`, or of all patches of a grid; CLS in front, without a position."""
        x_BMD = self.project(patches_BMP) + self.places(ids_BM, counts=counts)
        return torch.cat([self.cls.to(x_BMD.dtype).expand(len(x_BMD), 1, -1), x_BMD], dim=1)


class MaskToken(nn.Module):
    """One learned vector for every hidden patch."""

    def __init__(self, width: int):
        super().__init__()
        self.token = nn.Parameter(torch.randn(width) * _STD)

    def forward(self, patches_BMP: Float[Tensor, "b m p"], **_: object) -> Float[Tensor, "b m d"]:
        return self.token.expand(*patches_BMP.shape[:2], -1)


# -- fixed positions ---------------------------------------------------------------------------------------------------


def line(place: Float[Tensor, " n"], width: int) -> Float[Tensor, "n d"]:
    """Sines and cosines of places along one axis, in their own precision."""
    half = torch.arange(width // 2, dtype=place.dtype) / (width / 2)
    angle_NK = place[:, None] * _SLOWEST**-half
    return torch.cat([angle_NK.sin(), angle_NK.cos()], dim=1)


@lru_cache(maxsize=32)
def sincos(counts: tuple[int, ...], width: int) -> Float[Tensor, "n d"]:
    """Positions of a grid of one, two or three axes in the order of `tokens.cut`, float32 on the CPU."""
    parts = {1: (width,), 2: (width // 2,) * 2, 3: (width // 4, width * 3 // 8, width * 3 // 8)}[len(counts)]
    if sum(parts) != width or any(part % 2 for part in parts):
        raise ValueError(f"width {width} cannot be shared among {len(counts)} axes, with sines and cosines of each")
    # The cached table must not lie on the device that happens to be the default now.
    with torch.device("cpu"):
        axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in counts), indexing="ij")
        *before, rows, columns = (None, *axes) if len(counts) == 1 else axes
        order = [a for a in (*before, columns, rows) if a is not None]
        return torch.cat([line(a.flatten(), part) for a, part in zip(order, parts, strict=True)], dim=1).float()


# -- decoders ----------------------------------------------------------------------------------------------------------


class CrossTransformer(nn.Module):
    """Blocks of cross attention. `talk`: queries also attend to each other."""

    def __init__(self, size: Size, *, talk: bool = False):
        super().__init__()
        self.size = size
        self.blocks = nn.ModuleList(CrossBlock(size, talk=talk) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width, eps=_EPS)

    def forward(self, q_BMD: Float[Tensor, "b m d"], memory_BKD: Float[Tensor, "b k d"]) -> Float[Tensor, "b m d"]:
        # Sums over many layers keep the type of the weights, under autocast too.
        dtype = next(self.parameters()).dtype
        q_BMD, memory_BKD = q_BMD.to(dtype), memory_BKD.to(dtype)
        for block in self.blocks:
            q_BMD = block(q_BMD, memory_BKD)
        return self.norm(q_BMD)


class CrossBlock(nn.Module):
    def __init__(self, size: Size, *, talk: bool):
        super().__init__()
        self.norm_self = nn.LayerNorm(size.width, eps=_EPS) if talk else None
        self.talk = Attention(size.width, size.heads, bias=True, scaled=True) if talk else None
        self.norm1, self.norm2, self.norm_memory = (nn.LayerNorm(size.width, eps=_EPS) for _ in range(3))
        self.attention = CrossAttention(size.width, size.heads)
        self.up, self.down = glorot(nn.Linear(size.width, size.hidden)), glorot(nn.Linear(size.hidden, size.width))

    def forward(self, q_BMD: Tensor, memory_BKD: Tensor) -> Tensor:
        if self.talk is not None and self.norm_self is not None:
            q_BMD = q_BMD + self.talk(self.norm_self(q_BMD))
        q_BMD = q_BMD + self.attention(self.norm1(q_BMD), self.norm_memory(memory_BKD))
        return q_BMD + self.down(F.gelu(self.up(self.norm2(q_BMD))))


class CrossAttention(nn.Module):
    """Attention of one sequence to another one."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.ask = glorot(nn.Linear(width, width))
        self.read = glorot(nn.Linear(width, 2 * width), parts=2)
        self.out = glorot(nn.Linear(width, width))

    def forward(self, q_BMD: Float[Tensor, "b m d"], memory_BKD: Float[Tensor, "b k d"]) -> Float[Tensor, "b m d"]:
        q = self.ask(q_BMD).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, H, M, d)
        k, v = self.read(memory_BKD).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, H, K, d)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MaskedDecoder(nn.Module):
    """Decoder from tokens of width `source` to `values` numbers a patch. `needed_only`: a joint decoder skips what it
    would compute of seen tokens and no hidden token reads."""

    def __init__(
        self,
        size: Size,
        counts: Sequence[int],
        *,
        source: int,
        values: int,
        kind: DecoderKind = "joint",
        needed_only: bool = True,
    ):
        super().__init__()
        self.kind, self.needed_only = kind, needed_only
        self.embed = glorot(nn.Linear(source, size.width))
        self.places = Places(counts, size.width)
        self.transformer = Transformer(size) if kind == "joint" else CrossTransformer(size, talk=kind == "cross-self")
        self.head = glorot(nn.Linear(size.width, values))

    def forward(
        self,
        seen_BLD: Float[Tensor, "b l d"],
        kept_BM: Int[Tensor, "b k"],
        hidden_BM: Int[Tensor, "b m"],
        place_BMD: Float[Tensor, "b m e"],
    ) -> Float[Tensor, "b m p"]:
        """`seen_BLD`: CLS, then the tokens with the numbers `kept_BM`. `place_BMD`: what stands at the hidden places,
        of the decoder's width, without position."""
        seen_BLD = self.embed(seen_BLD)
        # CLS has no position.
        seen_BLD = torch.cat([seen_BLD[:, :1], seen_BLD[:, 1:] + self.places(kept_BM)], dim=1)
        query_BMD = place_BMD + self.places(hidden_BM)
        if isinstance(self.transformer, CrossTransformer):
            return self.head(self.transformer(query_BMD, seen_BLD))
        count, x_BLD = query_BMD.shape[1], torch.cat([seen_BLD.to(query_BMD.dtype), query_BMD], dim=1)
        if self.needed_only:
            return self.head(self.transformer(x_BLD, asked=slice(-count, None)))
        return self.head(self.transformer(x_BLD))[:, -count:]


# -- reconstruction of hidden patches ----------------------------------------------------------------------------------


def patch_error(predicted_BMP: Float[Tensor, "b m p"], target_BMP: Float[Tensor, "b m p"]) -> Float[Tensor, " b"]:
    """Mean squared error of each row, in float32 at least. As rows hide equally many patches, the mean of these is the
    mean over all hidden patches."""
    dtype = torch.promote_types(predicted_BMP.dtype, torch.float32)
    return (predicted_BMP.to(dtype) - target_BMP.to(dtype)).square().mean(dim=(1, 2))


def standardised(patches_BMP: Float[Tensor, "b m p"]) -> Float[Tensor, "b m p"]:
    """(x - mean) / sqrt(variance + 1e-6) of each patch, with the unbiased variance: constant patches are 0."""
    mean = patches_BMP.mean(dim=-1, keepdim=True)
    # The grain inside of the root: silence and padding have no variance.
    return (patches_BMP - mean) / (patches_BMP.var(dim=-1, keepdim=True) + _EPS).sqrt()


def unstandardised(told_BMP: Float[Tensor, "b m p"], like_BMP: Float[Tensor, "b m p"]) -> Float[Tensor, "b m p"]:
    """Inverse of `standardised`, with the mean and variance of the patches `like_BMP`."""
    mean = like_BMP.mean(dim=-1, keepdim=True)
    return told_BMP * (like_BMP.var(dim=-1, keepdim=True) + _EPS).sqrt() + mean
