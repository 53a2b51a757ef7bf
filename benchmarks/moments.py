"""Moments of 10^5 and 10^6 clips: opening, calibrating, and searching by words with and without a filter, beside NumPy.

    OMP_NUM_THREADS=1 python benchmarks/moments.py [--work FOLDER]

The rows are drawn: 384 numbers a clip, in half precision, of films of a hundred clips that are more like each other
than like the rest. Every tenth clip has a line of text; the time of an encoder of words is left out. Opening and
calibrating run in processes of their own; a library in the folder is made once.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import zlib
from pathlib import Path
from statistics import median
from typing import Any

import common
import numpy as np

from seehear.library.tables import LibraryTables, Vectors
from seehear.progress import set_quiet
from seehear.search.background import calibrate_index
from seehear.search.calibrate import background_phrases
from seehear.search.filters import Filters
from seehear.search.fulltext import update_fulltext
from seehear.search.index import index_clips, set_index
from seehear.search.moments import MomentSearch

WIDTH, PER_FILM, PART, QUERIES = 384, 100, 100_000, 9
FILTERS = {"none": None, "keeps 90 %": Filters(where="NOT (source LIKE '%0.mp4')")}
FILTERS |= {
    "keeps 0.1 %": Filters(where="source LIKE '%000.mp4'"),
    "keeps one film": Filters(source="films/000042.mp4"),
}


class Drawn:
    """A space that draws the vector of its words."""

    fingerprint, dim, modalities, encoders = "f", WIDTH, ("video", "text"), {}  # type: ignore[var-annotated]

    def encode_query(self, items: list[Any]) -> np.ndarray:
        words = (item["text"] if isinstance(item, dict) else item for item in items)
        drawn = np.stack([np.random.default_rng(zlib.crc32(text.encode())).normal(size=WIDTH) for text in words])
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def make(path: Path, clips: int) -> None:
    """The library, with one index of a row a clip."""
    import pyarrow as pa

    library, draw = LibraryTables.create(path), np.random.default_rng(0)
    library.add_root(str(path))
    table, schema = library.table("clips"), library.table("clips").schema
    vectors = library.vectors("vectors", "drawn", WIDTH)
    for first in range(0, clips, PART):
        at = np.arange(first, min(first + PART, clips))
        films, starts = [f"films/{n:06d}.mp4" for n in at // PER_FILM], 5.0 * (at % PER_FILM)
        ids = [f"{film}#{start:.3f}-{start + 5:.3f}" for film, start in zip(films, starts.tolist(), strict=True)]
        line = {"start": 0.0, "end": 1.0, "kind": "speech", "by": "m"}
        columns: dict[str, Any] = {"id": ids, "source": films, "start": starts, "end": starts + 5}
        columns["texts"] = [[] if n % 10 else [line | {"text": f"this is line {n} of a long talk"}] for n in at]
        same = {"audio_source": "", "has_video": True, "has_audio": False, "labels": [], "group": "", "meta": "{}"}
        columns |= {name: [value] * len(at) for name, value in (same | {"split": "train"}).items()}
        table.add(pa.table({field.name: pa.array(columns[field.name], field.type) for field in schema}, schema=schema))
        rows = np.repeat(draw.normal(size=(-(-len(at) // PER_FILM), WIDTH)), PER_FILM, axis=0)[: len(at)]
        rows = (rows + draw.normal(size=rows.shape)).astype(np.float16)
        contents = [f"{n:016x}" for n in at]
        vectors.append(Vectors(ids, np.zeros(len(at), np.int32), ["video"] * len(at), rows, ["f"] * len(at), contents))
    update_fulltext(library)
    index_clips(library)


def cpu() -> tuple[float, float]:
    """CPU seconds of all threads, Lance's too: of the program, and of the kernel, which is all that memory costs."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime, used.ru_stime


def since(start: tuple[float, float]) -> dict[str, float]:
    program, kernel = (after - before for before, after in zip(start, cpu(), strict=True))
    return {"CPU seconds": round(program + kernel, 3), "of the kernel": round(kernel, 3)}


def calibrated(path: Path) -> dict[str, Any]:
    """Opening is a part of it."""
    library, start = LibraryTables.open(path), cpu()
    about = {"made": "", "maker": "f", "model": "frozen:#drawn", "modalities": ["video"], "dim": WIDTH}
    set_index(library, "drawn", about | {"read": [], "recall": None, "probes": 0})
    size = common.peak_bytes(lambda: calibrate_index(library, Drawn(), "drawn"))  # type: ignore[arg-type]
    return since(start) | {"GB": size / 1e9}


def searched(path: Path) -> dict[str, Any]:
    library, start = LibraryTables.open(path), cpu()
    opened: list[MomentSearch] = []
    size = common.peak_bytes(lambda: opened.append(MomentSearch(library, {"drawn": Drawn()})))  # type: ignore[dict-item]
    found: dict[str, Any] = {"open": since(start) | {"GB": size / 1e9}}
    searcher = opened[0]
    vectors_NE = searcher.indexes[0].vectors_NE
    found["float32 vectors, GB"] = vectors_NE.nbytes / 1e9
    start = cpu()
    np.empty_like(vectors_NE).fill(0)
    found["an array of that size filled with zeros"] = since(start)
    queries = Drawn().encode_query(background_phrases()[:QUERIES])
    taken: dict[str, list[float]] = {}
    for n, phrase in enumerate(background_phrases()[:QUERIES]):
        for name, filters in FILTERS.items():
            start = cpu()
            searcher.search(phrase, filters=filters)
            taken.setdefault(name, []).append(since(start)["CPU seconds"])
        start = cpu()
        searcher.search(phrase, k=24, by="film")
        taken.setdefault("24 films", []).append(since(start)["CPU seconds"])
        start = cpu()
        scores_N = vectors_NE @ queries[n]
        np.argpartition(scores_N, -10)[-10:]
        taken.setdefault("NumPy alone", []).append(since(start)["CPU seconds"])
    return found | {"search, CPU seconds": {name: median(own) for name, own in taken.items()}}


STEPS = {"calibrate": calibrated, "search": searched}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("/tmp/seehear-moments"))
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--one", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    set_quiet(True)
    if options.one:
        print(json.dumps(STEPS[options.one](options.work)))
        return
    found: dict[str, Any] = {}
    for clips in options.clips:
        path = options.work / str(clips)
        if not path.exists():
            make(path, clips)
        for step in STEPS:
            command = [sys.executable, __file__, "--one", step, "--work", str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found.setdefault(f"{clips:,}", {})[step] = own = json.loads(done.splitlines()[-1])
            print(clips, step, own, flush=True)
    common.write("moments", {"width": WIDTH, "queries": QUERIES, "clips": found}, None)


if __name__ == "__main__":
    main()
