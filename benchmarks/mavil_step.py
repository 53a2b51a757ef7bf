"""A training step of MAViL with its short cuts, one by one and together, against the plain form that embeds every
patch, encodes the two views one after the other, and tells seen patches too. And the share of the spectrogram.

    OMP_NUM_THREADS=1 python benchmarks/mavil_step.py [--sizes tiny small] [--repeats N] [--out FILE]

The numbers are the same in all forms (`tests/methods/test_mavil.py`); AdamW is not in the time. Sizes are those of the
recipes; base wants a GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from common import DEVICE, interleaved, write

from seehear.methods.mavil import FastPaths, MAViL
from seehear.nn.random import Randomness
from seehear.recipes import mavil
from seehear.runs.config import Run
from seehear.train.optim import gradients
from seehear.types import Batch

ROWS = {"tiny": 16, "small": 2, "base": 32}
PLAIN = FastPaths(visible_only=False, joined_views=False, needed_only=False)
FORMS = {
    "plain": PLAIN,
    "visible only": replace(PLAIN, visible_only=True),
    "joined views": replace(PLAIN, visible_only=True, joined_views=True),
    "needed only": replace(PLAIN, needed_only=True),
    "all": FastPaths(),
}
"""Views are joined where only visible patches are embedded."""


def batch_of(run: Run, rows: int) -> Batch:
    g = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (rows, run.data.raw.frames, run.data.raw.size, run.data.raw.size, 3), generator=g)
    sound = torch.randn(rows, run.data.raw.samples, generator=g)
    here = torch.ones(rows, dtype=torch.bool)
    batch = {"video": video.to(torch.uint8), "audio": sound, "has_video": here, "has_audio": here}
    return {k: v.to(DEVICE) for k, v in (batch | {"group": torch.arange(rows)}).items()}


def stepper(run: Run, fast: FastPaths, batch: Batch) -> Callable[[], object]:
    torch.manual_seed(0)
    model = MAViL(replace(run.method.reading(run.data.raw), fast=fast)).to(DEVICE)
    rows = len(batch["group"])
    rng = Randomness(0, 0, 0, rows, rows, DEVICE)

    def work() -> object:
        model.zero_grad()
        return gradients(model, batch, progress=0.0, rng=rng)

    return work


def measure(size: str, repeats: int) -> dict[str, float]:
    run, rows = getattr(mavil, size)(), ROWS[size]
    batch = batch_of(run, rows)
    cases = {name: stepper(run, fast, batch) for name, fast in FORMS.items()}
    mel = MAViL(run.method.reading(run.data.raw)).to(DEVICE).spectrogram
    times = interleaved({**cases, "spectrogram": lambda: mel(batch["audio"])}, repeats=repeats)
    found = {"rows": rows, "plain_seconds": times["plain"], "spectrogram_share": times["spectrogram"] / times["all"]}
    found |= {f"{name}_times_faster": times["plain"] / times[name] for name in FORMS if name != "plain"}
    print(f"{size}:", "  ".join(f"{k} {v:.3g}" for k, v in found.items()), flush=True)
    return {k: float(f"{v:.3g}") for k, v in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", default=["tiny"], choices=list(ROWS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    write("mavil_step", {size: measure(size, options.repeats) for size in options.sizes}, options.out)


if __name__ == "__main__":
    main()
