"""The log-mel spectrogram of Kaldi, as Audio-MAE and MAViL set it, of whole batches of waveforms on their device.

    frames     25 ms every 10 ms, only those that lie wholly inside the sound: 1 + floor((n - 400) / 160)
    a frame    less its mean;  y[n] = x[n] - 0.97 x[n - 1], x[-1] = x[0];  times 0.5 - 0.5 cos(2 pi n / 399)
    power      |rfft|^2 of 512 points
    mel        triangles side by side from 20 Hz to half the rate, straight in mel, of height 1; last point in none
    level      ln(max(energy, 2^-23))

With 128 bands at 16 kHz band 3 lies between two points of the transform: it is ln 2^-23 in every frame of every sound.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.nn.mel import mel_filters
from seehear.nn.random import Randomness
from seehear.types import Float, Tensor

QUIETEST = torch.finfo(torch.float32).eps
_WINDOW, _HOP, _LOW, EMPHASIS = 0.025, 0.010, 20.0, 0.97


class KaldiMel(nn.Module):
    window: Tensor
    filters: Tensor

    def __init__(self, *, rate: int = 16_000, bands: int = 128):
        super().__init__()
        size, self.hop = int(_WINDOW * rate), int(_HOP * rate)
        self.points = 1 << (size - 1).bit_length()
        bank_FK = mel_filters(rate, self.points, bands, low=_LOW, high=rate / 2, straight_in_mel=True)
        bank_FK[:, -1] = 0
        window = torch.hann_window(size, periodic=False, dtype=torch.float64)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("filters", bank_FK.T.float().contiguous(), persistent=False)

    def frames(self, samples: int) -> int:
        return max(0, 1 + (samples - len(self.window)) // self.hop)

    @torch.no_grad()
    def forward(self, sound_BN: Float[Tensor, "b n"]) -> Float[Tensor, "b s f"]:
        if not self.frames(sound_BN.shape[1]):
            raise SeehearError(f"a sound of {sound_BN.shape[1]} samples is shorter than a frame of {len(self.window)}")
        with torch.autocast(sound_BN.device.type, enabled=False):
            framed_BSN = sound_BN.to(self.window.dtype).unfold(1, len(self.window), self.hop)
            framed_BSN = framed_BSN - framed_BSN.mean(dim=2, keepdim=True)
            before_BSN = torch.cat([framed_BSN[..., :1], framed_BSN[..., :-1]], dim=2)
            spectrum_BSK = torch.fft.rfft((framed_BSN - EMPHASIS * before_BSN) * self.window, self.points)
            power_BSK = spectrum_BSK.real.square() + spectrum_BSK.imag.square()
            return (power_BSK @ self.filters).clamp(min=QUIETEST).log()


def fitted(mel_BSF: Float[Tensor, "b s f"], frames: int, *, padding: float) -> Float[Tensor, "b t f"]:
    """The first `frames`, `padding` where there are fewer."""
    return F.pad(mel_BSF[:, :frames], (0, 0, 0, max(0, frames - mel_BSF.shape[1])), value=padding)


def rolled(sound_BN: Float[Tensor, "b n"], rng: Randomness, name: str) -> Float[Tensor, "b n"]:
    """Each turned round by a random offset and multiplied by 0.5 + Beta(10, 10) (Audio-MAE's "roll + magnitude")."""
    total = sound_BN.shape[1]
    offset_B1 = (rng.uniform(f"{name}/offset", 1) * total).long().clamp(max=total - 1).to(sound_BN.device)
    place_BN = (torch.arange(total, device=sound_BN.device) - offset_B1) % total
    beta_B1 = rng.uniform(f"{name}/gain", 19).median(dim=1, keepdim=True).values  # the tenth of 19: Beta(10, 10)
    return sound_BN.gather(1, place_BN) * (0.5 + beta_B1).to(sound_BN)
