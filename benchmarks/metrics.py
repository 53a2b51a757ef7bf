"""Retrieval measures at scale: time against the matrix product alone, memory, and pytrec_eval on what it can do.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/metrics.py

All measures (R@K, ranks, MRR, mAP, nDCG@10, ties averaged) of 50,000 queries in a gallery of 50,000, one positive each
and five captions each. The limit is the product Q G' by the same blocks. pytrec_eval takes dictionaries, so it is
compared at 2,000 x 2,000, from the same scores; and of 50,000 x 50,000 it gets some queries, each with the whole
gallery: its time and memory are those of a query times 50,000, which is said to be so. Memory is of a process of its
own.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np

from seehear.evaluation import retrieval as module
from seehear.evaluation.retrieval import rank_blocks, retrieval

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
    block = max(1, module.BLOCK // size)

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


def _in_a_process(work: Callable[..., None], *given: Any) -> int:
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    process = context.Process(target=work, args=(*given, out))
    process.start()
    peak = int(out.get())
    process.join()
    return peak


def memory(size: int) -> dict[str, Any]:
    peak = _in_a_process(_memory, size)
    return {"peak_mb": round(peak / 1e6), "full_matrix_mb": round(4 * size**2 / 1e6)}


def _pytrec_eval(scores: np.ndarray) -> Callable[[], object]:
    """Row q's positive is item q."""
    import pytrec_eval

    truth = {str(q): {str(q): 1} for q in range(len(scores))}
    names = [str(g) for g in range(scores.shape[1])]
    wanted = {"map", "recip_rank", "ndcg_cut_10", "success_1,5,10"}

    def theirs() -> object:
        run = {str(q): dict(zip(names, row.tolist(), strict=True)) for q, row in enumerate(scores)}
        return pytrec_eval.RelevanceEvaluator(truth, wanted).evaluate(run)

    return theirs


def _their_memory(scores: np.ndarray, out: Any) -> None:
    theirs = _pytrec_eval(scores)
    out.put(common.peak_bytes(theirs))


def pytrec_eval_at(size: int, queries: int) -> dict[str, Any]:
    """Some queries with the whole gallery; what all would take is theirs times so many."""
    query, gallery = world(size, size)
    scores = query[:queries] @ gallery.T
    times = common.interleaved({"pytrec_eval": _pytrec_eval(scores)}, repeats=1)
    peak = _in_a_process(_their_memory, scores)
    each = size / queries
    return {
        "queries": queries,
        "seconds": round(times["pytrec_eval"], 2),
        "peak_mb": round(peak / 1e6),
        "all_queries_extrapolated": {
            "hours": round(times["pytrec_eval"] * each / 3600, 2),
            "peak_gb": round(peak * each / 1e9),
        },
    }


def against_pytrec_eval(size: int, repeats: int) -> dict[str, Any]:
    query, gallery = world(size, size)
    scores = query @ gallery.T
    theirs = _pytrec_eval(scores)
    cases = {"pytrec_eval": theirs, "ours": lambda: rank_blocks(lambda a, b: scores[a:b], range(size), range(size))}
    times = common.interleaved(cases, repeats=repeats)
    shown = {n: round(t, 3) for n, t in times.items()}
    return {"size": size, "seconds": shown, "speedup": round(times["pytrec_eval"] / times["ours"], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results: dict[str, Any] = {
        "width": WIDTH,
        "one positive": measure(options.size, 1, options.repeats),
        "five captions": measure(options.size, 5, options.repeats),
        "memory": memory(options.size),
    }
    if importlib.util.find_spec("pytrec_eval"):
        results["pytrec_eval"] = against_pytrec_eval(min(2000, options.size), options.repeats + 1)
        results["pytrec_eval, whole gallery"] = pytrec_eval_at(options.size, min(100, options.size))
    print(results)
    common.write("metrics", results, options.out)


if __name__ == "__main__":
    main()
