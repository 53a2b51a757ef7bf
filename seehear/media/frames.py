"""Frames of a window of a film, by their timestamps."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from seehear.errors import DecodeError, require
from seehear.media.container import EPSILON, Media, Skip, frame_rate, lasts

# Codecs whose frames come out the same when unreferenced frames before and between them are not decoded (tested).
_SKIPPABLE = {"h264", "hevc", "mpeg4", "mpeg2video"}
# Seconds by which the times that a file gives its frames may be off.
_ROUNDING = 0.01
# Pixels up to which a frame is enlarged: 4096 x 2048.
_MOST_ENLARGED = 2**23

_LONGEST_SHAPE = 3.0


@dataclass(frozen=True, kw_only=True)
class VideoSpec:
    """Choice of the frames of a window, and their size. With neither `num_frames` nor `fps`: every frame."""

    num_frames: int | None = None
    """Number of frames: those shown in the centre of as many equal parts of the window."""
    fps: float | None = None
    """Frames a second: those shown in the centre of each 1 / fps seconds."""
    most: int | None = None
    """Most frames of a window, with `fps`: of a longer one they are spread wider."""
    size: int | tuple[int, int] | None = None
    """Pixels: one number, or (height, width). None keeps the size of the file."""
    fit: Literal["short", "squash", "crop", "area"] = "short"
    """short: the shorter side becomes `size`; squash: exactly `size`, whatever the shape was; crop: the shorter side
    becomes `size`, then the centre is cut out; area: as many pixels as `size` squared, the shape is kept as far as
    neither side is more than three times the other."""
    crop: tuple[int, int] | None = None
    """(height, width) of the centre that is kept after scaling; with 'crop' it is `size`."""
    interpolation: Literal["bilinear", "bicubic", "lanczos"] = "bilinear"
    enlarge: bool = True
    """False, with 'short': a picture that is smaller stays as it is."""

    def __post_init__(self) -> None:
        if self.num_frames is not None and self.fps is not None:
            raise ValueError("give num_frames or fps, not both")
        if self.fit in ("short", "area") and isinstance(self.size, tuple):
            raise ValueError(f"fit {self.fit!r} takes one number as size; got {self.size}")
        if self.fit != "short" and not self.enlarge:
            raise ValueError(f"pictures that stay small do not go with fit {self.fit!r}")

    def times(self, start: float, end: float) -> np.ndarray | None:
        """(T,) seconds at which frames are taken; None for all frames."""
        if self.num_frames is None and self.fps is None:
            return None
        count = self.num_frames or max(1, round((end - start) * (self.fps or 0.0)))
        count = min(count, self.most or count)
        return start + (np.arange(count) + 0.5) * (end - start) / count

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a picture is scaled to, before 'crop' cuts."""
        if self.size is None:
            return height, width
        tall, wide = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        if self.fit == "squash":
            return tall, wide
        if self.fit == "area":
            shape = min(max(height / width, 1 / _LONGEST_SHAPE), _LONGEST_SHAPE)
            return round(tall * shape**0.5), round(wide / shape**0.5)
        scale = max(tall / height, wide / width)
        if scale > 1 and not self.enlarge:
            return height, width
        return max(tall, int(height * scale + EPSILON)), max(wide, int(width * scale + EPSILON))

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """The centre of a scaled picture, all of it without a crop."""
        size = self.size if self.fit == "crop" else self.crop
        if size is None:
            return picture
        tall, wide = size if isinstance(size, tuple) else (size, size)
        top, left = max(picture.shape[0] - tall, 0) // 2, max(picture.shape[1] - wide, 0) // 2
        return picture[top : top + tall, left : left + wide]


def read_frames(media: Media, start: float, end: float, spec: VideoSpec) -> tuple[np.ndarray, np.ndarray] | None:
    """((T, H, W, 3) uint8, (T,) seconds), or None when the film shows nothing in the window."""
    targets = spec.times(start, end)
    early, wanted = start - max(0.25, 2.0 / frame_rate(media.video)), [] if targets is None else targets.tolist()

    def skip(at: float, seconds: float) -> bool:
        """True for frames that are on show before the window, or between the targets."""
        if at < early or targets is None or seconds <= 0:
            return at < early
        # A frame's length to either side: times may be rounded.
        following = bisect_left(wanted, at - seconds)
        return following == len(wanted) or wanted[following] > at + 2 * seconds

    lost = media.corrupt
    try:
        is_skippable = media.video.codec_context.name in _SKIPPABLE
        shown = list(stream_pictures(media, start, end, spec, skip=skip if is_skippable else None))
    except _PictureSkipped:
        # All frames are decoded, and lost packets are counted once.
        media.corrupt = lost
        shown = list(stream_pictures(media, start, end, spec))
    if not shown:
        return None
    times, pictures = zip(*shown, strict=True)
    return np.stack(pictures), np.array(times)


