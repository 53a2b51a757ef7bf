"""Engines that decode and encode jobs: on this machine, or on a Ray cluster.

An engine only turns jobs into vectors. `encode.py` decides for all of them which rows are missing, set aside and
committed, so that every engine leaves the same rows and resumes in the same way.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np

from seehear.encoders import Encoder, Sample
from seehear.encoders.base import SampleVectors
from seehear.errors import DecodeError, SeehearError, refusal, require
from seehear.library.records import unprintable
from seehear.library.tables import LibraryTables
from seehear.library.workers import Isolated, WorkerDied, call, cores, drawn_ahead, map_in_processes
from seehear.progress import say

Work = TypeVar("Work")
# (clip id, number of its text; 0 for video and audio).
Key = tuple[str, int]


@dataclass(frozen=True)
class Job:
    """A sample to encode, with all rows that it gives: equal texts or equal windows are encoded once."""

    sample: Sample
    content: str
    keys: list[Key] = field(default_factory=list)


# A job with its vectors or its error.
Done = tuple[Job, SampleVectors | Exception]

# Items, each with its result or the exception that it raised.
Results = list[tuple[Any, Any]]
# Such lists in any order, while the work goes on; an empty list means only that time has passed.
Drawn = AbstractContextManager[Iterator[Results]]

# `Encoder.encode_parts` of one encoder.
EncodeParts = Callable[[Sequence[Any]], list[SampleVectors]]

# The rest of an item, from the item and its result; None when it is finished.
Following = Callable[[Any, Any], Any]

# Seconds for one clip to be decoded: a file that takes longer hangs its reader.
TIME_LIMIT = 300.0


class Local:
    """Decoding in processes of this machine, the model in this process."""

    def __init__(self, workers: int | None = None):
        self.workers = cores() if workers is None else workers

    @contextmanager
    def vectors(self, encoder: Encoder, jobs: Sequence[Job], batch_size: int) -> Iterator[Iterator[list[Done]]]:
        """Lists of results, in any order; an empty list means only that time has passed."""
        # Texts are not decoded, and a process would cost more than their tokens.
        workers = 0 if encoder.modality == "text" else min(self.workers, len(jobs))
        decode = partial(_prepared, encoder.preparation())
        prepared = partial(map_in_processes, decode, jobs, workers=workers, time_limit=TIME_LIMIT)
        with _sample_a_thread(encoder) as encode_parts, drawn_ahead(prepared, room=2 * batch_size) as batches:
            yield (_encoded(encode_parts, batch) for batch in batches)

    def results(self, reader: Any, recordings: Sequence[Any], following: Following) -> Drawn:
        """Results of a reader (`recordings.TextReader`); the rest of a recording is read right after its part."""
        options = {"workers": min(self.workers, len(recordings)), "time_limit": reader.time_limit}
        made = partial(map_in_processes, reader, recordings, following=following, **options)
        return drawn_ahead(made, room=16)


def _encoded(
    encode_parts: EncodeParts, prepared: Sequence[tuple[Any, Any]]
) -> list[tuple[Any, SampleVectors | Exception]]:
    """(job, its vectors or error) from (job, decoded sample or error)."""
    good = [sample for _, sample in prepared if not isinstance(sample, Exception)]
    vectors = iter(encode_parts(good) if good else ())
    return [(job, sample if isinstance(sample, Exception) else next(vectors)) for job, sample in prepared]


def _prepared(preparation: Any, job: Job) -> Any:
    # A function of the module, and no lambda: it is pickled to the processes that decode.
    return preparation(job.sample)


@contextmanager
def _sample_a_thread(encoder: Encoder) -> Iterator[EncodeParts]:
    """`encode_parts` of media on a CPU with one sample a thread. torch's own threads share each layer and wait for each
    other at its end, longest for one whose core decodes."""
    if encoder.modality == "text" or encoder.device != "cpu" or encoder.of_run:
        yield encoder.encode_parts
        return
    # Not at the head: processes that only decode import this file, and torch takes them seconds and memory.
    import torch

    def encode_parts(prepared: Sequence[Any]) -> list[SampleVectors]:
        return [parts[0] for parts in pool.map(lambda sample: encoder.encode_parts([sample]), prepared)]

    threads = torch.get_num_threads()
    # The setting holds for threads that are started from here on.
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield encode_parts
    finally:
        torch.set_num_threads(threads)


# -- items that cannot be read -----------------------------------------------------------------------------------------


def set_aside_reason(error: Exception, path: str = "") -> str:
    """Reason for which an item is set aside. Raises the error if the machine, and not the item, is at fault."""
    if isinstance(error, DecodeError):
        return str(error).removeprefix(f"{path}: ")
    if isinstance(error, WorkerDied):
        return f"reading it {error}"
    if isinstance(error, SeehearError | ImportError):
        raise error
    return refusal(error) or f"{type(error).__name__}: {error}"


def at_their_place(
    library: LibraryTables, jobs: list[Work], path_of: Callable[[Work], str], reject: Callable[[Work, str], None]
) -> list[Work]:
    """Jobs whose media folder exists; the others are rejected, with one message a folder. Raises `SeehearError` if one
    missing folder has them all."""
    left = jobs
    for folder in map(unprintable, library.roots().values()):
        lost = [] if os.path.isdir(folder) else [job for job in left if path_of(job).startswith(folder + os.sep)]
        if not lost:
            continue
        message = (
            f"the media folder {folder} no longer exists: put it back, or prepare it where it is now (seehear "
            f"prepare FOLDER --library {library.uri})"
        )
        if len(lost) == len(jobs):
            raise SeehearError(message)
        say(message)
        for job in lost:
            reject(job, f"its media folder {folder} no longer exists")
        left = [job for job in left if not path_of(job).startswith(folder + os.sep)]
    return left


# -- on a Ray cluster --------------------------------------------------------------------------------------------------

# Jobs that one decoder takes at a time.
_BLOCK = 64
Columns = dict[str, Any]


class OnRay:
    """Decoding on any machine of a cluster, a CPU a worker; models on others, a GPU each if there are any.

    Every machine must see the media under the paths of the library's roots (a shared file system). Each decoder works
    in a process of its own below Ray's, so that a file which crashes or hangs it costs only itself.
    """

    def __init__(self, ray: Any, *, workers: int, models: int):
        self.ray, self.workers, self.models = ray, workers, models

    def vectors(self, encoder: Encoder, jobs: Sequence[Job], batch_size: int) -> Drawn:
        pool, text = self.ray.data.ActorPoolStrategy, encoder.modality == "text"
        rows = self.ray.data.from_arrow(_blocks([job.sample for job in jobs], _BLOCK))
        if not text:
            workers = min(self.workers, -(-len(jobs) // _BLOCK))
            decoder = {"function": encoder.preparation(), "time_limit": TIME_LIMIT}
            compute = pool(size=workers)
            rows = rows.map_batches(_DecodingActor, fn_constructor_kwargs=decoder, batch_size=_BLOCK, compute=compute)
        made = rows.map_batches(
            _Model,
            fn_constructor_kwargs={"encoder": encoder, "prepare": encoder.preparation() if text else None},
            batch_size=batch_size,
            num_gpus=1 if self.ray.cluster_resources().get("GPU") else 0,
            compute=pool(size=self.models),
        )
        return self._drawn(made, jobs, room=2 * batch_size)

    def results(self, reader: Any, recordings: Sequence[Any], following: Following) -> Drawn:
        made = self.ray.data.from_arrow(_blocks(recordings, 1)).map_batches(
            _DecodingActor,
            fn_constructor_kwargs={"function": reader, "time_limit": reader.time_limit, "following": following},
            # One recording at a time: a block of several would wait for the longest.
            batch_size=1,
            compute=self.ray.data.ActorPoolStrategy(size=min(self.workers, len(recordings))),
        )
        return self._drawn(made, recordings, room=16)

    def _drawn(self, made: Any, items: Sequence[Any], *, room: int) -> Drawn:
        def draw(stopped: threading.Event) -> Generator[tuple[Any, Any], None, None]:
            try:
                for batch in made.iter_batches(batch_size=None, prefetch_batches=1):
                    for number, result in _rows(batch):
                        yield items[number], result
            except self.ray.exceptions.RayError as error:
                raise SeehearError(f"the work on Ray ended: {str(error).strip().splitlines()[-1]}") from error

        return drawn_ahead(draw, room=room)


class _DecodingActor:
    """Ray actor that decodes windows of media, or reads recordings, one after the other."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        time_limit: float | Callable[[Any], float],
        following: Following | None = None,
    ):
        self.decode, self.following = Isolated(function, time_limit), following

    def __call__(self, block: Columns) -> Iterator[Columns]:
        for number, sample in _rows(block):
            while sample is not None:
                result = self.decode(sample)
                yield _columns([(number, result)])
                sample = self.following(sample, result) if self.following is not None else None


