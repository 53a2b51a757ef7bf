"""Places to cut a recording at: where a film's picture changes from one frame to the next, and where its sound pauses.

Key frames are compared first. Only where two that follow each other differ, or are far apart, are the frames between
them decoded: an hour of a still camera costs seconds. Frames are compared by integers taken from the decoded planes
themselves, so the same file has the same cuts on every machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import DecodeError, require
from seehear.media.container import Media, frame_rate, opened
from seehear.media.files import channels, mono

STEP = 0.1
"""Seconds of a value of `loudness`."""
SILENCE = -96
"""Decibels where there is no sound; what is quieter counts as this."""
# Frames of sound that are summed at once: one has a few hundred samples in codecs for speech.
_TOGETHER = 256
# Averages a picture has in each direction, each of 2 x 2 pixels: a grid costs less than a scaled picture.
_GRID = 32
_PLANES = {f"yuv{j}{kind}p" for j in ("", "j") for kind in (420, 422, 444)}
# Seconds: key frames nearer to the last are not looked at (there are codecs of nothing else); between those that are
# farther apart, all is.
_APART, _FAR = 1.0, 12.0
# Two key frames may be of two scenes when the mean difference of their pixels (of three planes, in 256ths) or of their
# histograms (in [0, 3]) is this large. Chosen so that no cut of 11 films was lost; the frames between decide.
_KEYS_DIFFER, _COLOURS_DIFFER = 24, 0.4
# A cut is a difference of two frames of at least `_CUT` that is `_OVER` times the mean of its neighbours.
_CUT, _OVER = 12, 3
# Frames on either side.
_NEIGHBOURS = 8
# Pixels of one film that are decoded between key frames: some 100 s of one core, 40 minutes of restless 1080p. In what
# is left, key frames that clearly differ are cuts. A bound on time alone would cut differently on slower machines.
MOST_PIXELS = 10**11
# Times `_KEYS_DIFFER` and `_COLOURS_DIFFER`.
_CLEARLY = 2
# Seconds of a stretch.
_LONGEST = 60.0
# Seconds read behind a stretch, so that its last cut has neighbours.
_CONTEXT = 0.5

# `_difference` of two pictures of which every pixel differs by one in one plane.
_SCALE = _GRID * _GRID * 4

Grid = np.ndarray
"""(3, 32, 32) int32: sums of four pixels of each plane."""


class TimeUp(DecodeError):
    """The search for scenes and pauses took longer than allowed."""


def find_cuts(path: str | Path, duration: float, *, seconds: float = float("inf")) -> list[tuple[float, float]]:
    """(time, strength) of each cut of a film, in the order of time. Raises `TimeUp` when that takes longer than
    `seconds`."""
    until = time.monotonic() + seconds
    with opened(path) as media:
        if media.video is None:
            return []
        keys = list(_key_frames(media, until))
        context = media.video.codec_context
        left = MOST_PIXELS / (max(1, context.width * context.height) * frame_rate(media.video))  # seconds
        found: list[tuple[float, float]] = []
        for begin, end in _stretches(keys, duration):
            left -= end - begin
            if left >= 0:
                found += _cuts_within(media, begin, end, until)
            else:
                found += [
                    (at, _difference(before, grid) / _SCALE)
                    for (_, before), (at, grid) in pairwise(keys)
                    if begin < at <= end and _differ(before, grid, _CLEARLY)
                ]
        return found


def _key_frames(media: Media, until: float) -> Iterator[tuple[float, Grid]]:
    """(seconds, grid) of key frames, at least `_APART` from each other."""
    context, latest = media.video.codec_context, -np.inf
    context.skip_frame = "NONKEY"
    for packet in media.packets(media.video):
        _check(until)
        # An empty packet asks the decoder for what it still holds.
        if packet.size and not packet.is_keyframe:
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        if packet.size and stamp is not None and media.seconds(stamp, media.video) < latest + _APART:
            continue
        try:
            frames = packet.decode()
        except require("av").FFmpegError:
            continue
        for frame in frames:
            if frame.pts is not None:
                latest = media.seconds(frame.pts, media.video)
                yield latest, _grid(frame)


def _stretches(keys: list[tuple[float, Grid]], duration: float) -> list[tuple[float, float]]:
    """[begin, end] seconds in which there may be cuts, of at most a minute where one follows another. The last key
    frame is closed by none: what follows it is always looked at."""
    found: list[tuple[float, float]] = []
    start: list[tuple[float, Grid | None]] = [(0.0, None)]
    for (begin, grid), (end, following) in pairwise([*(keys or start), (duration, None)]):
        if grid is None or following is None or end - begin > _FAR or _differ(grid, following, 1):
            if found and found[-1][1] == begin and end - found[-1][0] <= _LONGEST:
                found[-1] = found[-1][0], end
            elif end > begin:
                found.append((begin, end))
    return found


def _differ(one: Grid, other: Grid, times: float) -> bool:
    """Whether two pictures may be of two scenes (`times` 1: pixels or colours differ), or surely are (both do)."""
    bins = [[np.bincount((plane // 64).ravel(), minlength=16) for plane in grid] for grid in (one, other)]
    colours = np.abs(np.array(bins[0]) - np.array(bins[1])).sum() >= times * _COLOURS_DIFFER * 2 * one[0].size
    pixels = _difference(one, other) >= times * _KEYS_DIFFER * _SCALE
    return bool(colours or pixels) if times == 1 else bool(colours and pixels)


def _cuts_within(media: Media, begin: float, end: float, until: float) -> list[tuple[float, float]]:
    """Cuts in [begin, end]. Frames that no other refers to are not decoded: a cut is found to within one or two."""
    times: list[float] = []
    steps: list[int] = []
    before = None
    for at, frame in media.decode("video", begin, skip=lambda at, _: at < end + _CONTEXT):
        _check(until)
        if at >= end + _CONTEXT:
            break
        if at < begin - 1e-6 or (times and at <= times[-1]):
            continue
        grid = _grid(frame)
        if before is not None:
            steps.append(_difference(before, grid))
            times.append(at)
        before = grid
    cuts = []
    for n in (n for n, step in enumerate(steps) if step >= _CUT * _SCALE and begin < times[n] <= end + 1e-6):
        near = steps[max(0, n - _NEIGHBOURS) : n] + steps[n + 1 : n + 1 + _NEIGHBOURS]
        # One change that stands out from its neighbours: a shaking camera changes every frame as much.
        if steps[n] * len(near) >= _OVER * sum(near) and steps[n] >= max(near, default=0):
            cuts.append((times[n], steps[n] / _SCALE))
    return cuts


def _grid(frame: Any) -> Grid:
    if frame.format.name not in _PLANES:
        frame = frame.reformat(format="yuv420p")
    planes = []
    for plane in frame.planes:
        pixels = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        rows, columns = ((np.arange(2 * _GRID) * 2 + 1) * side // (4 * _GRID) for side in (plane.height, plane.width))
        planes.append(pixels[rows[:, None], columns].astype(np.int32))
    return np.stack(planes).reshape(3, _GRID, 2, _GRID, 2).sum((2, 4))


def _difference(one: Grid, other: Grid) -> int:
    return int(np.abs(one - other).sum())


# -- sound -------------------------------------------------------------------------------------------------------------


def loudness(path: str | Path, duration: float, *, seconds: float = float("inf")) -> np.ndarray:
    """(duration / `STEP`,) int: decibels of each `STEP` of the sound, whole ones, so that decoders that differ in the
    last bit agree. Raises `TimeUp` when that takes longer than `seconds`."""
    until, count = time.monotonic() + seconds, max(1, round(duration / STEP))
    power_N, samples_N = np.zeros(count), np.zeros(count)
    with opened(path) as media:
        frames = media.decode("audio", 0.0) if media.audio is not None else iter(())
        while some := list(islice(frames, _TOGETHER)):
            _check(until)
            # Clipped: damage can decode to any number.
            heard = [np.clip(mono(channels(frame)), -1.0, 1.0, dtype=np.float64) for _, frame in some]
            times = [at + np.arange(len(x_S)) / f.sample_rate for (at, f), x_S in zip(some, heard, strict=True)]
            bins = np.clip((np.concatenate(times) / STEP).astype(np.int64), 0, count - 1)
            power_N += np.bincount(bins, np.concatenate(heard) ** 2, count)
            samples_N += np.bincount(bins, minlength=count)
    mean_N = np.divide(power_N, samples_N, out=np.zeros(count), where=samples_N > 0)
    return np.rint(10 * np.log10(np.maximum(mean_N, 10 ** (SILENCE / 10)))).astype(int)


def _check(until: float) -> None:
    if time.monotonic() > until:
        raise TimeUp("its scenes and pauses were not found in the time there is")
