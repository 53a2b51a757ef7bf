"""Importers: readers of a data set's own files, and the index of its media on disk.

An importer yields a `ManifestRow` per row, in order of the files, with the key of its media file as `source`. It never
opens media: `MediaIndex` finds the file of a key, and `prepare` reads it.
"""

from __future__ import annotations

import os
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Any, Protocol

from seehear.errors import SeehearError, check_range, unknown
from seehear.library.manifest import ManifestRow
from seehear.library.records import SPLITS, Reject, printable
from seehear.library.scan import AUDIO, PICTURES, VIDEO
from seehear.library.workers import cores


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Part of a set to import, and the places of its files."""

    media: Path | None = None
    """Folder of the media, at any depth; by default the set's root."""
    splits: tuple[str, ...] = ()
    """Splits to import, of train, val and test; all when empty."""
    fold: int = 1
    """Official fold or list that is the test split. 0: everything is train, and clips carry the folds in their meta,
    for probes over all folds."""
    val: float = 0.0
    """Share of the training recordings for validation, in sets without a validation split. Published protocols train
    on all of them."""
    workers: int = field(default_factory=cores)
    """Processes that read files. 0: this one, unprotected from files that crash a decoder."""
    time_limit: float = 300.0
    """Seconds after which a file that is still being read is set aside."""
    features: Path | None = None
    """Folder of features instead of media, by name of a clip or video: X_2d, X_3d and X_spec, each .npy, .npz or .h5.
    Sets that come as features are also found below the root."""
    mel_frames: int = 0
    """Frames of 10 ms kept of a clip's X_spec; 0: as in the set's protocol."""
    pickles: bool = False
    """Also read pickles of captions and features, by a reader that never runs their code."""

    def __post_init__(self) -> None:
        for split in self.splits:
            if split not in SPLITS:
                raise unknown("split", split, SPLITS)
        check_range(self, "[0, inf)", "fold", "workers", "mel_frames")
        check_range(self, "(0, inf)", "time_limit")
        if not 0 <= self.val < 1:
            raise SeehearError(f"val is a share of the training recordings, 0 to 1; got {self.val:g}")

    def wants(self, split: str) -> bool:
        return not self.splits or split in self.splits


@dataclass(frozen=True, kw_only=True)
class Importer:
    name: str
    title: str
    read: Callable[..., Items]
    """`Files` -> the set's rows, or a `Reject` for an unusable one."""
    annotations: tuple[str, ...]
    """Names of the official files, for messages."""
    media: str
    """Names of the media files, for messages."""
    kinds: tuple[str, ...]
    """Kinds of media (video, audio, image, features), preferred first."""
    key: Callable[[str], str]
    """Path without suffix -> key of the file; '' for a file of something else."""
    folds: int = 0
    """Number of official folds or lists; 0 with one split."""
    has_val: bool = True
    mel_frames: int = 1000
    """Frames of sound kept of a clip when features are imported."""
    seconds: bool = False
    """Items are seconds of a video: they share its rows of features evenly, and get 8 s of sound around each."""

    @property
    def only_features(self) -> bool:
        return self.kinds == ("features",)


Items = Iterator[ManifestRow | Reject]
new_row = partial(ManifestRow, line=0)
"""A row of a set: its line and table are filled in by `Files.rows`."""


def youtube_clip(video: str, id: str, split: str, times: tuple[float, float], **more: Any) -> ManifestRow:
    """Row of a part of a video, in seconds; the video is its recording."""
    more["meta"] = {"youtube_id": video} | more.get("meta", {})
    return new_row(source=video, id=id, split=split, group=video, start=times[0], end=times[1], **more)


def whole_file(name: str, split: str, **more: Any) -> ManifestRow:
    """Row of a media file that is one clip."""
    return new_row(source=name, id=name, split=split, start=0.0, **more)


def bad_row(table: str, line: int, reason: object) -> Reject:
    """An unusable row."""
    return Reject(path=f"{table}:{line}", stage="import", reason=str(reason))


def by_stem(path: str) -> str:
    """'flickr30k-images/36979' -> '36979'"""
    # Without folders: media may lie at any depth below the root.
    return path.rpartition("/")[2]


def by_number(path: str) -> str:
    """'val2014/COCO_val2014_000000391895' -> '000000391895', its name in COCO 2017"""
    return re.sub(r"^COCO_[a-z]+2014_", "", by_stem(path))


def by_folder(path: str) -> str:
    """'data/bed/0c40e715_nohash_0' -> 'bed/0c40e715_nohash_0': names that repeat from class to class."""
    return "/".join(path.split("/")[-2:])


# Some downloaders of AudioSet put a Y before the id.
# Behind it may stand the times of a cut, which `MediaIndex.locate` compares with the item's.
_YOUTUBE = re.compile(r"Y?([A-Za-z0-9_-]{11})(?:[_.-].*)?")


