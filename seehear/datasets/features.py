"""Precomputed features, one array per video: the files of a row below a folder, and its part of their arrays.

Files are named by a clip or video X and the kind of features: X_2d, X_3d and X_spec (the layout of HowTo100M and of the
sets evaluated with it), or X alone (CrossTask, three kinds side by side).

    video   (T, D), `rate` rows a second; a clip is the maximum of rows int(start rate) to int(end rate), inclusive
    sound   (40, T) log-mel in decibels, 100 frames a second at 16 kHz; a clip is its frames, padded to a fixed number

A clip without rows has no vector: it is missing, never zeros.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seehear.datasets.base import Importer, MediaIndex
from seehear.errors import SeehearError, require
from seehear.library.manifest import ManifestRow
from seehear.library.records import digest, fingerprint, unprintable
from seehear.media.container import reason
from seehear.npz import check_size, mapped, open_npz

if TYPE_CHECKING:
    from seehear.types import Modality

MEL_BANDS = 40
_RATE, _HOP, _WINDOW = 16_000, 160, 400
# Names of the array in a file that may hold several: those that the sets use, and NumPy's own.
_NAMES = ("features", "arr_0")


@contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """The array of a .npy, .npz or .h5 file, (T, D) or (40, T); only its slices are read, except from a packed .npz.
    Raises `SeehearError` for a damaged file and for one without an array of two dimensions."""
    with ExitStack() as stack:
        try:
            array = _array(path, stack)
        except SeehearError:
            raise
        except Exception as error:
            # NumPy, zipfile and h5py each raise errors of their own.
            raise SeehearError(f"{path}: is no file of features ({reason(error)})") from error
        yield array


def _array(path: str | Path, stack: ExitStack) -> Any:
    kind = os.path.splitext(path)[1].lower()
    if kind == ".npy":
        # Without pickles, which can run code.
        return _checked(path, np.load(path, mmap_mode="r", allow_pickle=False))
    if kind not in (".h5", ".hdf5"):
        arrays = stack.enter_context(open_npz(path))
        name = _name(path, arrays.files)
        # An array that is stored unpacked is mapped: only the rows of a clip are read.
        array = mapped(path, name)
        return _checked(path, arrays[name] if array is None else array)
    h5py = require("h5py", "features")
    file = stack.enter_context(h5py.File(path, "r"))
    name = _name(path, list(file))
    # Links and external storage are refused: they could name any file of the machine.
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise SeehearError(f"{path}: {name} is a link, which is not followed; copy the array into the file")
    array = file[name]
    if isinstance(array, h5py.Dataset):
        if array.is_virtual or array.external:
            what = "parts of other files" if array.is_virtual else "external storage"
            raise SeehearError(f"{path}: {name} is {what}, which is not read; copy the array into the file")
        # A chunk is read whole, however few of its rows are asked for.
        numbers = max(math.prod(array.shape), math.prod(array.chunks or ()))
        check_size(numbers * array.dtype.itemsize, os.path.getsize(path))
    return _checked(path, array)


def _name(path: str | Path, names: list[str]) -> str:
    known = [name for name in _NAMES if name in names] or (names if len(names) == 1 else [])
    if not known:
        raise SeehearError(f"{path}: holds {', '.join(names) or 'nothing'}, expected an array {' or '.join(_NAMES)}")
    return known[0]


def _checked(path: str | Path, array: Any) -> Any:
    shape, kind = getattr(array, "shape", ()), getattr(getattr(array, "dtype", None), "kind", "?")
    if len(shape) != 2 or kind not in "fiu":
        raise SeehearError(f"{path}: expected numbers in two dimensions; got {shape} of {getattr(array, 'dtype', '?')}")
    return array


def rows_of(start: float, end: float, rate: float) -> slice:
    """Rows from `start` to `end` in seconds, inclusive."""
    return slice(int(max(start, 0.0) * rate), int(end * rate) + 1)


def rows_of_second(second: int, seconds: int, rows: int) -> slice:
    """Rows of one second of a video whose `seconds` share the rows evenly; neighbours may share a row."""
    return slice(second * rows // seconds, -(-(second + 1) * rows // seconds))


def pooled(x_TD: Any, rows: slice, columns: slice = slice(None)) -> np.ndarray | None:
    """(D,) float32 maximum over rows; None without rows."""
    # Rows first: of a mapped file only these are read, of a .h5 only their chunks.
    part_TD = np.asarray(x_TD[rows])[:, columns]
    return part_TD.max(axis=0).astype(np.float32) if len(part_TD) else None


def mel_frame(seconds: float) -> int:
    """Frame whose window is centred on a time, at least 0."""
    # The official code gives frame -2 for time 0, and such clips then have no sound at all.
    return max(0, (int(_RATE * seconds) - _WINDOW // 2) // _HOP)


def mel_window(mel_FT: Any, start: float, end: float, frames: int) -> np.ndarray | None:
    """(40 * frames,) float16, band by band: the first `frames` frames from `start` to `end`, then padding far below any
    real level; None without frames."""
    if mel_FT.shape[0] != MEL_BANDS:
        raise SeehearError(f"expected {MEL_BANDS} mel bands by frames; got {tuple(mel_FT.shape)}")
    # Not at the head of the file: features of pictures are read without torch.
    from seehear.nn.davenet import PADDING_DB

    first = mel_frame(start)
    part_FS = np.asarray(mel_FT[:, first : min(mel_frame(end), first + frames)], np.float16)
    if not part_FS.shape[1]:
        return None
    # The official code pads with 0 dB, which is the loudest level.
    window_FS = np.full((MEL_BANDS, frames), PADDING_DB, np.float16)
    window_FS[:, : part_FS.shape[1]] = part_FS
    return window_FS.reshape(-1)


# ----------------------------------------------------------------------------------------------------------------------
# Files below a folder, and their rows as latents of clips.

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


def _base(stem: str) -> str:
    """'a/v_2d' -> 'v'"""
    name = stem.rpartition("/")[2]
    return next((name.removesuffix(kind) for kind in _KINDS if name.endswith(kind)), name)


class FeatureIndex(MediaIndex):
    """All files of features below a folder, by the names of their clips or videos."""

    def _kinds(self) -> tuple[str, ...]:
        return ("features",)

    def _key(self, stem: str) -> str:
        return self.importer.key(_base(stem))

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
                why = reason(error)
                found.bad[path] = why if path in why else f"{path}: {why}"
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
