"""Pre-norm Transformer encoders, that of ViT and that of T5 with its relative positions; and the patches they read.

    z' = z + attention(norm(z)),   z'' = z' + W2 gelu(W1 norm(z')),   out = norm(z_last)

'vit'   LayerNorm, biases, logits divided by the root of the head's width
't5'    RMS norm before attention and at the end, no biases, logits as they are plus a learned number for each head and
        distance, the same in every layer; LayerNorm before the inner layer (as VATT has it, arXiv 2104.11178)

Rows never see each other. All draws are named and come from `Randomness`; without it nothing is dropped. Weights of
attention are never dropped: a fused kernel would draw from the device's stream, and a result would depend on how a
batch is cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.nn.random import Randomness, dropout
from seehear.types import Bool, Float, Tensor

Style = Literal["vit", "t5"]
_EPS = 1e-6
# T5's buckets of distances, and the distance from which on all are alike.
_BUCKETS, _LONGEST = 32, 64


@dataclass(frozen=True, kw_only=True)
class Size:
    layers: int
    """Blocks, one after the other."""
    width: int
    """Numbers of a token; a multiple of `heads`."""
    hidden: int
    """Width inside a block's MLP."""
    heads: int
    """Heads of attention."""

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.hidden, self.heads) < 1 or self.width % self.heads:
            raise SeehearError(f"sizes must be positive and the width a multiple of the heads; got {self}")


class Transformer(nn.Module):
    """`drop_path` leaves out a branch for a whole sample, more often the deeper it lies: never in the first block, so
    often in the last. `dropout` is inside the MLP, at the end of each branch and of the encoder. `final_norm`: off for
    an encoder whose tokens others take on as they are."""

    def __init__(
        self, size: Size, *, style: Style = "vit", dropout: float = 0.0, drop_path: float = 0.0, final_norm: bool = True
    ):
        super().__init__()
        self.size, self.dropout = size, dropout
        rates = [drop_path * i / max(1, size.layers - 1) for i in range(size.layers)]
        self.blocks = nn.ModuleList(Block(size, style=style, dropout=dropout, drop_path=rate) for rate in rates)
        self.norm = _norm(style, size.width) if final_norm else nn.Identity()
        self.relative = RelativeBias(size.heads) if style == "t5" else None

    def forward(
        self,
        x_BLD: Float[Tensor, "b l d"],
        mask_BL: Bool[Tensor, "b l"] | None = None,
        *,
        rng: Randomness | None = None,
        name: str = "transformer",
        asked: slice | None = None,
    ) -> Float[Tensor, "b m d"]:
        """`mask_BL`: 1 = a token, 0 = padding, which is not attended to; one token a row at least. Several rows may
        belong to each row of `rng` (the sentences of a clip). `name` tells these draws from those of others. `asked`:
        the tokens that come out; the last block computes no others."""
        # Added to all logits, or a mask of them: (B or 1, H or 1, L or 1, L).
        bias = mask = None if mask_BL is None else mask_BL[:, None, None]
        if self.relative is not None:
            bias = self.relative(x_BLD.shape[1])[None]
            bias = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
        # Sums over many layers keep the type of the weights, under autocast too.
        x_BLD = x_BLD.to(next(self.parameters()).dtype)
        for i, block in enumerate(self.blocks):
            here = asked if i == len(self.blocks) - 1 else None
            x_BLD = block(x_BLD, bias, rng=rng, name=f"{name}/{i}", asked=here)
        return folded_dropout(self.norm(x_BLD), self.dropout, rng, f"{name}/end")


