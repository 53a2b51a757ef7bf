"""Changes of a folder as they happen."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seehear.errors import require

_POLL = 10_000
"""Milliseconds between two looks at a folder whose disk tells nothing."""


@contextmanager
def watched(folder: Path, changed: threading.Event, *, skip: str) -> Iterator[None]:
    """Sets `changed` when something below the folder does, but for the hidden and for what lies in `skip`."""
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(folder, changed, stop, skip), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(folder: Path, changed: threading.Event, stop: threading.Event, skip: str) -> None:
    own = str(Path(skip).resolve()) + os.sep

    def counts(_: object, path: str) -> bool:
        return not path.startswith(own) and not os.path.basename(path).startswith(".")

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
        except (OSError, RuntimeError):  # more folders than the system watches, or the folder is not there
            polling = True
            stop.wait(_POLL / 1000)
