"""What it costs to go on at step k: the loader computes the order of that epoch and starts there, against replaying the
batches before it.

    OMP_NUM_THREADS=1 python benchmarks/loader_resume.py [--clips N] [--out FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import torch

from seehear.inputs.latents import LatentData
from seehear.inputs.loader import Loader, Sampling

ROWS, WIDTH, GROUP = 1024, 64, 10
AT = (100, 1000)


def replay(loader: Loader, step: int) -> None:
    for done, _ in enumerate(loader.batches()):
        if done == step:
            return


def measure(data: LatentData, *, distinct: bool, repeats: int) -> dict[str, Any]:
    cases: dict[str, Callable[[], object]] = {}
    for at in AT:
        # A new one each time: a loader keeps the order of the epoch it is in.
        def fresh() -> Loader:
            return Loader(data, Sampling(batch_size=ROWS, seed=0, epochs=100, distinct_groups=distinct))

        cases[f"jump to {at}"] = lambda at=at, fresh=fresh: next(fresh().batches(at))  # type: ignore[misc]
        cases[f"replay to {at}"] = lambda at=at, fresh=fresh: replay(fresh(), at)  # type: ignore[misc]
    times = common.interleaved(cases, repeats=repeats)
    return {
        "milliseconds": {name: round(1e3 * t, 2) for name, t in times.items()},
        "jump_over_replay": {str(at): round(times[f"jump to {at}"] / times[f"replay to {at}"], 4) for at in AT},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    vectors = torch.randn(given.clips, WIDTH, generator=torch.Generator().manual_seed(0)).half()
    groups = torch.arange(given.clips) // GROUP
    data = LatentData.from_arrays({"video": vectors, "text": vectors}, groups=groups)
    results = {
        name: measure(data, distinct=distinct, repeats=given.repeats)
        for name, distinct in (("any order", False), ("distinct groups", True))
    }
    print(results)
    common.write("loader_resume", {"clips": given.clips, "batch": ROWS, "width": WIDTH, "results": results}, given.out)


if __name__ == "__main__":
    main()
