"""`python -m benchmarks.faults.guided NUMBER FOLDER CORPUS ...`: atheris on one reader, looking for files that reach
new branches of its code."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["seehear.library", "seehear.datasets", "seehear.inputs", "pysubs2"]):
    from benchmarks.faults.fuzz import read, targets


def main() -> None:
    target, place = targets()[int(sys.argv[1])], Path(sys.argv[2]) / f"guided {sys.argv[1]}"
    place.mkdir(parents=True, exist_ok=True)
    atheris.Setup([sys.argv[0], *sys.argv[3:]], lambda content: read(target, place, content))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
