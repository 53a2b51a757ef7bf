"""A function over many items in worker processes that may crash or hang: each costs its own item and no other.

Workers are started as programs of their own, not forked (the database has threads) and not spawned (which would run the
user's script again). They end when the parent does, however it does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.connection import Pipe, wait
from typing import Any, Generic, TypeVar

from seehear.errors import require

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK = 0.25
"""Seconds after which it is looked whether the work is to be stopped."""
_CODE = "from seehear.library.workers import _serve; _serve()"
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
"""For glibc: keep freed memory for the next item. Without its page faults 4 s of sound are decoded a quarter faster."""


def cores() -> int:
    """Number of CPU cores this process may use: by its affinity and by its container's quota, not the machine's."""
    return int(require("joblib").cpu_count())


class WorkerDied(Exception):
    """The process died, or was ended after the time limit, while it worked on an item."""


def map_in_processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    time_limit: float | Callable[[Item], float],
    stopped: threading.Event | None = None,
    following: Callable[[Item, Result | Exception], Item | None] | None = None,
) -> Generator[tuple[Item, Result | Exception], None, None]:
    """(item, result or the exception) as they are done, at most a few items ahead of the consumer.

    `function` and items must pickle; the function must live in a module, not in the script that runs. With
    `workers=0` all happens in this process, one after the other: no crash is survived. `stopped` ends the workers
    where they are, for items that take minutes. `following` gives what is left of an item after its result, None for
    nothing: it is an item of its own, which the same worker does next.
    """
    limit = time_limit if callable(time_limit) else lambda _: time_limit
    if workers == 0:
        for item in items:
            yield from _one_by_one(function, item, following)
        return
    waiting = iter(items)
    pool: list[_Worker] = []
    try:
        for item in waiting:
            pool.append(_Worker(function))
            pool[-1].give(item, limit(item))
            if len(pool) == workers:
                break
        while pool:
            for worker in _ready(pool, stopped):
                item, result = worker.take()
                if not worker.alive:
                    pool.remove(worker)
                    worker = _Worker(function)
                    pool.append(worker)
                left = following(item, result) if following is not None else None
                upcoming = next(waiting, worker) if left is None else left
                if upcoming is worker:
                    pool.remove(worker)
                    worker.end()
                else:
                    worker.give(upcoming, limit(upcoming))  # type: ignore[arg-type]
                yield item, result
            if stopped is not None and stopped.is_set():
                return
    finally:
        for worker in pool:
            worker.end()


def _one_by_one(
    function: Callable[[Item], Result],
    item: Item,
    following: Callable[[Item, Result | Exception], Item | None] | None,
) -> Iterator[tuple[Item, Result | Exception]]:
    """An item, then what follows from it."""
    left: Item | None = item
    while left is not None:
        item, result = left, call(function, left)
        yield item, result
        left = following(item, result) if following is not None else None


class Isolated(Generic[Item, Result]):
    """A function that is called one item at a time in a process of its own, made anew after a crash or a hang."""

    def __init__(self, function: Callable[[Item], Result], time_limit: float | Callable[[Item], float]):
        self._function = function
        self._limit = time_limit if callable(time_limit) else lambda _: time_limit
        self._worker: _Worker | None = None

    def __call__(self, item: Item) -> Result | Exception:
        if self._worker is None or not self._worker.alive:
            self._worker = _Worker(self._function)
        self._worker.give(item, self._limit(item))
        _ready([self._worker])
        return self._worker.take()[1]

    def close(self) -> None:
        if self._worker is not None and self._worker.alive:
            self._worker.end()


def _ready(pool: list[_Worker], stopped: threading.Event | None = None) -> list[_Worker]:
    """Workers that have an answer, are dead, or are out of time; waits for the first, or until `stopped`."""
    soonest = min(worker.deadline for worker in pool)
    while True:
        left = max(0.0, soonest - time.monotonic())
        answered = wait([worker.pipe for worker in pool], timeout=left if stopped is None else min(left, _LOOK))
        now = time.monotonic()
        if answered or now >= soonest or (stopped is not None and stopped.is_set()):
            break
    return [worker for worker in pool if worker.pipe in answered or worker.deadline <= now]


class _Worker:
    def __init__(self, function: Callable[[Any], Any]):
        self.pipe, theirs = Pipe()
        handle = theirs.fileno()
        command, environment = [sys.executable, "-c", _CODE, str(handle)], _MEMORY | os.environ
        self._process = subprocess.Popen(command, env=environment, **_inheriting(handle))
        theirs.close()
        self.alive = True
        self.pipe.send(function)

    def give(self, item: Any, time_limit: float) -> None:
        self.item, self.deadline = item, time.monotonic() + time_limit
        try:
            self.pipe.send(item)
        except OSError:
            self.deadline = 0.0  # it died before it was asked: `take` says so

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


def _inheriting(handle: int) -> dict[str, Any]:
    """Options of `Popen` by which the child has one end of a pipe, and nothing else of this process."""
    if sys.platform != "win32":
        return {"pass_fds": [handle]}
    os.set_handle_inheritable(handle, True)
    return {"startupinfo": subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})}


def call(function: Callable[[Any], Any], item: Any) -> Any:
    """What the function gives, or the exception it raises."""
    try:
        return function(item)
    except Exception as error:
        return error


def _serve() -> None:
    """What a worker does until its parent is gone. Ctrl-C reaches it too, and is the parent's to act on."""
    import signal

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
