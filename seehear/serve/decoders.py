"""Media decoded in processes of their own: a file that crashes its decoder, or hangs it, costs its own answer alone."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any, TypeVar

from seehear.data.workers import Isolated

Result = TypeVar("Result")
Job = tuple[Callable[..., Any], tuple[Any, ...]]


class Decoders:
    """`workers` processes that are made when first needed; a call waits for a free one. Threads may share it."""

    def __init__(self, workers: int, time_limit: float):
        self._all: list[Isolated[Job, Any]] = [Isolated(do, time_limit) for _ in range(workers)]
        self._free: queue.SimpleQueue[Isolated[Job, Any]] = queue.SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    def __call__(self, function: Callable[..., Result], *args: Any) -> Result:
        """What the function gives, or raises; `WorkerDied` when it took its process with it. All must pickle."""
        worker = self._free.get()
        try:
            result = worker((function, args))
        finally:
            self._free.put(worker)
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        for worker in self._all:
            worker.close()


def do(job: Job) -> Any:
    function, args = job
    return function(*args)
