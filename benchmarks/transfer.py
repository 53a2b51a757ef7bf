"""Spaces tested on a set that they never saw: `OMP_NUM_THREADS=1 python benchmarks/transfer.py --work W [--seeds 2]`.

`digits` (a drawn one and a spoken one of the same kind, and its word) and `grid-s1` (a mouth, its voice and the
sentence, which holds a digit's word) share modalities and encoders, but neither speakers nor pictures nor sentences.
The study of modalities trains every row on the one and tests it, zero-shot, on the test split of the other:
`seehear study modalities W/digits --methods mcn.tiny --test-on W/grid-s1`, and the other way round. Finished
measurements in W are not repeated.
"""

import argparse
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from common import write
from vatt_sets import library_of

from seehear.library.encode import encode_library
from seehear.library.tables import LibraryTables
from seehear.studies.modalities import ModalityOptions, study_modalities

ENCODERS = ["efficientnet-lite0", "speech", "minilm"]
PAIRS = [("digits", "grid-s1"), ("grid-s1", "digits")]


def encoded(name: str, data: Path, work: Path) -> str:
    """Address of the library of a set, with latents."""
    folder = work / name
    if not folder.exists():
        shutil.copytree(str(library_of(name, data, work / "sets")[0].uri), folder)
    encode_library(LibraryTables.open(folder), ENCODERS)
    return str(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEEHEAR_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    uris = {name: encoded(name, given.data, given.work) for pair in PAIRS for name in pair}
    found = {}
    for learned, tested in PAIRS:
        options = ModalityOptions(seeds=given.seeds, test_on=uris[tested])
        study = study_modalities(LibraryTables.open(uris[learned]), given.work / "study", options)
        print(study.markdown())
        cells = [asdict(result) for result in study.results]
        cells = [
            {k: v for k, v in cell["cell"].items() if k != "tested on"} | {"values": cell["values"]} for cell in cells
        ]
        found[f"{learned} to {tested}"] = {"said": list(study.said), "cells": cells}
    write("transfer", {"sets": found}, given.out)


if __name__ == "__main__":
    main()
