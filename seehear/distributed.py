"""Rank, world size, and the two collectives training needs. Without torchrun: a world of one, and no cost."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Tree = TypeVar("Tree")


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def start() -> None:
    """Join the process group that torchrun describes; nothing when there is none, or when it is joined already."""
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


def stop() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


class _Gather(torch.autograd.Function):
    """Rows of all ranks, in rank order. Every rank goes on to compute the same loss from them, so the gradient of the
    mean over ranks is `world_size` times the gradient of the own rows: no communication in the backward pass."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = rows.shape[0]
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        own = slice(rank() * ctx.rows, (rank() + 1) * ctx.rows)
        return grads[0][own] * world_size()


def gather(rows: Tensor) -> Tensor:
    """(b, ...) on each rank -> (world * b, ...), the same on all; gradients are exact once ranks average theirs.

    Holds only while everything after it is the same on every rank: no rank-dependent randomness there. Every rank
    must hold the same number of rows. (torch's own differentiable all_gather gives wrong gradients on gloo when the
    incoming gradient is strided: pytorch issue 192920.)
    """
    if world_size() == 1:
        return rows
    if rows.dtype == torch.bool:
        return _Gather.apply(rows.to(torch.uint8)).bool()
    return _Gather.apply(rows)


def gather_tree(tree: Tree) -> Tree:
    """`gather` every tensor of a dict or dataclass of tensors."""
    if world_size() == 1:
        return tree
    if isinstance(tree, Tensor):
        return gather(tree)  # type: ignore[return-value]
    if isinstance(tree, dict):
        return {k: gather_tree(v) for k, v in sorted(tree.items())}  # type: ignore[return-value]
    if is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{f.name: gather_tree(getattr(tree, f.name)) for f in fields(tree)})
    raise TypeError(f"gather_tree takes tensors, dicts and dataclasses of them; got {type(tree).__name__}")


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Mean of `.grad` over ranks, in one flat message per dtype. A parameter without gradient counts as zero, so that
    ranks need not agree on which parameters a step touched."""
    if world_size() == 1:
        return
    by_dtype: dict[torch.dtype, list[torch.nn.Parameter]] = {}
    for p in parameters:
        if p.requires_grad:
            by_dtype.setdefault(p.dtype, []).append(p)
    for same in by_dtype.values():
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in same]
        flat = torch.cat([g.reshape(-1) for g in grads])
        dist.all_reduce(flat)
        flat /= world_size()
        for p, part in zip(same, flat.split([p.numel() for p in same]), strict=True):
            p.grad = part.view_as(p).clone() if p.grad is None else p.grad.copy_(part.view_as(p))
