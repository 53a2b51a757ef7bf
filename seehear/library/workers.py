"""Worker processes that may crash or hang: a failure costs one item, and no other.

Workers are programs of their own, not forked (the database has threads) and not spawned (which would run the user's
script again). They end with the parent, however it ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing.connection import Pipe, wait
from queue import Empty, Full, Queue
from typing import Any, Generic, TypeVar

from seehear.errors import require

Item = TypeVar("Item")
Result = TypeVar("Result")

# Seconds between two checks of `stopped`.
_LOOK = 0.25
_CODE = "from seehear.library.workers import _serve; _serve()"
# Settings of glibc that keep freed memory for the next item: without page faults, 4 s of sound are decoded a
# quarter faster.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**28)}


def cores() -> int:
    """Number of CPU cores this process may use: by its affinity and by its container's quota, not the machine's."""
    return int(require("joblib").cpu_count())


class WorkerDied(Exception):
    """The process died during an item, or was killed after the time limit."""


def map_in_processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    stopped: threading.Event | None = None,
    *,
    workers: int,
    time_limit: float | Callable[[Item], float],
    following: Callable[[Item, Result | Exception], Item | None] | None = None,
) -> Generator[tuple[Item, Result | Exception], None, None]:
    """(item, result or exception) in order of completion, at most a few items ahead of the consumer.

    `function` and items must pickle; the function must be in a module, not in the script that runs. `workers=0` works
    in this process, without protection from crashes. `stopped` kills the workers at once, for items that take minutes.
    `following` returns the rest of an item after its result, which the same worker does next, or None.
    """
    rest = following if following is not None else lambda item, result: None
    if workers == 0:
        yield from _in_this_process(function, items, rest)
        return
    waiting = iter(items)
    pool: list[_Worker] = []
    try:
        # No more processes than items: each takes the time of importing the package.
        for item in islice(waiting, workers):
            pool.append(_Worker(function))
            pool[-1].give(item, time_limit)
        while pool:
            for worker in _ready(pool, stopped):
                item, result = worker.take()
                left = rest(item, result)
                upcoming = [left] if left is not None else list(islice(waiting, 1))
                if not upcoming or not worker.alive:
                    pool.remove(worker)
                    worker.end()
                if upcoming:
                    if not worker.alive:
                        worker = _Worker(function)
                        pool.append(worker)
                    worker.give(upcoming[0], time_limit)
                yield item, result
            if stopped is not None and stopped.is_set():
                return
    finally:
        for worker in pool:
            worker.end()


def _in_this_process(
    function: Callable[[Item], Result], items: Iterable[Item], rest: Callable[[Item, Any], Item | None]
) -> Iterator[tuple[Item, Result | Exception]]:
    for item in items:
        left: Item | None = item
        while left is not None:
            item, result = left, call(function, left)
            yield item, result
            left = rest(item, result)


class Isolated(Generic[Item, Result]):
    """A function in a process of its own, one item at a time; the process is replaced after a crash or a hang."""

    def __init__(self, function: Callable[[Item], Result], time_limit: float | Callable[[Item], float]):
        self._function, self._limit = function, time_limit
        self._worker: _Worker | None = None

    def __call__(self, item: Item) -> Result | Exception:
        if self._worker is None or not self._worker.alive:
            self._worker = _Worker(self._function)
        self._worker.give(item, self._limit)
        _ready([self._worker])
        return self._worker.take()[1]

    def close(self) -> None:
        if self._worker is not None and self._worker.alive:
            self._worker.end()


def _ready(pool: list[_Worker], stopped: threading.Event | None = None) -> list[_Worker]:
    """Workers that have an answer, are dead or out of time; waits for the first, or until `stopped`."""
    soonest = min(worker.deadline for worker in pool)
    while True:
        left = max(0.0, soonest - time.monotonic())
        # The pipe of a dead worker counts as readable: a crash is noticed at once.
        answered = wait([worker.pipe for worker in pool], timeout=left if stopped is None else min(left, _LOOK))
        now = time.monotonic()
        if answered or now >= soonest or (stopped is not None and stopped.is_set()):
            break
    return [worker for worker in pool if worker.pipe in answered or worker.deadline <= now]


class _Worker:
    def __init__(self, function: Callable[[Any], Any]):
        self.pipe, theirs = Pipe()
        handle = theirs.fileno()
        # The settings of the user come after ours, and win.
        command, environment = [sys.executable, "-c", _CODE, str(handle)], _MEMORY | os.environ
        # The child inherits one end of the pipe, and no other handle of this process.
        if sys.platform == "win32":
            os.set_handle_inheritable(handle, True)
            inherited = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
            self._process = subprocess.Popen(command, env=environment, startupinfo=inherited)
        else:
            self._process = subprocess.Popen(command, env=environment, pass_fds=[handle])
        # With it open in this process, the death of the child would not be noticed.
        theirs.close()
        self.alive = True
        self.pipe.send(function)

    def give(self, item: Any, time_limit: float | Callable[[Any], float]) -> None:
        seconds = time_limit(item) if callable(time_limit) else time_limit
        self.item, self.deadline = item, time.monotonic() + seconds
        try:
            self.pipe.send(item)
        except OSError:
            # It died before the item: `take` reports it.
            self.deadline = 0.0

    def take(self) -> tuple[Any, Any]:
        try:
            if self.pipe.poll():
                return self.item, self.pipe.recv()
            why = "took longer than the time limit"
        except (EOFError, OSError):
            why = "crashed the process that read it"
        self.end()
        return self.item, WorkerDied(why)

    def end(self) -> None:
        self.alive = False
        self._process.kill()
        self._process.wait()
        self.pipe.close()


def call(function: Callable[[Any], Any], item: Any) -> Any:
    """Result of the function, or the exception that it raises."""
    try:
        return function(item)
    except Exception as error:
        return error


def _serve() -> None:
    """Main loop of a worker, until its parent has ended."""
    import signal

    # Ctrl-C reaches all; the parent acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "win32":
        from multiprocessing.connection import PipeConnection as Connection
    else:
        from multiprocessing.connection import Connection
    pipe = Connection(int(sys.argv[1]))
    try:
        function = pipe.recv()
        while True:
            result = call(function, pipe.recv())
            pipe.send(result)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


# -- work ahead of the consumer ----------------------------------------------------------------------------------------


@contextmanager
def drawn_ahead(
    draw: Callable[[threading.Event], Generator[Any, None, None]], *, room: int
) -> Iterator[Iterator[list[Any]]]:
    """Batches of the items of `draw(stopped)`, drawn in a thread while the consumer is busy, at most `room` ahead.

    A batch has the items at hand, `room // 2` at most: a slow model meets full batches, a fast one does not wait for
    them. An empty batch means only that time has passed. On exit, `stopped` is set, and the generator is closed in its
    own thread.
    """
    queue: Queue[tuple[str, Any]] = Queue(maxsize=room)
    stopped = threading.Event()
    items = draw(stopped)

    def put(kind: str, value: Any) -> None:
        while not stopped.is_set():
            with suppress(Full):
                return queue.put((kind, value), timeout=_LOOK)

    def fill() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                put("item", item)
                if stopped.is_set():
                    break
        except BaseException as raised:
            error = raised
        finally:
            # In this thread: a generator cannot be closed while it runs in another.
            items.close()
        put("end", error)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        yield _batches(queue, max(1, room // 2))
    finally:
        stopped.set()
        thread.join()


def _batches(queue: Queue[tuple[str, Any]], size: int) -> Iterator[list[Any]]:
    while True:
        batch: list[Any] = []
        kind, value = "item", None
        with suppress(Empty):
            kind, value = queue.get(timeout=_LOOK)
            while kind == "item":
                batch.append(value)
                if len(batch) == size:
                    break
                kind, value = queue.get_nowait()
        yield batch
        if kind == "end":
            if value is not None:
                raise value
            return
