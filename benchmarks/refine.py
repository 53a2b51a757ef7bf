"""What "More of this" and "Not this" do to the rest of an answer, by a simulated user.

    python benchmarks/refine.py --work /tmp/refine --half choose
    python benchmarks/refine.py --work /tmp/refine

Drawings (art4apps) and emoji (emoji3d), packaged weights. A query is the name of a category ("animals"), right hits are
its pictures, the gallery is the other pictures of the set. The user marks the first right hit as liked, the first wrong
one as disliked, or both; several rounds repeat that. Average precision and precision at 10 are those of the pictures
that were not marked, before and after. Categories are split in two by a hash of their names: weights were chosen on one
half ('choose'), the other ('report') is what the JSON holds. Those liked share one weight, and so do those disliked.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import write

from seehear.folders.find import open_library
from seehear.folders.indexes import index_frozen
from seehear.library.encode import encode_library
from seehear.library.prepare import prepare
from seehear.library.tables import LibraryTables
from seehear.search.filters import Filters
from seehear.search.moments import MomentSearch

DATA = Path(os.environ.get("SEEHEAR_DATA", "../shared/data"))
SETS = {"art4apps": "categories", "emoji3d": "subgroup"}
LEAST = 8  # pictures of a category
ALL = 10_000  # hits


def categories(name: str, half: str) -> dict[str, set[str]]:
    """{words: its pictures} of a set."""
    found: dict[str, set[str]] = {}
    with open(DATA / name / "metadata.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for category in filter(None, row[SETS[name]].split("|")):
                found.setdefault(category.replace("-", " "), set()).add(f"{name}/{Path(row['image']).name}")
    draw = {words: hashlib.sha256(words.encode()).digest()[0] % 2 for words in found}
    kept = {words: own for words, own in found.items() if len(own) >= LEAST and words != "other"}
    return {words: own for words, own in kept.items() if ("choose", "report")[draw[words]] == half}


def ranked(
    search: MomentSearch, name: str, words: str, liked: Sequence[str], disliked: Sequence[str], **w: float
) -> Any:
    parts: list[Any] = [{"text": words}]
    parts += [{"clip": clip, "weight": w["like"] / len(liked)} for clip in liked]
    parts += [{"clip": clip, "weight": -w["dislike"] / len(disliked)} for clip in disliked]
    hits = search.search(parts, k=ALL, filters=Filters(source=f"{name}/*")).hits
    return [hit.clip for hit in hits]


def marked(order: Sequence[str], right: set[str], what: str, liked: list[str], disliked: list[str]) -> None:
    """Adds what the user marks in a ranking."""
    if what != "dislike":
        liked += [clip for clip in order if clip in right and clip not in liked][:1]
    if what != "like":
        disliked += [clip for clip in order if clip not in right and clip not in disliked][:1]


def quality(order: Sequence[str], right: set[str], out: set[str]) -> tuple[float, float]:
    """(average precision, precision at 10) of a ranking without what was marked."""
    hit_N = np.array([clip in right for clip in order if clip not in out])
    precision_N = np.cumsum(hit_N) / np.arange(1, len(hit_N) + 1)
    return float((precision_N * hit_N).sum() / max(1, len(right - out))), float(hit_N[:10].mean())


def measure(
    search: MomentSearch, wanted: dict[str, dict[str, set[str]]], what: str, rounds: int, **w: float
) -> dict[str, Any]:
    rows: list[list[float]] = []
    for name, queries in wanted.items():
        for words, right in queries.items():
            liked: list[str] = []
            disliked: list[str] = []
            first = order = ranked(search, name, words, [], [])
            for _ in range(rounds):
                marked(order, right, what, liked, disliked)
                order = ranked(search, name, words, liked, disliked, **w)
            out = {*liked, *disliked}
            rows.append([*quality(first, right, out), *quality(order, right, out)])
    mean = (100 * np.array(rows, float)).mean(axis=0).round(1).tolist()
    names = ("AP before", "P@10 before", "AP", "P@10")
    better = np.array([r[2] - r[0] for r in rows])
    changes = {"better": int((better > 0.005).sum()), "worse": int((better < -0.005).sum()), "queries": len(rows)}
    return dict(zip(names, mean, strict=True)) | changes


def library(work: Path) -> LibraryTables:
    """The pictures of both sets, indexed as far as not done."""
    for name in SETS:
        if not (work / "media" / name).is_dir():
            shutil.copytree(DATA / name / "images", work / "media" / name)
    prepare(work / "media", work / "lib")
    made = LibraryTables.open(work / "lib")
    encode_library(made, preset="light", device="cpu")
    index_frozen(made, device="cpu")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("/tmp/refine"))
    parser.add_argument("--half", choices=("choose", "report"), default="report")
    parser.add_argument("--like", type=float, nargs="+", default=[1.0])
    parser.add_argument("--dislike", type=float, nargs="+", default=[0.05])
    parser.add_argument("--rounds", type=int, nargs="+", default=[1, 3])
    options = parser.parse_args()
    search = open_library(library(options.work))
    wanted = {name: categories(name, options.half) for name in SETS}
    found: dict[str, Any] = {}
    for rounds in options.rounds:
        for what in ("like", "dislike", "both"):
            for like in options.like if what != "dislike" else options.like[:1]:
                for dislike in options.dislike if what != "like" else options.dislike[:1]:
                    own = measure(search, wanted, what, rounds, like=like, dislike=dislike)
                    print(what, f"{rounds} rounds, like {like}, dislike {dislike}", own, sep="  ", flush=True)
                    found[f"{what}, {rounds} round{'s' * (rounds > 1)}"] = own
    if options.half == "report":
        weights = {"like": options.like[-1], "dislike": options.dislike[-1]}
        write("refine", {"half": options.half, "weights": weights, "percent": found}, None)


if __name__ == "__main__":
    main()
