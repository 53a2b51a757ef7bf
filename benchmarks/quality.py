"""Quality of the preset `light` on every set of ../shared/data, frozen and with what `seehear train LIB` learns.

    OMP_NUM_THREADS=1 python benchmarks/quality.py --work /tmp/quality [--only emoji3d esc10] [--clips 600]
    python benchmarks/quality.py --table docs/quality.md       # the table of what is in results/

Each set becomes a library: clips drawn by a hash of their names, six in ten to train on, 15 % to validate, a quarter to
test, by recording. What is measured, on the test clips (on all where there are too few to learn from):

    frozen         joint spaces across modalities, single encoders among their like
    closed form    where the recipe starts, before any step
    learned        what `seehear train LIB` keeps; it chooses by the validation clips, and may keep one of the others

Across modalities the gallery is the test clips, and what belongs to the same clip is right (of digits: the same digit).
Like to like the gallery is all other clips, and one of the same class is right. One seed, so differences of a few
points may be chance. `home` has no words of its own: the reported half of its queries is asked of all its films, before
and after what was learned is indexed too. A set that has been measured is not measured again in the same work folder.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fusemix_sets
import home
import numpy as np
import torch
import vatt_sets
from common import DEVICE, RESULTS, write
from fusemix_sets import Row, table

from seehear.encoders.registry import preset_encoders
from seehear.errors import SeehearError
from seehear.evaluation.embedded import Embedded, embed_latents
from seehear.evaluation.retrieval import RetrievalResult, retrieval
from seehear.folders.find import bring_up_to_date, open_library
from seehear.folders.indexes import index_run
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.clips import PrepareOptions
from seehear.library.encode import encode_library
from seehear.library.prepare import prepare
from seehear.library.tables import LibraryTables
from seehear.nn.unit import unit
from seehear.runs.config import recipe
from seehear.runs.evaluate import labels_of, latents_of
from seehear.runs.run import choose, train_run
from seehear.runs.run import prepare as prepare_run
from seehear.space import SharedSpace
from seehear.space.frozen import frozen_method, frozen_towers
from seehear.space.saved import verdict_of
from seehear.types import Modality

DATA = Path(os.environ.get("SEEHEAR_DATA", "../shared/data")).resolve()
MODELS = ("frozen", "closed form", "learned")
DIRECTIONS: tuple[tuple[Modality, Modality], ...] = (
    ("text", "video"),
    ("text", "audio"),
    ("audio", "video"),
    ("video", "video"),
    ("audio", "audio"),
)
NAMES = {"text": "words", "video": "picture", "audio": "sound"}
MARKS = ("<!-- quality: begin -->", "<!-- quality: end -->")
KIND_OF_QUERY = ("seen", "heard", "all")
FEWEST = 5
"""Queries below which a row says nothing and is left out of the table."""


# -- the sets ----------------------------------------------------------------------------------------------------------


def emoji(folder: Path, work: Path) -> Iterator[Row]:
    kinds = {r["id"]: r["subgroup"] for r in table(folder / "metadata.csv")}
    yield from (row | {"labels": kinds[row["id"]]} for row in fusemix_sets.emoji(folder))


def drawings(folder: Path, work: Path) -> Iterator[Row]:
    """With the word spoken in one of three languages."""
    kinds = {r["id"]: r["categories"].split("|")[0] for r in table(folder / "metadata.csv")}
    yield from (row | {"labels": kinds[row["id"]]} for row in fusemix_sets.three(folder))


def photos(folder: Path, work: Path) -> Iterator[Row]:
    captions: dict[str, list[str]] = {}
    for r in table(folder / "captions.csv"):
        captions.setdefault(r["id"], []).append(r["text"])
    for r in table(folder / "metadata.csv"):
        clip = {"id": r["id"], "image": str(folder / r["image"]), "texts": json.dumps(captions[r["id"]])}
        yield clip | {"group": r["id"]}


def sounds(folder: Path, work: Path) -> Iterator[Row]:
    yield from fusemix_sets.esc10(folder)


def sentences(folder: Path, work: Path) -> Iterator[Row]:
    yield from fusemix_sets.speech(folder)


def digits(folder: Path, work: Path) -> Iterator[Row]:
    """A spoken digit with a drawn one."""
    yield from (row | {"labels": row["digit"]} for row in vatt_sets.digits(folder, work / "drawn"))


def samples(folder: Path, work: Path) -> Iterator[Row]:
    for r in table(folder / "metadata.csv"):
        yield {"id": r["id"], "video": str(folder / r["file"]), "texts": json.dumps([r["text"]]), "group": r["id"]}


SETS: dict[str, Callable[[Path, Path], Iterator[Row]]] = {
    "emoji3d": emoji,
    "art4apps": drawings,
    "coco-cc": photos,
    "esc10": sounds,
    "digits": digits,
    "grid-s1": sentences,
    "av-samples": samples,
}
COLUMNS = ("id", "video", "image", "audio", "texts", "labels", "group", "split")


def make_library(name: str, work: Path, clips: int) -> LibraryTables:
    """The library of a set, made and encoded as far as it is not there."""
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    rows = sorted(SETS[name](DATA / name, folder), key=lambda row: _draw(row["id"]))[:clips]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row | {"split": _split(row["group"])} for row in rows)
    prepare(folder / "manifest.csv", folder / "library", PrepareOptions(media=Path("/"), clips="whole"))
    library = LibraryTables.open(folder / "library")
    own = {m for clip in library.clips() for m in ("video", "audio", "text") if clip.has(m)}
    encode_library(library, [encoder.name for encoder in preset_encoders("light", own)])
    return library


def _draw(name: str) -> float:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


def _split(group: str) -> str:
    share = _draw(f"split {group}")
    return "train" if share < 0.6 else "val" if share < 0.75 else "test"


# -- measured ----------------------------------------------------------------------------------------------------------


def learn(library: LibraryTables, folder: Path) -> dict[str, Any]:
    """What `seehear train LIB` does, and what it says of it."""
    choice = choose(library)
    found: dict[str, Any] = {"recipe": choice.recipe, "why": choice.why}
    if choice.recipe:
        shutil.rmtree(folder, ignore_errors=True)
        result = train_run(library, recipe(choice.recipe), folder, keep_best=True)
        verdict = verdict_of(folder) or {}
        found |= {"kept": verdict.get("kept", "training"), "verdict": verdict.get("words", "")}
        found |= {"seconds": round(result.seconds)}
    return found


def spaces(
    library: LibraryTables, learned: dict[str, Any], folder: Path
) -> Iterator[tuple[str, dict[Modality, Embedded], LatentData]]:
    """(name, vectors of all clips, their clips) of everything that is compared; of frozen ones there are several."""
    known = library.encoders()
    data = load_latents(library)
    for m in data.modalities:
        yield "frozen", {m: Embedded(unit(data.every(m).float().numpy()), data.owner(m).numpy())}, data
    for towers in frozen_towers(known).values():
        own = {m: [infos[0]["name"]] for m, infos in towers.items() if infos[0]["name"] in known}
        if len(own) > 1:
            joint = load_latents(library, encoders=own)
            yield "frozen", embed_latents(frozen_method(towers).eval(), joint), joint
    if learned["recipe"]:
        run = recipe(learned["recipe"])
        inputs = run.data.load(library, run.method)
        yield "closed form", embed_latents(prepare_run(inputs, run).method.cpu().eval(), inputs.clips), inputs.clips
        space = SharedSpace.from_pretrained(folder, device="cpu")
        yield "learned", embed_latents(space, own_data := latents_of(library, space)), own_data


def measure(library: LibraryTables, learned: dict[str, Any], folder: Path, *, by_label: bool) -> dict[str, Any]:
    """{direction: {model: R@1 and R@10}}, in percent, with chance and the number of queries."""
    found: dict[str, Any] = {}
    for model, vectors, data in spaces(library, learned, folder):
        labels = np.array([" ".join(own[:1]) for own in labels_of(library, data)], dtype=object)
        # Where nothing is learned, all clips can be asked for.
        test = np.flatnonzero((data.splits == "test") | (learned["recipe"] == ""))
        for query, gallery in DIRECTIONS:
            if not {query, gallery} <= vectors.keys():
                continue
            if query == gallery:
                result = _like(vectors[query].one_each(), labels, test)
            else:
                ids = labels if by_label else np.arange(len(labels)).astype(str)
                result = _across(vectors[query], vectors[gallery].one_each(), ids, test)
            if result is None:
                continue
            row = found.setdefault(f"{NAMES[query]} -> {NAMES[gallery]}", {})
            row.setdefault(model, _percent(result.metrics))  # of frozen spaces the first: single encoders
            row |= {"chance": _percent(result.chance), "queries": result.queries, "gallery": result.gallery}
    return found


def _across(query: Embedded, gallery: Embedded, ids: np.ndarray, test: np.ndarray) -> RetrievalResult | None:
    asked, there = np.isin(query.owner, test), np.isin(gallery.owner, test)
    query_ids, gallery_ids = ids[query.owner[asked]], ids[gallery.owner[there]]
    if not set(query_ids) & set(gallery_ids):
        return None
    return retrieval(query.vectors[asked], gallery.vectors[there], query_ids, gallery_ids, ks=(1, 10))


def _like(own: Embedded, labels: np.ndarray, test: np.ndarray) -> RetrievalResult | None:
    """Test clips against all others, by class."""
    asked = np.isin(own.owner, test) & (labels[own.owner] != "")
    there = ~np.isin(own.owner, test)
    if not set(labels[own.owner[asked]]) & set(labels[own.owner[there]]):
        return None
    ids = labels[own.owner]
    return retrieval(own.vectors[asked], own.vectors[there], ids[asked], ids[there], ks=(1, 10))


def _percent(metrics: dict[str, float]) -> dict[str, float]:
    return {name: round(100 * metrics[name], 1) for name in ("R@1", "R@10")}


def films(work: Path) -> dict[str, Any]:
    """`home`: typed words to moments, before and after what is learned is indexed too."""
    bring_up_to_date(home.DATA / "files", str(work / "home" / "library"), preset="light")
    library, folder = LibraryTables.open(work / "home" / "library"), work / "home" / "run"
    rows: dict[str, Any] = {}
    learned = learn(library, folder)
    wanted = home.queries("report")

    def ask(model: str) -> None:
        found = home.score(home.asked(open_library(library), wanted))
        for kind in KIND_OF_QUERY:
            row = rows.setdefault(f"words -> moment, {kind}", {"queries": found[kind]["queries"]})
            row[model] = {name: found[kind][name] for name in ("R@1", "R@10")}

    ask("frozen")
    if learned["recipe"]:
        index_run(library, folder, name="learned", device="cpu")
        ask("learned")
        rows |= measure(library, learned, folder, by_label=False)
    return {"clips": library.count_clips(), "learned": learned, "rows": rows}


def of_set(name: str, work: Path, clips: int) -> dict[str, Any]:
    if name == "home":
        return films(work)
    library, folder = make_library(name, work, clips), work / name / "run"
    learned = learn(library, folder)
    rows = measure(library, learned, folder, by_label=name == "digits")
    return {"clips": library.count_clips(), "learned": learned, "rows": rows}


# -- the table ---------------------------------------------------------------------------------------------------------


def as_table(sets: dict[str, Any]) -> str:
    head = ("set", "clips", "asked", "queries", "chance", *MODELS, "kept")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, own in sets.items():
        rows = {direction: row for direction, row in own["rows"].items() if row["queries"] >= FEWEST}
        for n, (direction, row) in enumerate(rows.items()):
            cells = [name, f"{own['clips']:,}"] if n == 0 else ["", ""]
            cells += [direction, f"{row['queries']:,}"]
            numbers = (row.get(model) for model in ("chance", *MODELS))
            cells += [f"{v['R@1']:.0f} / {v['R@10']:.0f}" if v else "-" for v in numbers]
            kept = own["learned"].get("kept", "nothing learned") if n == 0 else ""
            lines.append(f"| {' | '.join([*cells, kept])} |")
    return "\n".join(lines)


def into(page: Path, text: str) -> None:
    """Replace what stands between the marks."""
    before, rest = page.read_text(encoding="utf-8").split(MARKS[0])
    page.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.split(MARKS[1])[1]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder of the libraries and runs")
    parser.add_argument("--only", nargs="*", default=[*SETS, "home"], choices=[*SETS, "home"])
    parser.add_argument("--clips", type=int, default=600, help="most clips of a set")
    parser.add_argument("--table", type=Path, help="page whose table is replaced")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    out = options.out or RESULTS / f"quality-{DEVICE.type}.json"
    sets: dict[str, Any] = json.loads(out.read_text())["sets"] if out.exists() else {}
    for name in options.only if options.work else ():
        kept = options.work / f"{name}.json"
        if not kept.exists():
            options.work.mkdir(parents=True, exist_ok=True)
            try:
                kept.write_text(json.dumps(of_set(name, options.work, options.clips)))
            except SeehearError as error:
                print(f"{name}: {error}", flush=True)
                continue
        sets[name] = json.loads(kept.read_text())
        sets = {known: sets[known] for known in (*SETS, "home") if known in sets}
        print(name, sets[name], flush=True)
        write("quality", {"percent": "R@1 and R@10", "sets": sets}, out)
    print(as_table(sets))
    if options.table:
        into(options.table, as_table(sets))


if __name__ == "__main__":
    main()
