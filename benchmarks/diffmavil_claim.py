"""The headline of DiffMAViL re-measured: MAViL against each of its ingredients, added in turn.

    OMP_NUM_THREADS=1 python benchmarks/diffmavil_claim.py [--sizes base tiny] [--repeats N] [--out FILE]

Published: 32 % fewer pre-training FLOPs and 18 % less wall clock than MAViL. Targets here: at most 0.68 of its
operations and 0.82 of its time with the published ingredients, and at most 0.5 of its time with all that is ours.
Operations are those of the closed formula, over a whole run of 20 epochs; torch's counter must agree within 1 % at the
first and the last masking ratio. Time is that of gradients (medians of interleaved rounds, synthetic clips at hand),
measured at the first and the last ratio of a run and in between a line over operations, plus the optimiser's update of
every step. Memory is what a step takes beside the parameters.

Rows are in the plain form, as ancestors' code computes, unless they say `fast`: those keep the numbers and leave out
what nothing reads.

    base     ViT-B at the paper's shapes; on a CPU one clip a step and few rows timed, on a GPU all of them in bf16
    small    ViT-S, the same shapes
    tiny     what a CPU trains. Its few tokens and large patches hide the effect: its own formula is beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import mavil_arms
import torch
from common import DEVICE, interleaved, memory_apart, peak_bytes, write
from torch._subclasses.fake_tensor import FakeTensorMode

from seehear.methods.diffmavil import Curriculum, DiffMAViL, DiffMAViLConfig
from seehear.methods.mavil_config import SIDES, FastPaths
from seehear.methods.mavil_cost import forward, mean, training
from seehear.nn.flops import count_flops
from seehear.nn.masked import sincos
from seehear.nn.random import Randomness
from seehear.recipes import diffmavil
from seehear.runs.config import MediaConfig, Run
from seehear.train.optim import Computation, OptimConfig, gradients, optimizer_of
from seehear.types import Batch, StepOutput

EPOCHS, CLIPS = 20, 2_000_000
OPERATIONS, SECONDS, OURS, COUNTER = 0.68, 0.82, 0.5, 0.01
PLAIN = FastPaths(visible_only=False, joined_views=False, needed_only=False)
MAVIL = {
    "diffuse": (),
    "decoders": dict.fromkeys(SIDES, "joint"),
    "curriculum": Curriculum(start=0.8, shape="constant"),
}
FOLLOWING = mavil_arms.ARMS["constant compute"]
RECIPES = {"base": diffmavil.base, "small": diffmavil.small, "tiny": diffmavil.tiny}


@dataclass(frozen=True)
class Arm:
    changes: dict[str, Any] = field(default_factory=dict)
    """In DiffMAViL with constant batches."""
    fast: bool = False
    epochs: float = 1.0
    """Of those of the others."""


ARMS = {
    "0 MAViL": Arm(MAVIL),
    "1 diffused patches": Arm(mavil_arms.ARMS["diffused"]),
    "2 cross video": Arm(mavil_arms.ARMS["cross"]),
    "3 diffused, cross video": Arm(mavil_arms.ARMS["constant 0.8"]),
    "4 and curriculum 0.95-0.80": Arm(mavil_arms.ARMS["diffmavil"]),
    "5 and batches that follow": Arm(FOLLOWING),
    "6 of 4, reversed": Arm(mavil_arms.ARMS["reversed"]),
    "7 MAViL, 30 % fewer epochs": Arm(MAVIL, epochs=0.7),
    "8 MAViL, constant 0.9": Arm(mavil_arms.ARMS["constant 0.9"]),
    "5 with 0.95-0.85": Arm(FOLLOWING | {"curriculum": Curriculum(end=0.85)}),
    "5 with cross audio": Arm(FOLLOWING | mavil_arms.ARMS["cross both"]),
    "5 with cross audio, 0.90-0.80": Arm(
        FOLLOWING | mavil_arms.ARMS["cross both"] | {"curriculum": Curriculum(start=0.9)}
    ),
    "MAViL, fast": Arm(MAVIL, fast=True),
    "5, fast": Arm(FOLLOWING, fast=True),
    "ours, two views": Arm(mavil_arms.ARMS["lean, two views"], fast=True),
    "ours": Arm(mavil_arms.ARMS["lean"], fast=True),
    "ours, 0.95-0.80": Arm(mavil_arms.ARMS["lean, more hidden"] | FOLLOWING, fast=True),
}
"""Rows 0 to 8 are the ladder of the method's sheet, then what reaches the published saving, then what is ours."""
STEP = ("sinusoids", "step")
SHARE, TIME = "operations of MAViL's", "time of MAViL's"
BASE, PUBLISHED, BEST = "0 MAViL", "5 and batches that follow", "ours"
FEW = (BASE, "3 diffused, cross video", PUBLISHED, "MAViL, fast", BEST)
"""What is timed where a step takes many seconds."""


