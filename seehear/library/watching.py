"""Changes of a folder as they happen."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seehear.errors import require

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
