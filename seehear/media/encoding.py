"""Windows of media files encoded into new files: H.264 at a steady rate, and sound in the codec of the container.

A track is an iterator of packets whose stream was added to the container before the first packet is written. Pictures
and samples are read as they are encoded: a film of two hours takes the memory of a few frames.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import DecodeError, SeehearError, refusal, require
from seehear.media.container import Media, frame_rate, opened
from seehear.media.frames import VideoSpec, stream_pictures
from seehear.media.sound import channels

Track = Iterator[Any]
"""Packets of one stream, in the order of their `dts`."""
_TOP_FPS = 60.0
# Samples a second of sound whose own rate a codec does not have.
_USUAL_RATE = 48_000
# Seconds decoded and thrown away before a window, in which a decoder's memory settles.
_PREROLL = 0.5
# Seconds by which time stamps of sound may be rounded (Matroska's to 1 ms) without a gap being heard.
_JITTER = 0.002


@contextmanager
def written(out: str, container: str) -> Iterator[Any]:
    """A new media file, open; it is at `out` only when the block ends without an error."""
    part = Path(out + ".part")
    # The index in front: a browser plays before all of the file has arrived.
    options = {"movflags": "faststart"} if container in ("mp4", "ipod") else {}
    try:
        with require("av").open(str(part), "w", format=container, options=options) as file:
            yield file
        part.replace(out)
    except (require("av").FFmpegError, OSError) as error:
        if (why := refusal(error)) is not None:  # any other error is the source's
            raise SeehearError(f"{out} cannot be written: {why}") from error
        raise
    finally:
        part.unlink(missing_ok=True)


def write_tracks(file: Any, tracks: list[Track]) -> None:
    """Writes the packets of all tracks in the order of their times. Raises `DecodeError` where there are none."""
    packets = heapq.merge(*tracks, key=lambda packet: packet.dts * packet.time_base)
    first = next(packets, None)
    for packet in chain([first], packets) if first is not None else ():
        file.mux(packet)
    if first is None:
        raise DecodeError("nothing there that can be played")


def encode_window(video: str, audio: str, start: float, end: float, out: str, *, spec: VideoSpec, quality: int) -> None:
    """MP4 of a window: pictures of one file, sound of the same or another. '' leaves one out. `quality`: H.264's
    constant rate factor, lower is better."""
    with ExitStack() as files, written(out, "mp4") as file:
        tracks = []
        if video:
            tracks.append(encoded_film(file, files.enter_context(opened(video)), start, end, spec, quality))
        if audio:
            tracks.append(encoded_sound(file, files.enter_context(opened(audio)), start, end, "aac"))
        write_tracks(file, tracks)


def encoded_film(file: Any, media: Media, start: float, end: float, spec: VideoSpec, quality: int) -> Track:
    """H.264 at `spec.fps` frames a second, at the film's own rate where it is None."""
    if media.video is None:
        return iter(())
    # NTSC's rates are multiples of 1 / 1001.
    rate = Fraction(spec.fps or min(frame_rate(media.video), _TOP_FPS)).limit_denominator(1001)
    claimed = (media.container.duration or 0) / 1e6
    # Behind the film's end its last picture would be repeated.
    end = min(end, claimed) if claimed > start else end
    end = max(end, start + float(1 / rate))
    pictures = stream_pictures(media, start, end, replace(spec, fps=float(rate)))
    first = next(pictures, None)
    if first is None:
        return iter(())
    coder = file.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": str(quality)})
    # 4:2:0 halves the sides of the colour planes: they must be even.
    coder.height, coder.width = (max(2, n // 2 * 2) for n in first[1].shape[:2])

    # A generator inside: the stream must be in the file before the first packet of any track is written.
    def packets() -> Track:
        for number, (_, picture) in enumerate(chain([first], pictures)):
            frame = require("av").VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(width=coder.width, height=coder.height, format="yuv420p")
            frame.pts, frame.time_base = number, 1 / rate
            yield from coder.encode(frame)
        yield from coder.encode()

    return packets()


def encoded_sound(file: Any, media: Media, start: float, end: float, codec: str) -> Track:
    """Sound as mono or stereo; libav mixes more channels down to two."""
    if media.audio is None:
        return iter(())
    frames = media.decode("audio", start - _PREROLL)
    first = next(frames, None)
    if first is None:
        return iter(())
    rates = require("av").Codec(codec, "w").audio_rates or [first[1].sample_rate]
    coder = file.add_stream(codec, rate=first[1].sample_rate if first[1].sample_rate in rates else _USUAL_RATE)
    coder.layout = "mono" if first[1].layout.nb_channels == 1 else "stereo"

    def packets() -> Track:
        like, position = first[1], 0  # the coder converts the decoder's format, rate and layout to its own
        form, layout = like.format.name.rstrip("p") + "p", like.layout.name
        for samples_CS in _continuous(media, chain([first], frames), start, end):
            part = np.ascontiguousarray(samples_CS)
            frame = require("av").AudioFrame.from_ndarray(part, format=form, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = like.sample_rate, position, Fraction(1, like.sample_rate)
            position += samples_CS.shape[1]
            yield from coder.encode(frame)
        yield from coder.encode()

    return packets()


def _continuous(media: Media, frames: Iterator[tuple[float, Any]], start: float, end: float) -> Iterator[np.ndarray]:
    """(C, S) parts without a gap, from `start` to the end of the stream: silence where it has nothing."""
    kind: tuple[int, int, np.dtype[Any]] | None = None
    for time, frame in frames:
        samples_CS = channels(frame)
        alike = frame.sample_rate, len(samples_CS), samples_CS.dtype
        if kind is None:
            kind, rate, position, stop = alike, alike[0], round(start * alike[0]), round(end * alike[0])
        if alike != kind:  # a stream whose format changes: the first one is kept
            media.corrupt += 1
            continue
        at = round(time * rate)
        if at >= stop:
            return
        if abs(at - position) <= _JITTER * rate:
            at = position
        while at > position:
            size = min(at - position, rate)
            yield np.full((alike[1], size), 128 if alike[2] == np.uint8 else 0, alike[2])
            position += size
        samples_CS = samples_CS[:, position - at : stop - at]
        if samples_CS.shape[1]:
            yield samples_CS
            position += samples_CS.shape[1]
