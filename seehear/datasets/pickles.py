"""Pickles of numbers, text, lists, dictionaries and NumPy arrays only: reading one never runs its code.

A pickle is a program that may call any function by name. Here every allowed name is a stand-in of ours, and any other
name is refused. Arrays are first kept as descriptions (shape, kind, bytes) and built when the whole file has been read.
"""

from __future__ import annotations

import math
import mmap
import pickle
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from seehear.datasets.base import Importer, ImportOptions, Items, MatchedMedia, bad_row, new_row
from seehear.datasets.features import FeatureFile
from seehear.datasets.files import Files, captions
from seehear.errors import SeehearError
from seehear.library.manifest import ManifestRow

# Kinds of arrays that are read: numbers, text and objects, no records.
_KINDS = re.compile(r"[<>|=]?(?:[biuf][1248]|[SU]\d{1,6}|O8?)")
_BROKEN = (ValueError, TypeError, LookupError, AttributeError, EOFError, OverflowError, RecursionError, struct.error)
# Largest number of parts of a tuple, nested tuples counted at every occurrence.
# A few bytes can nest each tuple twice in the next: walking n of them would take 2^n steps.
_MAX_PARTS = 1_000_000


def read_pickle(path: str | Path) -> Any:
    """Content of the file: dictionaries, lists, tuples, text, bytes, numbers and arrays. Raises `SeehearError` with the
    name of anything else."""
    try:
        # A memory map never reads or allocates more than the file has, whatever sizes it claims.
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            # Python 2 wrote arrays as text: latin1 keeps each of its bytes.
            reader = _Reader(data, encoding="latin1")
            found = reader.load()
            # Without arrays there is nothing to resolve, and a walk over all captions takes a while.
            return _resolved(found, {}) if reader.arrays else found
    except OSError as error:
        raise SeehearError(f"{path}: cannot be read ({error.strerror})") from error
    except _Refused as error:
        raise SeehearError(
            f"{path}: holds {error}, and is not read: only numbers, text, lists, dictionaries and NumPy arrays are "
            "taken from a pickle, since it can run programs"
        ) from error
    except (pickle.UnpicklingError, MemoryError, UnicodeError, *_BROKEN) as error:
        raise SeehearError(f"{path}: is no whole pickle ({type(error).__name__}: {error})") from error


class _Refused(Exception):
    """Content that is not allowed; not a subclass of errors that broken files raise."""


class _Kind:
    """A NumPy dtype as the file describes it."""

    __slots__ = ("text",)

    def __init__(self, text: str):
        self.text = text

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, parts = state[1], state[2:5]
        if any(part is not None for part in parts):
            raise _Refused("a NumPy array of records")
        if order in ("<", ">") and self.text[0] not in "<>|=":
            self.text = order + self.text

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.text)

    @property
    def objects(self) -> bool:
        return "O" in self.text


class _Array:
    """A NumPy array as the file describes it."""

    __slots__ = ("kind", "rows", "shape", "transposed")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.kind, self.transposed, self.rows = state

    def made(self) -> np.ndarray | list[Any]:
        """The array; one of objects as a list."""
        if self.kind.objects:
            if len(self.shape) != 1 or not isinstance(self.rows, list):
                raise ValueError("an array of objects must have one dimension")
            return self.rows
        return _from_bytes(self.rows, self.kind, self.shape, "F" if self.transposed else "C")


def _from_bytes(data: Any, kind: _Kind, shape: tuple[int, ...], order: str) -> np.ndarray:
    # Python 2 wrote bytes as text.
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    # Checked before NumPy sees it: a claimed shape must not read beyond the bytes.
    if kind.objects or math.prod(shape) * kind.dtype.itemsize != len(raw):
        raise ValueError(f"{len(raw)} bytes are no array of shape {shape}")
    return np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if order == "F" else "C")


class _Reader(pickle._Unpickler):
    """Unpickler whose names are stand-ins, each a fresh object that a file cannot change."""

    # The Python unpickler: that in C allocates a table as long as the largest index in the file.

    arrays = False
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    stack: list[Any]

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        # Every tuple with its number of parts, by id; holding it keeps the id from being reused.
        self._parts: dict[int, tuple[Any, int]] = {}

    def find_class(self, module: str, name: str) -> Any:
        plain = module.replace("numpy._core", "numpy.core")
        if (plain, name) not in _STAND_INS:
            raise _Refused(f"{module}.{name}")
        self.arrays = self.arrays or name == "_reconstruct"
        return _StandIn(_STAND_INS[plain, name])

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("a reference to something outside the file")

    def count(self, made: tuple[Any, ...]) -> None:
        """Refuses a tuple with so many nested parts that walking or hashing it would not end."""
        parts = len(made) + sum(self._parts[id(item)][1] for item in made if isinstance(item, tuple))
        if parts > _MAX_PARTS:
            raise _Refused(f"tuples of more than {_MAX_PARTS:,} parts")
        self._parts[id(made)] = (made, parts)

    def load_bytearray8(self) -> None:
        """Reads a bytearray without first allocating the size that the file claims."""
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def _counted(load: Callable[[Any], None]) -> Callable[[Any], None]:
    def counted(reader: _Reader) -> None:
        load(reader)
        reader.count(reader.stack[-1])

    return counted


for _opcode in (pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3):
    # A copy of the dispatch table: the standard unpickler stays as it is.
    _Reader.dispatch[_opcode[0]] = _counted(_Reader.dispatch[_opcode[0]])


