"""The library's runs, each opened when it is first asked for: its space, its vectors, the words it has encoded."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from seehear.data.library import Library
from seehear.data.workers import WorkerDied
from seehear.encoders.base import Sample
from seehear.errors import DecodeError, SeehearError
from seehear.search.index import indexes
from seehear.search.query import Searcher
from seehear.serve.decoders import Decoders
from seehear.serve.files import Folders
from seehear.serve.problems import Problem
from seehear.space import ModelGone, SharedSpace, model_of

_FRESH = 2.0  # seconds for which the library is not asked again what it holds
_TEXTS = 4096  # vectors of words that are kept


class GuardedSpace(SharedSpace):
    """A space whose media are decoded in another process: for files that anybody may have sent."""

    decoders: Decoders

    def prepare(self, preparation: Callable[[Sample], Any], sample: Sample) -> Any:
        return self.decoders(preparation, sample) if sample.path else preparation(sample)


@dataclass
class OpenRun:
    name: str
    changed: str
    """When its index was last written."""
    space: GuardedSpace
    searcher: Searcher
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while `texts` is looked up and filled."""
    texts: OrderedDict[str, np.ndarray] = field(default_factory=OrderedDict)

    def encode_text(self, text: str) -> np.ndarray:
        if "text" not in self.space.modalities:
            raise Problem(422, "no_text", f"run {self.name} has no words: ask with a sound or a picture")
        with self.lock:
            if text not in self.texts:
                self.texts[text] = self.space.encode_query([text])[0]
                while len(self.texts) > _TEXTS:
                    self.texts.popitem(last=False)
            return self.texts[text]

    def encode_file(self, path: str, kind: str, seconds: float, modalities: Sequence[str]) -> dict[str, np.ndarray]:
        """One vector for each modality of a file that this space knows."""
        known = [m for m in modalities if m in self.space.modalities]
        if not known:
            message = (
                f"run {self.name} compares {', '.join(self.space.modalities)}; this file has {', '.join(modalities)}"
            )
            raise Problem(422, "not_comparable", message)
        found = {}
        for m in known:
            key = "image" if kind == "picture" else m
            item: dict[str, Any] = {key: path, "start": 0.0, "end": 0.0 if kind == "picture" else seconds}
            try:
                found[m] = self.space.encode([item])[0]
            except (DecodeError, WorkerDied) as error:
                if m == known[-1] and not found:
                    raise broken(error, path) from error
        return found


class Runs:
    def __init__(self, uri: str, decoders: Decoders, *, media: tuple[Path, ...] = (), device: str = "auto"):
        self.uri, self.decoders, self.media, self.device = uri, decoders, media, device
        self._library, self._looked = Library.open(uri), -_FRESH
        self._about: dict[str, dict[str, Any]] = {}
        self._folders = Folders(self._library, {}, media)
        self._open: dict[str, OpenRun] = {}
        self._lock = threading.Lock()
        self._opening = threading.Lock()

    @property
    def library(self) -> Library:
        self.about()
        return self._library

    @property
    def folders(self) -> Folders:
        self.about()
        return self._folders

    def about(self) -> dict[str, dict[str, Any]]:
        """What the library says of its indexes, newest first. Read anew now and then: others write while this runs."""
        with self._lock:
            if time.monotonic() - self._looked > _FRESH:
                self._library = Library.open(self.uri)
                self._folders = Folders(self._library, self._library.roots(), self.media)
                found = indexes(self._library)
                self._about = dict(sorted(found.items(), key=lambda item: item[1].get("made", ""), reverse=True))
                self._looked = time.monotonic()
            return self._about

    def get(self, name: str = "") -> OpenRun:
        """A run by name, the newest when none is said; opened, or opened again when its index was made anew. Of one
        that only grew, the model stays loaded."""
        about = self.about()
        if not about:
            todo = f"seehear encode {self.uri}; seehear index {self.uri}"
            raise Problem(409, "no_run", "there is nothing to search with yet", todo)
        name = name or next(iter(about))
        if name not in about:
            raise Problem(404, "no_run_of_that_name", f"no run {name!r}", f"there are {', '.join(about)}")
        with self._opening:
            known = self._open.get(name)
            if known is None or known.space.fingerprint != about[name].get("maker"):
                known = self._open[name] = self._opened(name, about[name])
            elif known.changed != _changed(about[name]):
                known.searcher, known.changed = Searcher(self._library, known.space, name), _changed(about[name])
            if known.searcher.library is not self._library:
                known.searcher.renew(self._library)
            return known

    def _opened(self, name: str, about: Mapping[str, Any]) -> OpenRun:
        try:
            model = model_of(self.uri, name, about)
            space = cast(GuardedSpace, GuardedSpace.from_pretrained(model, device=self.device))
            space.decoders = self.decoders
            searcher = Searcher(self._library, space, name)
        except ModelGone as gone:
            raise Problem(409, "model_gone", gone.message, gone.todo) from gone
        except SeehearError as error:
            todo = f"seehear index {self.uri} RUN-FOLDER --name {name}"
            raise Problem(409, "run_unusable", str(error), todo) from error
        return OpenRun(name, _changed(about), space, searcher)


def _changed(about: Mapping[str, Any]) -> str:
    """When an index was last written."""
    return str(about.get("changed") or about.get("made", ""))


def broken(error: Exception, path: str | Path) -> Problem:
    """Refusal of a file that was sent, without the name it has here."""
    todo = "play it on your machine; if that works, convert it to MP4, WAV or JPEG"
    return Problem(422, "broken", f"no sound, picture or video that can be read: {cause(error, path)}", todo)


def cause(error: Exception, path: str | Path) -> str:
    """Why a file cannot be decoded, without its name, and without the words of libav or Pillow."""
    words = str(error).replace(str(path), "it").removeprefix("it: ")
    if words.startswith(("cannot be read (", "is no picture that can be read (")):
        return "it is damaged, or of an unknown kind"
    return words
