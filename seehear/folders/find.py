"""Search without training: a folder brought into a library, its changes followed, the indexes of a library opened."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seehear.errors import SeehearError, require
from seehear.folders.indexes import asked_together
from seehear.folders.work import Work
from seehear.library.inputs import check_input
from seehear.library.locking import keeper, server_of
from seehear.library.prepare import PrepareOptions
from seehear.library.tables import LibraryTables
from seehear.progress import Interrupted, hushed, say
from seehear.search.index import indexes
from seehear.search.moments import MomentSearch
from seehear.search.query import SearchSpace
from seehear.space import SharedSpace, model_of
from seehear.space.frozen import FROZEN

# Seconds that a search waits for its library to be brought up to date.
WORK_SECONDS = 45.0


def bring_up_to_date(
    folder: str | Path, library_uri: str, *, preset: str = "", device: str = "auto", seconds: float | None = None
) -> bool:
    """Prepares, encodes and indexes new and changed files of a folder, then reads and indexes speech and text on
    screen; returns whether all is done. After `seconds` (None: no limit) it indexes the latents and stops; the next
    call continues. Does nothing while another process works on the library."""
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
            # What has been encoded can be found at once; the next call goes on.
            with hushed():
                work.index()
            return False
    return True


class OutOfTime(Exception):
    """The time limit of bringing a library up to date has passed; finished work is saved."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Interrupts the work after `seconds` as Ctrl-C does, which every step can resume from; raises `OutOfTime`."""
    if seconds is None:
        yield
        return
    over = threading.Event()
    usual = signal.getsignal(signal.SIGINT)
    # As in background jobs of a shell, where the limit would have no effect.
    if usual == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop() -> None:
        over.set()
        if hasattr(signal, "pthread_kill"):
            # To the main thread: the work is there, and Python handles signals in no other.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            # Windows has no signals to threads.
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


def open_library(library: LibraryTables, *, device: str = "auto") -> MomentSearch:
    """The usable indexes of a library: all frozen ones and the newest of a run."""
    known = indexes(library)
    spaces: dict[str, SearchSpace] = {}
    for name in asked_together(known):
        about = known[name]
        try:
            space = SharedSpace.from_pretrained(model_of(library.uri, name, about), device=device)
        except SeehearError as error:
            say(f"index {name} is left out: {error}")
            continue
        if space.fingerprint == about["maker"]:
            spaces[name] = space
        else:
            run = "" if about.get("model", "").startswith(FROZEN) else f" RUN --name {name}"
            say(f"index {name} was made by another model: run 'seehear index {library.uri}{run}'")
    if not spaces:
        raise SeehearError(f"{library.uri} has no index: run 'seehear index {library.uri}'")
    return MomentSearch(library, spaces)


# Milliseconds between two scans of a folder whose disk reports no changes.
_POLL = 10_000


@contextmanager
def watched(folder: Path, changed: threading.Event, *, skip: str) -> Iterator[None]:
    """Sets `changed` at each change below the folder, but for hidden files and the folder `skip`."""
    stop = threading.Event()
    own = str(Path(skip).resolve()) + os.sep

    def counts(_: object, path: str) -> bool:
        return not path.startswith(own) and not os.path.basename(path).startswith(".")

    def watch() -> None:
        polling: bool | None = None
        while not stop.is_set():
            try:
                for _ in require("watchfiles", "serve").watch(
                    folder.resolve(),
                    watch_filter=counts,
                    stop_event=stop,
                    rust_timeout=500,
                    force_polling=polling,
                    poll_delay_ms=_POLL,
                    ignore_permission_denied=True,
                ):
                    changed.set()
            except (OSError, RuntimeError):
                # More folders than the system watches, or a missing folder.
                polling = True
                stop.wait(_POLL / 1000)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