def run_of(size: str) -> Run[MediaConfig, DiffMAViLConfig]:
    """As it is trained: clips as its recipe shows them, twenty parts of a curriculum."""
    run = RECIPES[size]()
    return replace(
        run, method=replace(run.method.reading(run.data.raw), batches=replace(run.method.batches, follow="nothing"))
    )


def config_of(run: Run[MediaConfig, DiffMAViLConfig], arm: Arm) -> DiffMAViLConfig:
    config = replace(run.method, fast=FastPaths() if arm.fast else PLAIN, **arm.changes)
    if config.batches.follow != "nothing":
        config = replace(config, batches=replace(config.batches, multiple=1))
    return replace(config, curriculum=replace(config.curriculum, parts=EPOCHS))


def ends(config: DiffMAViLConfig) -> tuple[float, ...]:
    """The first and the last masking ratio of a run; one where they are the same."""
    ratios = config.curriculum.ratios()
    return tuple(dict.fromkeys((ratios[0], ratios[-1])))


# -- operations --------------------------------------------------------------------------------------------------------


def operations(run: Run[MediaConfig, DiffMAViLConfig], arm: Arm) -> dict[str, Any]:
    config, samples = config_of(run, arm), run.data.raw.samples
    ratios = config.curriculum.ratios()
    per_clip = 2 * mean(config, ratios, samples=samples)
    counted = dict(zip(ends(config), counter(config, samples), strict=True))
    off = max(abs(2 * sum(training(config, r, samples=samples).values()) / n - 1) for r, n in counted.items())
    # As the papers count: without the embedding of the diffusion step.
    parts = [macs for r in ratios for name, macs in forward(config, r).items() if name.split()[-1] not in STEP]
    return {
        "forward GMAC a clip": sum(parts) / len(ratios) / 1e9,
        "FLOP a clip": per_clip,
        "FLOP of a run": per_clip * CLIPS * EPOCHS * arm.epochs,
        "counter differs by": off,
    }


def counter(config: DiffMAViLConfig, samples: int) -> Iterator[float]:
    """Operations of a clip in training at both ends, counted on tensors without values."""
    for m, size in product(SIDES, (config.size, config.decoder)):
        sincos(config.counts(m), size.width)  # kept by the package: these must have values
    with torch.device("meta"):  # no time for weights that nothing reads; filters need values to be made, so not fake
        model = DiffMAViL(config)
    model = model.to_empty(device="cpu")
    with FakeTensorMode(allow_non_fake_inputs=True):
        batch = clips(config, 2, samples, device=torch.device("cpu"))
        for ratio in ends(config):
            model.masking = dict.fromkeys(SIDES, ratio)

            def work() -> None:
                features = model.encode(batch, rng=Randomness(0, 0, 0, 2, 2)).features
                torch.stack([x.sum() for x in features.values()]).sum().backward()

            yield count_flops(work) / 2


def needed(run: Run[MediaConfig, DiffMAViLConfig]) -> dict[str, Any]:
    """Where the published ingredients, in the plain form, reach the published saving to three digits; forward and
    backward, as in the rows."""
    samples = run.data.raw.samples
    own, both, base = (config_of(run, ARMS[name]) for name in (PUBLISHED, "5 with cross audio", BASE))

    def ratio(curriculum: Curriculum, views: int, of: DiffMAViLConfig = own) -> float:
        ratios = replace(curriculum, parts=EPOCHS).ratios()
        # A second view is encoded for the contrast of views alone.
        shown, plain = (config if views == 2 else replace(config, intra_weight=0.0) for config in (of, base))
        return round(mean(shown, ratios, samples=samples) / mean(plain, (0.8,), samples=samples), 3)

    found: dict[str, Any] = {}
    for views, name in ((2, "two views"), (1, "one view")):
        falling = [(end / 1000, ratio(Curriculum(end=end / 1000), views)) for end in range(800, 951)]
        constant = [(r / 1000, ratio(Curriculum(start=r / 1000, shape="constant"), views)) for r in range(800, 951)]
        found[name] = {
            "0.95 to 0.80 gives": falling[0][1],
            "0.95 to this end": next((end for end, value in falling if value <= OPERATIONS), None),
            "this constant ratio": next((r for r, value in constant if value <= OPERATIONS), None),
            "cross audio too, 0.90 to 0.80 gives": ratio(Curriculum(start=0.9), views, both),
        }
    return found


