"""Preparation of samples in worker processes: media in, small arrays out. Imports no torch, so that a worker starts at
once and stays small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seehear.encoders.base import Sample
from seehear.errors import DecodeError
from seehear.media.files import AudioSpec, VideoSpec, read_window


@dataclass(frozen=True, kw_only=True)
class ReadFrames:
    """Frames of the window, (T, H, W, 3) uint8; one of a picture. `of`, here and below: the same for decoded media."""

    spec: VideoSpec
    crop: tuple[int, int] | None = None
    """(height, width) of the centre that is kept after scaling."""

    def __call__(self, sample: Sample) -> np.ndarray:
        frames_THWC = read_window(sample.path, sample.start, sample.end, video=self.spec).frames
        assert frames_THWC is not None
        if self.crop is None:
            # torch warns of arrays that it may not write to.
            return frames_THWC if frames_THWC.flags.writeable else frames_THWC.copy()
        (tall, wide), (height, width) = frames_THWC.shape[1:3], self.crop
        top, left = max(tall - height, 0) // 2, max(wide - width, 0) // 2
        return frames_THWC[:, top : top + height, left : left + width].copy()

    @property
    def side(self) -> int:
        """Pixels of a side of square pictures."""
        size = self.crop or self.spec.size
        assert size is not None, "an encoder's pictures have a size"
        return size if isinstance(size, int) else max(size)

    def of(self, frames_THWC: np.ndarray) -> np.ndarray:
        return frames_THWC


@dataclass(frozen=True, kw_only=True)
class ReadWaveform:
    """The window's sound, mono, (S,) float32 in [-1, 1]."""

    rate: int
    at_most: float | None = None
    """Seconds; what comes later is not decoded."""

    def __call__(self, sample: Sample) -> np.ndarray:
        end = sample.end if self.at_most is None else min(sample.end, sample.start + self.at_most)
        waveform_S = read_window(sample.path, sample.start, end, audio=AudioSpec(rate=self.rate)).waveform
        assert waveform_S is not None
        return waveform_S

    def of(self, waveform_S: np.ndarray) -> np.ndarray:
        return waveform_S


_MARKS = str.maketrans(dict.fromkeys('.!"()*#:;~', " "))
_CAPTION = 50  # words


@dataclass(frozen=True)
class ReadText:
    before: str = ""
    """Prefix of every text."""
    after: str = ""
    """Suffix of every text."""
    clean: str = ""
    """captions: lower case, without `. ! " ( ) * # : ; ~`, at most 50 words, as FuseMix's authors encode captions."""

    def __call__(self, sample: Sample) -> str:
        words = (sample.text.lower().translate(_MARKS) if self.clean else sample.text).split()
        text = " ".join(words[:_CAPTION] if self.clean else words)
        if not text:
            raise DecodeError("the text is blank")
        return self.of(text)

    def of(self, text: str) -> str:
        return f"{self.before}{text}{self.after}"
