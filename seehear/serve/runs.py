"""The library's indexes, opened on first use. Each model is loaded once and shared by searches of its index alone and
of all indexes together."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from seehear.encoders.base import Sample
from seehear.errors import DecodeError, SeehearError
from seehear.folders.indexes import asked_together
from seehear.library.tables import LibraryTables
from seehear.library.workers import WorkerDied
from seehear.search.index import indexes, versions
from seehear.search.moments import MomentSearch
from seehear.search.query import Searcher
from seehear.serve.decoders import Decoders
from seehear.serve.files import Folders
from seehear.serve.problems import CONVERT, Problem
from seehear.space import ModelGone, SharedSpace, model_of
from seehear.space.frozen import FROZEN

FRESH = 2.0  # seconds until the library's state is read again
_TEXTS = 4096  # cached vectors of words


class _GuardedSpace(SharedSpace):
    """A space that decodes files in another process, since anybody may have sent them, and caches vectors of words."""

    decoders: Decoders
    lock: threading.Lock
    words: Callable[[str], np.ndarray]
    """(E,) vector of words, cached; called under `lock`, since fast tokenizers are not thread-safe."""

    def prepare(self, preparation: Callable[[Sample], Any], sample: Sample) -> Any:
        return self.decoders(preparation, sample) if sample.path else preparation(sample)

    def encode_query(self, inputs: Any, prompt_name: str | None = None, **options: Any) -> Any:
        one = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else None
        if options or not (isinstance(one, Mapping) and list(one) == ["text"]):
            return super().encode_query(inputs, prompt_name, **options)
        with self.lock:
            return self.words(one["text"])[None]


@dataclass
class OpenRun:
    name: str
    space: _GuardedSpace
    changed: str = ""
    """Time at which the open index was last written."""
    _searcher: Searcher | None = None

    @property
    def searcher(self) -> Searcher:
        """Search of this index alone."""
        assert self._searcher is not None, "opened by `Runs.get`"
        return self._searcher

    def refresh(self, library: LibraryTables, changed: str) -> None:
        """Brings the searcher up to date with the library."""
        if self._searcher is None or self.changed != changed:
            self._searcher, self.changed = Searcher(library, self.space, self.name), changed
        if self._searcher.library is not library:
            self._searcher.renew(library)

    def encode_text(self, text: str) -> np.ndarray:
        if "text" not in self.space.modalities:
            raise Problem(422, "no_text", f"run {self.name} has no words: ask with a sound or a picture")
        # As {"text"}: words are never opened as a path or an address.
        return self.space.encode_query([{"text": text}])[0]

    def encode_file(self, path: str, kind: str, seconds: float, modalities: Sequence[str]) -> dict[str, np.ndarray]:
        """One vector for each modality of a file that this space knows."""
        known = [m for m in modalities if m in self.space.modalities]
        if not known:
            compares = ", ".join(self.space.modalities)
            message = f"run {self.name} compares {compares}; this file has {', '.join(modalities)}"
            raise Problem(422, "not_comparable", message)
        vectors: dict[str, np.ndarray] = {}
        for m in known:
            key = "image" if kind == "picture" else m
            # A picture has no time: its window is empty.
            item: dict[str, Any] = {key: path, "start": 0.0, "end": 0.0 if kind == "picture" else seconds}
            try:
                vectors[m] = self.space.encode([item])[0]
            except (DecodeError, WorkerDied) as error:
                # Pictures or sound alone are enough to search with.
                if m == known[-1] and not vectors:
                    raise broken(error, path) from error
        return vectors


@dataclass(frozen=True)
class _Together:
    """Joint search of several indexes."""

    made: tuple[Any, ...]
    """Versions of the library, models and indexes at opening."""
    library: LibraryTables
    """Snapshot of the library for which `made` was last checked."""
    runs: tuple[OpenRun, ...]
    search: MomentSearch


class Runs:
    def __init__(self, uri: str, decoders: Decoders, *, media: tuple[Path, ...] = (), device: str = "auto"):
        self.uri, self.decoders, self.media, self.device = uri, decoders, media, device
        self._library, self._looked = LibraryTables.open(uri), -FRESH
        self._about: dict[str, dict[str, Any]] = {}
        self._folders = Folders(self._library, {}, media)
        self._open: dict[str, OpenRun] = {}
        self._together: _Together | None = None
        # Two locks: models load for seconds, and the status must not wait for that.
        self._lock = threading.Lock()
        self._opening = threading.Lock()

    @property
    def library(self) -> LibraryTables:
        self.about()
        return self._library

    @property
    def folders(self) -> Folders:
        self.about()
        return self._folders

    def about(self) -> dict[str, dict[str, Any]]:
        """Facts about the indexes, newest first."""
        with self._lock:
            # Other processes write while this one runs.
            if time.monotonic() - self._looked > FRESH:
                self._library = LibraryTables.open(self.uri)
                self._folders = Folders(self._library, self._library.roots(), self.media)
                about = indexes(self._library)
                self._about = dict(sorted(about.items(), key=lambda item: item[1].get("made", ""), reverse=True))
                self._looked = time.monotonic()
            return self._about

    def renew(self) -> None:
        """Makes the next access read the library again."""
        with self._lock:
            self._looked = -math.inf

    def get(self, name: str = "") -> OpenRun:
        """A run by name, opened or refreshed; by default the newest trained one, else the newest frozen index. A model
        stays loaded until another one writes the index."""
        about = self._some()
        # `about` is sorted by age: the first index of a trained run, else the first of all.
        name = name or min(about, key=lambda n: about[n].get("model", "").startswith(FROZEN))
        if name not in about:
            raise Problem(404, "no_run_of_that_name", f"no run {name!r}", f"there are {', '.join(about)}")
        with self._opening:
            run = self._run(name, about[name])
            try:
                run.refresh(self._library, _changed(about[name]))
            except SeehearError as error:
                raise Problem(409, "run_unusable", str(error), self._again(name)) from error
            return run

    def together(self) -> _Together:
        """Joint search of all usable frozen indexes and the newest trained one, refreshed when the library or an index
        has changed. Raises `Problem` if none is usable."""
        about = self._some()
        if (known := self._together) is not None and known.library is self._library:
            return known
        unusable: Problem | None = None
        with self._opening:
            # Read again: another thread may have opened it meanwhile.
            known, runs = self._together, []
            for name in asked_together(about):
                try:
                    run = self._run(name, about[name])
                except Problem as problem:
                    unusable = problem
                    continue
                if "text" not in run.space.modalities or about[name].get("background"):
                    runs.append(run)
                else:
                    # Indexing writes the calibration last.
                    message = f"index {name} is not calibrated yet"
                    unusable = Problem(409, "run_unusable", message, self._again(name))
            if not runs:
                assert unusable is not None, "one index at least was tried"
                raise unusable
            written = [(_changed(about[r.name]), about[r.name].get("background", {}).get("made")) for r in runs]
            # Opening reads all vectors: a search is kept while neither library, models nor calibrations have changed.
            made = (versions(self._library), [id(run.space) for run in runs], written)
            if known is not None and known.made == made:
                search = known.search
            else:
                search = MomentSearch(self._library, {run.name: run.space for run in runs})
            self._together = _Together(made, self._library, tuple(runs), search)
            return self._together

    def _some(self) -> dict[str, dict[str, Any]]:
        """`about`, not empty. Raises `Problem` (409) if there is no index."""
        if not (about := self.about()):
            todo = f"seehear encode {self.uri}; seehear index {self.uri}"
            raise Problem(409, "no_run", "there is nothing to search with yet", todo)
        return about

    def _run(self, name: str, about: Mapping[str, Any]) -> OpenRun:
        """The run with its model loaded. Raises `Problem` (409) if the model is unusable."""
        known = self._open.get(name)
        if known is not None and known.space.fingerprint == about.get("maker"):
            return known
        try:
            model = model_of(self.uri, name, about)
            space = cast(_GuardedSpace, _GuardedSpace.from_pretrained(model, device=self.device))
        except ModelGone as gone:
            raise Problem(409, "model_gone", gone.message, gone.todo) from gone
        except SeehearError as error:
            raise Problem(409, "run_unusable", str(error), self._again(name)) from error
        # Vectors of different models cannot be compared, even if their sizes are equal.
        if space.fingerprint != about.get("maker"):
            raise Problem(409, "run_unusable", f"index {name} was made by another model", self._again(name))
        # The method of the class above: that of the space itself asks this very cache.
        encode = super(_GuardedSpace, space).encode_query
        space.decoders, space.lock = self.decoders, threading.Lock()
        space.words = lru_cache(_TEXTS)(lambda text: encode([{"text": text}])[0])
        self._open[name] = OpenRun(name, space)
        return self._open[name]

    def _again(self, name: str) -> str:
        """The command that rebuilds an index."""
        frozen = self._about[name].get("model", "").startswith(FROZEN)
        return f"seehear index {self.uri}" if frozen else f"seehear index {self.uri} RUN-FOLDER --name {name}"


def _changed(about: Mapping[str, Any]) -> str:
    """Time at which an index was last written."""
    return str(about.get("changed") or about.get("made", ""))


def broken(error: Exception, path: str | Path, what: str = "no sound, picture or video that can be read") -> Problem:
    """Refusal of a file that cannot be decoded, without the messages of libav and Pillow."""
    # Without the path: it is that of a temporary file, or of the server's disk.
    why = str(error).replace(str(path), "it").removeprefix("it: ")
    if why.startswith(("cannot be read (", "is no picture that can be read (")):
        why = "it is damaged, or of an unknown kind"
    return Problem(422, "broken", f"{what}: {why}", CONVERT)
