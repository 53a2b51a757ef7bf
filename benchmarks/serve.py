"""The search page's server: latency of a search through HTTP, time to its first answer, and the weight of its page.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/serve.py

A library of made-up clips, one vector of 512 each, clustered as a shared space gives them, is served by a process of
its own over loopback. Two things are timed in turns, one query each a round: the request over a kept connection (more
like a clip: no encoder works, so it is the search that is measured, with its 10 hits and all that is said of their
clips) and bare NumPy over the same vectors (`x @ q`, `argpartition`). Then Lance's inverted-file index serves the same
library instead of exact search, and its recall@10 is measured. Beside the time on the clock stands the processors' time
of the server, which another load on the machine moves less; the ratio is of that. 10^6 rows take most of the time, and
some 8 GB.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import common
import numpy as np

import seehear.serve.app
from seehear.library.tables import Clip, LibraryTables, Text, Vectors, content_key, in_batches
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.search import gallery
from seehear.search import index as search_index
from seehear.space import SharedSpace
from seehear.train.files import save_model

WIDTH, K, PAIR, MADE = 512, 10, ("audio", "text"), "0" * 16
_BATCH, UNCOUNTED = 1 << 16, 3
PAGE = seehear.serve.app.PAGE


def vectors(rows: int) -> np.ndarray:
    """Clustered unit vectors, as a shared space gives."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, WIDTH), dtype=np.float32)
    x = centres[rng.integers(0, 200, rows)]
    for part in in_batches(x, _BATCH):
        part += 0.7 * rng.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return x


class Untouched(SharedSpace):
    """A model that leaves its latents as they are: the vectors of the index are then the made-up ones."""

    def encode_latents(self, latents: Any) -> Any:
        return {m: np.asarray(x, np.float32) for m, x in latents.items()}


def build(folder: Path, x: np.ndarray) -> LibraryTables:
    """A library of clips of text alone, their latents written as they are, and an untrained run."""
    library = LibraryTables.create(folder / "lib")
    library.add_root(folder)
    library.vectors("latents", "made-audio", WIDTH)
    latents = library.vectors("latents", "made-text", WIDTH)
    for numbers in in_batches(range(len(x)), _BATCH):
        clips = [clip(n) for n in numbers]
        library.put_clips(clips)
        latents.append(
            Vectors(
                ids=[c.id for c in clips],
                items=np.zeros(len(clips), np.int32),
                modalities=["text"] * len(clips),
                vectors=x[numbers.start : numbers.stop],
                makers=[MADE] * len(clips),
                contents=[content_key(c, "text", 0, {}) for c in clips],
            )
        )
    library.compact()
    method = FuseMix(FuseMixConfig(widths=dict.fromkeys(PAIR, WIDTH), dim=WIDTH))
    infos = {m: [{"name": f"made-{m}", "fingerprint": MADE, "width": WIDTH}] for m in PAIR}
    save_model(folder / "run" / "model", method, {"encoders": infos})
    return library


def clip(n: int) -> Clip:
    return Clip(id=f"clip{n:07d}", texts=(Text(f"a made-up clip, number {n}"),), labels=(f"label {n % 50}",))


def index(library: LibraryTables, folder: Path, *, indexed: bool) -> dict[str, float]:
    """Made, or given its inverted files; what that took."""
    space = Untouched.from_pretrained(folder / "run", device="cpu")
    began, worked = time.perf_counter(), time.process_time()
    search_index.APPROXIMATE_FROM = 0 if indexed else 10**9
    print(search_index.build_index(library, space, name="run", model=str(folder / "run")))
    taken = {"seconds_to_index": time.perf_counter() - began, "cpu_seconds_to_index": time.process_time() - worked}
    return {name: round(value, 1) for name, value in taken.items()}


