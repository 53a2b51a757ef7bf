"""Where in a clip the model looks: arithmetic in ticks of 1 / fps, without media.

A clip's `Span` is the stretch of its file that may be shown. Windows begin on the grid of ticks from the start of the
span, so a cache that holds the whole span gives the same pictures as decoding the window alone. What is shorter than a
window is repeated with one period for pictures and sound, which stay side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

EPSILON = 1e-6
"""Of a tick or a sample: rounding is not allowed to lose one."""
Place = Callable[[int], int]
"""Chooses one of the places 0 to the number it is given."""


@dataclass(frozen=True)
class Span:
    """A stretch of a file, and how many whole ticks it has: one at least."""

    start: float
    end: float
    fps: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def ticks(self) -> int:
        return max(1, math.floor(self.seconds * self.fps + EPSILON))

    @property
    def period(self) -> float:
        """Seconds after which it is repeated."""
        return min(self.ticks / self.fps, self.seconds) if self.seconds > 0 else 0.0


def reach(start: float, end: float, file_seconds: float, length: float) -> tuple[float, float]:
    """[start, end) made at least `length` long by what stands around it, evenly on both sides, within its file; as it
    is where it is long enough or no one knows how long the file is (0)."""
    if end - start >= length - EPSILON or file_seconds <= 0:
        return start, end
    file_seconds = max(file_seconds, end)
    low = max(0.0, min((start + end - length) / 2, file_seconds - length))
    return min(low, start), max(min(low + length, file_seconds), end)


def latest(span: Span, length: float) -> int:
    """The last tick at which a window of so many seconds can begin and end in the span; 0 where it is too short."""
    return max(0, math.floor((span.seconds - length) * span.fps + EPSILON))


def spaced(number: int, count: int, last: int) -> int:
    """Window `number` of `count` that begin evenly spaced from 0 to `last`; one alone lies in the middle."""
    return round(last / 2) if count == 1 else round(number * last / (count - 1))


@dataclass(frozen=True)
class Starts:
    """The ticks at which the window of a clip, and in it that of each modality, begins."""

    window: int
    video: int
    audio: int


def starts(span: Span, video: float, audio: float, *, window: Place, inside: Place) -> Starts:
    """Of a window in which pictures and sound take so many seconds; the shorter lies within the longer, and as far as
    it can within the span. `window` and `inside` choose the places of the two."""
    whole = max(video, audio)
    begin = window(latest(span, whole))
    room = Span(0.0, min(whole, span.seconds), span.fps)

    def inner(length: float) -> int:
        return begin + (inside(latest(room, length)) if length < whole else 0)

    return Starts(begin, inner(video), inner(audio))


@dataclass(frozen=True)
class Part:
    """What is to be read of a span for one modality, counted in frames or samples, and how it is laid out."""

    first: int
    count: int
    pick: np.ndarray | None = None
    """(n,) which of those read stands at each place, -1 for nothing; None: as they are read."""

    def out_of(self, whole: np.ndarray) -> np.ndarray:
        """What is to be read, copied from all of the span. A picture is one frame, wherever the window begins."""
        first = min(self.first, len(whole) - 1)
        return np.array(whole[first : first + self.count])

    def laid_out(self, x: np.ndarray) -> np.ndarray:
        """Of what was read: a frame or sample too few is made up by the last one."""
        if self.pick is None and len(x) == self.count:
            return x
        pick = np.arange(self.count) if self.pick is None else self.pick
        out = x[np.minimum(pick, len(x) - 1)]
        out[pick < 0] = 0
        return out


def frames_part(span: Span, first: int, frames: int, *, loop: bool) -> Part:
    """Ticks are frames."""
    if first + frames <= span.ticks:
        return Part(first, frames)
    return _repeated(first, frames, span.ticks, loop=loop, hold=True)


def samples_part(span: Span, first: int, samples: int, rate: int, *, loop: bool) -> Part:
    """`first` is a tick. A sample too many at the end of the span is no reason to repeat."""
    begin = sample_of(span, first, rate)
    if begin + samples <= round(span.seconds * rate) + 1:
        return Part(begin, samples)
    return _repeated(begin, samples, max(1, round(span.period * rate)), loop=loop, hold=False)


def sample_of(span: Span, tick: int, rate: int) -> int:
    """The sample of the span at which a tick begins, counted on the grid of the file: on that it is read."""
    return round((span.start + tick / span.fps) * rate) - round(span.start * rate)


def _repeated(first: int, count: int, period: int, *, loop: bool, hold: bool) -> Part:
    pick = first + np.arange(count)
    if loop:
        pick %= period
    elif hold:
        pick = np.minimum(pick, period - 1)
    else:
        pick[pick >= period] = -1
    return Part(0, period, pick)