class _PictureSkipped(Exception):
    """A picture was not decoded that should be on show."""


def stream_pictures(
    media: Media, start: float, end: float, spec: VideoSpec, *, skip: Skip | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds, (H, W, 3) uint8) of a window, one after the other: a film of any length takes the memory of a frame."""
    targets, shaper, last, picture = spec.times(start, end), _Shaper(spec, media), None, None
    frames = _forward(media.decode("video", start, skip=skip))
    picked = _all(frames, media, start, end) if targets is None else _nearest(frames, media, start, end, targets)
    for number, (time, frame) in enumerate(picked):
        asked = start if targets is None else targets[number]
        # A picture older than it lasts: a newer one was skipped.
        if skip is not None and asked - time > lasts(frame, media.video) + _ROUNDING:
            raise _PictureSkipped
        if picture is None or frame is not last:
            picture = shaper(frame)
        yield time, picture
        last = frame


def _forward(frames: Iterator[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
    """Frames without those whose time goes back."""
    latest = -math.inf
    for time, frame in frames:
        if time > latest:
            latest = time
            yield time, frame


def _all(frames: Iterator[tuple[float, Any]], media: Media, start: float, end: float) -> Iterator[tuple[float, Any]]:
    """Frames that begin in the window; if none does, the one on show."""
    shown = None
    for time, frame in frames:
        if time >= end - EPSILON:
            break
        if time >= start - EPSILON:
            shown = None
            yield time, frame
            start = -math.inf
        else:
            shown = time, frame
    else:
        shown = _still_shown(shown, media, start)
    if shown is not None:
        yield shown


def _nearest(
    frames: Iterator[tuple[float, Any]], media: Media, start: float, end: float, targets: np.ndarray
) -> Iterator[tuple[float, Any]]:
    """Frame on show at each target; the first frame for targets before it, the last for targets after it."""
    wanted, shown = list(targets), None
    for time, frame in frames:
        if shown is None and time >= end - EPSILON:
            return
        while wanted and wanted[0] < time - EPSILON:
            wanted.pop(0)
            yield shown or (time, frame)
        shown = time, frame
        if not wanted:
            return
    if _still_shown(shown, media, start) is not None:
        for _ in wanted:
            yield shown  # type: ignore[misc]


def _still_shown(last: tuple[float, Any] | None, media: Media, start: float) -> tuple[float, Any] | None:
    """The last frame of the film, if it is on show at `start`."""
    if last is None or last[0] + lasts(last[1], media.video) <= start:
        return None
    return last


class _Shaper:
    """Scales, turns and cuts every frame of a window with one scaler; all come out in the size of the first."""

    def __init__(self, spec: VideoSpec, media: Media):
        av = require("av")
        self.spec, self._path = spec, media.path
        # One scaler for a window: a new one a frame, as `frame.to_ndarray` makes, takes up to 1.7 times as long.
        self._scaler, self._packer = (av.video.reformatter.VideoReformatter() for _ in range(2))
        self._method = av.video.reformatter.Interpolation[spec.interpolation.upper()]
        self._shape: tuple[int, int] | None = None

    def __call__(self, frame: Any) -> np.ndarray:
        # PyAV says how a picture is turned and does not turn it.
        turns = round(frame.rotation / 90) % 4
        if self._shape is None:
            upright = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
            self._shape = self.spec.shape(*upright)
            # By its shorter side, a frame of 16384 x 2 becomes one of 1835008 x 224.
            if math.prod(self._shape) > max(math.prod(upright), _MOST_ENLARGED):
                tall, wide = self._shape
                raise DecodeError(
                    f"{self._path}: its frames of {frame.width} x {frame.height} pixels would be enlarged to"
                    f" {wide} x {tall}: crop them"
                )
        tall, wide = reversed(self._shape) if turns % 2 else self._shape
        if (wide, tall) != (frame.width, frame.height):
            # By way of planar RGB: swscale then takes every pixel's colour into account, and is 3 times as fast.
            frame = self._scaler.reformat(
                frame, width=wide, height=tall, format="gbrp", interpolation=self._method, threads=1
            )
        picture = self._packer.reformat(frame, format="rgb24", threads=1).to_ndarray()
        # A copy: a view would keep all of the picture in memory, for every frame of the window.
        return np.ascontiguousarray(self.spec.cut(np.rot90(picture, turns) if turns else picture))
