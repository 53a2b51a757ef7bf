"""Whether the loader keeps `seehear train LIB vatt.tiny` busy: clips a second of the recipe's loader with 1 and 2
workers, with and without the cache, beside bare decoding of the same files (libav, front to back, nothing done with
it), beside the clips that training steps use up, and the share of the clock a training fed by it waits for clips
(target, with the cache and one worker: at least 1.2 times what the steps use up).

    OMP_NUM_THREADS=1 python benchmarks/vatt_loader.py FOLDER [--clips N] [--rounds N] [--out FILE]

Ratios are of clips a processor second, which another load hardly moves; the clock moves with it. As in
`raw_loader.py`, batches that were ready beforehand are not counted, nor the start of processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from common import DEVICE, write
from raw_loader import Rate, decoding, library_of, processor_seconds, timed
from vatt_setting import CONFIGS, batch_of, model_of, stepper

from seehear.inputs.loader import AHEAD, Loader, Sampling
from seehear.inputs.raw import RawMedia, load_raw
from seehear.inputs.raw.text import library_vocabulary
from seehear.library.tables import Text
from seehear.recipes import vatt
from seehear.types import Batch

RUN = vatt.tiny()
ROWS = RUN.train.batch_size
TARGET = 1.2


def prepared(paths: list[Path], folder: Path) -> Callable[..., RawMedia]:
    """Clips of whole files, their names said in them."""
    library = library_of(paths, folder)
    library.put_clips([replace(clip, texts=(Text(Path(clip.id).stem),)) for clip in library.clips()])
    words = library_vocabulary(library)
    return lambda **where: load_raw(library, RUN.data.raw, vocabulary=words, **where)


def fed(loader: Iterator[Batch], steps: int) -> Callable[[], Rate]:
    """The loader alone, once the batches prepared while others were measured are gone."""

    def work() -> Rate:
        for _ in islice(loader, AHEAD + 1):
            pass
        return timed(lambda: sum(len(batch["group"]) for batch in islice(loader, steps)))

    return work


def settle() -> None:
    """Until no worker is busy with batches that nobody waits for."""
    before = -1.0
    while (now := processor_seconds()) > before:
        before = now
        time.sleep(1.0)


class Training:
    """Steps on ready batches, or on those of a loader."""

    def __init__(self) -> None:
        config = CONFIGS["recipe"]
        self.model, self.batch = model_of(config), batch_of(config, ROWS, RUN.data.raw.contexts)
        self.step = stepper(self.model, self.batch)

    def ready(self, steps: int) -> Rate:
        """Of this process alone."""
        clock, processor = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.step()
        return ROWS * steps / (time.perf_counter() - clock), ROWS * steps / (time.process_time() - processor)

    def waiting(self, loader: Iterator[Batch], steps: int) -> float:
        """The share of the clock for which there is no batch."""
        for _ in islice(loader, AHEAD + 1):
            pass
        start, waited = time.perf_counter(), 0.0
        for _ in range(steps):
            asked = time.perf_counter()
            self.batch.update({k: v.to(DEVICE) for k, v in next(loader).items()})
            waited += time.perf_counter() - asked
            self.step()
        return waited / (time.perf_counter() - start)


def measure(paths: list[Path], folder: Path, *, steps: int, rounds: int) -> dict[str, Any]:
    load = prepared(paths, folder)
    pools = {n: multiprocessing.get_context("spawn").Pool(n) for n in (1, 2)}
    files = [str(path) for path in paths][: steps * ROWS]
    cached = load(cache=folder / "cache")
    filling = timed(lambda: sum(len(cached.batch(part)["group"]) for part in torch.arange(len(cached)).split(ROWS)))[1]
    loaders = {
        f"{name}, {n}": Loader(data, Sampling(batch_size=ROWS, seed=0, epochs=10_000), workers=n).batches()
        for name, data in (("decoded", load()), ("cached", cached))
        for n in (1, 2)
    }
    training = Training()
    training.ready(1)
    cases = {f"bare decoding, {n}": decoding(pool, files) for n, pool in pools.items()}
    cases |= {name: fed(loader, steps) for name, loader in loaders.items()}
    cases["training steps"] = lambda: training.ready(steps)
    rates: dict[str, list[Rate]] = {case: [] for case in cases}
    waits: dict[str, list[float]] = {name: [] for name in loaders}
    for turn in range(rounds):
        for case, work in cases.items():
            settle()
            rates[case].append(work())
            print(f"{turn} {case}: {rates[case][-1][0]:.1f} clips a second, {rates[case][-1][1]:.1f} of the processor")
        for name, loader in loaders.items():
            waits[name].append(training.waiting(loader, 2 * steps))
            print(f"{turn} fed by {name}: waits {waits[name][-1]:.1%}", flush=True)
    for pool in pools.values():
        pool.terminate()
    return summary(rates, waits) | {"cache_filling_clips_per_processor_second": round(filling, 1)}


def summary(rates: dict[str, list[Rate]], waits: dict[str, list[float]]) -> dict[str, Any]:
    clock, processor = ({c: statistics.median(r[i] for r in found) for c, found in rates.items()} for i in (0, 1))
    used_up = processor["training steps"]
    return {
        "clips_per_second": {c: round(rate, 1) for c, rate in clock.items()},
        "clips_per_processor_second": {c: round(rate, 1) for c, rate in processor.items()},
        "over_bare_decoding": {c: round(processor[c] / processor[f"bare decoding, {c[-1]}"], 3) for c in waits},
        "a_worker_over_training_steps": {c: round(processor[c] / used_up, 2) for c in waits},
        "share_of_the_clock_without_a_batch": {c: round(statistics.median(found), 3) for c, found in waits.items()},
        f"target: cached, 1: {TARGET} x of training steps": processor["cached, 1"] >= TARGET * used_up,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path, help="a folder of .mp4 files of 2.4 s or more, with sound")
    parser.add_argument("--clips", type=int, default=192)
    parser.add_argument("--steps", type=int, default=2, help="batches of one measurement")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    paths = sorted(given.media.glob("*.mp4"))[: given.clips]
    with tempfile.TemporaryDirectory() as folder:
        found = measure(paths, Path(folder), steps=given.steps, rounds=given.rounds)
    write("vatt_loader", {"recipe": RUN.recipe, "clips": len(paths), "rows_of_a_batch": ROWS, **found}, given.out)


if __name__ == "__main__":
    main()
