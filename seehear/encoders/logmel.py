"""The floor for sound: mean and deviation over time of 64 log-mel bands. No weights; every encoder must beat it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn

from seehear.encoders.frozen import FrozenEncoder, stacked
from seehear.encoders.mel import MelSettings
from seehear.encoders.options import full_name
from seehear.encoders.pooling import pool_time, pooled_width
from seehear.encoders.prepare import ReadWaveform
from seehear.encoders.weights import fingerprint
from seehear.types import Tensor

MEL = MelSettings(rate=16_000, n_fft=512, hop=160, bands=64, high=8_000.0)
QUIETEST = 1e-6


@dataclass(frozen=True, kw_only=True)
class LogMelOptions:
    pool: str = "mean+std"
    """Over time: mean, mean+std or segments:K."""


class LogMelEncoder(FrozenEncoder):
    modality = "audio"

    def __init__(self, options: LogMelOptions):
        self.options = options
        self.name = full_name("logmel", options)
        self.width = pooled_width(options.pool, MEL.bands)
        self.fingerprint = fingerprint(mel=asdict(MEL), quietest=QUIETEST, **asdict(options))

    def preparation(self) -> ReadWaveform:
        return ReadWaveform(rate=MEL.rate)

    def load(self) -> nn.Module:
        return nn.Identity()

    def embed(self, network: nn.Module, prepared: Sequence[np.ndarray]) -> Tensor:
        sounds = (MEL(torch.from_numpy(waveform).to(self.device)) for waveform in prepared)
        return stacked(pool_time((mel_TF + QUIETEST).log(), self.options.pool) for mel_TF in sounds)
