"""Rank, world size, device, and the collectives training needs. Without torchrun: a world of one, and no cost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Tree = TypeVar("Tree")
Result = TypeVar("Result")


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def start() -> None:
    """Joins the process group that torchrun describes, if there is one."""
    # Set by torchrun.
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        # Gloo for machines without a card: NCCL knows CUDA only.
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        if torch.cuda.is_available():
            # One card a process: NCCL refuses two ranks on the same card.
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


def stop() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def device(name: str = "auto") -> torch.device:
    """The device of this process. 'auto' is CUDA (one card a process), else Apple's, else the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def share(total: int, of: int | None = None) -> slice:
    """The contiguous rows of `total` that a rank holds, this rank's if `of` is None. Sizes differ by at most one."""
    # In integers: the shares of all ranks then cover every row once.
    of = rank() if of is None else of
    return slice(total * of // world_size(), total * (of + 1) // world_size())


class _Gather(torch.autograd.Function):
    """Rows of all ranks, in rank order. Every rank computes the same loss from them, so the gradient of the mean over
    ranks is `world_size` times the gradient of the own rows: no communication in the backward pass."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, total: int) -> Tensor:
        ctx.own = share(total)
        shares = [share(total, r) for r in range(world_size())]
        sizes = [s.stop - s.start for s in shares]
        if rows.shape[0] != sizes[rank()]:
            raise ValueError(f"rank {rank()} must hold {sizes[rank()]} of {total} rows; got {rows.shape[0]}")
        # Collectives need the same shape on every rank.
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
        padded[: rows.shape[0]] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0][ctx.own] * world_size(), None


def gather(rows: Tensor, *, total: int | None = None) -> Tensor:
    """The rows of all ranks, the same on all; gradients are exact once ranks average theirs.

    With `total`, each rank holds its `share` of these rows; without, all hold equally many. The gradient is right only
    if the computation after it is the same on every rank: no rank-dependent randomness.
    """
    # Not torch's own differentiable all_gather: on gloo its gradient is wrong where the incoming one is strided
    # (pytorch issue 192920).
    if world_size() == 1:
        return rows
    total = rows.shape[0] * world_size() if total is None else total
    if rows.dtype == torch.bool:
        return _Gather.apply(rows.to(torch.uint8), total).bool()
    return _Gather.apply(rows, total)


def gather_tree(tree: Tree, *, total: int | None = None) -> Tree:
    """`gather` every tensor of a dict or dataclass of tensors."""
    if world_size() == 1:
        return tree
    if isinstance(tree, Tensor):
        return gather(tree, total=total)  # type: ignore[return-value]
    if isinstance(tree, dict):
        # Sorted: all ranks must call their collectives in the same order, however their dicts were filled.
        return {k: gather_tree(v, total=total) for k, v in sorted(tree.items())}  # type: ignore[return-value]
    if is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{f.name: gather_tree(getattr(tree, f.name), total=total) for f in fields(tree)})
    raise TypeError(f"gather_tree takes tensors, dicts and dataclasses of them; got {type(tree).__name__}")


def from_first(make: Callable[[], Result]) -> Result:
    """Result of `make` on rank 0 (any plain value), the same on every rank."""
    if world_size() == 1:
        return make()
    box = [make() if rank() == 0 else None]
    dist.broadcast_object_list(box, src=0)
    return box[0]  # type: ignore[return-value]


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank."""
    if world_size() == 1:
        return flag
    # NCCL reduces tensors of its cards only, Gloo those of the CPU.
    on = device() if dist.get_backend() == "nccl" else torch.device("cpu")
    flags = torch.tensor(int(flag), device=on)
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags.item())


def is_lost(error: BaseException) -> bool:
    """Whether a collective failed because another process of the run ended, or timed out."""
    if not dist.is_initialized() or not isinstance(error, RuntimeError):
        return False
    said = ("closed by peer", "reset by peer", "Broken pipe", "Timed out", "timed out", "remote process exited")
    # Gloo raises a plain RuntimeError, which only its words tell apart.
    return isinstance(error, dist.DistError) or any(words in str(error) for words in said)


@torch.no_grad()
def broadcast_module(module: torch.nn.Module) -> None:
    """Parameters and buffers of rank 0 to every rank."""
    if world_size() > 1:
        # The state dict and not `parameters()`: it has the buffers too, in the same order on every rank.
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, src=0)


def is_sharded(tensor: Tensor) -> bool:
    """Whether each rank holds a part of it (a DTensor, whose import takes a second)."""
    return hasattr(tensor, "full_tensor")


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Averages `.grad` over ranks. A parameter without gradient counts as zero, so that ranks need not agree on which
    parameters a step touched. Sharded parameters are averaged already."""
    if world_size() == 1:
        return
    by_dtype: dict[torch.dtype, list[torch.nn.Parameter]] = {}
    for p in parameters:
        if p.requires_grad and not is_sharded(p):
            by_dtype.setdefault(p.dtype, []).append(p)
    # One flat message per dtype: many small ones would cost their latency each.
    for same in by_dtype.values():
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in same]
        # One dtype each, as `cat` would promote mixed ones.
        flat = torch.cat([g.reshape(-1) for g in grads])
        dist.all_reduce(flat)
        flat /= world_size()
        for p, part in zip(same, flat.split([p.numel() for p in same]), strict=True):
            # A copy: a view would keep the whole message in memory as long as this gradient.
            p.grad = part.view_as(p).clone() if p.grad is None else p.grad.copy_(part.view_as(p))
