"""Processor time of `seehear search`, alone and answered by the running server of its library, beside `import torch`.

    OMP_NUM_THREADS=1 python benchmarks/search_command.py

The library is of the demo's media with packaged weights. Every command is a process of its own; they take turns, and
the median of five counts.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import common

from seehear.demo import MEDIA

_WORDS = "a dog barks"
_TURNS = 5
_SEEHEAR = [sys.executable, "-m", "seehear", "--quiet"]


def cpu(command: list[str]) -> float:
    """Seconds of processor time of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(commands: dict[str, list[str]]) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(_TURNS + 1):
        for name, command in commands.items():
            seconds = cpu(command)
            if turn:  # the first reads files from the disk
                taken[name].append(seconds)
    return {name: round(median(seconds), 2) for name, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("SEEHEAR_TOKEN", None)
    with tempfile.TemporaryDirectory() as name:
        lib = str(Path(name) / "lib")
        subprocess.run([*_SEEHEAR, "prepare", str(MEDIA), "--library", lib], check=True)
        subprocess.run([*_SEEHEAR, "encode", lib, "--preset", "light"], check=True)
        subprocess.run([*_SEEHEAR, "index", lib], check=True)
        search = [*_SEEHEAR, "search", lib, _WORDS]
        found = medians({"import torch": [sys.executable, "-c", "import torch"], "search, alone": search})
        serve = [sys.executable, "-m", "seehear", "serve", lib, "--port", "0", "--cache", str(Path(name) / "cache")]
        with subprocess.Popen(serve, stderr=subprocess.PIPE, text=True) as server:
            try:
                assert server.stderr is not None
                next(line for line in server.stderr if "http://" in line)
                time.sleep(20)  # until its models are loaded
                found |= medians({"search, answered by the server": search})
            finally:
                server.terminate()
    common.write("search_command", {"cpu_seconds": found, "turns": _TURNS}, options.out)
    print(found)


if __name__ == "__main__":
    main()
