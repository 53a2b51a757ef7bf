"""Media decoded in processes of their own: a file that crashes its decoder, or hangs it, costs its own answer alone."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any, TypeVar

from seehear.library.workers import Isolated
from seehear.serve.problems import Problem

Result = TypeVar("Result")
Job = tuple[Callable[..., Any], tuple[Any, ...]]


class Decoders:
    """`workers` processes that are made when first needed; a call waits `patience` seconds for a free one.

    Threads may share it.
    """

    def __init__(self, workers: int, time_limit: float, *, patience: float = 20.0):
        self._patience = patience
        self._all: list[Isolated[Job, Any]] = [Isolated(do, time_limit) for _ in range(workers)]
        self._free: queue.SimpleQueue[Isolated[Job, Any]] = queue.SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    def __call__(self, function: Callable[..., Result], *args: Any) -> Result:
        """What the function gives, or raises; `WorkerDied` when it took its process with it. All must pickle.

        Raises `Problem` (503) when no process becomes free: a few slow files must not hold up all who come after them.
        """
        try:
            worker = self._free.get(timeout=self._patience)
        except queue.Empty:
            message = f"the server is busy with other files, and was not free within {self._patience:g} s"
            raise Problem(503, "busy", message, "try again in a minute") from None
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
