"""Settings and result of a training run, the arithmetic that the settings choose, and the run's folder and log."""

from __future__ import annotations

import importlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from seehear.errors import SeehearError, check_range, read_json, unknown
from seehear.library.locking import writing
from seehear.progress import say
from seehear.train.files import ROUNDS, write_text

Precision = Literal["fp32", "bf16"]
_REMOVED = {"method.matryoshka": [], "method.weighting": "pairs", "method.linear_shrinkage": 0.1}
"""Settings that only older runs have, and the values at which training is the same without them."""
_FREE = ["workers", "device", "micro_batch", "keep", "save_minutes", "log_every", "trackers", "compile", "shard"]
CONTINUE = "run the same command again with --resume to continue"
"""Advice where a run was stopped."""
FREE = {*(f"train.{name}" for name in _FREE), "seehear", "library", "command"}
"""Settings that may change when a run is resumed: they change the model by rounding at most."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    epochs: int = 100
    """Passes over the training samples."""
    steps: int | None = None
    """Number of steps; overrides `epochs`."""
    batch_size: int | tuple[int, ...] = 1024
    """Samples of a step over all processes, or one number for each epoch; a smaller set trains with what it has."""
    distinct_groups: bool = False
    """At most one sample of a source recording in a batch."""
    micro_batch: int | None = None
    """Samples encoded at a time: exact gradients in the memory of a small batch, for one more encoding a step."""
    seed: int = 0
    """Seed of the order, the augmentation and every draw."""
    precision: Precision = "fp32"
    """bf16: matrix products in bfloat16 (autocast)."""
    fast_matmul: bool = False
    """Twice as fast float32 products on many CPUs; on chips with AMX, and on CUDA, with fewer digits."""
    compile: bool = False
    """torch.compile the encoding: pays on CUDA for long runs."""
    shard: bool = False
    """Shard parameters and optimiser state over the processes of torchrun (FSDP2): for methods too large for one."""
    deterministic: bool = False
    """Only deterministic kernels: on CUDA, two runs then agree bit for bit. On a CPU they do anyway."""
    device: str = "auto"
    """auto: CUDA, else Apple's, else the CPU."""
    workers: int = 2
    """Processes that prepare batches, for data that is decoded; cached latents need none."""
    evaluations: int = 50
    """Validation scores taken, evenly over the run, beside the one before it."""
    patience: int | None = None
    """Evaluations without a better score before training stops; None: it runs to its end."""
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
        check_range(self, "[1, inf)", "epochs", "steps", "micro_batch", "keep", "log_every")
        check_range(self, "[0, inf)", "workers", "evaluations", "patience", "save_minutes")
        if not sizes or min(sizes) < 2:
            raise SeehearError(f"batch_size: a step needs two samples in a batch; got {self.batch_size}")
        if len(sizes) not in (1, self.epochs):
            raise SeehearError(f"batch_size has {len(sizes)} numbers for {self.epochs} epochs")
        if self.shard and self.compile:
            raise SeehearError("a sharded method is not compiled: choose one of the two")
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
    """All its validation metrics."""
    seconds: float
    """Training time over all sessions."""


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """bf16 where torch considers it safe; parameters, gradients and the optimiser stay float32."""
    if precision == "fp32":
        return nullcontext()
    # No gradient scaler: bfloat16 has the exponent range of float32.
    return torch.autocast(device.type, torch.bfloat16)


@contextmanager
def numerics(config: TrainConfig) -> Iterator[None]:
    """Sets the numerics of the process; the previous ones come back at the end."""
    # Kept, as studies and tests train several runs in one process.
    matmul = torch.get_float32_matmul_precision()
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if config.fast_matmul:
        torch.set_float32_matmul_precision("medium")
    if config.deterministic:
        # cuBLAS reads this when CUDA makes its first product, and is not deterministic without.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        with ExitStack() as patched:
            if config.compile:
                # Imported only here: it takes seconds.
                import torch._dynamo as dynamo

                # A masking ratio that changes compiles a version a shape; torch gives up after 8.
                patched.enter_context(dynamo.config.patch(recompile_limit=64))
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.use_deterministic_algorithms(strict, warn_only=warn)


