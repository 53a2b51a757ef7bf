"""The library that docs/studies.md is about: `python benchmarks/pictures_library.py --work W` makes W/library.

3D emoji and drawings with their English names, one group each, split 72 / 10 / 18 by group; an emoji of training and
validation also has its name with its tags.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path

from fusemix_sets import Row, table

from seehear.library.clips import PrepareOptions
from seehear.library.encode import encode_library
from seehear.library.prepare import prepare
from seehear.library.tables import LibraryTables


def split(group: str) -> str:
    share = random.Random(f"{group} 0").random()
    return "train" if share < 0.72 else "val" if share < 0.82 else "test"


def rows(data: Path) -> Iterator[Row]:
    for r in table(data / "emoji3d" / "metadata.csv"):
        group = f"emoji {r['id']}"
        texts = [r["text_en"], ", ".join([r["text_en"], *r["tags_en"].split("|")])]
        shown = texts[:1] if split(group) == "test" else texts
        picture = str(data / "emoji3d" / r["image"])
        yield {"id": group, "image": picture, "texts": json.dumps(shown), "group": group, "split": split(group)}
    for r in table(data / "art4apps" / "metadata.csv"):
        group, picture = f"drawing {r['id']}", str(data / "art4apps" / r["image"])
        texts = json.dumps([r["text_en"]])
        yield {"id": group, "image": picture, "texts": texts, "group": group, "split": split(group)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    manifest = options.work / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "image", "texts", "group", "split"])
        writer.writeheader()
        writer.writerows(rows(options.data.resolve()))
    prepare(manifest, options.work / "library", PrepareOptions(media=Path("/")))
    encode_library(LibraryTables.open(options.work / "library"), ("efficientnet-lite0", "minilm"))


if __name__ == "__main__":
    main()
