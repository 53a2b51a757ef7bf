"""One step: its loss and gradients, the optimiser, and the learning rate.

Gradient caching (`micro_batch`): encode micro-batches without graph and keep only the features; take the objective of
the whole batch and its gradient with respect to them; encode each micro-batch again, now with graph, and send that
gradient back through it. Randomness is a function of a row's position (`nn/random.py`), so both passes draw the same,
and the result equals the full batch to rounding. Memory: one micro-batch's graph and the features. Time: one more
encoding.

Sharding (`shard`): parameters, gradients and optimiser state are split over the processes (FSDP2), for methods too
large for each of them. A method is no single `forward`: `encode`, `objective` and `embed` call its parts. So the parts
are sharded: the blocks of every ModuleList (a transformer's layers), and elsewhere each module that has parameters of
its own. Parameters of the method itself and numbers without a dimension (temperatures) stay whole on every process.
Checkpoints hold whole tensors: any number of processes, sharded or not, goes on from them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.utils import get_total_norm

from seehear import distributed
from seehear.distributed import gather_tree, is_sharded, share
from seehear.errors import SeehearError, check_range
from seehear.inputs.loader import Loader
from seehear.methods.base import Method
from seehear.nn.random import Randomness
from seehear.train.config import Precision, TrainConfig, autocast
from seehear.types import Batch, Encoded, StepOutput, Tensor


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    kind: Literal["adamw", "sgd"] = "adamw"
    """sgd: SGD with `momentum`, as published fine-tuning uses."""
    lr: float = 1e-3
    """Highest learning rate."""
    floor: float = 1e-6
    """Learning rate at the end of the run."""
    schedule: Literal["cosine", "quarter_cosine", "epoch_cosine", "constant"] = "cosine"
    """Decay: half a cosine period over the steps, a quarter (VATT's paper), half a period over the epochs (released
    FuseMix code), or none."""
    warmup: float = 0.05
    """Fraction of the run over which the rate rises linearly from `warmup_from`."""
    warmup_steps: int | None = None
    """Warm-up in steps; overrides `warmup`."""
    warmup_from: float = 0.0
    """Learning rate of the first step, if there is a warm-up."""
    lr_rows: int | None = None
    """Batch size that `lr` and `floor` are meant for: they scale with the rows of each batch. None: no scaling."""
    lr_power: float = 1.0
    """Exponent of that scaling, (rows / lr_rows) ** lr_power."""
    weight_decay: float = 0.1
    """Decoupled (with sgd: added to the gradient), for parameters with two or more dimensions only: no biases, norms,
    temperatures."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's first and second moments."""
    eps: float = 1e-8
    """Added to AdamW's denominator."""
    momentum: float = 0.9
    """Momentum of sgd."""
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
        # The rate falls once an epoch, not once a step, as in released FuseMix.
        fallen = place.epoch / loader.epochs
    if config.schedule == "quarter_cosine":
        height = math.cos(0.5 * math.pi * fallen)
    else:
        height = 0.5 * (1 + math.cos(math.pi * fallen))
    return scale * (config.floor + (config.lr - config.floor) * height)


# -- gradients ---------------------------------------------------------------------------------------------------------


Encode = Callable[..., Encoded]


@dataclass(frozen=True, kw_only=True)
class Computation:
    """How a step is computed; the result is the same but for rounding."""

    micro_batch: int | None = None
    """Rows encoded at a time (gradient caching); None: the whole batch."""
    precision: Precision = "fp32"
    encode: Encode | None = None
    """Replacement of `method.encode`: the compiled one, say."""

    @classmethod
    def of(cls, method: Method, config: TrainConfig) -> Computation:
        encode = torch.compile(method.encode) if config.compile else None
        return cls(micro_batch=config.micro_batch, precision=config.precision, encode=encode)


def gradients(
    method: Method, batch: Batch, *, progress: float, rng: Randomness, how: Computation | None = None
) -> StepOutput:
    """Adds the gradient of one global batch, of which `batch` is this rank's rows, to `.grad`: the mean over ranks."""
    how = how or Computation()
    encode = how.encode or method.encode
    if method.assembles:
        batch, rng = assemble(method, batch, rng)
    rows = len(next(iter(batch.values())))

    def encoded(start: int, stop: int) -> Encoded:
        with autocast(how.precision, rng.device):
            return encode({k: v[start:stop] for k, v in batch.items()}, rng=rng.narrow(start, stop))

    def objective(features: Encoded) -> StepOutput:
        with autocast(how.precision, rng.device):
            out = method.objective(gather_tree(features, total=rng.total), progress=progress, rng=rng.whole())
        out.loss.backward()
        return out

    if how.micro_batch is not None and how.micro_batch < rows:
        # FSDP gathers the parameters for every micro-batch anew: processes with fewer of them would deadlock the rest.
        processes = distributed.world_size()
        if rng.total % processes and any(is_sharded(p) for p in method.parameters()):
            raise SeehearError(
                f"a sharded method with micro-batches needs batches that can be cut alike: {rng.total} rows do not go "
                f"over {processes} processes, choose another --train.batch-size"
            )
        cuts = [(at, min(at + how.micro_batch, rows)) for at in range(0, rows, how.micro_batch)]
        out = _cached(cuts, encoded, objective)
    else:
        out = objective(encoded(0, rows))
    # Once for the whole batch, however many micro-batches it had.
    distributed.average_gradients(method.parameters())
    return StepOutput(out.loss.detach(), {k: v.detach() for k, v in out.metrics.items()}, out.carry)


