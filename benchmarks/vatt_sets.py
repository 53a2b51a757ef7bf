"""The data sets that VATT is shown on, as libraries with a split of their own.

grid-s1    900 sentences of one speaker: face, voice, words. Labels: the command, colour and digit that are said
digits     spoken digits of six speakers, each with a drawn one of the same kind, and its name; what is found must be of
           the same kind. Takes 0 to 4 are the official test set
esc10      sounds of ten kinds with the titles their authors gave them; fold 1 is held out
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fusemix_sets import Row, table
from PIL import Image

from seehear.library.clips import PrepareOptions
from seehear.library.prepare import prepare
from seehear.library.tables import LibraryTables


@dataclass(frozen=True)
class DataSet:
    rows: Callable[[Path, Path], Iterator[Row]]
    """From the folder of its data, and one for files that are made of them."""
    labels: tuple[str, ...]
    """Columns that probes tell."""
    belongs: str = "id"
    """Column of what belongs together in retrieval: every clip for itself, or all of a kind."""


def sentences(folder: Path, work: Path) -> Iterator[Row]:
    for r in table(folder / "metadata.csv"):
        media = {"id": r["id"], "video": str(folder / r["file"]), "texts": json.dumps([r["text"]])}
        share = random.Random(f"{r['id']} 0").random()
        split = "train" if share < 0.72 else "val" if share < 0.82 else "test"
        yield media | {"group": r["id"], "split": split} | {k: r[k] for k in ("command", "color", "digit")}


def digits(folder: Path, work: Path) -> Iterator[Row]:
    with np.load(folder / "mnist10k.npz") as drawings:
        of = {str(d): iter(drawings["images"][drawings["labels"] == d]) for d in range(10)}
    work.mkdir(parents=True, exist_ok=True)
    for r in table(folder / "audio.csv"):
        name = Path(r["file"]).stem
        drawing = work / f"{name}.png"
        Image.fromarray(next(of[r["digit"]])).convert("RGB").save(drawing)
        split = "test" if r["split"] == "test" else "val" if random.Random(name).random() < 0.1 else "train"
        media = {"id": name, "image": str(drawing), "audio": str(folder / r["file"]), "texts": json.dumps([r["word"]])}
        yield media | {"group": name, "split": split, "digit": r["digit"]}


def sounds(folder: Path, work: Path) -> Iterator[Row]:
    """A title without a word is none."""
    for r in table(folder / "metadata.csv"):
        title = re.sub(r"[^a-z]+", " ", Path(r["freesound_title"]).stem.lower()).strip()
        media = {"id": Path(r["file"]).stem, "audio": str(folder / r["file"]), "group": r["freesound_url"]}
        split = "test" if r["fold"] == "1" else "val" if random.Random(r["freesound_url"]).random() < 0.15 else "train"
        yield media | {"texts": json.dumps([title] if title else []), "split": split, "kind": r["label"]}


SETS = {
    "grid-s1": DataSet(sentences, ("command", "color", "digit")),
    "digits": DataSet(digits, ("digit",), "digit"),
    "esc10": DataSet(sounds, ("kind",)),
}
"""By the name of its folder in the folder of data."""


def library_of(name: str, data: Path, work: Path) -> tuple[LibraryTables, dict[str, Row]]:
    """The library, made at the first call, and its rows by clip."""
    folder = work / name
    rows = list(SETS[name].rows(data.resolve() / name, folder / "files"))
    if not (folder / "library").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(column for row in rows for column in row)))
            writer.writeheader()
            writer.writerows(rows)
        prepare(folder / "manifest.csv", folder / "library", PrepareOptions(media=Path("/")))
    return LibraryTables.open(folder / "library"), {row["id"]: row for row in rows}
