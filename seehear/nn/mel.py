"""Mel filter banks: triangles that overlap by half, evenly spaced on a scale of pitch."""

from __future__ import annotations

import math
from typing import Literal

import torch

from seehear.types import Float, Tensor

Scale = Literal["htk", "slaney"]
_KNEE, _STEP = 15.0, math.log(6.4) / 27  # Slaney: 1 kHz is 15 mel, one mel is 66.7 Hz below and a factor above


def mel_filters(
    rate: int, points: int, bands: int, *, low: float, high: float, scale: Scale = "htk", straight_in_mel: bool = False
) -> Float[Tensor, "f k"]:
    """float64 filters, from `low` to `high` hertz, of the K = points / 2 + 1 frequencies of a transform. 'htk' is
    2595 log10(1 + f / 700), with triangles of height 1; 'slaney' is linear up to 1 kHz and logarithmic above, with
    triangles of unit area. Flanks are straight in hertz, or in mel as Kaldi and TensorFlow have them."""
    # Numbers, not tensors: a model is also made where tensors have no values, to count its operations.
    edges = torch.linspace(_mel_of(low, scale), _mel_of(high, scale), bands + 2, dtype=torch.float64)
    bins = torch.linspace(0, rate / 2, points // 2 + 1, dtype=torch.float64)
    if straight_in_mel:
        bins = _mel(bins, scale)
    else:
        edges = _hertz(edges, scale)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp(min=0)
    return filters * 2 / (right - left) if scale == "slaney" else filters


def _mel_of(hertz: float, scale: Scale) -> float:
    if scale == "htk":
        return 2595.0 * math.log10(1.0 + hertz / 700.0)
    return hertz * 3 / 200 if hertz < 1000 else _KNEE + math.log(hertz / 1000) / _STEP


def _mel(hertz: Tensor, scale: Scale) -> Tensor:
    if scale == "htk":
        return 2595.0 * torch.log10(1.0 + hertz / 700.0)
    return torch.where(hertz < 1000, hertz * 3 / 200, _KNEE + (hertz / 1000).log() / _STEP)


def _hertz(mel: Tensor, scale: Scale) -> Tensor:
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return torch.where(mel < _KNEE, mel * 200 / 3, 1000 * torch.exp(_STEP * (mel - _KNEE)))
