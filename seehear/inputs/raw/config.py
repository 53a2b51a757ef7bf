"""Settings of raw media, and windows of clips: arithmetic in ticks of 1 / fps, without media.

A clip's `Span` is the stretch of its file that may be read. Windows begin on the grid of ticks from the start of the
span, so that a cache of the whole span gives the same pictures as decoding the window alone. A span shorter than the
window is repeated with one period for pictures and sound, which stay synchronous.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from seehear.errors import SeehearError, unknown
from seehear.types import MODALITIES, Modality

# Tolerance of rounding, as part of a tick or a sample.
EPSILON = 1e-6
# Chooses one of the places from 0 to the given number.
Place = Callable[[int], int]


@dataclass(frozen=True, kw_only=True)
class RawConfig:
    """The input of a model that starts from raw media."""

    modalities: tuple[Modality, ...] = MODALITIES
    """Modalities read; others are neither opened nor part of a batch."""
    frames: int = 32
    """Pictures of a clip."""
    fps: float = 10.0
    """Pictures a second, and the grid on which windows begin, from the start of the clip."""
    size: int = 224
    """Pixels of a side of the square pictures."""
    side: int = 0
    """Pixels of the shorter side at which films are decoded and cached; crops are cut out of that. 0: 8/7 of `size`,
    which is 256 for 224."""
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """(top, left, bottom, right) of the part of every picture that is read, as fractions of its sides; `side` is of
    this part."""
    rate: int = 48_000
    """Samples a second of the waveform."""
    seconds: float = 0.0
    """Length of the sound; 0: that of the pictures. The shorter of two lengths lies within the longer."""
    extend: bool = True
    """Extend a clip shorter than the window by its surroundings in the file; only a file too short is repeated."""
    loop: bool = True
    """Repeat a short file from its start. False: its last picture stays, and silence follows."""
    crop: tuple[float, float] = (0.08, 1.0)
    """Range of the area of a crop as part of the picture, drawn for each clip. (1, 1) with an aspect of (1, 1): the
    centre square."""
    aspect: tuple[float, float] = (0.5, 2.0)
    """Range of width / height of a crop before it is resized to a square, drawn evenly in its logarithm."""
    squash: bool = False
    """Resize the whole picture to a square in evaluation. False: its middle square."""
    flip: float = 0.5
    """Probability of mirroring a clip."""
    jitter: float = 0.8
    """Probability of changing the colours of a clip, by the next four."""
    brightness: float = 32 / 255
    """Largest change of brightness, as part of full white."""
    contrast: float = 0.4
    """Largest relative change of distances from the mean colour."""
    saturation: float = 0.4
    """Largest relative change of distances from grey."""
    hue: float = 0.2
    """Largest turn of the colour circle, in turns."""
    motion: float = 0.0
    """Gain of every pixel's difference from its mean over the clip, shown around middle grey: what does not move
    vanishes. 0: pictures as they are."""
    noise: float = 0.01
    """Gaussian noise of the sound: standard deviation over the loudest sample of the clip."""
    contexts: int = 5
    """Sentences of a clip: its own first, then those nearest in time in the same recording."""
    words: int = 16
    """Words of a sentence; later ones are cut."""

    def __post_init__(self) -> None:
        for m in self.modalities:
            if m not in MODALITIES:
                raise unknown("modality", m, MODALITIES)
        for name in ("frames", "fps", "size", "rate", "contexts", "words"):
            _check(name, getattr(self, name), getattr(self, name) > 0, "more than 0")
        for name in ("side", "seconds", "noise", "motion"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        for name in ("flip", "jitter", "brightness", "contrast", "saturation", "hue"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "from 0 to 1")
        still = self.motion > 0 and self.frames == 1
        _check("motion", self.motion, not still, "0 where a clip is one picture: in that nothing moves")
        low, high = self.crop
        _check("crop", self.crop, 0 < low <= high <= 1, "two rising shares of the area, from above 0 to 1")
        _check("aspect", self.aspect, 0 < self.aspect[0] <= self.aspect[1], "two rising numbers above 0")
        top, left, bottom, right = self.region
        inside = 0 <= top < bottom <= 1 and 0 <= left < right <= 1
        _check("region", self.region, inside, "(top, left, bottom, right) as rising fractions from 0 to 1")
        _check("seconds", self.seconds, "audio" not in self.modalities or self.samples > 0, "a sample at least")

    @property
    def video_seconds(self) -> float:
        return self.frames / self.fps

    @property
    def audio_seconds(self) -> float:
        return self.seconds or self.video_seconds

    @property
    def samples(self) -> int:
        """Samples of a clip's waveform."""
        # Half up: `round` takes halves to the even number.
        return int(self.audio_seconds * self.rate + 0.5 + EPSILON)

    @property
    def lengths(self) -> tuple[float, float]:
        """Seconds of pictures and of sound; one that is not read lasts as long as the other."""
        video, audio = self.video_seconds, self.audio_seconds
        return video if "video" in self.modalities else audio, audio if "audio" in self.modalities else video

    @property
    def window_seconds(self) -> float:
        """Length of the window of a clip."""
        return max(self.lengths)

    @property
    def decoded_side(self) -> int:
        """Pixels of the shorter side of a whole picture as it is decoded."""
        # `side` is of the region: the picture is decoded larger by as much as the region is smaller.
        top, left, bottom, right = self.region
        side = self.side or round(self.size * 8 / 7)
        return max(1, round(side / min(bottom - top, right - left)))


