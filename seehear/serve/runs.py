"""The library's indexes, opened when they are first asked for: each space is loaded once, for searches of its index
alone and of all indexes together."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from seehear.encoders.base import Sample
from seehear.errors import DecodeError, SeehearError
from seehear.folders.indexes import asked_together
from seehear.library.tables import Library
from seehear.library.workers import WorkerDied
from seehear.search.index import indexes, versions
from seehear.search.moments import MomentSearch
from seehear.search.query import Searcher
from seehear.serve.decoders import Decoders
from seehear.serve.files import Folders
from seehear.serve.problems import Problem
from seehear.space import ModelGone, SharedSpace, model_of
from seehear.space.frozen import FROZEN

_FRESH = 2.0  # seconds for which the library is not asked again what it holds
_TEXTS = 4096  # vectors of words that are kept


class GuardedSpace(SharedSpace):
    """A space whose media are decoded in another process, for files that anybody may have sent, and which keeps the
    vectors of the words it was asked for."""

    decoders: Decoders
    lock: threading.Lock
    """Held while `texts` is looked up and filled."""
    texts: OrderedDict[str, np.ndarray]

    def prepare(self, preparation: Callable[[Sample], Any], sample: Sample) -> Any:
        return self.decoders(preparation, sample) if sample.path else preparation(sample)

    def encode_query(self, inputs: Any, prompt_name: str | None = None, **options: Any) -> Any:
        one = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else None
        text = one["text"] if isinstance(one, Mapping) and list(one) == ["text"] else None
        if text is None or options:
            return super().encode_query(inputs, prompt_name, **options)
        with self.lock:
            if text not in self.texts:
                self.texts[text] = super().encode_query(inputs, prompt_name)[0]
                while len(self.texts) > _TEXTS:
                    self.texts.popitem(last=False)
            return self.texts[text][None]


@dataclass
class OpenRun:
    name: str
    space: GuardedSpace
    changed: str = ""
    """Time at which the index of `searcher` was last written."""
    _searcher: Searcher | None = None

    @property
    def searcher(self) -> Searcher:
        """Search of this index alone."""
        assert self._searcher is not None, "opened by `Runs.get`"
        return self._searcher

    def look(self, library: Library, changed: str) -> None:
        """Brings the searcher up to date."""
        if self._searcher is None or self.changed != changed:
            self._searcher, self.changed = Searcher(library, self.space, self.name), changed
        if self._searcher.library is not library:
            self._searcher.renew(library)

    def encode_text(self, text: str) -> np.ndarray:
        if "text" not in self.space.modalities:
            raise Problem(422, "no_text", f"run {self.name} has no words: ask with a sound or a picture")
        return self.space.encode_query([{"text": text}])[0]  # never a path or an address

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


@dataclass(frozen=True)
class Together:
    """All indexes that are asked together."""

    made: tuple[Any, ...]
    """State of the library when they were opened."""
    library: Library
    """The library as it was last looked at."""
    runs: tuple[OpenRun, ...]
    search: MomentSearch


class Runs:
    def __init__(self, uri: str, decoders: Decoders, *, media: tuple[Path, ...] = (), device: str = "auto"):
        self.uri, self.decoders, self.media, self.device = uri, decoders, media, device
        self._library, self._looked = Library.open(uri), -_FRESH
        self._about: dict[str, dict[str, Any]] = {}
        self._folders = Folders(self._library, {}, media)
        self._open: dict[str, OpenRun] = {}
        self._together: Together | None = None
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
        """Facts about the indexes, newest first. Read anew now and then: other processes write while this runs."""
        with self._lock:
            if time.monotonic() - self._looked > _FRESH:
                self._library = Library.open(self.uri)
                self._folders = Folders(self._library, self._library.roots(), self.media)
                found = indexes(self._library)
                self._about = dict(sorted(found.items(), key=lambda item: item[1].get("made", ""), reverse=True))
                self._looked = time.monotonic()
            return self._about

    def renew(self) -> None:
        """Makes the next access read the library again: it was written just now."""
        with self._lock:
            self._looked = -math.inf

    def get(self, name: str = "") -> OpenRun:
        """A run by name, the newest when none is said, a frozen index where there is no run; opened, or opened again
        when its index was made anew. Of one that only grew, the model stays loaded."""
        about = self._some()
        name = name or min(about, key=lambda n: about[n].get("model", "").startswith(FROZEN))
        if name not in about:
            raise Problem(404, "no_run_of_that_name", f"no run {name!r}", f"there are {', '.join(about)}")
        with self._opening:
            run = self._run(name, about[name])
            try:
                run.look(self._library, _changed(about[name]))
            except SeehearError as error:
                raise Problem(409, "run_unusable", str(error), self._again(name)) from error
            return run

    def together(self) -> Together:
        """All frozen indexes and the newest of a run, as far as they can be used; opened again when the library or one
        of them has changed. Models stay loaded."""
        about = self._some()
        if (known := self._together) is not None and known.library is self._library:
            return known
        unusable: Problem | None = None
        with self._opening:
            known, runs = self._together, []  # others may have waited for the lock too
            for name in asked_together(about):
                try:
                    run = self._run(name, about[name])
                except Problem as problem:
                    unusable = problem
                    continue
                if "text" not in run.space.modalities or about[name].get("background"):
                    runs.append(run)
                else:  # of one that is being made, the calibration comes last
                    message = f"index {name} is not calibrated yet"
                    unusable = Problem(409, "run_unusable", message, self._again(name))
            if not runs:
                assert unusable is not None, "one index at least was tried"
                raise unusable
            written = [(_changed(about[r.name]), about[r.name].get("background", {}).get("made")) for r in runs]
            made = (versions(self._library), [id(run.space) for run in runs], written)
            if known is not None and known.made == made:
                search = known.search
            else:
                search = MomentSearch(self._library, {run.name: run.space for run in runs})
            self._together = Together(made, self._library, tuple(runs), search)
            return self._together

    def _some(self) -> dict[str, dict[str, Any]]:
        """`about`; raises `Problem` where there is no index."""
        if not (about := self.about()):
            todo = f"seehear encode {self.uri}; seehear index {self.uri}"
            raise Problem(409, "no_run", "there is nothing to search with yet", todo)
        return about

    def _run(self, name: str, about: Mapping[str, Any]) -> OpenRun:
        """The run with its model loaded."""
        known = self._open.get(name)
        if known is not None and known.space.fingerprint == about.get("maker"):
            return known
        try:
            model = model_of(self.uri, name, about)
            space = cast(GuardedSpace, GuardedSpace.from_pretrained(model, device=self.device))
        except ModelGone as gone:
            raise Problem(409, "model_gone", gone.message, gone.todo) from gone
        except SeehearError as error:
            raise Problem(409, "run_unusable", str(error), self._again(name)) from error
        if space.fingerprint != about.get("maker"):
            raise Problem(409, "run_unusable", f"index {name} was made by another model", self._again(name))
        space.decoders, space.lock, space.texts = self.decoders, threading.Lock(), OrderedDict()
        self._open[name] = OpenRun(name, space)
        return self._open[name]

    def _again(self, name: str) -> str:
        """The command that makes an index again."""
        frozen = self._about[name].get("model", "").startswith(FROZEN)
        return f"seehear index {self.uri}" if frozen else f"seehear index {self.uri} RUN-FOLDER --name {name}"


def _changed(about: Mapping[str, Any]) -> str:
    """Time at which an index was last written."""
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