def _cached(
    cuts: list[tuple[int, int]], encoded: Callable[[int, int], Encoded], objective: Callable[[Encoded], StepOutput]
) -> StepOutput:
    """Loss and gradients of a batch in micro-batches (start, stop), with one more encoding."""
    with torch.no_grad():
        parts = [encoded(*cut) for cut in cuts]

    def joined(field: str) -> dict[str, Tensor]:
        trees = [getattr(part, field) for part in parts]
        return {k: torch.cat([tree[k] for tree in trees]) for k in trees[0]}

    # Leaves: the graph of the objective ends at the features, and leaves its gradient in their `.grad`.
    leaves = {k: v.detach().requires_grad_(v.is_floating_point()) for k, v in joined("features").items()}
    out = objective(Encoded(leaves, joined("present"), joined("context")))
    for start, stop in cuts:
        features = encoded(start, stop).features
        used = [k for k, f in features.items() if f.requires_grad and leaves[k].grad is not None]
        if not used:
            # Nothing in `encode` learns: there is no graph to send a gradient through.
            break
        torch.autograd.backward([features[k] for k in used], [leaves[k].grad[start:stop] for k in used])  # type: ignore[index]
    return out


@torch.no_grad()
def assemble(method: Method, batch: Batch, rng: Randomness) -> tuple[Batch, Randomness]:
    """Returns this rank's rows of the batch that the method makes of the whole one, and the draws for them."""
    whole = method.assemble(gather_tree(batch, total=rng.total), rng=rng.whole())
    total = len(next(iter(whole.values())))
    own = share(total)
    return {k: v[own] for k, v in whole.items()}, rng.resized(own.start, own.stop, total)


# -- sharding ------------------------------------------------------------------------------------------------


def on_device(method: Method, device: torch.device, *, shard: bool) -> Method:
    """Returns the method on the device, equal on all processes; with `shard` and several of them a sharded copy for
    training: the method itself then stays whole, and takes the result in the end."""
    if not shard or distributed.world_size() == 1:
        distributed.broadcast_module(method.to(device))
        return method
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (distributed.world_size(),))
    copied = copy.deepcopy(method).to(device)
    distributed.broadcast_module(copied)
    # From the inside outwards, as FSDP2 requires.
    for part in reversed(list(_parts(copied))):
        fully_shard(part, mesh=mesh, ignored_params={p for p in part.parameters() if p.ndim == 0})
    return copied


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """Blocks of lists, and elsewhere each module with parameters of its own."""
    for child in module.children():
        own = any(p.ndim for p in child.parameters(recurse=isinstance(module, nn.ModuleList)))
        if own:
            yield child
        if not (own and isinstance(module, nn.ModuleList)):
            yield from _parts(child)


def whole_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns whole tensors on the CPU, gathered where they are sharded: all processes must call it together."""
    return {name: _full(tensor).detach().cpu() for name, tensor in tensors.items()}


def _full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def _cut_as(like: Tensor, tensor: Tensor) -> Tensor:
    """Returns a whole tensor, the same on all processes, sharded as `like` is."""
    # Numbers without a dimension are whole on every process.
    if not is_sharded(like) or tensor.ndim == 0:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)  # type: ignore[attr-defined]


def load_whole(method: Method, state: Mapping[str, Tensor]) -> None:
    """Loads a state dict of whole tensors into a method that may be sharded."""
    own = method.state_dict()
    method.load_state_dict({name: _cut_as(own[name], t) if name in own else t for name, t in state.items()})


def gradient_norm(gradients: Iterable[Tensor]) -> Tensor:
    """Norm of all gradients together, over all processes."""
    # Torch takes no norm over sharded and whole tensors at once.
    kinds: dict[bool, list[Tensor]] = {}
    for gradient in gradients:
        kinds.setdefault(is_sharded(gradient), []).append(gradient)
    norms = [_full(get_total_norm(same)) for same in kinds.values()]
    return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], most: float, norm: Tensor) -> None:
    """Scales the gradients so that their norm is `most` at most."""
    # The constant is that of torch's clip_grads_with_norm_.
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    for gradient in (p.grad for p in parameters if p.grad is not None):
        # The scale is the same everywhere: each process scales its own part.
        own = gradient.to_local() if is_sharded(gradient) else gradient  # type: ignore[attr-defined]
        own.mul_(scale)


def is_finite(gradient: Tensor) -> bool:
    return bool(_full(gradient).isfinite().all())


# -- the optimiser -----------------------------------------------------------------------------------------------------


def optimizer_of(method: Method, config: OptimConfig) -> torch.optim.Optimizer:
    """AdamW, or SGD without Nesterov; one parameter group for each (learning-rate multiplier, decayed or not, sharded
    or not)."""
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for name, p in method.named_parameters():
        if p.requires_grad:
            # Sharded and whole parameters apart: one fused update takes only tensors of a kind.
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
        by_parameter[name] = {moment: _cut_as(p, value) for moment, value in by_parameter.get(name, {}).items()}
    name_of = {id(p): name for name, p in method.named_parameters()}
    state = optimizer.state_dict()
    ordered = [p for group in optimizer.param_groups for p in group["params"]]
    # Torch's state dict knows parameters by position only, which another order would mix up.
    state["state"] = {i: by_parameter[name_of[id(p)]] for i, p in enumerate(ordered) if by_parameter[name_of[id(p)]]}
    optimizer.load_state_dict(state)
