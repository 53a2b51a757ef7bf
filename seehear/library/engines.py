"""Engines that decode and encode jobs: on this machine, or on a Ray cluster (`ray_engine.py`).

An engine only turns jobs into vectors. What is missing, what is set aside and what is committed when is decided in one
place for all of them (`encode.py`), so that every engine leaves the same rows and resumes in the same way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from seehear.encoders import Encoder
from seehear.encoders.base import Encoded
from seehear.library.ahead import drawn_ahead
from seehear.library.backlog import Job
from seehear.library.workers import cores, map_in_processes

Done = tuple[Job, Encoded | Exception]
"""A job and its vectors, or why it has none."""

Results = list[tuple[Any, Any]]
"""Items and what came of each: its result, or the exception that it raised."""

EncodeParts = Callable[[Sequence[Any]], list[Encoded]]
"""`Encoder.encode_parts` of one encoder."""

Following = Callable[[Any, Any], Any]
"""What is left of an item, from the item and its result; None for nothing."""

TIME_LIMIT = 300.0
"""Seconds for one clip to be decoded: beyond it the file hangs its reader."""


class Engine(Protocol):
    def vectors(
        self, encoder: Encoder, jobs: Sequence[Job], batch_size: int
    ) -> AbstractContextManager[Iterator[list[Done]]]:
        """Lists of results, in any order. An empty list only tells that time has passed."""
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
    """Work on one job."""

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
        with _sample_a_thread(encoder) as encode_parts, drawn_ahead(prepared, room=2 * batch_size) as batches:
            yield (encoded(encode_parts, batch) for batch in batches)

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


def encoded(encode_parts: EncodeParts, prepared: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Encoded | Exception]]:
    """(job, what was decoded or why not) -> (job, its vectors or why not)."""
    good = [sample for _, sample in prepared if not isinstance(sample, Exception)]
    vectors = iter(encode_parts(good) if good else ())
    return [(job, sample if isinstance(sample, Exception) else next(vectors)) for job, sample in prepared]


@contextmanager
def _sample_a_thread(encoder: Encoder) -> Iterator[EncodeParts]:
    """`encode_parts` with every sample on a thread of its own, where each goes through the network alone: media on a
    CPU. torch's own threads share each layer and wait for each other at its end, longest for one whose core decodes."""
    if encoder.modality == "text" or encoder.device != "cpu" or encoder.of_run:
        yield encoder.encode_parts
        return
    import torch  # not above: processes that only decode import this file, and do without

    def encode_parts(prepared: Sequence[Any]) -> list[Encoded]:
        return [parts[0] for parts in pool.map(lambda sample: encoder.encode_parts([sample]), prepared)]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of each thread that is started from here on
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield encode_parts
    finally:
        torch.set_num_threads(threads)
