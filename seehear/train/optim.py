"""The optimiser and the learning rate of every step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from seehear.distributed import is_sharded
from seehear.errors import SeehearError, check_range
from seehear.inputs.loader import Loader
from seehear.methods.base import Method
from seehear.train.gradients import cut_as
from seehear.types import Tensor


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    kind: Literal["adamw", "sgd"] = "adamw"
    """sgd: plain descent with `momentum`, as published fine-tuning has it."""
    lr: float = 1e-3
    """Highest learning rate."""
    floor: float = 1e-6
    """Learning rate at the end of the run."""
    schedule: Literal["cosine", "quarter_cosine", "epoch_cosine", "constant"] = "cosine"
    """How it gets there: half a period of a cosine over the steps, a quarter (VATT's paper), half a period over the
    epochs (released FuseMix code), or not at all."""
    warmup: float = 0.05
    """Part of the run, from 0 to 1, over which the rate rises linearly from `warmup_from`."""
    warmup_steps: int | None = None
    """The same in steps; counts instead of `warmup` where it is given."""
    warmup_from: float = 0.0
    """Learning rate of the first step, if there is a warm-up."""
    lr_rows: int | None = None
    """The batch that `lr` and `floor` are meant for: they scale with the rows of each batch. None: no scaling."""
    lr_power: float = 1.0
    """How they scale: as (rows / lr_rows) to this power, 0.5 for the square root."""
    weight_decay: float = 0.1
    """Decoupled (of sgd: added to the gradient), and only of parameters with two or more dimensions: no biases, norms,
    temperatures."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's first and second moments."""
    eps: float = 1e-8
    """Added to AdamW's denominator."""
    momentum: float = 0.9
    """Of sgd."""
    clip: float | None = None
    """Largest norm of the whole gradient; None: no clipping."""

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise SeehearError(f"warmup is a part of the run, in [0, 1); got {self.warmup} (steps go in warmup_steps)")
        check_range(self, "(0, inf)", "lr", "clip")
        check_range(self, "[0, inf)", "floor", "warmup_steps", "warmup_from", "lr_power", "weight_decay", "eps")
        check_range(self, "[1, inf)", "lr_rows")
        check_range(self, "[0, 1)", "betas", "momentum")


def learning_rate(config: OptimConfig, loader: Loader, step: int) -> float:
    """The rate of a global step, counted from 0. With `epoch_cosine` the warm-up ends with epoch 0 at the latest."""
    place, progress = loader.place(step), loader.progress(step)
    scale = 1.0 if config.lr_rows is None else (place.rows / config.lr_rows) ** config.lr_power
    if config.warmup_steps is None:
        warm, risen = config.warmup, progress / config.warmup if config.warmup else 1.0
    else:
        warm, risen = loader.progress(config.warmup_steps), step / config.warmup_steps if config.warmup_steps else 1.0
    if risen < 1 and not (config.schedule == "epoch_cosine" and place.epoch > 0):
        return scale * (config.warmup_from + (config.lr - config.warmup_from) * risen)
    fallen = 0.0
    if config.schedule in ("cosine", "quarter_cosine"):
        fallen = (progress - warm) / max(1 - warm, 1e-12)
    elif config.schedule == "epoch_cosine":
        fallen = place.epoch / loader.epochs
    if config.schedule == "quarter_cosine":
        height = math.cos(0.5 * math.pi * fallen)
    else:
        height = 0.5 * (1 + math.cos(math.pi * fallen))
    return scale * (config.floor + (config.lr - config.floor) * height)


def optimizer_of(method: Method, config: OptimConfig) -> torch.optim.Optimizer:
    """AdamW, or SGD without Nesterov; one parameter group for each (learning-rate multiplier, decayed or not, sharded
    or not)."""
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for name, p in method.named_parameters():
        if p.requires_grad:
            groups.setdefault((method.lr_multiplier(name), p.ndim >= 2, is_sharded(p)), []).append(p)
    parameters = [
        {"params": same, "multiplier": multiplier, "weight_decay": config.weight_decay if decayed else 0.0}
        for (multiplier, decayed, _), same in groups.items()
    ]
    fused = all(p.device.type in ("cpu", "cuda") for p in method.parameters())
    if config.kind == "sgd":
        return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, fused=fused)
    return torch.optim.AdamW(parameters, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr * group["multiplier"]


def state_by_name(method: Method, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """'<parameter>/<moment>' -> tensor: a state dict that survives another order of the parameters."""
    return {
        f"{name}/{key}": value
        for name, p in method.named_parameters()
        for key, value in optimizer.state.get(p, {}).items()
    }


def load_state_by_name(method: Method, optimizer: torch.optim.Optimizer, saved: dict[str, Tensor]) -> None:
    by_parameter: dict[str, dict[str, Tensor]] = {}
    for key, value in saved.items():
        name, _, moment = key.rpartition("/")
        by_parameter.setdefault(name, {})[moment] = value
    for name, p in method.named_parameters():
        by_parameter[name] = {moment: cut_as(p, value) for moment, value in by_parameter.get(name, {}).items()}
    name_of = {id(p): name for name, p in method.named_parameters()}
    state = optimizer.state_dict()
    ordered = [p for group in optimizer.param_groups for p in group["params"]]
    state["state"] = {i: by_parameter[name_of[id(p)]] for i, p in enumerate(ordered) if by_parameter[name_of[id(p)]]}
    optimizer.load_state_dict(state)