class Server:
    """The command itself, in a process of its own."""

    def __init__(self, library: str, folder: Path, *, searched: bool = True):
        command = [sys.executable, "-m", "seehear", "serve", library, "--port", "0", "--cache", str(folder / "cache")]
        began = time.perf_counter()
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert self.process.stderr is not None
        line = next(line for line in self.process.stderr if "http://" in line)
        address = urlsplit(line.split(" is at ")[1].split()[0])
        self.connection = http.client.HTTPConnection(str(address.hostname), address.port)
        self.get("/")
        self.start = {"seconds_to_page": self._since(began), "cpu_seconds_to_page": self.cpu()}
        if searched:
            self.search("clip0000000")
            self.start |= {"seconds_to_first_hits": self._since(began), "cpu_seconds_to_first_hits": self.cpu()}
        self.start = {name: round(value, 2) for name, value in self.start.items()}

    @staticmethod
    def _since(began: float) -> float:
        return time.perf_counter() - began

    def cpu(self) -> float:
        """Seconds that processors have worked for it so far, all its threads together."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def get(self, path: str) -> bytes:
        self.connection.request("GET", path)
        return self.connection.getresponse().read()

    def search(self, clip: str) -> dict[str, Any]:
        body = json.dumps({"parts": [{"clip": clip}], "k": K, "run": "run"})
        self.connection.request("POST", "/api/search", body, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        found = json.loads(answer.read())
        assert answer.status == 200, found
        return found

    def close(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.wait()


@dataclass(frozen=True)
class Queries:
    """The first few are not counted."""

    rows: np.ndarray
    nearest: list[set[int]]
    """The K rows nearest to each, itself left out."""

    @classmethod
    def drawn(cls, x: np.ndarray, count: int) -> Queries:
        rows = np.random.default_rng(1).choice(len(x), count + UNCOUNTED, replace=False)
        nearest = [gallery.nearest(x, x[row], K + 1)[1] for row in rows]
        return cls(rows, [set(found.tolist()) - {int(n)} for n, found in zip(rows, nearest, strict=True)])


def measure(server: Server, x: np.ndarray, queries: Queries) -> dict[str, Any]:
    """Milliseconds, p50 and p95; and how many of the true nearest ten were found."""
    times: dict[str, list[float]] = {"http": [], "server, cpu": [], "numpy": [], "numpy, cpu": []}
    right = 0
    for turn, (n, truth) in enumerate(zip(queries.rows, queries.nearest, strict=True)):
        began, worked = time.perf_counter(), server.cpu()
        answer = server.search(f"clip{n:07d}")
        taken = {"http": time.perf_counter() - began, "server, cpu": server.cpu() - worked}
        began, worked = time.perf_counter(), time.process_time()
        scores = x @ x[n]
        np.argpartition(scores, len(x) - K)[-K:]
        taken |= {"numpy": time.perf_counter() - began, "numpy, cpu": time.process_time() - worked}
        if turn >= UNCOUNTED:
            right += len(truth & {int(hit["clip"]["id"][4:]) for hit in answer["hits"]})
            for name, value in taken.items():
                times[name].append(value)
    ms = {name: {"p50": at(t, 0.5), "p95": at(t, 0.95)} for name, t in times.items()}
    return {
        "milliseconds": ms,
        "server_over_numpy": round(ms["server, cpu"]["p50"] / ms["numpy, cpu"]["p50"], 2),
        "recall_at_10": round(right / (K * len(times["http"])), 4),
    }


def at(seconds: Sequence[float], share: float) -> float:
    ordered = sorted(seconds)
    return round(1e3 * (median(ordered) if share == 0.5 else ordered[int(share * (len(ordered) - 1))]), 3)


def page_weight() -> dict[str, int]:
    return {file.name: file.stat().st_size for file in sorted(PAGE.iterdir()) if file.is_file()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--exact-only", action="store_true", help="leave the inverted-file index out")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    weight = page_weight()
    results: dict[str, Any] = {"width": WIDTH, "k": K, "page_bytes": {**weight, "all": sum(weight.values())}}
    for rows in options.rows:
        x = vectors(rows)
        queries = Queries.drawn(x, options.repeats)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            library = build(folder, x)
            for indexed in (False,) if options.exact_only else (False, True):
                found = index(library, folder, indexed=indexed)
                server = Server(library.uri, folder)
                try:
                    found |= measure(server, x, queries) | server.start
                finally:
                    server.close()
                results[f"{rows} rows, {'indexed' if indexed else 'exact'}"] = found
                print(rows, "indexed" if indexed else "exact", found, flush=True)
        common.write("serve", results, options.out)


if __name__ == "__main__":
    main()
