"""Precomputed features, one array per video: the part that belongs to a clip.

    video   (T, D), `rate` rows a second; a clip is the maximum of rows int(start rate) to int(end rate), inclusive
    sound   (40, T) log-mel in decibels, 100 frames a second at 16 kHz; a clip is its frames, padded to a fixed number

A clip without rows has no vector: it is missing, never zeros.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import SeehearError, require
from seehear.npz import check_size, mapped, open_npz

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
            raise SeehearError(f"{path}: is no file of features ({str(error).splitlines()[0] or error!r})") from error
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
