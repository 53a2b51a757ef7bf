"""Mel spectrograms for encoders that were trained with one: HTK mel scale, power or magnitude, on any device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from seehear.types import Float, Tensor


def _mel(hertz: Tensor) -> Tensor:
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)


def _hertz(mel: Tensor) -> Tensor:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


@lru_cache(maxsize=8)
def mel_filters(rate: int, n_fft: int, bands: int, low: float, high: float) -> Tensor:
    """(F, n_fft // 2 + 1) triangles of height 1, evenly spaced in mel."""
    first, last = _mel(torch.tensor([low, high], dtype=torch.float64))
    edges = _hertz(torch.linspace(first, last, bands + 2, dtype=torch.float64))
    bins = torch.linspace(0.0, rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return torch.minimum(rise, fall).clamp(min=0.0).float()


@dataclass(frozen=True, kw_only=True)
class MelSettings:
    rate: int
    n_fft: int
    hop: int
    bands: int
    low: float = 0.0
    high: float
    power: float = 2.0
    """Exponent of the magnitude that the filters sum."""
    unit_area: bool = False
    """Divide each filter by its sum."""

    def frames(self, samples: int) -> int:
        """The first frame is centred on the first sample, the last at or before the last."""
        return 1 + samples // self.hop

    def __call__(self, waveform_S: Float[Tensor, " s"]) -> Float[Tensor, "t f"]:
        """(S,) -> (T, F), Hann window, zeros beyond both ends."""
        window = torch.hann_window(self.n_fft, device=waveform_S.device)
        padded = F.pad(waveform_S, (self.n_fft // 2, self.n_fft // 2))
        spectrum = torch.stft(padded, self.n_fft, self.hop, window=window, center=False, return_complex=True)
        filters = mel_filters(self.rate, self.n_fft, self.bands, self.low, self.high).to(waveform_S.device)
        if self.unit_area:
            filters = filters / filters.sum(1, keepdim=True)
        return (filters @ spectrum.abs().pow(self.power)).T
