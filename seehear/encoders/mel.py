"""Mel spectrograms for encoders that were trained with one: HTK mel scale, power or magnitude, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from seehear.encoders.base import ReadWaveform, full_name
from seehear.encoders.frozen import FrozenEncoder, SpreadOptions, SteppedEncoder, pooled_width
from seehear.encoders.weights import fingerprint
from seehear.errors import SeehearError
from seehear.nn.davenet import PADDING_DB, DaveMel
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

    def __call__(self, waveform_S: Float[Tensor, "*b s"]) -> Float[Tensor, "*b t f"]:
        """(..., S) -> (..., 1 + S // hop, F); Hann windows centred on samples 0, hop, ..., zeros beyond both ends."""
        window = torch.hann_window(self.n_fft, device=waveform_S.device)
        # Padded here: `torch.stft` would mirror the sound at its ends.
        padded = F.pad(waveform_S, (self.n_fft // 2, self.n_fft // 2))
        spectrum = torch.stft(padded, self.n_fft, self.hop, window=window, center=False, return_complex=True)
        return (self._filters().to(waveform_S.device) @ spectrum.abs().pow(self.power)).mT

    @lru_cache(maxsize=8)  # noqa: B019 (settings are module constants)
    def _filters(self) -> Float[Tensor, "f k"]:
        bank_FK = mel_filters(self.rate, self.n_fft, self.bands, low=self.low, high=self.high).float()
        return bank_FK / bank_FK.sum(1, keepdim=True) if self.unit_area else bank_FK


MEL = MelSettings(rate=16_000, n_fft=512, hop=160, bands=64, high=8_000.0)
# Added before the logarithm: digital silence would be minus infinity.
QUIETEST = 1e-6


class LogMelEncoder(SteppedEncoder):
    """Pooled log-mel bands, the floor for sound: it has no weights, and every encoder must beat it."""

    modality = "audio"

    def __init__(self, options: SpreadOptions):
        self.pooling = options.pool
        self.name = full_name("logmel", options)
        self.width = pooled_width(options.pool, MEL.bands)
        # There are no weights: settings are all that makes the vectors.
        self.fingerprint = fingerprint(mel=asdict(MEL), quietest=QUIETEST, **asdict(options))

    def preparation(self) -> ReadWaveform:
        return ReadWaveform(rate=MEL.rate)

    def load(self) -> nn.Module:
        return nn.Identity()

    def steps(self, network: nn.Module, prepared: Sequence[np.ndarray]) -> list[Tensor]:
        return [(MEL(torch.from_numpy(waveform).to(self.device)) + QUIETEST).log() for waveform in prepared]


BANDS = 40
FRAMES_A_SECOND = DaveMel.rate // DaveMel.hop


@dataclass(frozen=True, kw_only=True)
class MelFramesOptions:
    seconds: float = 10.0
    """Longest sound; 100 frames a second. The rest is cut."""

    def __post_init__(self) -> None:
        if not 0.01 <= self.seconds <= 600:
            raise SeehearError(f"encoder 'melframes': seconds must be from 0.01 to 600; got {self.seconds:g}")

    @property
    def frames(self) -> int:
        return round(self.seconds * FRAMES_A_SECOND)


class MelFrames(FrozenEncoder):
    """The spectrogram itself as a latent, (F, S) stored flat, for networks that learn to read it (MCN's DAVEnet).

    40 mel bands every 10 ms, in decibels below the loudest of the sound, down to -80; 10 s fill 998 of 1000 frames."""

    modality = "audio"

    def __init__(self, options: MelFramesOptions):
        self.options = options
        self.name = full_name("melframes", options)
        self.shape = (BANDS, options.frames)
        self.width = BANDS * options.frames
        # There are no weights: settings are all that makes the vectors.
        self.fingerprint = fingerprint(mel="davemel", bands=BANDS, padding=PADDING_DB, **asdict(options))

    def preparation(self) -> ReadWaveform:
        # What the window of the last frame reaches: later sound would be cut anyway.
        samples = (self.options.frames - 1) * DaveMel.hop + DaveMel.size
        return ReadWaveform(rate=DaveMel.rate, at_most=samples / DaveMel.rate)

    def load(self) -> nn.Module:
        return DaveMel(BANDS)

    def embed(self, network: nn.Module, prepared: Sequence[np.ndarray]) -> Tensor:
        rows = []
        for sound_N in prepared:
            samples_1 = torch.tensor([len(sound_N)], device=self.device)
            level_1FS, _ = network(torch.from_numpy(sound_N)[None].to(self.device), samples_1)
            level_FS = level_1FS[0, :, : self.options.frames]
            # No frame of a sound is as low as the padding, so its length can be read off (`davenet.valid_frames`).
            rows.append(F.pad(level_FS, (0, self.options.frames - level_FS.shape[1]), value=PADDING_DB).flatten())
        return torch.stack(rows)