class _Model:
    """Ray actor with the frozen encoder; it also prepares texts, which need no decoding."""

    def __init__(self, encoder: Encoder, prepare: Callable[[Sample], Any] | None):
        self.encoder, self.prepare = encoder, prepare

    def __call__(self, block: Columns) -> Columns:
        rows = _rows(block)
        if self.prepare is not None:
            rows = [(number, call(self.prepare, sample)) for number, sample in rows]
        return _columns(_encoded(self.encoder.encode_parts, rows))


def _blocks(samples: Sequence[Any], size: int) -> list[Any]:
    """Arrow tables of (number, value); samples are pickled, as Arrow has no type for them."""
    pa = require("pyarrow")
    tables = []
    for at in range(0, len(samples), size):
        part = samples[at : at + size]
        numbers = pa.array(range(at, at + len(part)), pa.int64())
        tables.append(pa.table({"number": numbers, "value": pa.array([pickle.dumps(s) for s in part], pa.binary())}))
    return tables


def _rows(block: Columns) -> list[tuple[int, Any]]:
    """(number, value) as pickled by `_blocks` or `_columns`."""
    return [(n, pickle.loads(value)) for n, value in zip(block["number"].tolist(), block["value"], strict=True)]


def _columns(rows: Sequence[tuple[int, Any]]) -> Columns:
    values = np.empty(len(rows), dtype=object)
    values[:] = [pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL) for _, value in rows]
    return {"number": np.array([number for number, _ in rows], dtype=np.int64), "value": values}


