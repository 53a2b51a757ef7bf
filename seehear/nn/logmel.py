"""Log-mel spectrograms of whole batches of waveforms, on their device, as VATT takes them in place of samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import check_range
from seehear.nn.mel import mel_filters
from seehear.types import Float, Tensor


@dataclass(frozen=True, kw_only=True)
class MelConfig:
    window: float = 0.04267
    """Seconds of a frame."""
    hop: float = 0.02134
    """Seconds from one frame to the next."""
    bands: int = 80
    """On the mel scale."""
    low: float = 80.0
    """Where the first band begins, in hertz."""
    high: float = 7600.0
    """Where the last band ends."""

    def __post_init__(self) -> None:
        check_range(self, "(0, inf)", "window", "hop", "bands", "high")
        check_range(self, "[0, inf)", "low")

    def sizes(self, rate: int) -> tuple[int, int]:
        """(samples of a window, samples of a hop)"""
        return int(self.window * rate), int(self.hop * rate)

    def frames(self, samples: int, rate: int) -> int:
        """One begins at every hop inside the clip."""
        return -(-samples // self.sizes(rate)[1])


class LogMel(nn.Module):
    """log(1 + 10^4 mel) of magnitudes, periodic Hann windows, zeros beyond the end; then stretched from 0, the lowest
    of a clip, to 1, its highest (all 0 where the two are one)."""

    window: Tensor
    filters: Tensor

    def __init__(self, config: MelConfig, *, rate: int):
        super().__init__()
        size, self.hop = config.sizes(rate)
        self.points = 1 << (size - 1).bit_length()
        bank_FK = mel_filters(rate, self.points, config.bands, low=config.low, high=config.high, straight_in_mel=True)
        bank_FK[:, 0] = 0  # the constant part of a signal is in no band
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.register_buffer("filters", bank_FK.T.float().contiguous(), persistent=False)

    @torch.no_grad()
    def forward(self, sound_BN: Float[Tensor, "b n"]) -> Float[Tensor, "b s f"]:
        with torch.autocast(sound_BN.device.type, enabled=False):
            frames, size = -(-sound_BN.shape[1] // self.hop), len(self.window)
            whole = (frames - 1) * self.hop + size
            sound_BN = F.pad(sound_BN.to(self.window.dtype), (0, max(0, whole - sound_BN.shape[1])))
            framed_BSN = sound_BN.unfold(1, size, self.hop)[:, :frames] * self.window
            magnitude_BSK = torch.fft.rfft(framed_BSN, self.points).abs()
            level_BSF = (1e4 * (magnitude_BSK @ self.filters)).log1p()
            lowest, highest = level_BSF.amin(dim=(1, 2), keepdim=True), level_BSF.amax(dim=(1, 2), keepdim=True)
            return (level_BSF - lowest) / torch.where(highest > lowest, highest - lowest, 1.0)
