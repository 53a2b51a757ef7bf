"""Words to moments in 41 films that nobody has labelled: `seehear find`'s machinery with packaged weights.

    python benchmarks/home.py --library /tmp/home          # prepares, transcribes, encodes as far as not done
    python benchmarks/home.py --library /tmp/home --half choose

The films, the queries and the rule of a right hit are those of ../shared/data/home (its score.py). Queries are split in
two by a hash of the file that answers them, those without an answer by a hash of their words; settings were chosen on
one half ('choose') and the other ('report') is what the JSON holds. The gallery is always all of the films.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from common import write

from seehear.data.library import Library
from seehear.recipes.find import bring_up_to_date, open_library
from seehear.search.moments import MomentSearch

DATA = Path(os.environ.get("SEEHEAR_DATA", "../shared/data")) / "home"
KINDS = ("seen", "heard", "said", "written", "mixed")
CHANNELS: dict[str, tuple[str, ...]] = {"all": (), "seen": ("seen",), "heard": ("heard",), "spoken": ("spoken",)}
CHANNELS |= {"screen": ("screen",)}
TRIAL = {"seen": (50, 71), "said": (100, 100), "written": (88, 100), "heard": (17, 42)}
"""R@1 and R@5 of the issue's trial, on all queries, in percent."""
AUC = "AUC of the best score, answerable against none"
Relevant = list[tuple[str, float, float]]


def queries(half: str) -> dict[str, tuple[str, Relevant]]:
    """{query: (kind, its right answers)} of one half, or of 'both'."""
    found: dict[str, tuple[str, Relevant]] = {}
    with open(DATA / "queries.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            own = found.setdefault(row["query"], (row["kind"], []))
            if row["file"]:
                own[1].append((row["file"], float(row["start"]), float(row["end"])))
    draw = {q: hashlib.sha256((own[1][0][0] if own[1] else q).encode()).digest()[0] % 2 for q, own in found.items()}
    return {q: own for q, own in found.items() if half == "both" or ("choose", "report")[draw[q]] == half}


def is_right(hit: dict[str, Any], relevant: Relevant) -> bool:
    """The rule of score.py: an overlap of a second, or intersection over union above 0.1."""
    for name, start, end in relevant:
        shared = min(hit["end"], end) - max(hit["start"], start)
        union = max(hit["end"], end) - min(hit["start"], start)
        if os.path.basename(hit["file"]) == name and shared > 0 and (shared >= 1 or shared / union > 0.1):
            return True
    return False


def score(searcher: MomentSearch, half: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    ranks: dict[str, list[float]] = {}
    sure: dict[bool, list[float]] = {True: [], False: []}
    for query, (kind, relevant) in queries(half).items():
        hits = searcher.search(query, k=10, kinds=kinds).plain()["hits"]
        sure[kind != "none"].append(hits[0]["score"] if hits else 0.0)
        if kind != "none":
            rank = next((n for n, hit in enumerate(hits, 1) if is_right(hit, relevant)), np.inf)
            for name in (kind, "all"):
                ranks.setdefault(name, []).append(rank)
    found: dict[str, Any] = {}
    for name in (*KINDS, "all"):
        if (own := np.array(ranks.get(name, []))).size:
            found[name] = {f"R@{k}": round(100 * float((own <= k).mean()), 1) for k in (1, 5, 10)}
            found[name] |= {"MRR": round(float((1 / own).mean()), 3), "queries": len(own)}
    pairs = [(p > n) + 0.5 * (p == n) for p in sure[True] for n in sure[False]]
    return found | {
        "AUC of the best score, answerable against none": round(float(np.mean(pairs)), 3) if pairs else None
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="/tmp/home-library")
    parser.add_argument("--half", choices=("choose", "report", "both"), default="report")
    parser.add_argument("--no-update", action="store_true", help="search the library as it is")
    options = parser.parse_args()
    if not options.no_update:
        bring_up_to_date(DATA / "files", options.library, preset="light")
    searcher = open_library(Library.open(options.library))
    found = {name: score(searcher, options.half, kinds) for name, kinds in CHANNELS.items()}
    for name, own in found.items():
        print(
            name, *(f"{k} {v['R@1']}/{v['R@5']}/{v['R@10']}" for k, v in own.items() if isinstance(v, dict)), sep="  "
        )
        print("   ", own[AUC])
    if options.half == "report" and not options.no_update:
        write("home", {"half": options.half, "percent": found, "trial, all queries": TRIAL}, None)


if __name__ == "__main__":
    main()
