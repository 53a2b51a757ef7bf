"""Files of word vectors: word2vec's two formats, .npz, .safetensors. Nothing is unpickled.

    .bin          'WORDS WIDTH' and a line feed; then of each word its bytes, a space, WIDTH float32, maybe a line feed
    .txt, .vec    a line a word: the word and its numbers, single spaces between; 'WORDS WIDTH' may be the first line
    .npz          arrays `words` (N,) of text and `vectors` (N, D)
    .safetensors  a tensor `vectors` (N, D), and `words` in the metadata, a JSON list

The first two are memory-mapped, with an index of 16 bytes a word, which takes one pass and is cached for large files.
The first vector of a repeated word counts.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from seehear.encoders.weights import cache_folder, remembered_hash, write_cache
from seehear.errors import SeehearError
from seehear.npz import open_npz
from seehear.types import Float

# Bytes of a file whose index is worth keeping.
LARGE = 2**26
# Bytes.
_LONGEST_WORD, _LONGEST_LINE = 2000, 2**20
# Bounded numbers of digits: the first line of a file that is no table may be anything.
_HEADER = re.compile(rb"\s*(\d{1,12})[ \t]+(\d{1,6})[ \t]*\r?\n")


class WordFile(ABC):
    width: int

    @abstractmethod
    def find(self, word: str) -> np.ndarray | None:
        """(D,), or None for a word that is not there."""

    @abstractmethod
    def in_order(self) -> Iterator[str]:
        """Words in the order of the file, mostly by their frequency."""

    def knows(self, word: str) -> bool:
        return self.find(word) is not None

    def vectors(self, words: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """(N, D) float32 of words that the file has."""
        found = np.zeros((len(words), self.width), np.float32)
        for row, word in zip(found, words, strict=True):
            row[:] = self.find(word)
        return found


def open_word_file(path: Path) -> WordFile:
    """The table of a file, by its suffix. Raises `SeehearError` for an unknown one, or a damaged file."""
    kinds: dict[str, Callable[[Path], WordFile]] = {
        ".bin": _BinaryFile,
        ".txt": _TextFile,
        ".vec": _TextFile,
        ".npz": _numpy_file,
        ".safetensors": _tensor_file,
    }
    if not path.is_file():
        raise SeehearError(f"no such file of word vectors: {path}")
    if path.suffix.lower() not in kinds:
        raise SeehearError(f"{path}: word vectors come as {', '.join(kinds)}; unpack or convert it")
    return kinds[path.suffix.lower()](path)


# -- word2vec's formats ------------------------------------------------------------------------------------------------


class _MappedFile(WordFile):
    """A file in memory only where it is read."""

    def __init__(self, path: Path):
        self.path = path
        with open(path, "rb") as file:
            # An empty file cannot be mapped.
            if not path.stat().st_size:
                raise SeehearError(f"{path} is empty")
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.words, self.width, self._begin = self._header()
        if self.words == 0 or not 1 <= self.width <= 10_000:
            raise SeehearError(
                f"{path} holds no word vectors: by its first line it has {self.words} words of {self.width} numbers"
            )

    @abstractmethod
    def _header(self) -> tuple[int | None, int, int]:
        """(words or None, width, where the first begins)"""

    @abstractmethod
    def _scan(self) -> Iterator[tuple[bytes, int]]:
        """Every word and where its record begins, in order; raises `SeehearError` where the file does not hold what it
        says."""

    @abstractmethod
    def _at(self, place: int, word: bytes) -> np.ndarray | None:
        """The vector of the record there, if it is the word's."""

    def find(self, word: str) -> np.ndarray | None:
        name = word.encode()
        hashes, places = self._index
        number = np.frombuffer(_hash(name), "<u8")[0]
        for i in range(int(np.searchsorted(hashes, number)), len(hashes)):
            if hashes[i] != number:
                return None
            # Two words may share a hash: the record itself decides.
            if (vector := self._at(int(places[i]), name)) is not None:
                if not np.isfinite(vector).all():
                    raise SeehearError(f"{self.path}: the vector of {word!r} has numbers that are not finite")
                return vector
        return None

    def in_order(self) -> Iterator[str]:
        return (word.decode(errors="replace") for word, _ in self._scan())

    @cached_property
    def _index(self) -> np.ndarray:
        """(2, N) uint64: hashes of the words, rising, and where each record begins; of equal words the first first."""
        if len(self._bytes) < LARGE:
            return self._indexed()
        kept = cache_folder() / "words" / f"{remembered_hash(self.path)[:32]}.npy"
        try:
            # Mapped: a look-up reads a few pages of it.
            index = np.load(kept, mmap_mode="r", allow_pickle=False)
            if index.ndim == 2 and len(index) == 2 and index.dtype == np.uint64:
                return index
        # A kept index that is missing or damaged is made anew.
        except (OSError, ValueError):
            pass
        index, content = self._indexed(), io.BytesIO()
        np.save(content, index)
        write_cache(kept, content.getbuffer())
        return index

    def _indexed(self) -> np.ndarray:
        hashes, places = bytearray(), []
        for word, place in self._scan():
            hashes += _hash(word)
            places.append(place)
        index = np.stack([np.frombuffer(hashes, "<u8"), np.array(places, dtype=np.uint64)])
        # Stable: of a repeated word the first record stays first.
        return index[:, np.argsort(index[0], kind="stable")]

    def _said(self) -> tuple[int, int, int] | None:
        """(words, width, end of the line) of a first line 'WORDS WIDTH'; None without one."""
        said = _HEADER.match(self._bytes[:100])
        return (int(said[1]), int(said[2]), said.end()) if said else None


