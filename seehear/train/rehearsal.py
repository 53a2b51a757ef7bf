"""Measured cost of a training step, before a run: time, operations, memory.

Steps use the loader, gradients and optimiser of `loop.py`, on fewer clips if asked, and are spread over the whole run,
so that a schedule (a masking ratio) counts with its share. Memory is that of the process on a CPU, else of the device.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from seehear.inputs.loader import TrainingData
from seehear.methods.base import Method
from seehear.nn.flops import count_flops
from seehear.nn.random import Randomness
from seehear.train.config import TrainConfig, autocast, numerics
from seehear.train.loop import loader_of
from seehear.train.optim import (
    Computation,
    OptimConfig,
    assemble,
    gradients,
    learning_rate,
    optimizer_of,
    set_learning_rate,
)
from seehear.types import Batch, StepOutput

PLACES = (0.0, 0.5, 0.999)
"""Moments of a run at which operations are counted."""

_MEMINFO, _STATUS = Path("/proc/meminfo"), Path("/proc/self/status")
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Memory limits of a container, cgroup v2 and v1. (Their own count of used memory includes cached files.)"""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    rows: int
    """Clips of a step."""
    seconds: tuple[float, ...]
    """Time of each step, after one warm-up step."""
    waiting: tuple[float, ...]
    """Part of each step's time spent waiting for the next batch."""

    @property
    def per_row(self) -> float:
        return sum(self.seconds) / len(self.seconds) / self.rows

    @property
    def waited(self) -> float:
        """Fraction of the time spent waiting for clips."""
        return sum(self.waiting) / sum(self.seconds)


def rehearse(
    method: Method, data: TrainingData, *, config: TrainConfig, optim: OptimConfig, steps: int, until: float
) -> Rehearsal:
    """Times up to `steps` steps, until `time.monotonic()` is `until`. `config.batch_size` must be one number."""
    # Two more: the first step warms up, and the last one, too, waits for a batch after it.
    loader = loader_of(method, data, config, steps=steps + 2)
    method.to(loader.device).train()
    optimizer = optimizer_of(method, optim)
    how = Computation.of(method, config)
    seconds, waiting = list[float](), list[float]()
    with numerics(config), closing(loader.batches()) as batches:
        batch = next(batches)
        for step in range(steps + 1):
            # One step is timed, however late it is.
            if seconds and time.monotonic() > until:
                break
            began = time.monotonic()
            rng, moment = _randomness(method, batch, config, step), max(0.0, step - 0.5) / steps
            with torch.no_grad():
                # The schedule of a masking ratio moves with the run: its moments are spread over the steps.
                method.before_step(moment)
            out = gradients(method, batch, progress=moment, rng=rng, how=how)
            asked = time.monotonic()
            batch = next(batches)
            arrived = time.monotonic()
            set_learning_rate(optimizer, learning_rate(optim, loader, step))
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                method.after_step(out, loader.progress(step))
            # Waits for the device, which computes after the calls have returned.
            out.loss.item()
            if step:
                seconds.append(time.monotonic() - began)
                waiting.append(arrived - asked)
    return Rehearsal(rows=loader.place(0).rows, seconds=tuple(seconds), waiting=tuple(waiting))


def step_flops(method: Method, batch: Batch, config: TrainConfig, *, progress: float) -> int:
    """Operations of one training step on a batch, forward and backward."""
    with torch.no_grad():
        method.before_step(progress)
    # Not compiled: only single operations can be counted.
    rng, how = _randomness(method, batch, config, 0), replace(Computation.of(method, config), encode=None)
    try:
        with numerics(config):
            return count_flops(lambda: gradients(method, batch, progress=progress, rng=rng, how=how))
    finally:
        method.zero_grad()


@torch.no_grad()
def forward_flops(method: Method, batch: Batch, config: TrainConfig, *, progress: float) -> int:
    """Operations of the forward pass of a training step: about a third of the step."""
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
    """Memory available to this process; on a CPU, including what it already holds."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    if sys.platform == "win32":
        import psutil

        return psutil.virtual_memory().available + psutil.Process().memory_info().rss
    # MemAvailable counts the cache of files, which the system gives back; MemFree does not.
    free = _field(_MEMINFO, "MemAvailable") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free += _field(_STATUS, "VmRSS")
    # A container may allow less than the machine has.
    limits = (path.read_text(encoding="utf-8").strip() for path in _LIMITS if path.exists())
    return min([free, *(int(text) for text in limits if text.isdigit())])


def peak_bytes(device: torch.device) -> int:
    """Peak memory since the process began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    # Not getrusage on Linux: its peak includes that of the parent process.
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
