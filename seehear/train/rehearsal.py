"""Some steps of a run that is never kept: what a step takes and computes, before anything is spent.

The same loader, gradients and optimiser as in `loop.py`, on fewer clips where that is asked. Steps are spread over the
whole run: what a schedule makes cheap or dear (a masking ratio) counts with its share. Memory is that of the process on
a CPU, of the device on any other.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from seehear.inputs.loader import TrainingData
from seehear.methods.base import Method
from seehear.nn.flops import count_flops
from seehear.nn.random import Randomness
from seehear.train.config import TrainConfig, autocast, numerics
from seehear.train.gradients import Encode, assemble, gradients
from seehear.train.loop import loader_of
from seehear.train.optim import OptimConfig, learning_rate, optimizer_of, set_learning_rate
from seehear.types import Batch, StepOutput

PLACES = (0.0, 0.5, 0.999)
"""Moments of a run at which operations are counted."""


_MEMINFO, _STATUS = Path("/proc/meminfo"), Path("/proc/self/status")
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of a container, in two generations of Linux. (Their own count of what is used holds cached files too.)"""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    rows: int
    """Clips of a step."""
    seconds: tuple[float, ...]
    """Of each step; one before them is not counted."""
    waiting: tuple[float, ...]
    """Of these, for the next batch: reading that is not hidden behind computing."""

    @property
    def per_row(self) -> float:
        return sum(self.seconds) / len(self.seconds) / self.rows

    @property
    def waited(self) -> float:
        """The share of the time that goes into waiting for clips."""
        return sum(self.waiting) / sum(self.seconds)


def rehearse(
    method: Method, data: TrainingData, *, config: TrainConfig, optim: OptimConfig, steps: int, until: float
) -> Rehearsal:
    """`config.batch_size` is one number here. Ends early, after a counted step, when `time.monotonic()` is `until`."""
    loader = loader_of(method, data, config, steps=steps + 2)  # the last step, too, waits for a batch after it
    method.to(loader.device).train()
    optimizer = optimizer_of(method, optim)
    encode = torch.compile(method.encode) if config.compile else method.encode
    seconds, waiting = list[float](), list[float]()
    with numerics(config), closing(loader.batches()) as batches:
        batch = next(batches)
        for step in range(steps + 1):
            if seconds and time.monotonic() > until:
                break
            began = time.monotonic()
            out = step_gradients(method, batch, config, progress=max(0.0, step - 0.5) / steps, step=step, encode=encode)
            asked = time.monotonic()
            batch = next(batches)
            arrived = time.monotonic()
            set_learning_rate(optimizer, learning_rate(optim, loader, step))
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                method.after_step(out, loader.progress(step))
            out.loss.item()  # the device is done
            if step:
                seconds.append(time.monotonic() - began)
                waiting.append(arrived - asked)
    return Rehearsal(rows=loader.place(0).rows, seconds=tuple(seconds), waiting=tuple(waiting))


def step_gradients(
    method: Method, batch: Batch, config: TrainConfig, *, progress: float, step: int = 0, encode: Encode | None = None
) -> StepOutput:
    """One step's gradients, at a moment of the run."""
    with torch.no_grad():
        method.before_step(progress)
    return gradients(
        method,
        batch,
        progress=progress,
        rng=_randomness(method, batch, config, step),
        micro_batch=config.micro_batch,
        autocast=partial(autocast, config.precision, _device(method)),
        encode=encode,
    )


def step_flops(method: Method, batch: Batch, config: TrainConfig, *, progress: float) -> int:
    """Of one training step on a batch, forward and backward."""
    try:
        with numerics(config):
            return count_flops(lambda: step_gradients(method, batch, config, progress=progress))
    finally:
        method.zero_grad()


@torch.no_grad()
def forward_flops(method: Method, batch: Batch, config: TrainConfig, *, progress: float) -> int:
    """Of the forward pass of a training step: about a third of it."""
    method.before_step(progress)
    rng = _randomness(method, batch, config, 0)
    if method.assembles:
        batch, rng = assemble(method, batch, rng)

    def work() -> StepOutput:
        return method.objective(method.encode(batch, rng=rng), progress=progress, rng=rng)

    with numerics(config), autocast(config.precision, _device(method)):
        return count_flops(work)


def _randomness(method: Method, batch: Batch, config: TrainConfig, step: int) -> Randomness:
    rows = len(batch["group"])
    return Randomness(config.seed, step, 0, rows, rows, _device(method))


def _device(method: Method) -> torch.device:
    return next(method.parameters()).device


# -- memory ------------------------------------------------------------------------------------------------------------


def available_bytes(device: torch.device) -> int:
    """Memory available to this process; on a CPU, memory that it already holds counts as available."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    if sys.platform == "win32":
        import psutil

        return psutil.virtual_memory().available + psutil.Process().memory_info().rss
    free = _field(_MEMINFO, "MemAvailable") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free += _field(_STATUS, "VmRSS")
    limits = (path.read_text(encoding="utf-8").strip() for path in _LIMITS if path.exists())
    return min([free, *(int(text) for text in limits if text.isdigit())])


def peak_bytes(device: torch.device) -> int:
    """The most at once, since the process began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    # Before getrusage: on Linux that gives the parent's peak, too.
    if peak := _field(_STATUS, "VmHWM"):
        return peak
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _field(path: Path, name: str) -> int:
    """Bytes of a field of /proc; 0 where there is none."""
    if not path.exists():
        return 0
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return next((int(words[1]) * 1024 for words in lines if words and words[0] == f"{name}:"), 0)
