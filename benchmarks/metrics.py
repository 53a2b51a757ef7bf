"""Retrieval measures at scale: time against the matrix product alone, memory, and pytrec_eval on what it can do.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/metrics.py

All measures (R@K, ranks, MRR, mAP, nDCG@10, ties averaged) of 50,000 queries in a gallery of 50,000, one positive each
and five captions each. The limit is the product Q G' by the same blocks. pytrec_eval takes dictionaries, so it is
compared at 2,000 x 2,000, from the same scores. Memory is of a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
from pathlib import Path
from typing import Any

import common
import numpy as np

from seehear.evaluation import retrieval as module
from seehear.evaluation.retrieval import retrieval, retrieval_from_scores

WIDTH = 256


def world(queries: int, gallery: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((max(queries, gallery), WIDTH), dtype=np.float32)
    query, items = z[:queries].copy(), z[np.arange(gallery) * max(queries, gallery) // gallery]
    for x in (query, items):
        x += 2.5 * rng.standard_normal(x.shape, dtype=np.float32)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    return query, items


def measure(size: int, captions: int, repeats: int) -> dict[str, Any]:
    query, gallery = world(size // captions, size)
    ids, owner = np.arange(size // captions), np.arange(size) // captions
    block = max(1, module._BLOCK // size)

    def product() -> None:
        for at in range(0, len(query), block):
            query[at : at + block] @ gallery.T

    cases = {"matrix product": product, "ours": lambda: retrieval(query, gallery, ids, owner)}
    times = common.interleaved(cases, repeats=repeats)
    found = {"queries": len(query), "gallery": size, "seconds": {n: round(t, 2) for n, t in times.items()}}
    return found | {"ours_over_product": round(times["matrix product"] / times["ours"], 3)}


def _memory(size: int, out: Any) -> None:
    query, gallery = world(size, size)
    out.put(common.peak_bytes(lambda: retrieval(query, gallery, range(size), range(size))))


def memory(size: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    process = context.Process(target=_memory, args=(size, out))
    process.start()
    peak = out.get()
    process.join()
    return {"peak_mb": round(peak / 1e6), "full_matrix_mb": round(4 * size**2 / 1e6)}


def against_pytrec_eval(size: int, repeats: int) -> dict[str, Any]:
    try:
        import pytrec_eval
    except ModuleNotFoundError:
        return {}
    query, gallery = world(size, size)
    scores = query @ gallery.T
    truth = {str(q): {str(q): 1} for q in range(size)}
    names = [str(g) for g in range(size)]
    wanted = {"map", "recip_rank", "ndcg_cut_10", "success_1,5,10"}

    def theirs() -> None:
        run = {str(q): dict(zip(names, row.tolist(), strict=True)) for q, row in enumerate(scores)}
        pytrec_eval.RelevanceEvaluator(truth, wanted).evaluate(run)

    cases = {"pytrec_eval": theirs, "ours": lambda: retrieval_from_scores(scores, range(size), range(size))}
    times = common.interleaved(cases, repeats=repeats)
    shown = {n: round(t, 3) for n, t in times.items()}
    return {"size": size, "seconds": shown, "speedup": round(times["pytrec_eval"] / times["ours"], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = {
        "width": WIDTH,
        "one positive": measure(options.size, 1, options.repeats),
        "five captions": measure(options.size, 5, options.repeats),
        "memory": memory(options.size),
        "pytrec_eval": against_pytrec_eval(2000, options.repeats + 1),
    }
    print(results)
    common.write("metrics", results, options.out)


if __name__ == "__main__":
    main()
