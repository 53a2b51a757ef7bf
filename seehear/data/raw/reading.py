"""Parts of media files as arrays: from a cache of whole clips where there is one, else only what is asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from seehear.data.raw.cache import ClipCache
from seehear.data.raw.config import RawConfig
from seehear.data.raw.lost import Lost
from seehear.data.raw.pictures import region_of
from seehear.data.raw.windows import Part, Span
from seehear.data.records import digest
from seehear.errors import DecodeError, SeehearError
from seehear.media.files import AudioSpec, VideoSpec, read_window
from seehear.types import Modality

_LARGEST = 2**26
"""Bytes of a decoded clip: a longer one is not cached, but read part by part."""
_RULES = 1
"""Another number makes all that is cached invalid."""


@dataclass(frozen=True)
class Asked:
    """A part of one modality of a clip."""

    path: str
    part: Part


class Reader:
    """Frames (T, h, w, 3) uint8 of `config.decoded_side`, only the region that is looked at; samples (S,) float32."""

    def __init__(self, config: RawConfig, cache: ClipCache | None):
        self.config, self.cache, self.lost = config, cache, Lost()

    def __call__(self, span: Span, asked: dict[Modality, Asked]) -> dict[Modality, np.ndarray]:
        """What can be read of what is asked for, laid out; a modality that cannot be is left out, and counted."""
        found = self._cached(span, asked) if self.cache is not None else self._read(span, asked)
        return {m: asked[m].part.laid_out(x) for m, x in found.items()}

    def _cached(self, span: Span, asked: dict[Modality, Asked]) -> dict[Modality, np.ndarray]:
        """Out of the cache. A clip that is not there is read whole and put there, unless it is large or damaged."""
        assert self.cache is not None
        keys = {m: self._key(span, m, one.path) for m, one in asked.items()}
        found = {m: x for m, key in keys.items() if key and (x := self.cache.get(key)) is not None}
        missing = {m: one for m, one in asked.items() if m not in found}
        for m, one in missing.items():
            whole = self._whole(span, m, one) if keys[m] else None
            if whole is not None:
                self.cache.put(keys[m], whole)
                found[m] = whole
        return {m: asked[m].part.out_of(x) for m, x in found.items()} | self._read(
            span, {m: one for m, one in missing.items() if m not in found}
        )

    def _key(self, span: Span, m: Modality, path: str) -> str:
        """'' for a file that is not there, or a clip that is too large."""
        c = self.config
        size = span.ticks * (c.decoded_side * 2) ** 2 * 3 if m == "video" else span.seconds * c.rate * 4
        try:
            stat = os.stat(path)
        except OSError:
            return ""
        settings = (c.fps, c.decoded_side, c.region) if m == "video" else (c.rate,)
        parts = (m, os.path.abspath(path), stat.st_size, stat.st_mtime_ns, span.start, span.end, *settings, _RULES)
        return digest(*map(repr, parts)) if size <= _LARGEST else ""

    def _whole(self, span: Span, m: Modality, one: Asked) -> np.ndarray | None:
        """All of the clip; None where something of it is lost, as another part of the file may then be sound, and where
        a window may lie beside all that the file has: such a one is absent, and the whole would hide it."""
        count = span.ticks if m == "video" else round(span.seconds * self.config.rate) + 2
        try:
            found, corrupt = self._window(span, {m: Asked(one.path, Part(0, count))})
            return found[m] if not corrupt and self._is_everywhere(span, m, one.path, found[m]) else None
        except Exception:  # whoever reads the part alone meets it again, and says so
            return None

    def _is_everywhere(self, span: Span, m: Modality, path: str, whole: np.ndarray) -> bool:
        """Whether the first and the last window have something; looked at again only where nothing changes in one."""
        length = self.config.frames if m == "video" else self.config.samples
        for first in (0, len(whole) - length) if len(whole) > length else ():
            x = whole[first : first + length]
            if (x == x[:1]).all() and m not in self._window(span, {m: Asked(path, Part(first, length))})[0]:
                return False
        return True

    def _read(self, span: Span, asked: dict[Modality, Asked]) -> dict[Modality, np.ndarray]:
        """From the files: at once what lies in the same stretch of the same file."""
        if len(asked) == 2 and not self._side_by_side(asked):
            return {k: x for m, one in asked.items() for k, x in self._read(span, {m: one}).items()}
        if not asked:
            return {}
        path = next(iter(asked.values())).path
        try:
            found, corrupt = self._window(span, asked)
        except DecodeError as error:
            return self._lose(path, str(error).removeprefix(path).lstrip(": "), len(asked))
        except SeehearError:
            raise
        except Exception as error:  # a damaged file finds ways that no one thought of
            return self._lose(path, f"cannot be read ({error!r})", len(asked))
        if lost := [m for m in asked if m not in found]:
            self.lost.add(path, f"no {' and no '.join(lost)} where a clip has it", samples=len(lost))
        elif corrupt:
            self.lost.add(path, f"{corrupt:,} packets could not be decoded", samples=0)
        return found

    def _lose(self, path: str, why: str, samples: int) -> dict[Modality, np.ndarray]:
        self.lost.add(path, why, samples=samples)
        return {}

    def _side_by_side(self, asked: dict[Modality, Asked]) -> bool:
        """Whether one window gives both, to the sample."""
        video, audio, c = asked["video"], asked["audio"], self.config
        begin, length = video.part.first / c.fps * c.rate, video.part.count / c.fps * c.rate
        near = abs(begin - audio.part.first) <= 1 and abs(length - audio.part.count) < 0.5
        return video.path == audio.path and near

    def _window(self, span: Span, asked: dict[Modality, Asked]) -> tuple[dict[Modality, np.ndarray], int]:
        """(arrays, packets lost)"""
        c = self.config
        (path,) = {one.path for one in asked.values()}
        video = audio = None
        if "audio" in asked:
            part, audio = asked["audio"].part, AudioSpec(rate=c.rate)
            start = (round(span.start * c.rate) + part.first) / c.rate
            end = start + part.count / c.rate
        if "video" in asked:
            part = asked["video"].part
            video = VideoSpec(num_frames=part.count, size=c.decoded_side, enlarge=False)
            start = span.start + part.first / c.fps
            end = start + part.count / c.fps
        window = read_window(path, start, end, video=video, audio=audio)
        found = {"audio": window.waveform, "video": None if window.frames is None else self._looked_at(window.frames)}
        return {m: x for m, x in found.items() if x is not None and m in asked}, window.corrupt

    def _looked_at(self, frames: np.ndarray) -> np.ndarray:
        box = region_of(frames.shape[1], frames.shape[2], self.config.region)
        part = frames[:, box.top : box.top + box.height, box.left : box.left + box.width]
        return np.require(part, requirements="W")  # Pillow's cannot be written, and torch wants what can
