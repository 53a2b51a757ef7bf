"""What an importer is: a reader of one data set's own files, and how the set's media are named on disk.

An importer yields an `Item` a row, in the order of the files, and never touches the media: which file an item means is
found afterwards (`media.py`), what the file holds by `prepare`.
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
    """Which part of a set is imported, and from where."""

    media: Path | None = None
    """Folder that the media lie in, at any depth; the set's root when not given."""
    splits: tuple[str, ...] = ()
    """Only these of train, val and test; all when empty."""
    fold: int = 1
    """Of sets with folds or several official lists: which one is the test split. 0: everything is train, and the folds
    stand in the clips' meta alone, for probes of frozen encoders over all of them."""
    val: float = 0.0
    """Share of the training recordings that become validation where the set has none of its own. Published protocols
    train on all of them."""
    workers: int = field(default_factory=cores)
    """Processes that read files. 0: this one, unprotected from files that crash a decoder."""
    time_limit: float = 300.0
    """Seconds after which a file that is still being read is set aside."""
    features: Path | None = None
    """Folder with features in place of media, by a clip's or a video's name: X_2d, X_3d and X_spec, each .npy, .npz or
    .h5. Of sets that come as features it need not be said when they lie below the root."""
    mel_frames: int = 0
    """Frames of 10 ms kept of a clip's X_spec; 0: as the set's protocol has it."""
    pickles: bool = False
    """Read pickles of captions and features too, by a reader that never runs what they say."""

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
class Item:
    """One row of a set's files."""

    keys: tuple[str, ...]
    """What its media file is found by; the first that exists. None for a text by itself."""
    split: str
    id: str
    """Rows with the same id are one clip: their texts and labels are joined."""
    group: str = ""
    """The recording; '' when every file is one."""
    start: float | None = None
    end: float | None = None
    """Seconds of the recording; the file may be the recording or this part of it. None: all of the file."""
    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    meta: dict[str, str] = field(default_factory=dict)
    table: str = ""
    line: int = 0
    """Where it stands, filled in by `Files.rows`."""


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A row that cannot be used."""

    table: str
    line: int
    reason: str


Items = Iterator[Item | Bad]


@dataclass(frozen=True, kw_only=True)
class Importer:
    name: str
    title: str
    read: Callable[..., Items]
    """`Files` and `ImportOptions` -> the set's rows."""
    annotations: tuple[str, ...]
    """The official files that are looked for, for people."""
    media: str
    """How the media files may be called, for people."""
    kinds: tuple[str, ...]
    """Of video, audio and image: what counts as its media, and which is taken when there are several."""
    keys: Callable[[str], tuple[str, ...]]
    """Path without suffix -> what a file can be found by."""
    folds: int = 0
    """Of the official folds or lists; 0 when there is one split."""
    has_val: bool = True
    mel_frames: int = 1000
    """Frames of sound kept of a clip where features are imported."""
    seconds: bool = False
    """Items are seconds of a video: its rows of features are shared among them evenly, its sound is 8 s around each."""

    @property
    def only_features(self) -> bool:
        return self.kinds == ("features",)


def by_stem(path: str) -> tuple[str, ...]:
    """'images/COCO_val2014_1' -> 'COCO_val2014_1'"""
    return (path.rpartition("/")[2],)


def by_folder(path: str) -> tuple[str, ...]:
    """'data/bed/0c40e715_nohash_0' -> 'bed/0c40e715_nohash_0': names that repeat from class to class."""
    return ("/".join(path.split("/")[-2:]),)


_YOUTUBE = re.compile(r"Y?([A-Za-z0-9_-]{11})(?:[_.-].*)?")


def by_youtube_id(path: str) -> tuple[str, ...]:
    """'audio/Yglz-2b3uJss_30.000_40.000' -> 'glz-2b3uJss': what downloaders make of an id of 11 signs."""
    found = _YOUTUBE.fullmatch(path.rpartition("/")[2])
    return (found[1],) if found else ()


def after_youtube_id(path: str) -> str:
    """What a file's name says besides the id: '_30.000_40.000'."""
    stem = path.rpartition("/")[2]
    found = _YOUTUBE.fullmatch(stem)
    return stem[found.end(1) :] if found else ""


def spaced(name: str) -> str:
    """'brush_hair' and 'BrushHair' as words, as a prompt needs them."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.replace("_", " ")).strip()
