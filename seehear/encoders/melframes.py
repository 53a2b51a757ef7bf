"""The spectrogram itself as a latent, for networks that learn to read it (MCN's DAVEnet): 40 mel bands every 10 ms.

In decibels below the loudest of the kept part, down to -80. A shorter sound is padded with -120, which no frame of a
sound has, so that its length can be read off (`seehear.nn.davenet.valid_frames`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from seehear.encoders.frozen import FrozenEncoder, stacked
from seehear.encoders.options import full_name
from seehear.encoders.prepare import ReadWaveform
from seehear.encoders.weights import fingerprint
from seehear.errors import SeehearError
from seehear.nn.davenet import PADDING_DB, DaveMel
from seehear.types import Float, Tensor

BANDS = 40
FRAMES_A_SECOND = DaveMel.rate // DaveMel.hop


@dataclass(frozen=True, kw_only=True)
class MelFramesOptions:
    seconds: float = 10.0
    """Room for so many, 100 frames each; what is longer is cut."""

    def __post_init__(self) -> None:
        if not 0.01 <= self.seconds <= 600:
            raise SeehearError(f"encoder 'melframes': seconds must be from 0.01 to 600; got {self.seconds:g}")

    @property
    def frames(self) -> int:
        return round(self.seconds * FRAMES_A_SECOND)


class MelFrames(FrozenEncoder):
    """(F, S), flat. A whole 10 s give 998 of the 1000 frames: each lies wholly inside its sound."""

    modality = "audio"

    def __init__(self, options: MelFramesOptions):
        self.options = options
        self.name = full_name("melframes", options)
        self.shape = (BANDS, options.frames)
        self.width = BANDS * options.frames
        self.fingerprint = fingerprint(mel="davemel", bands=BANDS, padding=PADDING_DB, **asdict(options))

    def preparation(self) -> ReadWaveform:
        samples = (self.options.frames - 1) * DaveMel.hop + DaveMel.size
        return ReadWaveform(rate=DaveMel.rate, at_most=samples / DaveMel.rate)

    def load(self) -> nn.Module:
        return DaveMel(BANDS)

    def embed(self, network: nn.Module, prepared: Sequence[np.ndarray]) -> Tensor:
        return stacked(self._padded(network, torch.from_numpy(sound_N).to(self.device)) for sound_N in prepared)

    def _padded(self, network: nn.Module, sound_N: Float[Tensor, " n"]) -> Float[Tensor, " fs"]:
        level_1FS, _ = network(sound_N[None], torch.tensor([len(sound_N)], device=sound_N.device))
        level_FS = level_1FS[0, :, : self.options.frames]
        return F.pad(level_FS, (0, self.options.frames - level_FS.shape[1]), value=PADDING_DB).flatten()
