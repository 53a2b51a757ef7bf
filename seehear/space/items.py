"""Inputs of `SharedSpace.encode`, by the conventions of sentence-transformers: words, media by path or URL, PIL images,
arrays, and dictionaries of them.

    "a dog barks"                                    words
    "dog.jpg", Path("bark.wav"), "https://.../a.mp4" media, by the suffix; a path is one only if the file exists
    PIL.Image, array (H, W, 3)                       a picture
    {"array": x, "sampling_rate": 16000}             sound
    array (T, 3, H, W), [image, image]               a film
    {"video": ..., "start": 3.0, "end": 8.0}         a part of a file
    {"image": ..., "text": ...}                      several modalities: the mean of their vectors
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np

from seehear.encoders.base import Sample
from seehear.errors import SeehearError, unknown
from seehear.library.scan import AUDIO, PICTURES, VIDEO
from seehear.media.encoding import write_picture, write_sound, write_video
from seehear.types import Modality

Item = Any
"""Input of one vector: see above."""

KINDS: dict[str, Modality] = {"text": "text", "audio": "audio", "video": "video", "image": "video"}
_SUFFIXES = {"video": VIDEO, "audio": AUDIO, "image": PICTURES}
_KIND_OF = {f".{suffix}": kind for kind, names in _SUFFIXES.items() for suffix in names.split()}
_WRITE: dict[str, Callable[[Any, Path], str]] = {"image": write_picture, "audio": write_sound, "video": write_video}
_DOWNLOAD_SECONDS = 60.0


def is_one(inputs: Any) -> bool:
    """True for a single item, False for a list or another iterable of items."""
    if isinstance(inputs, np.ndarray):
        # An array of strings or objects is a list of items; one of numbers is a picture or a sound.
        return inputs.ndim == 0 or inputs.dtype.kind not in "UO"
    # Images of PIL and tensors by their attributes: neither package is imported to tell them.
    single = isinstance(inputs, str | Mapping | os.PathLike) or hasattr(inputs, "convert") or hasattr(inputs, "ndim")
    return single or not isinstance(inputs, Iterable)


class Items:
    """Samples of items. Media in memory and from URLs are stored in a temporary folder until this is closed."""

    def __init__(self, encoders: Mapping[Modality, Any]):
        """`encoders`: encoders of the space by modality."""
        self._encoders = encoders
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._written = 0

    def __enter__(self) -> Items:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def samples(self, item: Item, name: str, before: str = "") -> dict[Modality, Sample]:
        """Sample for the encoders of each modality. `name`: name of the item in errors. `before`: prefix of texts."""
        given = self._by_kind(item, name)
        start, end = given.pop("start", None), given.pop("end", None)
        samples: dict[Modality, Sample] = {}
        for kind, value in given.items():
            if kind not in KINDS:
                raise unknown(f"key of {name or 'the item'}", kind, [*KINDS, "start", "end"])
            m = KINDS[kind]
            if m not in self._encoders:
                raise SeehearError(f"{_where(name)}this space has no {m} (it has {', '.join(self._encoders)})")
            if m in samples:
                raise SeehearError(f"{name or 'the item'} has both an image and a video: give one")
            if kind == "text":
                if not isinstance(value, str):
                    raise SeehearError(f"{_where(name)}text must be a string, not {type(value).__name__}")
                samples[m] = Sample(text=before + value)
            else:
                path = self._file(kind, value, name)
                # The whole file: only its header is read.
                if end is None and kind != "image":
                    from seehear.media.files import probe

                    end = probe(path).duration
                samples[m] = Sample(path=path, start=float(start or 0.0), end=float(end or 0.0))
        if not samples:
            raise SeehearError(f"{name or 'the item'} is empty: give {', '.join(KINDS)}")
        return samples

    def _by_kind(self, item: Item, name: str) -> dict[str, Any]:
        """Values of an item by kind, with its "start" and "end" if given."""
        if isinstance(item, str):
            suffix = os.path.splitext(item)[1]
            if _is_url(item):
                with suppress(ValueError):
                    # Words that begin like a URL.
                    suffix = os.path.splitext(urlparse(item).path)[1]
            # Words may look like a file name: a path is one only where the file exists.
            kind = _KIND_OF.get(suffix.lower()) if _is_url(item) or os.path.isfile(item) else None
            return {kind if kind and KINDS[kind] in self._encoders else "text": item}
        if isinstance(item, os.PathLike):
            kind = _KIND_OF.get(Path(item).suffix.lower())
            if kind is None:
                raise SeehearError(f"{_where(name)}{os.fspath(item)} is not named as a film, sound or picture")
            return {kind: item}
        if isinstance(item, Mapping):
            if "array" in item:
                return {"audio" if "sampling_rate" in item else "video": item}
            return dict(item)
        # A list of pictures is a film.
        if isinstance(item, Sequence):
            return {"video": item}
        if hasattr(item, "convert"):
            # A picture of PIL.
            return {"image": item}
        kind = {1: "audio", 2: "audio", 3: "image", 4: "video"}.get(getattr(item, "ndim", 0))
        if kind is None:
            raise SeehearError(f"{_where(name)}{type(item).__name__} is no text, film, sound or picture")
        return {kind: item}

    def _file(self, kind: str, value: Any, name: str) -> str:
        """Path of a file that holds the value."""
        if isinstance(value, str) and _is_url(value):
            return self._download(value, name)
        if isinstance(value, str | os.PathLike):
            return os.fspath(value)
        if isinstance(value, Mapping) and "array" not in value and os.path.isfile(value.get("path") or ""):
            return str(value["path"])
            # An undecoded row of Hugging Face datasets.
        try:
            return _WRITE[kind](value, self._path())
        except SeehearError as error:
            raise SeehearError(f"{_where(name)}{error}") from error

    def _path(self) -> Path:
        if self._folder is None:
            # Windows keeps a file that is still open: what cannot be removed there is left to the system.
            self._folder = tempfile.TemporaryDirectory(prefix="seehear-items-", ignore_cleanup_errors=True)
        self._written += 1
        return Path(self._folder.name) / str(self._written)

    def _download(self, url: str, name: str) -> str:
        import shutil
        from urllib.error import URLError
        from urllib.request import urlopen

        path = self._path().with_suffix(Path(urlparse(url).path).suffix)
        try:
            with urlopen(url, timeout=_DOWNLOAD_SECONDS) as answer, path.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except (URLError, OSError, ValueError) as error:
            raise SeehearError(f"{_where(name)}{url} cannot be read: {error}") from error
        return str(path)


def _where(name: str) -> str:
    """Prefix of an error, 'item 3: '; '' for a single item."""
    return f"{name}: " if name else ""


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://")) and " " not in text