# -- the run folder ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunFolder:
    """Folder of a run, new or to be resumed."""

    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Contents of config.json, beside what `fit` adds; a resumed run must have the same, but for `FREE`."""
    resume: bool = False

    @contextmanager
    def open(self) -> Iterator[None]:
        """Creates the folder, or checks that the run in it has these settings; locked until the end."""
        config = self.path / "config.json"
        # Tuples become lists, as they will be read back.
        settings = json.loads(json.dumps(self.settings))
        self.check()
        if self.resume and config.exists():
            self._compare(read_json(config, "start in another folder"), settings)
        # Locked until the run ends: two processes in one folder would remove each other's checkpoints.
        with writing(self.path):
            write_text(config, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
            yield

    def check(self) -> None:
        """Raises `SeehearError` where the folder holds files that are no run to resume."""
        if not self._holds_files():
            return
        if not self.resume:
            raise SeehearError(f"{self.path} is not empty: choose another folder, or {CONTINUE} the run there")
        if not (self.path / "config.json").exists():
            raise SeehearError(f"{self.path} holds no run to resume (no config.json): choose another folder")

    def _holds_files(self) -> bool:
        # The lock, the rest of a kill during the first file, and earlier rounds do not make a run.
        known = {".lock", ".config.json.part", ROUNDS}
        return self.path.is_dir() and any(path.name not in known for path in self.path.iterdir())

    def _compare(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        old, new = dict(flat(before)), dict(flat(now))
        for name in sorted(old.keys() | new.keys()):
            # An option that is newer than the run, and off, changes nothing.
            came_later = name not in old and not new[name]
            removed = name not in new and old[name] == _REMOVED.get(name, object())
            if name not in FREE and not came_later and not removed and old.get(name) != new.get(name):
                raise SeehearError(
                    f"{self.path} was started with {name} = {json.dumps(old.get(name))}, now it is "
                    f"{json.dumps(new.get(name))}: resume with the old value, or start in another folder"
                )


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested settings by dotted name."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# ----------------------------------------------------------------------------------------------------------------------
# Log of a run: `metrics.jsonl`, `log.txt`, and experiment trackers by name.


class _Tracker(Protocol):
    def log(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        raise SeehearError(f"tracker {name!r} needs a package that is not there: pip install {name}") from missing


class _TensorBoard:
    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        _package("tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class _MLflow:
    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        self.mlflow = _package("mlflow")
        self.mlflow.start_run(run_name=folder.name)
        self.mlflow.log_dict(dict(settings), "config.json")

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self.mlflow.end_run()


class _WandbLike:
    """Weights & Biases, and trackio, which has the same three calls."""

    def __init__(self, module: str, folder: Path, settings: Mapping[str, Any]):
        self.module = _package(module)
        self.module.init(project="seehear", name=folder.name, config=dict(settings))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.module.log(dict(values), step=step)

    def close(self) -> None:
        self.module.finish()


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any]], _Tracker]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "wandb": lambda folder, settings: _WandbLike("wandb", folder, settings),
    "trackio": lambda folder, settings: _WandbLike("trackio", folder, settings),
}


class RunLog:
    """Appends to the run's files. A resumed run first drops the metrics after `step`, its checkpoint (-1: none)."""

    def __init__(self, folder: Path, *, step: int, trackers: Sequence[str], settings: Mapping[str, Any]):
        self.text, self.metrics = folder / "log.txt", folder / "metrics.jsonl"
        if self.metrics.exists():
            # Steps after the checkpoint are taken and logged again: their old lines would be doubles.
            kept = [entry for entry in read_metrics(self.metrics) if entry["step"] <= step]
            write_text(self.metrics, "".join(f"{json.dumps(entry)}\n" for entry in kept))
        self.trackers = [TRACKERS[name](folder, settings) for name in trackers]

    def say(self, message: str) -> None:
        say(message)
        self.note(message)

    def note(self, message: str) -> None:
        """Writes to log.txt only."""
        with self.text.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        # JSON has no NaN and no infinity: both become null.
        # Opened for every line: what is logged survives a kill.
        entry = {k: v if math.isfinite(v) else None for k, v in values.items()}
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **entry}) + "\n")
        for tracker in self.trackers:
            tracker.log(values, step)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Entries of a metrics.jsonl; a line cut short by a kill is skipped."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries
