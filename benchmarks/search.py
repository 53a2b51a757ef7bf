"""Exact search against what the machine can do, and against the naive ways, interleaved in one run.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/search.py

One query is bound by reading N x 256 floats: the limit is the fastest of three passes over the same bytes (dot of the
array with itself, sum, max). Beside ours: NumPy's and torch's matrix-vector product with a full top-k, and LanceDB's
flat scan. Two sizes, 10^5 and 10^6 rows.
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

from seehear.search.gallery import nearest, top

WIDTH, K = 256, 10


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
    query = x[7] + 0.01
    t, tq = torch.from_numpy(x), torch.from_numpy(query)
    cases = reads(x) | {
        "ours": lambda: nearest(x, query, K),
        "numpy matrix-vector": lambda: top(x @ query, K),
        "numpy, argpartition": lambda: np.argpartition(x @ query, len(x) - K)[-K:],
        "torch mv, topk": lambda: (t @ tq).topk(K),
    }
    mask = np.random.default_rng(1).random(len(x)) < 0.1
    cases["ours, filter keeps 10 %"] = lambda: nearest(x, query, K, mask)
    times = common.interleaved(cases, repeats=repeats)
    limit = min(times[name] for name in times if name.startswith("read"))
    return {
        "milliseconds": {name: round(1e3 * t, 3) for name, t in times.items()},
        "read_gb_per_s": round(x.nbytes / limit / 1e9, 1),
        "ours_over_read_limit": round(limit / times["ours"], 3),
        "speedup_over_numpy": round(times["numpy, argpartition"] / times["ours"], 2),
        "speedup_over_torch": round(times["torch mv, topk"] / times["ours"], 2),
    }


def lance_flat(x: np.ndarray, repeats: int) -> dict[str, Any]:
    """LanceDB's own scan uses its threads: wall time, beside ours in wall time. Nothing where it is not installed."""
    try:
        import lancedb
        import pyarrow as pa
    except ModuleNotFoundError:
        return {}
    query = x[7] + 0.01
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
            rows = nearest(x, query, K)[1].tolist()
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
        found["lancedb flat"] = lance_flat(x, max(3, options.repeats // 5))
        results[f"{rows} rows"] = found
        print(rows, found)
    common.write("search", results, options.out)


if __name__ == "__main__":
    main()
