"""Read any window of any media file: frames and waveform of [start, end) seconds, the same every time.

`read_window` is the one function that turns a file into pixels and samples; `probe` gives a file's properties. Both
tolerate damage: lost packets are counted, and a file of which nothing can be read raises `DecodeError`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import DecodeError, require
from seehear.media.container import TOO_LARGE, Media, frame_rate, lasts, opened
from seehear.media.frames import VideoSpec, read_frames
from seehear.media.stills import is_picture, picture_size, read_picture

__all__ = ["MediaInfo", "SubtitleStream", "VideoSpec", "Window", "probe", "read_window"]

# Seconds: no file lasts longer, or longer than it has bytes; time stamps that say so are damaged.
_LONGEST = 1e6
# Seconds between two packets of a stream that are always believed, and the longest that one packet may last: a picture
# may stand still, and packets of film are not in the order of their times.
_PAUSE = {"video": 1800.0, "audio": 60.0}
TEXT_CODECS = {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"}


@dataclass(frozen=True, kw_only=True)
class Window:
    """Frames and sound of [start, end) seconds of a file."""

    frames: np.ndarray | None = None
    """(T, H, W, 3) uint8, RGB, upright; None when there is no picture or none was asked for."""
    times: np.ndarray | None = None
    """(T,) float64: seconds at which each frame came on show."""
    waveform: np.ndarray | None = None
    """(round((end - start) * rate),) float32 in [-1, 1]; None when there is no sound or none was asked for."""
    corrupt: int = 0
    """Packets that could not be decoded."""


@dataclass(frozen=True, kw_only=True)
class SubtitleStream:
    """A stream of text inside a media file."""

    index: int
    """Number among all streams of the file."""
    codec: str
    language: str = ""


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """Properties of a media file, found by decoding its first frames."""

    duration: float = 0.0
    """Seconds that can be read; 0 for a picture."""
    has_video: bool = False
    """A film or a picture. The cover of a song is neither."""
    has_audio: bool = False
    is_picture: bool = False
    width: int = 0
    """Pixels, upright."""
    height: int = 0
    fps: float = 0.0
    rotation: int = 0
    """Degrees, a multiple of 90: how far the stored frames are turned to stand upright."""
    rate: int = 0
    """Samples a second as stored."""
    subtitles: tuple[SubtitleStream, ...] = ()
    """Streams of text; subtitles that are pictures are not listed."""
    errors: tuple[str, ...] = ()
    """Damage of a file that can still be used in part."""


def read_window(path: str | Path, start: float, end: float, *, video: VideoSpec | None = None, rate: int = 0) -> Window:
    """Frames of [start, end) seconds, as a player counts them, and the sound as a mono waveform, the mean of all
    channels, of `rate` samples a second. Neither is read without `video` or `rate`. A picture (start = end = 0) is one
    frame without sound. Raises `DecodeError` when the window has neither of the streams asked for."""
    where = f"{path} [{start:g}, {end:g}) s"
    if is_picture(path):
        window = Window() if video is None else Window(frames=read_picture(path, video), times=np.zeros(1))
    elif end <= start:
        raise DecodeError(f"{where}: the window is empty")
    else:
        frames = times = waveform = None
        with opened(path) as media:
            if video is not None and media.video is not None:
                frames, times = read_frames(media, start, end, video) or (None, None)
            if rate and media.audio is not None:
                waveform = _read_waveform(media, start, end, rate)
            if video is not None and media.too_large and frames is None and waveform is None:
                raise DecodeError(f"{path}: {TOO_LARGE}")
        window = Window(frames=frames, times=times, waveform=waveform, corrupt=media.corrupt)
    if window.frames is None and window.waveform is None:
        asked = " or ".join(["picture"] * (video is not None) + ["sound"] * (rate > 0))
        lost = f"; {window.corrupt} packets could not be decoded" if window.corrupt else ""
        raise DecodeError(f"{where}: no {asked} there{lost}")
    return window


def probe(path: str | Path) -> MediaInfo:
    """Properties of a file, found by decoding a first frame of each stream. Raises `DecodeError` if none decodes."""
    if is_picture(path):
        height, width = picture_size(path)
        return MediaInfo(has_video=True, is_picture=True, height=height, width=width)
    # libav calls it invalid data, or an invalid argument.
    if Path(path).is_file() and Path(path).stat().st_size == 0:
        raise DecodeError(f"{path}: the file is empty")
    with opened(path) as media:
        facts: dict[str, Any] = {}
        errors, kinds, first = [], [], 0.0
        for kind in ("video", "audio"):
            if media.stream(kind) is None:
                continue
            head = next(media.decode(kind, 0.0), None)
            if head is None:
                errors.append(f"nothing of the {kind} stream can be decoded")
                continue
            time, frame = head
            kinds.append(kind)
            # A packet may have no duration; its frame has one by the frame rate.
            first = max(first, time + lasts(frame, media.stream(kind)))
            if kind == "audio":
                facts |= {"has_audio": True, "rate": frame.sample_rate}
            else:
                rotation = round(frame.rotation / 90) * 90 % 360
                width, height = (frame.height, frame.width) if rotation % 180 else (frame.width, frame.height)
                facts |= {"has_video": True, "width": width, "height": height, "rotation": rotation}
                facts |= {"fps": frame_rate(media.video)}
        if media.too_large and "video" not in kinds:
            errors.insert(0, TOO_LARGE)
        if not facts:
            raise DecodeError(f"{path}: {errors[0] if errors else 'there is no video and no audio in it'}")
        claimed, duration = (media.container.duration or 0) / 1e6, max(first, _duration(media, kinds))
        if claimed - duration > 1.0:
            errors.append(f"the file claims {claimed:.1f} s but ends after {duration:.1f} s")
        subtitles = tuple(
            SubtitleStream(index=s.index, codec=s.codec_context.name, language=s.language or "")
            for s in media.container.streams.subtitles
            if s.codec_context is not None and s.codec_context.name in TEXT_CODECS
        )
        return MediaInfo(duration=duration, subtitles=subtitles, errors=tuple(errors), **facts)


def _duration(media: Media, kinds: list[str]) -> float:
    """Seconds to the end of the last packet in the file, whatever the container claims."""
    claimed = (media.container.duration or 0) / 1e6
    believable = min(_LONGEST, media.container.size)
    tail = max(_last_packet(media, kind, from_=claimed - 1.0, known=claimed) for kind in kinds)
    # A file cut short still claims its old length, and one damaged time stamp may claim an hour: the claim is believed
    # only if there are packets in the middle of that time, too, and not at its two ends alone.
    whole = claimed <= min(_PAUSE.values()) or any(
        _has_packet(media, kind, claimed * share) for share in (0.5, 0.75) for kind in kinds
    )
    if claimed and claimed - 1.0 <= tail <= believable and whole:
        return max(tail, claimed)
    end = 0.0
    for kind in kinds:
        end = max(end, _last_packet(media, kind, from_=0.0, known=end))
    return min(end, believable)


def _has_packet(media: Media, kind: str, at: float) -> bool:
    """Whether a packet begins at a time, or a pause before it at most. Stops at the first packet that decides."""
    for start, _ in _packet_times(media, kind, at):
        if start > at:
            return False
        if start >= at - _PAUSE[kind]:
            return True
    return False


def _last_packet(media: Media, kind: str, *, from_: float, known: float) -> float:
    """Seconds to the end of the last packet at or after `from_`. A gap before a packet is believed when it is a pause,
    or no longer than everything before it: `known` seconds, and the packets read."""
    end = 0.0
    for start, stop in _packet_times(media, kind, from_):
        reach = max(known, end)
        if start <= reach + max(_PAUSE[kind], reach):
            end = max(end, stop if stop - start <= _PAUSE[kind] else start)
    return end


def _packet_times(media: Media, kind: str, from_: float) -> Iterator[tuple[float, float]]:
    """Begin and end, in seconds, of the packets from a place at or before `from_`, without decoding."""
    stream = media.stream(kind)
    try:
        media.container.seek(int((max(from_, 0.0) + media.origin) / float(stream.time_base)), stream=stream)
    except require("av").FFmpegError:
        return
    for packet in media.packets(stream):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None:
            yield media.seconds(stamp, stream), media.seconds(stamp + (packet.duration or 0), stream)


# -- the sound of a window, the same samples whichever window reads them -----------------------------------------------

# Frames are placed by their timestamps on the sample grid of the file, and resampled from there with one fixed filter
# onto the grid k / rate of absolute time. So [2, 4) is a slice of [0, 6), bit for bit up to rounding.

# Seconds decoded and thrown away before the window, in which a decoder's memory settles.
_PREROLL = 0.5
# 12 hours at 48 kHz, 8 GB: a longer window is damage, or must be cut.
_MOST_SAMPLES = 2**31
# Samples of the lower of two rates on each side that libav's resampler looks at, and a few more.
_HALF_WIDTH = 20


def _read_waveform(media: Media, start: float, end: float, rate: int) -> np.ndarray | None:
    """(round((end - start) * rate),) float32 in [-1, 1], silent where the stream has nothing; None if it never has."""
    context = media.audio.codec_context
    frames = media.decode("audio", start - _PREROLL - _HALF_WIDTH / min(context.sample_rate or rate, rate))
    head = next(frames, None)
    if head is None:
        return None
    own_rate, first, count = head[1].sample_rate, round(start * rate), round((end - start) * rate)
    common = math.gcd(own_rate, rate)
    up, down = rate // common, own_rate // common
    margin = 0.0 if up == down else _HALF_WIDTH / min(own_rate, rate)
    # Both grids meet every 1 / common seconds: begin there, so that the filter has the same phase in every window.
    meeting = math.floor((first / rate - margin) * common)
    below, above = meeting * down, math.ceil(((first + count) / rate + margin) * own_rate)
    if above - below > _MOST_SAMPLES:
        raise DecodeError(f"{media.path}: {(end - start) / 3600:.0f} hours of sound are too long for one clip")
    waveform = np.zeros(above - below, np.float32)
    # Range of the samples that the stream really has.
    low, high = math.inf, -math.inf
    for run in _runs(chain([head], frames), media, own_rate, above):
        position = run.position()
        begin, stop = max(position, below), min(position + run.length, above)
        if begin < stop:
            samples = mono(np.concatenate(run.parts, axis=1))
            waveform[begin - below : stop - below] = samples[begin - position : stop - position]
            low, high = min(low, begin), max(high, stop)
    if not low < (start + count / rate) * own_rate or not high > start * own_rate:
        return None
    if up != down:
        # libav's polyphase filter; its first output is the first input.
        av = require("av")
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        frame = av.AudioFrame.from_ndarray(waveform[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = own_rate, 0, Fraction(1, own_rate)
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
        # A stream whose rate changes: the first one is kept.
        if frame.sample_rate != rate:
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
