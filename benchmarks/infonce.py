"""Symmetric InfoNCE, forward and backward, at d = 512: tiled against plain fp32 in time and peak memory, and against
the limit of 8 B^2 d operations at the GEMM peak of the same precision, measured between the runs.

    OMP_NUM_THREADS=1 python benchmarks/infonce.py [--large] [--out FILE]        --large adds B = 20,480 (8 GB on a CPU)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import DEVICE, PRECISIONS, gemm, interleaved, memory_apart, peak_bytes, precision, write
from torch.nn import functional as F

from seehear.losses.contrastive import info_nce

DIM, TAU = 512, 0.07
CASES = ("plain", *PRECISIONS)


def inputs(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    x, y = (F.normalize(torch.randn(rows, DIM, generator=g), dim=1).to(DEVICE).requires_grad_() for _ in range(2))
    return x, y, torch.tensor(TAU, device=DEVICE, requires_grad=True)


def plain(x: torch.Tensor, y: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
    """What most code bases have."""
    logits = x @ y.T / tau
    target = torch.arange(len(x), device=x.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def step(case: str, tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    with precision("fp32" if case == "plain" else case):
        loss = plain(*tensors) if case == "plain" else info_nce(*tensors, tile=None if len(tensors[0]) > 1024 else 256)
        return torch.autograd.grad(loss, tensors)


def memory(case: str, rows: int) -> int:
    """Inputs, gradients and all between, in bytes."""
    step(case, inputs(64))
    return peak_bytes(lambda: step(case, inputs(rows)))


def measure(rows: int, repeats: int) -> dict[str, Any]:
    tensors = inputs(rows)
    work: dict[str, Callable[[], object]] = {case: partial(step, case, tensors) for case in CASES}
    operations = {}
    for name in PRECISIONS:
        work[f"gemm {name}"], operations[name] = gemm(name)
    times = interleaved(work, repeats=repeats)
    peak = {name: operations[name] / times[f"gemm {name}"] for name in PRECISIONS}
    exact = step("plain", tensors)
    found: dict[str, Any] = {"rows": rows, "gemm_gflops": {k: round(v / 1e9, 1) for k, v in peak.items()}, "cases": {}}
    bytes_plain = memory_apart(memory, __file__, "plain", rows)
    for case in CASES:
        used = bytes_plain if case == "plain" else memory_apart(memory, __file__, case, rows)
        row = {"seconds": times[case], "times_plain": times["plain"] / times[case]}
        row |= {"megabytes": used / 1e6, "memory_of_plain": used / bytes_plain}
        if case != "plain":
            row["of_limit"] = 8 * rows**2 * DIM / peak[case] / times[case]
            difference = [float((a - b).norm() / b.norm()) for a, b in zip(step(case, tensors), exact, strict=True)]
            row["gradient_difference"] = max(difference)
        found["cases"][case] = {k: float(f"{v:.3g}") for k, v in row.items()}
        print(f"B {rows:6,} {case:7s}", "  ".join(f"{k} {v:.3g}" for k, v in row.items()), flush=True)
    return found


def targets(found: dict[str, Any]) -> dict[str, bool]:
    medium = found["cases"]["medium"]
    return {
        "time >= 1.5 x faster than plain": medium["times_plain"] >= 1.5,
        "memory <= 1/5 of plain": medium["memory_of_plain"] <= 0.2,
        ">= 0.7 of the GEMM limit": medium["of_limit"] >= 0.7,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="also B = 20,480")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory-of", nargs=2, metavar=("CASE", "ROWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(memory(options.memory_of[0], int(options.memory_of[1])))
        return
    found = [measure(rows, options.repeats) for rows in (2048, 8192)]
    reached = targets(found[1])
    if options.large or DEVICE.type == "cuda":
        found.append(measure(20_480, max(1, options.repeats // 3)))
    for name, met in reached.items():
        print(f"B 8,192, medium: {name}: {'yes' if met else 'NO'}")
    write("infonce", {"dim": DIM, "sizes": found, "targets at 8192, medium": reached}, options.out)


if __name__ == "__main__":
    main()
