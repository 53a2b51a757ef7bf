"""Files of features below a folder: the files of an item, and their rows as latents of its clips.

Files are named by a clip or video X and the kind of features: X_2d, X_3d and X_spec (the layout of HowTo100M and of the
sets evaluated with it), or X alone (CrossTask, three kinds side by side).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from seehear.datasets.base import Importer, MatchedMedia, MediaIndex
from seehear.datasets.features import mel_window, opened, pooled, rows_of, rows_of_second
from seehear.errors import SeehearError
from seehear.library.manifest import ManifestRow
from seehear.library.records import digest, fingerprint, unprintable

if TYPE_CHECKING:
    from seehear.types import Modality

_LARGEST = float(np.finfo(np.float16).max)
# Seconds before and after the start of a second that make up its sound.
_SOUND_AROUND = 4.0


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One kind of features in a file, as an encoder of the library."""

    suffix: str
    encoder: str
    modality: Modality
    rate: float
    """Rows a second."""
    first: int = 0
    last: int | None = None
    """Its columns in a file of several kinds."""
    of: int = 0
    """Required number of columns; 0 for any."""

    @property
    def columns(self) -> slice:
        return slice(self.first, self.last)

    @property
    def mel(self) -> bool:
        return self.suffix == "_spec"

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the processing; that of a file's content is in each row."""
        return digest("features", self.encoder, self.suffix, f"{self.rate:g}")


# Rates and columns are those of the released features.
STREAMS = (
    Stream(suffix="_2d", encoder="resnet152", modality="video", rate=1.0),
    Stream(suffix="_3d", encoder="resnext101", modality="video", rate=1.5),
    Stream(suffix="_spec", encoder="melframes", modality="audio", rate=100.0),
    Stream(suffix="", encoder="i3d", modality="video", rate=1.0, last=1024, of=3200),
    Stream(suffix="", encoder="resnet152-crosstask", modality="video", rate=1.0, first=1024, last=3072, of=3200),
    Stream(suffix="", encoder="vggish", modality="audio", rate=1.0, first=3072, of=3200),
)
_KINDS = ("_2d", "_3d", "_spec")


@dataclass(frozen=True)
class FeatureFile:
    """One array of features, in a file or in memory."""

    name: str
    """Path, or the name of an array in a pickle for messages."""
    array: np.ndarray | None = None
    """Array in memory, if it has no file of its own."""

    def open(self) -> AbstractContextManager[Any]:
        return opened(self.name) if self.array is None else nullcontext(self.array)

    @property
    def size(self) -> int:
        return os.path.getsize(self.name) if self.array is None else self.array.nbytes

    @property
    def state(self) -> str:
        """Key that changes with the file."""
        if self.array is not None:
            return self.content
        # Not the content: unchanged files of many gigabytes would be read again in every run.
        stat = os.stat(self.name)
        return f"{self.name} {stat.st_size} {stat.st_mtime_ns}"

    @cached_property
    def content(self) -> str:
        """Fingerprint of the content, 16 hex digits."""
        if self.array is None:
            return fingerprint(self.name)
        # `digest` takes text; latin1 has a character for each byte.
        return digest(f"{self.array.shape}", np.ascontiguousarray(self.array).tobytes().decode("latin1"))


class Features(Protocol):
    """Index of features: a folder, or the content of a pickle."""

    folder: Path
    importer: Importer
    """The importer that reads the rows."""

    def __len__(self) -> int: ...

    def locate(self, row: ManifestRow) -> MatchedMedia | None: ...

    def files(self, base: str) -> dict[str, FeatureFile]: ...

    def close(self) -> None: ...


def _base(stem: str) -> str:
    """'a/v_2d' -> 'v'"""
    name = stem.rpartition("/")[2]
    return next((name.removesuffix(kind) for kind in _KINDS if name.endswith(kind)), name)