# -- time and memory ---------------------------------------------------------------------------------------------------


def clips(config: DiffMAViLConfig, rows: int, samples: int, *, device: torch.device = DEVICE) -> Batch:
    g = torch.Generator().manual_seed(0)
    batch: Batch = {
        "video": torch.randint(0, 256, (rows, *config.frames, 3), generator=g, dtype=torch.uint8),
        "audio": torch.rand(rows, samples, generator=g) * 2 - 1,
        "group": torch.arange(rows),
    }
    batch |= {f"has_{m}": torch.ones(rows, dtype=torch.bool) for m in SIDES}
    return {k: v.to(device) for k, v in batch.items()}


@dataclass
class Timed:
    """A row's model at one masking ratio."""

    model: DiffMAViL
    batch: Batch
    ratio: float

    @property
    def rows(self) -> int:
        return len(self.batch["group"])

    def __call__(self) -> StepOutput:
        self.model.masking = dict.fromkeys(SIDES, self.ratio)
        rng, how = (
            Randomness(0, 0, 0, self.rows, self.rows, DEVICE),
            Computation(precision="bf16" if DEVICE.type == "cuda" else "fp32"),
        )
        out = gradients(self.model, self.batch, progress=0.0, rng=rng, how=how)
        self.model.zero_grad(set_to_none=False)
        return out


def rows_at(config: DiffMAViLConfig, ratio: float, rows: int) -> int:
    """Clips of a step, where batches follow the ratio."""
    if config.batches.follow == "nothing" or rows == 1:
        return rows
    sizes = dict(zip(config.curriculum.ratios(), config.batch_sizes(rows), strict=True))
    return max(1, sizes[ratio])


def timed(run: Run[MediaConfig, DiffMAViLConfig], names: Sequence[str], rows: int) -> dict[str, dict[float, Timed]]:
    """By row and masking ratio. All share one trunk: it is the same in all, and large."""
    torch.manual_seed(0)
    made: dict[str, dict[float, Timed]] = {}
    trunk = None
    for name in names:
        config = config_of(run, ARMS[name])
        model = DiffMAViL(config)
        trunk = trunk or model.trunk
        model.trunk = trunk
        model.to(DEVICE)
        counts = {r: rows_at(config, r, rows) for r in ends(config)}
        made[name] = {r: Timed(model, clips(config, n, run.data.raw.samples), r) for r, n in counts.items()}
    return made


def measure(
    run: Run[MediaConfig, DiffMAViLConfig], names: Sequence[str], rows: int, repeats: int
) -> dict[str, dict[str, Any]]:
    cases = timed(run, names, rows)
    flat: dict[str, Callable[[], object]] = {f"{n}/{r}": work for n, at in cases.items() for r, work in at.items()}
    taken = interleaved(flat, repeats=repeats)
    update = update_seconds(next(iter(cases[names[0]].values())), repeats)
    found = {}
    for name, at in cases.items():
        per_clip = {r: taken[f"{name}/{r}"] / work.rows for r, work in at.items()}
        found[name] = {
            "seconds of gradients a clip": per_clip,
            "clips a step": {r: work.rows for r, work in at.items()},
            "seconds of an update": update,
            "hours of a run": whole_run(run, ARMS[name], per_clip, update) / 3600,
        }
    return found