class _BinaryFile(_MappedFile):
    """GoogleNews-vectors-negative300.bin and its kind."""

    def _header(self) -> tuple[int | None, int, int]:
        said = self._said()
        if said is None:
            raise SeehearError(f"{self.path} is no binary word2vec file: its first line must be 'WORDS WIDTH'")
        words, width, begin = said
        # A word has a byte at least, and a space behind it.
        if len(self._bytes) - begin < (least := words * (4 * width + 2)):
            raise SeehearError(
                f"{self.path} is cut, or no binary word2vec file: {words:,} words of {width:,} numbers need {least:,} "
                f"bytes, it has {len(self._bytes) - begin:,}"
            )
        return said

    def _scan(self) -> Iterator[tuple[bytes, int]]:
        data, at, size = self._bytes, self._begin, 4 * self.width
        for number in range(self.words or 0):
            while data[at : at + 1] == b"\n":
                at += 1
            space = data.find(b" ", at, at + _LONGEST_WORD)
            if space < 0 or space + 1 + size > len(data):
                raise SeehearError(
                    f"{self.path} is cut, or its first line wrong: it ends, or makes no sense, in word {number + 1:,} "
                    f"of {self.words:,}"
                )
            yield data[at:space], at
            at = space + 1 + size
        if data[at : at + _LONGEST_WORD].strip(b"\n"):
            raise SeehearError(f"{self.path} goes on behind the {self.words:,} words that its first line says")

    def _at(self, place: int, word: bytes) -> np.ndarray | None:
        begin = place + len(word) + 1
        if self._bytes[place:begin] != word + b" ":
            return None
        return np.frombuffer(self._bytes[begin : begin + 4 * self.width], "<f4").astype(np.float32)