class Block(nn.Module):
    def __init__(self, size: Size, *, style: Style, dropout: float, drop_path: float):
        super().__init__()
        self.dropout, self.drop_path = dropout, drop_path
        bias = style == "vit"
        # VATT's T5 has RMS norm before attention and LayerNorm before the inner layer.
        self.norm1, self.norm2 = _norm(style, size.width), nn.LayerNorm(size.width, eps=_EPS)
        self.attention = Attention(size.width, size.heads, bias=bias, scaled=style == "vit")
        self.up = glorot(nn.Linear(size.width, size.hidden, bias=bias))
        self.down = glorot(nn.Linear(size.hidden, size.width, bias=bias))

    def forward(
        self, z_BLD: Tensor, bias: Tensor | None, *, rng: Randomness | None, name: str, asked: slice | None = None
    ) -> Tensor:
        y_BLD = self.attention(self.norm1(z_BLD), bias, asked=asked)
        z_BLD = z_BLD if asked is None else z_BLD[:, asked]
        z_BLD = z_BLD + self._branch(y_BLD, rng, f"{name}/attention")
        u_BLH = folded_dropout(F.gelu(self.up(self.norm2(z_BLD))), self.dropout, rng, f"{name}/hidden")
        return z_BLD + self._branch(self.down(u_BLH), rng, f"{name}/mlp")

    def _branch(self, y_BLD: Tensor, rng: Randomness | None, name: str) -> Tensor:
        y_BLD = folded_dropout(y_BLD, self.dropout, rng, name)
        if rng is None or self.drop_path == 0:
            return y_BLD
        rows = rng.stop - rng.start
        # Each of the sentences that belong to a row has a draw of its own.
        kept_B = rng.uniform(f"{name}/path", len(y_BLD) // rows).flatten() >= self.drop_path
        # Scaled up, so that nothing is scaled in use.
        return y_BLD * (kept_B.to(y_BLD) / (1 - self.drop_path))[:, None, None]


class Attention(nn.Module):
    """Attention of a sequence to itself."""

    def __init__(self, width: int, heads: int, *, bias: bool, scaled: bool):
        super().__init__()
        # T5 does not divide its logits.
        self.heads, self.scale = heads, (width // heads) ** -0.5 if scaled else 1.0
        # One product in place of three; each third is initialised as a map of its own.
        self.into = glorot(nn.Linear(width, 3 * width, bias=bias), parts=3)
        self.out = glorot(nn.Linear(width, width, bias=bias))

    def forward(
        self, x_BLD: Float[Tensor, "b l d"], bias: Tensor | None = None, *, asked: slice | None = None
    ) -> Float[Tensor, "b m d"]:
        """Outputs of all tokens, or of those `asked` for."""
        q, k, v = self.into(x_BLD).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, H, L, d)
        # The fused kernel takes a bias only in the type of the queries.
        if bias is not None and bias.dtype != torch.bool:
            bias = bias.to(q.dtype)
        if asked is not None:
            q = q[:, :, asked]
            bias = bias if bias is None or bias.shape[-2] == 1 else bias[..., asked, :]
        y_BHLd = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.scale)
        return self.out(y_BHLd.transpose(1, 2).flatten(2))


class RelativeBias(nn.Module):
    """Bias of the logits by head and bucket of the signed distance from query to key."""

    def __init__(self, heads: int):
        super().__init__()
        self.table = nn.Embedding(_BUCKETS, heads)
        # How Keras, and so VATT's code, initialises an embedding.
        nn.init.uniform_(self.table.weight, -0.05, 0.05)

    def forward(self, length: int) -> Float[Tensor, "h l l"]:
        place = torch.arange(length, device=self.table.weight.device)
        return self.table(bucket(place[None, :] - place[:, None])).permute(2, 0, 1)


def bucket(offset: Tensor) -> Tensor:
    """Bucket, 0 to 31, of key position - query position: half of them for later keys; of each half, half for single
    distances, the rest in even steps of the logarithm up to 64; the last one holds all that is farther."""
    half, exact = _BUCKETS // 2, _BUCKETS // 4
    distance = offset.abs()
    # Clamped for the near ones, which `where` drops: the logarithm of 0 has no integer.
    steps = torch.log(distance.clamp(min=exact) / exact) / math.log(_LONGEST / exact) * (half - exact)
    far = (exact + steps.long()).clamp(max=half - 1)
    return torch.where(distance < exact, distance, far) + half * (offset > 0)


def folded_dropout(x: Tensor, p: float, rng: Randomness | None, name: str) -> Tensor:
    """`dropout` where several rows lie one after the other for each row of the batch."""
    if rng is None or p == 0:
        return x
    return dropout(x.unflatten(0, (rng.stop - rng.start, -1)), p, rng, name).flatten(0, 1)


def glorot(linear: nn.Linear, *, parts: int = 1) -> nn.Linear:
    """Uniform by width in and out, biases zero. `parts` matrices that lie in one count each by itself."""
    for weight in linear.weight.data.chunk(parts):
        nn.init.xavier_uniform_(weight)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear


def _norm(style: Style, width: int) -> nn.Module:
    return nn.LayerNorm(width, eps=_EPS) if style == "vit" else nn.RMSNorm(width, eps=_EPS)


# -- patches -----------------------------------------------------------------------------------------------------------


