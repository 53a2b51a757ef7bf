"""The one training loop. It knows a method by the calls of `methods/base.py` only.

    seed -> step (`optim.py`) -> finite? (else stop, naming the step and each term) -> clip -> update
         -> after_step -> log / evaluate / save

A run can be stopped at any moment and goes on exactly: the order of samples, their augmentation and every draw are
functions of (seed, step), and all else is in the checkpoint. The best weights by the validation score are kept aside
and are what the method holds when `fit` returns.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import torch

from seehear import distributed
from seehear.errors import SeehearError
from seehear.inputs.loader import Loader, Sampling, TrainingData
from seehear.methods.base import Method
from seehear.nn.random import Randomness
from seehear.progress import Interrupted, Progress, progress, stop_requests
from seehear.train.config import CONTINUE, RunFolder, RunLog, TrainConfig, TrainResult, numerics
from seehear.train.files import Checkpoints, Counters, version
from seehear.train.optim import (
    Computation,
    OptimConfig,
    clip_gradients,
    gradient_norm,
    gradients,
    is_finite,
    learning_rate,
    load_state_by_name,
    load_whole,
    on_device,
    optimizer_of,
    set_learning_rate,
    state_by_name,
    whole_tensors,
)
from seehear.types import Batch, StepOutput, Tensor

Validate = Callable[[Method], dict[str, float]]


def fit(
    method: Method,
    data: TrainingData,
    *,
    config: TrainConfig,
    optim: OptimConfig,
    folder: str | Path | RunFolder,
    validate: Validate | None = None,
) -> TrainResult:
    """Trains in place. `folder`: a path for a new run, a `RunFolder` for one with settings of its own or to resume."""
    run_folder = folder if isinstance(folder, RunFolder) else RunFolder(Path(folder))
    loader = loader_of(method, data, config)
    own = {"name": method.name, **asdict(method.config)}
    everything = {"method": own, "train": asdict(config), "optim": asdict(optim), "samples": len(data)}
    everything |= {"seehear": version(), **run_folder.settings}
    with ExitStack() as alone, numerics(config):
        opened = replace(run_folder, settings=everything)
        # Only the first process makes and locks the folder; the rest wait for it.
        distributed.from_first(lambda: alone.enter_context(opened.open()))
        held = on_device(method, loader.device, shard=config.shard)
        run = _Run(held, loader, config=config, optim=optim, folder=opened.path, validate=validate)
        run.restore()
        if distributed.rank() == 0:
            run.log = RunLog(opened.path, step=run.saved_step, trackers=config.trackers, settings=everything)
        try:
            result = run.train()
            # Sharded training works on a copy: the caller's method takes the result.
            if held is not method:
                method.load_state_dict(whole_tensors(held.state_dict()))
            return result
        except RuntimeError as error:
            # The end of another process shows as an error of the collective that waits for it.
            if not distributed.is_lost(error):
                raise
            raise SeehearError(run.lost()) from error
        finally:
            if run.log is not None:
                run.log.close()


def loader_of(method: Method, data: TrainingData, config: TrainConfig, *, steps: int | None = None) -> Loader:
    """Loader of a run, or of its first `steps`."""
    sampling = Sampling(
        batch_size=config.batch_size,
        seed=config.seed,
        epochs=config.epochs,
        steps=config.steps if steps is None else steps,
        distinct_groups=config.distinct_groups,
        even=method.assembles,
    )
    return Loader(data, sampling, workers=config.workers, device=distributed.device(config.device))


class _Run:
    """State of a training run."""

    best: dict[str, Tensor] | None = None
    """Weights of the best score, on the CPU."""

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
        self.optimizer = optimizer_of(method, optim)
        self.folder, self.checkpoints = folder, Checkpoints(folder / "checkpoints", config.keep)
        self.counters = Counters()
        self.log: RunLog | None = None
        self.how = Computation.of(method, config)
        self.saved_step, self.saved_at = -1, time.monotonic()

    # -- state -------------------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        loaded = self.checkpoints.load()
        # Nobody writes before everybody has read: a save removes old checkpoints.
        distributed.barrier()
        if loaded is not None:
            self.counters, model, optimizer, self.best = loaded
            load_whole(self.method, model)
            load_state_by_name(self.method, self.optimizer, optimizer)
            self.saved_step = self.counters.step

    def _save(self) -> None:
        # Also for a step that is saved already: the time of the next save counts from here.
        self.saved_at = time.monotonic()
        if self.counters.step == self.saved_step:
            return
        # Sharded tensors are gathered by all processes together, whoever writes them.
        if distributed.rank() == 0 or self.config.shard:
            model = whole_tensors(self.method.state_dict())
            optimizer = whole_tensors(state_by_name(self.method, self.optimizer))
            if distributed.rank() == 0:
                self.checkpoints.save(self.counters, model=model, optimizer=optimizer, best=self.best)
        self.saved_step = self.counters.step

    def lost(self) -> str:
        """Message when another process of the run has ended: nothing more can be saved, the step is half done."""
        kept = f"step {self.saved_step:,} is saved" if self.saved_step > 0 else "nothing is saved yet"
        return (
            f"another process of the run ended at step {self.counters.step:,}: {kept} in {self.folder}; "
            f"its own message says why; {CONTINUE}"
        )

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
                # A signal may reach only one process: all stop at the same step, or the rest would wait for it.
                if distributed.any_rank(bool(stop)):
                    self._save()
                    at = f"{stop.name or 'a signal'} at step {counters.step:,} of {total:,}"
                    message = f"{at}: saved in {self.folder}; {CONTINUE}"
                    if self.log is not None:
                        self.log.note(message)
                    raise Interrupted(message)
                began = time.monotonic()
                out = self._gradients(batch)
                # The next batch is loaded while the device still computes this step.
                batch = next(batches, None)
                self._finish_step(out, began, shown)
                self._evaluate_if_due()
                # Clocks of processes differ: all save together when one of them is due.
                if distributed.any_rank(time.monotonic() - self.saved_at > 60 * self.config.save_minutes):
                    self._save()
        self._save()
        if self.best is not None:
            load_whole(self.method, self.best)
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
            how=self.how,
        )

    def _finish_step(self, out: StepOutput, began: float, shown: Progress | None) -> None:
        counters, place = self.counters, self.loader.place(self.counters.step)
        lr = learning_rate(self.optim, self.loader, counters.step)
        learning = [p for p in self.method.parameters() if p.grad is not None]
        norm = gradient_norm(p.grad for p in learning if p.grad is not None)
        scalars = {"loss": out.loss, **out.metrics, "grad_norm": norm}
        # One copy from the device: each number on its own would wait for it.
        numbers = torch.stack([v.detach().to(norm) for v in scalars.values()]).tolist()
        values = dict(zip(scalars, numbers, strict=True))
        watched = {k: v for k, v in values.items() if k.startswith("loss") or k == "grad_norm"}
        # Before the update: the weights stay as they were.
        if not all(math.isfinite(v) for v in watched.values()):
            raise self._not_finite(watched)
        if self.optim.clip is not None:
            clip_gradients(learning, self.optim.clip, norm)
        set_learning_rate(self.optimizer, lr)
        self.optimizer.step()
        self.optimizer.zero_grad()
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
            values |= {"steps": self.loader.steps, "seconds_left": shown.seconds_left if shown else math.nan}
            self.log.log(counters.step, values)

    def _not_finite(self, values: Mapping[str, float]) -> SeehearError:
        wrong = [f"{k} = {v}" for k, v in values.items() if not math.isfinite(v)]
        if math.isfinite(values["loss"]):
            named = ((n, p.grad) for n, p in self.method.named_parameters())
            names = [n for n, grad in named if grad is not None and not is_finite(grad)]
            wrong.append(f"gradient of {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if names[3:] else ""))
        kept = f"step {self.saved_step} is saved in {self.folder}" if self.saved_step >= 0 else "nothing is saved yet"
        advice = "a lower --optim.lr or --optim.clip 1 may help"
        return SeehearError(f"stopped at step {self.counters.step}: {', '.join(wrong)}; {kept}; {advice}")

    # -- validation --------------------------------------------------------------------------------------------------

    def _patience_ended(self) -> bool:
        return self.config.patience is not None and self.counters.worse >= self.config.patience

    def _evaluate_if_due(self) -> None:
        done, times, total = self.counters.step, self.config.evaluations, self.loader.steps
        # Integers, and the step alone: a resumed run is evaluated at the same steps.
        due = done == 0 or done * times // total > (done - 1) * times // total
        # A run that is resumed at a step it had evaluated does not evaluate it twice.
        if self.validate is None or times == 0 or not due or done == self.counters.evaluated:
            return
        metrics = self._scores(self.validate)
        if self.config.score not in metrics:
            raise SeehearError(f"no validation metric {self.config.score!r}; there are {', '.join(metrics)}")
        score = metrics[self.config.score]
        self.counters.evaluated = done
        if self.counters.best_score is None or score > self.counters.best_score:
            # Cloned: on a CPU the state dict shares its memory with the parameters, which go on learning.
            self.best = {k: v.clone() for k, v in whole_tensors(self.method.state_dict()).items()}
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
        """Validation scores of the first process, the same for all."""
        self.method.eval()
        try:
            # A sharded method is gathered by all processes: all of them must validate.
            if self.config.shard:
                scores = validate(self.method)
                return distributed.from_first(lambda: {k: float(v) for k, v in scores.items()})
            return distributed.from_first(lambda: {k: float(v) for k, v in validate(self.method).items()})
        finally:
            self.method.train()
