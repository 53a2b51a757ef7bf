"""Parts of media files as arrays, from a cache of whole clips or straight from the file."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seehear.encoders.base import Sample
from seehear.encoders.weights import write_cache
from seehear.errors import DecodeError, SeehearError, refusal
from seehear.inputs.raw.config import Part, RawConfig, Span, frames_part, reach, samples_part
from seehear.inputs.raw.sample import Viewed, region_of
from seehear.library.locking import locked
from seehear.library.records import digest
from seehear.media.files import VideoSpec, probe, read_window
from seehear.progress import say
from seehear.types import Modality

# Largest decoded clip that is cached, in bytes.
_LARGEST = 2**26
# Version of cached clips: another number makes them invalid.
_RULES = 1


@dataclass(frozen=True)
class Asked:
    """A part of one modality of a clip."""

    path: str
    part: Part


class ClipReader:
    """Frames (T, h, w, 3) uint8 of the region at `config.decoded_side`; samples (S,) float32."""

    def __init__(self, config: RawConfig, cache: ClipCache | None):
        self.config, self.cache, self.lost = config, cache, Lost()

    def __call__(self, span: Span, asked: dict[Modality, Asked]) -> dict[Modality, np.ndarray]:
        """Returns the parts asked for; an unreadable modality is left out, and counted."""
        found = self._cached(span, asked) if self.cache is not None else self._read(span, asked)
        return {m: asked[m].part.laid_out(x) for m, x in found.items()}

    def _cached(self, span: Span, asked: dict[Modality, Asked]) -> dict[Modality, np.ndarray]:
        """Parts out of the cache. A missing clip is read whole and cached, unless it is large or damaged."""
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
        """Key in the cache; '' for a missing file, or a clip that is too large."""
        c = self.config
        # An estimate for pictures: their longer side is known only once the file is open.
        size = span.ticks * (c.decoded_side * 2) ** 2 * 3 if m == "video" else span.seconds * c.rate * 4
        try:
            stat = os.stat(path)
        except OSError:
            return ""
        settings = (c.fps, c.decoded_side, c.region) if m == "video" else (c.rate,)
        parts = (m, os.path.abspath(path), stat.st_size, stat.st_mtime_ns, span.start, span.end, *settings, _RULES)
        return digest(*map(repr, parts)) if size <= _LARGEST else ""

    def _whole(self, span: Span, m: Modality, one: Asked) -> np.ndarray | None:
        """The whole clip; None where it is damaged (parts may still be readable), or where the file may end before the
        clip: a window beyond the end is absent, which padding of the whole would hide."""
        # + 2: rounding may ask for a sample beyond the span (`samples_part`).
        count = span.ticks if m == "video" else round(span.seconds * self.config.rate) + 2
        length = self.config.frames if m == "video" else self.config.samples
        try:
            arrays, corrupt = self._window(span, {m: Asked(one.path, Part(0, count))})
            whole = arrays[m]
            if corrupt:
                return None
            for first in (0, len(whole) - length) if len(whole) > length else ():
                x = whole[first : first + length]
                # The first and the last window are read again only where they are constant, as padding is.
                if (x == x[:1]).all() and m not in self._window(span, {m: Asked(one.path, Part(first, length))})[0]:
                    return None
            return whole
        except Exception:
            # Reading the part alone meets the error again, and reports it.
            return None

    def _read(self, span: Span, asked: dict[Modality, Asked]) -> dict[Modality, np.ndarray]:
        """Parts straight from the files."""
        if len(asked) == 2:
            video, audio, c = asked["video"], asked["audio"], self.config
            begin, length = video.part.first / c.fps * c.rate, video.part.count / c.fps * c.rate
            near = abs(begin - audio.part.first) <= 1 and abs(length - audio.part.count) < 0.5
            # One reading for both modalities only where they are the same stretch of one file, to the sample.
            if video.path != audio.path or not near:
                return {k: x for m, one in asked.items() for k, x in self._read(span, {m: one}).items()}
        if not asked:
            return {}
        path = next(iter(asked.values())).path
        try:
            found, corrupt = self._window(span, asked)
        except DecodeError as error:
            return self._lose(path, str(error).removeprefix(path).lstrip(": "), len(asked))
        # Not a damaged file: the user has to know, and the run ends.
        except SeehearError:
            raise
        except Exception as error:
            # Decoders raise anything on damaged files.
            return self._lose(path, f"cannot be read ({error!r})", len(asked))
        if lost := [m for m in asked if m not in found]:
            self.lost.add(path, f"no {' and no '.join(lost)} where a clip has it", samples=len(lost))
        elif corrupt:
            self.lost.add(path, f"{corrupt:,} packets could not be decoded", samples=0)
        return found

    def _lose(self, path: str, why: str, samples: int) -> dict[Modality, np.ndarray]:
        self.lost.add(path, why, samples=samples)
        return {}

    def _window(self, span: Span, asked: dict[Modality, Asked]) -> tuple[dict[Modality, np.ndarray], int]:
        """Returns (arrays, number of lost packets)."""
        c = self.config
        (path,) = {one.path for one in asked.values()}
        video, rate = None, 0
        if "audio" in asked:
            part, rate = asked["audio"].part, c.rate
            start = (round(span.start * c.rate) + part.first) / c.rate
            end = start + part.count / c.rate
        if "video" in asked:
            part = asked["video"].part
            video = VideoSpec(num_frames=part.count, size=c.decoded_side, enlarge=False)
            start = span.start + part.first / c.fps
            end = start + part.count / c.fps
        window = read_window(path, start, end, video=video, rate=rate)
        found = {"audio": window.waveform, "video": window.frames}
        if (frames := window.frames) is not None:
            box = region_of(frames.shape[1], frames.shape[2], c.region)
            region = frames[:, box.top : box.top + box.height, box.left : box.left + box.width]
            # Pillow's arrays are read-only: torch warns of them.
            found["video"] = np.require(region, requirements="W")
        return {m: x for m, x in found.items() if x is not None and m in asked}, window.corrupt


def views_of(sample: Sample, m: Modality, config: RawConfig, *, windows: int = 1, crops: int = 1) -> np.ndarray:
    """Pictures (V, T, H, W, 3) uint8 or sound (V, S) float32 of windows x crops views of one clip, in a library or not;
    sound has no crops. Raises `DecodeError`."""
    start, end = sample.start, sample.end
    if config.extend and end > start:
        start, end = reach(start, end, probe(sample.path).duration, config.window_seconds)
    span, reader = Span(start, end, config.fps), ClipReader(config, None)
    crops, found = crops if m == "video" else 1, []
    # All crops of a window are cut out of one reading.
    for window in range(windows):
        views = [Viewed(window, windows, crop, crops) for crop in range(crops)]
        begin = views[0].starts(span, config)
        if m == "video":
            part = frames_part(span, begin.video, config.frames, loop=config.loop)
        else:
            part = samples_part(span, begin.audio, config.samples, config.rate, loop=config.loop)
        read: dict[Modality, np.ndarray] = reader(span, {m: Asked(sample.path, part)})
        if m not in read:
            raise DecodeError(f"{sample.path}: {reader.lost.files().get(sample.path, f'no {m} there')}")
        found += [view.seen(read[m], config) if m == "video" else view.heard(read[m], config) for view in views]
    return np.stack([one.numpy() for one in found])


# -- on disk -----------------------------------------------------------------------------------------------------------


class ClipCache:
    """Small decoded clips on disk, shared by workers, runs and users.

    One file an array, named by a hash of the media file's state, the stretch, sizes and rates, and written atomically.
    A full folder stores nothing more; nothing is deleted.
    """

    def __init__(self, folder: str | Path, *, most_bytes: int):
        self.folder, self.most_bytes = Path(folder), most_bytes
        self._count = self.folder / ".bytes"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Tried at once: a folder that cannot be written is refused before anything is decoded.
            self._reserve(0)
        except OSError as error:
            raise SeehearError(
                f"{folder}: no clips can be cached there: {refusal(error) or error}: choose another --cache folder"
            ) from error

    def get(self, key: str) -> np.ndarray | None:
        """Memory-mapped array; None where it is missing or damaged."""
        try:
            # Mapped: only the pages of the window are read, and processes share them.
            return np.load(self._path(key), mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError):
            with suppress(OSError):
                # Removed, and made again by whoever needs it next.
                self._path(key).unlink()
            return None

    def put(self, key: str, array: np.ndarray) -> None:
        """Stores an array, unless the folder or the disk is full."""
        # In memory first: the size is known before room is taken.
        content = io.BytesIO()
        np.save(content, array)
        with suppress(OSError):
            if self._reserve(content.getbuffer().nbytes):
                write_cache(self._path(key), content.getbuffer())

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.npy"

    def _reserve(self, size: int) -> bool:
        """Whether there is room; if so it is counted as used."""
        # Counted before anything is written: a kill leaves the count too high, never too low. On a file system without
        # locks it may miss some.
        with locked(self.folder / ".lock", wait=True):
            count = self._count.read_text(encoding="utf-8") if self._count.exists() else ""
            used = int(count) if count.isdecimal() else sum(p.stat().st_size for p in self.folder.glob("*/*"))
            fits = used + size <= self.most_bytes
            # A count that was missing is written down even without room: the folder is not walked again.
            if fits or not count:
                self._count.write_text(str(used + size if fits else used), encoding="utf-8")
            return fits


class Lost:
    """Unreadable files over all processes of a run: each is reported once, each sample counted.

    A temporary folder that worker processes write to as well; it lives as long as the object that made it.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="seehear-lost-"))
        self._known: set[str] = set()
        # Runs as the interpreter ends as well, which `__del__` may not.
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def __getstate__(self) -> dict[str, Any]:
        # Without the finaliser: only the process that made the folder removes it.
        return {"_folder": self._folder, "_known": set()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state

    def add(self, path: str, why: str, *, samples: int = 1) -> None:
        """Counts unreadable samples of a file, and reports the file if no process has."""
        with suppress(OSError):
            # Processes count by appending, which needs no lock.
            with open(self._folder / "samples", "ab") as file:
                file.write(b"." * samples)
            if path not in self._known and self._is_first(path):
                with open(self._folder / "files.jsonl", "a", encoding="utf-8") as file:
                    file.write(json.dumps([path, why]) + "\n")
                say(f"{path}: {why}; the run goes on without what cannot be read")
        self._known.add(path)

    def _is_first(self, path: str) -> bool:
        known = self._folder / "known"
        with locked(self._folder / "lock", wait=True):
            if known.exists() and json.dumps(path) in known.read_text(encoding="utf-8").splitlines():
                return False
            with open(known, "a", encoding="utf-8") as file:
                file.write(json.dumps(path) + "\n")
            return True

    @property
    def samples(self) -> int:
        """Number of failed readings of pictures or sound."""
        with suppress(FileNotFoundError):
            # A byte a sample: the size of the file is the count.
            return os.path.getsize(self._folder / "samples")
        return 0

    def files(self) -> dict[str, str]:
        """Errors by path."""
        with suppress(FileNotFoundError):
            lines = (self._folder / "files.jsonl").read_text(encoding="utf-8").splitlines()
            return dict(json.loads(line) for line in lines)
        return {}
