"""Batches in an order that depends on (seed, epoch) alone: the same with any number of workers and processes, and from
any step on, so that a run resumed in the middle of an epoch sees exactly what it would have seen."""

from __future__ import annotations

import math
import signal
import sys
import threading
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from seehear import distributed
from seehear.errors import SeehearError
from seehear.library.workers import cores
from seehear.nn.random import seed_of
from seehear.types import Batch, Int, Tensor

# Chunks each worker prepares before they are asked for.
AHEAD = 3


class TrainingData(Protocol):
    """Samples to train on; picklable when `heavy`."""

    heavy: bool
    """Whether samples are decoded, so that worker processes pay."""
    together: int
    """Number of consecutive samples, clips of one recording, that share a batch. 1: samples are independent."""

    @property
    def groups(self) -> Tensor:
        """(N,) int64: samples of one source recording share a number."""
        ...

    def __len__(self) -> int: ...

    def batch(self, indices: Int[Tensor, " b"], *, seed: int, epoch: int) -> Batch:
        """Samples in that order. Augmentation is a function of (seed, epoch, index); the batch's keys are always the
        same."""
        ...


@dataclass(frozen=True)
class Place:
    """Position of a global step in the data."""

    epoch: int
    within: int
    """Steps of this epoch before this one."""
    steps: int
    """Steps in this epoch."""
    rows: int
    """Rows of its global batch."""