def whole_run(run: Run[MediaConfig, DiffMAViLConfig], arm: Arm, per_clip: dict[float, float], update: float) -> float:
    """Seconds of all epochs on this device alone: clips as measured, and the updates of the recipe's batches."""
    config, total = config_of(run, arm), 0.0
    samples, reference = run.data.raw.samples, run.train.batch_size
    assert isinstance(reference, int)
    cost = {r: sum(training(config, r, samples=samples).values()) for r in config.curriculum.ratios()}
    (first, low), (last, high) = next(iter(per_clip.items())), list(per_clip.items())[-1]
    for ratio in config.curriculum.ratios():
        along = (cost[ratio] - cost[first]) / (cost[last] - cost[first]) if first != last else 0.0
        total += CLIPS * (low + along * (high - low)) + update * CLIPS / rows_at(config, ratio, reference)
    return total * arm.epochs


def update_seconds(work: Timed, repeats: int) -> float:
    optimizer = optimizer_of(work.model, OptimConfig(lr=1e-5))
    work()
    return interleaved({"update": optimizer.step}, repeats=repeats)["update"]


def memory(size: str, name: str, ratio: float, rows: int) -> int:
    """Bytes that a step takes beside the parameters."""
    work = timed(run_of(size), [name], rows)[name][ratio]
    return peak_bytes(work)


# -- all of it ---------------------------------------------------------------------------------------------------------


def measured(size: str, options: argparse.Namespace) -> dict[str, Any]:
    run, heavy = run_of(size), DEVICE.type == "cpu" and size != "tiny"
    rows = options.rows or (1 if heavy else 64 if DEVICE.type == "cuda" else 32)
    found: dict[str, dict[str, Any]] = {}
    for name, arm in ARMS.items():
        found[name] = operations(run, arm)
        print(f"{size}, {name}: counted", flush=True)
    names = [n for n in ARMS if n in FEW or not heavy]
    for name, own in measure(run, names, rows, 2 if heavy else options.repeats).items():
        found[name] |= own
    for name in names if options.memory else ():
        sizes = found[name]["clips a step"]
        found[name]["megabytes of a step"] = {
            r: memory_apart(memory, __file__, size, name, r, rows) / 1e6 for r in sizes
        }
    for own in found.values():
        own[SHARE] = own["FLOP of a run"] / found[BASE]["FLOP of a run"]
        if "hours of a run" in own:
            own[TIME] = own["hours of a run"] / found[BASE]["hours of a run"]
    reached = {
        f"published ingredients: operations <= {OPERATIONS}": found[PUBLISHED][SHARE] <= OPERATIONS,
        f"published ingredients: time <= {SECONDS}": found[PUBLISHED][TIME] <= SECONDS,
        f"ours: time <= {OURS}": found[BEST][TIME] <= OURS,
        f"counter and formula within {COUNTER:.0%}": all(o["counter differs by"] <= COUNTER for o in found.values()),
    }
    print(table(found))
    print("\n".join(f"{size}: {name}: {'yes' if met else 'NO'}" for name, met in reached.items()), flush=True)
    return {"clips a step": rows, "rows": found, "needed for 0.68": needed(run), "targets": reached}


def table(found: dict[str, dict[str, Any]]) -> str:
    lines = [f"{'':28} {'GMAC':>8} {'FLOPs':>6} {'counter':>8} {'ms a clip':>15} {'time':>6} {'MB a step':>15}"]
    for name, own in found.items():
        share, off = own[SHARE], own["counter differs by"]
        line = f"{name:28} {own['forward GMAC a clip']:8.3f} {share:6.3f} {off:8.2%}"
        if "hours of a run" in own:
            times = " - ".join(f"{1000 * s:,.1f}" for s in own["seconds of gradients a clip"].values())
            held = " - ".join(f"{m:,.0f}" for m in own.get("megabytes of a step", {}).values())
            line += f" {times:>15} {own[TIME]:6.3f} {held:>15}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=sorted(RECIPES), default=["base", "tiny"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, help="clips a step; 1 for base on a CPU, 32 for tiny, 64 on a GPU")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="do not start a process for each row")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory-of", nargs=4, metavar=("SIZE", "ROW", "RATIO", "ROWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        size, name, ratio, rows = options.memory_of
        print(memory(size, name, float(ratio), int(rows)))
        return
    shared = {"epochs": EPOCHS, "clips": CLIPS, "published": {"operations": 0.68, "time": 0.82}}
    write("diffmavil_claim", shared | {size: measured(size, options) for size in options.sizes}, options.out)


if __name__ == "__main__":
    main()
