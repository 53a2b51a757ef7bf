"""One MCN training step with and without clustering: what online k-means costs.

    OMP_NUM_THREADS=1 python benchmarks/mcn_step.py [--quick]

Latents of three modalities in the paper's proportions: the queue is ten batches, half of a batch enters it, k-means
starts from the old centroids every 20 steps and has at most 100 iterations. Time is the mean over a whole period of 20
steps (one of them refits) with the queue full; the rest of the step is the same for both.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import common
import torch

from seehear.methods.mcn import MCN, MCNConfig
from seehear.nn.random import Randomness
from seehear.types import Batch

PERIOD = 20
WIDTHS = {"video": 4096, "audio": 512, "text": 384}


def batches(rows: int, count: int) -> list[Batch]:
    """Views of hidden clusters, in the widths of real encoders."""
    g = torch.Generator().manual_seed(0)
    maps = {m: torch.randn(32, d, generator=g) for m, d in WIDTHS.items()}
    centres_CD = 2 * torch.randn(64, 32, generator=g)
    made = []
    for _ in range(count):
        hidden_BD = centres_CD[torch.randint(64, (rows,), generator=g)] + torch.randn(rows, 32, generator=g)
        batch: Batch = {m: (hidden_BD @ of).relu().to(common.DEVICE) for m, of in maps.items()}
        batch |= {f"has_{m}": torch.ones(rows, dtype=torch.bool, device=common.DEVICE) for m in WIDTHS}
        made.append(batch | {"group": torch.arange(rows, device=common.DEVICE)})
    return made


def stepper(config: MCNConfig, data: list[Batch]) -> Callable[[int], None]:
    torch.manual_seed(0)
    model = MCN(config).to(common.DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    rows, steps = len(data[0]["group"]), iter(range(10**9))

    def work(count: int) -> None:
        for _ in range(count):
            number = next(steps)
            rng = Randomness(0, number, 0, rows, rows, common.DEVICE)
            out = model.objective(model.encode(data[number % len(data)], rng=rng), progress=0.0, rng=rng)
            out.loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            model.after_step(out, 0.0)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a batch of 128, a space of 256 numbers")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows, dim, clusters = (128, 256, 32) if options.quick else (256, 1024, 64)
    config = MCNConfig(
        widths=WIDTHS,
        blocks={"video": (2048, 2048)},
        nonnegative=tuple(WIDTHS),
        dim=dim,
        hidden=dim // 2,
        clusters=clusters,
        queue=10 * rows,
        refit_every=PERIOD,
    )
    data = batches(rows, 7)
    forms = {"with clusters": stepper(config, data), "without": stepper(replace(config, cluster_weight=0.0), data)}
    for work in forms.values():
        work(PERIOD + 1)  # the queue is full, and the first fit from nothing is over
    cases: dict[str, Callable[[], object]] = {
        name: lambda work=work: work(PERIOD)  # type: ignore[misc]
        for name, work in forms.items()
    }
    times = common.interleaved(cases, repeats=options.repeats)
    results: dict[str, Any] = {"batch": rows, "dim": dim, "clusters": clusters, "queue": 10 * rows, "widths": WIDTHS}
    results["seconds_a_step"] = {name: round(t / PERIOD, 5) for name, t in times.items()}
    results["with_over_without"] = round(times["with clusters"] / times["without"], 3)
    print(results)
    common.write("mcn_step", results, options.out)


if __name__ == "__main__":
    main()
