"""Encoding on a Ray cluster: processes on any machine decode, others hold the model, this one commits.

    jobs -> decode (workers, a CPU each) -> model (models, a GPU each where there are any) -> rows, committed here

Files are read where they are decoded: every machine sees the media under the paths that the library's roots name (a
shared file system). Each decoder works in a process of its own below Ray's, so a file that crashes or hangs its reader
costs itself and nothing else. RAY_ADDRESS names a cluster; without it one is started on this machine.
"""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from seehear.encoders import Encoder, Sample
from seehear.errors import SeehearError, require
from seehear.library.ahead import drawn_ahead
from seehear.library.backlog import Job
from seehear.library.engines import TIME_LIMIT, Done, Following, Results, encoded
from seehear.library.workers import Isolated, call, cores

_BLOCK = 64  # jobs that one decoder takes at a time
Columns = dict[str, Any]


class OnRay:
    """Made by `on_ray`, which connects to the cluster."""

    def __init__(self, ray: Any, *, workers: int, models: int):
        self.ray, self.workers, self.models = ray, workers, models

    @contextmanager
    def vectors(self, encoder: Encoder, jobs: Sequence[Job], batch_size: int) -> Iterator[Iterator[list[Done]]]:
        with drawn_ahead(self._stream(encoder, jobs, batch_size), room=2 * batch_size) as batches:
            yield batches

    def _stream(self, encoder: Encoder, jobs: Sequence[Job], batch_size: int) -> Generator[Done, None, None]:
        pool, text = self.ray.data.ActorPoolStrategy, encoder.modality == "text"
        rows = self.ray.data.from_arrow(_blocks([job.sample for job in jobs], _BLOCK))
        if not text:
            workers = min(self.workers, -(-len(jobs) // _BLOCK))
            decoder = {"function": encoder.preparation(), "time_limit": TIME_LIMIT}
            compute = pool(size=workers)
            rows = rows.map_batches(Decoder, fn_constructor_kwargs=decoder, batch_size=_BLOCK, compute=compute)
        made = rows.map_batches(
            Model,
            fn_constructor_kwargs={"encoder": encoder, "prepare": encoder.preparation() if text else None},
            batch_size=batch_size,
            num_gpus=1 if self.ray.cluster_resources().get("GPU") else 0,
            compute=pool(size=self.models),
        )
        yield from self._drawn(made, jobs)

    @contextmanager
    def results(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        time_limit: Callable[[Any], float],
        following: Following,
    ) -> Iterator[Iterator[Results]]:
        made = self.ray.data.from_arrow(_blocks(items, 1)).map_batches(
            Decoder,
            fn_constructor_kwargs={"function": function, "time_limit": time_limit, "following": following},
            batch_size=1,
            compute=self.ray.data.ActorPoolStrategy(size=min(self.workers, len(items))),
        )
        with drawn_ahead(self._drawn(made, items), room=16) as batches:
            yield batches

    def _drawn(self, made: Any, items: Sequence[Any]) -> Generator[tuple[Any, Any], None, None]:
        try:
            for batch in made.iter_batches(batch_size=None, prefetch_batches=1):
                for number, result in _rows(batch):
                    yield items[number], result
        except self.ray.exceptions.RayError as error:
            raise SeehearError(f"the work on Ray ended: {str(error).strip().splitlines()[-1]}") from error


class Decoder:
    """A Ray actor: windows of media to what the model takes, or recordings to texts, one after the other."""

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


class Model:
    """A Ray actor: the frozen encoder. Texts are prepared here, there is nothing to decode."""

    def __init__(self, encoder: Encoder, prepare: Callable[[Sample], Any] | None):
        self.encoder, self.prepare = encoder, prepare

    def __call__(self, block: Columns) -> Columns:
        rows = _rows(block)
        if self.prepare is not None:
            rows = [(number, call(self.prepare, sample)) for number, sample in rows]
        return _columns(encoded(self.encoder.encode_parts, rows))


def _blocks(samples: Sequence[Any], size: int) -> list[Any]:
    """Arrow tables of (number, value): a sample is pickled, for Arrow has no type for it."""
    pa = require("pyarrow")
    tables = []
    for at in range(0, len(samples), size):
        part = samples[at : at + size]
        numbers = pa.array(range(at, at + len(part)), pa.int64())
        tables.append(pa.table({"number": numbers, "value": pa.array([pickle.dumps(s) for s in part], pa.binary())}))
    return tables


def _rows(block: Columns) -> list[tuple[int, Any]]:
    """(number, what `_blocks` or `_columns` pickled)."""
    return [(n, pickle.loads(value)) for n, value in zip(block["number"].tolist(), block["value"], strict=True)]


def _columns(rows: Sequence[tuple[int, Any]]) -> Columns:
    values = np.empty(len(rows), dtype=object)
    values[:] = [pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL) for _, value in rows]
    return {"number": np.array([number for number, _ in rows], dtype=np.int64), "value": values}


@contextmanager
def on_ray(*, workers: int | None, models: int) -> Iterator[OnRay]:
    """Join the cluster, or start one here and end it afterwards. `workers`: all CPUs that the models leave."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    ray = require("ray", "ray")
    require("ray.data", "ray")
    mine = not ray.is_initialized()
    if mine:
        _join(ray, workers, models)
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


def _join(ray: Any, workers: int | None, models: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lancedb fork", category=RuntimeWarning)  # Ray's programs are exec'ed
        if "RAY_ADDRESS" in os.environ:
            ray.init(**quiet)
        else:
            cpus = models + max(1, cores() if workers is None else workers)
            ray.init(num_cpus=cpus, include_dashboard=False, **quiet)
