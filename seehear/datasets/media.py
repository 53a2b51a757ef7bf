"""Index of the media files below a folder, and the file of an item, in 16 bytes of memory a file."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from seehear.datasets.base import DatasetItem, after_youtube_id
from seehear.library.records import printable
from seehear.library.scan import AUDIO, PICTURES, VIDEO

_SUFFIXES = {"video": VIDEO, "audio": AUDIO, "image": PICTURES, "features": "npy npz h5 hdf5"}
# Start and end of a cut file in its name, in seconds or milliseconds: '_000030', '_30.000_40.000', '_30000_40000'.
_TIMES = re.compile(r"[_.-](\d+(?:\.\d+)?)(?:[_-]\d+(?:\.\d+)?)?")


class MediaIndex:
    """Media of some kinds below a folder, by the `keys` of their paths. Names lie in a temporary file."""

    def __init__(
        self, folder: Path, kinds: Sequence[str], keys: Callable[[str], tuple[str, ...]], *, skip: str | Path = ""
    ):
        self.folder, self._keys = folder, keys
        self._kind = {f".{suffix}": i for i, kind in enumerate(kinds) for suffix in _SUFFIXES[kind].split()}
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._count = 0
        # Two integers a file in memory; names of millions of files stay in the temporary file.
        hashes, places = array("q"), array("q")
        for name in _walk(folder, str(Path(skip).resolve()) if skip else ""):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() not in self._kind:
                continue
            self._count += 1
            for key in keys(stem):
                hashes.append(_hash(key))
                places.append(self._file.tell())
            self._file.write(name.encode() + b"\n")
        self._file.flush()
        unsorted = np.asarray(hashes, dtype=np.int64)
        # Stable: files with one key stay in the order of the walk.
        order = np.argsort(unsorted, kind="stable")
        self._hashes, self._places = unsorted[order], np.asarray(places, dtype=np.int64)[order]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        """Paths below the folder, in order."""
        place = 0
        while True:
            # The place is kept here: between two names `find` moves the file's own.
            self._file.seek(place)
            line = self._file.readline()
            if not line:
                return
            place += len(line)
            yield line.decode().rstrip("\n")

    def find(self, key: str) -> list[str]:
        """Paths of the files with this key."""
        hashed, names = _hash(key), []
        at = int(self._hashes.searchsorted(hashed))
        while at < len(self._hashes) and self._hashes[at] == hashed:
            names.append(self._name(int(self._places[at])))
            at += 1
        # Different keys may share a hash.
        return [name for name in names if _same(key, self._keys(os.path.splitext(name)[0]))]

    def locate(self, item: DatasetItem) -> MatchedMedia | None:
        """The media file of an item: the first kind is preferred, then a file that is cut to the item."""
        for key in item.keys:
            fits = []
            for rank, name, stem in self._candidates(key):
                times = _TIMES.fullmatch(after_youtube_id(stem)) if item.end is not None else None
                if times is None or item.start is None:
                    fits.append((rank, True, name))
                # A file cut elsewhere out of the same recording does not hold the item.
                elif min(abs(float(times[1]) - item.start), abs(float(times[1]) - 1000 * item.start)) < 1:
                    fits.append((rank, False, name))
            if fits:
                _, whole, name = min(fits)
                return MatchedMedia(name=name, cut_out=not whole)
        return None

    def _candidates(self, key: str) -> Iterator[tuple[int, str, str]]:
        """(position of its kind, name, name without suffix) of each file with this key."""
        for name in self.find(key):
            stem, suffix = os.path.splitext(name)
            yield self._kind[suffix.lower()], name, stem

    def close(self) -> None:
        self._file.close()

    def _name(self, place: int) -> str:
        self._file.seek(place)
        return self._file.readline().decode().rstrip("\n")


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
            # The file of names has one a line.
            if not name.startswith(".") and "\n" not in name:
                yield printable(name if inside == "." else f"{inside}/{name}")


@dataclass(frozen=True, kw_only=True)
class MatchedMedia:
    name: str
    cut_out: bool
    """True if the file is cut to the item, by its name."""


def _same(key: str, keys: tuple[str, ...]) -> bool:
    # macOS stores file names decomposed (NFD), annotation files have them composed.
    return unicodedata.normalize("NFC", key) in (unicodedata.normalize("NFC", k) for k in keys)


def _hash(key: str) -> int:
    # Names that are no UTF-8 hold surrogates.
    normal = unicodedata.normalize("NFC", key).encode("utf-8", "surrogatepass")
    # Eight bytes in place of a name; `find` compares the names themselves.
    return int.from_bytes(hashlib.blake2b(normal, digest_size=8).digest(), "big", signed=True)
