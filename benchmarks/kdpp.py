"""Greedy k-DPP at scale: 1,000 of 100,000 latents, against the plain greedy form and against the matrix products alone.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/kdpp.py

The plain form (arXiv 1709.05135) holds the whole kernel and takes one matrix-vector product a choice: it is compared at
4,000 latents, where its kernel fits easily; both choose the same. The limit is what no exact form gets by without, as
two products: the kernel rows of the choices, n x D x k, and the Cholesky factor, n x k x k / 2. Memory is of a process
of its own, beside the latents.
"""

from __future__ import annotations

import argparse
import multiprocessing
from pathlib import Path
from typing import Any

import common
import numpy as np

from seehear.progress import set_quiet
from seehear.studies.selection import greedy_kdpp

KINDS = 2000


def latents(n: int, width: int) -> np.ndarray:
    """As encoders give them: in heaps of very different size, about a mean that is not zero."""
    rng = np.random.default_rng(0)
    share = rng.pareto(1.5, KINDS) + 0.1
    centres = rng.standard_normal((KINDS, width), dtype=np.float32)
    kind = rng.choice(KINDS, n, p=share / share.sum())
    return centres[kind] + 0.7 * rng.standard_normal((n, width), dtype=np.float32) + 0.5


def plain(x_ND: np.ndarray, k: int) -> np.ndarray:
    x_ND = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    kernel_NN = (1 + x_ND @ x_ND.T) ** 2
    c_NK = np.zeros((len(x_ND), k), x_ND.dtype)
    d2_N, chosen = np.full(len(x_ND), 4.0, x_ND.dtype), np.zeros(k, np.int64)
    for t in range(k):
        j = chosen[t] = int(d2_N.argmax())
        e_N = (kernel_NN[j] - c_NK[:, :t] @ c_NK[j, :t]) / np.sqrt(d2_N[j])
        c_NK[:, t] = e_N
        d2_N -= e_N**2
        d2_N[j] = -np.inf
    return chosen


def products(x_ND: np.ndarray, k: int) -> None:
    """The limit: as many operations, all at once."""
    c_NK = np.ones((len(x_ND), k // 2), np.float32)
    x_ND @ x_ND[:k].T
    c_NK @ c_NK[:k].T


def against_plain(n: int, width: int, k: int, repeats: int) -> dict[str, Any]:
    x = latents(n, width)
    cases = {"plain": lambda: plain(x, k), "ours": lambda: greedy_kdpp(x, k)}
    times = common.interleaved(cases, repeats=repeats)
    same = float(np.mean(plain(x, k) == greedy_kdpp(x, k).chosen))
    found = {"n": n, "k": k, "seconds": {name: round(t, 3) for name, t in times.items()}}
    return found | {"speedup": round(times["plain"] / times["ours"], 2), "same_choice": same}


def against_products(n: int, width: int, k: int, repeats: int) -> dict[str, Any]:
    x = latents(n, width)
    cases = {"matrix products": lambda: products(x, k), "ours": lambda: greedy_kdpp(x, k)}
    times = common.interleaved(cases, repeats=repeats)
    found = {"n": n, "k": k, "seconds": {name: round(t, 2) for name, t in times.items()}}
    return found | {"products_over_ours": round(times["matrix products"] / times["ours"], 3)}


def _memory(n: int, width: int, k: int, out: Any) -> None:
    set_quiet(True)
    x = latents(n, width)
    out.put(common.peak_bytes(lambda: greedy_kdpp(x, k)))


def memory(n: int, width: int, k: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    process = context.Process(target=_memory, args=(n, width, k, out))
    process.start()
    peak = out.get()
    process.join()
    needed = 4 * n * (width + k)  # unit latents and the factor
    return {"peak_mb": round(peak / 1e6), "factor_and_latents_mb": round(needed / 1e6), "kernel_mb": round(4e-6 * n**2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--choices", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    set_quiet(True)
    small = min(4000, options.size)
    results = {
        "width": options.width,
        "memory": memory(options.size, options.width, options.choices),
        "against the plain form": against_plain(small, options.width, min(500, small), options.repeats + 1),
        "against the products": against_products(options.size, options.width, options.choices, options.repeats),
    }
    print(results)
    common.write("kdpp", results, options.out)


if __name__ == "__main__":
    main()
