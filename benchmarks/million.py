"""A library of a million clips through prepare, encode, train, index and search: time and memory of each step.

    OMP_NUM_THREADS=1 python benchmarks/million.py [--clips N] [--work FOLDER] [--steps N] [--out FILE]
    OMP_NUM_THREADS=1 python benchmarks/million.py --drawn --clips 10000000 [--work FOLDER] [--out FILE]

With `--drawn` the vectors of the index are drawn, not made by a model, and the tables are written in large batches:
what is measured is search at a size that the steps before it would take hours to reach.

The clips are windows of a second, a tenth of a second apart, of sound files of a thousand windows each; a Parquet
manifest names them, with a sentence, a label and a split. `prepare` reads every file and every row. Decoding and the
models are left out (`encode.py` measures them): the latents come from two encoders that draw a clip's vectors from its
number. All else is what any library goes through. Each step runs in a process of its own; one that is done is not done
again, and one that was cut short goes on: the same command resumes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import common
import numpy as np

from seehear.encoders import Encoder, Sample
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables, Vectors
from seehear.progress import set_quiet

PER_FILE, HOP, RATE = 1000, 0.1, 1000
HIDDEN, WIDTHS, DIM = 32, {"audio": 256, "text": 384}, 256
QUERIES = 15


@dataclass(frozen=True)
class Setting:
    clips: int
    work: Path
    steps: int

    @property
    def library(self) -> Path:
        return self.work / "library"

    @property
    def run(self) -> Path:
        return self.work / "run"


class Drawn(Encoder):
    """A clip's two views of one hidden vector, drawn from the clip's number."""

    def __init__(self, modality: str):
        self.name, self.modality, self.width = f"drawn-{modality}", modality, WIDTHS[modality]
        self.fingerprint = f"{len(modality):016x}"
        self.map = np.random.default_rng(len(modality)).standard_normal((HIDDEN, self.width)).astype(np.float32)

    def preparation(self) -> Callable[[Sample], int]:
        return number

    def prepare(self, sample: Sample) -> int:
        return number(sample)

    def encode(self, prepared: Sequence[int]) -> np.ndarray:
        hidden = np.stack([np.random.default_rng(n).standard_normal(HIDDEN, np.float32) for n in prepared])
        noise = [np.random.default_rng((n, self.width)).standard_normal(self.width, np.float32) for n in prepared]
        return hidden @ self.map + 12 * np.stack(noise)


def number(sample: Sample) -> int:
    if sample.text:
        file, place = map(int, re.findall(r"\d+", sample.text))
    else:
        file, place = int(Path(sample.path).stem), round(sample.start / HOP)
    return file * PER_FILE + place


# -- steps -------------------------------------------------------------------------------------------------------------


def make(setting: Setting) -> dict[str, Any]:
    """The sounds and the manifest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    media = setting.work / "media"
    media.mkdir(parents=True, exist_ok=True)
    files = -(-setting.clips // PER_FILE)
    rng = np.random.default_rng(0)
    for n in range(files):
        with wave.open(str(media / f"{n:06d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(1)
            file.setframerate(RATE)
            file.writeframes(rng.integers(0, 256, int(RATE * (PER_FILE * HOP + 1)), dtype=np.uint8).tobytes())
    at = np.arange(setting.clips)
    owner, place = at // PER_FILE, at % PER_FILE
    splits = np.where(owner % 20 == 0, "val", np.where(owner % 20 == 1, "test", "train"))
    columns = {
        "file": [f"{n:06d}.wav" for n in owner],
        "start": place * HOP,
        "end": place * HOP + 1.0,
        "text": [f"recording {n}, moment {p}" for n, p in zip(owner, place, strict=True)],
        "label": [f"kind{n}" for n in at % 100],
        "split": splits.tolist(),
    }
    pq.write_table(pa.table(columns), media / "clips.parquet")
    return {"files": files}


def prepared(setting: Setting) -> dict[str, Any]:
    report = prepare(setting.work / "media" / "clips.parquet", setting.library, PrepareOptions(workers=1))
    assert report.clips == setting.clips, report
    return {"clips": report.clips}


def prepared_again(setting: Setting) -> dict[str, Any]:
    """Nothing has changed."""
    return prepared(setting)


def encoded(setting: Setting) -> dict[str, Any]:
    report = encode_library(
        LibraryTables.open(setting.library), [Drawn("audio"), Drawn("text")], EngineOptions(workers=0)
    )
    return {"seconds_of": {e.name: round(e.seconds, 1) for e in report.encoders}}


def encoded_again(setting: Setting) -> dict[str, Any]:
    report = encode_library(
        LibraryTables.open(setting.library), [Drawn("audio"), Drawn("text")], EngineOptions(workers=0)
    )
    assert all(e.made == 0 and e.kept == setting.clips for e in report.encoders)
    return {}


def trained(setting: Setting) -> dict[str, Any]:
    from seehear.runs.config import recipe
    from seehear.runs.run import train_run

    run = recipe("fusemix")
    train = replace(run.train, steps=setting.steps, evaluations=2, patience=None, device="cpu")
    run = replace(run, train=train, method=replace(run.method, dim=DIM))
    began = time.perf_counter()
    resume = (setting.run / "config.json").exists()
    result = train_run(LibraryTables.open(setting.library), run, setting.run, resume=resume)
    wall = time.perf_counter() - began
    return {
        "steps": result.steps,
        "milliseconds_per_step": round(1e3 * result.seconds / result.steps, 1),
        "seconds_before_and_after_the_steps": round(wall - result.seconds, 1),
        "validation_score": result.score,
    }


def _index(setting: Setting, approximate_from: int) -> dict[str, Any]:
    from seehear.search import index
    from seehear.space import SharedSpace

    index.APPROXIMATE_FROM = approximate_from
    space = SharedSpace.from_pretrained(setting.run, device="cpu")
    report = index.build_index(LibraryTables.open(setting.library), space, name="run", model=str(setting.run))
    return {"rows": report.rows, "recall_at_10": report.recall}


def indexed(setting: Setting) -> dict[str, Any]:
    return _index(setting, 10**12)


def _search(setting: Setting) -> dict[str, Any]:
    from seehear.space import SharedSpace

    return _times(setting, lambda: SharedSpace.from_pretrained(setting.run, device="cpu"))


def _times(setting: Setting, space: Callable[[], Any]) -> dict[str, Any]:
    """By clips of the library: the same path as any query, but for the encoder."""
    from seehear.search.filters import Filters
    from seehear.search.query import Searcher

    began = time.perf_counter()
    searcher = Searcher(LibraryTables.open(setting.library), space(), "run")
    opened = time.perf_counter() - began
    ids = LibraryTables.open(setting.library).clip_ids(["000000.wav"])
    asked = [{"clip": clip} for clip in np.random.default_rng(1).choice(ids, QUERIES + 1, replace=False)]
    filters = {
        "no filter": None,
        "a label (1 %)": Filters(labels=("kind7",)),
        "a split (5 %)": Filters(splits=("test",)),
        "a split (90 %)": Filters(splits=("train",)),
        "one file": Filters(source="000000.wav"),
    }
    times: dict[str, list[float]] = {name: [] for name in filters}
    for query in asked:
        for name, chosen in filters.items():
            began = time.perf_counter()
            hits = searcher.search([query], k=10, filters=chosen)
            times[name].append(time.perf_counter() - began)
            assert len(hits) == 10, (name, len(hits))
    return {
        "seconds_to_open": round(opened, 2),
        "milliseconds": {name: round(1e3 * median(taken[1:]), 1) for name, taken in times.items()},
    }


def searched(setting: Setting) -> dict[str, Any]:
    return _search(setting)


def approximate(setting: Setting) -> dict[str, Any]:
    """Lance's inverted-file index over the same vectors, and its recall."""
    return _index(setting, 2)


def searched_approximate(setting: Setting) -> dict[str, Any]:
    return _search(setting)


DRAWN_BATCH = 100_000


def drawn(setting: Setting) -> dict[str, Any]:
    """The tables `clips` and `vectors_run` of drawn clips: unit vectors near a plane of 32 dimensions, in float16."""
    import pyarrow as pa

    library = LibraryTables.create(setting.library)
    library.add_root(setting.work)
    vectors = library.vectors("vectors", "run", DIM)
    plane = np.random.default_rng(0).standard_normal((HIDDEN, DIM)).astype(np.float32) / HIDDEN**0.5
    for first in range(library.count_clips(), setting.clips, DRAWN_BATCH):
        at = np.arange(first, min(first + DRAWN_BATCH, setting.clips))
        rng = np.random.default_rng((1, first))
        rows = rng.standard_normal((len(at), HIDDEN), np.float32) @ plane
        rows += 0.5 * rng.standard_normal((len(at), DIM), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        ids = [f"{n:016x}" for n in at]
        table = library.table("clips")
        columns = {
            "id": ids,
            "source": [f"{n // PER_FILE:06d}.wav" for n in at],
            "audio_source": [""] * len(at),
            "start": at % PER_FILE * HOP,
            "end": at % PER_FILE * HOP + 1.0,
            "has_video": [False] * len(at),
            "has_audio": [True] * len(at),
            "texts": [[]] * len(at),
            "labels": [[f"kind{n % 100}"] for n in at],
            "group": [f"{n // PER_FILE:06d}" for n in at],
            "split": ["val" if n % 20 == 0 else "test" if n % 20 == 1 else "train" for n in at // PER_FILE],
            "meta": ["{}"] * len(at),
        }
        vectors.append(Vectors(ids, np.zeros(len(at), np.int32), ["audio"] * len(at), rows, ["drawn"] * len(at), ids))
        table.add(pa.table(columns, schema=table.schema))  # last: it says where to go on
    return {"rows": len(vectors), "bytes_per_vector": 2 * DIM}


def drawn_indexed(setting: Setting) -> dict[str, Any]:
    """Inverted lists over the drawn vectors, with their recall against exact search."""
    from seehear.search.index import build_approximate, index_clips, set_index

    library = LibraryTables.open(setting.library)
    index_clips(library)
    recall, probes = build_approximate(library, "run")
    about = {"made": "", "maker": "drawn", "modalities": ["audio"], "dim": DIM, "recall": recall, "probes": probes}
    set_index(library, "run", about)
    return {"recall_at_10": recall, "lists_read": probes}


class DrawnSpace:
    """A stand-in for the model: queries are clips of the library."""

    fingerprint, dim, modalities, locked = "drawn", DIM, ("audio",), ()


def drawn_searched(setting: Setting) -> dict[str, Any]:
    return _times(setting, DrawnSpace)


STEPS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    step.__name__: step
    for step in (make, prepared, encoded, trained, indexed, searched, approximate, searched_approximate)
    + (prepared_again, encoded_again)
}
DRAWN: dict[str, Callable[[Setting], dict[str, Any]]] = {
    step.__name__: step for step in (drawn, drawn_indexed, drawn_searched)
}


# -- running them ------------------------------------------------------------------------------------------------------


def one(name: str, setting: Setting) -> None:
    """In a process of its own: its peak of memory is the step's."""
    found: dict[str, Any] = {}
    began, cpu = time.perf_counter(), time.process_time()
    rise = common.peak_bytes(lambda: found.update((STEPS | DRAWN)[name](setting)))
    found |= {"seconds": round(time.perf_counter() - began, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}
    found["peak_memory_gb"] = round(rise / 1e9, 2)
    (setting.work / f"{name}.json").write_text(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, default=Path("million"))
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--drawn", action="store_true", help="only search, over drawn vectors")
    parser.add_argument("--until", choices=STEPS, default=list(STEPS)[-1], help="the last step to do")
    parser.add_argument("--one", choices=STEPS | DRAWN, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    setting = Setting(given.clips, given.work.resolve(), given.steps)
    if given.one:
        set_quiet(True)
        return one(given.one, setting)
    results: dict[str, Any] = {}
    for name in list(DRAWN) if given.drawn else list(STEPS)[: list(STEPS).index(given.until) + 1]:
        done = setting.work / f"{name}.json"
        if not done.exists():
            options = ["--clips", str(given.clips), "--work", str(setting.work), "--steps", str(given.steps)]
            subprocess.run([sys.executable, __file__, "--one", name, *options], check=True)
        results[name] = json.loads(done.read_text())
        print(f"{name}: {results[name]}", flush=True)
    size = {p.name: sum(f.stat().st_size for f in p.rglob("*") if f.is_file()) for p in setting.library.iterdir()}
    bytes_per_clip = {name: round(total / given.clips, 1) for name, total in sorted(size.items())}
    widths = {"widths": WIDTHS, "dim": DIM}
    name = "million_drawn" if given.drawn else "million"
    found = {"clips": given.clips, **widths, "steps": results, "bytes_per_clip": bytes_per_clip}
    common.write(name, found, given.out)


if __name__ == "__main__":
    main()
