"""Cost of one run on one library on this machine: better and better estimates, so that one can stop any time.

    estimated   forward passes of a few clips, two where they are decoded; a step is three of them
    scaled      steps of the real loop on fewer clips than a batch has, scaled by clips
    measured    steps of the real loop

Operations are counted at the start, middle and end of a run and integrated over it (Simpson), and measured steps
are spread over the run: a masking ratio that changes, and batches that follow it, are in both.
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
    from seehear.library.tables import Library

_FEW_CLIPS, _FEW_LATENTS = 2, 64  # that can be tried anywhere
_FEWEST_STEPS = 5  # before batches are made smaller than they are
_SCORED = 16  # clips of media whose scoring is timed
_WEIGHT, _STATE = 4, 16  # bytes a parameter: alone; with its gradient and two means of AdamW
_COUNTED = 0.1  # of the time that is left, which a step that is only counted may take
_SPARE = 0.75  # of the time and the memory there is: the rest is for what was not foreseen


@dataclass(frozen=True, kw_only=True)
class Estimate:
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


def estimates(library: Library, run: Run[Any, Any], *, steps: int, seconds: float) -> Iterator[Estimate]:
    """At most so many measured steps, and about so many seconds. Raises `SeehearError` for what the library lacks."""
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


def _scorings(job: Prepared) -> float:
    """How many times the clips that are scored here are scored in a run."""
    times = job.run.train.evaluations + 1 if job.run.train.evaluations else 0
    return times * min(job.validation, job.run.data.validate_at_most) / max(1, job.scored)


class _Estimating:
    """`now` is the best that is known; each call makes it better."""

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
        self.memory = [(0, peak_bytes(self.device) + rest)]  # (clips in memory at once, the most that was held)

    def forward(self) -> Estimate:
        """Of a few clips, at every place."""
        batch, config = self._batch(), self._config(self.rows)
        began = time.monotonic()
        flops = [forward_flops(self.job.method, batch, config, progress=p) for p in PLACES]
        per_row = self.forward_row = (time.monotonic() - began) / len(PLACES) / self.rows
        self.ratios = [f / flops[1] for f in flops]
        self._count(3 * flops[1] / self.rows)
        return self._time(3 * per_row, "estimated", rows=self.rows, steps=0)

    def few(self) -> Estimate:
        """Two steps of a few clips."""
        config = self._config(self.rows)
        if 3 * self.forward_row * self.rows < _COUNTED * (self.until - time.monotonic()):  # else three forward passes
            self._count(step_flops(self.job.method, self._batch(), config, progress=PLACES[1]) / self.rows)
        self.tried = self._rehearse(replace(config, workers=0), 2)
        return self._time(self.tried.per_row, "scaled", rows=self.rows, steps=len(self.tried.seconds))

    def many(self, steps: int) -> Estimate:
        rows, steps = self._affordable(steps)
        config = self._config(rows)
        done = self._rehearse(config, steps)
        per_row = done.per_row
        if self.passes > 1:  # the same clips again, as later passes over them go
            done = self._rehearse(config, steps)
            per_row += (done.per_row - per_row) * (1 - 1 / self.passes)
        self.now = replace(self.now, waiting=done.waited)
        return self._time(per_row, "measured" if rows == self.full else "scaled", rows, len(done.seconds))

    def scored(self) -> Estimate:
        began = time.monotonic()
        assert self.job.score is not None
        self.job.score(self.job.method)
        taken = (time.monotonic() - began) * _scorings(self.job)
        self.now = replace(self.now, seconds=self.now.seconds + taken)
        return self.now

    # -- pieces ------------------------------------------------------------------------------------------------------

    def _config(self, rows: int) -> TrainConfig:
        """For batches of so many clips, with gradient caching where the run has it."""
        micro = self.run.train.micro_batch
        if micro is not None and micro < self.full:
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
        """Clips that are in memory at once."""
        return min(rows, config.micro_batch or rows)

    def _affordable(self, steps: int) -> tuple[int, int]:
        """(clips, steps) that time and memory allow: whole batches of fewer steps before smaller batches."""
        left = max(0.0, self.until - time.monotonic()) / (2 if self.passes > 1 else 1)
        clips = left / self.tried.per_row
        steps = max(1, min(steps, max(_FEWEST_STEPS, int(clips / self.full))))
        rows = min(self.full, int(clips / steps))
        while rows > self.rows and self._bytes(rows) > _SPARE * self.now.free_bytes:
            rows //= 2
        unit = self.rows
        rows = self.full if rows == self.full else max(unit, rows // unit * unit)
        return rows, max(1, min(steps, int(clips / rows)))

    def _bytes(self, rows: int) -> float:
        """The peak with so many clips: measured, or on the line through what was measured."""
        (none, least), (many, most) = self.memory[0], self.memory[-1]
        slope = max(0.0, most - least) / max(1, many - none)
        return most + slope * max(0, self._graph(rows, self._config(rows)) - many)

    def _count(self, per_row: float) -> None:
        """Operations of a clip in the middle of the run -> of the run."""
        first, middle, last = self.ratios
        seen = self.now.rows * self.now.steps
        flops = per_row * seen * (first + 4 * middle + last) / 6
        self.now = replace(self.now, flops=flops, flops_step=flops / self.now.steps)

    def _time(self, per_row: float, how: Any, rows: int, steps: int) -> Estimate:
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


def _known(recipe: str, job: Prepared, loader: Loader) -> Estimate:
    """The part of an estimate that needs no measurement."""
    parameters = sum(p.numel() for p in job.method.parameters())
    state, free = _STATE * parameters, available_bytes(loader.device)
    alone = f"weights, gradients and optimiser alone need {state / 1e9:.1f} GB, and {free / 1e9:.1f} are free"
    return Estimate(
        recipe=recipe,
        why_not=alone if state > free else "",
        parameters=parameters,
        clips=job.clips,
        steps=loader.steps,
        rows=_seen(loader) / loader.steps,
        bytes=state,
        free_bytes=free,
    )


def _seen(loader: Loader) -> int:
    """Clips of a whole run, one that is seen twice counted twice."""
    step, seen = 0, 0
    while step < loader.steps:
        place = loader.place(step)
        steps = min(place.steps, loader.steps - step)
        step, seen = step + steps, seen + steps * place.rows
    return seen
