"""Layers of VATT: from raw media and word numbers to the tokens of a Transformer, and from its features into a space.

patches     x_n W + e_pos[n],  n in the keep set;  AGG in front, without a position
words       AGG and word vectors through one map and GELU (then a Transformer with relative positions), or word
            vectors through it plus absolute positions, AGG in front (for a Transformer that others share)
positions   learned, one table an axis: e_pos[i, j, k] = e_t[i] + e_v[j] + e_h[k], 8 + 14 + 14 vectors instead of
            8 * 14 * 14. Another number of places along an axis is interpolated from the table it has: the spline of
            order 3  s(u) = sum_i w_i |u - u_i|^3 + a + b u  through all its knots u_i = i / n, read at j / m. Between
            the knots that is the natural cubic spline, beyond the last one a straight line.
keep set    DropToken: only what is kept is computed
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.methods.vatt_config import MelConfig, VATTConfig
from seehear.nn.mel import mel_filters
from seehear.nn.random import Randomness, dropout
from seehear.nn.transformer import cut, folded_dropout, glorot, grid, keep_set, take
from seehear.types import Bool, Float, Int, Modality, Tensor

_EPS = 1e-6


class PatchTokens(nn.Module):
    """Tokens of a grid (B, n_1, ..., C): frames, samples or a spectrogram. Positions are learned for the grid of the
    settings, any other one is interpolated; a Transformer shared by several modalities has a second map with GELU."""

    def __init__(self, config: VATTConfig, m: Modality):
        super().__init__()
        shape, self.patch = config.grid_of(m)
        self.channels, self.dropout = config.channels if m == "video" else 1, config.dropout
        self.keep, self.keep_per_sample = config.keep_of(m), config.keep_per_sample
        width = config.size_of(m).width
        # A linear map of cut patches, not a convolution: it need not see those that are dropped.
        self.project = glorot(nn.Linear(math.prod(self.patch) * self.channels, width))
        self.mix = glorot(nn.Linear(width, width)) if config.variant == "agnostic" else None
        self.positions = Positions(grid(shape, self.patch), width, norm=config.position_norm)
        self.aggregate = aggregation(width)

    def forward(self, x: Tensor, *, rng: Randomness | None, name: str) -> Float[Tensor, "b m d"]:
        if x.dim() != len(self.patch) + 2 or x.shape[-1] != self.channels:
            found = " x ".join(str(n) for n in x.shape[1:])
            wanted = f"{len(self.patch)} axes and {self.channels} channels"
            raise SeehearError(f"{name} of a clip is {found}, this model reads {wanted}, the channels last")
        counts = grid(x.shape[1:-1], self.patch)
        if 0 in counts:
            found, patch = (" x ".join(str(n) for n in sizes) for sizes in (x.shape[1:-1], self.patch))
            raise SeehearError(f"{name} of a clip is {found}, a patch alone {patch}: take longer or larger clips")
        patches_BNP, place_ND = cut(x, self.patch), self.positions(counts)
        rate, each = self.keep, self.keep_per_sample
        # A share of the patches at hand: the official code counts those of the configured grid, whatever a clip has.
        keep = keep_set(rng, f"{name}/keep", patches_BNP.shape[1], rate=rate, per_sample=each, device=x.device)
        # Dropped before they are projected: what is left out costs nothing.
        if keep is not None:
            patches_BNP, place_ND = take(patches_BNP, keep), place_ND[keep]
        dtype = self.aggregate.dtype
        # Bytes are scaled to [-1, 1] here, after the drop, and not in the loader: they cross to the device as bytes.
        signal_BMP = patches_BNP.to(dtype) * (2 / 255) - 1 if x.dtype == torch.uint8 else patches_BNP.to(dtype)
        x_BMD = self.project(signal_BMP)
        if self.mix is not None:
            x_BMD = F.gelu(self.mix(x_BMD))
        x_BMD = dropout(x_BMD + place_ND, self.dropout, rng, f"{name}/tokens")
        return torch.cat([self.aggregate.to(x_BMD.dtype).expand(len(x), 1, -1), x_BMD], dim=1)


class WordTokens(nn.Module):
    """Tokens of word numbers (N, L), 0 is padding. A Transformer shared by several modalities has learned positions,
    one for each of `config.words`; that of text alone has relative ones, and reads any length."""

    def __init__(self, config: VATTConfig):
        super().__init__()
        self.absolute, self.dropout = config.words if config.variant == "agnostic" else None, config.dropout
        width, word_width, shared = config.size_of("text").width, config.word_width, self.absolute is not None
        self.table = nn.Embedding(config.vocabulary, word_width)
        self.table.weight.requires_grad_(config.train_words)
        # T5 has no biases; a shared ViT has them.
        self.project = glorot(nn.Linear(word_width, width, bias=shared))
        self.positions = Positions((config.words,), width, norm=config.position_norm) if shared else None
        # AGG lies among the word vectors, before the map; in a shared Transformer it enters behind it.
        self.aggregate = aggregation(width if shared else word_width)

    def forward(
        self, ids_NL: Int[Tensor, "n l"], *, rng: Randomness | None, name: str
    ) -> tuple[Float[Tensor, "n t d"], Bool[Tensor, "n t"]]:
        """(tokens, 1 = a token and 0 = padding)"""
        self._check(ids_NL)
        if self.absolute is not None:
            ids_NL = F.pad(ids_NL, (0, self.absolute - ids_NL.shape[1]))
        # AGG counts as a token: attention over padding alone would be NaN.
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
        # A meta tensor has no values, and looking at them would break a compiled graph.
        if ids_NL.is_meta or torch.compiler.is_compiling():
            return
        words = self.table.num_embeddings
        lowest, highest = (int(v) for v in ids_NL.aminmax()) if ids_NL.numel() else (0, 0)
        if lowest < 0 or highest >= words:
            wrong = lowest if lowest < 0 else highest
            raise SeehearError(f"word number {wrong:,} is not among the {words:,} of this model: another vocabulary?")
        if self.absolute is not None and ids_NL.shape[1] > self.absolute:
            raise SeehearError(f"a sentence has room for {ids_NL.shape[1]} words, this model reads {self.absolute}")


def aggregation(width: int) -> nn.Parameter:
    """AGG, the token whose output stands for the sequence."""
    # About what Glorot's normal initialisation gives one vector in the official code.
    return nn.Parameter(torch.randn(width) * width**-0.5)


# -- the spectrogram, of whole batches on their device -----------------------------------------------------------------


class LogMel(nn.Module):
    """log(1 + 10^4 mel) of magnitudes, periodic Hann windows, zeros beyond the end; then stretched from 0, the lowest
    of a clip, to 1, its highest (all 0 where the two are one)."""

    window: Tensor
    filters: Tensor

    def __init__(self, config: MelConfig, *, rate: int):
        super().__init__()
        size, self.hop = config.sizes(rate)
        self.points = 1 << (size - 1).bit_length()
        bank_FK = mel_filters(rate, self.points, config.bands, low=config.low, high=config.high, scale="kaldi")
        # The constant part of a signal is in no band.
        bank_FK[:, 0] = 0
        # Not saved: both follow from the settings.
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.register_buffer("filters", bank_FK.T.float().contiguous(), persistent=False)

    @torch.no_grad()
    def forward(self, sound_BN: Float[Tensor, "b n"]) -> Float[Tensor, "b s f"]:
        # Else the product with the filters would be in bf16.
        with torch.autocast(sound_BN.device.type, enabled=False):
            frames, size = -(-sound_BN.shape[1] // self.hop), len(self.window)
            whole = (frames - 1) * self.hop + size
            sound_BN = F.pad(sound_BN.to(self.window.dtype), (0, max(0, whole - sound_BN.shape[1])))
            framed_BSN = sound_BN.unfold(1, size, self.hop)[:, :frames] * self.window
            magnitude_BSK = torch.fft.rfft(framed_BSN, self.points).abs()
            level_BSF = (1e4 * (magnitude_BSK @ self.filters)).log1p()
            lowest, highest = level_BSF.amin(dim=(1, 2), keepdim=True), level_BSF.amax(dim=(1, 2), keepdim=True)
            return (level_BSF - lowest) / torch.where(highest > lowest, highest - lowest, 1.0)


# -- positions ---------------------------------------------------------------------------------------------------------


class Positions(nn.Module):
    """`counts` places along each axis. `norm`: LayerNorm of the sums, so that a token's place weighs as much as a
    token of unit variance; without it places start at the size of the tables, width^-0.5."""

    def __init__(self, counts: Sequence[int], width: int, *, norm: bool):
        super().__init__()
        self.counts = tuple(counts)
        self.table = nn.Parameter(torch.empty(sum(self.counts), width))
        self.norm = nn.LayerNorm(width, eps=_EPS) if norm else nn.Identity()
        std = width**-0.5
        nn.init.trunc_normal_(self.table, std=std, a=-2 * std, b=2 * std)

    def forward(self, counts: Sequence[int]) -> Float[Tensor, "n d"]:
        """The places of a grid in the order of `tokens.cut`."""
        total = torch.zeros((), dtype=self.table.dtype, device=self.table.device)
        # VATT's code numbers the places of a spectrogram by band and its tokens by time; here both go by time.
        tables = self.table.split(self.counts)
        for axis, (table, count) in enumerate(zip(tables, counts, strict=True)):
            shape = [1] * len(self.counts) + [table.shape[1]]
            shape[axis] = count
            total = total + resampled(table, count).view(shape)
        return self.norm(total.reshape(math.prod(counts), -1))


def resampled(table_ND: Float[Tensor, "n d"], count: int) -> Float[Tensor, "m d"]:
    if count == len(table_ND):
        return table_ND
    return resampling(len(table_ND), count).to(table_ND) @ table_ND


# The same few grids are met at every step.
@lru_cache(maxsize=64)
def resampling(old: int, new: int) -> Float[Tensor, "m n"]:
    """The linear map from `old` knots to `new` places, float64. One knot is a constant."""
    # The cached map must not lie on the device that happens to be the default now.
    with torch.device("cpu"):
        if old == 1:
            return torch.ones(new, 1, dtype=torch.float64)
        # The system holds cubes of distances, above 10^9 for the 1,200 tokens of a waveform.
        knot, place = torch.arange(old, dtype=torch.float64), torch.arange(new, dtype=torch.float64) * old / new
        # The spline does not depend on where the line has its origin, its rounding does.
        middle = knot.mean()

        def terms(u: Tensor) -> tuple[Tensor, Tensor]:
            return (u[:, None] - knot).abs() ** 3, torch.stack([torch.ones_like(u), u - middle], dim=1)

        cubes, line = terms(knot)
        system = torch.cat([torch.cat([cubes, line], dim=1), torch.cat([line.T, torch.zeros(2, 2).double()], dim=1)])
        values = torch.cat([torch.eye(old, dtype=torch.float64), torch.zeros(2, old, dtype=torch.float64)])
        return torch.cat(terms(place), dim=1) @ torch.linalg.solve(system, values)


# -- heads -------------------------------------------------------------------------------------------------------------


class BatchStatistics:
    """Mean and unbiased variance by norm, where a batch had two valid rows at least."""

    # A class and not a dict: a sharded module is called with copies of dicts.
    def __init__(self) -> None:
        self.moments: dict[nn.Module, tuple[Tensor, Tensor]] = {}


class HeadBatchNorm(nn.Module):
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, *, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        # 0.1 is the official code's 0.9: Keras counts the other way round.
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor, valid: Tensor | None = None, statistics: BatchStatistics | None = None) -> Tensor:
        """(..., D) normalised by the moments of the `valid` (...) rows (None: all), which are added to `statistics`;
        without it, or with fewer than two valid rows, by the running statistics."""
        x = x.to(self.weight.dtype)
        mean, variance = self.running_mean, self.running_var
        rows_ND = x.flatten(0, -2) if valid is None else x[valid]
        if statistics is not None and (count := len(rows_ND)) > 1:
            # Normalised by the biased variance, remembered with the unbiased one, as torch's batch norm does.
            mean, variance = rows_ND.mean(dim=0), rows_ND.var(dim=0, unbiased=False)
            statistics.moments[self] = mean.detach(), variance.detach() * (count / (count - 1))
        return (x - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias

    @torch.no_grad()
    def move(self, mean: Tensor, variance: Tensor) -> None:
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var), self.momentum)


class Head(nn.Module):
    """Linear maps from `widths[0]` through the others, with a ReLU before each but the first (`relu_first`: before it
    too). `norm`: batch norm after each, whose offset replaces the bias."""

    def __init__(self, widths: Sequence[int], *, norm: bool, relu_first: bool = False):
        super().__init__()
        self.relu_first = relu_first
        steps = list(pairwise(widths))
        self.maps = nn.ModuleList(glorot(nn.Linear(a, b, bias=not norm)) for a, b in steps)
        self.norms = nn.ModuleList(HeadBatchNorm(b) for _, b in steps) if norm else None

    def forward(self, x: Tensor, valid: Tensor | None = None, statistics: BatchStatistics | None = None) -> Tensor:
        for i, linear in enumerate(self.maps):
            x = linear(x.relu() if i or self.relu_first else x)
            if self.norms is not None:
                x = self.norms[i](x, valid, statistics)
        return x
