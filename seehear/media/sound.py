"""The sound of a window, exact to the sample: the same samples whichever window reads them.

Frames are placed by their timestamps on the sample grid of the file, and resampled from there with one fixed filter
onto the grid k / rate of absolute time. So [2, 4) is a slice of [0, 6), bit for bit up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np

from seehear.errors import DecodeError, require
from seehear.media.container import Media

# Seconds decoded and thrown away before the window, in which a decoder's memory settles.
_PREROLL = 0.5
# 12 hours at 48 kHz, 8 GB: a longer window is damage, or must be cut.
_MOST_SAMPLES = 2**31
# Samples of the lower of two rates on each side that libav's resampler looks at, and a few more.
_HALF_WIDTH = 20


@dataclass(frozen=True, kw_only=True)
class AudioSpec:
    """Sound as a mono waveform: the mean of all channels."""

    rate: int = 16_000
    """Samples a second."""


def read_waveform(media: Media, start: float, end: float, spec: AudioSpec) -> np.ndarray | None:
    """(round((end - start) * rate),) float32 in [-1, 1], silent where the stream has nothing; None if it never has."""
    context = media.audio.codec_context
    frames = media.decode("audio", start - _PREROLL - _HALF_WIDTH / min(context.sample_rate or spec.rate, spec.rate))
    head = next(frames, None)
    if head is None:
        return None
    rate, first, count = head[1].sample_rate, round(start * spec.rate), round((end - start) * spec.rate)
    common = math.gcd(rate, spec.rate)
    up, down = spec.rate // common, rate // common
    margin = 0.0 if up == down else _HALF_WIDTH / min(rate, spec.rate)
    # Both grids meet every 1 / common seconds: begin there, so that the filter has the same phase in every window.
    meeting = math.floor((first / spec.rate - margin) * common)
    below, above = meeting * down, math.ceil(((first + count) / spec.rate + margin) * rate)
    if above - below > _MOST_SAMPLES:
        raise DecodeError(f"{media.path}: {(end - start) / 3600:.0f} hours of sound are too long for one clip")
    waveform = np.zeros(above - below, np.float32)
    low, high = math.inf, -math.inf  # range of the samples that the stream really has
    for run in _runs(chain([head], frames), media, rate, above):
        position = run.position()
        begin, stop = max(position, below), min(position + run.length, above)
        if begin < stop:
            samples = mono(np.concatenate(run.parts, axis=1))
            waveform[begin - below : stop - below] = samples[begin - position : stop - position]
            low, high = min(low, begin), max(high, stop)
    if not low < (start + count / spec.rate) * rate or not high > start * rate:
        return None
    if up != down:
        # libav's polyphase filter; its first output is the first input.
        av = require("av")
        resampler = av.AudioResampler(format="flt", layout="mono", rate=spec.rate)
        frame = av.AudioFrame.from_ndarray(waveform[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        parts = resampler.resample(frame) + resampler.resample(None)
        waveform = np.concatenate([part.to_ndarray()[0] for part in parts])
    return np.clip(waveform[first - meeting * up :][:count], -1.0, 1.0)


def _runs(frames: Iterator[tuple[float, Any]], media: Media, rate: int, above: int) -> Iterator[_Stretch]:
    """Frames that follow each other without a gap, up to sample `above`."""
    run = _Stretch(media, rate)
    for time, frame in frames:
        position = round(time * rate)
        if position >= above:
            break
        if frame.sample_rate != rate:  # a stream whose rate changes: the first one is kept
            media.corrupt += 1
            continue
        part = channels(frame)
        if run.parts and not run.is_next(position, part):
            yield run
            run = _Stretch(media, rate)
        run.add(position, part)
    if run.parts:
        yield run


class _Stretch:
    """Frames without a gap, whose timestamps may each be rounded (Matroska's to 1 ms, which is 44 samples)."""

    def __init__(self, media: Media, rate: int):
        self.parts: list[np.ndarray] = []
        """(C, S) of each frame, numbers as they were decoded."""
        self.length = 0
        self._shifts: list[int] = []
        """Position of the run's first sample by the timestamp of each frame."""
        self._stream_start = round(media.start("audio") * rate)
        self._rounding = max(1, math.ceil(float(media.audio.time_base) * rate))

    def is_next(self, position: int, part_CS: np.ndarray) -> bool:
        before = self.parts[-1]
        alike = (len(before), before.dtype) == (len(part_CS), part_CS.dtype)
        return alike and abs(position - self.length - self._shifts[0]) <= 2 * self._rounding

    def add(self, position: int, part_CS: np.ndarray) -> None:
        self._shifts.append(position - self.length)
        self.parts.append(part_CS)
        self.length += part_CS.shape[1]

    def position(self) -> int:
        """Number of the run's first sample, the same after every seek."""
        # The median: a badly rounded frame does not count.
        position = sorted(self._shifts)[len(self._shifts) // 2]
        inner = {part.shape[1] for part in self.parts[1:-1]}
        if len(inner) != 1:
            return position
        # Moved to where whole frames counted from the start of the stream end, if that is within the rounding.
        size, after_first = inner.pop(), position + self.parts[0].shape[1] - self._stream_start
        off = round(after_first / size) * size - after_first
        return position + off if abs(off) <= self._rounding else position


def mono(samples_CS: np.ndarray) -> np.ndarray:
    """(S,) float32, mean of the channels of decoded samples of any type; [-1, 1] but for damage in floats."""
    kind = samples_CS.dtype
    if kind == np.uint8:
        samples_CS = (samples_CS.astype(np.float32) - 128.0) / 128.0
    elif kind.kind == "i":
        samples_CS = samples_CS.astype(np.float32) / -float(np.iinfo(kind).min)
    averaged = samples_CS.mean(axis=0, dtype=np.float32)
    # Damage can decode to anything: NaN and infinity become silence.
    return np.nan_to_num(averaged, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def channels(frame: Any) -> np.ndarray:
    """(C, S)."""
    samples = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(frame.samples, -1).T
