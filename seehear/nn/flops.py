"""Floating-point operations of any piece of work, counted while it runs: two for a multiply-add, matrix products and
convolutions only, as torch counts them.

Torch's counter knows no formula for the fused attention of a CPU, and adds the recomputed scores to the backward pass
of a fused one. Here attention counts the same on every device and with every kernel: two products forward, four
backward. A Fourier transform counts nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

_aten = torch.ops.aten
_KERNELS = ("flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention")


def count_flops(work: Callable[[], object]) -> int:
    """Run it once, and count. On tensors of the device 'meta' nothing is computed, and the count is the same."""
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    # The count by module, which needs torch's tracker, is not used.
    counter.mod_tracker = _Everywhere()  # type: ignore[assignment]
    with counter:
        work()
    return int(counter.get_total_flops())


class _Everywhere(nullcontext[None]):
    """Replaces torch's tracker of the running module, which fails on some modules that run without gradient."""

    parents = ("Global",)


def _forward(query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any) -> int:
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[2] * (width + value[3])


_FORMULAS: dict[Any, Any] = {getattr(_aten, f"_scaled_dot_product_{kernel}"): _forward for kernel in _KERNELS}
# The first argument of a backward pass is the incoming gradient.
_FORMULAS |= {
    getattr(_aten, f"_scaled_dot_product_{kernel}_backward"): lambda _grad, *shapes, **__: 2 * _forward(*shapes)
    for kernel in _KERNELS
}