class _StandIn:
    """Callable that calls one function of ours; without attributes, so that the file cannot set any."""

    __slots__ = ("function",)

    function: Any

    def __init__(self, function: Any):
        object.__setattr__(self, "function", function)

    def __setattr__(self, name: str, value: Any) -> None:
        raise _Refused("a change of what a name means")

    def __setstate__(self, state: Any) -> None:
        raise _Refused("a change of what a name means")

    def __call__(self, *given: Any) -> Any:
        return self.function(*given)


def _kind(text: Any, *_: Any) -> _Kind:
    if not isinstance(text, str) or not _KINDS.fullmatch(text):
        raise _Refused(f"a NumPy array of {text!r}")
    return _Kind(text)


def _empty(*given: Any) -> bytes:
    if given:
        raise _Refused("bytes made in an unknown way")
    return b""


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise _Refused(f"text in the encoding {encoding!r}")
    return text.encode("latin1")


def _no_class(*_: Any) -> Any:
    raise _Refused("a NumPy array made in an unknown way")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy.core.numeric", "_frombuffer"): _from_bytes,
    ("numpy.core.multiarray", "scalar"): lambda kind, data=b"": _from_bytes(data, kind, (1,), "C")[0].item(),
    ("numpy", "dtype"): _kind,
    # Only the first argument of `_reconstruct`, never called by itself.
    ("numpy", "ndarray"): _no_class,
    ("_codecs", "encode"): _bytes,
    # Below protocol 3, empty bytes are a call of `bytes`, all others one of `_codecs.encode`.
    ("builtins", "bytes"): _empty,
    ("__builtin__", "bytes"): _empty,
    ("collections", "OrderedDict"): lambda pairs=(): dict(pairs),
}


def _resolved(value: Any, seen: dict[int, Any]) -> Any:
    """The value with arrays in place of their descriptions; lists and dictionaries are changed in place."""
    if isinstance(value, _Array):
        if id(value) not in seen:
            seen[id(value)] = made = value.made()
            return _resolved(made, seen) if isinstance(made, list) else made
        return seen[id(value)]
    if isinstance(value, list | dict) and id(value) not in seen:
        seen[id(value)] = value
        for key, own in enumerate(value) if isinstance(value, list) else list(value.items()):
            value[key] = _resolved(own, seen)
    elif isinstance(value, tuple):
        if id(value) not in seen:
            seen[id(value)] = tuple(_resolved(own, seen) for own in value)
        return seen[id(value)]
    elif isinstance(value, _Kind | _StandIn):
        raise _Refused("a type by itself")
    return value


# Clips and features in one pickle: a list of {"id", "2d", "3d", "audio", "caption" or "eval_caption"}, as the code of
# HowTo100M and its successors distribute YouCook2 and MSR-VTT.
PICKLES = (".pkl", ".pickle")
_SUFFIXES = {"_2d": ("2d", "2d_pooled"), "_3d": ("3d", "3d_pooled"), "_spec": ("audio",)}


def pickle_of(path: Path, options: ImportOptions) -> Any:
    """Content of a pickle; raises `SeehearError` unless the user allows pickles."""
    if not options.pickles:
        raise SeehearError(f"{path}: is a pickle; --pickles reads it, without running what it says")
    return read_pickle(path)


class PickledFeatures:
    """Index of the features of one pickle, all in memory."""

    def __init__(self, path: Path, wanted: Importer, options: ImportOptions):
        if not path.is_file():
            raise SeehearError(f"{path}: there is no such file")
        records = pickle_of(path, options)
        if not isinstance(records, list) or not all(isinstance(r, dict) and "id" in r for r in records):
            raise SeehearError(f"{path}: expected a list of {{id, 2d, 3d, audio, caption}}; got {_shown(records)}")
        self.path, self.folder, self._key = path, path.parent, wanted.key
        self.importer = replace(wanted, read=self._read)
        self._split = options.splits[0] if options.splits else "test"
        self._records: dict[str, dict[str, Any]] = {}
        for record in records:
            name = str(record["id"])
            self._records[name if name not in self._records else f"{name}#{len(self._records)}"] = record

    def __len__(self) -> int:
        return len(self._records)

    def locate(self, row: ManifestRow) -> MatchedMedia | None:
        return MatchedMedia(name=row.source, cut_out=True) if row.source in self._records else None

    def files(self, base: str) -> dict[str, FeatureFile]:
        record = self._records[base]
        found = {}
        for kind, names in _SUFFIXES.items():
            array = next((record[n] for n in names if isinstance(record.get(n), np.ndarray)), None)
            if array is not None:
                # Pooled features are a single row.
                found[kind] = FeatureFile(f"{self.path}: {base}{kind}", np.atleast_2d(array))
        return found

    def close(self) -> None:
        self._records = {}

    def _read(self, files: Files) -> Items:
        files.notes.append(f"clips and captions are those of {self.path.name}, all of the split {self._split!r}")
        for place, (name, record) in enumerate(self._records.items(), start=1):
            try:
                said = record.get("eval_caption") or record.get("caption") or ""
                texts = captions(*(said if isinstance(said, list | tuple) else [said]))
                own: dict[str, Any] = {
                    "split": self._split,
                    "group": self._key(name) or name,
                    "table": self.path.name,
                    "line": place,
                }
                yield new_row(source=name, id=name, texts=texts, **own)
            except SeehearError as error:
                yield bad_row(self.path.name, place, error)


def _shown(value: Any) -> str:
    inside = next(iter(value), None) if isinstance(value, list | dict) else None
    return type(value).__name__ + (f" of {type(inside).__name__}" if inside is not None else "")
