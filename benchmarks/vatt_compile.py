"""A training step of VATT with `--train.compile` against the same step without: seconds, what the first two steps cost
(the second is compiled for steps of any number) with an empty cache of compiled code, and after how many steps that is
paid back. All is processor time, on a CPU.

    OMP_NUM_THREADS=1 python benchmarks/vatt_compile.py [--repeats N] [--out FILE]

What is compiled is `encode`, as the loop does it: tokens, DropToken, encoders. Heads, losses and AdamW are not. On a
CPU it needs a C++ compiler.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from common import interleaved, write
from torch._inductor import config as inductor
from torch._inductor.utils import fresh_inductor_cache
from vatt_setting import CONFIGS, SENTENCES, SIZE, batch_of, model_of, stepper

from seehear.train.config import TrainConfig, numerics

ROWS = {"paper": 8, "tiny": 16, "recipe": 64}


def processor_seconds() -> float:
    """Of this process and of the compilers that it has called."""
    taken = os.times()
    return taken.user + taken.system + taken.children_user + taken.children_system


def measure(name: str, repeats: int) -> dict[str, float]:
    config, rows = CONFIGS[name], ROWS[name]
    batch = batch_of(config, rows, SENTENCES[name])
    eager, model = stepper(model_of(config), batch), model_of(config)
    compiled = stepper(model, batch, encode=torch.compile(model.encode))
    start = processor_seconds()
    with fresh_inductor_cache(), inductor.patch(compile_threads=1):  # in this process: what others take is not known
        for _ in range(2):
            compiled()
    first = processor_seconds() - start
    times = interleaved({"eager": eager, "compiled": compiled}, repeats=repeats)
    gain = times["eager"] - times["compiled"]
    found = {"rows": rows, "eager_seconds": times["eager"], "compiled_seconds": times["compiled"]}
    found |= {"times_faster": times["eager"] / times["compiled"], "first_two_steps_seconds": first}
    found |= {"steps_to_pay_back": first / gain} if gain > 0 else {}
    print(f"{name}:", "  ".join(f"{k} {v:.3g}" for k, v in found.items()), flush=True)
    return {k: float(f"{v:.3g}") for k, v in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sizes", nargs="+", default=["recipe", SIZE], choices=list(CONFIGS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with numerics(TrainConfig(compile=True)):
        found = {name: measure(name, options.repeats) for name in options.sizes}
    write("vatt_compile", found, options.out)


if __name__ == "__main__":
    main()
