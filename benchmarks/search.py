"""Exact search against what the machine can do, and against the naive ways, interleaved in one run.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/search.py

One query is bound by reading N x 256 floats: the limit is the fastest of three passes over the same bytes (dot of the
array with itself, sum, max). Many queries are bound by the matrix product. Beside ours: NumPy's and torch's
matrix-vector product with a full top-k, and LanceDB's flat scan. Two sizes, 10^5 and 10^6 rows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import common
import numpy as np
import torch

from seehear.search.exact import ExactSearch, top

WIDTH, K, BATCH = 256, 10, 128


def vectors(rows: int) -> np.ndarray:
    """Clustered unit vectors, as a shared space gives."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, WIDTH), dtype=np.float32)
    x = centres[rng.integers(0, 200, rows)]
    for at in range(0, rows, 1 << 16):
        part = x[at : at + (1 << 16)]
        part += 0.7 * rng.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return x


def reads(x: np.ndarray) -> dict[str, Callable[[], object]]:
    flat = x.ravel()
    return {"read: dot": lambda: np.dot(flat, flat), "read: sum": lambda: x.sum(), "read: max": lambda: x.max()}


def one_query(x: np.ndarray, repeats: int) -> dict[str, Any]:
    search, query = ExactSearch(x), x[7:8] + 0.01
    t, tq = torch.from_numpy(x), torch.from_numpy(query[0])
    cases = reads(x) | {
        "ours": lambda: search.search(query, K),
        "numpy matrix-vector": lambda: top(x @ query[0], K),
        "numpy, argpartition": lambda: np.argpartition(x @ query[0], len(x) - K)[-K:],
        "torch mv, topk": lambda: (t @ tq).topk(K),
    }
    mask = np.random.default_rng(1).random(len(x)) < 0.1
    cases["ours, filter keeps 10 %"] = lambda: search.search(query, K, mask_N=mask)
    times = common.interleaved(cases, repeats=repeats)
    limit = min(times[name] for name in times if name.startswith("read"))
    return {
        "milliseconds": {name: round(1e3 * t, 3) for name, t in times.items()},
        "read_gb_per_s": round(x.nbytes / limit / 1e9, 1),
        "ours_over_read_limit": round(limit / times["ours"], 3),
        "speedup_over_numpy": round(times["numpy, argpartition"] / times["ours"], 2),
        "speedup_over_torch": round(times["torch mv, topk"] / times["ours"], 2),
    }


def many_queries(x: np.ndarray, repeats: int) -> dict[str, Any]:
    search, queries = ExactSearch(x), x[:BATCH] + 0.01
    tile = x[: 1 << 15]
    t, tq = torch.from_numpy(x), torch.from_numpy(queries)

    def product() -> None:
        for at in range(0, len(x), len(tile)):
            queries @ x[at : at + len(tile)].T

    cases = {"matrix product": product, "ours": lambda: search.search(queries, K)}
    cases["torch, topk"] = lambda: (tq @ t.T).topk(K)
    times = common.interleaved(cases, repeats=repeats)
    return {
        "queries": BATCH,
        "milliseconds_per_query": {name: round(1e3 * t / BATCH, 4) for name, t in times.items()},
        "ours_over_matrix_product": round(times["matrix product"] / times["ours"], 3),
        "speedup_over_torch": round(times["torch, topk"] / times["ours"], 2),
    }


def lance_flat(x: np.ndarray, repeats: int) -> dict[str, Any]:
    """LanceDB's own scan uses its threads: wall time, beside ours in wall time. Nothing where it is not installed."""
    try:
        import lancedb
        import pyarrow as pa
    except ModuleNotFoundError:
        return {}
    query, search = x[7] + 0.01, ExactSearch(x)
    with tempfile.TemporaryDirectory() as folder:
        column = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), WIDTH)
        ids = pa.array(np.arange(len(x)))
        table = lancedb.connect(folder).create_table("v", pa.table({"id": ids, "vector": column}))
        theirs: list[float] = []
        ours: list[float] = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            found = table.search(query).distance_type("dot").limit(K).to_arrow()["id"].to_pylist()
            theirs.append(time.perf_counter() - began)
            began = time.perf_counter()
            rows = search.search(query[None], K)[1][0].tolist()
            ours.append(time.perf_counter() - began)
        assert set(found) == set(rows), "both are exact"
    wall = {"lancedb flat": median(theirs[1:]), "ours": median(ours[1:])}
    shown = {name: round(1e3 * t, 2) for name, t in wall.items()}
    return {"wall_milliseconds": shown, "speedup": round(wall["lancedb flat"] / wall["ours"], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results: dict[str, Any] = {"width": WIDTH, "k": K}
    for rows in options.rows:
        x = vectors(rows)
        found: dict[str, Any] = {"one query": one_query(x, options.repeats)}
        found["many queries"] = many_queries(x, max(3, options.repeats // 5))
        found["lancedb flat"] = lance_flat(x, max(3, options.repeats // 5))
        results[f"{rows} rows"] = found
        print(rows, found)
    common.write("search", results, options.out)


if __name__ == "__main__":
    main()
