"""Exact gradient caching against the full batch: time (at most 1.4 x) and peak memory (at most a fifth).

Two transformer towers (width 192, 4 layers; 49 and 102 tokens) and InfoNCE over B = 512, whole or in micro-batches of
32. The cached step encodes twice, 4/3 of the work of the full one; what it saves is every graph but one micro-batch's.

    OMP_NUM_THREADS=1 python benchmarks/gradcache.py
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from common import DEVICE, interleaved, memory_apart, peak_bytes, write
from torch import nn
from torch.nn import functional as F

from seehear.losses.contrastive import info_nce
from seehear.methods.base import Method
from seehear.nn.random import Randomness
from seehear.train.optim import Computation, gradients
from seehear.types import Batch, Encoded, StepOutput, Tensor, presence

TOKENS = {"video": 49, "audio": 102}
WIDTH, LAYERS, HEADS, PATCH = 192, 4, 3, 256


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x_BLD: Tensor) -> Tensor:
        q, k, v = self.qkv(self.before(x_BLD)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        x_BLD = x_BLD + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x_BLD + self.mlp(self.between(x_BLD))


class Towers(Method):
    name: ClassVar[str] = "towers"

    def __init__(self) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(PATCH, WIDTH), *(Block() for _ in range(LAYERS))) for m in TOKENS}
        )

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        return Encoded({m: self.towers[m](batch[m]).mean(1) for m in TOKENS}, presence(batch, ("video", "audio")))

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        z = {m: F.normalize(x, dim=-1) for m, x in encoded.features.items()}
        return StepOutput(info_nce(z["video"], z["audio"], 0.07))


def prepared(rows: int) -> tuple[Towers, Batch, Randomness]:
    torch.manual_seed(0)
    batch: Batch = {m: torch.randn(rows, n, PATCH, device=DEVICE) for m, n in TOKENS.items()}
    batch |= {f"has_{m}": torch.ones(rows, dtype=torch.bool, device=DEVICE) for m in TOKENS}
    return Towers().to(DEVICE), batch, Randomness(seed=0, step=0, start=0, stop=rows, total=rows, device=DEVICE)


def step(method: Towers, batch: Batch, rng: Randomness, micro_batch: int | None) -> Tensor:
    """All gradients of one batch, as one vector."""
    method.zero_grad()
    gradients(method, batch, progress=0.0, rng=rng, how=Computation(micro_batch=micro_batch))
    return torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])


def memory(rows: int, micro_batch: int) -> int:
    """Rise of one step above its data and parameters, in bytes. 0: the batch in one piece."""
    step(*prepared(4), micro_batch=2)
    work = partial(step, *prepared(rows), micro_batch or None)
    return peak_bytes(work)


def measure(rows: int, micro_batch: int, repeats: int) -> dict[str, float]:
    method, batch, rng = prepared(rows)
    cases = {"full": None, "cached": micro_batch}
    times = interleaved({n: partial(step, method, batch, rng, m) for n, m in cases.items()}, repeats=repeats)
    full, cached = (step(method, batch, rng, m) for m in cases.values())
    difference = float((full - cached).norm() / full.norm())
    used = {n: memory_apart(memory, __file__, rows, m or 0) for n, m in cases.items()}
    found = {f"{n}_seconds": t for n, t in times.items()} | {f"{n}_megabytes": b / 1e6 for n, b in used.items()}
    found |= {"time_of_full": times["cached"] / times["full"], "memory_of_full": used["cached"] / used["full"]}
    found |= {"gradient_difference": difference}
    print(f"B {rows:5,} in {micro_batch}:", "  ".join(f"{k} {v:.3g}" for k, v in found.items()), flush=True)
    return {"rows": rows, "micro_batch": micro_batch} | {k: float(f"{v:.3g}") for k, v in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory-of", nargs=2, type=int, metavar=("ROWS", "MICRO_BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        rows, micro_batch = options.memory_of
        print(memory(rows, micro_batch))
        return
    found = [measure(rows, 32, options.repeats) for rows in (128, 512)]
    reached = {
        "time <= 1.4 x of the full batch": found[-1]["time_of_full"] <= 1.4,
        "memory <= 1/5 of the full batch": found[-1]["memory_of_full"] <= 0.2,
    }
    for name, met in reached.items():
        print(f"B 512: {name}: {'yes' if met else 'NO'}")
    shape = {"tokens": TOKENS, "width": WIDTH, "layers": LAYERS}
    write("gradcache", {**shape, "sizes": found, "targets at 512": reached}, options.out)


if __name__ == "__main__":
    main()