def grid(shape: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Number of whole blocks along each axis; the rest at the end is left out."""
    return tuple(n // p for n, p in zip(shape, patch, strict=True))


def cut(x: Tensor, patch: Sequence[int]) -> Tensor:
    """(B, n_1, ..., n_k, C) to (B, N, P): the last axis of the grid runs fastest, over blocks and inside a block, and
    channels fastest of all. Video (B, T, H, W, C): token n of a grid t x h x w is block (n // hw, n % hw // w, n % w).
    """
    counts, channels, axes = grid(x.shape[1:-1], patch), x.shape[-1], len(patch)
    x = x[(slice(None), *(slice(n * p) for n, p in zip(counts, patch, strict=True)))]
    x = x.reshape(len(x), *(size for pair in zip(counts, patch, strict=True) for size in pair), channels)
    x = x.permute(0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1)
    return x.reshape(len(x), math.prod(counts), math.prod(patch) * channels)


def joined(x_BNP: Tensor, counts: Sequence[int], patch: Sequence[int]) -> Tensor:
    """(B, n_1, ..., n_k, C): the inverse of `cut`."""
    axes = len(patch)
    x = x_BNP.reshape(len(x_BNP), *counts, *patch, -1)
    order = [place for axis in range(axes) for place in (1 + axis, 1 + axes + axis)]
    x = x.permute(0, *order, 2 * axes + 1)
    return x.reshape(len(x), *(n * p for n, p in zip(counts, patch, strict=True)), x.shape[-1])


# -- which tokens are kept ---------------------------------------------------------------------------------------------


def num_kept(total: int, rate: float) -> int:
    """floor(rate * total), and at least one."""
    return max(1, int(rate * total))


def keep_set(
    rng: Randomness | None, name: str, total: int, *, rate: float, per_sample: bool, device: torch.device
) -> Tensor | None:
    """Positions of kept tokens in rising order: (M,) that the whole batch shares, or (B, M) with draws of its own for
    each sample. None keeps all: without `rng`, or with a rate of 1."""
    if rng is None or rate >= 1:
        return None
    count = num_kept(total, rate)
    if per_sample:
        return rng.uniform(name, total).argsort(dim=1)[:, :count].sort(dim=1).values.to(device)
    return torch.randperm(total, generator=rng.shared(name))[:count].sort().values.to(device)


def take(x_BND: Tensor, keep: Tensor) -> Tensor:
    """(B, M, D): the kept tokens of (B, N, D)."""
    if keep.dim() == 1:
        return x_BND[:, keep]
    return x_BND.gather(1, keep[:, :, None].expand(-1, -1, x_BND.shape[2]))


@dataclass(frozen=True)
class Shuffle:
    """A random order of each row's tokens, of which the first `visible` are seen (MAE)."""

    order_BN: Tensor
    """Numbers of tokens in that order."""
    visible: int

    @property
    def kept(self) -> Tensor:
        """(B, M) numbers of the tokens that are seen."""
        return self.order_BN[:, : self.visible]

    @property
    def hidden(self) -> Tensor:
        """(B, N - M) numbers of the others."""
        return self.order_BN[:, self.visible :]


def shuffle(draws_BN: Tensor, visible: int) -> Shuffle:
    """By independent draws, one a token. Equal draws stay in the order of their tokens, on any device."""
    return Shuffle(draws_BN.argsort(dim=1, stable=True), visible)


def num_visible(total: int, ratio: float) -> int:
    """floor(total (1 - ratio)), whatever 1 - ratio rounds to."""
    # Cut off without the grain, 400 tokens at 0.9 would leave 39 visible, and 10 none.
    visible = math.floor(total * (1 - ratio) + 1e-6)
    if not 0 < visible < total:
        raise SeehearError(f"hiding {ratio:g} of {total} patches leaves {visible} to be seen: some, not all, must be")
    return visible


def keep_lines(rng: Randomness, name: str, counts: Sequence[int], rates: Sequence[float]) -> Tensor:
    """(B, M) numbers of the tokens of a grid that are left when a random part of the lines along each axis is taken
    out: rows of a spectrogram and its columns. At least one line of each axis stays."""
    kept = torch.zeros(rng.stop - rng.start, 1, dtype=torch.long, device=rng.device)
    for axis, (count, rate) in enumerate(zip(counts, rates, strict=True)):
        # The same grain as in `num_visible`.
        lines = max(1, math.floor(count * (1 - rate) + 1e-6))
        chosen = rng.uniform(f"{name}/{axis}", count).argsort(dim=1, stable=True)[:, :lines].sort(dim=1).values
        kept = (kept[:, :, None] * count + chosen[:, None, :]).flatten(1)
    return kept
