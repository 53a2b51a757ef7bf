"""Two encoders that weigh nothing, one for what is seen and one for words. (Sound has `logmel`.)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seehear.encoders.base import Encoder, ReadText, Sample


@dataclass(frozen=True)
class NoOptions:
    """Neither encoder has any."""


class ReadGrey:
    """Brightness in a grid of 4 by 4, at two moments of a window."""

    def __call__(self, sample: Sample) -> np.ndarray:
        from seehear.media.files import VideoSpec, read_window

        spec = VideoSpec(num_frames=2, size=(4, 4), fit="squash")
        frames = read_window(sample.path, sample.start, sample.end, video=spec).frames
        assert frames is not None
        return frames.mean(axis=(0, 3)).ravel()


class Grey(Encoder):
    name, modality, width, fingerprint = "grey", "video", 16, "a" * 16

    def __init__(self, _: NoOptions):
        self.reader = ReadGrey()

    def preparation(self) -> ReadGrey:
        return self.reader

    def prepare(self, sample: Sample) -> np.ndarray:
        return self.reader(sample)

    def encode(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(prepared).astype(np.float32) / 255


class Letters(Encoder):
    """Counts of 16 classes of letters."""

    name, modality, width, fingerprint = "letters", "text", 16, "b" * 16

    def __init__(self, _: NoOptions):
        self.reader = ReadText()

    def preparation(self) -> ReadText:
        return self.reader

    def prepare(self, sample: Sample) -> str:
        return self.reader(sample)

    def encode(self, prepared: Sequence[str]) -> np.ndarray:
        counts = np.zeros((len(prepared), 16), np.float32)
        for row, text in enumerate(prepared):
            for letter in text:
                counts[row, ord(letter) % 16] += 1
        return counts
