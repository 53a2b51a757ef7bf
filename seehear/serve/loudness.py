"""Loudness of a file from its start to its end: a job of the decoding processes (`jobs.py`)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seehear.errors import DecodeError
from seehear.media.container import Media, opened
from seehear.media.sound import channels, mono

PARTS = 1000
"""Most parts that a file is measured in."""
_SHORTEST = 0.01
"""Least seconds of a part."""
_DECODED = 600.0
"""Most seconds of sound to decode: of a longer file only the beginning of each part is measured, so that a film of two
hours takes seconds."""
_PREROLL = 0.1
"""Seconds before each beginning that are decoded and left out: after a seek a decoder is too quiet at first."""
_FLOOR = -60.0  # dB


def loudness(path: str, seconds: float) -> list[float]:
    """The loudness of equal parts of [0, seconds), in [0, 1]: 0 at -60 dB or less, 1 at full scale."""
    count = max(1, min(PARTS, int(seconds / _SHORTEST)))
    power_P, samples_P = np.zeros(count), np.zeros(count)
    with opened(path) as media:
        if media.audio is None:
            raise DecodeError(f"{path}: no sound there")
        for start, wave in _heard(media, seconds, count):
            times = start + np.arange(len(wave)) / media.audio.codec_context.sample_rate
            parts = np.clip((times * count / seconds).astype(int), 0, count - 1)
            power_P += np.bincount(parts, wave.astype(np.float64) ** 2, count)
            samples_P += np.bincount(parts, minlength=count)
    level_P = 10 * np.log10(np.maximum(power_P / np.maximum(samples_P, 1), 1e-12))
    return [round(float(x), 3) for x in np.clip(1 - level_P / _FLOOR, 0.0, 1.0)]


def _heard(media: Media, seconds: float, count: int) -> Iterator[tuple[float, np.ndarray]]:
    """(start, (S,) samples) of the frames of the whole file, or of the beginning of each part."""
    whole = seconds <= _DECODED
    for n in range(1 if whole else count):
        first = n * seconds / count
        last = seconds if whole else first + _DECODED / count
        for start, frame in media.decode("audio", first - _PREROLL):
            if start >= last:
                break
            if start >= first or not n:
                yield start, mono(channels(frame))
