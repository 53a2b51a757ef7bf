"""Mel spectrograms for encoders that were trained with one: HTK mel scale, power or magnitude, on any device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from seehear.nn.mel import mel_filters
from seehear.types import Float, Tensor


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

    def __call__(self, waveform_S: Float[Tensor, "*b s"]) -> Float[Tensor, "*b t f"]:
        """(..., S) -> (..., T, F), Hann window, zeros beyond both ends."""
        window = torch.hann_window(self.n_fft, device=waveform_S.device)
        padded = F.pad(waveform_S, (self.n_fft // 2, self.n_fft // 2))
        spectrum = torch.stft(padded, self.n_fft, self.hop, window=window, center=False, return_complex=True)
        return (_filters(self).to(waveform_S.device) @ spectrum.abs().pow(self.power)).mT


@lru_cache(maxsize=8)
def _filters(mel: MelSettings) -> Float[Tensor, "f k"]:
    bank_FK = mel_filters(mel.rate, mel.n_fft, mel.bands, low=mel.low, high=mel.high).float()
    return bank_FK / bank_FK.sum(1, keepdim=True) if mel.unit_area else bank_FK