class FeatureIndex(MediaIndex):
    """All files of features below a folder, by the names of their clips or videos."""

    def __init__(self, folder: Path, importer: Importer, *, skip: str | Path = ""):
        self.importer = importer
        super().__init__(folder, ("features",), lambda stem: importer.key(_base(stem)), skip=skip)

    def _candidates(self, key: str) -> Iterator[tuple[int, str, str]]:
        """Names of features with this key, of any kind."""
        for base in {_base(os.path.splitext(name)[0]) for name in self.find(key)}:
            yield 0, base, base

    def files(self, base: str) -> dict[str, FeatureFile]:
        """Files by kind of features, for a name from `locate`."""
        found: dict[str, FeatureFile] = {}
        for name in self.find(self.importer.key(base)):
            stem = os.path.splitext(name)[0]
            if _base(stem) == base:
                file = FeatureFile(str(self.folder / unprintable(name)))
                # Of files of one name in two folders the first in order counts.
                found.setdefault(stem.rpartition("/")[2].removeprefix(base), file)
        return found

    def seconds(self, base: str) -> int:
        """Duration of a video's features, by the first readable kind; 0 without one."""
        files = self.files(base)
        # The first kind that can be read: a damaged file is reported when its rows are.
        for stream in STREAMS:
            if stream.suffix in files:
                try:
                    with files[stream.suffix].open() as array:
                        return int(-(-array.shape[1 if stream.mel else 0] // stream.rate))
                except SeehearError:
                    continue
        return 0


@dataclass
class VideoFeatures:
    """Features of the rows of one name."""

    vectors: dict[str, list[np.ndarray | None]] = field(default_factory=dict)
    """Vectors by encoder, one per row; None for a row without features."""
    duration: float = 0.0
    bad: dict[str, str] = field(default_factory=dict)
    """Reason of a failure, by file, or by clip and encoder."""

    def has(self, modality: str, row: int) -> bool:
        streams = [s for s in STREAMS if s.modality == modality]
        return any(self.vectors[s.encoder][row] is not None for s in streams if s.encoder in self.vectors)


def read_features(
    files: dict[str, FeatureFile], rows: Sequence[ManifestRow], wanted: Importer, mel_frames: int
) -> VideoFeatures:
    """Features of the rows of one name; a damaged file contributes only its reason."""
    found = VideoFeatures()
    with ExitStack() as stack:
        arrays: dict[str, Any] = {}
        for kind, file in files.items():
            try:
                arrays[kind] = stack.enter_context(file.open())
            except SeehearError as error:
                found.bad[file.name] = str(error)
        here = [s for s in STREAMS if s.suffix in arrays]
        lengths = {s.suffix: arrays[s.suffix].shape[1 if s.mel else 0] / s.rate for s in here}
        found.duration = max(lengths.values(), default=0.0)
        for stream in here:
            path, array = files[stream.suffix].name, arrays[stream.suffix]
            try:
                if stream.of and array.shape[1] != stream.of:
                    raise SeehearError(
                        f"has {array.shape[1]} columns, expected {stream.of}; or name the file by what is in it (_2d)"
                    )
                vectors = [_vector(stream, array, row, wanted, mel_frames, found.duration) for row in rows]
            except Exception as error:
                # A damaged file may fail only when its rows are read, with any error.
                reason = str(error).splitlines()[0] if str(error) else repr(error)
                found.bad[path] = reason if path in reason else f"{path}: {reason}"
                continue
            found.vectors[stream.encoder] = [
                _finite(vector, f"{row.id} ({stream.encoder})", found)
                for vector, row in zip(vectors, rows, strict=True)
            ]
    return found


def _vector(
    stream: Stream, array: Any, row: ManifestRow, wanted: Importer, mel_frames: int, duration: float
) -> np.ndarray | None:
    whole = row.end is None
    start, end = (0.0, duration) if whole else (row.start or 0.0, row.end or 0.0)
    if stream.mel:
        if wanted.seconds:
            start, end = max(0.0, start - _SOUND_AROUND), min(duration, start + _SOUND_AROUND)
        # A frame stands at the centre of its window: without a tenth of a second more, a whole file would lose its
        # last.
        return mel_window(array, start, end + (0.1 if whole else 0.0), mel_frames)
    if whole:
        return pooled(array, slice(None), stream.columns)
    if wanted.seconds:
        seconds = int(row.meta["seconds"])
        return pooled(array, rows_of_second(int(start), seconds, len(array)), stream.columns)
    return pooled(array, rows_of(start, end, stream.rate), stream.columns)


def _finite(vector: np.ndarray | None, what: str, found: VideoFeatures) -> np.ndarray | None:
    """The vector in float16; None, with the reason in `found.bad`, if it is not finite there."""
    if vector is None:
        return None
    if not np.isfinite(vector).all():
        found.bad[what] = "its features are not finite"
        return None
    if np.abs(vector).max(initial=0.0) > _LARGEST:
        found.bad[what] = f"its features are beyond float16 ({np.abs(vector).max():.3g})"
        return None
    return vector.astype(np.float16)