Engine = Local | OnRay


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Place of the work and number of its processes, which decide how long it takes and no result."""

    engine: Literal["local", "ray"] = "local"
    """local: this machine. ray: a Ray cluster."""
    workers: int | None = None
    """Processes that decode, or read recordings; by default one a core. 0: this process."""
    models: int = 1
    """Copies of each encoder on a Ray cluster."""
    batch_size: int | None = None
    """Samples in a batch of an encoder; by default by its modality."""

    def started(self) -> AbstractContextManager[Engine]:
        if self.engine == "local":
            return nullcontext(Local(self.workers))
        return on_ray(workers=self.workers, models=self.models)


LOCAL = EngineOptions()


@contextmanager
def on_ray(*, workers: int | None, models: int) -> Iterator[OnRay]:
    """Joins the cluster of RAY_ADDRESS, or starts one on this machine and ends it afterwards. `workers`: by default all
    CPUs that the models leave."""
    # Ray reports its use to its makers unless it is told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require("ray", "ray")
    require("ray.data", "ray")
    mine = not ray.is_initialized()
    if mine:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if "RAY_ADDRESS" not in os.environ:
            cpus = models + max(1, cores() if workers is None else workers)
            quiet |= {"num_cpus": cpus, "include_dashboard": False}
        with warnings.catch_warnings():
            # Ray starts its programs with exec, so LanceDB's threads are never forked.
            warnings.filterwarnings("ignore", message="lancedb fork", category=RuntimeWarning)
            ray.init(**quiet)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        workers = max(1, cpus - models if workers is None else workers)
        if workers + models > cpus:
            raise SeehearError(
                f"the Ray cluster has {cpus} CPUs: too few for {workers} workers and {models} models, one each"
            )
        yield OnRay(ray, workers=workers, models=models)
    finally:
        if mine:
            ray.shutdown()
