"""The contrastive loss of MCN at a batch of 4,096: ours against the form of the equations, time and memory.

    OMP_NUM_THREADS=1 python benchmarks/mms.py [--quick]

One pair of modalities, vectors of 6,144 numbers, loss and gradient. The plain form makes S, takes the margin off its
diagonal and calls cross entropy on S and on S'. The limit is the product alone, forward and backward: S = X Y', then
dS Y and dS' X. Memory is of a process of its own: how far it rises over the vectors.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import torch
from torch import Tensor
from torch.nn import functional as F

from seehear.losses.contrastive import mms

MARGIN = 0.001


def plain(x_BE: Tensor, y_BE: Tensor) -> Tensor:
    s_BB = x_BE @ y_BE.T - MARGIN * torch.eye(len(x_BE), device=x_BE.device)
    match_B = torch.arange(len(x_BE), device=x_BE.device)
    return F.cross_entropy(s_BB, match_B) + F.cross_entropy(s_BB.T, match_B)


def ours(x_BE: Tensor, y_BE: Tensor) -> Tensor:
    return mms(x_BE, y_BE, margin=MARGIN)


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"plain": plain, "ours": ours}


def vectors(batch: int, dim: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return tuple((torch.randn(batch, dim, generator=g) / dim**0.5).to(common.DEVICE).requires_grad_() for _ in "xy")  # type: ignore[return-value]


def step(form: str, x_BE: Tensor, y_BE: Tensor) -> Tensor:
    x_BE.grad = y_BE.grad = None
    loss = FORMS[form](x_BE, y_BE)
    loss.backward()
    return loss.detach()


def product(x_BE: Tensor, y_BE: Tensor) -> None:
    with torch.no_grad():
        s_BB = x_BE @ y_BE.T
        s_BB @ y_BE
        s_BB.T @ x_BE


def _memory(form: str, batch: int, dim: int, out: Any) -> None:
    torch.set_num_threads(1)
    x_BE, y_BE = vectors(batch, dim)
    step(form, *vectors(64, dim))  # libraries allocate on first use
    out.put(common.peak_bytes(lambda: step(form, x_BE, y_BE)))


def memory(form: str, batch: int, dim: int) -> float:
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    process = context.Process(target=_memory, args=(form, batch, dim, out))
    process.start()
    peak = out.get()
    process.join()
    return round(peak / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a batch of 512, vectors of 768 numbers")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    batch, dim = (512, 768) if options.quick else (4096, 6144)
    x_BE, y_BE = vectors(batch, dim)
    losses, gradients = {}, {}
    for form in FORMS:
        losses[form] = float(step(form, x_BE, y_BE))
        assert x_BE.grad is not None
        gradients[form] = x_BE.grad.clone()
    cases: dict[str, Callable[[], object]] = {form: lambda form=form: step(form, x_BE, y_BE) for form in FORMS}
    times = common.interleaved(cases | {"product": lambda: product(x_BE, y_BE)}, repeats=options.repeats)
    apart = (gradients["plain"] - gradients["ours"]).norm() / gradients["plain"].norm()
    results = {
        "batch": batch,
        "dim": dim,
        "seconds": {name: round(t, 4) for name, t in times.items()},
        "ours_over_plain": round(times["ours"] / times["plain"], 3),
        "ours_over_product": round(times["ours"] / times["product"], 3),
        "peak_mb": {form: memory(form, batch, dim) for form in FORMS},
        "loss": losses,
        "gradients_apart": float(apart),
    }
    print(results)
    common.write("mms", results, options.out)


if __name__ == "__main__":
    main()
