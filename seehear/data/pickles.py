"""Pickles of numbers, text, lists, dictionaries and NumPy arrays, and nothing else: reading one never runs its code.

A pickle is a program that may call any function by name. Here every name it can call is a stand-in of ours: arrays are
first kept as what the file says of them (shape, kind, bytes) and become arrays when all of it has been read. Any other
name is refused, with the name.
"""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import SeehearError

_KINDS = re.compile(r"[<>|=]?(?:[biuf][1248]|[SU]\d{1,6}|O8?)")
_BROKEN = (ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError, RecursionError)


def read_pickle(path: str | Path) -> Any:
    """What the file holds: dictionaries, lists, tuples, text, bytes, numbers and arrays of them.

    Raises `SeehearError` for anything else, by its name.
    """
    try:
        with open(path, "rb") as file:
            reader = _Reader(file, encoding="latin1")
            found = reader.load()
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
    """Not a subclass of what broken files raise."""


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
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    if kind.objects or math.prod(shape) * kind.dtype.itemsize != len(raw):
        raise ValueError(f"{len(raw)} bytes are no array of shape {shape}")
    return np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if order == "F" else "C")


class _Reader(pickle.Unpickler):
    """Names become stand-ins, each a fresh object that a file cannot change."""

    arrays = False

    def find_class(self, module: str, name: str) -> Any:
        plain = module.replace("numpy._core", "numpy.core")
        if (plain, name) not in _STAND_INS:
            raise _Refused(f"{module}.{name}")
        self.arrays = self.arrays or name == "_reconstruct"
        return _StandIn(_STAND_INS[plain, name])

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("a reference to something outside the file")


class _StandIn:
    """Calls one function of ours. Without attributes of its own, so the file cannot give it any."""

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


def _array(*_: Any) -> _Array:
    return _Array()


def _kind(text: Any, *_: Any) -> _Kind:
    if not isinstance(text, str) or not _KINDS.fullmatch(text):
        raise _Refused(f"a NumPy array of {text!r}")
    return _Kind(text)


def _scalar(kind: _Kind, data: Any = b"") -> Any:
    return _from_bytes(data, kind, (1,), "C")[0].item()


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


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return dict(pairs)


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy.core.numeric", "_frombuffer"): _from_bytes,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy", "dtype"): _kind,
    ("numpy", "ndarray"): _no_class,
    ("_codecs", "encode"): _bytes,
    ("builtins", "bytes"): _empty,
    ("__builtin__", "bytes"): _empty,
    ("collections", "OrderedDict"): _ordered,
}


def _resolved(value: Any, seen: dict[int, Any]) -> Any:
    """With every description of an array made into the array; lists and dictionaries are changed in place."""
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
        return tuple(_resolved(own, seen) for own in value)
    elif isinstance(value, _Kind | _StandIn):
        raise _Refused("a type by itself")
    return value