def by_youtube_id(path: str) -> str:
    """'audio/Yglz-2b3uJss_30.000_40.000' -> 'glz-2b3uJss': names that downloaders make of an id of 11 characters."""
    found = _YOUTUBE.fullmatch(by_stem(path))
    return found[1] if found else ""


def spaced(name: str) -> str:
    """'brush_hair' and 'BrushHair' as words, for prompts."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.replace("_", " ")).strip()


# ----------------------------------------------------------------------------------------------------------------------
# Media below a folder, by the keys of their paths.

_SUFFIXES = {"video": VIDEO, "audio": AUDIO, "image": PICTURES, "features": "npy npz h5 hdf5"}
# Start and end of a cut file in its name, in seconds or milliseconds: '_000030', '_30.000_40.000', '_30000_40000'.
_TIMES = re.compile(r"[_.-](\d+(?:\.\d+)?)(?:[_-]\d+(?:\.\d+)?)?")


@dataclass(frozen=True, kw_only=True)
class MatchedMedia:
    name: str
    cut_out: bool
    """True if the file is cut to the row, by its name."""


class SetIndex(Protocol):
    """Media or features of a set, below a folder or in a pickle."""

    folder: Path
    importer: Importer

    def locate(self, row: ManifestRow) -> MatchedMedia | None: ...


class MediaIndex:
    """Media of a set below a folder, by the keys of their paths."""

    def __init__(self, folder: Path, importer: Importer, *, skip: str | Path = ""):
        self.folder, self.importer = folder, importer
        self._kind = {f".{suffix}": i for i, kind in enumerate(self._kinds()) for suffix in _SUFFIXES[kind].split()}
        # A file without a name, deleted when it is closed: memory does not hold the names of millions of files.
        self._db = sqlite3.connect("")
        self._db.execute("CREATE TABLE file (number INTEGER PRIMARY KEY, key BLOB, name TEXT)")
        files = (os.path.splitext(name) for name in _walk(folder, str(Path(skip).resolve()) if skip else ""))
        known = ((_normal(self._key(stem)), stem + suffix) for stem, suffix in files if suffix.lower() in self._kind)
        self._db.executemany("INSERT INTO file (key, name) VALUES (?, ?)", known)
        self._db.execute("CREATE INDEX by_key ON file (key)")

    def _kinds(self) -> tuple[str, ...]:
        return self.importer.kinds

    def _key(self, stem: str) -> str:
        return self.importer.key(stem)

    def __len__(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM file").fetchone()[0])

    def __iter__(self) -> Iterator[str]:
        """Paths below the folder, in order."""
        yield from (name for (name,) in self._db.execute("SELECT name FROM file ORDER BY number"))

    def find(self, key: str) -> list[str]:
        """Paths of the files with this key, in order."""
        found = self._db.execute("SELECT name FROM file WHERE key = ? ORDER BY number", (_normal(key),))
        return [name for (name,) in found]

    def locate(self, row: ManifestRow) -> MatchedMedia | None:
        """The media file of a row: the first kind is preferred, then a file that is cut to the row."""
        fits = []
        for rank, name, stem in self._candidates(row.source):
            youtube = _YOUTUBE.fullmatch(by_stem(stem)) if row.end is not None else None
            # Behind the id: '_30.000_40.000'.
            times = _TIMES.fullmatch(youtube.string, youtube.end(1)) if youtube else None
            if times is None or row.start is None:
                fits.append((rank, True, name))
            # A file cut elsewhere out of the same recording does not hold the row.
            elif min(abs(float(times[1]) - row.start), abs(float(times[1]) - 1000 * row.start)) < 1:
                fits.append((rank, False, name))
        _, whole, name = min(fits, default=(0, False, ""))
        return MatchedMedia(name=name, cut_out=not whole) if fits else None

    def _candidates(self, key: str) -> Iterator[tuple[int, str, str]]:
        """(position of its kind, name, name without suffix) of each file with this key."""
        for name in self.find(key):
            stem, suffix = os.path.splitext(name)
            yield self._kind[suffix.lower()], name, stem

    def close(self) -> None:
        self._db.close()


def _walk(folder: Path, skip: str) -> Iterator[str]:
    """Visible files below a folder, in order. Links are followed; a loop of them is walked once."""
    visited: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        stat = os.stat(here)
        if (stat.st_dev, stat.st_ino) in visited or here == skip:
            folders.clear()
            continue
        # Device and inode: links to a folder above would be walked forever.
        visited.add((stat.st_dev, stat.st_ino))
        # In place: `os.walk` goes through them in this order, the same on every machine.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = PurePath(os.path.relpath(here, folder)).as_posix()
        for name in sorted(files):
            if not name.startswith("."):
                yield printable(name if inside == "." else f"{inside}/{name}")


def _normal(key: str) -> bytes:
    # macOS stores file names decomposed (NFD), annotation files have them composed.
    # Bytes, as SQLite refuses text with lone surrogates, which JSON may have.
    return unicodedata.normalize("NFC", key).encode("utf-8", "surrogatepass")
