"""Arithmetic of a run: autocast, fast CPU products, determinism. Settings of the process are put back afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """bf16 where torch holds it safe; parameters, gradients and the optimiser stay float32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


_SHAPES = 64  # that compiled code is kept for: a masking ratio that changes has a shape each, and torch expects 8


@contextmanager
def settings(*, fast_matmul: bool, deterministic: bool, compiled: bool = False) -> Iterator[None]:
    matmul = torch.get_float32_matmul_precision()
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if fast_matmul:
        torch.set_float32_matmul_precision("medium")
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA makes its first product
        torch.use_deterministic_algorithms(True)
    try:
        with _room_for_shapes() if compiled else nullcontext():
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.use_deterministic_algorithms(strict, warn_only=warn)


def _room_for_shapes() -> AbstractContextManager[None]:
    import torch._dynamo  # seconds, for those who compile only

    room: AbstractContextManager[None] = torch._dynamo.config.patch(recompile_limit=_SHAPES)
    return room
