"""FuseMix on real data, held-out groups: `python benchmarks/fusemix_real.py --data ../shared/data --work /tmp/real`.

    pictures   emoji and drawings with their names (emoji3d, art4apps): text <-> image
    speech     sentences as sound and as words, one speaker (grid-s1): speech <-> text, and the face: audio <-> video
    three      drawings, their names spoken and written (art4apps): three modalities in one space
    demo       sounds and pictures through text, the demo's four folds

Each trains the recipes that are named (by default `fusemix.base` with its linear head alone) and is evaluated on its
test split beside chance and the closed forms. Latents, runs and reports stay in the work folder: a second call goes on
where the first stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import write

from seehear.data.clips import PrepareOptions
from seehear.data.encode import encode_library
from seehear.data.latents import load_latents
from seehear.data.library import Library
from seehear.data.prepare import prepare
from seehear.recipes import demo
from seehear.recipes.evaluate import EvaluateOptions, evaluate_run
from seehear.recipes.run import recipe, train_run, validation_score
from seehear.space import SharedSpace

Row = dict[str, str]
COLUMNS = ("id", "video", "image", "audio", "texts", "labels", "group", "split")


def read(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def split(seed: int) -> Callable[[str], str]:
    """A group's split, 72 / 10 / 18, by group and seed."""

    def of(group: str) -> str:
        share = random.Random(f"{group} {seed}").random()
        return "train" if share < 0.72 else "val" if share < 0.82 else "test"

    return of


def pictures(data: Path, seed: int) -> Iterator[Row]:
    of = split(seed)
    for r in read(data / "emoji3d" / "metadata.csv"):
        group = f"emoji {r['id']}"
        texts = [r["text_en"], ", ".join([r["text_en"], *r["tags_en"].split("|")])]
        yield {
            "id": f"emoji {r['id']}",
            "image": str(data / "emoji3d" / r["image"]),
            "group": group,
            "split": of(group),
        } | {"texts": json.dumps(texts[:1] if of(group) == "test" else texts)}
    for r in read(data / "art4apps" / "metadata.csv"):
        group = f"drawing {r['id']}"
        yield {"id": group, "image": str(data / "art4apps" / r["image"]), "group": group, "split": of(group)} | {
            "texts": json.dumps([r["text_en"]])
        }


def speech(data: Path, seed: int) -> Iterator[Row]:
    of = split(seed)
    for r in read(data / "grid-s1" / "metadata.csv"):
        yield {"id": r["id"], "video": str(data / "grid-s1" / r["file"]), "texts": json.dumps([r["text"]])} | {
            "group": r["id"],
            "split": of(r["id"]),
        }


def three(data: Path, seed: int) -> Iterator[Row]:
    of, folder = split(seed), data / "art4apps"
    for r in read(folder / "metadata.csv"):
        sound = r["audio_fr"] or r["audio_en"] or r["audio_es"]
        yield {"id": r["id"], "image": str(folder / r["image"]), "audio": str(folder / sound) if sound else ""} | {
            "texts": json.dumps([r["text_en"]]),
            "group": r["id"],
            "split": of(r["id"]),
        }


SETS: dict[str, tuple[Callable[[Path, int], Iterator[Row]], tuple[str, ...]]] = {
    "pictures": (pictures, ("efficientnet-lite0", "minilm")),
    "speech": (speech, ("efficientnet-lite0#pool=segments:2", "speech#pool=segments:8", "minilm")),
    "three": (three, ("efficientnet-lite0", "speech#pool=segments:4", "minilm")),
}


def library_of(name: str, data: Path, work: Path, seed: int) -> Library:
    rows, encoders = SETS[name]
    folder = work / name / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows(data, seed))
    prepare(folder / "manifest.csv", folder / "library", PrepareOptions(media=Path("/")))
    library = Library.open(folder / "library")
    encode_library(library, encoders)
    return library


def trained(name: str, recipe_name: str, library: Library, folder: Path, seed: int) -> dict[str, Any]:
    run = recipe(recipe_name.removesuffix(", linear"))
    if recipe_name.endswith("linear"):
        run = replace(run, method=replace(run.method, head="linear"))
    if recipe_name == "fusemix.paper":  # its schedule and head; a batch of all there is, mixed by halves
        run = replace(run, train=replace(run.train, evaluations=50, epochs=200, batch_size=2048, fast_matmul=True))
    run = replace(run, train=replace(run.train, seed=seed))
    if not (folder / "model" / "model.safetensors").exists():
        train_run(library, run, folder, resume=(folder / "config.json").exists())
    report = evaluate_run(folder, library, EvaluateOptions())
    print(f"{name}, {recipe_name}, seed {seed}\n{report}", flush=True)
    parts = {} if name != "pictures" else {p: of_part(library, folder, p) for p in ("emoji", "drawing")}
    print(parts, flush=True)
    return {"seed": seed, "recipe": recipe_name, "parts": parts, "report": report.plain()["results"]}


def of_part(library: Library, folder: Path, prefix: str) -> dict[str, float]:
    """Held-out pictures of one set alone, and the names of that set."""
    test = load_latents(library).split("test")
    part = test.take(np.array([str(name).startswith(prefix) for name in test.ids]))
    found = validation_score(SharedSpace.from_pretrained(folder).method, data=part)
    return {"pictures": float(len(part)), "chance R@10": 10 / len(part)} | found


def the_demo(work: Path) -> dict[str, Any]:
    folder = work / "demo"
    prepare(demo.MEDIA / "manifest.csv", folder / "library")
    library = Library.open(folder / "library")
    encode_library(library)
    data, clips = load_latents(library), {clip.id: clip for clip in library.clips()}
    scores = demo.measure(data, clips, folder / "folds")
    print(*scores, sep="\n", flush=True)
    return {"scores": [asdict(score) for score in scores]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEEHEAR_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[*SETS, "demo"], choices=[*SETS, "demo"])
    parser.add_argument("--seeds", type=int, default=1)
    known = ["fusemix.base, linear", "fusemix.base", "fusemix.paper"]  # the adapters of the last take hours on a CPU
    parser.add_argument("--recipes", nargs="*", default=known[:1], choices=known)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not options.data.is_dir() and set(options.only) != {"demo"}:
        parser.error(
            f"no data at {options.data}: set SEEHEAR_DATA or --data to the folder that holds emoji3d, grid-s1, ..."
        )
    results: dict[str, Any] = {}
    for name in options.only:
        if name == "demo":
            results[name] = the_demo(options.work)
            continue
        results[name] = []
        for seed in range(options.seeds):
            library = library_of(name, options.data.resolve(), options.work, seed)
            for recipe_name in options.recipes:
                folder = options.work / name / f"seed-{seed}" / recipe_name.replace(", ", "-")
                results[name].append(trained(name, recipe_name, library, folder, seed))
    write("fusemix_real", results, options.out)


if __name__ == "__main__":
    main()
