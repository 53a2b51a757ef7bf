"""Cost of one run on one library on this machine: estimates that improve until the time is up.

    estimated   forward passes of a few clips, two if they are decoded; a step is three passes
    scaled      steps of the real loop with smaller batches, scaled by clips
    measured    steps of the real loop

Operations are integrated over the run (Simpson) and measured steps are spread over it, so that both account for a
changing masking ratio and for batches that follow it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from seehear.inputs.loader import Loader
from seehear.runs.config import Run
from seehear.runs.run import Prepared, prepare
from seehear.train.config import TrainConfig
from seehear.train.rehearsal import (
    PLACES,
    Rehearsal,
    available_bytes,
    forward_flops,
    loader_of,
    peak_bytes,
    rehearse,
    step_flops,
)
from seehear.types import Batch

if TYPE_CHECKING:
    from seehear.library.tables import LibraryTables

# Rows of the first try, few enough for any machine.
_FEW_CLIPS, _FEW_LATENTS = 2, 64
# Steps below which batches are made smaller instead.
_FEWEST_STEPS = 5
# Clips of media whose scoring is timed.
_SCORED = 16
# Bytes of a parameter: alone, and with its gradient and AdamW's two moments.
_WEIGHT, _STATE = 4, 16
# Largest share of the remaining time for a step whose operations are only counted.
_COUNTED = 0.1
# Share of time and memory that is planned with; the rest is for surprises.
_SPARE = 0.75


@dataclass(frozen=True, kw_only=True)
class CostEstimate:
    recipe: str
    why_not: str = ""
    """Reason why it cannot be trained here, or was not measured; '' for none."""
    unmeasured: bool = False
    """True if only the time was too short for a measurement."""
    how: Literal["", "estimated", "scaled", "measured"] = ""
    """Basis of the time; empty: nothing yet."""
    parameters: int = 0
    clips: int = 0
    """Clips to train on."""
    steps: int = 0
    rows: float = 0.0
    """Clips of a step, the mean over the run."""
    flops_step: float = 0.0
    """Floating-point operations of a step, two a multiply-add; the mean over the run."""
    flops: float = 0.0
    """Floating-point operations of the whole run."""
    bytes: float = 0.0
    """The most memory at once: of the process on a CPU, of the device on any other."""
    free_bytes: int = 0
    """Free memory of the device."""
    seconds: float = 0.0
    """Seconds of the whole run with its evaluations; patience may end it earlier."""
    step_seconds: float = 0.0
    waiting: float = 0.0
    """Share of a step that waits for clips to be read."""
    measured_rows: int = 0
    """Clips of a measured step."""
    measured_steps: int = 0

    @property
    def fits(self) -> bool:
        return not self.why_not and bool(self.how) and self.bytes <= self.free_bytes


def estimates(library: LibraryTables, run: Run[Any, Any], *, steps: int, seconds: float) -> Iterator[CostEstimate]:
    """Yields better estimates with at most `steps` measured steps, in about `seconds`. Raises `SeehearError` if the
    library lacks what the run needs."""
    began = time.monotonic()
    inputs = run.data.load(library, run.method)
    job = prepare(inputs, run, scored=_SCORED if inputs.clips.heavy else None)
    found = _Estimating(job, setup=time.monotonic() - began, until=began + _SPARE * seconds)
    yield found.now
    if found.now.why_not:
        return
    yield found.forward()
    yield found.few()
    yield found.many(steps)
    if job.score is not None:
        yield found.scored()


class _Estimating:
    """`now` is the best estimate so far; each method improves and returns it."""

    def __init__(self, job: Prepared, *, setup: float, until: float):
        self.run, self.job, self.setup, self.until = job.run, job, setup, until
        loader = loader_of(job.method, job.data, job.run.train)
        self.device, self.full = loader.device, loader.place(0).rows
        self.now = _known(job.run.recipe, job, loader)
        few, unit = _FEW_CLIPS if job.data.heavy else _FEW_LATENTS, loader.together
        self.rows = min(-(-few // unit) * unit, self.full)
        self.ratios = [1.0] * len(PLACES)
        self.passes = self.now.rows * self.now.steps / job.clips if job.run.data.keeps_clips else 1.0
        job.method.to(self.device)
        rest = (_STATE - _WEIGHT) * self.now.parameters
        # (Clips with a graph in memory at once, peak bytes.)
        self.memory = [(0, peak_bytes(self.device) + rest)]

    def forward(self) -> CostEstimate:
        """Estimate from forward passes of a few clips at the start, middle and end of the run."""
        batch, config = self._batch(), self._config(self.rows)
        began = time.monotonic()
        flops = [forward_flops(self.job.method, batch, config, progress=p) for p in PLACES]
        per_row = self.forward_row = (time.monotonic() - began) / len(PLACES) / self.rows
        self.ratios = [f / flops[1] for f in flops]
        self._count(3 * flops[1] / self.rows)
        return self._time(3 * per_row, "estimated", rows=self.rows, steps=0)

    def few(self) -> CostEstimate:
        """Estimate from two steps of a few clips."""
        config = self._config(self.rows)
        # A counted step is slow; without time for it, three forward passes remain the estimate of its operations.
        if 3 * self.forward_row * self.rows < _COUNTED * (self.until - time.monotonic()):
            self._count(step_flops(self.job.method, self._batch(), config, progress=PLACES[1]) / self.rows)
        self.tried = self._rehearse(replace(config, workers=0), 2)
        return self._time(self.tried.per_row, "scaled", rows=self.rows, steps=len(self.tried.seconds))

    def many(self, steps: int) -> CostEstimate:
        """Estimate from as many steps as time and memory allow: whole batches of fewer steps before smaller batches."""
        left = max(0.0, self.until - time.monotonic()) / (2 if self.passes > 1 else 1)
        clips = left / self.tried.per_row
        steps = max(1, min(steps, max(_FEWEST_STEPS, int(clips / self.full))))
        rows = min(self.full, int(clips / steps))
        # A larger batch than fits would end the process, and with it the estimate.
        while rows > self.rows and self._bytes(rows) > _SPARE * self.now.free_bytes:
            rows //= 2
        # Whole multiples of `self.rows`: some methods need their clips in groups.
        rows = self.full if rows == self.full else max(self.rows, rows // self.rows * self.rows)
        steps = max(1, min(steps, int(clips / rows)))
        config = self._config(rows)
        done = self._rehearse(config, steps)
        per_row = done.per_row
        if self.passes > 1:
            # With a cache only the first pass decodes: the same clips again are a later pass.
            done = self._rehearse(config, steps)
            per_row += (done.per_row - per_row) * (1 - 1 / self.passes)
        self.now = replace(self.now, waiting=done.waited)
        return self._time(per_row, "measured" if rows == self.full else "scaled", rows, len(done.seconds))

    def scored(self) -> CostEstimate:
        """The estimate with the run's evaluations, from one of fewer clips."""
        job, began = self.job, time.monotonic()
        assert job.score is not None
        job.score(job.method)
        # The start is evaluated, too.
        evaluations = job.run.train.evaluations + 1 if job.run.train.evaluations else 0
        times = evaluations * min(job.validation, job.run.data.validate_at_most) / max(1, job.scored)
        self.now = replace(self.now, seconds=self.now.seconds + times * (time.monotonic() - began))
        return self.now

    def _config(self, rows: int) -> TrainConfig:
        """Training settings for batches of `rows` clips, with gradient caching if the run has it."""
        micro = self.run.train.micro_batch
        if micro is not None and micro < self.full:
            # Two micro-batches at least: the second encoding is a part of the cost.
            micro = max(1, min(micro, rows // 2))
        return replace(self.run.train, batch_size=rows, micro_batch=micro)

    def _batch(self) -> Batch:
        config = replace(self._config(self.rows), workers=0)
        return next(loader_of(self.job.method, self.job.data, config, steps=2).batches())

    def _rehearse(self, config: TrainConfig, steps: int) -> Rehearsal:
        done = rehearse(
            self.job.method, self.job.data, config=config, optim=self.run.optim, steps=steps, until=self.until
        )
        self.memory.append((self._graph(done.rows, config), peak_bytes(self.device)))
        return done

    def _graph(self, rows: int, config: TrainConfig) -> int:
        """Number of clips with a graph in memory at once."""
        return min(rows, config.micro_batch or rows)

    def _bytes(self, rows: int) -> float:
        """Peak memory with `rows` clips: measured, or extrapolated linearly from the measurements."""
        (none, least), (many, most) = self.memory[0], self.memory[-1]
        slope = max(0.0, most - least) / max(1, many - none)
        return most + slope * max(0, self._graph(rows, self._config(rows)) - many)

    def _count(self, per_row: float) -> None:
        """Notes the operations of the run, given those of one clip in the middle of it."""
        first, middle, last = self.ratios
        # Simpson's rule over the run: exact for costs up to cubic in the progress.
        flops = per_row * self.now.rows * self.now.steps * (first + 4 * middle + last) / 6
        self.now = replace(self.now, flops=flops, flops_step=flops / self.now.steps)

    def _time(self, per_row: float, how: Any, rows: int, steps: int) -> CostEstimate:
        step = per_row * self.now.rows
        self.now = replace(
            self.now,
            how=how,
            step_seconds=step,
            seconds=self.setup + step * self.now.steps,
            bytes=self._bytes(self.full),
            measured_rows=rows,
            measured_steps=steps,
        )
        return self.now


def _known(recipe: str, job: Prepared, loader: Loader) -> CostEstimate:
    """The part of an estimate that needs no measurement."""
    parameters = sum(p.numel() for p in job.method.parameters())
    state, free = _STATE * parameters, available_bytes(loader.device)
    too_large = f"weights, gradients and optimiser alone need {state / 1e9:.1f} GB, and {free / 1e9:.1f} are free"
    # Clips of the whole run, epoch by epoch: batch sizes may change from one to the next.
    step, clips = 0, 0
    while step < loader.steps:
        place = loader.place(step)
        steps = min(place.steps, loader.steps - step)
        step, clips = step + steps, clips + steps * place.rows
    return CostEstimate(
        recipe=recipe,
        why_not=too_large if state > free else "",
        parameters=parameters,
        clips=job.clips,
        steps=loader.steps,
        rows=clips / loader.steps,
        bytes=state,
        free_bytes=free,
    )
