"""Encode throughput with one and two decoding processes on this machine, and through Ray with as many workers.

    OMP_NUM_THREADS=1 python benchmarks/encode_engines.py [--encoders NAME ...] [--clips N] [--repeats N] [--out FILE]

What is timed is what an engine does, from the jobs to the vectors; committing them is the same for all. `start`: the
seconds that a single batch takes, most of them until processes, models and Ray's actors have started.
`clips_per_second`: the rate of the rest, from the time that all clips take beyond it. Engines take turns in one run;
Ray is started before the clock. All in wall time: on a machine with other work, only the ratios say something.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from common import write
from decode import make_film

from seehear.encoders import Encoder, load_encoder
from seehear.library.encode import BATCH, Backlog
from seehear.library.engines import Engine, Job, Local, OnRay, on_ray
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from seehear.progress import set_quiet

WORKERS = (1, 2)


def timed(engine: Engine, encoder: Encoder, jobs: Sequence[Job]) -> float:
    """Seconds until all are done."""
    began = time.perf_counter()
    with engine.vectors(encoder, jobs, BATCH[encoder.modality]) as batches:
        done = sum(len(batch) for batch in batches)
    assert done == len(jobs)
    return time.perf_counter() - began


def rated(engine: Engine, encoder: Encoder, jobs: Sequence[Job]) -> tuple[float, float]:
    """(seconds for a first batch, clips a second beyond it)."""
    few = jobs[: BATCH[encoder.modality]]
    start, whole = timed(engine, encoder, few), timed(engine, encoder, jobs)
    return start, (len(jobs) - len(few)) / (whole - start)


def measure(engines: dict[str, Engine], encoder: Encoder, jobs: Sequence[Job], repeats: int) -> dict[str, Any]:
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for _ in range(repeats):
        for name, engine in engines.items():
            taken[name].append(rated(engine, encoder, jobs))
    found = {
        name: {
            "start": round(median(s for s, _ in rounds), 2),
            "clips_per_second": round(median(r for _, r in rounds), 1),
        }
        for name, rounds in taken.items()
    }
    rates = {name: [rate for _, rate in rounds] for name, rounds in taken.items()}
    pairs = {
        "two processes over one": ("here, 2", "here, 1"),
        "Ray over here, 1": ("Ray, 1", "here, 1"),
        "Ray over here, 2": ("Ray, 2", "here, 2"),
    }
    ratios = {
        name: round(median(x / y for x, y in zip(rates[a], rates[b], strict=True)), 2) for name, (a, b) in pairs.items()
    }
    return {"engines": found, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", default=("efficientnet-lite0", "logmel"))
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    set_quiet(True)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "media").mkdir()
        film = make_film(folder / "film.mp4", gop=25)
        for n in range(-(-given.clips // 15)):  # each film is a minute, in clips of 4 s
            shutil.copy(film, folder / "media" / f"{n}.mp4")
        prepare(folder / "media", folder / "lib", PrepareOptions(clips="fixed", seconds=4.0))
        library = LibraryTables.open(folder / "lib")
        cluster = stack.enter_context(on_ray(workers=max(WORKERS), models=1))
        engines: dict[str, Engine] = {f"here, {n}": Local(n) for n in WORKERS}
        engines |= {f"Ray, {n}": OnRay(cluster.ray, workers=n, models=1) for n in WORKERS}
        for encoder_name in given.encoders:
            encoder = load_encoder(encoder_name, device="cpu")
            jobs = Backlog(library, encoder, library.clips(), None).jobs[: given.clips]
            results[encoder_name] = measure(engines, encoder, jobs, given.repeats)
            print(encoder_name, results[encoder_name])
    setting = {"clips": given.clips, "seconds_per_clip": 4.0, "repeats": given.repeats}
    write("encode_engines", {"setting": setting, "results": results}, given.out)


if __name__ == "__main__":
    main()
