"""CPU seconds of each part of `seehear open`'s work for a second of film, and the pace of the whole that follows.

    python benchmarks/pace.py --films 1 --minutes 10 [--before ../main] [--out FILE]

The films are those of `open.py`; the folder is worked on as `seehear open FOLDER --preset light` does, without a page.
CPU seconds are of all processes: other programs hardly move them, so the pace, cores over CPU seconds, is that of idle
cores which are always busy. `busy`: CPU seconds over cores times wall seconds, which says how near that is; measure it
on an idle machine. `--before`: another checkout, measured in turn with this one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common import write
from encode import cpu_seconds
from films import make_films
from home import DATA

from seehear.folders.work import Work
from seehear.progress import hushed

HERE = Path(__file__).resolve().parents[1]


def measure(folder: Path, library: Path) -> dict[str, Any]:
    """CPU and wall seconds by part, of a fresh library."""
    shutil.rmtree(library, ignore_errors=True)
    work = Work(folder, str(library), preset="light", device="cpu")
    cpu: Counter[str] = Counter()
    began, index = time.monotonic(), work.index

    def indexed() -> None:
        before = cpu_seconds()
        index()
        cpu["indexing"] += cpu_seconds() - before

    work.index = indexed  # type: ignore[method-assign]
    going = True
    with hushed():
        while going:
            before, indexing = cpu_seconds(), cpu["indexing"]
            going = work.step()
            cpu[work.standing().step or "ending"] += cpu_seconds() - before - (cpu["indexing"] - indexing)
    return {"cpu": dict(cpu), "wall": time.monotonic() - began}


def apart(checkout: Path, folder: Path, library: Path) -> dict[str, Any]:
    """`measure` in a process of its own, with the package of a checkout."""
    command = [sys.executable, __file__, "--measure", str(folder), str(library)]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/open"))
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    name = f"films{options.films}x{options.minutes:g}"
    folder, media = options.scratch / name, 60 * options.minutes * options.films
    make_films(folder, DATA / "files", films=options.films, minutes=options.minutes)
    sides = {"now": HERE} | ({"before": options.before.resolve()} if options.before else {})
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(options.repeats):
        for side, checkout in sides.items():
            runs[side].append(apart(checkout, folder, options.scratch / f"pace-{side}"))
    results: dict[str, Any] = {"films": options.films, "minutes": options.minutes, "repeats": options.repeats}
    for side, measured in runs.items():
        cpu = {part: statistics.median(run["cpu"].get(part, 0.0) for run in measured) for part in measured[0]["cpu"]}
        total, cores = statistics.median(sum(run["cpu"].values()) for run in measured), os.cpu_count() or 1
        wall = statistics.median(run["wall"] for run in measured)
        results[side] = {f"CPU s a second, {part}": round(seconds / media, 4) for part, seconds in cpu.items()}
        results[side] |= {"CPU s a second, all": round(total / media, 4), "cores": cores}
        results[side] |= {"times real time, cores always busy": round(cores * media / total, 1)}
        results[side] |= {"busy": round(total / (cores * wall), 2)}
    print(json.dumps(results, indent=2))
    write("pace", results, options.out)


if __name__ == "__main__":
    main()
