"""Search without training: a folder brought into a library as far as it is not yet, the frozen spaces put into indexes,
and all indexes opened together."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from seehear.data.encode import encode_library
from seehear.data.library import Library, in_batches
from seehear.data.prepare import prepare
from seehear.data.records import digest
from seehear.data.vectors import one_of
from seehear.errors import SeehearError
from seehear.progress import Interrupted, hushed, say
from seehear.search.background import calibrate_index
from seehear.search.index import IndexReport, build_index, indexes
from seehear.search.moments import MomentSearch
from seehear.search.query import SearchSpace
from seehear.space import SharedSpace, model_of
from seehear.space.frozen import FROZEN, frozen_towers

WORK_SECONDS = 45.0
"""Seconds that a question waits for its library to be brought up to date."""
_PART = 64  # clips


def library_of(folder: str | Path) -> str:
    """Where the library of a folder is when none is given: in the user's cache, so that nothing is written among the
    media."""
    folder = Path(folder).resolve()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seehear" / "libraries"
    return str(base / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', folder.name)}-{digest(str(folder))[:8]}")


def bring_up_to_date(
    folder: str | Path, library_uri: str, *, preset: str = "", device: str = "auto", seconds: float | None = None
) -> bool:
    """Prepare, encode and index a folder as far as it is not done, then read speech and text on screen, and index them
    too. After `seconds` (None: never) it stops where the next call goes on; returns whether all is done."""
    try:
        with _time_limit(seconds):
            prepare(folder, library_uri)
            library = Library.open(library_uri)
            # What is seen and heard can be asked for first: reading speech takes far longer.
            for read_texts in (False, True):
                if read_texts and not _read_texts(library):
                    continue
                if seconds is not None:
                    _encode_in_parts(library, preset=preset, device=device)
                with hushed() if seconds is not None else nullcontext():  # the parts have said it all
                    encode_library(library, preset=preset, device=device)
                index_frozen(library, device=device)
    except OutOfTime:
        return False
    return True


def _encode_in_parts(library: Library, *, preset: str, device: str) -> None:
    """Encode some clips with every encoder, then some more: whenever it ends, there are clips that can be found."""
    tables = [library.vectors("vectors", name).keys() for name in indexes(library)]
    indexed = {clip for keys in tables for clip, _, _ in keys}
    left = [clip.id for clip in library.clips() if clip.id not in indexed]
    for some in in_batches(left, _PART):
        encode_library(library, preset=preset, device=device, where=one_of("id", some))


def index_what_is_there(library_uri: str, *, device: str = "auto") -> None:
    """Index what an unfinished run has encoded."""
    library = Library.open(library_uri)
    if library.encoders():
        index_frozen(library, device=device)


class OutOfTime(Exception):
    """The time for bringing a library up to date is over; what is done is saved."""


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Asks the work to stop as Ctrl-C does, which every step can go on from; raises `OutOfTime` when it has."""
    if seconds is None:
        yield
        return
    over = threading.Event()
    usual = signal.getsignal(signal.SIGINT)
    if usual == signal.SIG_IGN:  # as a shell starts background jobs: the end of the time would go unheard
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop() -> None:
        over.set()
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:  # Windows
            signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        if not over.is_set():
            raise
        raise OutOfTime from error
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, usual)


def _read_texts(library: Library) -> bool:
    """Read speech and text on screen with what is installed; whether there was anything to read them with."""
    from seehear.data.ocr import ocr
    from seehear.data.transcribe import transcribe

    read = False
    for reader, where, package, what in (
        (transcribe, "has_audio", "faster_whisper", "what is spoken is not read: pip install 'seehear[asr]'"),
        (ocr, "has_video", "rapidocr", "what is written on screen is not read: pip install 'seehear[ocr]'"),
    ):
        if not library.table("clips").count_rows(where):
            continue
        if find_spec(package) is None:
            say(what)
            continue
        try:
            reader(library)
            read = True
        except Interrupted:
            raise
        except SeehearError as error:  # no model at hand: the rest can be found without
            say(str(error))
    return read


@dataclass(frozen=True)
class IndexReports:
    indexes: tuple[IndexReport, ...]

    def __str__(self) -> str:
        return "\n".join(str(report) for report in self.indexes)


def index_run(library: Library, run: str | Path, *, name: str = "", device: str = "auto") -> IndexReport:
    """The vectors of a trained run."""
    folder = Path(run).resolve()
    space = SharedSpace.from_pretrained(folder, device=device)
    space.encode_library(library)
    name = name or folder.name
    report = build_index(library, space, name=name, model=str(folder))
    calibrate_index(library, space, name)
    return report


def index_frozen(library: Library, *, device: str = "auto") -> IndexReports:
    """The vectors of every frozen space, ready to be searched: no training."""
    if not library.count_clips():
        raise SeehearError(f"{library.uri} has no clips: run 'seehear prepare FOLDER --library {library.uri}'")
    reports = []
    towers = frozen_towers(library.encoders())
    for name in reversed(towers):  # joint ones last: the newest index is what opens first
        space = SharedSpace.from_pretrained(f"{FROZEN}{library.uri}#{name}", device=device)
        # Words find what is seen and heard in a joint space; what is said is compared by the encoder of texts.
        modalities = [m for m in towers[name] if m != "text"] or ["text"]
        try:
            model = f"{FROZEN}#{name}"
            report = build_index(library, space, name=f"frozen-{name}", model=model, modalities=modalities, frames=True)
        except SeehearError as error:
            say(str(error))
            continue
        calibrate_index(library, space, report.name)
        reports.append(report)
    if not reports:
        raise SeehearError(f"{library.uri} has no latents: run 'seehear encode {library.uri}'")
    return IndexReports(tuple(reports))


def open_library(library: Library, *, device: str = "auto") -> MomentSearch:
    """Every index of a library that can be used as it is: all frozen ones and the newest of a run."""
    spaces = dict(_spaces(library, device))
    if not spaces:
        raise SeehearError(f"{library.uri} has no index: run 'seehear index {library.uri}'")
    return MomentSearch(library, spaces)


def _spaces(library: Library, device: str) -> Iterator[tuple[str, SearchSpace]]:
    found = indexes(library)
    frozen = [name for name in found if found[name].get("model", "").startswith(FROZEN)]
    runs = sorted(found.keys() - set(frozen), key=lambda n: found[n].get("made", ""))
    for name in [*frozen, *runs[-1:]]:
        again = f"run 'seehear index {library.uri}{'' if name in frozen else ' RUN'}'"
        if not (model := model_of(library.uri, found[name])):
            say(f"the model of index {name} is no longer at {found[name].get('model')!r}: {again}")
            continue
        try:
            space = SharedSpace.from_pretrained(model, device=device)
        except SeehearError as error:
            say(f"index {name} is left out: {error}")
            continue
        if space.fingerprint != found[name]["maker"]:
            say(f"index {name} was made by another model: {again}")
            continue
        yield name, space
