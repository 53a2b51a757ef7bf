"""New media files: windows of others, as H.264 at a steady rate and sound in the codec of the container; and media held
in memory, without loss.

A track is an iterator of packets whose stream was added to the container before the first packet is written. Pictures
and samples are read as they are encoded: a film of two hours takes the memory of a few frames.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import DecodeError, SeehearError, refusal, require
from seehear.media.container import Media, frame_rate, opened
from seehear.media.files import channels
from seehear.media.frames import VideoSpec, stream_pictures

Track = Iterator[Any]
"""Packets of one stream, in the order of their `dts`."""
_TOP_FPS = 60.0
# Of `write_preview`; the quality is H.264's constant rate factor, lower is better.
_PREVIEW, _PREVIEW_QUALITY = VideoSpec(fps=25.0, size=360, enlarge=False), 26
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
        # Any other error is the source's.
        if (why := refusal(error)) is not None:
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


def write_preview(video: str, audio: str, start: float, end: float, out: str) -> None:
    """Writes a window as a small MP4 (H.264 and AAC): pictures of one file, sound of the same or another; '' omits
    one."""
    with ExitStack() as files, written(out, "mp4") as file:
        tracks = []
        if video:
            media = files.enter_context(opened(video))
            tracks.append(encoded_film(file, media, start, end, _PREVIEW, _PREVIEW_QUALITY))
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
        # The coder converts the decoder's format, rate and layout to its own.
        like, position = first[1], 0
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
        # A stream whose format changes: the first one is kept.
        if alike != kind:
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


# -- media held in memory ----------------------------------------------------------------------------------------------

# Media held in memory, written without loss into files (PNG, 32-bit float WAV, FFV1), which then go through the same
# decoding and resizing as any other.

FPS = 24.0
"""Frames a second of videos that come without times, as in transformers."""


def write_picture(value: Any, path: Path) -> str:
    """The path of a PNG of a PIL image or of an array: (H, W, 3), (3, H, W) or (H, W), uint8 or floats in [0, 1]."""
    image = value if hasattr(value, "convert") else require("PIL.Image").fromarray(_pixels(value))
    image.convert("RGB").save(path.with_suffix(".png"))
    return str(path.with_suffix(".png"))


def write_sound(value: Any, path: Path) -> str:
    """The path of a WAV of {"array", "sampling_rate"} or a torchcodec decoder. Channels, (C, S), are averaged; integers
    count as the full range of their type."""
    if hasattr(value, "get_all_samples"):
        found = value.get_all_samples()
        value = {"array": found.data, "sampling_rate": found.sample_rate}
    if not isinstance(value, Mapping) or value.get("sampling_rate") is None:
        raise SeehearError('sound as an array needs its rate: give {"array": ..., "sampling_rate": 16000}')
    array, rate = np.asarray(value["array"]), int(value["sampling_rate"])
    if np.issubdtype(array.dtype, np.integer):
        array = array / float(np.iinfo(array.dtype).max)
    if array.ndim not in (1, 2) or not array.size:
        raise SeehearError(f"sound must be (samples,) or (channels, samples); got {array.shape}")
    out = str(path.with_suffix(".wav"))
    require("scipy.io.wavfile").write(out, rate, np.asarray(array if array.ndim == 1 else array.mean(0), np.float32))
    return out


def write_video(value: Any, path: Path) -> str:
    """The path of an MKV of {"array", "video_metadata"}, a torchcodec decoder, a list of images, or an array:
    (T, 3, H, W) or (T, H, W, 3), uint8 or floats in [0, 1]."""
    fps = FPS
    if isinstance(value, Mapping):
        fps = float((value.get("video_metadata") or {}).get("fps") or FPS)
        value = value["array"]
    if hasattr(value, "get_frames_in_range"):
        fps, value = float(value.metadata.average_fps or FPS), value.get_frames_in_range(0, len(value)).data
    if isinstance(value, Sequence):
        frames = [_pixels(np.asarray(f.convert("RGB")) if hasattr(f, "convert") else f) for f in value]
    else:
        array = np.asarray(value)
        if array.ndim != 4:
            raise SeehearError(f"a video must be (frames, 3, height, width); got {array.shape}")
        frames = [_pixels(frame) for frame in array]
    if not frames:
        raise SeehearError("a video without frames")
    av, out = require("av"), str(path.with_suffix(".mkv"))
    with av.open(out, "w") as file:
        stream = file.add_stream("ffv1", rate=Fraction(fps).limit_denominator(1001))
        # RGB: conversion to YUV would round.
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "bgr0"
        for pixels in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode(None))
    return out


def _pixels(value: Any) -> np.ndarray:
    """(H, W, 3) uint8."""
    pixels = np.asarray(value)
    if pixels.ndim == 2:
        pixels = np.stack([pixels] * 3, axis=-1)
    if pixels.ndim == 3 and pixels.shape[-1] != 3 and pixels.shape[0] == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[-1] != 3:
        raise SeehearError(f"a picture must be (height, width, 3) or (3, height, width); got {np.shape(value)}")
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = np.rint(pixels.clip(0, 1) * 255)
    return np.ascontiguousarray(pixels, dtype=np.uint8)
