"""One clip that stands in no library: a query, or a row of one that is encoded; shown as in evaluation."""

from __future__ import annotations

import numpy as np

from seehear.data.raw.config import RawConfig
from seehear.data.raw.reading import Asked, Reader
from seehear.data.raw.sample import Viewed
from seehear.data.raw.windows import Span, frames_part, reach, samples_part
from seehear.encoders.base import Sample
from seehear.errors import DecodeError
from seehear.media.files import probe
from seehear.types import Modality


def views_of(sample: Sample, m: Modality, config: RawConfig, *, windows: int = 1, crops: int = 1) -> np.ndarray:
    """Pictures (V, T, H, W, 3) uint8 or sound (V, S) float32 of windows x crops views; sound has no crops. A picture
    is a clip that stands still. Raises `DecodeError`."""
    span, reader = _span(sample, config), Reader(config, None)
    crops, found = crops if m == "video" else 1, []
    for window in range(windows):  # what its crops are cut out of is read once
        views = [Viewed(window, windows, crop, crops) for crop in range(crops)]
        x = _read(sample, m, config, span, views[0], reader)
        found += [view.seen(x, config) if m == "video" else view.heard(x, config) for view in views]
    return np.stack([one.numpy() for one in found])


def _span(sample: Sample, config: RawConfig) -> Span:
    start, end = sample.start, sample.end
    if config.extend and end > start:
        start, end = reach(start, end, probe(sample.path).duration, config.window_seconds)
    return Span(start, end, config.fps)


def _read(sample: Sample, m: Modality, config: RawConfig, span: Span, view: Viewed, reader: Reader) -> np.ndarray:
    begin = view.starts(span, config)
    if m == "video":
        part = frames_part(span, begin.video, config.frames, loop=config.loop)
    else:
        part = samples_part(span, begin.audio, config.samples, config.rate, loop=config.loop)
    read: dict[Modality, np.ndarray] = reader(span, {m: Asked(sample.path, part)})
    if m not in read:
        raise DecodeError(f"{sample.path}: {reader.lost.files().get(sample.path, f'no {m} there')}")
    return read[m]
