"""Clips and full text brought up to date with the user's edits, at once or as soon as nobody else writes them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from seehear.library.locking import BeingWritten, writing
from seehear.library.own import settle_edits
from seehear.library.tables import Library
from seehear.search.fulltext import FULLTEXT, update_fulltext

_AGAIN = 1.0
"""Seconds between two attempts."""


class Applying:
    """Applies edits, in the background where others are writing. `done`: called whenever the clips have changed."""

    def __init__(self, uri: str, done: Callable[[], None]):
        self._uri, self._done = uri, done
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._stale: set[str] = set()
        """Clips whose full text may be out of date."""

    def apply(self, clips: Collection[str] = ()) -> bool:
        """Applies pending edits to the clips, and the texts of these clips to full text. Returns False where others are
        writing: then it is done when they have ended."""
        with self._lock:
            self._stale.update(clips)
            if self._try():
                return True
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._later, daemon=True)
                self._thread.start()
            return False

    def close(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _try(self) -> bool:
        library = Library.open(self._uri)
        try:
            with writing(self._uri, "texts", patience=0.0):
                self._stale.update(settle_edits(library))
            self._done()
            if self._stale and FULLTEXT in library.tables():
                with writing(self._uri, "vectors", patience=0.0):
                    update_fulltext(library, sorted(self._stale))
                self._done()
        except BeingWritten:
            return False
        self._stale.clear()
        return True

    def _later(self) -> None:
        done = False
        while not done and not self._ended.wait(_AGAIN):
            with self._lock:
                done = self._try()
