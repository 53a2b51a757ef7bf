"""Where jobs are decoded and encoded: on this machine, or on a Ray cluster (`ray_engine.py`).

An engine only turns jobs into vectors. What is missing, what is set aside and what is committed when is decided in one
place for all of them (`encode.py`), so that every engine leaves the same rows and resumes in the same way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from seehear.data.ahead import drawn_ahead
from seehear.data.backlog import Job
from seehear.data.workers import cores, map_in_processes
from seehear.encoders import Encoder

Done = tuple[Job, "np.ndarray | Exception"]
"""A job and its vector, or why it has none."""

Results = list[tuple[Any, Any]]
"""Items and what came of each: its result, or the exception that it raised."""

Following = Callable[[Any, Any], Any]
"""What is left of an item, from the item and its result; None for nothing."""

TIME_LIMIT = 300.0
"""Seconds for one clip to be decoded: beyond it the file hangs its reader."""


class Engine(Protocol):
    def vectors(
        self, encoder: Encoder, jobs: Sequence[Job], batch_size: int
    ) -> AbstractContextManager[Iterator[list[Done]]]:
        """What is done, in lists, in any order. An empty list says only that time has passed."""
        ...

    def results(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        time_limit: Callable[[Any], float],
        following: Following,
    ) -> AbstractContextManager[Iterator[Results]]:
        """The same of any function, which is called in worker processes; what follows from an item is done after it."""
        ...


@dataclass(frozen=True)
class Prepare:
    """What a worker does with a job."""

    preparation: Any

    def __call__(self, job: Job) -> Any:
        return self.preparation(job.sample)


class Local:
    """Processes of this machine decode, the model is in this one."""

    def __init__(self, workers: int | None = None):
        self.workers = cores() if workers is None else workers

    @contextmanager
    def vectors(self, encoder: Encoder, jobs: Sequence[Job], batch_size: int) -> Iterator[Iterator[list[Done]]]:
        workers = 0 if encoder.modality == "text" else min(self.workers, len(jobs))
        prepared = map_in_processes(Prepare(encoder.preparation()), jobs, workers=workers, time_limit=TIME_LIMIT)
        with _a_core_to_decode(), drawn_ahead(prepared, room=2 * batch_size) as batches:
            yield (encoded(encoder, batch) for batch in batches)

    @contextmanager
    def results(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        time_limit: Callable[[Any], float],
        following: Following,
    ) -> Iterator[Iterator[Results]]:
        stopped, workers = threading.Event(), min(self.workers, len(items))
        made = map_in_processes(
            function, items, workers=workers, time_limit=time_limit, stopped=stopped, following=following
        )
        with drawn_ahead(made, room=16) as batches:
            try:
                yield batches
            finally:
                stopped.set()


def encoded(encoder: Encoder, prepared: Sequence[tuple[Any, Any]]) -> list[tuple[Any, np.ndarray | Exception]]:
    """(job, what was decoded or why not) -> (job, its vector or why not)."""
    good = [sample for _, sample in prepared if not isinstance(sample, Exception)]
    vectors = iter(encoder.encode(good) if good else ())
    return [(job, sample if isinstance(sample, Exception) else next(vectors)) for job, sample in prepared]


@contextmanager
def _a_core_to_decode() -> Iterator[None]:
    """Model threads that wait for a core which decodes slow each other down many times over: leave one free."""
    import torch  # not above: processes that only decode import this file, and do without

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
