"""Clips a second of the raw loader against bare decoding of the same files: libav reads every frame and every sample of
a file from front to back, and nothing is done with them. Both in as many processes, in turn in one run: by the clock,
and by the processor time of all processes together, which another load hardly moves and ratios are taken of. Starting
processes is not counted, and a loader's batches that were ready beforehand are not either.

    OMP_NUM_THREADS=1 python benchmarks/raw_loader.py FOLDER [--clips N] [--rounds N] [--out FILE]

'paper' is 25 frames of 224 pixels and 2.5 s of sound at 48 kHz with all that chance does to them; 'tiny' what a CPU
can train on. With a cache a clip is decoded once, before the measurement (`cache_filling`), and then copied.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import av
import torch
from common import write

from seehear.inputs.loader import AHEAD, Loader, Sampling
from seehear.inputs.raw import RawConfig, RawMedia, load_raw
from seehear.library.tables import Clip, LibraryTables, Source
from seehear.media.files import probe
from seehear.types import Batch

Rate = tuple[float, float]
"""Clips a second by the clock, and a second of processor time."""
ROWS = 8
READ = ("video", "audio")
CONFIGS = {
    "paper": RawConfig(frames=25, modalities=READ),
    "tiny": RawConfig(
        frames=16, fps=8, size=48, rate=16_000, crop=(0.7, 1.0), aspect=(0.8, 1.25), jitter=0.0, modalities=READ
    ),
}


def bare(path: str) -> None:
    for kind in ("video", "audio"):
        with av.open(path) as container:
            stream = next(s for s in container.streams if s.type == kind)
            stream.thread_type = "NONE"
            for _ in container.decode(stream):
                pass


def library_of(paths: list[Path], folder: Path) -> LibraryTables:
    library = LibraryTables.create(folder / "library")
    library.add_root(paths[0].parent)
    ends = {path.name: probe(path).duration for path in paths}
    library.put_clips(
        [Clip(id=name, source=name, end=end, has_video=True, has_audio=True) for name, end in ends.items()]
    )
    library.put_sources([Source(source=n, size=1, mtime_ns=1, fingerprint="", duration=end) for n, end in ends.items()])
    return library


def processor_seconds() -> float:
    """Of this process and its workers."""
    stats = [Path(f"/proc/{pid}/stat").read_text() for pid in [os.getpid(), *(c.pid for c in active_children())]]
    fields = [stat.rpartition(")")[2].split() for stat in stats]
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")


def timed(work: Callable[[], int]) -> Rate:
    clock, processor = time.perf_counter(), processor_seconds()
    clips = work()
    return clips / (time.perf_counter() - clock), clips / (processor_seconds() - processor)


def taking(loader: Iterator[Batch], rows: int) -> Callable[[], Rate]:
    """Of some batches, once those prepared while others were measured are gone."""

    def work() -> Rate:
        for _ in islice(loader, AHEAD + 1):
            pass
        return timed(lambda: sum(len(batch["group"]) for batch in islice(loader, rows // ROWS)))

    return work


def decoding(pool: Any, paths: list[str]) -> Callable[[], Rate]:
    return lambda: timed(lambda: len(pool.map(bare, paths, chunksize=4)))


def fill(data: RawMedia) -> float:
    """Clips a processor second, in one process, while the cache is filled."""
    return timed(lambda: sum(len(data.batch(part)["group"]) for part in torch.arange(len(data)).split(ROWS)))[1]


def batches(data: RawMedia, workers: int) -> Iterator[Batch]:
    return Loader(data, Sampling(batch_size=ROWS, seed=0, epochs=10_000), workers=workers).batches()


def measure(library: LibraryTables, paths: list[Path], cache: Path, *, rows: int, rounds: int) -> dict[str, Any]:
    files = [str(path) for path in paths][:rows]
    context = multiprocessing.get_context("spawn")
    pools = {n: context.Pool(n) for n in (1, 2)}
    cases = {f"bare decoding, {n}": decoding(pool, files) for n, pool in pools.items()}
    filling = {}
    for name, config in CONFIGS.items():
        cached = load_raw(library, config, cache=cache)
        filling[name] = round(fill(cached), 1)
        for n in (1, 2):
            cases[f"{name}, {n}"] = taking(batches(load_raw(library, config), n), rows)
            cases[f"{name}, cached, {n}"] = taking(batches(cached, n), rows)
    rates: dict[str, list[Rate]] = {case: [] for case in cases}
    for turn in range(rounds + 1):
        for case, work in cases.items():
            found = work()
            if turn:
                rates[case].append(found)
                print(f"{case}: {found[0]:.1f} clips a second, {found[1]:.1f} a processor second", flush=True)
    for pool in pools.values():
        pool.terminate()
    clock, processor = ({c: statistics.median(r[i] for r in found) for c, found in rates.items()} for i in (0, 1))
    over = {c: rate / processor[f"bare decoding, {c[-1]}"] for c, rate in processor.items() if not c.startswith("bare")}
    return {
        "clips_per_second": {case: round(rate, 1) for case, rate in clock.items()},
        "clips_per_processor_second": {case: round(rate, 1) for case, rate in processor.items()},
        "over_bare_decoding": {case: round(ratio, 3) for case, ratio in over.items()},
        "cache_filling_clips_per_processor_second": filling,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path, help="a folder of .mp4 files of 2.5 s or more, with sound")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rows", type=int, default=96, help="clips of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    paths = sorted(given.media.glob("*.mp4"))[: given.clips]
    with tempfile.TemporaryDirectory() as folder:
        library = library_of(paths, Path(folder))
        found = measure(library, paths, Path(folder) / "cache", rows=given.rows, rounds=given.rounds)
    with av.open(str(paths[0])) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        form = f"{video.codec_context.name} {video.width}x{video.height}, {video.frames} frames, {audio.rate} Hz"
    write("raw_loader", {"clips": len(paths), "first_file": form, "rows_of_a_batch": ROWS, **found}, given.out)


if __name__ == "__main__":
    main()
