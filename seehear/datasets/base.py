"""Importers: readers of a data set's own files, and the names of its media on disk.

An importer yields a `DatasetItem` per row, in order of the files, and never opens media: `media.py` finds the file of
an item, and `prepare` reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from seehear.errors import SeehearError, check_range, unknown
from seehear.library.records import SPLITS
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
class DatasetItem:
    """One row of a set's files."""

    keys: tuple[str, ...]
    """Keys of its media file, the first that exists counts; none for a text without media."""
    split: str
    id: str
    """Id of the clip; texts and labels of rows with the same id are joined."""
    group: str = ""
    """Recording; '' if every file is one."""
    start: float | None = None
    end: float | None = None
    """Seconds of the recording, which the file holds in full or cut to this part; None: the whole file."""
    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    meta: dict[str, str] = field(default_factory=dict)
    table: str = ""
    line: int = 0
    """Line in the table, filled in by `Files.rows`."""


def youtube_clip(video: str, id: str, split: str, times: tuple[float, float], meta: dict[str, str]) -> DatasetItem:
    """Item of a part of a video, in seconds; the video is its recording."""
    start, end = times
    own = {"youtube_id": video} | meta
    return DatasetItem(keys=(video,), id=id, split=split, group=video, start=start, end=end, meta=own)


@dataclass(frozen=True, kw_only=True)
class Bad:
    """An unusable row."""

    table: str
    line: int
    reason: str


Items = Iterator[DatasetItem | Bad]


@dataclass(frozen=True, kw_only=True)
class Importer:
    name: str
    title: str
    read: Callable[..., Items]
    """`Files` and `ImportOptions` -> the set's rows."""
    annotations: tuple[str, ...]
    """Names of the official files, for messages."""
    media: str
    """Names of the media files, for messages."""
    kinds: tuple[str, ...]
    """Kinds of media (video, audio, image, features), preferred first."""
    keys: Callable[[str], tuple[str, ...]]
    """Path without suffix -> keys of the file."""
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


def by_stem(path: str) -> tuple[str, ...]:
    """'images/COCO_val2014_1' -> 'COCO_val2014_1'"""
    # Without folders: media may lie at any depth below the root.
    return (path.rpartition("/")[2],)


def by_folder(path: str) -> tuple[str, ...]:
    """'data/bed/0c40e715_nohash_0' -> 'bed/0c40e715_nohash_0': names that repeat from class to class."""
    return ("/".join(path.split("/")[-2:]),)


# Some downloaders of AudioSet put a Y before the id.
# Behind it may stand the times of a cut, which `MediaIndex.locate` compares with the item's.
_YOUTUBE = re.compile(r"Y?([A-Za-z0-9_-]{11})(?:[_.-].*)?")


def by_youtube_id(path: str) -> tuple[str, ...]:
    """'audio/Yglz-2b3uJss_30.000_40.000' -> 'glz-2b3uJss': names that downloaders make of an id of 11 characters."""
    found = _YOUTUBE.fullmatch(path.rpartition("/")[2])
    return (found[1],) if found else ()


def after_youtube_id(path: str) -> str:
    """Rest of a file's name behind the id: '_30.000_40.000'."""
    stem = path.rpartition("/")[2]
    found = _YOUTUBE.fullmatch(stem)
    return stem[found.end(1) :] if found else ""


def spaced(name: str) -> str:
    """'brush_hair' and 'BrushHair' as words, for prompts."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.replace("_", " ")).strip()
