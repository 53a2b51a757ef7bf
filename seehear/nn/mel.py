"""Mel filter banks (triangles that overlap by half, evenly spaced on a scale of pitch), and Kaldi's spectrogram."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.nn.random import Randomness
from seehear.types import Float, Tensor

Scale = Literal["htk", "kaldi", "slaney"]
# Slaney: 1 kHz is 15 mel; below it one mel is 66.7 Hz, above it a factor.
_KNEE, _STEP = 15.0, math.log(6.4) / 27


def mel_filters(
    rate: int, points: int, bands: int, *, low: float, high: float, scale: Scale = "htk"
) -> Float[Tensor, "f k"]:
    """float64 filters, from `low` to `high` hertz, of the K = points / 2 + 1 frequencies of a transform. 'htk' is
    2595 log10(1 + f / 700), with triangles of height 1; 'kaldi' the same with flanks that are straight in mel and not
    in hertz (TensorFlow's too); 'slaney' is linear up to 1 kHz and logarithmic above, with triangles of unit area."""
    # Numbers, not tensors: a model is also made where tensors have no values, to count its operations.
    edges = torch.linspace(_mel_of(low, scale), _mel_of(high, scale), bands + 2, dtype=torch.float64)
    bins = torch.linspace(0, rate / 2, points // 2 + 1, dtype=torch.float64)
    if scale == "kaldi":
        bins = 2595.0 * torch.log10(1.0 + bins / 700.0)
    elif scale == "htk":
        edges = 700.0 * (10.0 ** (edges / 2595.0) - 1.0)
    else:
        edges = torch.where(edges < _KNEE, edges * 200 / 3, 1000 * torch.exp(_STEP * (edges - _KNEE)))
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp(min=0)
    return filters * 2 / (right - left) if scale == "slaney" else filters


def _mel_of(hertz: float, scale: Scale) -> float:
    if scale != "slaney":
        return 2595.0 * math.log10(1.0 + hertz / 700.0)
    return hertz * 3 / 200 if hertz < 1000 else _KNEE + math.log(hertz / 1000) / _STEP


# -- Kaldi's spectrogram, as Audio-MAE and MAViL set it ----------------------------------------------------------------

QUIETEST = torch.finfo(torch.float32).eps
_WINDOW, _HOP, _LOW, EMPHASIS = 0.025, 0.010, 20.0, 0.97


class KaldiMel(nn.Module):
    """Kaldi's log-mel spectrogram of whole batches on their device.

    frames     25 ms every 10 ms, only those that lie wholly inside the sound: 1 + floor((n - 400) / 160)
    a frame    less its mean;  y[n] = x[n] - 0.97 x[n - 1], x[-1] = x[0];  times 0.5 - 0.5 cos(2 pi n / 399)
    power      |rfft|^2 of 512 points
    mel        triangles side by side from 20 Hz to half the rate, straight in mel, of height 1; last point in none
    level      ln(max(energy, 2^-23))
    """

    window: Tensor
    filters: Tensor

    def __init__(self, *, rate: int = 16_000, bands: int = 128):
        super().__init__()
        size, self.hop = int(_WINDOW * rate), int(_HOP * rate)
        # Kaldi rounds its windows up to a power of two.
        self.points = 1 << (size - 1).bit_length()
        bank_FK = mel_filters(rate, self.points, bands, low=_LOW, high=rate / 2, scale="kaldi")
        # 128 bands at 16 kHz leave band 3 between two points of the transform: it is ln 2^-23 in every frame.
        bank_FK[:, -1] = 0
        # Kaldi's window is symmetric; torch's is periodic unless told.
        window = torch.hann_window(size, periodic=False, dtype=torch.float64)
        # Not saved: both follow from the settings.
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("filters", bank_FK.T.float().contiguous(), persistent=False)

    def frames(self, samples: int) -> int:
        return max(0, 1 + (samples - len(self.window)) // self.hop)

    @torch.no_grad()
    def forward(self, sound_BN: Float[Tensor, "b n"]) -> Float[Tensor, "b s f"]:
        if not self.frames(sound_BN.shape[1]):
            raise SeehearError(f"a sound of {sound_BN.shape[1]} samples is shorter than a frame of {len(self.window)}")
        with torch.autocast(sound_BN.device.type, enabled=False):
            # Not `torch.stft`: Kaldi takes off the mean of each frame by itself.
            framed_BSN = sound_BN.to(self.window.dtype).unfold(1, len(self.window), self.hop)
            # It makes the mean of the whole sound, which Audio-MAE takes off before, drop out.
            framed_BSN = framed_BSN - framed_BSN.mean(dim=2, keepdim=True)
            before_BSN = torch.cat([framed_BSN[..., :1], framed_BSN[..., :-1]], dim=2)
            spectrum_BSK = torch.fft.rfft((framed_BSN - EMPHASIS * before_BSN) * self.window, self.points)
            power_BSK = spectrum_BSK.real.square() + spectrum_BSK.imag.square()
            return (power_BSK @ self.filters).clamp(min=QUIETEST).log()


def fitted(mel_BSF: Float[Tensor, "b s f"], frames: int, *, padding: float) -> Float[Tensor, "b t f"]:
    """The first `frames`, `padding` where there are fewer."""
    return F.pad(mel_BSF[:, :frames], (0, 0, 0, max(0, frames - mel_BSF.shape[1])), value=padding)


def rolled(sound_BN: Float[Tensor, "b n"], rng: Randomness, name: str) -> Float[Tensor, "b n"]:
    """Sounds rotated by a random offset and multiplied by 0.5 + Beta(10, 10) (Audio-MAE's "roll + magnitude")."""
    total = sound_BN.shape[1]
    # Audio-MAE's code draws it from the length of a 1 x N array, and so never rolls (its issue 26).
    offset_B1 = (rng.uniform(f"{name}/offset", 1) * total).long().clamp(max=total - 1).to(sound_BN.device)
    place_BN = (torch.arange(total, device=sound_BN.device) - offset_B1) % total
    # The tenth of 19 uniform draws is Beta(10, 10): named draws are uniform or normal only.
    beta_B1 = rng.uniform(f"{name}/gain", 19).median(dim=1, keepdim=True).values
    return sound_BN.gather(1, place_BN) * (0.5 + beta_B1).to(sound_BN)
