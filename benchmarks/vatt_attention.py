"""Fused attention (SDPA) against softmax(q k^T / sqrt(d)) v written out, forward and backward: time, and peak memory
above the inputs, at the lengths of VATT.

    OMP_NUM_THREADS=1 python benchmarks/vatt_attention.py [--repeats N] [--out FILE]

785 and 1,569 tokens are video of the paper with and without DropToken, 601 and 1,201 its sound; 21, 51 and 129 what a
CPU can train. All in fp32, on a GPU in bf16.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from common import DEVICE, interleaved, memory_apart, peak_bytes, write
from torch.nn import functional as F

from seehear.types import Tensor

SHAPES = ((1569, 16, 1), (785, 16, 1), (1201, 12, 1), (601, 12, 1), (129, 3, 48), (51, 3, 48), (21, 2, 64))
"""(tokens, heads, clips on a CPU)."""
WIDTH = 64
ON_GPU = 8  # times as many clips


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(2, 3) * WIDTH**-0.5).softmax(dim=3) @ v


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "written out": written_out,
    "fused": F.scaled_dot_product_attention,
}


def inputs(tokens: int, heads: int, clips: int) -> tuple[Tensor, Tensor, Tensor]:
    g, dtype = torch.Generator().manual_seed(0), torch.float32
    if DEVICE.type == "cuda":
        clips, dtype = clips * ON_GPU, torch.bfloat16
    shape = (clips, heads, tokens, WIDTH)
    q, k, v = (torch.randn(shape, generator=g).to(DEVICE, dtype).requires_grad_() for _ in range(3))
    return q, k, v


def both_ways(form: str, given: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
    y = FORMS[form](*given)
    return (y, *torch.autograd.grad(y, given, torch.ones_like(y)))


def memory(form: str, *shape: int) -> int:
    """Results, gradients and all between, in bytes."""
    both_ways(form, inputs(8, 2, 1))
    given = inputs(*shape)
    return peak_bytes(lambda: both_ways(form, given))


def measure(shape: tuple[int, int, int], repeats: int) -> dict[str, float]:
    given = inputs(*shape)
    times = interleaved({form: partial(both_ways, form, given) for form in FORMS}, repeats=repeats)
    used = {form: memory_apart(memory, __file__, form, *shape) for form in FORMS}
    pairs = zip(both_ways("fused", given), both_ways("written out", given), strict=True)
    row = {"tokens": shape[0], "heads": shape[1], "clips": len(given[0])}
    row |= {f"{form}, milliseconds": 1000 * t for form, t in times.items()}
    row |= {f"{form}, megabytes": b / 1e6 for form, b in used.items()}
    row |= {"times faster": times["written out"] / times["fused"], "memory of it": used["fused"] / used["written out"]}
    row |= {"difference": max(float((a - b).detach().float().norm() / b.detach().float().norm()) for a, b in pairs)}
    print("  ".join(f"{k} {v:.3g}" for k, v in row.items()), flush=True)
    return {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory-of", nargs=4, metavar=("FORM", "TOKENS", "HEADS", "CLIPS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        form, *shape = options.memory_of
        print(memory(form, *map(int, shape)))
        return
    write("vatt_attention", {"width": WIDTH, "lengths": [measure(s, options.repeats) for s in SHAPES]}, options.out)


if __name__ == "__main__":
    main()
