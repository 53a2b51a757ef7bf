"""The spectrogram that DAVEnet was made for, of whole batches of waveforms on their device."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from seehear.nn.mel import mel_filters
from seehear.types import Bool, Float, Int, Tensor


class DaveMel(nn.Module):
    """Waveforms to what DAVEnet sees: 40 mel bands in decibels below the loudest of the clip, down to -80.

    Mean taken off, pre-emphasis 0.97, Hamming windows of 25 ms every 10 ms, power, Slaney's bands from 20 Hz. A frame
    lies wholly inside its clip, so padding changes nothing. (MCN counts its decibels from the loudest of the file.)
    """

    window: Tensor
    filters: Tensor
    rate, size, hop = 16_000, 400, 160

    def __init__(self, bands: int = 40):
        super().__init__()
        bank_FK = mel_filters(self.rate, self.size, bands, low=20.0, high=self.rate / 2, scale="slaney")
        self.register_buffer("window", torch.hamming_window(self.size), persistent=False)
        self.register_buffer("filters", bank_FK.float(), persistent=False)

    def frames(self, samples: Tensor) -> Tensor:
        """Of so many samples; at least one."""
        return ((samples - self.size) // self.hop + 1).clamp(min=1)

    @torch.no_grad()
    def forward(
        self, sound_BN: Float[Tensor, "b n"], samples_B: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b f s"], Int[Tensor, " b"]]:
        """(spectrograms, how many frames of each are its own)"""
        with torch.autocast(sound_BN.device.type, enabled=False):
            sound_BN = sound_BN.to(self.window.dtype)
            sound_BN = F.pad(sound_BN, (0, max(0, self.size - sound_BN.shape[1])))
            own_BN = own(samples_B, sound_BN.shape[1])
            mean_B1 = (sound_BN * own_BN).sum(dim=1, keepdim=True) / samples_B.clamp(min=1)[:, None]
            sound_BN = (sound_BN - mean_B1) * own_BN
            sound_BN = torch.cat([sound_BN[:, :1], sound_BN[:, 1:] - 0.97 * sound_BN[:, :-1]], dim=1) * own_BN
            spectrum = torch.stft(sound_BN, self.size, self.hop, window=self.window, center=False, return_complex=True)
            level_BFS = 10 * (self.filters @ spectrum.abs().square()).clamp(min=1e-10).log10()
            frames_B = self.frames(samples_B)
            level_BFS = level_BFS.where(own(frames_B, level_BFS.shape[2])[:, None], -torch.inf)
            return (level_BFS - level_BFS.amax(dim=(1, 2), keepdim=True)).clamp(min=-80), frames_B


PADDING_DB = -120.0
"""What a spectrogram is padded with where its length is not stored beside it: no real frame goes below -80 dB."""


def valid_frames(mel_BFS: Float[Tensor, "b f s"]) -> Int[Tensor, " b"]:
    """Frames up to the last one that is no padding."""
    real_BS = (mel_BFS > PADDING_DB + 1).any(dim=1)
    return (real_BS * torch.arange(1, real_BS.shape[1] + 1, device=mel_BFS.device)).amax(dim=1)


def own(length_B: Int[Tensor, " b"], total: int) -> Bool[Tensor, "b total"]:
    """1 up to the end of each clip, 0 in the padding behind it."""
    return torch.arange(total, device=length_B.device) < length_B[:, None]