def batches_of_epoch(
    groups: Int[Tensor, " n"], rows: int, *, seed: int, epoch: int, distinct: bool = False
) -> Int[Tensor, "steps b"]:
    """Global batches of sample indices of one epoch, a function of (seed, epoch). The remainder is left out.

    `distinct`: at most one sample of a group in a batch. Samples in order of their group are dealt to the batches like
    cards, so a group no larger than the number of batches never meets itself; of a larger one some sit out, other ones
    each epoch.
    """
    generator = torch.Generator().manual_seed(seed_of(seed, "order", epoch))
    order = torch.randperm(len(groups), generator=generator)
    if not distinct:
        steps = len(groups) // rows
        # The rest is dropped, not filled up with clips of this epoch: a clip twice in a batch is a false negative.
        return order[: steps * rows].view(steps, rows)
    steps = _distinct_steps(groups, rows)
    numbers, group = torch.unique(groups[order], return_inverse=True)
    # Groups in random order, each in one piece.
    rank = torch.randperm(len(numbers), generator=generator)[group]
    by_group = rank.argsort(stable=True)
    order, rank = order[by_group], rank[by_group]
    first_of_group = torch.searchsorted(rank, rank)
    order = order[torch.arange(len(order)) - first_of_group < steps]
    # Dealt like cards: neighbours go to different batches.
    return order[: len(order) // steps * steps].view(-1, steps).T[:, :rows].contiguous()


def _distinct_steps(groups: Tensor, rows: int) -> int:
    """Largest number of batches of `rows` different groups: a group gives at most one sample to a batch."""
    sizes = torch.unique(groups, return_counts=True)[1]
    steps = len(groups) // rows
    # With fewer batches large groups give fewer samples, which may mean fewer batches still.
    while (possible := int(sizes.clamp(max=steps).sum()) // rows) < steps:
        steps = possible
    return steps


class _Chunks(Dataset):
    """Dataset of worker processes: (epoch, indices) -> batch."""

    def __init__(self, data: TrainingData, seed: int):
        self.data, self.seed = data, seed

    def __getitem__(self, call: tuple[int, list[int]]) -> Batch:
        epoch, indices = call
        return self.data.batch(torch.tensor(indices), seed=self.seed, epoch=epoch)


def _ignore_interrupts(_: int) -> None:
    # Ctrl-C reaches every process of the terminal; the main process decides when the workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


# Processes of the loader get this function pickled, by name: a lambda has none.
def _unchanged(batch: Any) -> Any:
    return batch


@contextmanager
def _signals_as_they_are() -> Iterator[None]:
    """Undoes inside's change of the handler of SIGCHLD; Windows has none, and only the main thread can set it."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _stream(
    chunks: _Chunks, calls: Iterable[tuple[int, list[int]]], workers: int, device: torch.device
) -> Iterator[Batch]:
    """Batches of some calls, in their order, from worker processes."""
    loader = DataLoader(
        chunks,
        sampler=calls,
        # A call is a whole chunk: nothing is left to batch or to stack.
        batch_size=None,
        collate_fn=_unchanged,
        worker_init_fn=_ignore_interrupts,
        # A fork would inherit the locks of threads it does not have.
        multiprocessing_context="spawn",
        # More only wait for each other, and torch warns of them.
        num_workers=min(workers, cores()),
        prefetch_factor=AHEAD,
        pin_memory=device.type == "cuda",
    )
    try:
        # torch's handler of signals would raise a death in whatever runs then, such as the writing of a checkpoint. A
        # fetch looks by itself whether the workers live.
        with _signals_as_they_are():
            batches = iter(loader)
        yield from batches
    # A worker that dies while it hands a batch over breaks the connection.
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker (pid" not in str(error):
            raise
        raise SeehearError(
            "a process that loads batches died, most often of too little memory: run the same command again with "
            "--resume to continue, and with fewer --train.workers if it dies again"
        ) from error


def in_order(data: TrainingData, *, rows: int, workers: int = 0, device: torch.device | None = None) -> Iterator[Batch]:
    """All samples once, in order, at most `rows` a batch: for evaluation."""
    device, workers = device or torch.device("cpu"), workers if data.heavy else 0
    calls = [(0, part.tolist()) for part in torch.arange(len(data)).split(rows)]
    # Evaluation draws nothing: every seed gives the same.
    chunks = _Chunks(data, seed=0)
    for batch in _stream(chunks, calls, workers, device) if workers else map(chunks.__getitem__, calls):
        yield {k: v.to(device, non_blocking=True) for k, v in batch.items()}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Batches of a run."""

    batch_size: int | tuple[int, ...]
    """Rows of a global batch, or one number for each epoch; a smaller set trains with what it has."""
    seed: int
    epochs: int = 1
    steps: int | None = None
    """Number of steps; overrides `epochs`."""
    distinct_groups: bool = False
    """At most one sample of a source recording in a batch, or one lot where samples come together."""
    even: bool = False
    """Leave out one row of a batch with an odd number."""


class Loader:
    """This rank's rows of every global batch of a run."""

    def __init__(self, data: TrainingData, sampling: Sampling, *, workers: int = 0, device: torch.device | None = None):
        self.data, self.seed, self.distinct = data, sampling.seed, sampling.distinct_groups
        self.together = together = data.together
        # One group for each lot that is dealt to batches.
        self.groups = data.groups.cpu()[::together]
        self.workers = workers if data.heavy else 0
        self.device = device or torch.device("cpu")
        lots = len(torch.unique(self.groups)) if self.distinct else len(self.groups)
        if (count := lots if self.distinct else lots * together) < 2:
            what = "source recording" if self.distinct else "sample"
            raise SeehearError(
                f"training compares samples with each other: it needs two at least, here is {count} {what}"
            )
        sizes = (sampling.batch_size,) if isinstance(sampling.batch_size, int) else sampling.batch_size
        if uneven := [size for size in sizes if size % together]:
            raise SeehearError(
                f"the {together} training clips of a recording come in one batch: batch_size must be a multiple of "
                f"{together}, got {uneven[0]}"
            )
        # A batch holds whole lots, and an even number of rows where halves of it are mixed.
        unit = math.lcm(together, 1 + sampling.even)
        self.rows = [min(size, lots * together) // unit * unit for size in sizes]
        if (small := min(self.rows)) < distributed.world_size():
            raise SeehearError(f"a batch of {small} rows cannot be cut over {distributed.world_size()} processes")
        dealt = [rows // together for rows in self.rows]
        per_epoch = [_distinct_steps(self.groups, r) if self.distinct else len(self.groups) // r for r in dealt]
        steps = sampling.steps
        if len(sizes) == 1:
            epochs = sampling.epochs if steps is None else -(-steps // per_epoch[0])
            per_epoch *= epochs
            self.rows *= epochs
        self._ends = list(accumulate(per_epoch))
        self.steps = self._ends[-1] if steps is None else min(steps, self._ends[-1])
        self._whole_epochs = steps is None
        self._epoch: tuple[int, Tensor] | None = None

    @property
    def epochs(self) -> int:
        return len(self._ends)

    def place(self, step: int) -> Place:
        epoch = bisect_right(self._ends, step)
        start = self._ends[epoch - 1] if epoch else 0
        return Place(epoch, step - start, self._ends[epoch] - start, self.rows[epoch])

    def progress(self, step: int) -> float:
        """Fraction of the run before this step, in [0, 1]; counted in epochs where the length is, as batches may change
        size between them."""
        if step >= self.steps:
            return 1.0
        if not self._whole_epochs:
            return step / self.steps
        place = self.place(step)
        return (place.epoch + place.within / place.steps) / self.epochs

    def indices(self, step: int) -> Int[Tensor, " b"]:
        """The samples of the global batch of a step."""
        place = self.place(step)
        # Drawn once an epoch; a resumed run draws the same order again from the seed.
        if self._epoch is None or self._epoch[0] != place.epoch:
            dealt = place.rows // self.together
            order = batches_of_epoch(self.groups, dealt, seed=self.seed, epoch=place.epoch, distinct=self.distinct)
            self._epoch = (place.epoch, order)
        first = self._epoch[1][place.within] * self.together
        return (first[:, None] + torch.arange(self.together)).flatten()

    def batches(self, start: int = 0) -> Generator[Batch, None, None]:
        """This rank's rows of the batches from a step on, on the device."""
        if not self.workers:
            for epoch, indices in self._calls(start):
                batch = self.data.batch(indices, seed=self.seed, epoch=epoch)
                if self.device.type == "cuda":
                    # From pinned memory the copy runs beside the computation.
                    batch = {k: v if v.is_cuda else v.pin_memory() for k, v in batch.items()}
                yield self._arrive(batch)
            return
        # Every worker prepares a part of each batch, so that little waits in memory; parts come back in order.
        parts = (
            (epoch, part.tolist())
            for epoch, indices in self._calls(start)
            for part in indices.tensor_split(min(self.workers, len(indices)))
        )
        stream = _stream(_Chunks(self.data, self.seed), parts, self.workers, self.device)
        for step in range(start, self.steps):
            share = distributed.share(self.place(step).rows)
            # As many parts as this step was cut into above.
            chunks = [self._arrive(c) for c in islice(stream, min(self.workers, share.stop - share.start))]
            yield {k: torch.cat([c[k] for c in chunks]) for k in chunks[0]}

    def _calls(self, start: int) -> Iterator[tuple[int, Tensor]]:
        for step in range(start, self.steps):
            indices = self.indices(step)
            yield self.place(step).epoch, indices[distributed.share(len(indices))]

    def _arrive(self, batch: Batch) -> Batch:
        return {k: v.to(self.device, non_blocking=True) for k, v in batch.items()}
