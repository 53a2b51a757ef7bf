"""The one training loop. It knows a method by the calls of `methods/base.py` only.

    seed -> step (`gradients.py`) -> finite? (else stop, naming the step and each term) -> clip -> update
         -> after_step -> log / evaluate / save

A run can be stopped at any moment and goes on exactly: the order of samples, their augmentation and every draw are
functions of (seed, step), and all else is in the checkpoint. The best weights by the validation score are kept aside
and are what the method holds when `fit` returns.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from seehear import distributed
from seehear.data.loader import Loader, TrainingData
from seehear.errors import SeehearError, unknown
from seehear.methods.base import Method
from seehear.nn.random import Randomness
from seehear.progress import Progress, progress
from seehear.stopping import Interrupted, StopRequest, stop_requests
from seehear.train import numerics
from seehear.train.checkpoint import Checkpoints, Counters
from seehear.train.folder import open_run
from seehear.train.gradients import gradients
from seehear.train.log import TRACKERS, RunLog
from seehear.train.model_folder import version
from seehear.train.optim import (
    OptimConfig,
    adamw,
    learning_rate,
    load_state_by_name,
    set_learning_rate,
    state_by_name,
)
from seehear.types import Batch, StepOutput, Tensor

Validate = Callable[[Method], dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    epochs: int = 100
    """Passes over the training samples."""
    steps: int | None = None
    """So many steps instead, however many passes that is."""
    batch_size: int | tuple[int, ...] = 1024
    """Samples of a step over all processes, or one number for each epoch; a smaller set trains with what it has."""
    distinct_groups: bool = False
    """At most one sample of a source recording in a batch."""
    micro_batch: int | None = None
    """Encode so many samples at a time: exact gradients in the memory of a small batch, one more encoding a step."""
    seed: int = 0
    """Of the order, the augmentation and every draw."""
    precision: numerics.Precision = "fp32"
    """bf16: products in bfloat16 where that is safe (autocast)."""
    fast_matmul: bool = False
    """Twice as fast float32 products on many CPUs; on chips with AMX, and on CUDA, with fewer digits."""
    compile: bool = False
    """torch.compile the encoding: pays on CUDA for long runs."""
    deterministic: bool = False
    """Only deterministic kernels: on CUDA, two runs then agree bit for bit. On a CPU they do anyway."""
    device: str = "auto"
    """auto: CUDA, else Apple's, else the CPU."""
    workers: int = 2
    """Processes that prepare batches, for data that is decoded; cached latents need none."""
    evaluations: int = 50
    """Validation scores taken, evenly over the run, beside the one before it."""
    patience: int | None = None
    """Stop after so many evaluations without a better score; None: never."""
    score: str = "score"
    """The validation metric to choose the best weights by; higher is better."""
    save_minutes: float = 10.0
    """Time between checkpoints. One is also written at the end, and when the run is interrupted."""
    keep: int = 2
    """Checkpoints kept, beside the best weights."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl."""
    trackers: tuple[str, ...] = ()
    """Experiment trackers to send the metrics to: tensorboard, wandb, mlflow, trackio."""

    def __post_init__(self) -> None:
        sizes = (self.batch_size,) if isinstance(self.batch_size, int) else self.batch_size
        if min(sizes) < 2 or self.epochs < 1 or (self.steps is not None and self.steps < 1):
            raise ValueError("a run has at least one epoch or step, and two samples in a batch")
        if len(sizes) not in (1, self.epochs):
            raise ValueError(f"batch_size has {len(sizes)} numbers for {self.epochs} epochs")
        for name in self.trackers:
            if name not in TRACKERS:
                raise unknown("tracker", name, TRACKERS)


@dataclass(frozen=True)
class TrainResult:
    folder: Path
    steps: int
    """Steps done; fewer than planned when patience ended."""
    best_step: int
    """The step whose weights the method holds now."""
    score: float | None
    """Its validation score; None without validation."""
    metrics: dict[str, float]
    """All that `validate` said of it."""
    seconds: float
    """Of training, over all sessions."""


