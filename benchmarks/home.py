"""Words to moments in 41 films that nobody has labelled: `seehear find`'s machinery with packaged weights.

    python benchmarks/home.py --library /tmp/home          # prepares, transcribes, encodes as far as not done
    python benchmarks/home.py --library /tmp/home --half choose
    python benchmarks/home.py --figure docs/figures/reliability.svg

The films, the queries and the rule of a right hit are those of ../shared/data/home (its score.py). Queries are split in
two by a hash of the file that answers them, those without an answer by a hash of their words; settings were chosen on
one half ('choose') and the other ('report') is what the JSON holds. The gallery is always all of the films.

`cosine` and `z` are the same search with the similarities as they come, and with each row's less their mean and over
their deviation across the background queries; neither can be added up, so a clip counts by its best row. Reliability:
the share of right hits by confidence, of the first ten hits of each query (those without an answer too), and of the
first ten films that a clip of the library finds by what is seen or heard in it; there a hit is right when it shows (or
has the sound of) the same source by cuts.csv.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from common import write

from seehear.folders.find import bring_up_to_date, open_library
from seehear.library.tables import LibraryTables
from seehear.search.background import OpenIndex
from seehear.search.calibrate import background_phrases
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


def absent(half: str) -> dict[str, tuple[str, Relevant]]:
    """Queries written for this that nothing in the films answers: there are too few of them in queries.csv."""
    with open(Path(__file__).parent / "home_none.csv", newline="", encoding="utf-8") as file:
        return {row["query"]: ("none", []) for row in csv.DictReader(file) if half in ("both", row["half"])}


def is_right(hit: dict[str, Any], relevant: Relevant) -> bool:
    """The rule of score.py: an overlap of a second, or intersection over union above 0.1."""
    for name, start, end in relevant:
        shared = min(hit["end"], end) - max(hit["start"], start)
        union = max(hit["end"], end) - min(hit["start"], start)
        if os.path.basename(hit["file"]) == name and shared > 0 and (shared >= 1 or shared / union > 0.1):
            return True
    return False


Hits = list[dict[str, Any]]


def asked(
    searcher: MomentSearch, wanted: dict[str, tuple[str, Relevant]], kinds: tuple[str, ...] = ()
) -> list[tuple[str, Hits]]:
    """(kind, hits with "right") of each query."""
    found = []
    for query, (kind, relevant) in wanted.items():
        hits = searcher.search(query, k=10, kinds=kinds).plain()["hits"]
        found.append((kind, [hit | {"right": is_right(hit, relevant)} for hit in hits]))
    return found


def score(answers: list[tuple[str, Hits]], more: list[tuple[str, Hits]] | None = None) -> dict[str, Any]:
    """`more`: answers to `absent`."""
    ranks: dict[str, list[float]] = {}
    for kind, hits in answers:
        rank = next((n for n, hit in enumerate(hits, 1) if hit["right"]), np.inf)
        for name in (kind, "all") if kind != "none" else ():
            ranks.setdefault(name, []).append(rank)
    found: dict[str, Any] = {}
    for name in (*KINDS, "all"):
        if (own := np.array(ranks.get(name, []))).size:
            found[name] = {f"R@{k}": round(100 * float((own <= k).mean()), 1) for k in (1, 5, 10)}
            found[name] |= {"MRR": round(float((1 / own).mean()), 3), "queries": len(own)}
    best = [(kind, hits[0]["score"] if hits else 0.0, any(h["right"] for h in hits[:5])) for kind, hits in answers]
    none = [value for kind, value, _ in best if kind == "none"]
    found[AUC] = auc([value for kind, value, _ in best if kind != "none"], none)
    found[f"{AUC}, of those found among five"] = auc([value for _, value, right in best if right], none)
    if more is not None:
        none = [hits[0]["score"] for _, hits in more]
        found[f"{AUC} of home_none.csv"] = auc([value for kind, value, _ in best if kind != "none"], none)
        found[f"{AUC} of home_none.csv, of those found among five"] = auc([v for _, v, right in best if right], none)
    return found


def auc(positive: list[float], negative: list[float]) -> float | None:
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    return round(float(np.mean(pairs)), 3) if pairs else None


# -- reliability -------------------------------------------------------------------------------------------------------

EDGES = (0.0, 0.1, 0.2, 0.5, 0.8, 1.0)


def reliability(hits: Hits) -> dict[str, Any]:
    """Share of right hits in bins of confidence and by word, and the mean gap between the two (ECE)."""
    sure, right = np.array([hit["confidence"] for hit in hits]), np.array([hit["right"] for hit in hits])
    place = np.digitize(sure, EDGES[1:-1])
    bins = [
        {
            "from": EDGES[n],
            "confidence": round(float(sure[place == n].mean()), 3),
            "right": round(float(right[place == n].mean()), 3),
            "hits": int((place == n).sum()),
        }
        for n in np.unique(place).tolist()
    ]
    words = {}
    for word in ("strong", "fair", "weak", "nothing close"):
        if own := [hit["right"] for hit in hits if hit["words"] == word]:
            words[word] = {"right": round(float(np.mean(own)), 3), "hits": len(own)}
    gap = sum(b["hits"] * abs(b["confidence"] - b["right"]) for b in bins) / len(sure)
    return {"bins": bins, "words": words, "ECE": round(gap, 3)}


def by_clips(searcher: MomentSearch, half: str, kind: str) -> list[Hits]:
    """Hits, with "right", of each clip of the half as a query."""
    with open(DATA / "cuts.csv", newline="", encoding="utf-8") as file:
        cuts = list(csv.DictReader(file))

    def source(name: str, start: float, end: float) -> str:
        """What is seen or heard in a stretch of a file; '' for nothing."""
        shared = [min(end, float(c["end"])) - max(start, float(c["start"])) if c["file"] == name else 0.0 for c in cuts]
        cut = cuts[int(np.argmax(shared))]
        if kind == "seen":
            return cut["clip"]
        return "" if cut["audio"] == "none" else cut["sound"] or cut["clip"]

    found = []
    for name, clip in searcher.clips.items():
        own = source(os.path.basename(clip.source), clip.start, clip.end)
        if not own or ("choose", "report")[hashlib.sha256(own.encode()).digest()[0] % 2] != half:
            continue
        hits = searcher.search({"clip": name}, k=10, kinds=[kind]).plain()["hits"]
        at = [source(os.path.basename(hit["file"]), hit["start"], hit["end"]) for hit in hits]
        found.append([hit | {"right": own == there} for hit, there in zip(hits, at, strict=True)])
    return found


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Reliability diagrams side by side: a dot's size is its number of hits."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(found), 3.2), layout="constrained")
    for axes, (name, own) in zip(figure.subplots(1, len(found), sharey=True), found.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        x, y, size = zip(*((b["confidence"], b["right"], 8 + b["hits"]) for b in own["bins"]), strict=True)
        axes.scatter(x, y, s=np.minimum(size, 150))
        axes.set(title=name, xlabel="confidence", xlim=(0, 1), ylim=(-0.03, 1.03))
    figure.axes[0].set_ylabel("share of hits that are right")
    figure.savefig(path, metadata={"Date": None})


# -- without calibration -----------------------------------------------------------------------------------------------


def cosine(index: OpenIndex, text_E: np.ndarray, kind: str) -> np.ndarray:
    return -np.log1p(-(np.vecdot(index.vectors_NE[index.rows(kind)], text_E) + 1) / 2.001)


def z_score(index: OpenIndex, text_E: np.ndarray, kind: str) -> np.ndarray:
    if not hasattr(index, "bank_NB"):
        index.bank_NB = index.vectors_NE @ index.space.encode_query(background_phrases()).T  # type: ignore[attr-defined]
    rows = index.rows(kind)
    bank_NB = index.bank_NB[rows]  # type: ignore[attr-defined]
    z = (np.vecdot(index.vectors_NE[rows], text_E) - bank_NB.mean(1)) / bank_NB.std(1)
    return np.logaddexp(0, z / 3)


def best_alone(search: MomentSearch, *asked: Any) -> dict[str, Any]:
    return {clip: replace(match, others=0.0) for clip, match in _part(search, *asked).items()}


_part = MomentSearch._part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="/tmp/home-library")
    parser.add_argument("--half", choices=("choose", "report", "both"), default="report")
    parser.add_argument("--no-update", action="store_true", help="search the library as it is")
    parser.add_argument("--figure", type=Path, help="where the reliability diagrams are drawn")
    options = parser.parse_args()
    if not options.no_update:
        bring_up_to_date(DATA / "files", options.library, preset="light")
    searcher = open_library(LibraryTables.open(options.library))
    wanted, none = queries(options.half), absent(options.half)
    answers = {name: asked(searcher, wanted, kinds) for name, kinds in CHANNELS.items()}
    found = {name: score(own) for name, own in answers.items()}
    found["all"] = score(answers["all"], asked(searcher, none))
    for name, similarity in (("cosine", cosine), ("z", z_score)):
        with patch.object(OpenIndex, "words", similarity), patch.object(MomentSearch, "_part", best_alone):
            found[name] = score(asked(searcher, wanted), asked(searcher, none))
    for name, own in found.items():
        recalls = (f"{k} {v['R@1']}/{v['R@5']}/{v['R@10']}" for k, v in own.items() if isinstance(v, dict))
        print(name, *recalls, "AUC", *(v for k, v in own.items() if k.startswith(AUC)), sep="  ")
    hits = [own for _, own in answers["all"]]
    reliable = {"first hit for words": reliability([own[0] for own in hits if own])}
    reliable["ten hits for words"] = reliability([hit for own in hits for hit in own])
    for kind in ("seen", "heard") if options.half != "both" else ():
        reliable[f"first hit for what is {kind}"] = reliability([h[0] for h in by_clips(searcher, options.half, kind)])
    for name, own in reliable.items():
        print(name, own["words"], "ECE", own["ECE"])
        print("   ", *(f"{b['confidence']}: {b['right']} of {b['hits']}" for b in own["bins"]), sep="  ")
    if options.figure:
        draw(reliable, options.figure)
    if options.half == "report" and not options.no_update:
        write(
            "home", {"half": options.half, "percent": found, "reliability": reliable, "trial, all queries": TRIAL}, None
        )


if __name__ == "__main__":
    main()
