"""Search without training: a folder brought into a library as far as it is not yet, and all indexes opened together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seehear.errors import SeehearError
from seehear.folders.indexes import asked_together
from seehear.folders.work import Work
from seehear.library.inputs import check_input
from seehear.library.locking import keeper
from seehear.library.prepare import PrepareOptions
from seehear.library.serving import server_of
from seehear.library.tables import Library
from seehear.progress import Interrupted, hushed, say
from seehear.search.index import indexes
from seehear.search.moments import MomentSearch
from seehear.search.query import SearchSpace
from seehear.space import SharedSpace, model_of
from seehear.space.frozen import FROZEN

WORK_SECONDS = 45.0
"""Seconds that a question waits for its library to be brought up to date."""


def bring_up_to_date(
    folder: str | Path, library_uri: str, *, preset: str = "", device: str = "auto", seconds: float | None = None
) -> bool:
    """Prepare, encode and index a folder as far as it is not done, then read speech and text on screen, and index them
    too. After `seconds` (None: never) it stops where the next call goes on, and what is encoded is indexed; returns
    whether all is done. Where another process is at it already, nothing is done here."""
    check_input(Path(folder), PrepareOptions(), skip=library_uri)
    with keeper(library_uri) as alone:
        if not alone:
            server = server_of(library_uri)
            say(f"another seehear is indexing this folder{f': {server.address}' if server else ''}")
            return False
        work = Work(folder, library_uri, preset=preset, device=device)
        try:
            with time_limit(seconds), work.told():
                while work.step():
                    pass
        except OutOfTime:
            with hushed():
                work.index()
            return False
    return True


class OutOfTime(Exception):
    """The time for bringing a library up to date is over; what is done is saved."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
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


def open_library(library: Library, *, device: str = "auto") -> MomentSearch:
    """Every index of a library that can be used as it is: all frozen ones and the newest of a run."""
    spaces = dict(_spaces(library, device))
    if not spaces:
        raise SeehearError(f"{library.uri} has no index: run 'seehear index {library.uri}'")
    return MomentSearch(library, spaces)


def _spaces(library: Library, device: str) -> Iterator[tuple[str, SearchSpace]]:
    found = indexes(library)
    for name in asked_together(found):
        try:
            space = SharedSpace.from_pretrained(model_of(library.uri, name, found[name]), device=device)
        except SeehearError as error:
            say(f"index {name} is left out: {error}")
            continue
        if space.fingerprint != found[name]["maker"]:
            frozen = found[name].get("model", "").startswith(FROZEN)
            again = "" if frozen else f" RUN --name {name}"
            say(f"index {name} was made by another model: run 'seehear index {library.uri}{again}'")
            continue
        yield name, space