def _check(name: str, given: object, holds: bool, must: str) -> None:
    if not holds:
        raise SeehearError(f"raw media: {name} must be {must}; got {given}")


# -- windows -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """Stretch of a file, in seconds, with a grid of ticks."""

    start: float
    end: float
    fps: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def ticks(self) -> int:
        # Seconds are differences of floats: without a tolerance a whole number of ticks would lose one.
        return max(1, math.floor(self.seconds * self.fps + EPSILON))

    @property
    def period(self) -> float:
        """Seconds after which a short span is repeated."""
        # Whole ticks: pictures and sound must repeat together.
        return min(self.ticks / self.fps, self.seconds) if self.seconds > 0 else 0.0


def reach(start: float, end: float, file_seconds: float, length: float) -> tuple[float, float]:
    """Returns [start, end) extended to `length`, evenly on both sides and within its file; unchanged where it is long
    enough or the length of the file is unknown (0)."""
    if end - start >= length - EPSILON or file_seconds <= 0:
        return start, end
    # A container may state less than the end of a clip.
    file_seconds = max(file_seconds, end)
    # At either end of the file the window is moved, not cut.
    low = max(0.0, min((start + end - length) / 2, file_seconds - length))
    return min(low, start), max(min(low + length, file_seconds), end)


def latest(span: Span, length: float) -> int:
    """Last tick at which a window of so many seconds fits in the span; 0 where the span is too short."""
    return max(0, math.floor((span.seconds - length) * span.fps + EPSILON))


def spaced(number: int, count: int, last: int) -> int:
    """First tick of window `number` of `count`, evenly spaced from 0 to `last`; a single one lies in the middle."""
    return round(last / 2) if count == 1 else round(number * last / (count - 1))


@dataclass(frozen=True)
class Starts:
    """First ticks of the window of a clip, and in it of each modality."""

    window: int
    video: int
    audio: int


def starts(span: Span, video: float, audio: float, *, window: Place, inside: Place) -> Starts:
    """First ticks of a window with so many seconds of pictures and sound; the shorter lies within the longer, and in
    the span where it can. `window` and `inside` choose the places of the two."""
    whole = max(video, audio)
    begin = window(latest(span, whole))
    # In a span that is too short, the inner part must begin where there is something to read.
    room = Span(0.0, min(whole, span.seconds), span.fps)

    def inner(length: float) -> int:
        return begin + (inside(latest(room, length)) if length < whole else 0)

    return Starts(begin, inner(video), inner(audio))


@dataclass(frozen=True)
class Part:
    """Frames or samples to read of a span, and their layout."""

    first: int
    count: int
    pick: np.ndarray | None = None
    """(n,) index into those read for each place, -1: empty; None: as read."""

    def out_of(self, whole: np.ndarray) -> np.ndarray:
        """Copies the part out of the whole span."""
        # A picture is one frame, wherever the window begins.
        first = min(self.first, len(whole) - 1)
        return np.array(whole[first : first + self.count])

    def laid_out(self, x: np.ndarray) -> np.ndarray:
        """Lays out what was read; the last frame or sample stands in for missing ones."""
        if self.pick is None and len(x) == self.count:
            return x
        pick = np.arange(self.count) if self.pick is None else self.pick
        out = x[np.minimum(pick, len(x) - 1)]
        out[pick < 0] = 0
        return out


def frames_part(span: Span, first: int, frames: int, *, loop: bool) -> Part:
    """Part of pictures: a tick is a frame."""
    if first + frames <= span.ticks:
        return Part(first, frames)
    return _repeated(first, frames, span.ticks, loop=loop, hold=True)


def samples_part(span: Span, first: int, samples: int, rate: int, *, loop: bool) -> Part:
    """Part of sound from a tick on."""
    # Rounding may ask for a sample beyond the span: no reason to repeat.
    begin = sample_of(span, first, rate)
    if begin + samples <= round(span.seconds * rate) + 1:
        return Part(begin, samples)
    return _repeated(begin, samples, max(1, round(span.period * rate)), loop=loop, hold=False)


def sample_of(span: Span, tick: int, rate: int) -> int:
    """First sample of a tick in its span, on the sample grid of the file."""
    # A difference of rounded places, not a rounded difference: readers cut the file at rounded places.
    return round((span.start + tick / span.fps) * rate) - round(span.start * rate)


def _repeated(first: int, count: int, period: int, *, loop: bool, hold: bool) -> Part:
    pick = first + np.arange(count)
    if loop:
        pick %= period
    elif hold:
        pick = np.minimum(pick, period - 1)
    else:
        # Silence: -1 is laid out as zeros.
        pick[pick >= period] = -1
    return Part(0, period, pick)
