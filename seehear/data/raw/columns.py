"""What a library says of its clips, as columns that go to worker processes, and the checks before a run begins."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from seehear.data.raw.config import RawConfig
from seehear.data.raw.windows import EPSILON, Span, reach
from seehear.data.records import Clip, Source
from seehear.errors import SeehearError

if TYPE_CHECKING:
    from seehear.data.library import Library

_LOOKED_FOR = 16  # files, before a run begins


@dataclass(frozen=True, kw_only=True)
class RawClips:
    """A row a clip. Strings are kept once: files by number."""

    ids: np.ndarray
    splits: np.ndarray
    groups: np.ndarray
    """(N,) int64."""
    video: np.ndarray
    """(N,) int64: the number of its file, -1 for none."""
    audio: np.ndarray
    start: np.ndarray
    """(N,) float64: seconds, of the stretch in which windows lie."""
    end: np.ndarray
    number: np.ndarray
    """(N,) int64: of the clip, and below of its recording, among the sentences."""
    recording: np.ndarray
    has_text: np.ndarray
    """(N,) bool."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, at: np.ndarray) -> RawClips:
        return replace(self, **{f.name: getattr(self, f.name)[at] for f in fields(self)})

    def span(self, clip: int, fps: float) -> Span:
        return Span(float(self.start[clip]), float(self.end[clip]), fps)


def recordings_of(clips: Sequence[Clip]) -> np.ndarray:
    """(N,) int64: clips of the same files share a number; those of text alone have one each."""
    number: dict[tuple[str, ...], int] = {}
    keys = ((clip.source, clip.audio_source) if clip.source else (clip.id,) for clip in clips)
    return np.array([number.setdefault(key, len(number)) for key in keys], np.int64)


def columns(
    library: Library, clips: Sequence[Clip], config: RawConfig, has_text: np.ndarray
) -> tuple[RawClips, tuple[str, ...]]:
    """(columns, paths of the media files)."""
    sources, number = library.sources(), dict[str, int]()
    spans = np.array([_span(clip, sources, config) for clip in clips], np.float64).reshape(-1, 2)
    files = {}
    for m in ("video", "audio"):
        named = [clip.source_of(m) if m in config.modalities and clip.has(m) else "" for clip in clips]
        files[m] = np.array([number.setdefault(s, len(number)) if s else -1 for s in named], np.int64)
    roots = library.roots()
    made = RawClips(
        ids=np.array([clip.id for clip in clips], dtype=object),
        splits=np.array([clip.split for clip in clips], dtype=object),
        groups=np.unique([clip.recording for clip in clips], return_inverse=True)[1],
        **files,
        start=spans[:, 0],
        end=spans[:, 1],
        number=np.arange(len(clips)),
        recording=recordings_of(clips),
        has_text=has_text,
    )
    return made, tuple(str(library.path_of(source, roots)) for source in number)


def _span(clip: Clip, sources: Mapping[str, Source], config: RawConfig) -> tuple[float, float]:
    if not config.extend or clip.end <= clip.start:
        return clip.start, clip.end
    named = {clip.source_of(m) for m in ("video", "audio") if m in config.modalities and clip.has(m)}
    lengths = [sources[s].duration for s in named if s in sources and sources[s].duration > 0]
    return reach(clip.start, clip.end, min(lengths, default=0.0), config.window_seconds)


def check(clips: RawClips, files: Sequence[str], config: RawConfig, uri: str) -> None:
    """Raises `SeehearError` for what can only be a mistake: a modality that no clip has, a window longer than every
    clip, media that are not where they were."""
    for m in config.modalities:
        if not (clips.has_text if m == "text" else getattr(clips, m) >= 0).any():
            raise SeehearError(f"{uri}: no clip has {m}: leave that modality out, or add some")
    seconds = (clips.end - clips.start)[(clips.video >= 0) | (clips.audio >= 0)]
    longest, asked = float(seconds.max(initial=0.0)), config.window_seconds
    if longest > 0 and (longest + 1 / config.fps + EPSILON) * (1 + EPSILON) < asked:
        raise SeehearError(
            f"{uri}: a window of {asked:g} s is asked for, and the longest of {len(seconds):,} clips lasts "
            f"{longest:.2f} s: take fewer frames, more of them a second, or fewer seconds of sound"
        )
    looked_for = [files[n] for n in np.unique(np.linspace(0, len(files) - 1, _LOOKED_FOR).astype(int))] if files else []
    if looked_for and not any(os.path.exists(path) for path in looked_for):
        raise SeehearError(
            f"{uri}: its media are not where they were: there is no {looked_for[0]} and none of {len(looked_for)} "
            "others that were looked for; run 'seehear prepare' on the folder they are in now"
        )
