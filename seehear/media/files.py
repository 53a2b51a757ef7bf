"""Read any window of any media file: frames and waveform of [start, end) seconds, the same every time.

`read_window` is the one function that turns a file into pixels and samples; `probe` gives a file's properties. Both
tolerate damage: lost packets are counted, and a file of which nothing can be read raises `DecodeError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import DecodeError, require
from seehear.media.container import TOO_LARGE, Media, frame_rate, lasts, opened, reason
from seehear.media.frames import VideoSpec, read_frames
from seehear.media.sound import AudioSpec, read_waveform
from seehear.media.stills import is_picture, picture_size, read_picture

__all__ = ["AudioSpec", "MediaInfo", "SubtitleStream", "VideoSpec", "Window", "probe", "read_window"]

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
    rate: int = 0
    """Samples a second of the waveform."""
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
    errors: tuple[str, ...] = field(default=())
    """Damage of a file that can still be used in part."""


def read_window(
    path: str | Path,
    start: float,
    end: float,
    *,
    video: VideoSpec | None = None,
    audio: AudioSpec | None = None,
) -> Window:
    """Frames and waveform of [start, end) seconds, as a player counts them. A picture (start = end = 0) is one frame
    without sound. Raises `DecodeError` when the window has neither of the streams asked for."""
    where = f"{path} [{start:g}, {end:g}) s"
    try:
        if is_picture(path):
            window = Window() if video is None else Window(frames=read_picture(path, video), times=np.zeros(1))
        elif end <= start:
            raise DecodeError(f"{where}: the window is empty")
        else:
            frames = times = waveform = None
            with opened(path) as media:
                if video is not None and media.video is not None:
                    frames, times = read_frames(media, start, end, video) or (None, None)
                if audio is not None and media.audio is not None:
                    waveform = read_waveform(media, start, end, audio)
                if video is not None and media.too_large and frames is None and waveform is None:
                    raise DecodeError(f"{path}: {TOO_LARGE}")
            rate = audio.rate if audio is not None else 0
            window = Window(frames=frames, times=times, waveform=waveform, rate=rate, corrupt=media.corrupt)
    except OSError as error:
        raise DecodeError(f"{path}: cannot be read ({reason(error)})") from error
    if window.frames is None and window.waveform is None:
        asked = " or ".join(["picture"] * (video is not None) + ["sound"] * (audio is not None))
        lost = f"; {window.corrupt} packets could not be decoded" if window.corrupt else ""
        raise DecodeError(f"{where}: no {asked} there{lost}")
    return window


def probe(path: str | Path) -> MediaInfo:
    """Properties of a file, found by decoding a first frame of each stream. Raises `DecodeError` if none decodes."""
    try:
        if is_picture(path):
            height, width = picture_size(path)
            return MediaInfo(has_video=True, is_picture=True, height=height, width=width)
    except OSError as error:
        raise DecodeError(f"{path}: cannot be read ({reason(error)})") from error
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
