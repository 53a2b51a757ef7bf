"""Settings and result of a training run, and the arithmetic that the settings choose."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from seehear.errors import SeehearError, check_range, unknown
from seehear.train.log import TRACKERS

Precision = Literal["fp32", "bf16"]


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
    precision: Precision = "fp32"
    """bf16: products in bfloat16 where that is safe (autocast)."""
    fast_matmul: bool = False
    """Twice as fast float32 products on many CPUs; on chips with AMX, and on CUDA, with fewer digits."""
    compile: bool = False
    """torch.compile the encoding: pays on CUDA for long runs."""
    shard: bool = False
    """Cut parameters and optimiser state over the processes of torchrun (FSDP2): for methods too large for one."""
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
    """All that `validate` said of it."""
    seconds: float
    """Of training, over all sessions."""


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """bf16 where torch holds it safe; parameters, gradients and the optimiser stay float32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@contextmanager
def numerics(config: TrainConfig) -> Iterator[None]:
    """The process computes as the settings say, and as before afterwards."""
    matmul = torch.get_float32_matmul_precision()
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if config.fast_matmul:
        torch.set_float32_matmul_precision("medium")
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA makes its first product
        torch.use_deterministic_algorithms(True)
    try:
        with _room_for_shapes() if config.compile else nullcontext():
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.use_deterministic_algorithms(strict, warn_only=warn)


def _room_for_shapes() -> AbstractContextManager[None]:
    """More compiled versions of a function: a masking ratio that changes has a shape each, and torch expects 8."""
    import torch._dynamo  # seconds, for those who compile only

    room: AbstractContextManager[None] = torch._dynamo.config.patch(recompile_limit=64)
    return room
