"""The clustering step: k-means by cosine, ours and faiss-cpu's spherical one, the same start and iterations.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/kmeans.py [--quick]

At MCN's size (45,056 x 6,144, 256 clusters: the queue and a batch) and at a million rows (512 wide, 1,024 clusters).
Both assign rows by the product with unit centroids and move a centroid to the mean of its rows, so that both end in the
same place; the objective is the mean of x . C / |C| over 131,072 rows at most, the higher the better. Runs of the two
take turns, on one core each. The limit is the product alone, X C', once an iteration.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import torch
from torch import Tensor
from torch.nn import functional as F

from seehear.nn.kmeans import kmeans

SIZES = {"MCN's queue and batch": (45_056, 6144, 256), "a million rows": (1_000_000, 512, 1024)}
QUICK = {"MCN's queue and batch, small": (6000, 1536, 256), "a million rows, small": (60_000, 512, 1024)}
_LOOKED_AT = 131_072
_BIG = 500_000  # rows from which one run of each has to do


def world(rows: int, dim: int, clusters: int) -> Tensor:
    """Rows around directions, of different lengths, in no order."""
    g = torch.Generator().manual_seed(0)
    centres_KE = torch.randn(clusters, dim, generator=g)
    x_NE = torch.empty(rows, dim)
    for part_TE in x_NE.split(65_536):
        of_T = torch.randint(clusters, (len(part_TE),), generator=g)
        part_TE.copy_(centres_KE[of_T]).add_(torch.randn(part_TE.shape, generator=g), alpha=2.0)
        part_TE.mul_(0.5 + torch.rand(len(part_TE), 1, generator=g))
    return x_NE


def objective(x_NE: Tensor, centroids_KE: Tensor) -> float:
    unit_EK = F.normalize(centroids_KE, dim=1).T.contiguous()
    some_ME = x_NE[:_LOOKED_AT]  # rows are in no order
    return sum(float((part_TE @ unit_EK).amax(dim=1).double().sum()) for part_TE in some_ME.split(8192)) / len(some_ME)


def ours(x_NE: Tensor, start_KE: Tensor, iterations: int) -> Tensor:
    return kmeans(x_NE, start_KE, iterations=iterations, tolerance=-1.0).centroids_KE


def theirs(x_NE: Tensor, start_KE: Tensor, iterations: int) -> Tensor:
    import faiss

    clusters, dim = start_KE.shape
    faiss.omp_set_num_threads(torch.get_num_threads())
    settings = {"spherical": True, "max_points_per_centroid": len(x_NE), "min_points_per_centroid": 1, "seed": 0}
    fitted = faiss.Kmeans(dim, clusters, niter=iterations, **settings)
    fitted.train(x_NE.numpy(), init_centroids=F.normalize(start_KE, dim=1).numpy())
    return torch.from_numpy(fitted.centroids)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start, found = time.process_time(), None
    found = work()
    return time.process_time() - start, found


def measure(rows: int, dim: int, clusters: int, *, iterations: int, repeats: int) -> dict[str, Any]:
    x_NE = world(rows, dim, clusters)
    start_KE = x_NE[torch.randperm(rows, generator=torch.Generator().manual_seed(1))[:clusters]].clone()
    unit_EK = F.normalize(start_KE, dim=1).T.contiguous()
    seconds: dict[str, list[float]] = {"ours": [], "faiss": [], "product": []}
    reached: dict[str, float] = {}

    def product() -> None:
        for part_TE in x_NE.split(4096):
            part_TE @ unit_EK

    for _ in range(repeats if rows < _BIG else 1):
        for name, fit in (("ours", ours), ("faiss", theirs)):
            taken, centroids_KE = timed(lambda fit=fit: fit(x_NE, start_KE, iterations))
            seconds[name].append(taken / iterations)
            reached[name] = objective(x_NE, centroids_KE)
        seconds["product"].append(timed(product)[0])
    middle = {name: sorted(taken)[len(taken) // 2] for name, taken in seconds.items()}
    return {
        "rows": rows,
        "dim": dim,
        "clusters": clusters,
        "iterations": iterations,
        "seconds_an_iteration": {name: round(taken, 4) for name, taken in middle.items()},
        "every_run": {name: [round(t, 4) for t in taken] for name, taken in seconds.items()},
        "ours_over_faiss": round(middle["ours"] / middle["faiss"], 3),
        "ours_over_product": round(middle["ours"] / middle["product"], 3),
        "gflops": round(2e-9 * rows * dim * clusters / middle["ours"], 1),
        "objective": {"start": round(objective(x_NE, start_KE), 6)} | {n: round(v, 6) for n, v in reached.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = {}
    for name, size in (QUICK if options.quick else SIZES).items():
        results[name] = measure(*size, iterations=options.iterations, repeats=options.repeats)
        print(name, results[name], flush=True)
    common.write("kmeans", results, options.out)


if __name__ == "__main__":
    main()
