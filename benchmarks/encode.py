"""The encode pipeline against decoding alone plus the model alone, on the same clips in the same run.

    OMP_NUM_THREADS=1 python benchmarks/encode.py [--encoders NAME ...] [--clips N] [--repeats N] [--workers N]
        [--device D] [--out FILE]

`work_ratio`: CPU seconds of decoding and of the model, each alone, over those of the pipeline with all its processes:
what starting workers, moving frames between processes and writing the library add, and what two processes on one
physical core cost each other.
`speed_ratio`: wall seconds of decoding and then the model, in one process, over those of the pipeline: above 1 by as
much as the two overlap. While other programs run it moves by a third either way.
`model_busy`: the share of the pipeline's wall seconds in which the model worked; near 1 where the model is the longer
part, it never waits for decoding or for the database.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import write
from decode import make_film

from seehear.encoders import Encoder, Sample, load_encoder
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from seehear.progress import set_quiet

ENCODERS = ("efficientnet-lite0", "aisfx", "logmel")
TARGET = 0.9
BATCH = 16


def cpu_seconds() -> float:
    """Of this process and of the children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return cpu_seconds() - cpu, time.perf_counter() - wall


def alone(encoder: Encoder, samples: list[Sample]) -> dict[str, float]:
    """Decoding in one process, then the model over what was decoded, in parts that fit in memory."""
    seconds = {"decode_cpu": 0.0, "decode_wall": 0.0, "model_cpu": 0.0, "model_wall": 0.0}
    for at in range(0, len(samples), BATCH):
        prepared: list[object] = []
        part = samples[at : at + BATCH]
        cpu, wall = timed(lambda part=part, prepared=prepared: prepared.extend(map(encoder.prepare, part)))  # type: ignore[misc]
        seconds["decode_cpu"] += cpu
        seconds["decode_wall"] += wall
        cpu, wall = timed(lambda prepared=prepared: encoder.encode(prepared))  # type: ignore[misc]
        seconds["model_cpu"] += cpu
        seconds["model_wall"] += wall
    return seconds


class Spied(Encoder):
    """An encoder that notes how long its model works."""

    def __init__(self, encoder: Encoder):
        self.encoder, self.seconds = encoder, 0.0
        self.name, self.modality = encoder.name, encoder.modality
        self.width, self.fingerprint = encoder.width, encoder.fingerprint

    def preparation(self) -> Callable[[Sample], Any]:
        return self.encoder.preparation()

    def prepare(self, sample: Sample) -> Any:
        return self.encoder.prepare(sample)

    def encode(self, prepared: Sequence[Any]) -> np.ndarray:
        start = time.perf_counter()
        vectors = self.encoder.encode(prepared)
        self.seconds += time.perf_counter() - start
        return vectors


def make_library(folder: Path, clips: int) -> None:
    """Films of a minute in clips of 4 s, as `folder`/lib."""
    (folder / "media").mkdir()
    film = make_film(folder / "film.mp4", gop=25)
    for n in range(-(-clips // 15)):
        shutil.copy(film, folder / "media" / f"{n}.mp4")
    prepare(folder / "media", folder / "lib", PrepareOptions(clips="fixed", seconds=4.0))


def measure(encoder: Encoder, folder: Path, *, workers: int, repeats: int) -> dict[str, float]:
    library = LibraryTables.open(folder / "lib")
    roots = library.roots()
    samples = [Sample(str(library.path_of(c.source, roots)), c.start, c.end) for c in library.clips()]
    encoder.encode([encoder.prepare(samples[0])])  # weights are read here
    rounds = []
    for turn in range(repeats):
        copy = folder / f"copy{turn}"
        shutil.copytree(folder / "lib", copy)
        seconds = alone(encoder, samples)
        spied, work = Spied(encoder), LibraryTables.open(copy)
        cpu, wall = timed(lambda work=work, spied=spied: encode_library(work, [spied], EngineOptions(workers=workers)))  # type: ignore[misc]
        rounds.append(seconds | {"pipeline_cpu": cpu, "pipeline_wall": wall, "model_busy": spied.seconds / wall})
        shutil.rmtree(copy)
    result = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
    result["clips_per_second"] = len(samples) / result["pipeline_wall"]
    for ratio, kind in (("work_ratio", "cpu"), ("speed_ratio", "wall")):
        each = [(r[f"decode_{kind}"] + r[f"model_{kind}"]) / r[f"pipeline_{kind}"] for r in rounds]
        result[ratio] = statistics.median(each)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", default=ENCODERS)
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    set_quiet(True)
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_library(folder, given.clips)
        for encoder_name in given.encoders:
            encoder = load_encoder(encoder_name, device=given.device)
            results[encoder_name] = measure(encoder, folder, workers=given.workers, repeats=given.repeats)
            found = results[encoder_name]
            print(
                f"{encoder_name}: {found['clips_per_second']:.1f} clips/s, work ratio {found['work_ratio']:.2f}, "
                f"speed ratio {found['speed_ratio']:.2f} (target {TARGET}), model busy {found['model_busy']:.2f}"
            )
    setting = {"clips": given.clips, "workers": given.workers, "repeats": given.repeats, "target": TARGET}
    write("encode", {"setting": setting, "results": results}, given.out)


if __name__ == "__main__":
    main()
