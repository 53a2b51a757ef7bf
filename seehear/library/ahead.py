"""Work ahead of the consumer: a thread draws from an iterator while the main thread is busy with a model."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from typing import Any

_WAIT = 0.25  # seconds after which either side looks whether the other has stopped


class _End:
    """Put last, with what went wrong, if anything did."""

    def __init__(self, error: BaseException | None):
        self.error = error


@contextmanager
def drawn_ahead(items: Generator[Any, None, None], *, room: int) -> Iterator[Iterator[list[Any]]]:
    """Batches of what `items` yields, drawn in a thread, at most `room` ahead. A batch is what is there when the
    consumer asks, `room // 2` at most: a slow model meets full batches, a fast one does not wait for them. An empty
    batch says only that time has passed. On leaving, `items` is closed in its own thread."""
    queue: Queue[Any] = Queue(maxsize=room)
    stopped = threading.Event()
    thread = threading.Thread(target=_draw, args=(items, queue, stopped), daemon=True)
    thread.start()
    try:
        yield _batches(queue, max(1, room // 2))
    finally:
        stopped.set()
        thread.join()


def _draw(items: Generator[Any, None, None], queue: Queue[Any], stopped: threading.Event) -> None:
    end = _End(None)
    try:
        for item in items:
            _put(queue, item, stopped)
            if stopped.is_set():
                break
    except BaseException as error:
        end = _End(error)
    finally:
        items.close()
    _put(queue, end, stopped)


def _put(queue: Queue[Any], item: Any, stopped: threading.Event) -> None:
    while not stopped.is_set():
        try:
            return queue.put(item, timeout=_WAIT)
        except Full:
            continue


def _batches(queue: Queue[Any], size: int) -> Iterator[list[Any]]:
    while True:
        batch: list[Any] = []
        try:
            batch.append(queue.get(timeout=_WAIT))
            while len(batch) < size and not isinstance(batch[-1], _End):
                batch.append(queue.get_nowait())
        except Empty:
            pass
        end = batch.pop() if batch and isinstance(batch[-1], _End) else None
        yield batch
        if end is not None:
            if end.error is not None:
                raise end.error
            return
