"""One FuseMix training step (mixing, two adapters of depth 2, tiled InfoNCE, backward, AdamW) against the limit of
6 P B + 8 B^2 E operations at the GEMM peak of the same precision, measured between the runs.

    OMP_NUM_THREADS=1 python benchmarks/fusemix_step.py [--large] [--out FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import DEVICE, PRECISIONS, gemm, interleaved, precision, write

from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.nn.random import Randomness
from seehear.train.optim import assemble
from seehear.types import Batch

SIZES = ((2048, 384), (2048, 768))
LARGE = ((8192, 384), (8192, 768))
TARGET = 0.55


def batch_of(rows: int, width: int) -> Batch:
    g = torch.Generator().manual_seed(0)
    batch: Batch = {m: torch.randn(rows, width, generator=g).to(DEVICE) for m in ("video", "text")}
    batch |= {f"has_{m}": torch.ones(rows, dtype=torch.bool, device=DEVICE) for m in ("video", "text")}
    return batch | {"group": torch.arange(rows, device=DEVICE)}


def stepper(config: FuseMixConfig, batch: Batch, name: str) -> Callable[[], object]:
    model = FuseMix(config).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    rows = len(batch["video"])
    steps = iter(range(10**9))

    def work() -> None:
        rng = Randomness(0, next(steps), 0, rows, rows, DEVICE)
        mixed, rng = assemble(model, batch, rng)
        with precision(name):
            out = model.objective(model.encode(mixed, rng=rng), progress=0.0, rng=rng)
            out.loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return work


def measure(rows: int, width: int, repeats: int) -> dict[str, Any]:
    config = FuseMixConfig(widths={"video": width, "text": width}, depth=2, dropout=0.6, mix="permutation")
    batch = batch_of(rows, width)
    work, operations = {}, {}
    for name in PRECISIONS:
        work[name] = stepper(config, batch, name)
        work[f"gemm {name}"], operations[name] = gemm(name)
    times = interleaved(work, repeats=repeats)
    weights = sum(p.numel() for p in FuseMix(config).parameters() if p.ndim == 2)
    needed = 6.0 * weights * rows + 8.0 * rows**2 * config.dim
    found: dict[str, Any] = {"rows": rows, "width": width, "weights": weights, "cases": {}}
    for name in PRECISIONS:
        peak = operations[name] / times[f"gemm {name}"]
        row = {"seconds": times[name], "gemm_gflops": peak / 1e9, "of_limit": needed / peak / times[name]}
        found["cases"][name] = {k: float(f"{v:.3g}") for k, v in row.items()}
        print(f"B {rows:5,} width {width} {name:7s}", "  ".join(f"{k} {v:.3g}" for k, v in row.items()), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="also B = 8,192")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sizes = SIZES + (LARGE if options.large or DEVICE.type == "cuda" else ())
    found = [measure(rows, width, options.repeats) for rows, width in sizes]
    worst = min(case["of_limit"] for size in found for case in size["cases"].values())
    print(f"lowest share of the limit: {worst:.2f}; target {TARGET}: {'yes' if worst >= TARGET else 'NO'}")
    write("fusemix_step", {"sizes": found, "target": TARGET, "lowest of_limit": worst}, options.out)


if __name__ == "__main__":
    main()
