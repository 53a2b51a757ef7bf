"""Media held in memory, written without loss into files (PNG, 32-bit float WAV, FFV1), which then go through the same
decoding and resizing as any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import SeehearError, require

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
    plane = np.ascontiguousarray(array if array.ndim == 1 else array.mean(axis=0), np.float32)[None]
    av, out = require("av"), str(path.with_suffix(".wav"))
    with av.open(out, "w") as file:
        stream = file.add_stream("pcm_f32le", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(plane, format="flt", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
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