def fit(
    method: Method,
    data: TrainingData,
    *,
    config: TrainConfig,
    optim: OptimConfig,
    folder: str | Path,
    validate: Validate | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> TrainResult:
    """Train in place. `settings`: what else belongs in config.json and must not change when the run is resumed."""
    folder, device = Path(folder), distributed.device(config.device)
    loader = Loader(
        data,
        batch_size=config.batch_size,
        seed=config.seed,
        epochs=config.epochs,
        steps=config.steps,
        distinct_groups=config.distinct_groups,
        even=method.assembles,
        workers=config.workers,
        device=device,
    )
    everything = {
        "method": {"name": method.name, **asdict(method.config)},
        "train": asdict(config),
        "optim": asdict(optim),
        "samples": len(data),
        "seehear": version(),
        **(settings or {}),
    }
    distributed.from_first(partial(open_run, folder, everything, resume=resume))
    method.to(device)
    distributed.broadcast_module(method)
    with numerics.settings(fast_matmul=config.fast_matmul, deterministic=config.deterministic):
        run = _Run(method, loader, config=config, optim=optim, folder=folder, validate=validate)
        run.restore()
        if distributed.rank() == 0:
            run.log = RunLog(folder, step=run.counters.step, trackers=config.trackers, settings=everything)
        try:
            return run.train()
        finally:
            if run.log is not None:
                run.log.close()


class _Run:
    """What `fit` holds while it works."""

    best: dict[str, Tensor] | None = None
    """The weights of the best score, on the CPU."""

    def __init__(
        self,
        method: Method,
        loader: Loader,
        *,
        config: TrainConfig,
        optim: OptimConfig,
        folder: Path,
        validate: Validate | None,
    ):
        self.method, self.loader = method, loader
        self.config, self.optim, self.validate = config, optim, validate
        self.optimizer = adamw(method, optim)
        self.folder, self.checkpoints = folder, Checkpoints(folder / "checkpoints", config.keep)
        self.counters = Counters()
        self.log: RunLog | None = None
        self.encode = torch.compile(method.encode) if config.compile else method.encode
        self.autocast = partial(numerics.autocast, config.precision, loader.device)
        self.saved_step, self.saved_at = -1, time.monotonic()

    # -- state -------------------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        loaded = self.checkpoints.load()
        distributed.barrier()  # nobody writes before everybody has read
        if loaded is not None:
            self.counters, model, optimizer, self.best = loaded
            self.method.load_state_dict(model)
            load_state_by_name(self.method, self.optimizer, optimizer)
            self.saved_step = self.counters.step

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if distributed.rank() == 0 and self.counters.step != self.saved_step:
            state = state_by_name(self.method, self.optimizer)
            self.checkpoints.save(self.counters, model=self.method.state_dict(), optimizer=state, best=self.best)
            self.saved_step = self.counters.step

    def _say(self, message: str) -> None:
        if self.log is not None:
            self.log.say(message)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def train(self) -> TrainResult:
        counters, total = self.counters, self.loader.steps
        if counters.step:
            self._say(f"going on from step {counters.step:,} of {total:,}")
        else:
            rows = self.loader.place(0).rows
            self._say(f"training {self.method.name}: {total:,} steps of {rows:,} samples, on {self.loader.device}")
        bar = progress("training", total - counters.step, "steps") if distributed.rank() == 0 else nullcontext()
        batches = self.loader.batches(counters.step)
        self.method.train()
        with stop_requests() as stop, bar as shown, closing(batches):
            self._evaluate_if_due()
            batch = next(batches, None)
            while batch is not None and not self._patience_ended():
                if distributed.any_rank(bool(stop)):
                    self._interrupt(stop)
                began = time.monotonic()
                out = self._gradients(batch)
                batch = next(batches, None)  # the device is still busy with this step
                self._finish_step(out, began, shown)
                self._evaluate_if_due()
                if time.monotonic() - self.saved_at > 60 * self.config.save_minutes:
                    self._save()
        self._save()
        if self.best is not None:
            self.method.load_state_dict(self.best)
        best_step = counters.step if counters.best_score is None else counters.best_step
        score, metrics = counters.best_score, counters.best_metrics
        return TrainResult(self.folder, counters.step, best_step, score, metrics, counters.seconds)

    def _gradients(self, batch: Batch) -> StepOutput:
        step, rows = self.counters.step, self.loader.place(self.counters.step).rows
        share = distributed.share(rows)
        with torch.no_grad():
            self.method.before_step(self.loader.progress(step))
        return gradients(
            self.method,
            batch,
            progress=self.loader.progress(step),
            rng=Randomness(self.config.seed, step, share.start, share.stop, rows, self.loader.device),
            micro_batch=self.config.micro_batch,
            autocast=self.autocast,
            encode=self.encode,
        )

    def _finish_step(self, out: StepOutput, began: float, shown: Progress | None) -> None:
        counters, place = self.counters, self.loader.place(self.counters.step)
        lr = learning_rate(self.optim, self.loader, counters.step)
        values = self._update(out, lr)
        with torch.no_grad():
            self.method.after_step(out, self.loader.progress(counters.step))
        seconds = time.monotonic() - began
        counters.step += 1
        counters.seconds += seconds
        if shown is not None:
            shown.what = f"training, loss {values['loss']:.4f}"
            shown.advance()
        if self.log is not None and (counters.step % self.config.log_every == 0 or counters.step == self.loader.steps):
            epoch = place.epoch + (place.within + 1) / place.steps
            values |= {"lr": lr, "epoch": epoch, "seconds": seconds, "rows_per_second": place.rows / seconds}
            self.log.log(counters.step, values)

    def _update(self, out: StepOutput, lr: float) -> dict[str, float]:
        """Move the weights, unless something is not finite: then they stay as they are, and the run ends."""
        learning = [p for p in self.method.parameters() if p.grad is not None]
        norm = get_total_norm([p.grad for p in learning if p.grad is not None])
        scalars = {"loss": out.loss, **out.metrics, "grad_norm": norm}
        numbers = torch.stack([v.detach().to(norm) for v in scalars.values()]).tolist()
        values = dict(zip(scalars, numbers, strict=True))
        watched = {k: v for k, v in values.items() if k.startswith("loss") or k == "grad_norm"}
        if not all(math.isfinite(v) for v in watched.values()):
            raise self._not_finite(watched)
        if self.optim.clip is not None:
            clip_grads_with_norm_(learning, self.optim.clip, norm)
        set_learning_rate(self.optimizer, lr)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return values

    def _not_finite(self, values: Mapping[str, float]) -> SeehearError:
        wrong = [f"{k} = {v}" for k, v in values.items() if not math.isfinite(v)]
        if math.isfinite(values["loss"]):
            named = ((n, p.grad) for n, p in self.method.named_parameters())
            names = [n for n, grad in named if grad is not None and not bool(grad.isfinite().all())]
            wrong.append(f"gradient of {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if names[3:] else ""))
        kept = f"step {self.saved_step} is saved in {self.folder}" if self.saved_step >= 0 else "nothing is saved yet"
        advice = "a lower --optim.lr or --optim.clip 1 may help"
        return SeehearError(f"stopped at step {self.counters.step}: {', '.join(wrong)}; {kept}; {advice}")

    def _interrupt(self, stop: StopRequest) -> None:
        self._save()
        done, total = self.counters.step, self.loader.steps
        message = (
            f"{stop.name or 'a signal'} at step {done:,} of {total:,}: saved in {self.folder}, go on with --resume"
        )
        if self.log is not None:
            self.log.note(message)
        raise Interrupted(message)

    # -- validation --------------------------------------------------------------------------------------------------

    def _patience_ended(self) -> bool:
        return self.config.patience is not None and self.counters.worse >= self.config.patience

    def _evaluate_if_due(self) -> None:
        done, times, total = self.counters.step, self.config.evaluations, self.loader.steps
        due = done == 0 or done * times // total > (done - 1) * times // total
        if self.validate is None or times == 0 or not due or done == self.counters.evaluated:
            return
        metrics = distributed.from_first(partial(self._scores, self.validate))
        if self.config.score not in metrics:
            raise ValueError(f"no validation metric {self.config.score!r}; there are {', '.join(metrics)}")
        score = metrics[self.config.score]
        self.counters.evaluated = done
        if self.counters.best_score is None or score > self.counters.best_score:
            self.best = {k: v.detach().cpu().clone() for k, v in self.method.state_dict().items()}
            self.counters.best_score, self.counters.best_step, self.counters.worse = score, done, 0
            self.counters.best_metrics = metrics
        else:
            self.counters.worse += 1
        if self.log is not None:
            self.log.log(done, {f"val/{k}": v for k, v in metrics.items()})
        if self._patience_ended():
            best = f"{self.counters.best_score:.4f} at step {self.counters.best_step:,}"
            self._say(f"no better score in {self.config.patience} evaluations, stopped at step {done:,}: best {best}")

    @torch.no_grad()
    def _scores(self, validate: Validate) -> dict[str, float]:
        self.method.eval()
        try:
            return {k: float(v) for k, v in validate(self.method).items()}
        finally:
            self.method.train()
