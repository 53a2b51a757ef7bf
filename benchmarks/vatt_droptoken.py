"""Quality of VATT by keep rate of DropToken, and of the shared encoder: `python benchmarks/vatt_droptoken.py --work W`.

    steps     every keep rate trains for the same number of steps
    time      every keep rate trains for the processor time that the steps of keep 1 take (`pace`: interleaved medians
              of a training step without its loader, measured once and kept in the work folder)
    shared    one encoder for all modalities in place of three, at keep 0.5 and the same number of steps
    shared-8  the same with 8 blocks: as many blocks, and so parameters, as the three encoders have together

The rate is that of video and of audio; text is never dropped, and evaluation drops nothing. Sets, splits, weights
chosen on validation clips, retrieval and probes: `vatt_real.py`. Cells stay in the work folder: a second call
continues, within a cell too, and the JSON is written after every cell.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import interleaved, write
from vatt_real import case, compare_networks, run_of
from vatt_setting import KEEP, batch_of, kept, model_of, stepper

from seehear.nn.flops import count_flops
from seehear.runs.run import train_run
from seehear.studies.grid import Cell, Result, cell_key, run_grid
from seehear.train.files import write_text

STEPS = {"grid-s1": 200, "digits": 222}
BATCH, EVALUATIONS, BLOCKS = 64, 3, 8
SHARED = {"shared": 3, "shared-8": BLOCKS}
"""Blocks of the one encoder."""
COLUMNS = {
    "audio, video": ("audio->video", "video->audio"),
    "audio, text": ("audio->text", "text->audio"),
    "video, text": ("video->text", "text->video"),
    "audio probes": ("audio command", "audio color", "audio digit"),
    "video probes": ("video command", "video color", "video digit"),
}
"""Columns of the table: means of those of these measures that a set has."""
RECALL = {"grid-s1": "R@10", "digits": "R@1"}
"""Of retrieval: at 1 where any clip of the right kind counts."""


def settings(cell: Cell, pace: Mapping[str, float], work: Path) -> tuple[Any, int]:
    """(run, steps)"""
    name, protocol, keep = str(cell["set"]), str(cell["protocol"]), float(cell["keep"] or 0)
    model = "waveform" if name == "digits" else "short"
    run = run_of(name, model, int(cell["seed"] or 0), work)
    method = replace(run.method, keep={"video": keep, "audio": keep})
    if protocol in SHARED:
        method = replace(method, variant="agnostic", shared=replace(method.video, layers=SHARED[protocol]))
    steps = STEPS[name]
    if protocol == "time":
        steps = round(steps * pace["1.0"] / pace[str(keep)])
    train = replace(run.train, steps=steps, evaluations=EVALUATIONS, batch_size=BATCH)
    return replace(run, method=method, train=train), steps


def measure(cell: Cell, pace: Mapping[str, float], data: Path, work: Path) -> dict[str, float]:
    """In percent, on test clips; operations a clip and training step in 10^9."""
    run, steps = settings(cell, pace, work)
    model = "waveform" if cell["set"] == "digits" else "short"
    here = replace(case({**cell, "model": model}, data, work), run=run)
    folder = work / "runs" / cell_key(cell)
    train_run(here.library, here.run, folder, resume=(folder / "config.json").exists())
    config = run.method.reading(run.data.raw, vocabulary=len(here.inputs.spec.vocabulary or ()))
    flops = count_flops(stepper(model_of(config), batch_of(config, BATCH, 1)))
    found = {"steps": float(steps), "gflops": flops / BATCH / 1e9} | compare_networks(here, folder)
    shutil.rmtree(folder)
    return found


def paced(name: str, work: Path) -> dict[str, float]:
    """Processor seconds of a training step at each keep rate, measured at the first call."""
    path = work / f"pace-{name}.json"
    if not path.exists():
        run = run_of(name, "waveform" if name == "digits" else "short", 0, work)
        config = run.method.reading(run.data.raw, vocabulary=100)
        batch = batch_of(config, BATCH, 1)
        steps = {str(k): stepper(model_of(kept(config, k)), batch) for k in KEEP}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(interleaved(steps, repeats=9)))
    seconds: dict[str, float] = json.loads(path.read_text())
    return seconds


def cells_of(name: str, seeds: Sequence[int], protocols: Sequence[str]) -> list[Cell]:
    """The cells of a set, seed by seed. At keep 1 equal time is equal steps."""
    pairs = [("steps", k) for k in KEEP] + [(protocol, 0.5) for protocol in SHARED] + [("time", k) for k in KEEP[1:]]
    return [
        {"set": name, "protocol": protocol, "keep": keep, "seed": seed}
        for seed in seeds
        for protocol, keep in pairs
        if protocol in protocols
    ]


def table(results: Sequence[Result]) -> Iterator[str]:
    """Markdown: mean over seeds, and the lowest and highest seed."""
    rows = dict.fromkeys((r.cell["set"], r.cell["protocol"], r.cell["keep"]) for r in results if r.values)
    yield f"| set, protocol, keep | seeds | steps | GFLOPs a step and clip | {' | '.join(COLUMNS)} |"
    yield "|---|" + "---:|" * (3 + len(COLUMNS))
    for row in rows:
        of = [r.values for r in results if r.values and tuple(r.cell[k] for k in ("set", "protocol", "keep")) == row]
        texts = []
        for names in COLUMNS.values():
            keys = [f"{n} {RECALL[str(row[0])]}" if "->" in n else n for n in names]
            here = [statistics.mean(v[k] for k in keys if k in v) for v in of]
            texts.append(f"{statistics.mean(here):.1f} [{min(here):.1f}, {max(here):.1f}]" if here else "")
        head = f"{row[0]}, {row[1]}, {row[2]:g} | {len(of)} | {of[0]['steps']:.0f} | {of[0]['gflops']:.3f}"
        yield f"| {head} | {' | '.join(texts)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEEHEAR_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=["grid-s1"], choices=list(STEPS))
    parser.add_argument("--protocols", nargs="*", default=["steps", *SHARED, "time"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--tables", action="store_true", help="train nothing: the finished cells")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pace = {name: paced(name, options.work) for name in options.sets}
    cells = [cell for name in options.sets for cell in cells_of(name, options.seeds, options.protocols)]
    study, results = options.work / "droptoken", list[Result]()
    if options.tables:
        cells = [cell for cell in cells if (study / "cells" / f"{cell_key(cell)}.json").exists()]
    for cell in cells:
        seconds = pace[str(cell["set"])]

        def one(cell: Cell, seconds: Mapping[str, float] = seconds) -> dict[str, float]:
            return measure(cell, seconds, options.data, options.work)

        results += run_grid(study, [cell], one, about={"steps": STEPS}, verbose=True)
        rows = [{**result.cell, "values": result.values} for result in results]
        write("vatt_droptoken", {"seconds of a step": pace, "cells": rows}, options.out)
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