class _TextFile(_MappedFile):
    """word2vec, fastText and GloVe as text."""

    def _header(self) -> tuple[int | None, int, int]:
        if said := self._said():
            return said
        return None, len(self._line(0).split(b" ")) - 1, 0

    def _line(self, at: int) -> bytes:
        return self._bytes[at : self._end_of_line(at)].rstrip()

    def _end_of_line(self, at: int) -> int:
        end = self._bytes.find(b"\n", at, at + _LONGEST_LINE)
        if end < 0 and len(self._bytes) > at + _LONGEST_LINE:
            raise SeehearError(f"{self.path} is no text file of word vectors: a line goes on for more than a megabyte")
        return end if end >= 0 else len(self._bytes)

    def _scan(self) -> Iterator[tuple[bytes, int]]:
        # Lines are counted from the first of the file, which may be 'WORDS WIDTH'.
        at, found, number = self._begin, 0, int(self._begin > 0)
        while at < len(self._bytes):
            end = self._end_of_line(at)
            line, number = self._bytes[at:end].rstrip(), number + 1
            if line:
                if (numbers := line.count(b" ")) < self.width:
                    raise SeehearError(
                        f"{self.path}:{number} has {numbers} numbers, not {self.width}: is the file cut?"
                    )
                yield line[: line.find(b" ")], at
                found += 1
            at = end + 1
        if self.words is not None and found != self.words:
            raise SeehearError(f"{self.path} says {self.words:,} words in its first line and has {found:,}")

    def _at(self, place: int, word: bytes) -> np.ndarray | None:
        fields = self._line(place).split(b" ")
        # More fields: GloVe has words with spaces.
        if fields[0] != word or len(fields) != self.width + 1:
            return None
        try:
            return np.array([float(field) for field in fields[1:]], np.float32)
        except ValueError as error:
            raise SeehearError(
                f"{self.path}: the vector of {word.decode()!r} is no list of numbers ({error})"
            ) from error


def _hash(word: bytes) -> bytes:
    return hashlib.blake2b(word, digest_size=8).digest()


# -- arrays ------------------------------------------------------------------------------------------------------------


class _ArrayFile(WordFile):
    """Words and the array of their vectors; `row` reads one."""

    def __init__(self, path: Path, words: Sequence[str], shape: Sequence[int], row: Callable[[int], Any]):
        if len(shape) != 2 or shape[0] != len(words) or not words:
            raise SeehearError(f"{path}: {len(words):,} words need `vectors` of as many rows; got {tuple(shape)}")
        self.width, self._row, self._number = int(shape[1]), row, dict[str, int]()
        for number, word in enumerate(words):
            # Of a repeated word the first place stays.
            self._number.setdefault(word, number)

    def find(self, word: str) -> np.ndarray | None:
        number = self._number.get(word)
        return None if number is None else np.asarray(self._row(number), np.float32)

    def knows(self, word: str) -> bool:
        return word in self._number

    def in_order(self) -> Iterator[str]:
        return iter(self._number)


def _numpy_file(path: Path) -> _ArrayFile:
    try:
        with open_npz(path) as arrays:
            words, vectors = arrays["words"], arrays["vectors"]
    # Zip, zlib and numpy each have errors of their own.
    except Exception as error:
        raise SeehearError(f"{path} is no .npz with `words` and `vectors`: {str(error).splitlines()[0]}") from error
    # Text only: an array of objects would have to be unpickled.
    if words.dtype.kind != "U" or words.ndim != 1 or vectors.dtype.kind != "f":
        raise SeehearError(
            f"{path}: `words` must be a row of text, `vectors` real numbers; got {words.dtype}, {vectors.dtype}"
        )
    return _ArrayFile(path, words.tolist(), vectors.shape, vectors.__getitem__)


def _tensor_file(path: Path) -> _ArrayFile:
    from safetensors import safe_open

    try:
        file = safe_open(path, framework="pt")
        words, vectors = json.loads((file.metadata() or {})["words"]), file.get_slice("vectors")
    # An error of its own kind, of JSON, or a key that is missing.
    except Exception as error:
        why = str(error).splitlines()[0]
        raise SeehearError(f"{path} is no .safetensors with `vectors` and, as metadata, `words`: {why}") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise SeehearError(f"{path}: the metadata `words` must be a JSON list of text")
    # A slice of one row: only its bytes are read.
    return _ArrayFile(path, words, vectors.get_shape(), lambda row: vectors[row : row + 1][0].float().numpy())
